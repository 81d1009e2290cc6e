"""Devices, claims of them and what says where devices are, as far as the engine reads them.

Source: resource.k8s.io/v1.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from engine.model.device_capacity import CapacityRequirements, DeviceCapacity, nanos
from engine.model.extended_resources import ANNOTATION
from engine.model.objects import Condition, NodeSelector, ObjectMeta, PodKey, Struct
from engine.model.storage import ClaimName

FINALIZER: Final = "resource.kubernetes.io/delete-protection"
"""On a claim that has devices: nobody deletes it before they are given back."""
ALL: Final = "All"
EXACT_COUNT: Final = "ExactCount"
MOST_USERS: Final = 256
"""How many pods a claim can be reserved for."""
MOST_DEVICES: Final = 32
"""How many devices a claim can have."""
MOST_ALTERNATIVES: Final = 8
"""How many alternatives a request can have."""


class DeviceId(NamedTuple):
    """What names a device."""

    driver: str
    pool: str
    device: str

    def __str__(self) -> str:
        return f"{self.driver}/{self.pool}/{self.device}"


class PoolId(NamedTuple):
    """What names a pool of devices."""

    driver: str
    pool: str

    def __str__(self) -> str:
        return f"{self.driver}/{self.pool}"


class Holding(NamedTuple):
    """What a claim has of a device.

    Attributes:
        device: Which.
        share: What tells the claim's share from others; "" where it has all of the device.
        amounts: Name and billionths of what the share takes.
    """

    device: DeviceId
    share: str = ""
    amounts: tuple[tuple[str, int], ...] = ()


class CelSelector(Struct, frozen=True):
    """An expression that is true of the devices that are meant."""

    expression: str = ""


class DeviceSelector(Struct, frozen=True):
    """Which devices are meant; the only kind of selector so far is an expression."""

    cel: CelSelector | None = None


class DeviceToleration(Struct, frozen=True):
    """What taint of a device a request puts up with."""

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None

    def covers(self, taint: DeviceTaint) -> bool:
        """Whether it covers the taint; whether that matters is not asked here."""
        if self.effect not in ("", taint.effect) or self.key not in ("", taint.key):
            return False
        return self.value == taint.value if self.operator in ("", "Equal") else self.operator == "Exists"


class DeviceTaint(Struct, frozen=True):
    """What keeps requests off a device that don't tolerate it."""

    key: str = ""
    value: str = ""
    effect: str = ""


class DeviceRequirements(Struct, frozen=True):
    """Devices of one kind: a request for exactly these, or an alternative of several."""

    name: str = ""
    device_class_name: str = ""
    selectors: tuple[DeviceSelector, ...] | None = None
    allocation_mode: str = EXACT_COUNT
    count: int = 1
    admin_access: bool | None = None
    tolerations: tuple[DeviceToleration, ...] | None = None
    capacity: CapacityRequirements | None = None


class DeviceRequest(Struct, frozen=True):
    """One request of a claim: for exactly something, or for the first alternative that can be had."""

    name: str = ""
    exactly: DeviceRequirements | None = None
    first_available: tuple[DeviceRequirements, ...] | None = None


class DeviceConstraint(Struct, frozen=True):
    """What the devices of some requests (of all, where none is named) must have in common, or not."""

    requests: tuple[str, ...] | None = None
    match_attribute: str | None = None
    distinct_attribute: str | None = None


class DeviceConfiguration(Struct, frozen=True):
    """What a driver is told; not read, only handed on."""

    requests: tuple[str, ...] | None = None
    opaque: dict[str, Any] | None = None


class ClaimedDevices(Struct, frozen=True):
    """What a claim asks for."""

    requests: tuple[DeviceRequest, ...] | None = None
    constraints: tuple[DeviceConstraint, ...] | None = None
    config: tuple[DeviceConfiguration, ...] | None = None


class ResourceClaimSpec(Struct, frozen=True):
    """A claim's spec."""

    devices: ClaimedDevices = ClaimedDevices()


