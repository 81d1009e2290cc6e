"""Pods whose affinity names their nodes, as those of a DaemonSet do."""

from __future__ import annotations

import pytest

from engine.model.objects import NodeSelectorTerm, Requirement, Taint
from tests.engine.build import Bench, expression, field, node, pod

NAMED = "node(s) didn't satisfy plugin(s) [NodeAffinity]"
MISMATCH = "node(s) didn't match Pod's node affinity/selector"
TAINTED = "node(s) had untolerated taint(s)"


def both(name: str, label: str) -> NodeSelectorTerm:
    return NodeSelectorTerm((Requirement(label, "Exists"),), (Requirement("metadata.name", "In", (name,)),))


CASES: dict[str, tuple[list[NodeSelectorTerm], str]] = {
    "a node that there is, but tainted": ([field("metadata.name", "In", "b")], f"1 {TAINTED}, 2 {NAMED}"),
    "a node that there is not": ([field("metadata.name", "In", "x")], f"3 {NAMED}"),
    "two nodes": (
        [field("metadata.name", "In", "b"), both("a", "gpu")],
        f"1 {MISMATCH}, 1 {NAMED}, 1 {TAINTED}",
    ),
    "a term that names none leaves all open": (
        [field("metadata.name", "In", "b"), expression("gpu", "Exists")],
        f"1 {TAINTED}, 2 {MISMATCH}",
    ),
    "NotIn names none": ([field("metadata.name", "NotIn", "a"), both("b", "gpu")], ""),
    "two names at once contradict each other": (
        [
            NodeSelectorTerm(
                None,
                (Requirement("metadata.name", "In", ("a",)), Requirement("metadata.name", "In", ("b",))),
            )
        ],
        f"1 {TAINTED}, 2 {MISMATCH}",
    ),
}


@pytest.mark.parametrize(("terms", "reasons"), CASES.values(), ids=CASES)
def test_told_in_words_of_their_own(terms: list[NodeSelectorTerm], reasons: str) -> None:
    nodes = [node("a"), node("b", taints=[Taint("k", "", "NoSchedule")]), node("c")]
    decision = Bench(nodes).place(pod(required=terms))
    if not reasons:
        assert decision.node == "c"
    else:
        assert decision.message() == f"0/3 nodes are available: {reasons}."


def test_the_named_node_takes_it() -> None:
    assert Bench([node("a"), node("b")]).where(pod(required=[field("metadata.name", "In", "b")])) == "b"
