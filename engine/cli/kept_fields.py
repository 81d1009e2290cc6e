"""Which fields of which objects a dump keeps: those that bear on placement, and no others.

What is not named here is left out, so that a field of a later version, or a secret in a place that nobody thought of,
never gets into a dump: environment, commands, arguments, volumes' attributes, free text and annotations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.model.pattern import fits

Fields = Mapping[str, "Fields | None"]
"""The fields to keep of a mapping, or of each mapping of a list; None keeps all that is below."""

ANNOTATIONS: Final = frozenset(
    {
        "pv.kubernetes.io/bind-completed",
        "pv.kubernetes.io/bound-by-controller",
        "pv.kubernetes.io/provisioned-by",
        "resource.kubernetes.io/extended-resource-claim",
        "storage.alpha.kubernetes.io/migrated-plugins",
        "volume.beta.kubernetes.io/storage-class",
        "volume.kubernetes.io/selected-node",
        "volume.kubernetes.io/storage-provisioner",
    }
)
"""Annotations that Kubernetes itself places by."""


def _all(*names: str) -> Fields:
    return dict.fromkeys(names)


_OWNER: Final = _all("apiVersion", "kind", "name", "uid", "controller")
_METADATA: Final[Fields] = {
    **_all("name", "namespace", "uid", "labels", "creationTimestamp", "deletionTimestamp"),
    "ownerReferences": _OWNER,
    "annotations": None,  # of which only some are kept
}
_CONDITION: Final = _all("type", "status", "reason", "lastTransitionTime")
_CONTAINER: Final[Fields] = {
    **_all("name", "image", "resources", "restartPolicy"),
    "ports": _all("containerPort", "hostPort", "hostIP", "protocol"),
}
_STATUS_OF_CONTAINER: Final = _all("name", "restartCount", "allocatedResources", "resources")
_CLAIM_SPEC: Final = _all(
    "accessModes",
    "selector",
    "resources",
    "volumeName",
    "storageClassName",
    "volumeMode",
    "volumeAttributesClassName",
)
_VOLUME: Final[Fields] = {
    "name": None,
    "persistentVolumeClaim": _all("claimName", "readOnly"),
    "ephemeral": {"volumeClaimTemplate": {"metadata": _all("labels"), "spec": _CLAIM_SPEC}},
    "csi": _all("driver", "readOnly"),
    "image": _all("reference"),
    "gcePersistentDisk": _all("pdName", "partition", "readOnly"),
    "awsElasticBlockStore": _all("volumeID", "partition", "readOnly"),
    "azureDisk": _all("diskName", "diskURI", "kind", "readOnly"),
    "cinder": _all("volumeID", "readOnly"),
    "portworxVolume": _all("volumeID", "readOnly"),
    "iscsi": _all("iqn", "lun", "targetPortal", "readOnly"),
    "rbd": _all("image", "pool", "monitors", "readOnly"),
}
_POD: Final[Fields] = {
    "spec": {
        **_all(
            "nodeName", "schedulerName", "priority", "priorityClassName", "preemptionPolicy", "nodeSelector",
            "affinity", "tolerations", "overhead", "resources", "schedulingGates", "topologySpreadConstraints",
            "resourceClaims", "hostNetwork", "restartPolicy", "terminationGracePeriodSeconds", "os",
        ),
        "containers": _CONTAINER,
        "initContainers": _CONTAINER,
        "volumes": _VOLUME,
    },
    "status": {
        **_all(
            "phase", "reason", "nominatedNodeName", "startTime", "resize", "resources", "allocatedResources",
            "resourceClaimStatuses",
            "extendedResourceClaimStatus",
        ),
        "conditions": _CONDITION,
        "containerStatuses": _STATUS_OF_CONTAINER,
        "initContainerStatuses": _STATUS_OF_CONTAINER,
    },
}  # fmt: skip
_NODE: Final[Fields] = {
    "spec": {"unschedulable": None, "taints": _all("key", "value", "effect", "timeAdded")},
    "status": {
        **_all("allocatable", "capacity", "volumesInUse", "declaredFeatures"),
        "conditions": _CONDITION,
        "images": _all("names", "sizeBytes"),
        "volumesAttached": _all("name"),
    },
}
_SELECTING: Final[Fields] = {"spec": _all("selector", "replicas")}
_PERSISTENT_VOLUME: Final[Fields] = {
    "spec": {
        **_all(
            "capacity", "accessModes", "storageClassName", "volumeMode", "nodeAffinity",
            "volumeAttributesClassName", "persistentVolumeReclaimPolicy",
        ),
        "claimRef": _all("kind", "namespace", "name", "uid"),
        "csi": _all("driver", "volumeHandle"),
        "local": _all("path"),
        "hostPath": _all("path"),
        "gcePersistentDisk": _all("pdName", "partition", "readOnly"),
        "awsElasticBlockStore": _all("volumeID", "partition", "readOnly"),
        "azureDisk": _all("diskName", "diskURI", "kind", "readOnly"),
        "cinder": _all("volumeID", "readOnly"),
        "portworxVolume": _all("volumeID", "readOnly"),
    },
    "status": _all("phase"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class KeptKind:
    """A kind of which a dump keeps objects.

    Attributes:
        kind: Its name.
        version: The apiVersion that is asked for.
        plural: As the API's paths have it.
        fields: What is kept beside the metadata.
        needed: Whether there is nothing to explain without it.
        selector: Which of its objects are asked for, as a field selector.
    """

    kind: str
    version: str
    plural: str
    fields: Fields
    needed: bool = False
    selector: str = ""

    @property
    def group(self) -> str:
        """The API's group, "" for the core."""
        return self.version.rpartition("/")[0]

    @property
    def path(self) -> str:
        """Where all objects are listed."""
        return f"/{'apis' if self.group else 'api'}/{self.version}/{self.plural}"


