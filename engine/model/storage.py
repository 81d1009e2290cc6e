"""Volumes, claims and what says where volumes can be, as far as the engine reads them.

Sources: core/v1 and storage.k8s.io/v1; for the annotations, ``k8s.io/component-helpers/storage/volume``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from engine.model.objects import (
    AwsDisk,
    AzureDisk,
    CinderDisk,
    GceDisk,
    InTreeDisk,
    LabelSelector,
    NodeSelector,
    ObjectMeta,
    Pod,
    PodKey,
    PortworxDisk,
    ResourceRequirements,
    Struct,
)

BIND_COMPLETED: Final = "pv.kubernetes.io/bind-completed"
"""On a claim: that it and its volume are bound to each other."""
BOUND_BY_CONTROLLER: Final = "pv.kubernetes.io/bound-by-controller"
"""On a volume: that no user chose its claim, so that it may be freed again."""
SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
"""On a claim: the node for which its volume is to be made. Whoever cannot make it takes the annotation away."""
OLD_CLASS: Final = "volume.beta.kubernetes.io/storage-class"
"""On claims and volumes: their class, before there was a field for it. It still wins."""
NO_PROVISIONER: Final = "kubernetes.io/no-provisioner"
"""The provisioner of classes whose volumes are made by hand."""

DELAYED: Final = "WaitForFirstConsumer"
ONE_POD: Final = "ReadWriteOncePod"
LOST: Final = "Lost"
AVAILABLE: Final = "Available"
FILESYSTEM: Final = "Filesystem"


class ClaimName(NamedTuple):
    """What names a claim: whoever makes one anew under the name has its pods."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class ClaimUse(NamedTuple):
    """A claim that a pod uses.

    Attributes:
        claim: Which.
        owner: The pod, where the claim is made for it alone (a generic ephemeral volume); else None.
    """

    claim: ClaimName
    owner: PodKey | None = None


class ClaimSpec(Struct, frozen=True):
    """What a claim asks for."""

    access_modes: tuple[str, ...] | None = None
    selector: LabelSelector | None = None
    resources: ResourceRequirements | None = None
    volume_name: str = ""
    storage_class_name: str | None = None
    volume_mode: str | None = None
    volume_attributes_class_name: str | None = None


class ClaimStatus(Struct, frozen=True):
    """Where a claim is in its life."""

    phase: str = "Pending"


class PersistentVolumeClaim(Struct, frozen=True):
    """core/v1 PersistentVolumeClaim."""

    metadata: ObjectMeta
    spec: ClaimSpec = ClaimSpec()
    status: ClaimStatus = ClaimStatus()

    @property
    def name(self) -> ClaimName:
        """Namespace and name."""
        return ClaimName(self.metadata.namespace, self.metadata.name)

    @property
    def storage_class(self) -> str:
        """Its class, "" for none."""
        return (self.metadata.annotations or {}).get(OLD_CLASS, self.spec.storage_class_name or "")

    @property
    def selected_node(self) -> str | None:
        """The node for which its volume is to be made, None while none is chosen."""
        return (self.metadata.annotations or {}).get(SELECTED_NODE)

    @property
    def bound(self) -> bool:
        """Whether it is bound to its volume, and the volume to it."""
        return bool(self.spec.volume_name) and BIND_COMPLETED in (self.metadata.annotations or {})

    @property
    def size(self) -> str | int | float | None:
        """The storage that it asks for, as a quantity."""
        resources = self.spec.resources
        return (resources.requests or {}).get("storage") if resources is not None else None


class ObjectReference(Struct, frozen=True):
    """Another object, here always a claim."""

    namespace: str = ""
    name: str = ""
    uid: str = ""


class CsiSource(Struct, frozen=True):
    """A volume of a CSI driver."""

    driver: str = ""
    volume_handle: str = ""


class VolumeNodeAffinity(Struct, frozen=True):
    """Which nodes reach a volume."""

    required: NodeSelector | None = None


class VolumeSpec(Struct, frozen=True):
    """What a volume offers."""

    capacity: dict[str, str | int | float] | None = None
    access_modes: tuple[str, ...] | None = None
    claim_ref: ObjectReference | None = None
    storage_class_name: str = ""
    volume_mode: str | None = None
    node_affinity: VolumeNodeAffinity | None = None
    csi: CsiSource | None = None
    gce_persistent_disk: GceDisk | None = None
    aws_elastic_block_store: AwsDisk | None = None
    azure_disk: AzureDisk | None = None
    cinder: CinderDisk | None = None
    portworx_volume: PortworxDisk | None = None
    volume_attributes_class_name: str | None = None
    persistent_volume_reclaim_policy: str = "Retain"

    @property
    def in_tree(self) -> InTreeDisk | None:
        """A disk of a driver that was once part of Kubernetes."""
        return (
            self.gce_persistent_disk
            or self.aws_elastic_block_store
            or self.azure_disk
            or self.cinder
            or self.portworx_volume
        )


class VolumeStatus(Struct, frozen=True):
    """Where a volume is in its life."""

    phase: str = ""


