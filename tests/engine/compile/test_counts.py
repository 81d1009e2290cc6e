"""Statements that count pods: what counts, and that the counts follow."""

from __future__ import annotations

import msgspec
import pytest

from engine.model.objects import ContainerStatus, Pod, PodStatus
from grammar.policy import (
    Bound,
    Cardinality,
    CheckedPolicy,
    Compare,
    Condition,
    Domain,
    FactRef,
    Kind,
    Literal,
    NodeSet,
    Operator,
    Require,
    Rule,
    Spread,
    Statement,
    Step,
    Subject,
    Together,
    Try,
)
from tests.engine.build import NOW, PER_NODE, PER_ZONE, Bench, node, pod

NODES = [node("a1", zone="a"), node("a2", zone="a"), node("b1", zone="b"), node("bare")]


def fact(path: str, kind: Kind, operator: Operator, value: float) -> Condition:
    return Compare(FactRef(Subject.POD, path, kind), operator, Literal(value, kind))


def restarted(times: int, *, on: str) -> Pod:
    status = PodStatus(container_statuses=(ContainerStatus("main", times),))
    return msgspec.structs.replace(pod("old", on=on), status=status)


def places(bench: Bench, now: float = NOW) -> set[str]:
    refusals = bench.place(pod("asked"), now, diagnose=True).refusals
    assert refusals is not None
    return {bench.cache.columns.names[slot] for slot in refusals.feasible.nonzero()[0]}


def bench(*statements: Statement, old: tuple[str, ...] = ()) -> Bench:
    pods = [pod(f"old-{number}", on=name) for number, name in enumerate(old)]
    return Bench(NODES, [Rule("count", None, statements)], pods=pods)


ALL = {"a1", "a2", "b1", "bare"}
CASES: dict[str, tuple[Statement, tuple[str, ...], set[str]]] = {
    "spread, empty": (Spread(PER_ZONE), (), {"a1", "a2", "b1"}),
    "spread, one ahead": (Spread(PER_ZONE), ("a1",), {"b1"}),
    "spread, skew of two": (Spread(PER_ZONE, skew=2), ("a1",), {"a1", "a2", "b1"}),
    "spread, level": (Spread(PER_ZONE), ("a1", "b1"), {"a1", "a2", "b1"}),
    "spread over nodes": (Spread(PER_NODE), ("a1", "bare"), {"a2", "b1"}),
    "spread, too few domains": (Spread(PER_ZONE, domains=3), ("a1", "b1"), set()),
    "spread, pods without a zone don't count": (Spread(PER_ZONE), ("bare", "bare"), {"a1", "a2", "b1"}),
    "at most, room": (Cardinality(Bound.AT_MOST, 1, PER_NODE), ("a1",), {"a2", "b1", "bare"}),
    "at most per zone": (Cardinality(Bound.AT_MOST, 1, PER_ZONE), ("a1",), {"b1"}),
    "at most none": (Cardinality(Bound.AT_MOST, 0, PER_NODE), (), set()),
    "at least, itself counting": (Cardinality(Bound.AT_LEAST, 1, PER_ZONE), (), {"a1", "a2", "b1"}),
    "at least two": (Cardinality(Bound.AT_LEAST, 2, PER_ZONE), ("b1",), {"b1"}),
    "together, nobody yet": (Together(PER_ZONE), (), {"a1", "a2", "b1"}),
    "together": (Together(PER_ZONE), ("a1",), {"a1", "a2"}),
    "together on one node": (Together(PER_NODE), ("bare",), {"bare"}),
}


@pytest.mark.parametrize(("statement", "old", "expected"), CASES.values(), ids=CASES)
def test_hard(statement: Statement, old: tuple[str, ...], expected: set[str]) -> None:
    assert places(bench(statement, old=old)) == expected


def test_of_other_pods_the_pod_itself_does_not_count() -> None:
    others = Compare(FactRef(Subject.POD, "labels", Kind.TEXT, "app"), Operator.EQ, Literal("db", Kind.TEXT))
    rule = Rule("apart", None, (Cardinality(Bound.AT_MOST, 1, PER_NODE, others),))
    two = [pod(f"db-{number}", {"app": "db"}, on="a1") for number in range(2)]
    one = pod("db-2", {"app": "db"}, on="a2")
    made = Bench(NODES, [rule], pods=[*two, one])
    assert places(made) == {"a2", "b1", "bare"}


def test_messages_name_the_domain_the_rule_and_nodes_in_none() -> None:
    made = bench(Cardinality(Bound.AT_MOST, 1, PER_ZONE), old=("a1", "b1"))
    assert made.message(pod("asked")) == (
        '0/4 nodes are available: 1 node(s) without the label "topology.kubernetes.io/zone" (rule count, :0), '
        "3 node(s) whose zone already has 1 such pod(s), the most allowed (rule count, :0)."
    )


