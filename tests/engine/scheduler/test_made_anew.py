"""Bare pods that are being made anew while the placeholder that carries them goes: they are made all the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from engine.model.objects import Pod
from engine.model.placeholder import FOR_ONE, holds_for
from tests.engine.scheduler.scenes import DRAINING, NODE_LOSS, RULES, World, bare
from tests.engine.scheduler.test_healing import edge

ANEW = "move pods\n  recreate bare pods"


def its_node_goes(world: World, holder: Pod) -> None:
    world.cluster.remove_node(holder.spec.node_name)


def somebody_deletes_it(world: World, holder: Pod) -> None:
    world.cluster.delete_pod(holder.key, 0)


def its_node_ends_it(world: World, holder: Pod) -> None:
    world.cluster.finish_pod(holder.metadata.namespace, holder.metadata.name, "Failed")


def leaving(world: World) -> Pod:
    """A pod that takes half a minute to end is asked to. Returns the placeholder that carries it."""
    solo = bare("solo", {"gateway": "25"})
    world.cluster.apply(replace(solo, spec=replace(solo.spec, termination_grace_period_seconds=30)))
    world.run(20)
    [source] = world.nodes_of("solo")
    world.cluster.cordon(source)
    for _ in range(20):
        world.run(0.5)
        holders = [pod for pod in world.cluster.pods() if holds_for(pod.metadata.labels) == FOR_ONE]
        if holders:
            assert world.pods("solo") == [], "it is on its way out"
            return holders[0]
    raise AssertionError("nothing moves")


@pytest.mark.parametrize("happens", [its_node_goes, somebody_deletes_it, its_node_ends_it])
def test_its_placeholder_goes_first(happens: Callable[[World, Pod], None]) -> None:
    world = edge(RULES + DRAINING.replace("move pods", ANEW))
    holder = leaving(world)
    happens(world, holder)
    world.run(60)
    [solo] = world.pods("solo")
    assert solo.spec.node_name
    assert world.broken() == []
    assert [pod.metadata.name for pod in world.cluster.pods()] == ["solo"]


def test_who_was_made_anew_and_deleted_by_its_owner_stays_away() -> None:
    world = edge(RULES + NODE_LOSS.replace("move pods", ANEW))
    world.cluster.apply(bare("solo", {"gateway": "25"}))
    world.run(20)
    [source] = world.nodes_of("solo")
    world.cluster.fail_node(source)
    world.run(60)
    [solo] = world.pods("solo")
    world.cluster.delete_pod(solo.key)
    world.run(120)
    assert world.pods("solo") == []
