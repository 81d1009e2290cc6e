"""Reserves and healing on the simulated cluster: what is lost or broken, and where everything is afterwards."""

from __future__ import annotations

import itertools
from unittest.mock import Mock

import numpy as np
import pytest

from engine.cluster.errors import ApiError
from engine.delay import DelayMap
from engine.model.objects import PodKey, Taint
from engine.state.columns import PODS
from tests.engine.scheduler.preempting import budget
from tests.engine.scheduler.scenes import (
    DRAINING,
    DRIFT,
    GIB,
    NODE_LOSS,
    RESERVE,
    ROOM,
    RULES,
    Mortal,
    World,
    bare,
    delays,
    deployment,
    node,
    spec,
    stateful,
)

NAMES = [f"e{number}" for number in range(6)]
ENDS = [*NAMES, "gateway"]
"""The gateway takes no pods: it is where the users are."""


def near_four(**others: float) -> DelayMap:
    """The first four nodes are 10 ms from the gateway, all else is 50; ``others`` are as they say."""
    row = [10.0] * 4 + [50.0] * 2
    for name, far in others.items():
        row[NAMES.index(name)] = far
    matrix = np.full((7, 7), 50.0)
    matrix[:6, 6] = matrix[6, :6] = row
    np.fill_diagonal(matrix, 0.0)
    return delays(ENDS, matrix)


def edge(policy: str = RULES + RESERVE + NODE_LOSS, zones: str = "abcdef") -> World:
    return World(policy, [node(name, zones[at]) for at, name in enumerate(NAMES)], near_four())


def settled(policy: str = RULES + RESERVE + NODE_LOSS, zones: str = "abcdef") -> World:
    """Six pods within 25 ms of the gateway, and six anywhere."""
    world = edge(policy, zones)
    world.cluster.apply(deployment("video", 6, {"gateway": "25"}))
    world.cluster.apply(deployment("batch", 6))
    world.run(60)
    return world


def test_what_is_kept_is_held_by_pods_of_the_lowest_priority() -> None:
    world = settled()
    assert world.held_as_planned()
    assert sum(world.placeholders().values()) >= GIB
    assert set(world.placeholders()) <= set(NAMES[:4]), "where the pods may be, and nowhere else"
    assert world.proven() == []
    held = [pod for pod in world.cluster.pods() if pod.metadata.namespace == "kube-system"]
    assert {pod.spec.priority for pod in held} == {-1_000_000_000}
    assert all(pod.metadata.owner_references[0].kind == "Node" for pod in held)


def test_a_lost_node() -> None:
    world = settled()
    lost = world.nodes_of("video")[-1]
    before = {pod.metadata.uid for pod in world.pods("video") if pod.spec.node_name == lost}
    world.cluster.fail_node(lost)
    world.run(40 + 9.5)  # the control plane finds out after 40 s
    assert {pod.metadata.uid for pod in world.pods("video") if pod.spec.node_name == lost} == before
    world.run(1.5)
    assert len(world.pods("video")) == 6
    assert world.broken() == []
    assert lost not in world.nodes_of("video")
    told = [message for message in world.events("Moving") if "video" in message]
    assert len(told) == len(before)
    assert all("which was kept for it" in message for message in told)
    world.run(30)
    assert world.held_as_planned()
    world.cluster.recover_node(lost)
    world.run(60)
    assert len(world.cluster.pods()) == 12 + len(
        [pod for pod in world.cluster.pods() if pod.metadata.namespace == "kube-system"]
    ), "what was left on the node is gone, and nothing is there twice"
    assert world.held_as_planned()


@pytest.mark.parametrize("before", [0.24, 0.1, 0.01])
def test_what_falls_due_does_not_wait_for_what_happened_just_before(before: float) -> None:
    world = settled()
    world.cluster.fail_node(world.nodes_of("video")[-1])
    world.run(50 - before)  # the control plane finds out after 40 s, and the rule waits for 10
    world.cluster.apply(deployment("late", 1))
    world.run(before - 0.005)
    assert "" not in world.nodes_of("late")
    assert world.events("Moving") == []
    world.run(0.006)
    assert world.events("Moving")


def test_each_node_in_turn() -> None:
    for lost in NAMES:
        world = settled()
        uncovered = {
            one.pod.name
            for one in world.simulation.scheduler.upkeep.reserving.uncovered()  # type: ignore[union-attr]
        }
        stranded = {
            pod.metadata.name for pod in world.pods("video") if pod.spec.node_name == lost
        } & uncovered
        world.cluster.fail_node(lost)
        world.run(60)
        assert not stranded
        assert world.broken() == [], lost


