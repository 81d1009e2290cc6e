"""[sig-scheduling] SchedulerPredicates: scheduling gates."""

from __future__ import annotations

import pytest

from tests.e2e.part import Part

pytestmark = pytest.mark.integration


def test_gated_pods_wait_for_the_last_gate(part: Part) -> None:
    """Pods with non-empty schedulingGates are blocked on scheduling, until all are removed."""
    part.add_nodes("ab")
    gates = [{"name": "example.com/foo"}, {"name": "example.com/bar"}]
    part.workload("replicasets", "gated", 3, schedulingGates=gates)
    part.eventually(lambda: len(part.pods("gated")) == 3, "there are three pods")
    names = [pod["metadata"]["name"] for pod in part.pods("gated")]
    for left in (gates, gates[1:]):
        for name in names:
            part.patch_pod(name, {"spec": {"schedulingGates": left}})
        # One that came later and is placed: the others would have been, too.
        part.node_of(part.add_pod(f"witness-{len(left)}"))
        for name in names:
            assert part.condition(name)["reason"] == "SchedulingGated"
            assert "nodeName" not in part.pod(name)["spec"]
            assert part.events(name) == []
    for name in names:
        part.patch_pod(name, {"spec": {"schedulingGates": []}})
    assert part.nodes_of("gated", 3).total() == 3
    part.running(*names)


def test_a_gated_pod_holds_no_room(part: Part) -> None:
    """A gated pod is not attempted at all: it neither holds room nor goes before others when its gate opens."""
    part.add_nodes("a", cpu="2")
    part.add_pod("gated", cpu="2", schedulingGates=[{"name": "example.com/foo"}])
    part.add_pod("free", cpu="2")
    assert part.node_of("free") == "a"
    # What a gated pod asks for may be narrowed; that counts when it is let go.
    narrowed = {"nodeSelector": {**part.selector, "disk": "fast"}, "schedulingGates": []}
    part.patch_pod("gated", {"spec": narrowed})
    part.refused("gated", "1 node(s) didn't match Pod's node affinity/selector")
    part.delete_pod("free")
    part.patch_node("a", {"metadata": {"labels": {"disk": "fast"}}})
    assert part.node_of("gated") == "a"
