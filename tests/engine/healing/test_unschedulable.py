"""Pods that nothing fits: the fewest others move, each to where its own rules let it be."""

from __future__ import annotations

import dataclasses

from msgspec.structs import replace

from engine.healing.pace import Pace
from engine.model.objects import Pod
from grammar.policy import Heal
from tests.engine.build import pod
from tests.engine.healing.scenes import NEAR, NOW, ROOM, Scene, a_node, a_pod, prioritised, told
from tests.engine.healing.test_draining import budget


def scene(*pods: Pod, heal: Heal = ROOM, sizes: tuple[int, ...] = (4, 4), text: str = "") -> Scene:
    nodes = [a_node(f"n{number}", memory=f"{size}Gi") for number, size in enumerate(sizes, 1)]
    delays = [("n1", f"n{number}", 10.0 * (number - 1)) for number in range(2, len(sizes) + 1)]
    return Scene(heal, nodes, pods, delays, text)


def waiting(made: Scene, one: Pod, since: float = NOW - 10) -> list[str]:
    made.cache.put_pod(one)
    return told(made.plan(waiting={one.key: since}))


def test_one_move_makes_room() -> None:
    made = scene(a_pod("a", "n1", "2Gi"), a_pod("b", "n2", "1Gi"))
    w = a_pod("w", "", "4Gi")
    assert waiting(made, w) == ["b: n2 -> n1 evict for w"]
    [move] = made.plan(waiting={w.key: NOW - 10}).moves
    assert move.why == "makes room for shop/w, which has waited for 10s"


def test_the_pod_whose_going_is_enough_and_has_a_place_moves() -> None:
    # w needs 4 of n1, where its delay holds; only the 2Gi pod has room elsewhere.
    made = scene(a_pod("a", "n1", "2Gi"), a_pod("b", "n2", "2Gi"), sizes=(4, 4, 1), text=NEAR)
    assert waiting(made, a_pod("w", "", "4Gi", delay_n1="5")) == ["a: n1 -> n2 evict for w"]


def test_fewer_moves_are_better_than_smaller_ones() -> None:
    pods = [a_pod("small", "n1", "1Gi"), a_pod("tiny", "n1", "1Gi"), a_pod("large", "n1", "2Gi")]
    made = scene(*pods, sizes=(4, 4), text=NEAR)
    assert waiting(made, a_pod("w", "", "2Gi", delay_n1="5")) == ["large: n1 -> n2 evict for w"]


def test_two_move_where_one_is_not_enough() -> None:
    pods = [a_pod("x", "n1", "2Gi"), a_pod("y", "n1", "2Gi")]
    made = scene(*pods, sizes=(4, 2, 2), text=NEAR)
    lines = waiting(made, a_pod("w", "", "4Gi", delay_n1="5"))
    assert {line[:5] for line in lines} == {"x: n1", "y: n1"}
    assert {line.split(" ")[3] for line in lines} == {"n2", "n3"}
    one = scene(*pods, sizes=(4, 2, 2), text=NEAR, heal=dataclasses.replace(ROOM, relocate=1))
    assert waiting(one, a_pod("w", "", "4Gi", delay_n1="5")) == ["w: stays on , nowhere"]


def test_a_moved_pods_own_rules_hold_after() -> None:
    made = scene(a_pod("a", "n1", "2Gi", delay_n1="5"), sizes=(2, 4), text=NEAR)
    assert waiting(made, a_pod("w", "", "2Gi", delay_n1="5")) == ["w: stays on , nowhere"]


def test_nobody_who_is_near_it_breaks_a_rule_by_a_move() -> None:
    # near needs to be within 5 ms of the workload of a, which may not go away therefore.
    pods = [a_pod("a", "n1", "2Gi"), a_pod("near", "n1", "1Gi", **{"delay_of-a": "5", "delay_n1": "5"})]
    made = scene(*pods, sizes=(3, 4), text=NEAR)
    assert waiting(made, a_pod("w", "", "2Gi", delay_n1="5")) == ["w: stays on , nowhere"]


