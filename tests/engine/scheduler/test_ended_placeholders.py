"""Placeholders that their nodes ended: no watch shows them any more, and their names are still taken."""

from __future__ import annotations

import logging

import pytest

from engine.model.placeholder import holds_for
from tests.engine.scheduler.scenes import GIB, RESERVE, RULES, World, delays, deployment, node, spec

TWO = RULES + RESERVE + RESERVE.replace("backup", "second")


def two_reserves() -> World:
    """Both want the same room when they begin: nodes end the placeholders of one, and it has to look elsewhere."""
    names = ["a1", "a2", "a3", "gateway"]
    near = [[0.0 if one == other else 5.0 for other in names] for one in names]
    world = World(TWO, [node(name) for name in names[:-1]], delays(names, near))
    wanted = spec(cpu="100m", memory="1300Mi")
    world.cluster.apply(deployment("video", 10, {"gateway": "25"}, wanted))
    return world


def ended(world: World) -> list[str]:
    return [
        pod.metadata.name
        for pod in world.cluster.pods()
        if holds_for(pod.metadata.labels) is not None and pod.status.phase == "Failed"
    ]


def test_room_that_a_node_refused_is_held_in_the_end(caplog: pytest.LogCaptureFixture) -> None:
    world = two_reserves()
    with caplog.at_level(logging.WARNING):
        world.run(10)
        told = [one.getMessage() for one in caplog.records]
        world.run(60)
    assert any("for second is not" in text and text.endswith("OutOfmemory") for text in told), told
    assert len(caplog.records) == len(told), "each is tried again after half a minute, and taken then"
    assert ended(world) == []
    assert world.held_as_planned()
    assert world.proven() == []
    assert sum(world.placeholders().values()) > 8 * GIB


def test_who_starts_after_a_node_ended_a_placeholder_holds_the_room_all_the_same() -> None:
    world = two_reserves()
    world.run(0.6)
    assert ended(world)
    world.restart()
    world.run(60)
    assert world.held_as_planned()


def test_nothing_is_left_behind_where_nothing_is_held_any_more() -> None:
    world = two_reserves()
    world.run(0.6)
    assert ended(world)
    world.swap_plan(RULES)
    world.run(5)
    assert ended(world) == []
    assert world.placeholders() == {}