class AllocatedDevice(Struct, frozen=True):
    """A device that a request got."""

    request: str = ""
    driver: str = ""
    pool: str = ""
    device: str = ""
    admin_access: bool | None = None
    tolerations: tuple[DeviceToleration, ...] | None = None
    binding_conditions: tuple[str, ...] | None = None
    binding_failure_conditions: tuple[str, ...] | None = None
    share_id: str | None = msgspec.field(default=None, name="shareID")
    consumed_capacity: dict[str, str | int | float] | None = None

    @property
    def id(self) -> DeviceId:
        """Which device."""
        return DeviceId(self.driver, self.pool, self.device)

    @property
    def holding(self) -> Holding:
        """What nobody else may have any more."""
        if self.share_id is None:
            return Holding(self.id)
        amounts = sorted((self.consumed_capacity or {}).items())
        return Holding(self.id, self.share_id, tuple((name, nanos(amount)) for name, amount in amounts))


class AllocatedConfiguration(Struct, frozen=True):
    """What a driver is told of allocated devices, and whether the class or the claim says so."""

    source: str = ""
    requests: tuple[str, ...] | None = None
    opaque: dict[str, Any] | None = None


class AllocatedDevices(Struct, frozen=True):
    """All devices of a claim."""

    results: tuple[AllocatedDevice, ...] | None = None
    config: tuple[AllocatedConfiguration, ...] | None = None


class Allocation(Struct, frozen=True):
    """What a claim got, and the nodes that reach all of it: every node, where no selector is there."""

    devices: AllocatedDevices = AllocatedDevices()
    node_selector: NodeSelector | None = None
    allocation_timestamp: datetime | None = None

    @property
    def held(self) -> frozenset[Holding]:
        """What nobody else may have. Looking after a device takes nothing of it."""
        return frozenset(one.holding for one in self.devices.results or () if not one.admin_access)


class Consumer(Struct, frozen=True):
    """Who may use a claim: here always a pod."""

    resource: str = "pods"
    name: str = ""
    uid: str = ""
    api_group: str = msgspec.field(default="", name="apiGroup")


class AllocatedDeviceStatus(Struct, frozen=True):
    """What a driver says of a device that a claim has."""

    driver: str = ""
    pool: str = ""
    device: str = ""
    conditions: tuple[Condition, ...] | None = None


class ResourceClaimStatus(Struct, frozen=True):
    """What a claim has, and for whom."""

    allocation: Allocation | None = None
    reserved_for: tuple[Consumer, ...] | None = None
    devices: tuple[AllocatedDeviceStatus, ...] | None = None


class ResourceClaim(Struct, frozen=True):
    """resource.k8s.io/v1 ResourceClaim."""

    metadata: ObjectMeta
    spec: ResourceClaimSpec = ResourceClaimSpec()
    status: ResourceClaimStatus = ResourceClaimStatus()

    @property
    def name(self) -> ClaimName:
        """Namespace and name."""
        return ClaimName(self.metadata.namespace, self.metadata.name)

    @property
    def allocation(self) -> Allocation | None:
        """What it has, None where it has nothing yet."""
        return self.status.allocation

    def reserved(self, pod: PodKey) -> bool:
        """Whether the pod may use it already."""
        return any(consumer.uid == pod.uid for consumer in self.status.reserved_for or ())

    @property
    def full(self) -> bool:
        """Whether no other pod may use it."""
        return len(self.status.reserved_for or ()) >= MOST_USERS

    @property
    def held(self) -> frozenset[Holding]:
        """What nobody else may have."""
        return self.allocation.held if self.allocation is not None else frozenset()

    @property
    def of_extended_resources(self) -> bool:
        """Whether a scheduler made it for a pod's extended resources."""
        return (self.metadata.annotations or {}).get(ANNOTATION) == "true"

    def made_for(self, pod: PodKey) -> bool:
        """Whether the pod looks after it."""
        return any(owner.controller and owner.uid == pod.uid for owner in self.metadata.owner_references)


