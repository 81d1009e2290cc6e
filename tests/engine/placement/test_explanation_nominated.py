"""Nodes that are promised to a pod: what is said of them to that pod, and to others."""

from __future__ import annotations

from msgspec.structs import replace

from engine.compile import compile_policy
from engine.constraints.telling import RoomPromised
from engine.model.objects import Pod
from engine.placement import Placer
from engine.placement.explanation import Explanation, explain
from engine.placement.explanation_parts import StageState
from engine.placement.explanation_scores import Why
from engine.state.cache import Cache
from grammar.policy import CheckedPolicy
from tests.engine.build import node, pod


def ranked(name: str, priority: int, nominated: str = "") -> Pod:
    made = pod(name, requests={"cpu": "1"})
    status = replace(made.status, nominated_node_name=nominated)
    return replace(made, spec=replace(made.spec, priority=priority), status=status)


def explained(asked: Pod, *others: Pod) -> Explanation:
    """On a node with room for one pod, and one with room for four."""
    cache = Cache()
    for name, cpu in (("narrow", "1"), ("wide", "4")):
        cache.put_node(node(name, allocatable={"cpu": cpu, "memory": "8Gi", "pods": "10"}))
    for one in others:
        cache.put_pod(one)
    placer = Placer(cache, compile_policy(CheckedPolicy()))
    return explain(placer, cache.put_pod(asked), 0.0)


def test_what_others_are_promised_is_no_room() -> None:
    found = explained(ranked("second", 5), ranked("first", 5, "narrow"))
    assert (found.decision.node, found.feasible, found.stages[0].feasible) == ("wide", 1, 1)
    assert found.why is Why.ONLY
    narrow = found.node("narrow")
    assert narrow is not None
    assert not narrow.fits
    (refusal,) = narrow.refusals
    assert (refusal.source.name, refusal.reason) == ("NominatedPods", "Insufficient cpu")
    assert refusal.values == (RoomPromised("default/first", 5),)
    assert str(refusal.values[0]) == "promised to default/first of priority 5"
    assert refusal.source in found.requires


def test_a_promise_to_a_lower_pod_does_not_count() -> None:
    assert explained(ranked("second", 6), ranked("first", 5, "narrow")).feasible == 2


def test_the_pod_goes_where_room_was_made_for_it() -> None:
    found = explained(ranked("first", 5, "narrow"))
    assert (found.decision.node, found.why, found.nominated) == ("narrow", Why.NOMINATED, "narrow")
    assert (found.feasible, found.runner_up) == (2, "wide"), "the other would do, but is not asked about"
    assert [one.name for one in found.nodes] == ["narrow", "wide"]
    assert (found.stages[0].state, found.stages[0].feasible) == (StageState.CHOSEN, 2)
