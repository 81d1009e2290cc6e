"""The API's objects as far as the engine reads them.

Decoding skips every other field, so objects of newer versions are no trouble, and one pod costs some microseconds.
Structs are frozen: whoever holds one may keep it.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec

DEFAULT_SCHEDULER = "default-scheduler"


class Struct(msgspec.Struct, frozen=True, rename="camel", gc=False, omit_defaults=True):
    """Base of the decoded objects: camel case in JSON, snake case here."""


class PodKey(NamedTuple):
    """What names one pod for ever: the uid tells a pod from a later one of the same name."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class OwnerReference(Struct, frozen=True):
    """Who made the object."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None
    api_version: str = ""


class ObjectMeta(Struct, frozen=True):
    """metav1.ObjectMeta."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: tuple[OwnerReference, ...] = ()
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None


class Requirement(Struct, frozen=True):
    """One expression of a selector: ``key operator values``."""

    key: str
    operator: str
    values: tuple[str, ...] | None = None


class LabelSelector(Struct, frozen=True):
    """metav1.LabelSelector, as it is written; `engine.model.selectors` gives it its meaning."""

    match_labels: dict[str, str] | None = None
    match_expressions: tuple[Requirement, ...] | None = None


class NodeSelectorTerm(Struct, frozen=True):
    """Expressions that must all hold."""

    match_expressions: tuple[Requirement, ...] | None = None
    match_fields: tuple[Requirement, ...] | None = None


class NodeSelector(Struct, frozen=True):
    """Terms of which one must hold."""

    node_selector_terms: tuple[NodeSelectorTerm, ...] = ()


class PreferredTerm(Struct, frozen=True):
    """A term that adds its weight (1…100) where it holds."""

    weight: int
    preference: NodeSelectorTerm


class NodeAffinity(Struct, frozen=True):
    """Which nodes a pod must or would rather run on."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    preferred_during_scheduling_ignored_during_execution: tuple[PreferredTerm, ...] | None = None


class PodAffinityTerm(Struct, frozen=True):
    """Which pods are meant, and within what: nodes of one value of the label ``topology_key``."""

    label_selector: LabelSelector | None = None
    namespaces: tuple[str, ...] | None = None
    topology_key: str = ""
    namespace_selector: LabelSelector | None = None
    match_label_keys: tuple[str, ...] | None = None
    mismatch_label_keys: tuple[str, ...] | None = None


class WeightedPodAffinityTerm(Struct, frozen=True):
    """A term that adds its weight (1…100) for each pod that it means."""

    weight: int
    pod_affinity_term: PodAffinityTerm


class PodAffinity(Struct, frozen=True):
    """Which pods a pod must or would rather be with; of anti-affinity, be apart from."""

    required_during_scheduling_ignored_during_execution: tuple[PodAffinityTerm, ...] | None = None
    preferred_during_scheduling_ignored_during_execution: tuple[WeightedPodAffinityTerm, ...] | None = None


class Affinity(Struct, frozen=True):
    """A pod's affinities: to nodes, to other pods, against other pods."""

    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


class TopologySpreadConstraint(Struct, frozen=True):
    """How unevenly pods may be spread over the values of a node label."""

    max_skew: int = 1
    topology_key: str = ""
    when_unsatisfiable: str = "DoNotSchedule"
    label_selector: LabelSelector | None = None
    min_domains: int | None = None
    node_affinity_policy: str | None = None
    node_taints_policy: str | None = None
    match_label_keys: tuple[str, ...] | None = None


class Toleration(Struct, frozen=True):
    """What taint a pod puts up with. Empty effect: every effect; empty operator: Equal."""

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""


class ContainerPort(Struct, frozen=True):
    """A port of a container; ``host_port`` 0 asks for none on the host."""

    host_port: int = 0
    host_ip: str = msgspec.field(default="", name="hostIP")
    protocol: str = ""
    container_port: int = 0


class ResourceRequirements(Struct, frozen=True):
    """Requests and limits by resource name, as quantities."""

    requests: dict[str, str | int | float] | None = None
    limits: dict[str, str | int | float] | None = None


class Container(Struct, frozen=True):
    """A container; as an init container it is a sidecar where ``restart_policy`` is Always."""

    name: str = ""
    resources: ResourceRequirements | None = None
    ports: tuple[ContainerPort, ...] | None = None
    restart_policy: str | None = None
    image: str = ""


class ClaimReference(Struct, frozen=True):
    """A volume's claim."""

    claim_name: str = ""


