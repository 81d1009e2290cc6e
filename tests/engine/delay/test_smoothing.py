"""One spike moves nobody, a change that lasts is seen within two periods, and what is too old is gone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.delay.smoothing import Smoother

PERIOD = 60.0


def play(values: Sequence[float | None], window: int = 3, percentile: float = 50) -> list[float | None]:
    """What a direction's value is after each period; None is a period without a measurement."""
    smoother = Smoother(window, percentile, max_age=5 * PERIOD)
    seen: list[float | None] = []
    for number, value in enumerate(values):
        now = number * PERIOD
        if value is not None:
            smoother.add(["a"], ["b"], [value], [now])
        found = smoother.smoothed(now)
        seen.append(float(found.milliseconds[0]) if len(found.milliseconds) else None)
    return seen


@pytest.mark.parametrize("spike", [0.0, 500.0], ids=["down", "up"])
@pytest.mark.parametrize("at", range(3, 9))
def test_one_spike_moves_nobody(spike: float, at: int) -> None:
    values = [10.0] * 10
    values[at] = spike
    assert play(values) == [10.0] * 10


@pytest.mark.parametrize("to", [2.0, 90.0], ids=["down", "up"])
def test_a_change_is_seen_within_two_periods(to: float) -> None:
    seen = play([10.0] * 5 + [to] * 4)
    assert seen[:6] == [10.0] * 6
    assert seen[6:] == [to] * 3


def test_a_spike_at_the_second_measurement_moves_nobody() -> None:
    assert play([10.0, 500.0, 10.0]) == [10.0, 10.0, 10.0]


@pytest.mark.parametrize(
    ("window", "percentile", "rise", "fall"),
    [
        pytest.param(1, 50, 1, 1, id="last"),
        pytest.param(3, 100, 1, 3, id="largest"),
        pytest.param(5, 80, 2, 4, id="slow-to-trust"),
        pytest.param(5, 60, 3, 3, id="median-of-five"),
        pytest.param(5, 20, 5, 1, id="smallest"),
    ],
)
def test_how_soon_a_change_is_seen(window: int, percentile: float, rise: int, fall: int) -> None:
    """As the module's docstring says."""
    up = play([1.0] * 10 + [9.0] * 10, window, percentile)
    down = play([9.0] * 10 + [1.0] * 10, window, percentile)
    assert up.index(9.0) == 10 + rise - 1
    assert down.index(1.0) == 10 + fall - 1


def test_a_gap_is_bridged_until_what_is_known_is_too_old() -> None:
    assert play([7.0] + [None] * 7) == [7.0] * 6 + [None] * 2


def test_after_a_silence_the_old_measurements_count_no_more() -> None:
    assert play([7.0, 7.0, None, None, None, None, 50.0])[-1] == 7.0  # one of them is just young enough
    assert play([7.0, 7.0, None, None, None, None, None, 50.0])[-1] == 50.0


def test_the_same_measurement_told_twice_counts_once() -> None:
    smoother = Smoother(3, 50, 300)
    for _ in range(3):
        smoother.add(["a"], ["b"], [5.0], [10.0])
    smoother.add(["a"], ["b"], [90.0], [20.0])
    smoother.add(["a"], ["b"], [90.0], [30.0])
    assert smoother.smoothed(30.0).milliseconds.tolist() == [90.0]


def test_of_two_values_in_one_answer_the_larger_counts() -> None:
    smoother = Smoother(3, 50, 300)
    smoother.add(["a", "a", "b"], ["b", "b", "a"], [5.0, 7.0, 1.0], [0.0] * 3)
    found = smoother.smoothed(0.0)
    pairs = zip(found.origins.tolist(), found.targets.tolist(), found.milliseconds.tolist(), strict=True)
    assert {(found.names[a], found.names[b]): value for a, b, value in pairs} == {
        ("a", "b"): 7.0,
        ("b", "a"): 1.0,
    }


def test_endpoints_that_are_gone_take_no_room_for_ever() -> None:
    smoother = Smoother(3, 50, 100)
    for number in range(4000):
        now = number * 10.0
        smoother.add(["hub"], [f"n{number}"], [float(number)], [now])
        found = smoother.smoothed(now)
        assert found.milliseconds.tolist() == [
            float(value) for value in range(max(0, number - 10), number + 1)
        ]
    assert len(smoother._index) < 1100


ROUNDS = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from("abcd"), st.sampled_from("abcd"), st.sampled_from([0.0, 1.0, 2.5, 9.0, 80.0])
        ),
        max_size=12,
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(ROUNDS, st.integers(1, 5), st.integers(1, 100), st.integers(1, 6))
def test_against_a_plain_list_for_each_direction(
    rounds: list[list[tuple[str, str, float]]], window: int, percentile: int, periods: int
) -> None:
    max_age = periods * PERIOD
    smoother = Smoother(window, percentile, max_age)
    naive: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for number, told in enumerate(rounds):
        now = number * PERIOD
        smoother.add(
            [a for a, _, _ in told], [b for _, b, _ in told], [v for _, _, v in told], [now] * len(told)
        )
        for a, b in {(a, b) for a, b, _ in told}:
            naive[a, b].append((now, max(v for x, y, v in told if (x, y) == (a, b))))
        expected = {}
        for pair, measured in naive.items():
            young = sorted(value for moment, value in measured[-window:] if now - moment <= max_age)
            if young:
                rank = math.ceil(percentile * len(young) / 100)
                expected[pair] = (young[rank - 1], measured[-1][0])
        found = smoother.smoothed(now)
        assert {
            (found.names[a], found.names[b]): (float(value), float(moment))
            for a, b, value, moment in zip(
                found.origins, found.targets, found.milliseconds, found.moments, strict=True
            )
        } == expected
        assert set(found.names) == {name for pair in expected for name in pair}


@pytest.mark.parametrize(("window", "percentile"), [(0, 50), (3, 0), (3, 101)])
def test_nonsense_is_refused(window: int, percentile: float) -> None:
    with pytest.raises(ValueError, match="a window has one measurement or more"):
        Smoother(window, percentile, 60)


def test_an_empty_round_changes_nothing() -> None:
    smoother = Smoother(3, 50, 60)
    smoother.add([], [], np.empty(0), [])
    assert smoother.smoothed(0.0).names == ()
    assert smoother.next_change() == math.inf