class ResourceClaimTemplateSpec(Struct, frozen=True):
    """What claims are made from."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ResourceClaimSpec = ResourceClaimSpec()


class ResourceClaimTemplate(Struct, frozen=True):
    """resource.k8s.io/v1 ResourceClaimTemplate; read by what makes claims, never by the scheduler."""

    metadata: ObjectMeta
    spec: ResourceClaimTemplateSpec = ResourceClaimTemplateSpec()


class DeviceClassSpec(Struct, frozen=True):
    """Which devices are of a class, and what their driver is told."""

    selectors: tuple[DeviceSelector, ...] | None = None
    config: tuple[DeviceConfiguration, ...] | None = None
    extended_resource_name: str | None = None


class DeviceClass(Struct, frozen=True):
    """resource.k8s.io/v1 DeviceClass."""

    metadata: ObjectMeta
    spec: DeviceClassSpec = DeviceClassSpec()


class DeviceAttribute(Struct, frozen=True):
    """A value of one of several types; of a type that is not known here, none."""

    text: str | None = msgspec.field(default=None, name="string")
    number: int | None = msgspec.field(default=None, name="int")
    truth: bool | None = msgspec.field(default=None, name="bool")
    version: str | None = None

    @property
    def value(self) -> tuple[str, str | int | bool] | None:
        """Its type and its value, by which attributes are compared; None where it has none that is known."""
        for type_, value in (
            ("string", self.text),
            ("int", self.number),
            ("bool", self.truth),
            ("version", self.version),
        ):
            if value is not None:
                return type_, value
        return None


class Counter(Struct, frozen=True):
    """An amount of something that devices share."""

    value: str | int | float = "0"


class CounterSet(Struct, frozen=True):
    """Amounts that devices share, by name."""

    name: str = ""
    counters: dict[str, Counter] | None = None


class CounterConsumption(Struct, frozen=True):
    """What a device takes of a set of shared amounts."""

    counter_set: str = ""
    counters: dict[str, Counter] | None = None


class Device(Struct, frozen=True):
    """A device."""

    name: str = ""
    attributes: dict[str, DeviceAttribute] | None = None
    capacity: dict[str, DeviceCapacity] | None = None
    consumes_counters: tuple[CounterConsumption, ...] | None = None
    node_name: str | None = None
    node_selector: NodeSelector | None = None
    all_nodes: bool | None = None
    taints: tuple[DeviceTaint, ...] | None = None
    binds_to_node: bool | None = None
    binding_conditions: tuple[str, ...] | None = None
    binding_failure_conditions: tuple[str, ...] | None = None
    allow_multiple_allocations: bool | None = None


class SlicePool(Struct, frozen=True):
    """The pool that a slice is a part of."""

    name: str = ""
    generation: int = 0
    resource_slice_count: int = 0


class ResourceSliceSpec(Struct, frozen=True):
    """Devices of one driver, and which nodes reach them."""

    driver: str = ""
    pool: SlicePool = SlicePool()
    node_name: str | None = None
    node_selector: NodeSelector | None = None
    all_nodes: bool | None = None
    per_device_node_selection: bool | None = None
    devices: tuple[Device, ...] | None = None
    shared_counters: tuple[CounterSet, ...] | None = None


class ResourceSlice(Struct, frozen=True):
    """resource.k8s.io/v1 ResourceSlice."""

    metadata: ObjectMeta
    spec: ResourceSliceSpec = ResourceSliceSpec()

    @property
    def name(self) -> str:
        """The slice's name."""
        return self.metadata.name

    @property
    def pool_id(self) -> PoolId:
        """The pool that it is a part of."""
        return PoolId(self.spec.driver, self.spec.pool.name)


DeviceObject = DeviceClass | ResourceSlice | ResourceClaim
"""Everything that says what devices there are, and whose."""

DEVICES: Final[tuple[type[msgspec.Struct], ...]] = (DeviceClass, ResourceSlice, ResourceClaim)
"""The types of `DeviceObject`."""