class ImageVolume(Struct, frozen=True):
    """A volume that is an image."""

    reference: str = ""


class GceDisk(Struct, frozen=True):
    """A disk of GCE, named by the pod itself."""

    pd_name: str = msgspec.field(default="", name="pdName")
    read_only: bool = False


class AwsDisk(Struct, frozen=True):
    """A disk of AWS, named by the pod itself."""

    volume_id: str = msgspec.field(default="", name="volumeID")


class AzureDisk(Struct, frozen=True):
    """A disk of Azure, named by the pod itself."""

    disk_uri: str = msgspec.field(default="", name="diskURI")
    kind: str | None = None


class CinderDisk(Struct, frozen=True):
    """A volume of OpenStack, named by the pod itself."""

    volume_id: str = msgspec.field(default="", name="volumeID")


class PortworxDisk(Struct, frozen=True):
    """A volume of Portworx, named by the pod itself."""

    volume_id: str = msgspec.field(default="", name="volumeID")


InTreeDisk = GceDisk | AwsDisk | AzureDisk | CinderDisk | PortworxDisk
"""A disk of a driver that was once part of Kubernetes, and which a CSI driver serves now."""


class IscsiDisk(Struct, frozen=True):
    """An iSCSI target, named by the pod itself."""

    iqn: str = ""
    read_only: bool = False


class RbdDisk(Struct, frozen=True):
    """An image of Ceph, named by the pod itself."""

    monitors: tuple[str, ...] = ()
    image: str = ""
    pool: str = "rbd"
    read_only: bool = False


class Volume(Struct, frozen=True):
    """A volume as far as scheduling cares."""

    name: str = ""
    persistent_volume_claim: ClaimReference | None = None
    ephemeral: dict[str, object] | None = None
    image: ImageVolume | None = None
    gce_persistent_disk: GceDisk | None = None
    aws_elastic_block_store: AwsDisk | None = None
    azure_disk: AzureDisk | None = None
    cinder: CinderDisk | None = None
    portworx_volume: PortworxDisk | None = None
    iscsi: IscsiDisk | None = None
    rbd: RbdDisk | None = None

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

    @property
    def disk(self) -> bool:
        """Whether it is a disk of which a node mounts only one for writing."""
        return (
            self.gce_persistent_disk or self.aws_elastic_block_store or self.iscsi or self.rbd
        ) is not None


class SchedulingGate(Struct, frozen=True):
    """Something that holds the pod back from scheduling until it is taken away."""

    name: str = ""


class PodResourceClaim(Struct, frozen=True):
    """A claim of devices that the pod uses: one that is there, or one that is made for it from a template."""

    name: str = ""
    resource_claim_name: str | None = None
    resource_claim_template_name: str | None = None


class PodSpec(Struct, frozen=True):
    """What the pod asks for."""

    node_name: str = ""
    scheduler_name: str = DEFAULT_SCHEDULER
    priority: int | None = None
    preemption_policy: str | None = None
    node_selector: dict[str, str] | None = None
    affinity: Affinity | None = None
    tolerations: tuple[Toleration, ...] | None = None
    containers: tuple[Container, ...] | None = None
    init_containers: tuple[Container, ...] | None = None
    overhead: dict[str, str | int | float] | None = None
    resources: ResourceRequirements | None = None
    scheduling_gates: tuple[SchedulingGate, ...] | None = None
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...] | None = None
    resource_claims: tuple[PodResourceClaim, ...] | None = None
    volumes: tuple[Volume, ...] | None = None
    host_network: bool | None = None


class Condition(Struct, frozen=True):
    """A condition of a pod or of a node."""

    type: str
    status: str = "Unknown"
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None


class ContainerStatus(Struct, frozen=True):
    """What a container really has, which differs from its spec while it is being resized."""

    name: str = ""
    restart_count: int = 0
    allocated_resources: dict[str, str | int | float] | None = None
    resources: ResourceRequirements | None = None


class PodClaimStatus(Struct, frozen=True):
    """The claim that was made from a template; none where the template turned out to ask for nothing."""

    name: str = ""
    resource_claim_name: str | None = None


class ContainerExtendedResource(Struct, frozen=True):
    """Which request of a claim is for a container's extended resource."""

    container_name: str = ""
    resource_name: str = ""
    request_name: str = ""


class ExtendedResourceClaim(Struct, frozen=True):
    """The claim that was made for the pod's extended resources."""

    resource_claim_name: str = ""
    request_mappings: tuple[ContainerExtendedResource, ...] | None = None


