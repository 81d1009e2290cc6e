"""Volumes of drivers that were once part of Kubernetes, as their CSI drivers know them."""

from __future__ import annotations

from typing import Any

import pytest

from engine.model.migrated import handle_of, terms_where_migrated
from engine.model.objects import (
    AwsDisk,
    AzureDisk,
    CinderDisk,
    GceDisk,
    InTreeDisk,
    NodeSelector,
    NodeSelectorTerm,
    ObjectMeta,
    PortworxDisk,
    Requirement,
)
from engine.model.storage import PersistentVolume, VolumeNodeAffinity, VolumeSpec
from engine.model.well_known import REGION, ZONE

OLD_ZONE = "failure-domain.beta.kubernetes.io/zone"
OLD_REGION = "failure-domain.beta.kubernetes.io/region"
NEW = "topology.gke.io/zone"
GCE = "pd.csi.storage.gke.io"
EBS = "ebs.csi.aws.com"
Labels = dict[str, str]

HANDLES: dict[str, tuple[InTreeDisk, Labels, tuple[str, str] | None]] = {
    "gce": (GceDisk("d"), {}, (GCE, "projects/UNSPECIFIED/zones/UNSPECIFIED/disks/d")),
    "gce in a zone": (GceDisk("d"), {ZONE: "us-a-1"}, (GCE, "projects/UNSPECIFIED/zones/us-a-1/disks/d")),
    "gce, the old label first": (
        GceDisk("d"),
        {ZONE: "us-a-1", OLD_ZONE: "us-b-1"},
        (GCE, "projects/UNSPECIFIED/zones/us-b-1/disks/d"),
    ),
    "gce in two zones": (
        GceDisk("d"),
        {ZONE: "us-a-1__us-a-2"},
        (GCE, "projects/UNSPECIFIED/regions/us-a/disks/d"),
    ),
    "gce in two regions": (GceDisk("d"), {ZONE: "us-a-1__us-b-1"}, None),
    "gce in no zones": (GceDisk("d"), {ZONE: "here__there"}, None),
    "aws": (AwsDisk("vol-1"), {}, (EBS, "vol-1")),
    "aws by an address": (AwsDisk("aws://us-1a/vol-1"), {}, (EBS, "vol-1")),
    "aws by an address without a zone": (AwsDisk("aws:///vol-1"), {}, (EBS, "vol-1")),
    "aws by a bad address": (AwsDisk("aws://us-1a/disk-1"), {}, None),
    "azure": (AzureDisk("/disks/d"), {}, ("disk.csi.azure.com", "/disks/d")),
    "azure, managed": (AzureDisk("/disks/d", "Managed"), {}, ("disk.csi.azure.com", "/disks/d")),
    "azure, not managed": (AzureDisk("https://blob/d", "Dedicated"), {}, None),
    "cinder": (CinderDisk("d"), {}, ("cinder.csi.openstack.org", "d")),
    "portworx": (PortworxDisk("d"), {}, ("pxd.portworx.com", "d")),
}


@pytest.mark.parametrize(("source", "labels", "handle"), HANDLES.values(), ids=HANDLES)
def test_handles(source: InTreeDisk, labels: Labels, handle: tuple[str, str] | None) -> None:
    assert handle_of(source, labels) == handle


def term(**expressions: tuple[str, ...]) -> NodeSelectorTerm:
    names = {"zone": ZONE, "region": REGION, "old_zone": OLD_ZONE, "old_region": OLD_REGION, "new": NEW}
    return NodeSelectorTerm(
        tuple(Requirement(names.get(key, key), "In", values) for key, values in expressions.items())
    )


Terms = tuple[NodeSelectorTerm, ...]
TERMS: dict[str, tuple[InTreeDisk, Terms | None, Labels, Terms | None]] = {
    "the zone": (GceDisk("d"), (term(zone=("z1",)),), {}, (term(new=("z1",)),)),
    "of each term": (
        GceDisk("d"),
        (term(zone=("z1",), disk=("ssd",)), term(zone=("z2",))),
        {},
        (term(new=("z1",), disk=("ssd",)), term(new=("z2",))),
    ),
    "the region stays": (
        GceDisk("d"),
        (term(zone=("z1",), region=("r",)),),
        {},
        (term(new=("z1",), region=("r",)),),
    ),
    "the old zone and region": (
        GceDisk("d"),
        (term(old_zone=("z1",), old_region=("r",)),),
        {},
        (term(new=("z1",), region=("r",)),),
    ),
    "labels where terms say nothing": (GceDisk("d"), None, {ZONE: "z1"}, (term(new=("z1",)),)),
    "several zones of a label": (
        GceDisk("d"),
        None,
        {ZONE: "us-a-2__us-a-1"},
        (term(new=("us-a-1", "us-a-2")),),
    ),
    "labels beside terms": (
        GceDisk("d"),
        (term(disk=("ssd",)),),
        {OLD_ZONE: "z1"},
        (term(disk=("ssd",), new=("z1",)),),
    ),
    "terms before labels": (GceDisk("d"), (term(zone=("z1",)),), {ZONE: "z2"}, (term(new=("z1",)),)),
    "an empty label": (GceDisk("d"), None, {ZONE: " "}, None),
    "nothing is said": (GceDisk("d"), None, {}, None),
    "nothing of zones": (GceDisk("d"), (term(disk=("ssd",)),), {}, None),
    "azure has the labels of the nodes": (AzureDisk("d"), (term(zone=("z1",)),), {}, None),
    "portworx too": (PortworxDisk("d"), (term(zone=("z1",)),), {}, None),
    "one that the driver does not know": (AwsDisk("aws://z1/d"), (term(zone=("z1",)),), {}, None),
}


@pytest.mark.parametrize(("source", "terms", "labels", "migrated"), TERMS.values(), ids=TERMS)
def test_terms(source: InTreeDisk, terms: Terms | None, labels: Labels, migrated: Terms | None) -> None:
    sources: dict[str, type] = {
        "gce_persistent_disk": GceDisk,
        "aws_elastic_block_store": AwsDisk,
        "azure_disk": AzureDisk,
    }
    names = [name for name, type_ in sources.items() if isinstance(source, type_)] or ["portworx_volume"]
    affinity = None if terms is None else VolumeNodeAffinity(NodeSelector(terms))
    fields: dict[str, Any] = {names[0]: source}
    spec = VolumeSpec(node_affinity=affinity, **fields)
    found = terms_where_migrated(PersistentVolume(ObjectMeta(name="pv", labels=labels), spec))
    assert (None if found is None else found[1]) == migrated


def test_a_volume_of_a_csi_driver_is_left_as_it_is() -> None:
    assert terms_where_migrated(PersistentVolume(ObjectMeta(name="pv"))) is None
