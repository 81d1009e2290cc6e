"""Pods of lost nodes: which move, how and where to; and which nodes are left alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from msgspec.structs import replace

from engine.healing.pace import Pace
from engine.healing.plan import Way
from engine.model.objects import Node, Pod, Taint
from grammar.policy import Heal
from tests.engine.healing.scenes import DOMAINS, LOST, NEAR, NOW, Scene, a_node, a_pod, prioritised, told

HOLD = dataclasses.replace(LOST, hold=55.0, hold_domain=DOMAINS["zone"])


def three(*pods: Pod, heal: Heal = LOST, memory: str = "8Gi") -> Scene:
    nodes = [a_node("n1", "a"), a_node("n2", "b", memory), a_node("n3", "c", memory)]
    return Scene(heal, nodes, pods)


@pytest.mark.parametrize(
    ("lasting", "moves", "due"),
    [(9.0, 0, NOW + 1.0), (10.0, 1, None), (500.0, 1, None)],
    ids=["not yet", "just now", "long ago"],
)
def test_a_pod_moves_once_its_node_was_silent_for_the_duration(
    lasting: float, moves: int, due: float | None
) -> None:
    scene = three(a_pod("p", "n1"))
    scene.lose("n1", since=NOW - lasting)
    plan = scene.plan()
    assert (len(plan.moves), plan.due) == (moves, due)


def test_a_node_that_does_not_say_since_when_counts_from_when_it_was_seen() -> None:
    scene = three(a_pod("p", "n1"))
    one = scene.cache.node("n1")
    assert one is not None
    conditions = tuple(replace(c, status="False") for c in one.status.conditions or ())
    scene.cache.put_node(replace(one, status=replace(one.status, conditions=conditions)))
    assert scene.plan().due == NOW + 10
    assert len(scene.plan(NOW + 10).moves) == 1


def test_a_node_counts_as_silent_from_when_it_was_seen_where_its_clock_is_ahead_of_ours() -> None:
    scene = three(a_pod("p", "n1"))
    scene.lose("n1", since=NOW + 30)
    assert scene.plan().due == NOW + 10
    assert scene.plan(NOW + 9).due == NOW + 10
    assert len(scene.plan(NOW + 10).moves) == 1
    scene.lose("n1", since=NOW + 40)
    assert scene.plan(NOW + 41).due == NOW + 50, "it was back, and is silent again"


def test_a_silent_node_that_is_taken_out_has_been_lost_all_along() -> None:
    scene = three(a_pod("p", "n1", kind="StatefulSet"))
    scene.lose("n1", since=NOW - 60)
    assert told(scene.plan()) == ["p: stays on n1, stateful"]
    scene.cache.remove_node("n1")
    [move] = scene.plan(NOW + 1).moves
    assert move.why == "node n1 has been lost for 61s, and gone"


OFF = Taint("node.kubernetes.io/out-of-service", "nodeshutdown", "NoExecute")
RECREATE = dataclasses.replace(LOST, recreate=True)
FORCED = dataclasses.replace(LOST, force=True)


@pytest.mark.parametrize(
    ("kind", "heal", "loss", "expected"),
    [
        ("ReplicaSet", LOST, "silent", Way.DELETE),
        ("Job", LOST, "silent", Way.DELETE),
        ("ReplicaSet", LOST, "gone", Way.FORCE),
        ("StatefulSet", LOST, "silent", "stateful"),
        ("StatefulSet", LOST, "off", Way.FORCE),
        ("StatefulSet", LOST, "gone", Way.FORCE),
        ("StatefulSet", FORCED, "silent", Way.FORCE),
        ("", LOST, "silent", "bare"),
        ("", RECREATE, "silent", Way.RECREATE),
        ("DaemonSet", LOST, "silent", None),
        ("Node", RECREATE, "silent", None),
    ],
)
def test_each_kind_of_pod_leaves_in_its_way(
    kind: str, heal: Heal, loss: str, expected: Way | str | None
) -> None:
    scene = three(a_pod("p", "n1", kind=kind), heal=heal)
    one = scene.cache.node("n1")
    assert one is not None
    if loss == "gone":
        scene.cache.remove_node("n1")
        assert not scene.plan(NOW - 10).moves
    else:
        if loss == "off":
            scene.cache.put_node(replace(one, spec=replace(one.spec, taints=(OFF,))))
        scene.lose("n1", since=NOW - 10)
    plan = scene.plan()
    found = [move.way for move in plan.moves] + [stay.reason for stay in plan.stays]
    assert found == ([] if expected is None else [expected])


def test_to_the_backup_first_where_the_placeholder_gives_way() -> None:
    scene = three(a_pod("p", "n1", "3Gi"), a_pod("holder", "n3", "8Gi", kind="Node"))
    scene.lose("n1", since=NOW - 10)
    holder = scene.cache.pod(scene.key("holder"))
    plan = scene.plan(backups={scene.key("p"): "n3"}, placeholders=[holder])
    assert told(plan) == ["p: n1 -> n3 delete (backup)"]
    assert plan.moves[0].why == "node n1 has been lost for 10s"
    assert holder is not None
    assert holder.slot == scene.cache.columns.slot("n3")


def test_what_is_kept_is_not_for_pods_that_are_not_covered() -> None:
    scene = three(a_pod("p", "n1", "3Gi"), a_pod("holder", "n3", "8Gi", kind="Node"), memory="8Gi")
    scene.cache.put_pod(a_pod("full", "n2", "8Gi"))
    scene.lose("n1", since=NOW - 10)
    holder = scene.cache.pod(scene.key("holder"))
    assert told(scene.plan(placeholders=[holder])) == ["p: stays on n1, nowhere"]


def test_a_covered_pod_whose_backup_is_of_no_use_may_take_what_is_kept_elsewhere() -> None:
    scene = three(a_pod("p", "n1", "3Gi"), a_pod("holder", "n3", "8Gi", kind="Node"))
    scene.cache.put_pod(a_pod("full", "n2", "8Gi"))
    scene.lose("n1", since=NOW - 10)
    holder = scene.cache.pod(scene.key("holder"))
    plan = scene.plan(backups={scene.key("p"): "n2"}, placeholders=[holder])
    assert told(plan) == ["p: n1 -> n3 delete"]


def test_the_delay_holds_after_the_move_as_before() -> None:
    pods = [a_pod("p", "n1", delay_src="10"), a_pod("q", "n1", delay_src="3")]
    nodes = [a_node("n1"), a_node("n2"), a_node("n3"), a_node("src", memory="0")]
    delays = [("src", "n1", 1.0), ("src", "n2", 9.0), ("src", "n3", 20.0)]
    scene = Scene(LOST, nodes, pods, delays, NEAR)
    scene.lose("n1", since=NOW - 10)
    plan = scene.plan()
    assert told(plan) == ["p: n1 -> n2 delete", "q: stays on n1, nowhere"]
    assert "not within 3ms of src" in plan.stays[0].why


def test_all_fit_together_though_the_first_would_take_the_only_place_of_the_second() -> None:
    # Room for 4 and for 2. The small one would rather go where more is left, which the large one needs.
    nodes = [a_node("n1"), a_node("n2", memory="4Gi"), a_node("n3", memory="2Gi")]
    pods = [a_pod("a-small", "n1", "1Gi"), a_pod("b-large", "n1", "4Gi"), a_pod("c-small", "n1", "1Gi")]
    scene = Scene(LOST, nodes, pods)
    scene.lose("n1", since=NOW - 10)
    plan = scene.plan()
    assert {move.pod.name: move.target for move in plan.moves} == {
        "a-small": "n3",
        "b-large": "n2",
        "c-small": "n3",
    }


def test_where_not_all_fit_the_most_important_do() -> None:
    nodes = [a_node("n1"), a_node("n2", memory="4Gi")]
    pods = [
        prioritised(a_pod("a", "n1", "1Gi"), 1),
        prioritised(a_pod("b", "n1", "4Gi"), 100),
        prioritised(a_pod("c", "n1", "1Gi"), 50),
    ]
    scene = Scene(LOST, nodes, pods)
    scene.lose("n1", since=NOW - 10)
    assert told(scene.plan()) == [
        "b: n1 -> n2 delete",
        "c: stays on n1, nowhere",
        "a: stays on n1, nowhere",
    ]


def test_where_a_rule_allows_few_moves_the_more_important_have_them_backup_or_not() -> None:
    pods = [a_pod("low", "n1"), prioritised(a_pod("high", "n1"), 100)]
    scene = three(*pods, heal=dataclasses.replace(LOST, moves=1, per_ms=60_000.0))
    scene.lose("n1", since=NOW - 10)
    plan = scene.plan(backups={scene.key("low"): "n2"})
    assert [move.pod.name for move in plan.moves] == ["high"]
    assert [(stay.pod.name, stay.reason) for stay in plan.stays] == [("low", "rate")]


def test_no_more_than_the_rule_allows() -> None:
    pods = [prioritised(a_pod(f"p{number}", "n1"), number) for number in range(4)]
    scene = three(*pods, heal=dataclasses.replace(LOST, moves=3, per_ms=60_000.0))
    scene.lose("n1", since=NOW - 10)
    pace = Pace()
    first = scene.plan(pace=pace)
    assert [move.pod.name for move in first.moves] == ["p3", "p2", "p1"]
    assert [(stay.pod.name, stay.reason) for stay in first.stays] == [("p0", "rate")]
    assert first.due == NOW + 60
    assert scene.plan(pace=pace) == first, "planning alone uses nothing up"
    for move in first.moves[:2]:
        moved = scene.cache.pod(move.pod)
        assert moved is not None
        pace.carried_out(move, moved, NOW)
        scene.cache.remove_pod(move.pod)
    second = scene.plan(NOW + 1, pace=pace)
    assert [move.pod.name for move in second.moves] == ["p1"]
    assert second.due == NOW + 60
    assert [move.pod.name for move in scene.plan(NOW + 60, pace=pace).moves] == ["p1", "p0"]


def test_a_later_step_opens_by_the_time_since_the_loss() -> None:
    text = """
    nodes edge where node.zone == "b"
    nodes cloud where node.zone == "c"
    rule home for all pods {
      try edge then cloud after 30s
    }
    """
    scene = Scene(LOST, [a_node("n1", "b"), a_node("n3", "c")], [a_pod("p", "n1")], text=text)
    scene.lose("n1", since=NOW - 10)
    first = scene.plan()
    assert told(first) == ["p: stays on n1, nowhere"]
    assert first.due == NOW + 20
    second = scene.plan(NOW + 20)
    assert told(second) == ["p: n1 -> n3 delete"]
    assert second.moves[0].stage.startswith("cloud")


def zones(**sizes: int) -> list[Node]:
    return [a_node(f"{zone}{number}", zone) for zone, size in sizes.items() for number in range(size)]


@pytest.mark.parametrize(
    ("sizes", "lost", "held"),
    [
        ({"a": 3, "b": 2}, ["a0"], False),
        ({"a": 3, "b": 2}, ["a0", "a1"], True),
        ({"a": 1, "b": 2}, ["a0"], False),
        ({"a": 2, "b": 2}, ["a0"], False),
        ({"a": 2, "b": 2}, ["a0", "a1"], True),
        ({"a": 4, "b": 4}, ["a0", "b1"], False),
    ],
    ids=["a third", "two thirds", "the only one", "a half", "all", "here and there"],
)
def test_what_falls_silent_together_is_left_alone(sizes: dict[str, int], lost: list[str], held: bool) -> None:
    scene = Scene(HOLD, zones(**sizes), [a_pod(f"p-{name}", name) for name in lost])
    # The last is not past the duration, and counts all the same.
    scene.lose(*lost[:1], since=NOW - 20)
    scene.lose(*lost[1:], since=NOW - 2)
    plan = scene.plan()
    assert (not plan.moves) == held
    assert [one.subject for one in plan.held] == (["zone a"] if held else [])
    if held:
        assert plan.held[0].nodes == tuple(lost)
        assert plan.held[0].why.endswith("nodes of zone a are silent: a cut link, not a crash")
        assert [stay.reason for stay in plan.stays] == ["held"]


def test_a_domain_that_each_node_is_for_itself_is_held_whenever_the_rule_says_so() -> None:
    scene = Scene(dataclasses.replace(HOLD, hold_domain=DOMAINS["node"]), zones(a=2), [a_pod("p", "a0")])
    scene.lose("a0", since=NOW - 20)
    assert [one.subject for one in scene.plan().held] == ["node a0"]


def test_what_is_silent_still_a_minute_after_the_others_came_back_is_lost() -> None:
    scene = Scene(HOLD, zones(a=3, b=2), [a_pod("p", "a0"), a_pod("q", "a1")])
    scene.lose("a0", "a1", since=NOW - 20)
    assert scene.plan(NOW).held
    scene.cache.put_node(a_node("a1", "a"))
    after = scene.plan(NOW + 5)
    assert (after.moves, after.stays, after.held, after.due) == ((), (), (), NOW + 60)
    assert scene.plan(NOW + 59).moves == ()
    assert told(scene.plan(NOW + 60)) == [f"p: a0 -> {scene.plan(NOW + 60).moves[0].target} delete"]


@pytest.mark.parametrize(
    ("age", "held"),
    [(3.0, True), (19.0, True), (21.0, False), (None, False)],
    ids=["reached just now", "reached after the loss", "reached before it", "never reached"],
)
def test_a_node_that_its_peers_reach_is_cut_off_and_not_dead(age: float | None, held: bool) -> None:
    scene = three(a_pod("p", "n1"))
    scene.lose("n1", since=NOW - 20)
    plan = scene.plan(contacts={} if age is None else {"n1": age})
    assert bool(plan.held) is held
    assert bool(plan.moves) is not held


def test_a_contact_counts_for_a_while_only() -> None:
    scene = three(a_pod("p", "n1"))
    scene.lose("n1", since=NOW - 300)
    assert scene.plan(contacts={"n1": 100.0}).held
    assert scene.plan(contacts={"n1": 130.0}).moves


@pytest.mark.parametrize("what", ["terminating", "another scheduler's"])
def test_some_pods_are_not_moved(what: str) -> None:
    one = a_pod("p", "n1")
    more: dict[str, Any] = {}
    if what == "terminating":
        one = replace(one, metadata=replace(one.metadata, deletion_timestamp=one.metadata.creation_timestamp))
    else:
        more["ours"] = lambda _: False
    scene = three(one)
    scene.lose("n1", since=NOW - 20)
    plan = scene.plan(**more)
    assert (plan.moves, plan.stays) == ((), ())


def test_room_that_is_promised_is_taken() -> None:
    scene = three(a_pod("p", "n1", "5Gi"), a_pod("earlier", "n1", "4Gi"))
    scene.cache.put_pod(a_pod("full", "n3", "8Gi"))
    scene.lose("n1", since=NOW - 20)
    earlier = scene.cache.remove_pod(scene.key("earlier"))
    assert earlier is not None
    assert told(scene.plan()) == ["p: n1 -> n2 delete"]
    # Nobody is known of its workload: its replacement is yet to be made.
    stand_in = dataclasses.replace(earlier, key=earlier.key._replace(name="earlier-promised"))
    scene.cache.nominations.put(stand_in, "n2")
    assert told(scene.plan()) == ["p: stays on n1, nowhere"]
    assert scene.cache.workloads.get("shop", "of-earlier") is None


def test_a_plan_changes_nothing() -> None:
    pods = [a_pod(f"p{number}", "n1") for number in range(5)]
    scene = three(*pods)
    scene.lose("n1", since=NOW - 20)
    columns = scene.cache.columns
    before = {name: column.tolist() for name, column in columns.used.items()}
    first = scene.plan()
    assert len(first.moves) == 5
    assert {name: column.tolist() for name, column in columns.used.items()} == before
    assert scene.plan() == first


def test_nothing_to_do_leaves_no_trace_in_the_logs() -> None:
    scene = three(a_pod("p", "n1"))
    columns = scene.cache.columns
    versions = (columns.node_changes.version, columns.usage_changes.version)
    plan = scene.plan()
    assert (plan.moves, plan.stays, plan.held, plan.due) == ((), (), (), None)
    assert (columns.node_changes.version, columns.usage_changes.version) == versions
