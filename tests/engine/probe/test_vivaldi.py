"""Places that estimate round trips: their arithmetic, and what a network of them comes to."""

from __future__ import annotations

import itertools
import math
import random
import statistics

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.probe.limits import MAX_MS
from engine.probe.vivaldi import DIMENSIONS, MAX_ERROR, Coordinate, Vivaldi
from tests.engine.probe.network import Network, grown


def at(*parts: float, height: float = 1.0, adjustment: float = 0.0, error: float = 0.5) -> Coordinate:
    return Coordinate(parts + (0.0,) * (DIMENSIONS - len(parts)), height, adjustment, error)


def vivaldi(coordinate: Coordinate | None = None) -> Vivaldi:
    return Vivaldi(random.Random(1), coordinate)


NUMBERS = st.floats(-1e4, 1e4)
COORDINATES = st.builds(
    Coordinate,
    st.tuples(*[NUMBERS] * DIMENSIONS),
    st.floats(0.01, 1e3),
    st.floats(-100, 100),
    st.floats(0, MAX_ERROR),
)


def test_an_estimate() -> None:
    assert at(0, 3, height=1).estimate(at(4, 0, height=2)) == 5 + 3
    assert at(0, height=1, adjustment=-0.5).estimate(at(10, height=2, adjustment=1.5)) == 10 + 3 + 1
    assert at(0, adjustment=-50).estimate(at(10)) == 10 + 2, "an estimate below 0 is no estimate"


@given(COORDINATES, COORDINATES)
def test_estimates_are_symmetric_and_not_negative(a: Coordinate, b: Coordinate) -> None:
    assert a.estimate(b) == pytest.approx(b.estimate(a))
    assert a.estimate(b) >= 0


@given(COORDINATES, COORDINATES, st.floats(0, MAX_MS), st.integers(1, 5))
def test_a_place_stays_sound_whatever_is_measured(
    here: Coordinate, there: Coordinate, value: float, times: int
) -> None:
    node = vivaldi(here)
    for _ in range(times):
        assert node.measured("p", there, value)
        assert node.coordinate.sound


@given(COORDINATES, COORDINATES, st.floats(0.1, 10_000))
def test_a_measurement_moves_the_estimate_towards_it(
    here: Coordinate, there: Coordinate, value: float
) -> None:
    node = vivaldi(here)
    before = node.coordinate._distance(there)
    # Nearer than what is wrong, a pull would lead beyond; on one spot it can only lead away.
    assume(math.dist(here.vector, there.vector) > abs(before - value))
    node.measured("p", there, value)
    after = node.coordinate._distance(there)
    # Heights are kept above a least one, and gravity pulls a little.
    assert abs(after - value) <= abs(before - value) + 0.02 + max(map(abs, here.vector)) ** 2 / 1e6


@pytest.mark.parametrize(
    ("there", "value"),
    [
        pytest.param(at(math.nan), 5, id="place-nan"),
        pytest.param(at(math.inf), 5, id="place-infinite"),
        pytest.param(at(MAX_MS * 2), 5, id="place-far"),
        pytest.param(at(0, height=0), 5, id="no-height"),
        pytest.param(at(0, error=2), 5, id="error"),
        pytest.param(Coordinate((0.0,) * 2), 5, id="dimensions"),
        pytest.param(at(0), math.nan, id="value-nan"),
        pytest.param(at(0), -1, id="negative"),
        pytest.param(at(0), MAX_MS * 1.01, id="too-long"),
    ],
)
def test_nonsense_moves_nobody(there: Coordinate, value: float) -> None:
    node = vivaldi(at(1, 2))
    assert not node.measured("p", there, value)
    assert (node.coordinate, node.measurements) == (at(1, 2), 0)


def test_two_nodes_on_one_spot_part() -> None:
    node = vivaldi()
    assert node.measured("p", Coordinate(), 20.0)
    assert node.coordinate.vector != Coordinate().vector


def test_one_spike_of_a_peer_moves_nobody() -> None:
    calm, spiked = vivaldi(at(5)), vivaldi(at(5))
    for value, spike in ((20.0, 20.0), (20.0, 20.0), (20.0, 900.0), (20.0, 20.0)):
        calm.measured("p", at(20), value)
        spiked.measured("p", at(20), spike)
    assert spiked.coordinate == calm.coordinate


def test_a_peer_that_is_forgotten_begins_anew() -> None:
    node = vivaldi(at(5))
    for _ in range(3):
        node.measured("p", at(20), 20.0)
    node.forget("p")
    node.forget("stranger")
    before = node.coordinate
    node.measured("p", at(20), 900.0)
    assert node.coordinate._distance(at(20)) > before._distance(at(20)) + 1


def test_the_same_measurements_lead_to_the_same_place() -> None:
    network = Network.random(12, seed=3)
    first, _ = grown(network, 4, 20, seed=5)
    second, _ = grown(network, 4, 20, seed=5)
    assert [node.coordinate for node in first] == [node.coordinate for node in second]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_network_is_learned_from_few_neighbours(seed: int) -> None:
    """Eight neighbours of sixty nodes; the median relative error over all pairs is that of the detours or less."""
    network = Network.random(60, seed)
    nodes, _ = grown(network, 8, 150, seed=seed)
    errors = [
        abs(nodes[a].coordinate.estimate(nodes[b].coordinate) / network.round_trip(a, b) - 1)
        for a, b in itertools.combinations(range(60), 2)
    ]
    assert statistics.median(errors) < 0.11
    assert sorted(errors)[len(errors) * 9 // 10] < 0.45
    assert statistics.median(node.coordinate.error for node in nodes) < 0.25


def test_the_whole_does_not_drift() -> None:
    network = Network.random(20, seed=4)
    nodes, _ = grown(network, 6, 400, seed=4)
    centre = [statistics.fmean(node.coordinate.vector[axis] for node in nodes) for axis in range(DIMENSIONS)]
    assert math.hypot(*centre) < 30
