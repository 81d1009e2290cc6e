"""The map's rows, against a naive reading of the same facts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.delay import MAX_MS, DelayMap

NAMES = ["edge-1", "edge_2", "cloud.a", "kube-worker-1", "site"]
Facts = dict[tuple[int, int], float]


def naive(facts: Facts, origin: int, target: int) -> float:
    if origin == target:
        return 0.0
    known = [facts[pair] for pair in ((origin, target), (target, origin)) if pair in facts]
    return max(known) if known else math.nan


def dense(facts: Facts, names: list[str] = NAMES) -> DelayMap:
    matrix = np.full((len(names), len(names)), np.nan)
    for (origin, target), value in facts.items():
        matrix[origin, target] = value
    return DelayMap.from_matrix(names, matrix)


def sparse(facts: Facts, names: list[str] = NAMES) -> DelayMap:
    pairs = list(facts)
    return DelayMap.from_table(
        names,
        [origin for origin, _ in pairs],
        [target for _, target in pairs],
        list(facts.values()),
    )


positions = st.integers(0, len(NAMES) - 1)
facts_of_a_map = st.dictionaries(
    st.tuples(positions, positions), st.floats(0, MAX_MS, allow_nan=False), max_size=25
)


@given(facts_of_a_map)
def test_both_representations_agree_with_the_naive_reading(facts: Facts) -> None:
    expected = np.array([[naive(facts, i, j) for j in range(len(NAMES))] for i in range(len(NAMES))])
    for made in (dense(facts), sparse(facts)):
        for origin, name in enumerate(NAMES):
            row = made.row(name)
            assert row is not None
            np.testing.assert_array_equal(row, expected[origin])
            for target, other in enumerate(NAMES):
                between = made.between(name, other)
                assert (math.nan if between is None else between) == pytest.approx(
                    expected[origin, target], abs=0, rel=0, nan_ok=True
                )
        others = expected.copy()
        np.fill_diagonal(others, np.nan)
        np.testing.assert_array_equal(made.measured(), ~np.isnan(others).all(axis=1))


@given(facts_of_a_map)
def test_round_trips_are_symmetric(facts: Facts) -> None:
    rows = np.array([sparse(facts).row(name) for name in NAMES])
    np.testing.assert_array_equal(rows, rows.T)
    np.testing.assert_array_equal(rows.diagonal(), np.zeros(len(NAMES)))


@given(facts_of_a_map, st.permutations(range(len(NAMES))))
def test_permuted_names_permute_the_rows(facts: Facts, order: list[int]) -> None:
    names = [NAMES[old] for old in order]
    new = {old: position for position, old in enumerate(order)}
    moved = {(new[origin], new[target]): value for (origin, target), value in facts.items()}
    for make in (dense, sparse):
        before, after = make(facts), make(moved, names)
        for name in NAMES:
            row, permuted = before.row(name), after.row(name)
            assert row is not None
            assert permuted is not None
            np.testing.assert_array_equal(permuted, row[order])


@pytest.mark.parametrize("make", [dense, sparse])
def test_the_larger_direction_counts(make: type[DelayMap]) -> None:
    delays: DelayMap = make({(0, 1): 3.0, (1, 0): 4.5, (0, 2): 0.25})  # type: ignore[call-arg,arg-type]
    assert delays.between("edge-1", "edge_2") == 4.5
    assert delays.between("cloud.a", "edge-1") == 0.25
    assert delays.between("edge_2", "cloud.a") is None
    assert delays.between("edge-1", "nobody") is None
    assert delays.row("nobody") is None
    assert delays.index("nobody") is None


def test_zero_and_less_than_a_millisecond_are_delays() -> None:
    delays = DelayMap.from_pairs([("a", "b", 0.0), ("a", "c", 0.01)])
    assert delays.between("b", "a") == 0.0
    assert delays.between("c", "a") == 0.01


def test_an_endpoint_is_zero_from_itself_whatever_is_given() -> None:
    for delays in (
        DelayMap.from_matrix(["a", "b"], [[7.0, 1.0], [1.0, math.nan]]),
        DelayMap.from_pairs([("a", "a", 7), ("a", "b", 1)]),
    ):
        assert delays.between("a", "a") == 0.0
        assert delays.warnings == ("a is given as 7 ms from itself; 0 is used, write 0 or leave it out",)


def test_rows_cannot_be_written_to() -> None:
    for delays in (DelayMap.from_matrix(["a"], [[0]]), DelayMap.from_pairs([("a", "b", 1)])):
        row = delays.row("a")
        assert row is not None
        with pytest.raises(ValueError, match="read-only"):
            row[0] = 1.0


def test_a_hundred_thousand_names_never_become_a_square() -> None:
    size = 100_000
    delays = DelayMap.from_table(
        [f"node-{position}" for position in range(size)],
        np.repeat([0, 1], size),
        np.tile(np.arange(size), 2),
        np.ones(2 * size),
    )
    row = delays.row("node-1")
    assert row is not None
    assert row[1] == 0.0
    assert np.count_nonzero(row == 1.0) == size - 1
    other = delays.row("node-99999")
    assert other is not None
    assert np.flatnonzero(~np.isnan(other)).tolist() == [0, 1, 99_999]


def test_cached_rows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.delay.map._CACHE_BYTES", 0)
    delays = DelayMap.from_pairs([("hub", f"n{position}", float(position)) for position in range(50)])
    first = delays.row("hub")
    assert delays.row("hub") is first
    for name in delays.names:
        delays.row(name)
    assert len(delays._rows._cache) == 8  # type: ignore[attr-defined]
    np.testing.assert_array_equal(delays.row("hub"), first)


def test_equal_facts_have_equal_versions() -> None:
    assert sparse({(0, 1): 2.0}).version == sparse({(0, 1): 2.0}).version
    assert sparse({(0, 1): 2.0}).version != sparse({(0, 1): 3.0}).version
    assert dense({(0, 1): 2.0}).version != dense({(0, 1): 2.0}, [*NAMES[:-1], "other"]).version


def test_the_empty_map_knows_nobody() -> None:
    assert len(DelayMap.empty()) == 0
    assert DelayMap.empty().row("a") is None
    assert DelayMap.from_pairs([], names=["a"]).between("a", "a") == 0.0


@pytest.mark.parametrize(
    ("names", "origins", "targets", "values", "message"),
    [
        pytest.param(["a", "b"], [0], [1], [-1.0], "0 … 600000", id="negative"),
        pytest.param(["a", "b"], [0], [1], [math.inf], "0 … 600000", id="infinite"),
        pytest.param(["a", "b"], [0], [1], [math.nan], "leave it out", id="nan"),
        pytest.param(["a", "b"], [0], [2], [1.0], "no position", id="beyond"),
        pytest.param(["a", "b"], [0], [1, 0], [1.0], "one length", id="lengths"),
        pytest.param(["a", "a"], [0], [1], [1.0], "different names", id="twice"),
    ],
)
def test_arrays_that_make_no_map(
    names: list[str], origins: list[int], targets: list[int], values: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        DelayMap.from_table(names, origins, targets, values)


def test_a_matrix_of_another_size_than_its_names() -> None:
    with pytest.raises(ValueError, match="2 names need a matrix"):
        DelayMap.from_matrix(["a", "b"], [[0.0]])
