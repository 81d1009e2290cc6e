"""Short ways to write volumes, claims and classes in tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from msgspec.structs import replace

from engine.model.objects import (
    ClaimReference,
    LabelSelector,
    NodeSelector,
    NodeSelectorTerm,
    ObjectMeta,
    OwnerReference,
    Pod,
    Requirement,
    ResourceRequirements,
    Volume,
)
from engine.model.storage import (
    BIND_COMPLETED,
    DELAYED,
    SELECTED_NODE,
    AttachmentSource,
    AttachmentSpec,
    ClaimSpec,
    ClaimStatus,
    CSIDriver,
    CsiDriverSpec,
    CSINode,
    CsiNodeDriver,
    CsiNodeSpec,
    CsiSource,
    CSIStorageCapacity,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    TopologyExpression,
    TopologyTerm,
    VolumeAttachment,
    VolumeCount,
    VolumeNodeAffinity,
    VolumeSpec,
    VolumeStatus,
)

DRIVER = "csi.example.com"
ONCE = ("ReadWriteOnce",)


def claim(
    name: str,
    storage_class: str | None = "late",
    size: str | None = "1Gi",
    *,
    namespace: str = "default",
    uid: str = "",
    version: str = "",
    volume: str = "",
    bound: bool | None = None,
    phase: str = "",
    modes: tuple[str, ...] = ONCE,
    selector: LabelSelector | None = None,
    mode: str | None = None,
    selected: str | None = None,
    deleting: bool = False,
    owner: Pod | None = None,
    annotations: Mapping[str, str] | None = None,
) -> PersistentVolumeClaim:
    complete = bool(volume) if bound is None else bound
    notes = dict(annotations or {})
    if complete:
        notes[BIND_COMPLETED] = "yes"
    if selected is not None:
        notes[SELECTED_NODE] = selected
    owners = (
        ()
        if owner is None
        else (OwnerReference("Pod", owner.metadata.name, owner.metadata.uid, controller=True),)
    )
    return PersistentVolumeClaim(
        ObjectMeta(
            name=name,
            namespace=namespace,
            uid=uid or f"uid-{name}",
            resource_version=version,
            annotations=notes or None,
            owner_references=owners,
            deletion_timestamp=datetime(2030, 1, 1, tzinfo=UTC) if deleting else None,
        ),
        ClaimSpec(
            access_modes=modes,
            selector=selector,
            resources=None if size is None else ResourceRequirements(requests={"storage": size}),
            volume_name=volume,
            storage_class_name=storage_class,
            volume_mode=mode,
        ),
        ClaimStatus(phase or ("Bound" if complete else "Pending")),
    )


def on(key: str, *values: str) -> tuple[NodeSelectorTerm, ...]:
    return (NodeSelectorTerm((Requirement(key, "In", values),)),)


def volume(
    name: str,
    size: str = "1Gi",
    storage_class: str = "late",
    *,
    terms: tuple[NodeSelectorTerm, ...] | None = None,
    claim: str = "",
    claim_uid: str = "",
    version: str = "",
    phase: str = "Available",
    modes: tuple[str, ...] = ONCE,
    mode: str | None = None,
    labels: Mapping[str, str] | None = None,
    handle: str = "",
    driver: str = DRIVER,
    deleting: bool = False,
) -> PersistentVolume:
    return PersistentVolume(
        ObjectMeta(
            name=name,
            uid=f"uid-{name}",
            resource_version=version,
            labels=dict(labels) if labels else None,
            deletion_timestamp=datetime(2030, 1, 1, tzinfo=UTC) if deleting else None,
        ),
        VolumeSpec(
            capacity={"storage": size},
            access_modes=modes,
            claim_ref=ObjectReference("default", claim, claim_uid) if claim else None,
            storage_class_name=storage_class,
            volume_mode=mode,
            node_affinity=None if terms is None else VolumeNodeAffinity(NodeSelector(terms)),
            csi=CsiSource(driver, handle) if handle else None,
        ),
        VolumeStatus(phase),
    )


def storage_class(
    name: str = "late",
    provisioner: str = DRIVER,
    *,
    delayed: bool = True,
    allowed: Iterable[Mapping[str, tuple[str, ...]]] = (),
) -> StorageClass:
    return StorageClass(
        ObjectMeta(name=name),
        provisioner,
        DELAYED if delayed else "Immediate",
        tuple(TopologyTerm(tuple(TopologyExpression(k, v) for k, v in term.items())) for term in allowed)
        or None,
    )


def csi_node(name: str, **limits: int | None) -> CSINode:
    drivers = tuple(
        CsiNodeDriver(driver.replace("_", "."), VolumeCount(count)) for driver, count in limits.items()
    )
    return CSINode(ObjectMeta(name=name), CsiNodeSpec(drivers))


def csi_driver(name: str = DRIVER, tracks: bool | None = True) -> CSIDriver:
    return CSIDriver(ObjectMeta(name=name), CsiDriverSpec(tracks))


def capacity(
    name: str,
    amount: str | None,
    topology: Mapping[str, str] | None,
    *,
    storage_class: str = "late",
    largest: str | None = None,
) -> CSIStorageCapacity:
    return CSIStorageCapacity(
        ObjectMeta(name=name, namespace="storage"),
        storage_class,
        None if topology is None else LabelSelector(dict(topology)),
        amount,
        largest,
    )


def attachment(name: str, node: str, volume: str, driver: str = DRIVER) -> VolumeAttachment:
    return VolumeAttachment(ObjectMeta(name=name), AttachmentSpec(driver, node, AttachmentSource(volume)))


def using(pod: Pod, *claims: str, ephemeral: Iterable[str] = ()) -> Pod:
    """The pod with volumes: of claims by name, and ephemeral ones by the volume's name."""
    volumes = [Volume(name=f"v-{one}", persistent_volume_claim=ClaimReference(one)) for one in claims]
    volumes += [Volume(name=one, ephemeral={}) for one in ephemeral]
    return replace(pod, spec=replace(pod.spec, volumes=tuple(volumes)))
