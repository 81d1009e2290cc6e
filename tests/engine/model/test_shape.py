"""Shapes: what makes two pods one kind."""

from __future__ import annotations

import gc

import msgspec
import pytest

from engine.model.objects import (
    ClaimReference,
    Container,
    ContainerPort,
    ObjectMeta,
    OwnerReference,
    Pod,
    PodResourceClaim,
    PodSpec,
    Volume,
)
from engine.model.pattern import fits
from engine.model.shape import HostPort, ShapeTable, Workload, unsupported, workload
from tests.engine import build

BASE = build.pod("one", {"app": "a"}, requests={"cpu": "1"})

SAME = {
    "another name and uid": build.pod("two", {"app": "a"}, requests={"cpu": "1"}),
    "already on a node": build.pod("one", {"app": "a"}, requests={"cpu": "1"}, on="n"),
    "another age": build.pod("one", {"app": "a"}, requests={"cpu": "1"}, created=0.0),
    "an annotation that nobody reads": msgspec.structs.replace(
        BASE, metadata=msgspec.structs.replace(BASE.metadata, annotations={"noise": "1"})
    ),
}
OTHER = {
    "another namespace": build.pod("one", {"app": "a"}, requests={"cpu": "1"}, namespace="other"),
    "another label": build.pod("one", {"app": "b"}, requests={"cpu": "1"}),
    "another request": build.pod("one", {"app": "a"}, requests={"cpu": "2"}),
    "an owner": build.pod("one", {"app": "a"}, requests={"cpu": "1"}, owner=("Job", "j")),
    "an annotation that a policy reads": msgspec.structs.replace(
        BASE, metadata=msgspec.structs.replace(BASE.metadata, annotations={"tier": "1"})
    ),
    "one that fits a pattern": msgspec.structs.replace(
        BASE, metadata=msgspec.structs.replace(BASE.metadata, annotations={"x-rank": "1"})
    ),
}


@pytest.mark.parametrize("pod", SAME.values(), ids=SAME)
def test_one_shape(pod: Pod) -> None:
    table = ShapeTable(("tier", "x-*"))
    one, two = table.intern(BASE), table.intern(pod)
    assert one is two


@pytest.mark.parametrize("pod", OTHER.values(), ids=OTHER)
def test_two_shapes(pod: Pod) -> None:
    table = ShapeTable(("tier", "x-*"))
    one, two = table.intern(BASE), table.intern(pod)
    assert one is not two


def test_shapes_live_as_long_as_somebody_holds_them() -> None:
    table = ShapeTable()
    shape = table.intern(BASE)
    assert len(table) == 1
    del shape
    gc.collect()
    assert len(table) == 0


def owned(*owners: OwnerReference, template: str = "") -> Pod:
    labels = {"pod-template-hash": template} if template else None
    return Pod(ObjectMeta(name="p", labels=labels, owner_references=owners))


def by(kind: str, name: str, controller: bool | None = True) -> OwnerReference:
    return OwnerReference(kind, name, "u", controller)


WORKLOADS = {
    "bare": (owned(), None),
    "an owner that is no controller": (owned(by("Node", "n", None)), None),
    "statefulset": (owned(by("StatefulSet", "db")), Workload("StatefulSet", "db")),
    "the controller among owners": (owned(by("Node", "n", False), by("Job", "j")), Workload("Job", "j")),
    "deployment": (owned(by("ReplicaSet", "web-5d4f", True), template="5d4f"), Workload("Deployment", "web")),
    "name with dashes": (
        owned(by("ReplicaSet", "my-web-5d4f"), template="5d4f"),
        Workload("Deployment", "my-web"),
    ),
    "bare replicaset": (owned(by("ReplicaSet", "web")), Workload("ReplicaSet", "web")),
    "a hash that does not fit": (
        owned(by("ReplicaSet", "web"), template="5d4f"),
        Workload("ReplicaSet", "web"),
    ),
    "nothing but the hash": (
        owned(by("ReplicaSet", "-5d4f"), template="5d4f"),
        Workload("ReplicaSet", "-5d4f"),
    ),
}


@pytest.mark.parametrize(("pod", "expected"), WORKLOADS.values(), ids=WORKLOADS)
def test_workload(pod: Pod, expected: Workload | None) -> None:
    assert workload(pod) == expected


def test_host_ports_of_containers_and_sidecars() -> None:
    def with_port(port: int, policy: str | None = None) -> Container:
        return Container(f"c{port}", ports=(ContainerPort(port),), restart_policy=policy)

    spec = PodSpec(
        containers=(with_port(1), with_port(0), Container("none")),
        init_containers=(with_port(2, "Always"), with_port(3)),
    )
    ports = ShapeTable().intern(Pod(ObjectMeta(name="p"), spec)).host_ports
    assert ports == (HostPort("TCP", 1, "0.0.0.0"), HostPort("TCP", 2, "0.0.0.0"))


NOT_HONOURED = {
    "nothing": (PodSpec(), ()),
    "a config map": (PodSpec(volumes=(Volume(),)), ()),
    "a claim of devices": (PodSpec(resource_claims=(PodResourceClaim("gpu", "mine"),)), ()),
    "a claim of devices of a template": (PodSpec(resource_claims=(PodResourceClaim("gpu", None, "a"),)), ()),
    "a claim of devices of an unknown kind": (
        PodSpec(resource_claims=(PodResourceClaim("gpu", "mine"), PodResourceClaim("nic"))),
        ("spec.resourceClaims[1]",),
    ),
    "a volume claim": (PodSpec(volumes=(Volume(persistent_volume_claim=ClaimReference("data")),)), ()),
}


@pytest.mark.parametrize(("spec", "fields"), NOT_HONOURED.values(), ids=NOT_HONOURED)
def test_fields_that_are_not_honoured_yet(spec: PodSpec, fields: tuple[str, ...]) -> None:
    assert unsupported(spec) == fields


PATTERNS = {
    "itself": ("app", "app", True),
    "a prefix": ("delay_edge-1", "delay_*", True),
    "the empty run": ("delay_", "delay_*", True),
    "in the middle": ("a/x/b", "a/*/b", True),
    "everything": ("anything", "*", True),
    "only whole keys": ("my-app", "app", False),
    "a dot is a dot": ("a-b", "a.b", False),
    "a question mark is itself": ("ab", "a?*", False),
    "brackets are themselves": ("ab", "[ab]*", False),
    "case counts": ("App", "app*", False),
}


@pytest.mark.parametrize(("key", "pattern", "expected"), PATTERNS.values(), ids=PATTERNS)
def test_pattern(key: str, pattern: str, expected: bool) -> None:
    assert fits(key, pattern) is expected
