"""[sig-scheduling] Affinity between pods, hard and soft."""

from __future__ import annotations

from typing import Any

import pytest

from tests.controlplane.manifests import HOSTNAME, ZONE
from tests.e2e.part import Part

pytestmark = pytest.mark.integration


def term(app: str, key: str = HOSTNAME, **fields: Any) -> dict[str, Any]:
    return {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key, **fields}


def near(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}


def apart(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}}


def test_a_pod_waits_for_the_pod_it_wants_to_be_near(part: Part) -> None:
    """InterPodAffinity is respected if not matching, and from when a matching pod is there."""
    part.add_nodes({node: {"labels": {ZONE: zone}} for node, zone in {"a": "1", "b": "2", "c": "2"}.items()})
    part.add_pod("follower", affinity=near(term("leader", ZONE)))
    part.refused("follower", "0/3 nodes are available: 3 node(s) didn't match pod affinity rules.")
    part.add_pod("leader", labels={"app": "leader"}, affinity=part.only_on("b"))
    part.node_of("leader")
    assert part.node_of("follower") in "bc"


def test_the_first_of_a_group_starts_it(part: Part) -> None:
    """InterPodAffinity to oneself: the first pod goes anywhere, the others to its domain."""
    part.add_nodes({node: {"labels": {ZONE: zone}} for node, zone in {"a": "1", "b": "1", "c": "2"}.items()})
    part.workload("replicasets", "group", 6, affinity=near(term("group", ZONE)))
    found = part.nodes_of("group", 6)
    assert set(found) <= {"a", "b"} or set(found) == {"c"}


def test_a_pod_keeps_away_from_pods(part: Part) -> None:
    """InterPodAntiAffinity is respected: one replica a node, one more waits until one goes."""
    part.add_nodes("ab")
    part.workload("deployments", "single", 3, affinity=apart(term("single")))
    assert part.nodes_of("single", 2) == {"a": 1, "b": 1}
    waiting = next(pod["metadata"]["name"] for pod in part.pods("single") if not pod["spec"].get("nodeName"))
    part.refused(waiting, "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.")
    part.add_nodes("c")
    assert part.node_of(waiting) == "c"


def test_pods_that_run_keep_others_away(part: Part) -> None:
    """InterPodAntiAffinity's symmetry: a running pod's rule holds against those that come later."""
    part.add_nodes("a")
    part.add_pod("shy", affinity=apart(term("loud")))
    part.node_of("shy")
    part.add_pod("loud", labels={"app": "loud"})
    part.refused("loud", "1 node(s) didn't satisfy existing pods anti-affinity rules")
    part.delete_pod("shy")
    assert part.node_of("loud") == "a"


def test_namespaces_by_their_labels(part: Part) -> None:
    """namespaceSelector: a term counts pods of the namespaces that have the labels now; else only of its own."""
    part.add_nodes("ab")
    other = Part(part.plane, f"{part.namespace}-other")
    try:
        elsewhere = other.manifest("db", within=False, labels={"app": "db"}, nodeSelector=part.selector)
        other.create("pods", {**elsewhere, "spec": {**elsewhere["spec"], "affinity": part.only_on("a")}})
        part.eventually(lambda: "nodeName" in other.pod("db")["spec"], "the database has a node")
        part.add_pod("own", affinity=near(term("db")))
        part.refused("own", "2 node(s) didn't match pod affinity rules")
        team = {"matchLabels": {"team": "storage"}}
        part.add_pod("by-label", affinity=near(term("db", namespaceSelector=team)))
        part.refused("by-label", "2 node(s) didn't match pod affinity rules")
        part.add_pod("by-name", affinity=near(term("db", namespaces=[other.namespace])))
        assert part.node_of("by-name") == "a"
        labels = {"metadata": {"labels": {"team": "storage"}}}
        part.plane.api.patch(f"/api/v1/namespaces/{other.namespace}", labels)
        assert part.node_of("by-label") == "a"
    finally:
        other.close()