class PersistentVolume(Struct, frozen=True):
    """core/v1 PersistentVolume."""

    metadata: ObjectMeta
    spec: VolumeSpec = VolumeSpec()
    status: VolumeStatus = VolumeStatus()

    @property
    def storage_class(self) -> str:
        """Its class, "" for none."""
        return (self.metadata.annotations or {}).get(OLD_CLASS, self.spec.storage_class_name)

    def is_for(self, claim: PersistentVolumeClaim) -> bool:
        """Whether it is bound, or reserved by hand, for this claim; a claim made anew is another one."""
        reference = self.spec.claim_ref
        return (
            reference is not None
            and (reference.namespace, reference.name) == claim.name
            and reference.uid in ("", claim.metadata.uid)
        )


class TopologyExpression(Struct, frozen=True):
    """A node label and the values of which it must have one."""

    key: str = ""
    values: tuple[str, ...] = ()


class TopologyTerm(Struct, frozen=True):
    """Expressions that must all hold."""

    match_label_expressions: tuple[TopologyExpression, ...] | None = None


class StorageClass(Struct, frozen=True):
    """storage.k8s.io/v1 StorageClass."""

    metadata: ObjectMeta
    provisioner: str = ""
    volume_binding_mode: str = "Immediate"
    allowed_topologies: tuple[TopologyTerm, ...] | None = None
    reclaim_policy: str = "Delete"

    @property
    def delayed(self) -> bool:
        """Whether its volumes are chosen or made with the first pod that needs them."""
        return self.volume_binding_mode == DELAYED


class VolumeCount(Struct, frozen=True):
    """How many volumes of a driver a node takes; None for any number."""

    count: int | None = None


class CsiNodeDriver(Struct, frozen=True):
    """A CSI driver on a node."""

    name: str = ""
    allocatable: VolumeCount | None = None


class CsiNodeSpec(Struct, frozen=True):
    """The CSI drivers on a node."""

    drivers: tuple[CsiNodeDriver, ...] | None = None


class CSINode(Struct, frozen=True):
    """storage.k8s.io/v1 CSINode: of the node of its name."""

    metadata: ObjectMeta
    spec: CsiNodeSpec = CsiNodeSpec()


class CsiDriverSpec(Struct, frozen=True):
    """How a driver wants to be treated."""

    storage_capacity: bool | None = None


class CSIDriver(Struct, frozen=True):
    """storage.k8s.io/v1 CSIDriver."""

    metadata: ObjectMeta
    spec: CsiDriverSpec = CsiDriverSpec()


class CSIStorageCapacity(Struct, frozen=True):
    """storage.k8s.io/v1 CSIStorageCapacity: what is left of a class for the nodes that a selector means."""

    metadata: ObjectMeta
    storage_class_name: str = ""
    node_topology: LabelSelector | None = None
    capacity: str | int | float | None = None
    maximum_volume_size: str | int | float | None = None


class AttachmentSource(Struct, frozen=True):
    """What is attached."""

    persistent_volume_name: str | None = None


class AttachmentSpec(Struct, frozen=True):
    """What is attached to which node, by which driver."""

    attacher: str = ""
    node_name: str = ""
    source: AttachmentSource = AttachmentSource()


class VolumeAttachment(Struct, frozen=True):
    """storage.k8s.io/v1 VolumeAttachment."""

    metadata: ObjectMeta
    spec: AttachmentSpec = AttachmentSpec()


StorageObject = (
    PersistentVolumeClaim
    | PersistentVolume
    | StorageClass
    | CSINode
    | CSIDriver
    | CSIStorageCapacity
    | VolumeAttachment
)
"""Everything that says what volumes there are, or could be."""


@dataclass(frozen=True, slots=True)
class VolumeBindings:
    """What has to be written before a pod is bound, so that its claims get their volumes.

    Attributes:
        node: Where the pod goes.
        given: Volumes that are there, each with the claim that gets it.
        made: Claims whose volumes are to be made for the node.
    """

    node: str
    given: tuple[tuple[PersistentVolume, PersistentVolumeClaim], ...] = ()
    made: tuple[PersistentVolumeClaim, ...] = ()

    def claims(self) -> Iterator[PersistentVolumeClaim]:
        """All the claims."""
        for _, claim in self.given:
            yield claim
        yield from self.made


def claims_of(pod: Pod) -> tuple[ClaimUse, ...]:
    """The claims of a pod's volumes, in their order, each once."""
    volumes = pod.spec.volumes
    if not volumes:
        return ()
    namespace, found = pod.metadata.namespace, []
    for volume in volumes:
        if volume.persistent_volume_claim is not None:
            found.append(ClaimUse(ClaimName(namespace, volume.persistent_volume_claim.claim_name)))
        elif volume.ephemeral is not None:
            found.append(ClaimUse(ClaimName(namespace, f"{pod.metadata.name}-{volume.name}"), pod.key))
    return tuple(dict.fromkeys(found))


STORAGE: Final[tuple[type[msgspec.Struct], ...]] = (
    PersistentVolumeClaim,
    PersistentVolume,
    StorageClass,
    CSINode,
    CSIDriver,
    CSIStorageCapacity,
    VolumeAttachment,
)
"""The types of `StorageObject`."""
