"""[sig-scheduling] PodTopologySpread, filtering and scoring, and Multi-AZ Clusters."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.controlplane.manifests import HOSTNAME, ZONE
from tests.e2e.part import Part

pytestmark = pytest.mark.integration

UNEVEN = "node(s) didn't match pod topology spread constraints"


def spread(key: str, app: str, when: str = "DoNotSchedule", **fields: Any) -> dict[str, Any]:
    selector = {"matchLabels": {"app": app}}
    return {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": when, "labelSelector": selector, **fields}


def zones(part: Part, **counts: int) -> None:
    """Nodes named after their zones: `east=2` makes `east-0` and `east-1`."""
    part.add_nodes(
        {
            f"{zone}-{number}": {"labels": {ZONE: zone}}
            for zone, count in counts.items()
            for number in range(count)
        }
    )


def by_zone(nodes: Counter[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for node, pods in nodes.items():
        found[node.partition("-")[0]] += pods
    return found


def test_four_pods_on_two_nodes(part: Part) -> None:
    """PodTopologySpread Filtering: 4 pods with MaxSkew=1 are evenly distributed into 2 nodes."""
    part.add_nodes("ab")
    part.workload("replicasets", "even", 4, topologySpreadConstraints=[spread(HOSTNAME, "even")])
    assert part.nodes_of("even", 4) == {"a": 2, "b": 2}


def test_an_uneven_spread_waits_for_its_domain(part: Part) -> None:
    """PodTopologySpread Filtering: what would exceed MaxSkew waits, although other nodes have room."""
    part.add_nodes({"a": {"pods": "1"}, "b": {}})
    part.workload("replicasets", "even", 4, topologySpreadConstraints=[spread(HOSTNAME, "even")])
    assert part.nodes_of("even", 3) == {"a": 1, "b": 2}
    waiting = next(pod["metadata"]["name"] for pod in part.pods("even") if not pod["spec"].get("nodeName"))
    part.refused(waiting, f"0/2 nodes are available: 1 Too many pods, 1 {UNEVEN}.")
    part.patch_node("a", {"status": {"allocatable": {"pods": "2"}}}, "/status")
    assert part.node_of(waiting) == "a"


def test_a_node_without_the_topology_key(part: Part) -> None:
    """PodTopologySpread Filtering: a node that lacks a constraint's key takes no pod of it, and says so."""
    part.add_nodes("a")
    part.add_pod("p", labels={"app": "p"}, topologySpreadConstraints=[spread(ZONE, "p")])
    part.refused("p", f"0/1 nodes are available: 1 {UNEVEN} (missing required label).")
    part.patch_node("a", {"metadata": {"labels": {ZONE: "east"}}})
    assert part.node_of("p") == "a"


def test_a_minimum_of_domains(part: Part) -> None:
    """PodTopologySpread's minDomains: with fewer domains the least count is zero, until another domain joins."""
    zones(part, east=1, west=1)
    part.workload("replicasets", "wide", 3, topologySpreadConstraints=[spread(ZONE, "wide", minDomains=3)])
    assert part.nodes_of("wide", 2) == {"east-0": 1, "west-0": 1}
    waiting = next(pod["metadata"]["name"] for pod in part.pods("wide") if not pod["spec"].get("nodeName"))
    part.refused(waiting, f"2 {UNEVEN}")
    zones(part, north=1)
    assert part.node_of(waiting) == "north-0"


def test_tainted_and_foreign_nodes_are_no_domains(part: Part) -> None:
    """nodeAffinityPolicy and nodeTaintsPolicy: Honor leaves out nodes that the pod cannot use, Ignore counts them."""
    taint = {"key": "x", "value": "y", "effect": "NoSchedule"}
    part.add_nodes({"a": {}, "tainted": {"taints": [taint]}})
    honoured = spread(HOSTNAME, "honoured", nodeTaintsPolicy="Honor")
    part.workload("replicasets", "honoured", 3, topologySpreadConstraints=[honoured])
    assert part.nodes_of("honoured", 3) == {"a": 3}
    part.workload("replicasets", "ignored", 2, topologySpreadConstraints=[spread(HOSTNAME, "ignored")])
    assert part.nodes_of("ignored", 1) == {"a": 1}
    waiting = next(p["metadata"]["name"] for p in part.pods("ignored") if not p["spec"].get("nodeName"))
    part.refused(waiting, f"1 {UNEVEN}, 1 node(s) had untolerated taint(s)")


