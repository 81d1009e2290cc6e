"""While a place is promised to a replacement that has not come, reserves follow all that happens elsewhere."""

from __future__ import annotations

import msgspec
import pytest

from engine.cluster.simulated import Options
from engine.healing.plan import Move
from engine.model.placeholder import holds_for
from engine.scheduler.upkeep import Upkeep
from tests.engine.scheduler.scenes import (
    DRIFT,
    RESERVE,
    RULES,
    World,
    bare,
    deployment,
    node,
    spec,
    stateful,
)
from tests.engine.scheduler.test_healing import NAMES, near_four

LIMIT = {"gateway": "25"}


def upkeep(world: World) -> Upkeep:
    found = world.simulation.scheduler.upkeep
    assert found is not None
    return found


def moves(world: World) -> list[Move]:
    return upkeep(world).healing.moves


def held_on(world: World, name: str) -> set[str]:
    """The placeholders of a node, each another pod."""
    return {
        pod.metadata.uid
        for pod in world.cluster.pods()
        if holds_for(pod.metadata.labels) is not None and pod.spec.node_name == name
    }


@pytest.fixture
def promised() -> World:
    """A pod of a StatefulSet was asked to leave, and takes half a minute to: only then is another one made."""
    nodes = [node(name, "abcdef"[at]) for at, name in enumerate(NAMES)]
    world = World(RULES + RESERVE + DRIFT, nodes, near_four(), Options(stop=30))
    world.cluster.apply(deployment("video", 4, LIMIT))
    world.cluster.apply(stateful("db", 1, LIMIT))
    world.run(60)
    assert world.held_as_planned()
    world.swap_delays(near_four(**{world.nodes_of("db")[0]: 40.0}))
    while not any(move.pod.name == "db-0" for move in moves(world)):
        world.run(1)
    world.run(2)
    return world


def test_pods_that_come_elsewhere_are_covered_at_once(promised: World) -> None:
    [move] = [move for move in moves(promised) if move.pod.name == "db-0"]
    before = held_on(promised, move.target)
    promised.cluster.apply(deployment("late", 3, LIMIT))
    promised.run(5)
    assert moves(promised), "the place is still promised"
    assert held_on(promised, move.target) == before
    [reserve] = upkeep(promised).reserving.reserves
    late = [key for key in reserve.plan.backups if key.name.startswith("late")]
    assert len(late) == 3
    assert promised.proven() == []
    planned = {name: kept.get("memory", 0) for name, kept in reserve.plan.kept().items()}
    held = promised.placeholders()
    for name in {*planned, *held} - {move.target}:
        assert held.get(name, 0) == planned.get(name, 0), name


def test_room_that_is_promised_is_not_kept_for_others() -> None:
    """Three nodes are near, each with room for one pod; one drifts away, and its pod takes the room of another."""
    world = World(RULES + RESERVE + DRIFT, [node(name) for name in NAMES], near_four(e3=50), Options(stop=30))
    for name in NAMES[:3]:
        on_node = {"kubernetes.io/hostname": name}
        world.cluster.apply(bare(f"filler-{name}", None, spec("100m", "7Gi", node_selector=on_node)))
    world.run(10)
    world.cluster.apply(stateful("db", 1, LIMIT))
    world.run(60)
    [source] = world.nodes_of("db")
    world.swap_delays(near_four(**{source: 40.0, "e3": 50}))
    while not moves(world):
        world.run(1)
    [move] = moves(world)
    world.cluster.apply(deployment("late", 1, LIMIT))
    world.run(5)
    assert moves(world)
    [late] = world.nodes_of("late")
    assert {source, move.target, late} == set(NAMES[:3])
    [reserve] = upkeep(world).reserving.reserves
    assert [key.name.split("-")[0] for key in reserve.plan.uncovered] == ["late"]
    assert reserve.plan.kept() == {}, "who moves needs no backup until it is there"
    world.run(60)
    assert not world.broken()
    assert world.held_as_planned()
    assert len(reserve.plan.uncovered) == 2


def test_a_node_that_is_lost_meanwhile_is_followed(promised: World) -> None:
    targets = {move.target for move in moves(promised)}
    kept = set(promised.placeholders()) - targets
    lost = sorted(kept or set(NAMES[:4]) - targets)[0]
    promised.cluster.remove_node(lost)
    promised.run(3)
    assert moves(promised)
    [reserve] = upkeep(promised).reserving.reserves
    assert lost not in reserve.plan.kept()
    assert lost not in promised.placeholders()
    promised.run(60)
    assert promised.held_as_planned()


def test_other_policies_are_followed(promised: World) -> None:
    [move] = moves(promised)
    promised.swap_plan(RULES + RESERVE.replace("backup", "other") + DRIFT)
    promised.run(3)
    assert moves(promised)
    labels = {
        holds_for(pod.metadata.labels) for pod in promised.cluster.pods() if pod.spec.node_name != move.target
    }
    assert labels == {None, "other"}
    promised.run(60)
    assert promised.held_as_planned()
    held = {holds_for(pod.metadata.labels) for pod in promised.cluster.pods()}
    assert held == {None, "other"}


def test_a_promise_that_nobody_comes_for_ends(promised: World) -> None:
    promised.cluster.scale("StatefulSet", "default", "db", 0)
    promised.run(60)
    assert not moves(promised)
    assert promised.held_as_planned()
    assert promised.proven() == []


def test_to_ask_whether_a_reserve_refuses_a_node_takes_no_promise_back(promised: World) -> None:
    promised.swap_plan(RULES + RESERVE.replace("hold as pods", "refuse uncovered pods") + DRIFT)
    promised.run(1)
    cache, names = promised.simulation.cache, NAMES[:4]
    written = promised.pods("video")[0]
    metadata = msgspec.structs.replace(written.metadata, name="asking", uid="asking")
    wanted = msgspec.structs.replace(written.spec, node_name="", scheduler_name="another")
    placed = cache.put_pod(msgspec.structs.replace(written, metadata=metadata, spec=wanted))
    cache.nominations.put(placed, names[0])
    for name in names:
        upkeep(promised).reserving.refusal(placed, name, promised.cluster.clock.now())
        assert cache.nominations.node_of(placed.key) == names[0]
