"""Volumes of drivers that were once part of Kubernetes: where they let a pod go, and what they count against."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from msgspec.structs import replace

from engine.model.migrated import ANNOTATION, GCE
from engine.model.objects import (
    AwsDisk,
    AzureDisk,
    CinderDisk,
    GceDisk,
    ObjectMeta,
    Pod,
    PortworxDisk,
    Volume,
)
from engine.model.storage import (
    CSINode,
    CsiNodeDriver,
    CsiNodeSpec,
    PersistentVolume,
    StorageObject,
    VolumeCount,
)
from engine.model.well_known import ZONE
from tests.engine import build
from tests.engine import storage as make
from tests.engine.build import Bench

NODES = tuple(
    build.node(name, {GCE.zone: own} if own else {}, zone=zone)
    for name, zone, own in (("a", "z1", "z1"), ("b", "z1", "z2"), ("c", "z2", "z1"), ("d", "z1", ""))
)
POD = make.using(build.pod("web"), "data")
CLAIM = make.claim("data", volume="pv")
SOURCES: dict[str, dict[str, Any]] = {
    "pd.csi.storage.gke.io": {"gce_persistent_disk": GceDisk("d")},
    "ebs.csi.aws.com": {"aws_elastic_block_store": AwsDisk("vol-1")},
    "disk.csi.azure.com": {"azure_disk": AzureDisk("/d")},
    "cinder.csi.openstack.org": {"cinder": CinderDisk("d")},
    "pxd.portworx.com": {"portworx_volume": PortworxDisk("d")},
}


def disk(source: dict[str, Any], **more: Any) -> PersistentVolume:
    found = make.volume("pv", **more)
    return replace(found, spec=replace(found.spec, **source))


def csi_node(name: str, *plugins: str, driver: str = "", most: int = 0) -> CSINode:
    drivers = (CsiNodeDriver(driver, VolumeCount(most)),) if driver else ()
    annotations = {ANNOTATION: ",".join(plugins)} if plugins else None
    return CSINode(ObjectMeta(name=name, annotations=annotations), CsiNodeSpec(drivers))


def bench(storage: Iterable[StorageObject], pods: Iterable[Pod] = ()) -> Bench:
    made = Bench(NODES, pods=pods)
    for item in storage:
        made.cache.volumes.put(item)
    return made


def feasible(made: Bench, pod: Pod) -> set[str]:
    decision = made.place(pod, diagnose=True)
    if decision.refusals is None:
        return set()
    return {made.cache.columns.names[slot] for slot in decision.refusals.feasible.nonzero()[0]}


IN_Z1 = disk(SOURCES["pd.csi.storage.gke.io"], terms=make.on(ZONE, "z1"))
MIGRATED = tuple(csi_node(name, "kubernetes.io/aws-ebs", GCE.name) for name in "abcd")
REACHED: dict[str, tuple[tuple[StorageObject, ...], set[str]]] = {
    "nowhere migrated": ((), {"a", "b", "d"}),
    "everywhere": (MIGRATED, {"a", "c"}),
    "on some nodes": (MIGRATED[:2], {"a", "d"}),
    "another driver": (tuple(csi_node(name, "kubernetes.io/cinder") for name in "abcd"), {"a", "b", "d"}),
    "nodes that say nothing": (tuple(csi_node(name) for name in "abcd"), {"a", "b", "d"}),
}


@pytest.mark.parametrize(("nodes", "where"), REACHED.values(), ids=REACHED)
def test_zones_are_those_of_the_new_driver_where_it_serves(
    nodes: tuple[StorageObject, ...], where: set[str]
) -> None:
    assert feasible(bench((CLAIM, IN_Z1, *nodes)), POD) == where


def test_a_node_that_is_migrated_later_counts_anew() -> None:
    made = bench((CLAIM, IN_Z1))
    assert feasible(made, POD) == {"a", "b", "d"}
    made.cache.volumes.put(MIGRATED[1])
    assert feasible(made, POD) == {"a", "d"}
    made.cache.volumes.put(csi_node("b"))
    assert feasible(made, POD) == {"a", "b", "d"}
    made.cache.volumes.put(MIGRATED[1])
    made.cache.volumes.remove(MIGRATED[1])
    assert feasible(made, POD) == {"a", "b", "d"}


@pytest.mark.parametrize("driver", SOURCES)
def test_they_count_against_the_limit_of_the_new_driver(driver: str) -> None:
    full = tuple(csi_node(name, driver=driver, most=0 if name == "a" else 1) for name in "abcd")
    other = make.using(build.pod("other", on="b"), "other")
    taken = make.claim("other", volume="other"), make.volume("other", handle="else", driver=driver)
    volume = disk(SOURCES[driver])
    assert feasible(bench((CLAIM, volume, *full, *taken), [other]), POD) == {"c", "d"}
    same = make.using(build.pod("same", on="b"), "data")
    assert feasible(bench((CLAIM, volume, *full, *taken[1:]), [same]), POD) == {"b", "c", "d"}


@pytest.mark.parametrize("driver", SOURCES)
def test_so_do_those_that_pods_name_themselves(driver: str) -> None:
    full = tuple(csi_node(name, driver=driver, most=1) for name in "abcd")

    def pod(name: str, on: str = "", **source: Any) -> Pod:
        found = build.pod(name, on=on)
        return replace(found, spec=replace(found.spec, volumes=(Volume(name="v", **source),)))

    others: dict[str, dict[str, Any]] = {
        "pd.csi.storage.gke.io": {"gce_persistent_disk": GceDisk("e")},
        "ebs.csi.aws.com": {"aws_elastic_block_store": AwsDisk("vol-2")},
        "disk.csi.azure.com": {"azure_disk": AzureDisk("/e")},
        "cinder.csi.openstack.org": {"cinder": CinderDisk("e")},
        "pxd.portworx.com": {"portworx_volume": PortworxDisk("e")},
    }
    made = bench(full, [pod("other", "a", **others[driver])])
    assert feasible(made, pod("web", **SOURCES[driver])) == {"b", "c", "d"}


CLASSES = {
    "a new driver's": ("kubernetes.io/gce-pd", "pd.csi.storage.gke.io", set("bcd")),
    "one that is not translated": ("kubernetes.io/azure-file", "file.csi.azure.com", set("abcd")),
    "nor under its old name": ("kubernetes.io/vsphere-volume", "kubernetes.io/vsphere-volume", set("abcd")),
}


@pytest.mark.parametrize(("provisioner", "driver", "where"), CLASSES.values(), ids=CLASSES)
def test_a_volume_to_be_made_counts_as_the_new_drivers(
    provisioner: str, driver: str, where: set[str]
) -> None:
    storage = (make.claim("data"), make.storage_class(provisioner=provisioner))
    assert feasible(bench((*storage, csi_node("a", driver=driver, most=0))), POD) == where
