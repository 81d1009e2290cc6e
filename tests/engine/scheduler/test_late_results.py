"""What an errand made is told when the whole errand is over; the watch may have told more by then."""

from __future__ import annotations

from copy import copy

import pytest

from engine.binder.errands import Errand, ErrandResult
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
