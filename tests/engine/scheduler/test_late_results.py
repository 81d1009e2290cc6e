"""What an errand made is told when the whole errand is over; the watch may have told more by then, or never tells."""

from __future__ import annotations

from copy import copy

import msgspec
import pytest

from engine.binder.errands import Errand, ErrandResult
from engine.cluster.protocol import ResourceKind
from engine.healing.placeholders import Keep
from engine.model.objects import Pod
from engine.model.placeholder import holds_for
from tests.engine.scheduler.scenes import World
from tests.engine.scheduler.test_healing import settled


def late(world: World, made: Pod) -> None:
    """The result of the errand that made a placeholder comes only now."""
    upkeep = world.simulation.scheduler.upkeep
    assert upkeep is not None
    keep = Keep(made.spec.node_name, "backup", (), ({},))
    upkeep.ended(ErrandResult(Errand(keep, ()), 1, (made,)), world.cluster.clock.now())


@pytest.fixture
def world() -> World:
    return settled()


def placeholder(world: World) -> Pod:
    return next(pod for pod in world.cluster.pods() if holds_for(pod.metadata.labels) is not None)


def test_what_is_gone_by_then_does_not_come_back(world: World) -> None:
    """A covered pod may have taken its place: room that nobody holds must not count as held."""
    made = placeholder(world)
    world.cluster.delete_pod(made.key, 0)
    world.run(1)
    late(world, made)
    assert world.simulation.cache.pod(made.key) is None
    world.run(5)
    assert world.held_as_planned()


def test_what_is_leaving_by_then_is_known_to_leave(world: World) -> None:
    made = placeholder(world)
    known = world.simulation.cache.pod(made.key)
    late(world, copy(made))
    assert world.simulation.cache.pod(made.key) is known


def ghost(world: World) -> Pod:
    """It was made and deleted again while no watch stood: only the errand's result tells of it."""
    made = placeholder(world)
    metadata = msgspec.structs.replace(made.metadata, name=f"{made.metadata.name}9", uid="ghost")
    return msgspec.structs.replace(made, metadata=metadata)


def list_again(world: World) -> None:
    """The version from which pods were to be watched is too old, as after a long break."""
    for reflector in world.simulation._reflectors:
        if reflector._kind is ResourceKind.PODS:
            reflector._version = None
    world.run(0)


def test_what_a_list_does_not_have_is_gone(world: World) -> None:
    made = ghost(world)
    late(world, made)
    assert world.simulation.cache.pod(made.key) is not None
    list_again(world)
    assert world.simulation.cache.pod(made.key) is None
    world.run(5)
    assert world.held_as_planned()


def test_a_list_drops_nothing_that_is_there(world: World) -> None:
    known = {pod.key for pod in world.cluster.pods()}
    list_again(world)
    assert {pod.key for pod in world.simulation.cache.pods()} == known


def test_what_no_watch_tells_of_in_a_minute_is_not_there(world: World) -> None:
    """The result may come after the list that does not have it."""
    made = ghost(world)
    late(world, made)
    world.run(30)
    assert world.simulation.cache.pod(made.key) is not None
    world.run(35)
    assert world.simulation.cache.pod(made.key) is None
    assert world.held_as_planned()


def test_what_was_taken_for_gone_counts_once_it_is_told_of(world: World) -> None:
    """The watch is broken for longer than that: to make it again finds that it is there."""
    made = ghost(world)
    late(world, made)
    world.run(65)
    assert world.simulation.cache.pod(made.key) is None
    late(world, made)
    assert world.simulation.cache.pod(made.key) is not None
