"""Nodes that may have few pods: placeholders hold the places, too, and a change of a pod costs a few of them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.model.objects import Node
from engine.model.placeholder import holds_for
from tests.engine.scheduler.scenes import NODE_LOSS, RESERVE, RULES, World, deployment, node, spec
from tests.engine.scheduler.test_healing import NAMES, near_four

SMALL = spec("100m", "100Mi")
PLACES = 30
A_FEW = 8


def narrow(name: str, zone: str) -> Node:
    one = node(name, zone, "16", "64Gi")
    allocatable = {**(one.status.allocatable or {}), "pods": str(PLACES)}
    return replace(one, status=replace(one.status, allocatable=allocatable))


def placeholders(world: World) -> set[str]:
    return {pod.metadata.uid for pod in world.cluster.pods() if holds_for(pod.metadata.labels) is not None}


@pytest.fixture
def world() -> World:
    found = World(
        RULES + RESERVE + NODE_LOSS,
        [narrow(name, "abcdef"[at]) for at, name in enumerate(NAMES)],
        near_four(),
    )
    found.cluster.apply(deployment("video", 30, {"gateway": "25"}, SMALL))
    found.cluster.apply(deployment("batch", 90, None, SMALL))
    found.run(120)
    assert found.held_as_planned()
    return found


@pytest.mark.parametrize("app", ["video", "batch"])
def test_a_pod_more_or_less_costs_a_few(world: World, app: str) -> None:
    number = len(world.pods(app))
    for by in (1, 1, -1, 1, -1, -1, 3, -3):
        before = placeholders(world)
        number += by
        world.cluster.scale("Deployment", "default", app, number)
        world.run(30)
        assert len(before ^ placeholders(world)) <= A_FEW * abs(by)
        assert world.held_as_planned()


def test_places_that_are_kept_are_not_taken_by_others(world: World) -> None:
    world.cluster.scale("Deployment", "default", "batch", 200)
    world.run(120)
    assert [pod for pod in world.pods("batch") if not pod.spec.node_name], "all places are taken"
    assert world.held_as_planned()
    lost = world.nodes_of("video")[0]
    of_it = [pod for pod in world.pods("video") if pod.spec.node_name == lost]
    world.cluster.fail_node(lost)
    world.run(90)
    assert of_it
    assert world.broken() == []
    assert lost not in world.nodes_of("video")
