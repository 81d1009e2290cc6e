"""What is listed and watched besides pods and nodes, as the wire has it and as the simulated cluster shows it."""

from __future__ import annotations

import json

import pytest

from engine.cluster import wire
from engine.cluster.protocol import Change, Object, ResourceKind
from engine.cluster.simulated import SimulatedCluster
from engine.manifests import parse
from engine.model.objects import (
    Identity,
    LabelSelector,
    Namespace,
    ReplicaSet,
    ReplicationController,
    ReplicationControllerSpec,
    Requirement,
    SelectingSpec,
    Service,
    ServiceSpec,
    StatefulSet,
)

META = {
    "name": "x",
    "namespace": "y",
    "uid": "u",
    "resourceVersion": "7",
    "labels": {"a": "b"},
    "managedFields": [{}],
}
HERE = Identity("x", "y", "u", "7", {"a": "b"})
SELECTOR = {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "k", "operator": "Exists"}]}
SELECTING = SelectingSpec(LabelSelector({"a": "b"}, (Requirement("k", "Exists"),)))
KINDS: dict[ResourceKind, tuple[dict[str, object], Object]] = {
    ResourceKind.NAMESPACES: ({"spec": {"finalizers": ["kubernetes"]}}, Namespace(HERE)),
    ResourceKind.SERVICES: (
        {"spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}},
        Service(HERE, ServiceSpec({"a": "b"})),
    ),
    ResourceKind.REPLICATION_CONTROLLERS: (
        {"spec": {"selector": {"a": "b"}, "replicas": 3}},
        ReplicationController(HERE, ReplicationControllerSpec({"a": "b"})),
    ),
    ResourceKind.REPLICA_SETS: (
        {"spec": {"selector": SELECTOR, "template": {}}},
        ReplicaSet(HERE, SELECTING),
    ),
    ResourceKind.STATEFUL_SETS: (
        {"spec": {"selector": SELECTOR, "serviceName": "s"}},
        StatefulSet(HERE, SELECTING),
    ),
}


@pytest.mark.parametrize(
    ("kind", "written", "expected"), [(k, *v) for k, v in KINDS.items()], ids=[k.value for k in KINDS]
)
def test_decoded(kind: ResourceKind, written: dict[str, object], expected: Object) -> None:
    item = {"metadata": META, **written, "status": {"strange": True}}
    body = json.dumps({"metadata": {"resourceVersion": "9"}, "items": [item]}).encode()
    assert wire.decode_page(kind, body) == ((expected,), "9", "")
    line = json.dumps({"type": "MODIFIED", "object": item}).encode()
    (event,) = wire.decode_events(kind, iter([line]))
    assert (event.change, event.object, event.resource_version) == (Change.MODIFIED, expected, "7")


MANIFESTS = {
    ResourceKind.NAMESPACES: ("{apiVersion: v1, kind: Namespace, metadata: {name: x, labels: {%s: b}}}", ""),
    ResourceKind.SERVICES: (
        "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {selector: {%s: b}, ports: [{port: 80}]}}",
        "default",
    ),
}


@pytest.mark.parametrize(
    ("kind", "text", "namespace"), [(k, *v) for k, v in MANIFESTS.items()], ids=[k.value for k in MANIFESTS]
)
def test_simulated(kind: ResourceKind, text: str, namespace: str) -> None:
    cluster = SimulatedCluster()
    version = cluster.list(kind).resource_version

    def apply(label: str) -> None:
        (item,) = parse(text % label, "m").objects
        cluster.apply(item)

    for label in ("a", "a", "c"):  # a second time the same is no write
        apply(label)
    listing = cluster.list(kind)
    (found,) = listing.items
    assert (found.metadata.namespace, found.metadata.name) == (namespace, "x")
    events = list(cluster.watch(kind, version))
    assert [event.change for event in events] == [Change.ADDED, Change.MODIFIED]
    assert events[-1].object == found
    assert list(cluster.watch(kind, listing.resource_version)) == []


def test_a_namespace_carries_its_name() -> None:
    cluster = SimulatedCluster()
    (item,) = parse(MANIFESTS[ResourceKind.NAMESPACES][0] % "a", "m").objects
    cluster.apply(item)
    (found,) = cluster.list(ResourceKind.NAMESPACES).items
    assert found.metadata.labels == {"a": "b", "kubernetes.io/metadata.name": "x"}


def test_what_controllers_make_is_shown() -> None:
    cluster = SimulatedCluster()
    (item,) = parse(
        """
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web}
        spec:
          selector: {matchLabels: {app: web}}
          template:
            metadata: {labels: {app: web}}
            spec: {containers: [{name: c, image: i}]}
        """,
        "m",
    ).objects
    cluster.apply(item)
    cluster.run_until(cluster.clock.now() + 1)
    (found,) = cluster.list(ResourceKind.REPLICA_SETS).items
    assert isinstance(found, ReplicaSet)
    assert found.spec.selector is not None
    assert (found.spec.selector.match_labels or {}).keys() == {"app", "pod-template-hash"}