def test_domains_without_an_eligible_node_do_not_hold_a_spread_back() -> None:
    made = bench(Spread(PER_ZONE), old=("a1",))
    made.cache.put_node(node("b1", zone="b", cordoned=True))
    assert places(made) == {"a1", "a2"}


def test_stages_of_one_pod_do_not_share_the_domains_of_a_spread() -> None:
    """Zone b is in no node set of the first stage, so only the second has to fill it first."""
    zone = FactRef(Subject.NODE, "zone", Kind.TEXT)
    sets = (
        NodeSet("first", Compare(zone, Operator.EQ, Literal("b", Kind.TEXT))),
        NodeSet("second", Compare(zone, Operator.NE, Literal("b", Kind.TEXT))),
    )
    rule = Rule("count", None, (Spread(PER_ZONE), Try((Step("first"), Step("second")))))
    full = node("b1", zone="b", allocatable={"pods": "0"})
    made = Bench([*NODES[:2], full], CheckedPolicy(node_sets=sets, rules=(rule,)), pods=[pod("old", on="a1")])
    decision = made.place(pod("asked"))
    assert decision.stage == 1
    assert decision.node in ("a1", "a2")


def test_counts_follow_restarts() -> None:
    broken = fact("restarts", Kind.COUNT, Operator.GT, 3)
    made = Bench(NODES, [Rule("count", None, (Cardinality(Bound.AT_MOST, 0, PER_NODE, broken),))])
    made.cache.put_pod(restarted(0, on="a1"))
    assert places(made) == ALL
    made.cache.put_pod(restarted(4, on="a1"))
    assert places(made) == ALL - {"a1"}
    made.cache.remove_pod(pod("old").key)
    assert places(made) == ALL
    made.cache.put_pod(restarted(4, on="a1"))
    assert places(made) == ALL - {"a1"}, "a count that once went below zero would hide it"


def test_a_pod_counts_no_longer_once_it_terminates() -> None:
    made = Bench(NODES, [Rule("count", None, (Cardinality(Bound.AT_MOST, 1, PER_NODE),))])
    made.cache.put_pod(pod("old", on="a1"))
    assert places(made) == ALL - {"a1"}
    made.cache.put_pod(pod("old", on="a1", terminating=True))
    assert places(made) == ALL


def test_counts_follow_a_node_that_changes_its_domain() -> None:
    made = bench(Cardinality(Bound.AT_MOST, 1, PER_ZONE), old=("a1",))
    assert places(made) == {"b1"}
    made.cache.put_node(node("a1", zone="b"))
    assert places(made) == {"a2"}
    made.cache.remove_node("a1")
    assert places(made) == {"a2", "b1"}


def test_counts_follow_time() -> None:
    young = fact("age", Kind.DURATION, Operator.LT, 60_000)
    for domain in (PER_NODE, Domain("zone", PER_ZONE.label)):
        made = Bench(NODES, [Rule("count", None, (Cardinality(Bound.AT_MOST, 0, domain, young),))])
        made.cache.put_pod(pod("old", on="b1", created=NOW))
        assert "b1" not in places(made, NOW + 59)
        assert "b1" in places(made, NOW + 61)


def test_a_rule_that_selects_by_age_takes_hold_with_time() -> None:
    old = fact("age", Kind.DURATION, Operator.GE, 60_000)
    never = Require(Compare(FactRef(Subject.NODE, "pods", Kind.COUNT), Operator.LT, Literal(0, Kind.COUNT)))
    made = Bench(NODES, [Rule("wait", old, (never,))])
    asked = pod("asked", created=NOW)
    assert made.place(asked, NOW + 59).node is not None
    assert made.place(asked, NOW + 61).node is None
    assert made.place(asked, NOW + 59).node is not None


def test_a_swapped_plan_counts_anew_and_the_old_one_stops() -> None:
    made = bench(Cardinality(Bound.AT_MOST, 1, PER_ZONE), old=("a1",))
    assert places(made) == {"b1"}
    plan = made.placer.plan
    made.placer.swap_plan(plan)
    made.cache.remove_pod(pod("old-0").key)
    assert places(made) == {"a1", "a2", "b1"}


def test_two_placers_on_one_cache_count_for_themselves() -> None:
    made = bench(Cardinality(Bound.AT_MOST, 1, PER_ZONE), old=("a1",))
    assert places(made) == {"b1"}
    other = Bench([], [Rule("count", None, (Together(PER_ZONE),))])
    type(made.placer)(made.cache, other.placer.plan)
    made.cache.put_pod(pod("late", on="b1"))
    assert places(made) == set()