def test_a_silent_site_is_left_alone_and_its_return_is_no_pile_up() -> None:
    world = settled(zones="aabbcc")
    uids = {pod.metadata.uid for pod in world.pods()}
    for name in ("e2", "e3"):
        world.cluster.fail_node(name, cut=True)
    world.run(120)
    assert {pod.metadata.uid for pod in world.pods()} == uids
    assert world.events("Moving") == []
    held = world.events("HealingHeld")
    assert {text.split(":")[0] for text in held} == {"e2", "e3"}
    assert "2 of 2 nodes of zone b are silent: a cut link, not a crash" in held[0]
    for name in ("e2", "e3"):
        world.cluster.recover_node(name)
    world.run(120)
    assert {pod.metadata.uid for pod in world.pods()} == uids
    assert world.events("Moving") == []


def test_a_lost_zone_where_the_rule_holds_nothing() -> None:
    world = settled(RULES + RESERVE + NODE_LOSS.replace("hold when 55% of zone is lost", ""), "aabbcc")
    for name in ("e2", "e3"):
        world.cluster.fail_node(name)
    world.run(120)
    assert len(world.pods()) == 12
    assert world.broken() == []
    assert not {"e2", "e3"} & {*world.nodes_of("video"), *world.nodes_of("batch")}


def test_exactly_those_out_of_their_limits_move() -> None:
    world = settled(RULES + DRIFT)
    slow = world.nodes_of("video")[0]
    violators = {pod.metadata.uid for pod in world.pods("video") if pod.spec.node_name == slow}
    others = {pod.metadata.uid for pod in world.pods()} - violators
    world.swap_delays(near_four(**{slow: 40.0}))
    world.run(59)
    assert {pod.metadata.uid for pod in world.pods()} == others | violators, "not before the duration is over"
    world.run(60)
    assert world.broken() == []
    now = {pod.metadata.uid for pod in world.pods()}
    assert others <= now
    assert not violators & now
    assert len(world.events("Moving")) == len(violators)
    world.run(600)
    assert {pod.metadata.uid for pod in world.pods()} == now, "and nobody moves again"


def test_a_delay_that_is_good_again_in_time_moves_nobody() -> None:
    world = settled(RULES + DRIFT)
    for _ in range(5):
        world.swap_delays(near_four(e0=40, e1=40))
        world.run(50)
        world.swap_delays(near_four())
        world.run(50)
    assert world.events("Moving") == []


def test_nowhere_better_is_told_and_nothing_moves() -> None:
    world = settled(RULES + DRIFT)
    uids = {pod.metadata.uid for pod in world.pods()}
    world.swap_delays(near_four(e0=40, e1=40, e2=40, e3=40))
    world.run(200)
    assert {pod.metadata.uid for pod in world.pods()} == uids
    assert world.events("NotMoved")


def test_room_is_made_by_one_move() -> None:
    world = World(
        RULES + ROOM,
        [node("e0", cpu="2"), node("e1", cpu="2"), node("e2", cpu="2")],
        delays(
            ["e0", "e1", "e2", "gateway"],
            [[0, 50, 50, 50], [50, 0, 50, 50], [50, 50, 0, 50], [50, 50, 50, 0]],
        ),
    )
    world.cluster.apply(deployment("filler", 3, wanted=spec("1", "1Gi")))
    world.run(90)
    blocked = world.nodes_of("filler")[0]
    world.cluster.apply(deployment("tight", 1, {blocked: "10"}, spec("1500m", "1Gi")))
    world.run(60)
    assert world.nodes_of("tight") == [blocked]
    assert len(world.pods("filler")) == 3
    assert "" not in world.nodes_of("filler")
    assert len(world.events("Moving")) == 1


def test_a_cordoned_node_is_left() -> None:
    world = settled(RULES + DRAINING)
    left = world.nodes_of("video")[0]
    world.cluster.cordon(left)
    world.run(60)
    assert left not in world.nodes_of("video")
    assert left not in world.nodes_of("batch")
    assert world.broken() == []
    assert len(world.pods()) == 12


@pytest.mark.parametrize(
    ("line", "moves"), [("", False), ("recreate bare pods", True)], ids=["not asked for", "asked for"]
)
def test_a_bare_pod_is_made_anew_only_where_the_rule_says_so(line: str, moves: bool) -> None:
    world = edge(RULES + RESERVE + NODE_LOSS.replace("move pods", f"move pods\n  {line}"))
    world.cluster.apply(bare("solo", {"gateway": "25"}))
    world.run(60)
    [before] = world.pods("solo")
    world.cluster.fail_node(before.spec.node_name)
    world.run(120)
    [after] = world.pods("solo")
    if moves:
        assert after.metadata.uid != before.metadata.uid
        assert after.spec.node_name not in ("", before.spec.node_name)
        assert after.metadata.labels == before.metadata.labels
        assert world.broken() == []
    else:
        assert after.metadata.uid == before.metadata.uid
        [told] = world.events("NotMoved")
        assert "recreate bare pods" in told
    assert world.held_as_planned()