_ENDED: Final = "status.phase!=Succeeded,status.phase!=Failed"

KINDS: Final = (
    KeptKind("Node", "v1", "nodes", _NODE, needed=True),
    KeptKind("Namespace", "v1", "namespaces", {}),
    KeptKind("PriorityClass", "scheduling.k8s.io/v1", "priorityclasses",
             _all("value", "globalDefault", "preemptionPolicy")),
    KeptKind("Service", "v1", "services", {"spec": _all("selector")}),
    KeptKind("ReplicationController", "v1", "replicationcontrollers", _SELECTING),
    KeptKind("ReplicaSet", "apps/v1", "replicasets", _SELECTING),
    KeptKind("StatefulSet", "apps/v1", "statefulsets", _SELECTING),
    KeptKind("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets", {
        "spec": _all("selector", "minAvailable", "maxUnavailable", "unhealthyPodEvictionPolicy"),
        "status": _all("disruptionsAllowed", "disruptedPods", "currentHealthy", "desiredHealthy", "expectedPods"),
    }),
    KeptKind("StorageClass", "storage.k8s.io/v1", "storageclasses",
             _all("provisioner", "volumeBindingMode", "allowedTopologies", "reclaimPolicy")),
    KeptKind("CSIDriver", "storage.k8s.io/v1", "csidrivers",
             {"spec": _all("storageCapacity", "attachRequired", "nodeAllocatableUpdatePeriodSeconds")}),
    KeptKind("CSINode", "storage.k8s.io/v1", "csinodes",
             {"spec": {"drivers": _all("name", "nodeID", "topologyKeys", "allocatable")}}),
    KeptKind("CSIStorageCapacity", "storage.k8s.io/v1", "csistoragecapacities",
             _all("storageClassName", "nodeTopology", "capacity", "maximumVolumeSize")),
    KeptKind("PersistentVolume", "v1", "persistentvolumes", _PERSISTENT_VOLUME),
    KeptKind("PersistentVolumeClaim", "v1", "persistentvolumeclaims",
             {"spec": _CLAIM_SPEC, "status": _all("phase", "capacity", "accessModes")}),
    KeptKind("VolumeAttachment", "storage.k8s.io/v1", "volumeattachments", {
        "spec": {**_all("attacher", "nodeName"), "source": _all("persistentVolumeName")},
        "status": _all("attached"),
    }),
    KeptKind("DeviceClass", "resource.k8s.io/v1", "deviceclasses",
             {"spec": {"selectors": None, "extendedResourceName": None}}),
    KeptKind("ResourceSlice", "resource.k8s.io/v1", "resourceslices", {"spec": None}),
    KeptKind("ResourceClaimTemplate", "resource.k8s.io/v1", "resourceclaimtemplates",
             {"spec": {"spec": {"devices": _all("requests", "constraints")}}}),
    KeptKind("ResourceClaim", "resource.k8s.io/v1", "resourceclaims", {
        "spec": {"devices": _all("requests", "constraints")},
        "status": {"allocation": {"devices": {"results": None}, "nodeSelector": None, "allocationTimestamp": None},
                   "reservedFor": None,
                   "devices": {**_all("driver", "pool", "device"), "conditions": _CONDITION}},
    }),
    KeptKind("Pod", "v1", "pods", _POD, needed=True, selector=_ENDED),
)  # fmt: skip
"""All kinds that bear on placement; what others refer to comes first."""

BY_NAME: Final[Mapping[tuple[str, str], KeptKind]] = {(kind.group, kind.kind): kind for kind in KINDS}
"""By group and kind."""


def annotation_filter(more: frozenset[str] = frozenset()) -> Callable[[str], bool]:
    """Which annotations are kept: `ANNOTATIONS`, and ``more``: keys, or patterns with ``*``."""
    exact = ANNOTATIONS | {key for key in more if "*" not in key}
    patterns = tuple(key for key in more if "*" in key)
    return lambda key: key in exact or any(fits(key, pattern) for pattern in patterns)


def kept(kind: KeptKind, value: Mapping[str, Any], keeps_annotation: Callable[[str], bool]) -> dict[str, Any]:
    """The part of an object that a dump keeps, with its kind and version."""
    found = _chosen(value, {"metadata": _METADATA, **kind.fields})
    annotations = found.get("metadata", {}).pop("annotations", None)
    if isinstance(annotations, dict):
        some = {key: text for key, text in annotations.items() if keeps_annotation(key)}
        if some:
            found["metadata"]["annotations"] = some
    return {"apiVersion": kind.version, "kind": kind.kind, **found}


def _chosen(value: Any, fields: Fields | None) -> Any:
    if fields is None:
        return value
    if isinstance(value, list):
        return [_chosen(item, fields) for item in value]
    if not isinstance(value, Mapping):
        return {}  # no mapping where one is described: of a newer version, so nothing is known of it
    return {name: _chosen(value[name], below) for name, below in fields.items() if name in value}
