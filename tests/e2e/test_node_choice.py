"""[sig-scheduling] SchedulerPredicates: selectors, affinity for nodes, taints and cordons."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.part import PART, Part

pytestmark = pytest.mark.integration

UNMATCHED = "node(s) didn't match Pod's node affinity/selector"


def required(*terms: dict[str, Any]) -> dict[str, Any]:
    return {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    }


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    found: dict[str, Any] = {"key": key, "operator": operator}
    if values:
        found["values"] = list(values)
    return found


def test_a_node_selector_that_matches_nothing(part: Part) -> None:
    """NodeSelector is respected if not matching; and the pod is woken by the label that it waits for."""
    part.add_nodes("ab")
    part.add_pod("restricted", nodeSelector={"disk": "fast"})
    part.refused("restricted", f"0/2 nodes are available: 2 {UNMATCHED}.")
    part.patch_node("b", {"metadata": {"labels": {"disk": "fast"}}})
    assert part.node_of("restricted") == "b"


def test_a_node_selector_that_matches(part: Part) -> None:
    """NodeSelector is respected if matching."""
    part.add_nodes({"a": {}, "b": {"labels": {"answer": "42"}}, "c": {"labels": {"answer": "43"}}})
    part.add_pod("with-labels", nodeSelector={"answer": "42"})
    assert part.node_of("with-labels") == "b"


def test_required_node_affinity_that_matches_nothing(part: Part) -> None:
    """NodeAffinity is respected if not matching, in any of its terms."""
    part.add_nodes("ab", labels={"foo": "baz"})
    wrong = required(
        {"matchExpressions": [expression("foo", "In", "bar", "value2")]},
        {"matchExpressions": [expression("diffkey", "In", "wrong", "value2")]},
    )
    part.add_pod("restricted", affinity=wrong)
    part.refused("restricted", f"0/2 nodes are available: 2 {UNMATCHED}.")


OPERATORS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "In": ([expression("size", "In", "2", "9")], "b"),
    "NotIn": ([expression("size", "NotIn", "1", "3")], "bd"),
    "Exists": ([expression("size", "Exists")], "abc"),
    "DoesNotExist": ([expression("size", "DoesNotExist")], "d"),
    "Gt": ([expression("size", "Gt", "2")], "c"),
    "Lt": ([expression("size", "Lt", "2")], "a"),
    "all of a term": ([expression("size", "Exists"), expression("size", "NotIn", "2", "3")], "a"),
}


def test_required_node_affinity_that_matches(part: Part) -> None:
    """Required NodeAffinity is respected if matching, with every operator."""
    part.add_nodes({node: {"labels": {"size": str(n)}} for n, node in enumerate("abc", 1)} | {"d": {}})
    for position, (expressions, allowed) in enumerate(OPERATORS.values()):
        # As many pods as nodes may take them, one a node: none is on another.
        for number in range(len(allowed)):
            apart = {
                "podAntiAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "topologyKey": "kubernetes.io/hostname",
                            "labelSelector": {"matchLabels": {"case": str(position)}},
                        }
                    ]
                }
            }
            affinity = {**required({"matchExpressions": expressions}), **apart}
            part.add_pod(f"case-{position}-{number}", labels={"case": str(position)}, affinity=affinity)
    for position, (operator, (_, allowed)) in enumerate(OPERATORS.items()):
        found = sorted(part.node_of(f"case-{position}-{number}") for number in range(len(allowed)))
        assert found == list(allowed), operator


def test_node_affinity_by_name(part: Part) -> None:
    """NodeAffinity's matchFields: a node by its name, ANDed with the selector, ORed with other terms."""
    part.add_nodes({"a": {"labels": {"x": "1"}}, "b": {"labels": {"x": "1"}}, "c": {}})
    part.add_pod("by-name", affinity=part.only_on("b"))
    assert part.node_of("by-name") == "b"
    part.add_pod("and-selector", affinity=part.only_on("c"), nodeSelector={"x": "1"})
    part.refused("and-selector", f"1 {UNMATCHED}, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]")
    terms = part.only_on("c")["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    part.add_pod("or", affinity=required({"matchExpressions": [expression("x", "In", "2")]}, *terms))
    assert part.node_of("or") == "c"


def test_a_node_that_stops_matching_keeps_its_pods(part: Part) -> None:
    """Node affinity is ignored during execution: only new pods feel that a label changed."""
    part.add_nodes("a", labels={"x": "1"})
    part.add_pod("first", nodeSelector={"x": "1"})
    part.node_of("first")
    part.patch_node("a", {"metadata": {"labels": {"x": "2"}}})
    part.until_seen("a", nodeSelector={"x": "2"})
    part.add_pod("second", nodeSelector={"x": "1"})
    part.refused("second", f"1 {UNMATCHED}")
    assert part.node_of("first") == "a"
    assert "deletionTimestamp" not in part.pod("first")["metadata"]


TAINT = {"key": "e2e.example/taint", "value": "testing", "effect": "NoSchedule"}


def test_a_taint_that_is_tolerated(part: Part) -> None:
    """Taints-tolerations is respected if matching."""
    part.add_nodes("a", taints=[TAINT])
    tolerations: dict[str, dict[str, Any]] = {
        "equal": TAINT,
        "any-value": {"key": TAINT["key"], "operator": "Exists", "effect": "NoSchedule"},
        "any-effect": {"key": TAINT["key"], "operator": "Equal", "value": "testing"},
        "anything": {"operator": "Exists"},
    }
    for name, toleration in tolerations.items():
        part.add_pod(name, tolerations=[toleration])
    assert {part.node_of(name) for name in tolerations} == {"a"}


def test_a_taint_that_is_not_tolerated(part: Part) -> None:
    """Taints-tolerations is respected if not matching, until the taint is taken off."""
    part.add_nodes("a", taints=[TAINT])
    others: dict[str, list[dict[str, Any]]] = {
        "none": [],
        "other-value": [{**TAINT, "value": "other"}],
        "other-key": [{**TAINT, "key": "e2e.example/other"}],
        "other-effect": [{**TAINT, "effect": "NoExecute"}],
    }
    for name, tolerations in others.items():
        part.add_pod(name, tolerations=tolerations)
    for name in others:
        part.refused(name, "0/1 nodes are available: 1 node(s) had untolerated taint(s).")
    part.patch_node("a", {"spec": {"taints": None}})
    assert {part.node_of(name) for name in others} == {"a"}


def test_a_cordoned_node(part: Part) -> None:
    """An unschedulable node takes only pods that tolerate that, until it is uncordoned."""
    part.add_nodes("a", unschedulable=True)
    part.add_pod("waits")
    part.refused("waits", "0/1 nodes are available: 1 node(s) were unschedulable.")
    key = "node.kubernetes.io/unschedulable"
    part.add_pod("tolerates", tolerations=[{"key": key, "operator": "Exists", "effect": "NoSchedule"}])
    assert part.node_of("tolerates") == "a"
    part.patch_node("a", {"spec": {"unschedulable": None}})
    assert part.node_of("waits") == "a"


def test_a_taint_that_evicts(part: Part) -> None:
    """NoExecute: pods that do not tolerate the taint are evicted, and their successors placed elsewhere."""
    part.add_nodes("ab")
    taint = {"key": "e2e.example/broken", "value": "disk", "effect": "NoExecute"}
    part.workload("replicasets", "web", 4)
    part.add_pod("patient", tolerations=[taint], affinity=part.only_on("a"))
    part.node_of("patient")
    part.nodes_of("web", 4)
    part.patch_node("a", {"spec": {"taints": [taint]}})

    def moved() -> bool:
        nodes = [part.short(pod["spec"].get("nodeName", "")) for pod in part.pods("web")]
        return nodes == ["b"] * 4

    part.eventually(moved, "all pods of web are on b")
    assert part.node_of("patient") == "a"


def test_a_node_that_is_drained(part: Part) -> None:
    """kubectl drain: a cordoned node's pods are evicted, and none of their successors comes back."""
    part.add_nodes("abc")
    part.workload("deployments", "web", 6)
    part.nodes_of("web", 6)
    part.plane.kubectl("drain", part.full("a"), "--timeout=20s")

    def moved() -> bool:
        nodes = [part.short(pod["spec"].get("nodeName", "")) for pod in part.pods("web")]
        return len(nodes) == 6 and set(nodes) <= {"b", "c"}

    part.eventually(moved, "all pods of web are on b and c")


def test_a_node_that_joins_takes_the_pods_that_wait(part: Part) -> None:
    """A pod that no node may take is placed when one comes that may."""
    part.add_pod("early")
    part.refused("early", "0/0 nodes are available")
    part.add_nodes("a")
    assert part.node_of("early") == "a"
    assert part.pod("early")["spec"]["nodeSelector"] == {PART: part.namespace}
