"""Short ways to write devices and claims of them in tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from engine.model.device_capacity import DeviceCapacity
from engine.model.devices import (
    AllocatedDevice,
    AllocatedDevices,
    Allocation,
    CelSelector,
    ClaimedDevices,
    Consumer,
    Counter,
    CounterConsumption,
    CounterSet,
    Device,
    DeviceAttribute,
    DeviceClass,
    DeviceClassSpec,
    DeviceConstraint,
    DeviceRequest,
    DeviceRequirements,
    DeviceSelector,
    ResourceClaim,
    ResourceClaimSpec,
    ResourceClaimStatus,
    ResourceClaimTemplate,
    ResourceClaimTemplateSpec,
    ResourceSlice,
    ResourceSliceSpec,
    SlicePool,
)
from engine.model.objects import (
    NodeSelector,
    NodeSelectorTerm,
    ObjectMeta,
    OwnerReference,
    Pod,
    PodResourceClaim,
    Requirement,
)

DRIVER = "gpu.example.com"


def attribute(value: str | int | bool) -> DeviceAttribute:
    """A string that begins with v and a digit is a version."""
    if isinstance(value, bool):
        return DeviceAttribute(truth=value)
    if isinstance(value, int):
        return DeviceAttribute(number=value)
    version = value[:1] == "v" and value[1:2].isdigit()
    return DeviceAttribute(version=value[1:]) if version else DeviceAttribute(text=value)


def device(
    name: str,
    attributes: Mapping[str, str | int | bool] | None = None,
    capacity: Mapping[str, str] | None = None,
    consumes: Mapping[str, Mapping[str, str]] | None = None,
    **more: Any,
) -> Device:
    return Device(
        name,
        {key: attribute(value) for key, value in (attributes or {}).items()} or None,
        {key: DeviceCapacity(value) for key, value in (capacity or {}).items()} or None,
        tuple(
            CounterConsumption(key, {name: Counter(value) for name, value in counters.items()})
            for key, counters in (consumes or {}).items()
        )
        or None,
        **more,
    )


def slice_(
    name: str,
    *devices: Device,
    node: str | None = None,
    everywhere: bool | None = None,
    selector: NodeSelector | None = None,
    driver: str = DRIVER,
    pool: str = "",
    generation: int = 1,
    slices: int = 1,
    counters: Mapping[str, Mapping[str, str]] | None = None,
    **more: Any,
) -> ResourceSlice:
    """A slice; without a pool's name it is one of its own."""
    shared = tuple(
        CounterSet(key, {name: Counter(value) for name, value in amounts.items()})
        for key, amounts in (counters or {}).items()
    )
    spec = ResourceSliceSpec(
        driver,
        SlicePool(pool or name, generation, slices),
        node,
        selector,
        everywhere,
        devices=devices or None,
        shared_counters=shared or None,
        **more,
    )
    return ResourceSlice(ObjectMeta(name=name), spec)


def gpus(node: str, number: int, **attributes: str | int | bool) -> ResourceSlice:
    """Devices of one node, all alike but for their index."""
    devices = (device(f"gpu-{index}", {"index": index, **attributes}) for index in range(number))
    return slice_(node, *devices, node=node)


def selectors(*expressions: str) -> tuple[DeviceSelector, ...] | None:
    return tuple(DeviceSelector(CelSelector(expression)) for expression in expressions) or None


def device_class(name: str = "gpu", *expressions: str) -> DeviceClass:
    return DeviceClass(ObjectMeta(name=name), DeviceClassSpec(selectors(*expressions)))


def asked(*expressions: str, count: int = 1, class_name: str = "gpu", **more: Any) -> DeviceRequirements:
    return DeviceRequirements(
        device_class_name=class_name, selectors=selectors(*expressions), count=count, **more
    )


def exactly(*expressions: str, name: str = "gpu", **more: Any) -> DeviceRequest:
    return DeviceRequest(name, asked(*expressions, **more))


def first(name: str, *alternatives: DeviceRequirements) -> DeviceRequest:
    named = tuple(replace(one, name=f"a{position}") for position, one in enumerate(alternatives))
    return DeviceRequest(name, None, named)


def spec(*requests: DeviceRequest, constraints: Iterable[DeviceConstraint] = ()) -> ResourceClaimSpec:
    return ResourceClaimSpec(ClaimedDevices(requests or (exactly(),), tuple(constraints) or None))


def claim(
    name: str,
    *requests: DeviceRequest,
    constraints: Iterable[DeviceConstraint] = (),
    allocation: Allocation | None = None,
    users: Iterable[str] = (),
    owner: Pod | None = None,
    version: str = "",
) -> ResourceClaim:
    owners = (
        (OwnerReference("Pod", owner.metadata.name, owner.metadata.uid, True, "v1"),)
        if owner is not None
        else ()
    )
    metadata = ObjectMeta(
        name=name,
        namespace="default",
        uid=f"uid-{name}",
        resource_version=version,
        owner_references=owners,
    )
    consumers = tuple(Consumer("pods", uid, uid) for uid in users)
    return ResourceClaim(
        metadata, spec(*requests, constraints=constraints), ResourceClaimStatus(allocation, consumers or None)
    )


def template(name: str, *requests: DeviceRequest) -> ResourceClaimTemplate:
    return ResourceClaimTemplate(
        ObjectMeta(name=name, namespace="default"), ResourceClaimTemplateSpec(spec=spec(*requests))
    )


def allocated(node: str, *devices: str, request: str = "gpu") -> Allocation:
    """Devices of the pool of a node, as `gpus` makes it, allocated."""
    results = tuple(AllocatedDevice(request, DRIVER, node, name) for name in devices)
    only = NodeSelectorTerm(match_fields=(Requirement("metadata.name", "In", (node,)),))
    return Allocation(AllocatedDevices(results), NodeSelector((only,)))


def using(pod: Pod, *claims: str, templates: Iterable[str] = ()) -> Pod:
    """The pod with claims that are there, and claims of templates."""
    references = [PodResourceClaim(name, name) for name in claims]
    references += [PodResourceClaim(name, None, name) for name in templates]
    return replace(pod, spec=replace(pod.spec, resource_claims=tuple(references)))