def test_who_is_not_asked_to_move() -> None:
    w = a_pod("w", "", "2Gi", delay_n1="5")

    def lines(one: Pod, heal: Heal = ROOM, allowed: int | None = None, pace: Pace | None = None) -> list[str]:
        made = scene(one, sizes=(2, 4), text=NEAR, heal=heal)
        if allowed is not None:
            made.cache.budgets.put(budget(allowed))
        made.cache.put_pod(w)
        return told(made.plan(waiting={w.key: NOW - 10}, pace=pace or Pace()))

    moved, stays = ["a: n1 -> n2 evict for w"], ["w: stays on , nowhere"]
    assert lines(a_pod("a", "n1", "2Gi")) == moved
    assert lines(prioritised(a_pod("a", "n1", "2Gi"), 1000)) == moved
    assert lines(a_pod("a", "n1", "2Gi", kind="")) == stays
    assert lines(a_pod("a", "n1", "2Gi", kind=""), dataclasses.replace(ROOM, recreate=True)) == [
        "a: n1 -> n2 recreate for w"
    ]
    assert lines(a_pod("a", "n1", "2Gi", app="web"), allowed=0) == stays
    assert lines(a_pod("a", "n1", "2Gi", app="web"), allowed=1) == moved
    assert lines(a_pod("a", "n1", "2Gi", kind="DaemonSet")) == stays
    young = pod(
        "a",
        requests={"memory": "2Gi"},
        on="n1",
        owner=("ReplicaSet", "r"),
        created=NOW - 59,
        namespace="shop",
    )
    assert lines(young) == stays
    pace = Pace()
    made = scene(a_pod("a", "n1", "2Gi"), sizes=(2, 4), text=NEAR)
    made.cache.put_pod(w)
    [move] = made.plan(waiting={w.key: NOW - 10}).moves
    victim = made.cache.pod(move.pod)
    assert victim is not None
    pace.carried_out(dataclasses.replace(move, source="n7"), victim, NOW - 100)
    assert lines(a_pod("a", "n1", "2Gi"), pace=pace) == stays


def test_only_once_it_has_waited_for_the_duration() -> None:
    made = scene(a_pod("a", "n1", "2Gi"), sizes=(2, 4), text=NEAR)
    w = a_pod("w", "", "2Gi", delay_n1="5")
    made.cache.put_pod(w)
    plan = made.plan(waiting={w.key: NOW - 9})
    assert (plan.moves, plan.stays, plan.due) == ((), (), NOW + 1)


def test_two_that_wait_do_not_count_on_the_same_room() -> None:
    made = scene(a_pod("a", "n1", "2Gi"), sizes=(2, 4), text=NEAR)
    ws = [a_pod(name, "", "2Gi", delay_n1="5") for name in ("w1", "w2")]
    for one in ws:
        made.cache.put_pod(one)
    assert told(made.plan(waiting={one.key: NOW - 10 for one in ws})) == [
        "a: n1 -> n2 evict for w1",
        "w2: stays on , nowhere",
    ]


def test_a_pod_that_fits_by_now_or_has_a_node_promised_is_left_to_the_scheduler() -> None:
    made = scene(sizes=(2, 4))
    w = a_pod("w", "", "2Gi")
    assert waiting(made, w) == []
    full = scene(a_pod("a", "n1", "2Gi"), sizes=(2, 4), text=NEAR)
    nominated = a_pod("w", "", "2Gi", delay_n1="5")
    nominated = replace(nominated, status=replace(nominated.status, nominated_node_name="n1"))
    assert waiting(full, nominated) == []


def test_the_rate_holds() -> None:
    made = scene(
        a_pod("a", "n1", "2Gi"),
        sizes=(2, 4),
        text=NEAR,
        heal=dataclasses.replace(ROOM, moves=1, per_ms=60_000.0),
    )
    w = a_pod("w", "", "2Gi", delay_n1="5")
    made.cache.put_pod(w)
    pace = Pace()
    plan = made.plan(waiting={w.key: NOW - 10}, pace=pace)
    assert told(plan) == ["a: n1 -> n2 evict for w"]
    victim = made.cache.pod(plan.moves[0].pod)
    assert victim is not None
    pace.carried_out(plan.moves[0], victim, NOW)
    again = made.plan(NOW + 1, waiting={w.key: NOW - 10}, pace=pace)
    assert (told(again), again.due) == (["w: stays on , rate"], NOW + 60)


def test_who_moves_goes_elsewhere_though_it_would_rather_come_back() -> None:
    # w keeps away from x, which does not mind w, and is best off where it is.
    text = """
rule apart for pods where pod.labels["app"] == "w" {
  at most 1 per node of pods where pod.labels["app"] in ["w", "x"]
}
rule best for all pods {
  prefer node.name == "n1" weight 5
}
"""
    made = scene(a_pod("a", "n1", app="x"), sizes=(8, 8), text=NEAR + text)
    assert waiting(made, a_pod("w", "", app="w", delay_n1="5")) == ["a: n1 -> n2 evict for w"]