class PodStatus(Struct, frozen=True):
    """Where the pod is in its life."""

    phase: str = "Pending"
    reason: str = ""
    conditions: tuple[Condition, ...] | None = None
    container_statuses: tuple[ContainerStatus, ...] | None = None
    init_container_statuses: tuple[ContainerStatus, ...] | None = None
    resources: ResourceRequirements | None = None
    allocated_resources: dict[str, str | int | float] | None = None
    nominated_node_name: str = ""
    start_time: datetime | None = None
    resource_claim_statuses: tuple[PodClaimStatus, ...] | None = None
    extended_resource_claim_status: ExtendedResourceClaim | None = None


class Pod(Struct, frozen=True):
    """core/v1 Pod."""

    metadata: ObjectMeta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def key(self) -> PodKey:
        """The pod's key."""
        return PodKey(self.metadata.namespace, self.metadata.name, self.metadata.uid)

    @property
    def restarts(self) -> int:
        """How often its containers were restarted, all together."""
        return sum(status.restart_count for status in self.status.container_statuses or ())

    def condition(self, type_: str) -> Condition | None:
        """The condition of that type, if the pod has it."""
        return next(
            (condition for condition in self.status.conditions or () if condition.type == type_), None
        )


class Taint(Struct, frozen=True):
    """What keeps pods off a node that don't tolerate it."""

    key: str = ""
    value: str = ""
    effect: str = ""


class NodeSpec(Struct, frozen=True):
    """A node's spec."""

    unschedulable: bool = False
    taints: tuple[Taint, ...] | None = None


class ContainerImage(Struct, frozen=True):
    """An image that a node holds, by all its names."""

    names: tuple[str, ...] | None = None
    size_bytes: int = 0


class NodeAddress(Struct, frozen=True):
    """How a node can be reached."""

    type: str = ""
    address: str = ""


class NodeStatus(Struct, frozen=True):
    """What a node offers and how it is."""

    allocatable: dict[str, str | int | float] | None = None
    conditions: tuple[Condition, ...] | None = None
    images: tuple[ContainerImage, ...] | None = None
    addresses: tuple[NodeAddress, ...] | None = None


class Node(Struct, frozen=True):
    """core/v1 Node."""

    metadata: ObjectMeta
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def name(self) -> str:
        """The node's name."""
        return self.metadata.name

    @property
    def ready(self) -> bool:
        """Whether its Ready condition is True. A node without conditions (made by hand) counts as ready."""
        conditions = self.status.conditions
        if not conditions:
            return True
        return any(condition.type == "Ready" and condition.status == "True" for condition in conditions)


class Identity(Struct, frozen=True):
    """The metadata of an object of which little else matters."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None


class Namespace(Struct, frozen=True):
    """core/v1 Namespace, of which only the labels matter."""

    metadata: Identity


class BudgetSpec(Struct, frozen=True):
    """Which pods a disruption budget protects."""

    selector: LabelSelector | None = None


class BudgetStatus(Struct, frozen=True):
    """How many of them may go now, and which are on their way already, by name."""

    disruptions_allowed: int = 0
    disrupted_pods: dict[str, object] | None = None


class PodDisruptionBudget(Struct, frozen=True):
    """policy/v1 PodDisruptionBudget, as far as it says what a preemption would violate."""

    metadata: Identity
    spec: BudgetSpec = BudgetSpec()
    status: BudgetStatus = BudgetStatus()


class ServiceSpec(Struct, frozen=True):
    """Which pods a service sends to."""

    selector: dict[str, str] | None = None


class Service(Struct, frozen=True):
    """core/v1 Service, as far as it says which pods belong together."""

    metadata: Identity
    spec: ServiceSpec = ServiceSpec()


class ReplicationControllerSpec(Struct, frozen=True):
    """Which pods a replication controller counts."""

    selector: dict[str, str] | None = None


class ReplicationController(Struct, frozen=True):
    """core/v1 ReplicationController, as far as it says which pods belong together."""

    metadata: Identity
    spec: ReplicationControllerSpec = ReplicationControllerSpec()


class SelectingSpec(Struct, frozen=True):
    """Which pods a workload counts."""

    selector: LabelSelector | None = None


class ReplicaSet(Struct, frozen=True):
    """apps/v1 ReplicaSet, as far as it says which pods belong together."""

    metadata: Identity
    spec: SelectingSpec = SelectingSpec()


class StatefulSet(Struct, frozen=True):
    """apps/v1 StatefulSet, as far as it says which pods belong together."""

    metadata: Identity
    spec: SelectingSpec = SelectingSpec()
