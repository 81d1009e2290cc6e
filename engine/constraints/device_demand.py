"""What a pod's claims of devices come to: where those are that it has, and what has to be found.

A demand names no claim, so that pods whose claims are alike have equal demands, and share what is worked out for the
first of them.

Source: kube-scheduler's plugin DynamicResources (what it does before it looks at nodes).
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.constraints.device_conditions import given_up
from engine.constraints.extended_resources import Extended
from engine.constraints.wanted_devices import WantedDevices, wanted
from engine.model.device_uses import DeviceUse
from engine.model.devices import (
    MOST_ALTERNATIVES,
    Allocation,
    ClaimedDevices,
    DeviceRequest,
    DeviceRequirements,
    ResourceClaim,
)
from engine.model.extended_resources import Asking
from engine.model.objects import NodeSelectorTerm, PodKey
from engine.state.devices import Devices

Terms = tuple[NodeSelectorTerm, ...]
"""Of which one must hold."""


@dataclass(frozen=True, slots=True)
class DeviceDemand:
    """What a pod's claims come to.

    Attributes:
        trouble: Why no node will do, "" where one may.
        pinned: Of the claims that have devices on some nodes only: where.
        wanted: Of those that have none, in the order of the pod.
        preferred: What the alternatives count that the others got.
        given_up: Whether a claim has devices of which nothing will come, so that no node will do before it has others.
        extended: What may be devices of the extended resources that it asks for.
        stale: Whether a claim for those is left from an earlier try, so that no node will do before it is gone.
    """

    trouble: str = ""
    pinned: tuple[Terms, ...] = ()
    wanted: tuple[WantedDevices, ...] = ()
    preferred: int = 0
    given_up: bool = False
    extended: Extended | None = None
    stale: bool = False


def device_demand_of(
    devices: Devices,
    uses: tuple[DeviceUse, ...],
    pod: PodKey,
    now: float = 0.0,
    asking: tuple[Asking, ...] = (),
) -> DeviceDemand:
    """What a pod's claims come to, as things stand.

    Args:
        devices: All that is known of devices.
        uses: The claims.
        pod: Whose they are.
        now: Seconds since the epoch.
        asking: The pod's containers that ask for what a class of devices may stand for.
    """
    extended = _extended(devices, asking)
    trouble = (devices.unknown if uses else "") or _trouble(devices, uses, pod)
    if trouble:
        return DeviceDemand(trouble)
    pinned: list[Terms] = []
    wanting: list[WantedDevices] = []
    preferred = 0
    lost = False
    for claim in claims_in(devices, uses):
        allocation = claim.allocation
        lost = lost or given_up(claim, now)
        if allocation is None:
            wanting.append(wanted(claim.spec.devices))
        else:
            preferred += preference(claim.spec.devices, _alternatives(allocation))
            if allocation.node_selector is not None:
                pinned.append(allocation.node_selector.node_selector_terms)
    return DeviceDemand(
        pinned=tuple(dict.fromkeys(pinned)),
        wanted=tuple(wanting),
        preferred=preferred,
        given_up=lost,
        extended=extended,
        stale=extended is not None and devices.made_for(pod) is not None,
    )


def _extended(devices: Devices, asking: tuple[Asking, ...]) -> Extended | None:
    resources = sorted({resource for one in asking for resource, _, _ in one.requests})
    classes = [
        (resource, found.metadata.name)
        for resource in resources
        if (found := devices.class_for(resource)) is not None
    ]
    return Extended(tuple(classes), asking) if classes else None


def concerns(demand: DeviceDemand, uses: tuple[DeviceUse, ...]) -> bool:
    """Whether a pod has anything to do with devices."""
    return bool(uses) or demand.extended is not None


def claims_in(devices: Devices, uses: tuple[DeviceUse, ...]) -> list[ResourceClaim]:
    """The claims, in the order of the pod."""
    found = (devices.claim(name) for name, _ in uses if name is not None)
    return [claim for claim in found if claim is not None]


def preference(asked: ClaimedDevices, alternatives: set[str]) -> int:
    """What the alternatives count that were chosen: the earlier, the more.

    Args:
        asked: The requests.
        alternatives: Those chosen, as ``request/alternative``.
    """
    return sum(
        MOST_ALTERNATIVES - position
        for request in asked.requests or ()
        for position, one in enumerate(request.first_available or ())
        if f"{request.name}/{one.name}" in alternatives
    )


def _alternatives(allocation: Allocation) -> set[str]:
    return {one.request for one in allocation.devices.results or () if "/" in one.request}


def _trouble(devices: Devices, uses: tuple[DeviceUse, ...], pod: PodKey) -> str:
    """What the plugin refuses before it looks at nodes."""
    for name, owner in uses:
        if name is None:
            return f'pod "{pod}": ResourceClaim not created yet'
        claim = devices.claim(name)
        if claim is None:
            return f'resourceclaim "{name.name}" not found'
        if claim.metadata.deletion_timestamp is not None:
            return f'resourceclaim "{name.name}" is being deleted'
        if owner is not None and not claim.made_for(owner):
            return f"ResourceClaim {name} was not created for Pod {owner} (Pod is not owner)"
    for claim in claims_in(devices, uses):
        if claim.allocation is not None:
            if claim.full and not claim.reserved(pod):
                return "resourceclaim in use"
        elif devices.pending(claim):
            return f"resource claim {claim.name} is in the process of being allocated"
        else:
            trouble = _unknown(devices, claim)
            if trouble:
                return trouble
    return ""


def _unknown(devices: Devices, claim: ResourceClaim) -> str:
    """What of a claim's requests cannot be understood."""
    asked = claim.spec.devices
    for request in asked.requests or ():
        parts = parts_of(request)
        if not parts:
            return f"resource claim {claim.name}, request {request.name}: unknown request type"
        for name, part in parts:
            if not part.device_class_name:
                return f"request {name}: unsupported request type"
            if devices.device_class(part.device_class_name) is None:
                return f"request {name}: device class {part.device_class_name} does not exist"
    for position, constraint in enumerate(asked.constraints or ()):
        if constraint.match_attribute is None and constraint.distinct_attribute is None:
            return (
                f"claim {claim.name}, constraint #{position}: empty constraint (unsupported constraint type?)"
            )
    return ""


def parts_of(request: DeviceRequest) -> list[tuple[str, DeviceRequirements]]:
    """What a request may be fulfilled by, with the names that results have; nothing where that is not known."""
    if request.exactly is not None:
        return [(request.name, request.exactly)]
    return [(f"{request.name}/{one.name}", one) for one in request.first_available or ()]
