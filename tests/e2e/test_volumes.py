"""[sig-scheduling] SchedulerPredicates: volumes that are bound to nodes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.controlplane.manifests import HOSTNAME
from tests.e2e.part import Part

pytestmark = pytest.mark.integration


def volume(part: Part, name: str, nodes: list[str], storage_class: str, claim: str = "") -> None:
    """A local volume on nodes of the cluster, or on some that it does not have."""
    terms = [{"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": nodes}]}]
    spec: dict[str, Any] = {
        "capacity": {"storage": "2Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
        "local": {"path": "/tmp"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
    }
    if claim:
        spec["claimRef"] = {"name": claim, "namespace": part.namespace}
    part.create_global(
        "/api/v1/persistentvolumes", {"metadata": {"name": f"{name}-{part.namespace}"}, "spec": spec}
    )


def claim(part: Part, name: str, storage_class: str) -> None:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": storage_class,
    }
    part.create("persistentvolumeclaims", {"metadata": {"name": name}, "spec": spec})


def using(*claims: str) -> list[dict[str, Any]]:
    return [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims]


def test_a_volume_that_also_names_nodes_that_are_not_there(part: Part) -> None:
    """When a PVC has node affinity to non-existent nodes, the pod is scheduled if a suitable node exists."""
    part.add_nodes("abc")
    volume(part, "pv", [part.full("b"), "no-such-node", "nor-this"], "", claim="data")
    claim(part, "data", "")
    part.add_pod("p", volumes=using("data"))
    assert part.node_of("p") == "b"


def test_a_claim_that_is_not_there(part: Part) -> None:
    """A pod waits for its claim, and is told its name."""
    part.add_nodes("a")
    part.add_pod("p", volumes=using("data"))
    part.refused("p", 'persistentvolumeclaim "data" not found')
    volume(part, "pv", [part.full("a")], "", claim="data")
    claim(part, "data", "")
    assert part.node_of("p") == "a"


def test_local_volumes_are_chosen_with_the_node(part: Part) -> None:
    """WaitForFirstConsumer: a pod's claims are bound to volumes of the node that also has room for it."""
    part.add_nodes({"a": {"cpu": "100m"}, "b": {"cpu": "4"}, "c": {"cpu": "4"}})
    storage_class = f"local-{part.namespace}"
    part.create_global(
        "/apis/storage.k8s.io/v1/storageclasses",
        {
            "metadata": {"name": storage_class},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        },
    )
    for node in "ab":
        volume(part, f"pv-{node}", [part.full(node)], storage_class)
    claim(part, "data", storage_class)
    claim(part, "more", storage_class)
    part.add_pod("p", cpu="1", volumes=using("data"))
    assert part.node_of("p") == "b"
    bound = part.plane.api.get(f"/api/v1/namespaces/{part.namespace}/persistentvolumeclaims/data")
    assert bound["spec"]["volumeName"] == f"pv-b-{part.namespace}"
    part.add_pod("second", cpu="1", volumes=using("more"))
    part.refused("second", "0/3 nodes are available")
    volume(part, "pv-c", [part.full("c")], storage_class)
    assert part.node_of("second") == "c"
