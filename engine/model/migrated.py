"""Volumes of the drivers that were once part of Kubernetes, as the CSI drivers see them that took over.

A volume keeps its old source. A node whose CSINode says that it is served by the new driver knows its zone by that
driver's label, and all such volumes count against the driver's limit.

Sources: ``k8s.io/csi-translation-lib``, and which of it kube-scheduler uses (isCSIMigrationOn): vSphere and Azure File
are not translated there.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from msgspec.structs import replace

from engine.model.objects import (
    AwsDisk,
    AzureDisk,
    CinderDisk,
    GceDisk,
    InTreeDisk,
    NodeSelectorTerm,
    PortworxDisk,
    Requirement,
)
from engine.model.storage import PersistentVolume
from engine.model.well_known import REGION, ZONE

ANNOTATION: Final = "storage.alpha.kubernetes.io/migrated-plugins"
"""Of a CSINode: which of the old drivers are served by the new ones there."""

_OLD_ZONE: Final = "failure-domain.beta.kubernetes.io/zone"
_OLD_REGION: Final = "failure-domain.beta.kubernetes.io/region"
_BETWEEN_ZONES: Final = "__"
_UNKNOWN: Final = "UNSPECIFIED"
_AWS: Final = re.compile(r"vol-[^/]*")

Terms = tuple[NodeSelectorTerm, ...]


class Plugin(NamedTuple):
    """An old driver.

    Attributes:
        name: By which classes and nodes call it.
        driver: The CSI driver that took over.
        zone: The label of that driver's nodes; "" where zones are not translated.
    """

    name: str
    driver: str
    zone: str = ""


GCE: Final = Plugin("kubernetes.io/gce-pd", "pd.csi.storage.gke.io", "topology.gke.io/zone")
AWS: Final = Plugin("kubernetes.io/aws-ebs", "ebs.csi.aws.com", "topology.ebs.csi.aws.com/zone")
AZURE: Final = Plugin("kubernetes.io/azure-disk", "disk.csi.azure.com")
CINDER: Final = Plugin(
    "kubernetes.io/cinder", "cinder.csi.openstack.org", "topology.cinder.csi.openstack.org/zone"
)
PORTWORX: Final = Plugin("kubernetes.io/portworx-volume", "pxd.portworx.com")

DRIVERS: Final = {
    **{one.name: one.driver for one in (GCE, AWS, AZURE, CINDER, PORTWORX)},
    "kubernetes.io/azure-file": "",
    "kubernetes.io/vsphere-volume": "",
}
"""By the name of an old driver the one against whose limit its volumes count; "" where they count against none."""


def plugin_of(source: InTreeDisk) -> Plugin:
    """Whose volume it is."""
    match source:
        case GceDisk():
            return GCE
        case AwsDisk():
            return AWS
        case AzureDisk():
            return AZURE
        case CinderDisk():
            return CINDER
        case PortworxDisk():
            return PORTWORX


def handle_of(source: InTreeDisk, labels: dict[str, str] | None = None) -> tuple[str, str] | None:
    """The CSI driver, and what it calls the volume; None where it does not know it.

    Args:
        source: As a pod or a PersistentVolume has it.
        labels: Of the PersistentVolume.
    """
    driver = plugin_of(source).driver
    match source:
        case GceDisk():
            where = _gce_place(labels or {})
            return None if where is None else (driver, f"projects/{_UNKNOWN}/{where}/disks/{source.pd_name}")
        case AwsDisk():
            volume = _aws_volume(source.volume_id)
            return None if volume is None else (driver, volume)
        case AzureDisk():
            managed = source.kind is None or source.kind.lower() == "managed"
            return (driver, source.disk_uri) if managed else None
        case CinderDisk() | PortworxDisk():
            return driver, source.volume_id


def terms_where_migrated(volume: PersistentVolume) -> tuple[Plugin, Terms | None] | None:
    """The terms of a volume's node affinity on nodes that the new driver serves.

    Returns:
        Whose volume it is, and the terms, None for every node; None where they are the same as on other nodes.
    """
    source = volume.spec.in_tree
    if source is None:
        return None
    plugin = plugin_of(source)
    affinity = volume.spec.node_affinity
    required = affinity.required if affinity is not None else None
    old = required.node_selector_terms if required is not None else None
    if not plugin.zone or (handle_of(source, volume.metadata.labels) is None):
        return None
    terms = _translated(old or (), volume.metadata.labels or {}, plugin.zone)
    return None if terms == (old or ()) else (plugin, terms)


def _translated(terms: Terms, labels: dict[str, str], label: str) -> Terms:
    keys = {expression.key for term in terms for expression in term.match_expressions or ()}
    old = ZONE not in keys and (_OLD_ZONE in keys or (ZONE not in labels and _OLD_ZONE in labels))
    zone = _OLD_ZONE if old else ZONE
    renamed = {}
    if any(
        expression.key == zone and expression.values
        for term in terms
        for expression in term.match_expressions or ()
    ):
        renamed[zone] = label
    elif zone in labels:
        terms = _within(terms, label, labels[zone])
    if old:
        renamed[_OLD_REGION] = REGION
    return tuple(
        replace(
            term,
            match_expressions=tuple(
                replace(one, key=renamed.get(one.key, one.key)) for one in term.match_expressions
            ),
        )
        if term.match_expressions
        else term
        for term in terms
    )


def _within(terms: Terms, label: str, zones: str) -> Terms:
    """The terms, each with one of the zones."""
    values = tuple(sorted({zone.strip() for zone in zones.split(_BETWEEN_ZONES)} - {""}))
    if not values:
        return terms
    only = Requirement(label, "In", values)
    return tuple(
        replace(term, match_expressions=(*(term.match_expressions or ()), only))
        for term in terms or (NodeSelectorTerm(),)
    )


def _gce_place(labels: dict[str, str]) -> str | None:
    """The zone of a disk, or the region of one that is in several; None where those are of no one region."""
    zones = (labels.get(_OLD_ZONE) or labels.get(ZONE) or "").split(_BETWEEN_ZONES)
    if len(zones) == 1:
        return f"zones/{zones[0] or _UNKNOWN}"
    parts = [zone.split("-") for zone in zones]
    regions = {"-".join(part[:2]) for part in parts}
    return f"regions/{regions.pop()}" if len(regions) == 1 and all(len(part) == 3 for part in parts) else None


def _aws_volume(name: str) -> str | None:
    """``aws://zone/vol-1`` or ``vol-1``, of which the last part counts."""
    if not name.startswith("aws://"):
        return name
    volume = urlsplit(name).path.strip("/")
    return volume if _AWS.fullmatch(volume) else None
