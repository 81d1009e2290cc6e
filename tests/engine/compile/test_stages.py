"""Fallbacks: the order of the stages, when they open, what they waive, what is told."""

from __future__ import annotations

import pytest

from engine.constraints.protocol import Depends
from engine.delay.map import DelayMap
from grammar.policy import (
    CheckedPolicy,
    Compare,
    Condition,
    Delay,
    FactRef,
    Kind,
    Literal,
    NodeSet,
    Operator,
    PreferScaled,
    Require,
    Rule,
    Step,
    Subject,
    Try,
)
from grammar.span import Span
from tests.engine.build import Bench, node, pod


def role(name: str, operator: Operator = Operator.EQ) -> Condition:
    return Compare(FactRef(Subject.NODE, "labels", Kind.TEXT, "role"), operator, Literal(name, Kind.TEXT))


SETS = tuple(NodeSet(name, role(name)) for name in ("edge", "cloud", "attic"))
NEAR = Rule("near", None, (Require(Compare(Delay("e1"), Operator.LE, Literal(5.0, Kind.DURATION))),))
E1 = node("e1", {"role": "edge"}, allocatable={"cpu": "1", "pods": "1"})
C1 = node("c1", {"role": "cloud"})
A1 = node("a1", {"role": "attic"})


def fallback(*steps: Step, name: str = "fall", line: int = 7) -> Rule:
    return Rule(name, None, (Try(steps, Span("edge.policy", line, 3, line, 40)),))


def bench(*rules: Rule) -> Bench:
    return Bench([E1, C1, A1], CheckedPolicy(node_sets=SETS, rules=rules), [("e1", "c1", 30.0)])


def test_the_first_set_while_it_can_take_the_pod() -> None:
    made = bench(fallback(Step("edge"), Step("cloud")))
    decision = made.place(pod("one"))
    assert (decision.node, decision.stage, decision.opened) == ("e1", 0, "")
    made.cache.assume(pod("one").key, "e1")
    decision = made.place(pod("two"))
    assert (decision.node, decision.stage) == ("c1", 1)
    assert decision.opened == "cloud (rule fall, edge.policy:7)"


@pytest.mark.parametrize(
    ("waited", "node_", "retry"),
    [(0.0, None, 30_000.0), (29_999.0, None, 1.0), (30_000.0, "c1", None)],
    ids=["at once", "just before", "just then"],
)
def test_a_set_with_a_duration(waited: float, node_: str | None, retry: float | None) -> None:
    made = bench(fallback(Step("edge"), Step("cloud", 30_000.0)))
    made.bind(pod("full"))
    decision = made.place(pod("asked"), waited_ms=waited)
    assert (decision.node, decision.retry_ms) == (node_, retry)


def test_the_message_tells_what_comes_next() -> None:
    made = bench(fallback(Step("edge"), Step("cloud", 30_000.0)))
    made.bind(pod("full"))
    assert made.message(pod("asked")) == (
        "0/3 nodes are available: 1 Too many pods, "
        "2 node(s) outside edge, which is tried now (rule fall, edge.policy:7). "
        "Not tried yet: cloud (rule fall, edge.policy:7), after 30s."
    )


def test_durations_add_up_along_a_try() -> None:
    made = bench(fallback(Step("edge"), Step("cloud", 10_000.0), Step("attic", 10_000.0)))
    made.bind(pod("full"))
    made.cache.remove_node("c1")
    assert made.place(pod("asked"), waited_ms=19_999.0).node is None
    assert made.where(pod("asked"), waited_ms=20_000.0) == "a1"


def test_waiving_binds_only_where_it_is_written() -> None:
    made = bench(NEAR, fallback(Step("edge"), Step("cloud", waiving=("near",)), Step("attic")))
    made.bind(pod("full"))
    assert made.where(pod("asked")) == "c1"
    made.cache.remove_node("c1")
    made.cache.put_node(A1)
    assert made.place(pod("asked")).node is None, "the attic is too far, and nothing is waived there"


@pytest.mark.parametrize(("first", "second", "nearest"), [(30.0, 40.0, "c1"), (40.0, 30.0, "c2")])
def test_what_a_waived_rule_prefers_still_ranks(first: float, second: float, nearest: str) -> None:
    near = Rule("near", None, (*NEAR.statements, PreferScaled(Delay("e1"), 3, low=True)))
    rules = (near, fallback(Step("edge"), Step("cloud", waiving=("near",))))
    clouds = [C1, node("c2", {"role": "cloud"})]
    delays = [("e1", "c1", first), ("e1", "c2", second)]
    made = Bench([E1, *clouds], CheckedPolicy(node_sets=SETS, rules=rules), delays)
    made.bind(pod("full"))
    assert made.where(pod("asked")) == nearest


def test_two_tries_go_through_every_combination_least_relaxed_first() -> None:
    made = bench(
        fallback(Step("edge"), Step("cloud"), name="one"),
        fallback(Step("attic"), Step("cloud"), name="two", line=9),
    )
    decision = made.place(pod("asked"))
    assert (decision.node, decision.stage) == ("c1", 3)
    assert decision.opened == "cloud (rule one, edge.policy:7), cloud (rule two, edge.policy:9)"


def test_what_helps_an_earlier_stage_helps() -> None:
    """Too far in the edge, cordoned in the cloud, where distance is waived: shorter delays must wake the pod."""
    made = bench(NEAR, fallback(Step("edge"), Step("cloud", waiving=("near",))))
    made.bind(pod("full"))
    made.cache.put_node(node("e2", {"role": "edge"}))
    for cordoned in (C1, A1):
        made.cache.put_node(node(cordoned.name, cordoned.metadata.labels, cordoned=True))
    decision = made.place(pod("asked"))
    assert decision.node is None
    assert decision.stage == 1
    assert decision.helped_by & Depends.DELAY
    made.placer.swap_delays(DelayMap.from_pairs([("e1", "e2", 1.0)]))
    assert made.where(pod("asked")) == "e2"