@pytest.mark.parametrize("how", ["left alone", "forced", "off", "removed"])
def test_there_are_never_two_of_a_stateful_pod(how: str) -> None:
    line = "move pods\n  force stateful pods" if how == "forced" else "move pods"
    world = edge(RULES + RESERVE + NODE_LOSS.replace("move pods", line))
    world.cluster.apply(stateful("db", 2, {"gateway": "25"}))
    world.run(90)
    before = {pod.metadata.name: pod for pod in world.pods("db")}
    lost = before["db-0"].spec.node_name
    world.cluster.fail_node(lost)
    if how == "off":
        world.cluster.taint_node(lost, [Taint("node.kubernetes.io/out-of-service", "", "NoExecute")])
    if how == "removed":
        world.cluster.remove_node(lost)
    world.run(120)
    pods = world.pods("db")
    assert sorted(pod.metadata.name for pod in pods) == ["db-0", "db-1"]
    after = next(pod for pod in pods if pod.metadata.name == "db-0")
    if how == "left alone":
        assert after.metadata.uid == before["db-0"].metadata.uid
        assert "there must never be two of it" in world.events("NotMoved")[0]
    else:
        assert after.metadata.uid != before["db-0"].metadata.uid
        assert after.spec.node_name not in ("", lost)


def test_what_is_kept_is_for_those_that_it_is_kept_for() -> None:
    world = settled()
    world.cluster.apply(deployment("filler", 60, wanted=spec("500m", "1Gi")))
    world.run(60)
    waiting = [pod for pod in world.pods("filler") if not pod.spec.node_name]
    assert waiting, "the cluster is full"
    assert world.held_as_planned()
    assert sum(world.placeholders().values()) >= GIB
    world.cluster.apply(deployment("late", 1, {"gateway": "25"}))
    world.run(60)
    assert "" not in world.nodes_of("late"), "a covered pod is placed rather than not"


def test_a_full_cluster_heals_all_the_same() -> None:
    world = settled()
    world.cluster.apply(deployment("filler", 40, wanted=spec("500m", "1Gi")))
    world.run(60)
    assert [one for one in world.pods("filler") if not one.spec.node_name]
    assert world.proven() == []
    lost = world.nodes_of("video")[-1]
    world.cluster.fail_node(lost)
    world.run(60)
    assert world.broken() == []
    assert len(world.pods("video")) == 6


def test_a_reserve_follows_pods_that_come_and_go() -> None:
    world = settled()
    before = sum(world.placeholders().values())
    world.cluster.scale("Deployment", "default", "video", 12)
    world.run(60)
    assert world.held_as_planned()
    assert sum(world.placeholders().values()) > before
    assert world.proven() == []
    world.cluster.scale("Deployment", "default", "video", 0)
    world.run(60)
    assert world.placeholders() == {}


def test_a_reserve_that_is_no_longer_asked_for_is_cleared_away() -> None:
    world = settled()
    assert world.placeholders()
    world.swap_plan(RULES)
    world.run(5)
    assert world.placeholders() == {}
    world.swap_plan(RULES + RESERVE)
    world.run(5)
    assert world.held_as_planned()
    assert world.placeholders()


def test_where_the_ceiling_stops_it_those_left_out_are_named() -> None:
    world = settled(RULES + RESERVE.replace("hold as pods", "at most 5% of requested memory"))
    told = world.events("Uncovered")
    assert told
    assert all("default/video" in text for text in told)
    assert all("would exceed the limit of what is kept: 5%" in text for text in told)


def test_pods_that_cannot_be_covered_wait_where_the_policy_wants_it() -> None:
    policy = RULES + RESERVE.replace("hold as pods", "refuse uncovered pods")
    names = ["e0", "e1", "gateway"]
    far = [[0, 90, 10], [90, 0, 90], [10, 90, 0]]
    world = World(policy, [node("e0"), node("e1")], delays(names, far))
    world.cluster.apply(deployment("video", 1, {"gateway": "25"}))
    world.run(30)
    [pod] = world.pods("video")
    assert pod.spec.node_name == ""
    condition = pod.condition("PodScheduled")
    assert condition is not None
    assert "reserve backup" in condition.message
    assert "refuses it on e0: no other node may take it" in condition.message
    near = [[0, 90, 10], [90, 0, 10], [10, 10, 0]]
    world.swap_delays(delays(names, near))
    world.run(30)
    assert "" not in world.nodes_of("video")


