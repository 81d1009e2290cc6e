"""The protocol that the rest of the engine speaks to a cluster, and the values that cross it.

Two implementations pass one test suite: the API server (``engine.cluster.api``) and the simulated cluster
(``engine.cluster.simulated``). Methods may be called from several threads on the API server's; the simulated
cluster is used by one.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from engine.model.device_uses import DeviceMapping
from engine.model.devices import Allocation, DeviceObject, ResourceClaim
from engine.model.objects import (
    Condition,
    Namespace,
    Node,
    Pod,
    PodDisruptionBudget,
    PodKey,
    ReplicaSet,
    ReplicationController,
    Service,
    StatefulSet,
)
from engine.model.storage import PersistentVolume, PersistentVolumeClaim, StorageObject


class ResourceKind(enum.Enum):
    """What can be listed and watched."""

    PODS = "pods"
    NODES = "nodes"
    NAMESPACES = "namespaces"
    SERVICES = "services"
    REPLICATION_CONTROLLERS = "replicationcontrollers"
    REPLICA_SETS = "replicasets"
    STATEFUL_SETS = "statefulsets"
    BUDGETS = "poddisruptionbudgets"
    CLAIMS = "persistentvolumeclaims"
    VOLUMES = "persistentvolumes"
    CLASSES = "storageclasses"
    CSI_NODES = "csinodes"
    CSI_DRIVERS = "csidrivers"
    CSI_CAPACITIES = "csistoragecapacities"
    ATTACHMENTS = "volumeattachments"
    DEVICE_CLASSES = "deviceclasses"
    DEVICE_SLICES = "resourceslices"
    DEVICE_CLAIMS = "resourceclaims"


STORAGE: Final = (
    ResourceKind.CLASSES,
    ResourceKind.CSI_DRIVERS,
    ResourceKind.CSI_NODES,
    ResourceKind.CSI_CAPACITIES,
    ResourceKind.VOLUMES,
    ResourceKind.CLAIMS,
    ResourceKind.ATTACHMENTS,
)
"""What says where volumes are, or could be: pods with claims need all of it."""


DEVICES: Final = (ResourceKind.DEVICE_CLASSES, ResourceKind.DEVICE_SLICES, ResourceKind.DEVICE_CLAIMS)
"""What says which devices there are, and whose: pods with claims of devices need all of it."""


class Change(enum.Enum):
    """The types of a watch event."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


Object = (
    Pod
    | Node
    | Namespace
    | Service
    | ReplicationController
    | ReplicaSet
    | StatefulSet
    | PodDisruptionBudget
    | StorageObject
    | DeviceObject
)
"""Whatever of a kind is listed and watched; of workloads, only what says which pods belong together."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects of a kind at one version."""

    items: tuple[Object, ...]
    resource_version: str


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One event of a watch. A bookmark has no object and only advances the version."""

    change: Change
    object: Object | None
    resource_version: str


class EventType(enum.Enum):
    """The two types of a Kubernetes Event."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class ClusterEvent:
    """An Event (events.k8s.io) about a pod or a node, for people to read.

    ``regarding`` is a pod's key, or a node's name. ``action`` is the machine-readable verb (``Binding``,
    ``Scheduling``). ``time`` is when it happened. ``controller`` is who reports it: of a pod that is scheduled the
    scheduler that it names, "" for the program as a whole.
    """

    regarding: PodKey | str
    type: EventType
    reason: str
    action: str
    message: str
    time: datetime
    controller: str = ""


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """Who leads. Times are the holder's wall clock; ``version`` guards against lost updates."""

    holder: str
    duration_seconds: int
    acquire_time: datetime
    renew_time: datetime
    transitions: int = 0
    version: str = ""


