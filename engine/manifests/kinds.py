"""The kinds of objects: those that are read, those that Kubernetes has besides, and what they are checked with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from engine.manifests.checks import (
    Check,
    check_budget,
    check_job,
    check_node,
    check_nothing,
    check_pod,
    check_priority_class,
    check_workload,
)
from engine.manifests.objects import (
    DaemonSet,
    Deployment,
    FullPodSpec,
    Job,
    Namespace,
    PodDisruptionBudget,
    PriorityClass,
    ReplicaSet,
    Service,
    StatefulSet,
    Workload,
)
from engine.manifests.storage_checks import check_capacity, check_claim, check_class, check_volume
from engine.model.devices import (
    DeviceClass,
    DeviceObject,
    ResourceClaim,
    ResourceClaimTemplate,
    ResourceSlice,
)
from engine.model.objects import Node, Pod
from engine.model.storage import (
    CSIDriver,
    CSINode,
    CSIStorageCapacity,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    StorageObject,
    VolumeAttachment,
)

Object = (
    Pod
    | Node
    | Workload
    | Namespace
    | Service
    | PodDisruptionBudget
    | PriorityClass
    | StorageObject
    | DeviceObject
    | ResourceClaimTemplate
)
"""What manifests are read to."""


class ManifestPod(Pod, frozen=True):
    """A pod with the fields that only a cluster reads. Never handed out: pods are `engine.model.objects.Pod`."""

    spec: FullPodSpec = FullPodSpec()


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind is read.

    Attributes:
        version: The apiVersion that is served.
        type: What it is decoded to.
        namespaced: Whether its objects live in a namespace.
        check: What the API server would refuse.
    """

    version: str
    type: type[Object]
    namespaced: bool
    check: Check


KINDS: Final[Mapping[str, Kind]] = {
    "Pod": Kind("v1", ManifestPod, True, check_pod),
    "Node": Kind("v1", Node, False, check_node),
    "Namespace": Kind("v1", Namespace, False, check_nothing),
    "Service": Kind("v1", Service, True, check_nothing),
    "Deployment": Kind("apps/v1", Deployment, True, check_workload),
    "ReplicaSet": Kind("apps/v1", ReplicaSet, True, check_workload),
    "StatefulSet": Kind("apps/v1", StatefulSet, True, check_workload),
    "DaemonSet": Kind("apps/v1", DaemonSet, True, check_workload),
    "Job": Kind("batch/v1", Job, True, check_job),
    "PodDisruptionBudget": Kind("policy/v1", PodDisruptionBudget, True, check_budget),
    "PriorityClass": Kind("scheduling.k8s.io/v1", PriorityClass, False, check_priority_class),
    "PersistentVolumeClaim": Kind("v1", PersistentVolumeClaim, True, check_claim),
    "PersistentVolume": Kind("v1", PersistentVolume, False, check_volume),
    "StorageClass": Kind("storage.k8s.io/v1", StorageClass, False, check_class),
    "CSINode": Kind("storage.k8s.io/v1", CSINode, False, check_nothing),
    "CSIDriver": Kind("storage.k8s.io/v1", CSIDriver, False, check_nothing),
    "CSIStorageCapacity": Kind("storage.k8s.io/v1", CSIStorageCapacity, True, check_capacity),
    "VolumeAttachment": Kind("storage.k8s.io/v1", VolumeAttachment, False, check_nothing),
    "DeviceClass": Kind("resource.k8s.io/v1", DeviceClass, False, check_nothing),
    "ResourceSlice": Kind("resource.k8s.io/v1", ResourceSlice, False, check_nothing),
    "ResourceClaim": Kind("resource.k8s.io/v1", ResourceClaim, True, check_nothing),
    "ResourceClaimTemplate": Kind("resource.k8s.io/v1", ResourceClaimTemplate, True, check_nothing),
}

_OTHERS: Final = """
    APIService Binding CertificateSigningRequest ClusterRole ClusterRoleBinding ComponentStatus ConfigMap
    ControllerRevision CronJob CustomResourceDefinition Endpoints
    EndpointSlice Event FlowSchema HorizontalPodAutoscaler Ingress IngressClass IPAddress Lease LimitRange
    MutatingAdmissionPolicy MutatingWebhookConfiguration NetworkPolicy
    PodTemplate PriorityLevelConfiguration ReplicationController
    ResourceQuota Role RoleBinding RuntimeClass Secret ServiceAccount
    ServiceCIDR ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding
    ValidatingWebhookConfiguration VolumeAttributesClass
"""

IGNORED: Final = frozenset(_OTHERS.split())
"""Kinds of Kubernetes that place no pod; manifests may hold them."""


def stock_group(version: str) -> bool:
    """Whether the apiVersion is of Kubernetes itself, so that all its kinds are known here."""
    group = version.rpartition("/")[0]
    return "." not in group or group.endswith(".k8s.io")
