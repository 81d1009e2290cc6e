"""What a delay is measured from, and what happens when that moves or is nowhere."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from engine.constraints.protocol import Depends
from engine.delay.map import DelayMap
from engine.model.objects import Node, Pod
from grammar.policy import (
    CheckedPolicy,
    Compare,
    Delay,
    Kind,
    Literal,
    NodeSet,
    Operator,
    PreferScaled,
    Require,
    Rule,
    Step,
    Try,
)
from tests.engine.build import Bench, node, pod

DELAYS = [("a", "b", 5.0), ("a", "c", 20.0), ("b", "c", 8.0)]


def within(origin: str, ms: float, or_unmeasured: bool = False) -> Rule:
    limit = Compare(Delay(origin), Operator.LE, Literal(ms, Kind.DURATION), or_unmeasured)
    return Rule("near", None, (Require(limit),))


def feasible(
    origin: str, ms: float, pods: Iterable[Pod] = (), nodes: Iterable[Node] | None = None
) -> set[str]:
    made = [node("a", zone="z"), node("b", zone="z"), node("c")] if nodes is None else list(nodes)
    bench = Bench(made, [within(origin, ms)], DELAYS, pods)
    decision = bench.place(pod("asked"), diagnose=True)
    if decision.refusals is None:
        return set()
    return {bench.cache.columns.names[slot] for slot in decision.refusals.feasible.nonzero()[0]}


def web(name: str = "web-1", on: str = "", namespace: str = "default", *, terminating: bool = False) -> Pod:
    owner = ("StatefulSet", "web")
    return pod(name, on=on, owner=owner, namespace=namespace, terminating=terminating)


CASES: dict[str, tuple[str, float, list[Pod], set[str]]] = {
    "a node": ("a", 5, [], {"a", "b"}),
    "a node is 0 ms from itself": ("a", 0, [], {"a"}),
    "a workload": ("web", 8, [web(on="c")], {"b", "c"}),
    "the nearest of its pods": ("web", 5, [web(on="c"), web("web-2", on="a")], {"a", "b", "c"}),
    "a bare pod by its own name": ("source", 5, [pod("source", on="b")], {"a", "b"}),
    "the nearest node of a zone": ("z", 8, [], {"a", "b", "c"}),
    "a node before a workload of its name": ("a", 5, [pod("a", on="c")], {"a", "b"}),
    "a workload before a zone of its name": ("z", 5, [pod("z", on="c")], {"c"}),
    "a terminating pod is no reference": ("web", 8, [web(on="c"), web("w2", on="a", terminating=True)], {"b", "c"}),
    "only the pod's own namespace": ("web", 5, [web(on="c", namespace="other")], set()),
}  # fmt: skip


@pytest.mark.parametrize(("origin", "ms", "pods", "expected"), CASES.values(), ids=CASES)
def test_reference(origin: str, ms: float, pods: list[Pod], expected: set[str]) -> None:
    assert feasible(origin, ms, pods) == expected


TROUBLE: dict[str, tuple[str, list[Pod], str]] = {
    "nobody": ("edge-9", [], "no node, workload of namespace default or zone is named edge-9"),
    "nearly somebody": (
        "webb",
        [web(on="a")],
        "no node, workload of namespace default or zone is named webb; did you mean web?",
    ),
    "a workload without a placed pod": ("web", [web()], "workload default/web has no placed pod yet"),
    "a workload on a node that is gone": (
        "web",
        [web(on="gone")],
        "workload default/web has no placed pod yet",
    ),
    "a dead node": ("dead", [], "dead is not ready, so no delay can be measured from it"),
    "a workload on a dead node": (
        "web",
        [web(on="dead")],
        "web is not ready, so no delay can be measured from it",
    ),
}


@pytest.mark.parametrize(("origin", "pods", "trouble"), TROUBLE.values(), ids=TROUBLE)
def test_nowhere(origin: str, pods: list[Pod], trouble: str) -> None:
    bench = Bench([node("a"), node("b"), node("dead", ready=False)], [within(origin, 1000)], DELAYS, pods)
    decision = bench.place(pod("asked"))
    assert decision.trouble == trouble
    assert decision.node is None
    assert decision.helped_by & Depends.DELAY
    assert decision.helped_by & Depends.NODE


def test_or_unmeasured_does_without() -> None:
    assert Bench([node("a")], [within("nobody", 1, or_unmeasured=True)]).where(pod("asked")) == "a"


def test_unmeasured_fails_closed() -> None:
    bench = Bench([node("far")], [within("a", 1000)], DELAYS)
    bench.cache.put_node(node("a", cordoned=True))
    message = bench.message(pod("asked"))
    assert message == (
        "0/2 nodes are available: 1 node(s) were unschedulable, "
        "1 node(s) without a measured delay to a (rule near, :0)."
    )


def test_too_far_tells_how_far() -> None:
    bench = Bench([node("b"), node("c"), node("a", cordoned=True)], [within("a", 4)], DELAYS)
    assert bench.message(pod("asked")) == (
        "0/3 nodes are available: 1 node(s) were unschedulable, "
        "2 node(s) not within 4ms of a, the nearest at 5ms (rule near, :0)."
    )


def test_a_dead_reference_that_is_back_counts_again() -> None:
    bench = Bench([node("a", ready=False), node("b")], [within("a", 5)], DELAYS)
    assert bench.place(pod("asked")).node is None
    bench.cache.put_node(node("a", ready=True, cordoned=True))
    assert bench.where(pod("asked")) == "b"


def test_a_workload_that_is_gone_and_comes_back_elsewhere() -> None:
    """Between the two nobody asks: what is remembered of the first must not pass for the second."""
    nodes = [node("a"), node("b"), node("c")]
    for _ in range(20):
        bench = Bench(nodes, [within("source", 0)], DELAYS, [pod("source", on="a")])
        assert bench.where(pod("asked")) == "a"
        bench.cache.remove_pod(pod("source").key)
        bench.cache.put_pod(pod("source", on="c"))
        assert bench.where(pod("asked")) == "c"


def test_a_dependant_follows_its_source() -> None:
    bench = Bench([node("a"), node("b"), node("c")], [within("web", 0)], DELAYS, [web()])
    assert bench.place(pod("asked")).node is None
    for place in ("b", "c"):
        bench.cache.assume(web().key, place)
        assert bench.where(pod("asked")) == place
        bench.cache.forget(web().key)


def test_the_suggestion_is_of_now() -> None:
    bench = Bench([node("a")], [within("webb", 1)], DELAYS)
    assert "did you mean" not in bench.message(pod("asked"))
    bench.cache.put_pod(web())
    assert bench.message(pod("asked")).endswith("did you mean web?.")
    bench.cache.remove_pod(web().key)
    assert "did you mean" not in bench.message(pod("asked"))


def test_swapped_delays_reach_filters_scores_and_node_sets() -> None:
    swapped = DelayMap.from_pairs([("a", "b", 20.0), ("a", "c", 5.0), ("b", "c", 8.0)])
    nodes = [node("a", cordoned=True), node("b"), node("c")]
    near = NodeSet("close", Compare(Delay("a"), Operator.LE, Literal(5.0, Kind.DURATION)))
    rest = NodeSet("rest", Compare(Delay("a"), Operator.GT, Literal(5.0, Kind.DURATION)))
    policies = {
        "filter": CheckedPolicy(rules=(within("a", 5),)),
        "score": CheckedPolicy(rules=(Rule("low", None, (PreferScaled(Delay("a"), 1, low=True),)),)),
        "node set": CheckedPolicy(
            node_sets=(near, rest), rules=(Rule("try", None, (Try((Step("close"), Step("rest"))),)),)
        ),
    }
    for name, policy in policies.items():
        bench = Bench(nodes, policy, DELAYS)
        assert bench.where(pod("asked")) == "b", name
        bench.placer.swap_delays(swapped)
        assert bench.where(pod("asked")) == "c", name