class Cluster(Protocol):
    """A Kubernetes cluster as a scheduler needs it.

    Every method raises `engine.cluster.errors.ClusterError` kinds: ApiError where the server says no,
    Unreachable where the outcome is unknown.
    """

    def list(self, kind: ResourceKind) -> Listing:
        """All objects of the kind; pages are followed. Pods that are Succeeded or Failed are left out."""
        ...

    def watch(self, kind: ResourceKind, resource_version: str, timeout: float) -> Iterator[WatchEvent]:
        """Events after the version, until ``timeout`` seconds have passed (then it simply ends).

        A pod that becomes Succeeded or Failed is reported as deleted. The simulated cluster never waits: it ends
        where nothing is left.

        Raises:
            Expired: The version is too old, list again.
        """
        ...

    def get_pod(self, namespace: str, name: str) -> Pod | None:
        """The pod as it is now, None where there is none."""
        ...

    def get_manifest(self, namespace: str, name: str) -> Mapping[str, object] | None:
        """The pod as JSON, with every field that the cluster has of it; None where there is none.

        The simulated cluster keeps only what it reads of a manifest: no environment, commands, probes or mounts, and
        of volumes only what places them. A pod that is made of that again is the same to all that is simulated.
        """
        ...

    def create_pod(self, manifest: Mapping[str, object]) -> Pod:
        """Create the pod of a manifest, which may name its node and owners already; the pod as it is then.

        A pod without a namespace goes to ``default``. An answer that was lost may have created it: a second try then
        finds the name taken.

        Raises:
            ApiError: 409 where the name is taken; 403 where a quota, another admission or our roles forbid it; 404
                without its namespace; 400 and 422 where the manifest is none.
        """
        ...

    def ensure_priority_class(self, name: str, value: int, description: str) -> None:
        """See to it that the priority class is there, one that preempts nothing and is nobody's default.

        One that is there stays as it is: administrators may describe it as they like, and its value cannot be changed.

        Raises:
            ApiError: 409 where it is there with another value; the message says the remedy.
        """
        ...

    def bind(self, pod: PodKey, node: str) -> None:
        """Bind the pod to the node; the uid is a precondition.

        Raises:
            ApiError: 409 where the pod is bound, deleting, gated or another; 404 where it is gone.
        """
        ...

    def evict(self, pod: PodKey, grace_seconds: int | None = None) -> None:
        """Evict through the eviction API. ApiError 429 where a disruption budget forbids it now."""
        ...

    def delete_pod(self, pod: PodKey, grace_seconds: int | None = None) -> None:
        """Delete the pod; disruption budgets are not asked, and the uid is a precondition.

        Args:
            pod: Exactly that one.
            grace_seconds: None for the pod's own. 0 takes it away at once, without its kubelet's word that nothing of
                it runs any more: for pods that only hold room, or whose node is known to be gone.

        Raises:
            ApiError: 409 where another pod has its name; 404 where it is gone.
        """
        ...

    def nominate(self, pod: PodKey, node: str) -> None:
        """Set the node that is promised to the pod, "" for none, in its status; the uid is a precondition."""
        ...

    def patch_pod_condition(self, pod: PodKey, condition: Condition) -> None:
        """Set one condition in the pod's status, with the uid as a precondition."""
        ...

    def get_claim(self, namespace: str, name: str) -> PersistentVolumeClaim | None:
        """The claim as it is now, None where there is none."""
        ...

    def get_volume(self, name: str) -> PersistentVolume | None:
        """The volume as it is now, None where there is none."""
        ...

    def give_volume(self, volume: PersistentVolume, claim: PersistentVolumeClaim) -> PersistentVolume:
        """Reserve the volume for the claim, so that the cluster binds them; the volume as it is then.

        Raises:
            ApiError: 409 where the volume is no longer as it is given here; 404 where it is gone.
        """
        ...

    def select_node(self, claim: PersistentVolumeClaim, node: str) -> PersistentVolumeClaim:
        """Ask for a volume to be made for the claim, which the node reaches; the claim as it is then.

        Raises:
            ApiError: 409 where the claim is no longer as it is given here; 404 where it is gone.
        """
        ...

    def get_resource_claim(self, namespace: str, name: str) -> ResourceClaim | None:
        """The claim of devices as it is now, None where there is none."""
        ...

    def reserve_resource_claim(
        self, claim: ResourceClaim, pod: PodKey, allocation: Allocation | None
    ) -> ResourceClaim:
        """Let the pod use the claim, with what it is to get where it has no devices yet; the claim as it is then.

        A claim that gets devices is protected from being deleted first.

        Raises:
            ApiError: 409 where the claim is no longer as it is given here; 404 where it is gone.
        """
        ...

    def release_resource_claim(self, claim: ResourceClaim) -> ResourceClaim:
        """Take the claim's devices away, and its pods; the claim as it is then.

        Raises:
            ApiError: 409 where the claim is no longer as it is given here; 404 where it is gone.
        """
        ...

    def create_resource_claim(self, claim: ResourceClaim) -> ResourceClaim:
        """Make the claim of devices, as it is given but for its status; the claim as it is then.

        Raises:
            ApiError: 409 where one of its name is there.
        """
        ...

    def delete_resource_claim(self, claim: ResourceClaim) -> None:
        """Delete the claim of devices, whatever it has: what protects it is taken off first.

        Raises:
            ApiError: 409 where the claim is no longer as it is given here; 404 where it is gone.
        """
        ...

    def tell_extended_claim(self, pod: PodKey, claim: str, mappings: Sequence[DeviceMapping]) -> None:
        """Say in the pod's status which claim has its extended resources, and which request is for whom.

        Raises:
            ApiError: 409 where another pod has its name; 404 where it is gone.
        """
        ...

    def post_event(self, event: ClusterEvent) -> None:
        """Record an Event."""
        ...

    def get_lease(self, namespace: str, name: str) -> LeaseRecord | None:
        """The lease, None where there is none."""
        ...

    def put_lease(self, namespace: str, name: str, record: LeaseRecord) -> LeaseRecord:
        """Create the lease (version "") or replace that version of it; returns it with its new version.

        Raises:
            ApiError: 409 where somebody else was faster.
        """
        ...
