"""What lists and watches show of objects that a scheduler reads little of."""

from __future__ import annotations

from typing import Final

from engine.cluster.protocol import ResourceKind
from engine.manifests import objects as manifests
from engine.model import devices, storage
from engine.model import objects as model

Shown = (
    model.Namespace
    | model.Service
    | model.ReplicaSet
    | model.StatefulSet
    | model.PodDisruptionBudget
    | storage.StorageObject
    | devices.DeviceObject
)

KIND: Final[dict[type[Shown], ResourceKind]] = {
    model.Namespace: ResourceKind.NAMESPACES,
    model.Service: ResourceKind.SERVICES,
    model.ReplicaSet: ResourceKind.REPLICA_SETS,
    model.StatefulSet: ResourceKind.STATEFUL_SETS,
    model.PodDisruptionBudget: ResourceKind.BUDGETS,
    storage.PersistentVolumeClaim: ResourceKind.CLAIMS,
    storage.PersistentVolume: ResourceKind.VOLUMES,
    storage.StorageClass: ResourceKind.CLASSES,
    storage.CSINode: ResourceKind.CSI_NODES,
    storage.CSIDriver: ResourceKind.CSI_DRIVERS,
    storage.CSIStorageCapacity: ResourceKind.CSI_CAPACITIES,
    storage.VolumeAttachment: ResourceKind.ATTACHMENTS,
    devices.DeviceClass: ResourceKind.DEVICE_CLASSES,
    devices.ResourceSlice: ResourceKind.DEVICE_SLICES,
    devices.ResourceClaim: ResourceKind.DEVICE_CLAIMS,
}


def shown(
    item: manifests.Namespace | manifests.Service | manifests.ReplicaSet | manifests.StatefulSet,
) -> Shown:
    """The object as lists have it; without a version."""
    metadata = item.metadata
    identity = model.Identity(metadata.name, metadata.namespace, metadata.uid, "", metadata.labels)
    match item:
        case manifests.Namespace():
            labels = {**(metadata.labels or {}), "kubernetes.io/metadata.name": metadata.name}
            return model.Namespace(model.Identity(metadata.name, "", metadata.uid, "", labels))
        case manifests.Service():
            return model.Service(identity, model.ServiceSpec(item.spec.selector))
    spec = model.SelectingSpec(
        model.LabelSelector(item.spec.selector.match_labels, item.spec.selector.match_expressions)
    )
    return (
        model.ReplicaSet(identity, spec)
        if isinstance(item, manifests.ReplicaSet)
        else model.StatefulSet(identity, spec)
    )
