"""Estimates are never taken for measurements, and their error is known."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from engine.delay import DelayMap
from engine.delay.estimates import with_estimates
from engine.probe.vivaldi import DIMENSIONS, Coordinate
from tests.engine.probe.network import Network, grown


def at(x: float, error: float = 0.2, height: float = 1.0) -> Coordinate:
    return Coordinate((x,) + (0.0,) * (DIMENSIONS - 1), height, 0.0, error)


def make(
    pairs: dict[tuple[str, str], float], coordinates: dict[str, Coordinate], names: str = "abcd"
) -> DelayMap:
    return with_estimates(
        tuple(names),
        np.array([names.index(a) for a, _ in pairs], dtype=np.int64),
        np.array([names.index(b) for _, b in pairs], dtype=np.int64),
        np.array(list(pairs.values()), dtype=np.float64),
        coordinates,
    )


PLACES = {"a": at(0), "b": at(10), "c": at(30), "d": at(60)}
FITTING = {("a", "b"): 12.0, ("b", "c"): 22.0, ("c", "d"): 32.0}


def test_measured_where_measured_and_estimated_with_its_error_elsewhere() -> None:
    delays = make(FITTING, PLACES)
    # Both nodes say 20%, and twice the sum may it be wrong: 32 ms ± 80%, and half a millisecond.
    assert delays.row("a") == pytest.approx([0.0, 12.0, 32 * 1.8 + 0.5, 62 * 1.8 + 0.5])
    assert delays.errors("a") == pytest.approx([0.0, 0.0, 32 * 0.8 + 0.5, 62 * 0.8 + 0.5])
    assert delays.between("c", "a") == pytest.approx(32 * 1.8 + 0.5)
    assert delays.between("a", "b") == 12.0
    assert delays.between("a", "a") == 0.0


def test_rows_are_symmetric() -> None:
    delays = make(FITTING, PLACES)
    for a, b in itertools.product("abcd", repeat=2):
        assert delays.between(a, b) == delays.between(b, a)


def test_a_node_whose_measurements_do_not_fit_its_place_has_their_error() -> None:
    late = {**FITTING, ("a", "b"): 24.5}
    delays = make(late, PLACES)  # 12 where 24 was measured: wrong by 100%
    assert delays.errors("a") == pytest.approx([0.0, 0.0, 32 * 2 * (1 + 0.2) + 0.5, 62 * 2 * (1 + 0.2) + 0.5])


def test_being_nearer_than_the_place_says_is_no_danger() -> None:
    assert make({**FITTING, ("a", "b"): 6.0}, PLACES).row("a") == pytest.approx(
        [0.0, 6.0, 32 * 1.8 + 0.5, 62 * 1.8 + 0.5]
    )


@pytest.mark.parametrize(
    ("pairs", "places"),
    [
        pytest.param(FITTING, {**PLACES, "a": None}, id="no place"),
        pytest.param({k: v for k, v in FITTING.items() if "a" not in k}, PLACES, id="no measurement"),
        pytest.param(FITTING, {**PLACES, "a": at(float("nan"))}, id="a place that cannot be"),
    ],
)
def test_without_a_place_or_out_of_touch_nothing_is_estimated(
    pairs: dict[tuple[str, str], float], places: dict[str, Coordinate | None]
) -> None:
    """A coordinate says nothing of whether a node can be reached: somebody must have measured to it lately."""
    delays = make(pairs, {name: place for name, place in places.items() if place is not None})
    row = delays.row("c")
    assert row is not None
    assert np.isnan(row[0])
    assert not np.isnan(row[1:]).any()
    assert delays.between("a", "d") is None


def test_no_coordinates_is_the_plain_map() -> None:
    delays = make(FITTING, {})
    plain = DelayMap.from_pairs([(a, b, value) for (a, b), value in FITTING.items()], names="abcd")
    for name in "abcd":
        np.testing.assert_array_equal(delays.row(name), plain.row(name))
    assert plain.errors("a") is None
    assert plain.errors("x") is delays.errors("x") is None


def test_the_version_is_that_of_all_that_it_is_made_of() -> None:
    assert make(FITTING, PLACES).version == make(FITTING, PLACES).version
    others = [
        make({**FITTING, ("a", "b"): 13.0}, PLACES),
        make(FITTING, {**PLACES, "d": at(61)}),
        make(FITTING, {**PLACES, "d": at(60, error=0.3)}),
    ]
    assert len({make(FITTING, PLACES).version, *(other.version for other in others)}) == 4


def test_what_only_moves_an_estimate_is_another_version() -> None:
    d = PLACES["d"]
    nearer = Coordinate(d.vector, d.height, -1.0, d.error)
    before, after = make(FITTING, PLACES), make(FITTING, {**PLACES, "d": nearer})
    assert after.between("a", "d") != before.between("a", "d")
    assert after.version != before.version


def test_rows_are_read_only_and_bounded() -> None:
    delays = make(FITTING, {**PLACES, "d": at(599_000)})
    row = delays.row("a")
    assert row is not None
    assert row[3] == 600_000.0
    with pytest.raises(ValueError, match="read-only"):
        row[0] = 1.0


@pytest.mark.parametrize("seed", [1, 2])
def test_a_limit_that_an_estimate_meets_is_met(seed: int) -> None:
    """The bound of an estimate is above the truth: on networks with detours of up to 10% each way, for every pair."""
    size = 60
    network = Network.random(size, seed)
    nodes, measured = grown(network, 8, 150, seed=seed)
    names = [str(node) for node in range(size)]
    delays = with_estimates(
        names,
        np.array([a for a, _ in measured]),
        np.array([b for _, b in measured]),
        np.array(list(measured.values())),
        {name: node.coordinate for name, node in zip(names, nodes, strict=True)},
    )
    estimated = [
        (a, b)
        for a, b in itertools.combinations(range(size), 2)
        if (a, b) not in measured and (b, a) not in measured
    ]
    bounds = [delays.between(str(a), str(b)) for a, b in estimated]
    truths = [network.round_trip(a, b) for a, b in estimated]
    assert len(estimated) > 300
    assert [
        pair for pair, bound, truth in zip(estimated, bounds, truths, strict=True) if (bound or 0) < truth
    ] == []
    # And yet it is good for something: half of them are hardly more than double the truth.
    ratios = sorted((bound or 0) / truth for bound, truth in zip(bounds, truths, strict=True))
    assert ratios[len(ratios) // 2] < 2.2


def test_a_large_map_makes_rows_on_demand() -> None:
    size = 20_000
    draw = random.Random(1)
    names = [f"n{number}" for number in range(size)]
    origins = np.repeat(np.arange(size), 3)
    delays = with_estimates(
        names,
        origins,
        (origins + 1 + np.tile(np.arange(3), size)) % size,
        np.full(3 * size, 5.0),
        {name: at(draw.uniform(0, 100)) for name in names},
    )
    row = delays.row("n7")
    assert row is not None
    assert not np.isnan(row).any()
    assert delays.row("n7") is row