def test_a_rollout_is_spread_by_itself(part: Part) -> None:
    """matchLabelKeys: the pods of a Deployment's new revision are spread without regard to those of the old."""
    part.add_nodes("abc")
    once = spread(HOSTNAME, "web", matchLabelKeys=["pod-template-hash"])
    part.workload("deployments", "web", 3, topologySpreadConstraints=[once])
    assert part.nodes_of("web", 3) == {"a": 1, "b": 1, "c": 1}
    rolled = {"spec": {"template": {"metadata": {"annotations": {"revision": "2"}}}}}
    part.plane.api.patch(f"/apis/apps/v1/namespaces/{part.namespace}/deployments/web", rolled)

    def replaced() -> bool:
        pods = [
            pod for pod in part.pods("web") if pod["metadata"].get("annotations", {}).get("revision") == "2"
        ]
        nodes = sorted(part.short(pod["spec"].get("nodeName", "")) for pod in pods)
        return len(part.pods("web")) == 3 and nodes == ["a", "b", "c"]

    part.eventually(replaced, "the new pods are spread as the old were")


def test_the_emptier_node_is_preferred(part: Part) -> None:
    """PodTopologySpread Scoring: a pod goes to the node that makes the matching pods more evenly distributed."""
    part.add_nodes("ab")
    part.workload("replicasets", "score", 4, affinity=part.only_on("a"), requests={"cpu": "10m"})
    assert part.nodes_of("score", 4) == {"a": 4}
    part.add_pod("balance", cpu="40m", memory="4Mi", affinity=part.only_on("b"))
    part.node_of("balance")
    constraint = spread(HOSTNAME, "score", "ScheduleAnyway")
    part.add_pod("test-pod", labels={"name": "other"}, topologySpreadConstraints=[constraint])
    assert part.node_of("test-pod") == "b"


def test_a_soft_spread_does_not_keep_a_pod_waiting(part: Part) -> None:
    """PodTopologySpread's ScheduleAnyway: where the emptier node is full, the pod goes to the other."""
    part.add_nodes({"a": {"pods": "1"}, "b": {}})
    soft = spread(HOSTNAME, "soft", "ScheduleAnyway")
    part.workload("replicasets", "soft", 5, topologySpreadConstraints=[soft])
    assert part.nodes_of("soft", 5) == {"a": 1, "b": 4}


SERVICE = {"selector": {"app": "shop"}, "ports": [{"port": 80, "targetPort": 80}]}


@pytest.mark.parametrize("kind", ["service", "replicationcontrollers", "replicasets", "statefulsets"])
def test_pods_that_belong_together_spread_across_zones(part: Part, kind: str) -> None:
    """Multi-AZ: the pods of a service, of a replication controller, … are spread across zones without being told."""
    zones(part, east=2, west=1, north=1)
    if kind == "service":
        part.create("services", {"metadata": {"name": "shop"}, "spec": SERVICE})
        for number in range(15):
            part.add_pod(f"shop-{number}", labels={"app": "shop"})
    else:
        group = "" if kind == "replicationcontrollers" else "apps/v1"
        fields: dict[str, Any] = (
            {"serviceName": "shop", "podManagementPolicy": "Parallel"} if kind == "statefulsets" else {}
        )
        part.workload(kind, "shop", 15, group=group, more=fields)
    found = by_zone(part.nodes_of("shop", 15))
    assert set(found) == {"east", "west", "north"}
    assert max(found.values()) - min(found.values()) <= 2, f"the zones have {dict(found)}"


def test_a_hard_spread_across_zones(part: Part) -> None:
    """PodTopologySpread Filtering across zones of different sizes: each zone has as many pods, give or take one."""
    zones(part, east=3, west=1, north=2)
    part.workload("replicasets", "zoned", 10, topologySpreadConstraints=[spread(ZONE, "zoned")])
    found = by_zone(part.nodes_of("zoned", 10))
    assert sorted(found.values()) == [3, 3, 4]
