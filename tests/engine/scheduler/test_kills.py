"""A scheduler that is killed before or after each request that it sends, and started again: the end is the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from engine.model.placeholder import holds_for
from tests.engine.scheduler.scenes import (
    DRIFT,
    NODE_LOSS,
    RESERVE,
    ROOM,
    RULES,
    World,
    bare,
    delays,
    deployment,
    node,
    spec,
    stateful,
)
from tests.engine.scheduler.test_healing import near_four, settled

LOSS = (
    RULES + RESERVE + NODE_LOSS.replace("move pods", "move pods\n  recreate bare pods\n  force stateful pods")
)


def lost_node() -> World:
    world = settled(LOSS)
    world.cluster.apply(bare("solo", {"gateway": "25"}))
    world.cluster.apply(stateful("db", 2, {"gateway": "25"}))
    world.run(60)
    return world


def lose(world: World) -> None:
    world.cluster.fail_node(world.pods("solo")[0].spec.node_name)
    world.run(60)


def broken_limits() -> World:
    return settled(RULES + RESERVE + DRIFT)


def slow_down(world: World) -> None:
    world.swap_delays(near_four(**{world.nodes_of("video")[0]: 40.0}))
    world.run(150)


def full_node() -> World:
    names = ["e0", "e1", "e2", "gateway"]
    far = [[0, 50, 50, 50], [50, 0, 50, 50], [50, 50, 0, 50], [50, 50, 50, 0]]
    world = World(RULES + ROOM, [node(name, cpu="2") for name in names[:3]], delays(names, far))
    world.cluster.apply(deployment("filler", 3, wanted=spec("1", "1Gi")))
    world.run(90)
    return world


def want_room(world: World) -> None:
    world.cluster.apply(deployment("tight", 1, {world.nodes_of("filler")[0]: "10"}, spec("1500m", "1Gi")))
    world.run(90)


SCENES: dict[str, tuple[Callable[[], World], Callable[[World], None]]] = {
    "a lost node": (lost_node, lose),
    "limits that are broken": (broken_limits, slow_down),
    "no room": (full_node, want_room),
}


def all_right(world: World, before: Counter[str]) -> None:
    """Every pod is there once, on a node, within its limits; and room is held as planned."""
    pods = world.pods()
    assert Counter((pod.metadata.labels or {}).get("app", pod.metadata.name) for pod in pods) == before
    names = Counter((pod.metadata.namespace, pod.metadata.name) for pod in pods)
    assert max(names.values()) == 1
    assert world.broken() == []
    assert [pod.metadata.name for pod in pods if not pod.spec.node_name] == []
    assert world.held_as_planned(), (world.placeholders(), "is not what the plans say")
    left = [pod for pod in world.cluster.pods() if holds_for(pod.metadata.labels) == "one.pod"]
    assert left == [], "what was made anew needs no placeholder any more"


@pytest.mark.parametrize("scene", SCENES)
def test_killed_at_any_request(scene: str) -> None:
    build, happens = SCENES[scene]
    world = build()
    before = Counter((pod.metadata.labels or {}).get("app", pod.metadata.name) for pod in world.pods())
    begun = world.cluster.moments
    happens(world)
    world.run(120)
    after = Counter((pod.metadata.labels or {}).get("app", pod.metadata.name) for pod in world.pods())
    all_right(world, after)
    moments = world.cluster.moments - begun
    assert moments > 6, before
    for moment in range(1, moments + 1):
        world = build()
        world.cluster.fuse = moment
        happens(world)
        world.cluster.fuse = None
        world.run(180)
        assert world.kills == 1, moment
        try:
            all_right(world, after)
        except AssertionError as error:
            raise AssertionError(f"killed at moment {moment} of {moments}") from error


@pytest.mark.parametrize("step", [2, 3, 5])
def test_killed_again_and_again(step: int) -> None:
    world = lost_node()
    after = Counter((pod.metadata.labels or {}).get("app", pod.metadata.name) for pod in world.pods())
    world.cluster.fail_node(world.pods("solo")[0].spec.node_name)
    world.cluster.fuse = step
    world.fuses = iter([step] * 12)
    world.run(120)
    world.cluster.fuse = None
    world.run(180)
    assert world.kills == 13
    all_right(world, after)
