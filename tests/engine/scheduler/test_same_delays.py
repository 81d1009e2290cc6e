"""Delays that are read again and are the same cost nothing: nobody is asked anything anew."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from engine.delay.map import DelayMap
from engine.scheduler.metrics import Unmeasured
from engine.scheduler.simulation import Simulation
from engine.settings import Settings
from tests.engine.scheduler.test_simulation import World, node, plan, pod


class Counting(Unmeasured):
    def __init__(self) -> None:
        self.maps = 0

    def delays_in_force(self, endpoints: int) -> None:
        self.maps += 1


def made(ms: float) -> DelayMap:
    return DelayMap.from_pairs([("e1", "e2", ms)])


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        pytest.param([3.0], 0, id="as at the start"),
        pytest.param([3.0, 3.0], 0, id="again and again"),
        pytest.param([40.0], 1, id="others"),
        pytest.param([40.0, 40.0], 1, id="others, twice"),
        pytest.param([40.0, 3.0], 2, id="and back"),
    ],
)
def test_only_other_delays_are_taken_in(given: list[float], taken: int) -> None:
    counting = Counting()
    world = World(node("e1"), node("e2"))
    simulation = Simulation(world.cluster, plan(), made(3.0), Settings(), metrics=counting)
    simulation.settle()
    for ms in given:
        simulation.swap_delays(made(ms))
        simulation.settle()
    assert counting.maps == taken


LATER: Mapping[str, tuple[float, str]] = {"better": (3.0, "e2"), "the same": (40.0, "")}


@pytest.mark.parametrize(("ms", "expected"), LATER.values(), ids=LATER)
def test_who_waits_is_asked_again_where_delays_are_others(ms: float, expected: str) -> None:
    world = World(node("e1", cpu="500m"), node("e2"))
    world.measure({("e1", "e2"): 40.0})
    world.cluster.add_pod(pod("video", {"delay_e1": "25"}))
    world.until(10)
    assert world.node_of("video") == ""
    world.measure({("e1", "e2"): ms})
    world.until(20)
    assert world.node_of("video") == expected
