"""Nodes that are being emptied: their pods are moved ahead of time, as budgets allow."""

from __future__ import annotations

import dataclasses

import pytest
from msgspec.structs import replace

from engine.healing.plan import Way
from engine.model.objects import BudgetSpec, BudgetStatus, Identity, LabelSelector, PodDisruptionBudget
from grammar.policy import Heal
from tests.engine.healing.scenes import DRAIN, NOW, Scene, a_node, a_pod, told


def cordon(scene: Scene, name: str) -> None:
    one = scene.cache.node(name)
    assert one is not None
    scene.cache.put_node(replace(one, spec=replace(one.spec, unschedulable=True)))


def budget(allowed: int, app: str = "web") -> PodDisruptionBudget:
    return PodDisruptionBudget(
        Identity(name="budget", namespace="shop"),
        BudgetSpec(LabelSelector({"app": app})),
        BudgetStatus(disruptions_allowed=allowed),
    )


def test_pods_leave_a_node_that_has_been_cordoned_for_the_duration() -> None:
    scene = Scene(DRAIN, [a_node("n1"), a_node("n2")], [a_pod("p", "n1")])
    assert scene.plan(NOW).due is None
    cordon(scene, "n1")
    assert (scene.plan(NOW + 1).moves, scene.plan(NOW + 1).due) == ((), NOW + 11)
    plan = scene.plan(NOW + 11)
    assert told(plan) == ["p: n1 -> n2 evict"]
    assert plan.moves[0].why == "node n1 has been cordoned for 10s"


def drained(heal: Heal = DRAIN, *, nodes: int = 2, allowed: int | None = None, **kinds: str) -> Scene:
    pods = [a_pod(name, "n1", kind=kind, app="web") for name, kind in kinds.items()]
    scene = Scene(heal, [a_node(f"n{number}") for number in range(1, nodes + 1)], pods)
    if allowed is not None:
        scene.cache.budgets.put(budget(allowed))
    cordon(scene, "n1")
    scene.plan(NOW - 20)
    return scene


def test_who_was_counted_as_evicted_already_is_not_let_go_again_for_that() -> None:
    """The API server may count one that it did not delete in the end, and lets nobody else go meanwhile."""
    scene = drained(a="ReplicaSet", b="ReplicaSet")
    counted = BudgetStatus(disruptions_allowed=0, disrupted_pods={"a": None})
    scene.cache.budgets.put(PodDisruptionBudget(budget(0).metadata, budget(0).spec, counted))
    assert told(scene.plan()) == ["a: stays on n1, budget", "b: stays on n1, budget"]


def test_budgets_hold_for_all_moves_together() -> None:
    scene = drained(a="ReplicaSet", b="ReplicaSet", c="ReplicaSet", allowed=2)
    assert told(scene.plan()) == ["a: n1 -> n2 evict", "b: n1 -> n2 evict", "c: stays on n1, budget"]


@pytest.mark.parametrize(
    ("kind", "recreate", "expected"),
    [
        ("ReplicaSet", False, Way.EVICT),
        ("StatefulSet", False, Way.EVICT),
        ("", False, "bare"),
        ("", True, Way.RECREATE),
        ("DaemonSet", False, None),
    ],
)
def test_each_kind_leaves_in_its_way(kind: str, recreate: bool, expected: Way | str | None) -> None:
    plan = drained(dataclasses.replace(DRAIN, recreate=recreate), p=kind).plan()
    found = [move.way for move in plan.moves] + [stay.reason for stay in plan.stays]
    assert found == ([] if expected is None else [expected])


def test_the_rate_holds() -> None:
    scene = drained(dataclasses.replace(DRAIN, moves=1, per_ms=60_000.0), a="Job", b="Job")
    plan = scene.plan()
    assert told(plan) == ["a: n1 -> n2 evict", "b: stays on n1, rate"]
    assert plan.due == NOW + 60


def test_to_the_backup_where_the_placeholder_gives_way() -> None:
    scene = drained(p="ReplicaSet", nodes=3)
    holder = scene.cache.put_pod(a_pod("holder", "n3", "8Gi", kind="Node"))
    plan = scene.plan(backups={scene.key("p"): "n3"}, placeholders=[holder])
    assert told(plan) == ["p: n1 -> n3 evict (backup)"]


def test_not_onto_another_node_that_is_being_emptied() -> None:
    scene = drained(p="ReplicaSet")
    cordon(scene, "n2")
    plan = scene.plan()
    assert told(plan) == ["p: stays on n1, nowhere"]
    assert plan.stays[0].why == "node n1 has been cordoned for 20s, and there is no other node to go to"


@pytest.mark.parametrize(
    ("others", "why"),
    [
        (0, "there is no other node to go to"),
        (1, "the only other node does not take it: 1 Insufficient memory"),
        (2, "none of the 2 other nodes takes it: 2 Insufficient memory"),
    ],
)
def test_why_a_pod_stays_counts_the_other_nodes(others: int, why: str) -> None:
    small = [a_node(f"small-{number}", memory="1Gi") for number in range(others)]
    scene = Scene(DRAIN, [a_node("n1", cordoned=True), *small], [a_pod("p", "n1", "2Gi")])
    scene.plan(NOW - 20)
    [stay] = scene.plan().stays
    assert stay.why == f"node n1 has been cordoned for 20s, and {why}"


def test_a_node_that_is_in_use_again_begins_anew() -> None:
    scene = drained(p="ReplicaSet")
    scene.cache.put_node(a_node("n1"))
    scene.plan(NOW)
    cordon(scene, "n1")
    assert scene.plan(NOW + 5).due == NOW + 15