def test_many_places_are_kept_where_places_are_few() -> None:
    few = [node(name) for name in ("e0", "e1", "e2")]
    tight = [
        type(one)(
            one.metadata,
            one.spec,
            type(one.status)(allocatable={**(one.status.allocatable or {}), PODS: "8"}),
        )
        for one in few
    ]
    ends = [*(one.name for one in tight), "gateway"]
    world = World(RULES + RESERVE + NODE_LOSS, tight, delays(ends, np.where(np.eye(4) == 1, 0.0, 5.0)))
    world.cluster.apply(deployment("video", 6, {"gateway": "25"}, spec("100m", "100Mi")))
    world.run(60)
    upkeep = world.simulation.scheduler.upkeep
    assert upkeep is not None
    [one] = upkeep.reserving.reserves
    for name, amounts in one.plan.kept().items():
        held = [
            pod
            for pod in world.cluster.pods()
            if pod.spec.node_name == name and pod.metadata.namespace == "kube-system"
        ]
        assert len(held) == amounts[PODS]


def test_the_rate_of_a_rule_outlives_a_kill() -> None:
    world = settled(RULES + NODE_LOSS.replace("move pods", "move pods\n  at most 2 moves per 3min"))
    lost = max(NAMES, key=lambda name: len([pod for pod in world.pods() if pod.spec.node_name == name]))
    world.cluster.apply(deployment("more", 12))
    world.run(60)
    assert len([pod for pod in world.pods() if pod.spec.node_name == lost]) > 3
    world.cluster.fail_node(lost)
    world.run(60)
    assert len(world.events("Moving")) == 2
    for _ in range(3):
        world.restart()
        world.run(40)
        assert len(world.events("Moving")) == 2
    world.run(80)
    assert len(world.events("Moving")) == 4


def test_a_budget_that_allows_it_lets_those_go_that_it_kept() -> None:
    world = settled(RULES + DRAINING)
    left = world.nodes_of("video")[0]
    world.cluster.apply(budget("video", "video", 6))
    world.cluster.cordon(left)
    world.run(60)
    assert left in world.nodes_of("video")
    assert any("disruption budget" in text for text in world.events("NotMoved"))
    world.cluster.apply(budget("video", "video", 5))
    world.run(10)
    assert left not in world.nodes_of("video")
    assert world.broken() == []


def test_who_is_not_let_go_is_asked_ever_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """What forbids it, a webhook perhaps, is nothing that we see; and it may end."""
    asked: list[float] = []
    forbidden = True
    real = Mortal.evict

    def evict(cluster: Mortal, pod: PodKey, grace_seconds: int | None = None) -> None:
        asked.append(cluster.clock.now())
        if forbidden:
            raise ApiError(403, "Forbidden", "not today")
        real(cluster, pod, grace_seconds)

    world = edge(RULES + DRAINING)
    world.cluster.apply(deployment("video", 1, {"gateway": "25"}))
    world.run(60)
    monkeypatch.setattr(Mortal, "evict", evict)
    [left] = world.nodes_of("video")
    world.cluster.cordon(left)
    world.run(300)
    assert world.nodes_of("video") == [left]
    pauses = [round(later - one) for one, later in itertools.pairwise(asked)]
    assert pauses[:6] == [1, 2, 4, 8, 16, 30]
    assert set(pauses[6:]) == {30}
    forbidden = False
    world.run(35)
    assert world.nodes_of("video") != [left]
    assert world.broken() == []


def test_a_fault_of_ours_is_told_once_a_second_and_pods_are_placed_meanwhile(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = settled()
    upkeep = world.simulation.scheduler.upkeep
    assert upkeep is not None
    with monkeypatch.context() as patched:
        patched.setattr(upkeep.healing, "tend", Mock(side_effect=ZeroDivisionError))
        world.cluster.apply(deployment("late", 2))
        world.run(20)
    assert "" not in world.nodes_of("late")
    told = [one for one in caplog.records if "keeping reserves and healing failed" in one.message]
    assert 2 <= len(told) <= 21
    caplog.clear()
    world.cluster.fail_node(world.nodes_of("video")[-1])
    world.run(60)
    assert world.broken() == [], "it goes on"
    assert not [one for one in caplog.records if one.levelname == "ERROR"]
