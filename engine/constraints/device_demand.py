"""What a pod's claims of devices come to: where those are that it has, and what has to be found.

A demand names no claim, so that pods whose claims are alike have equal demands, and share what is worked out for the
first of them.

Source: kube-scheduler's plugin DynamicResources (what it does before it looks at nodes).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import msgspec

from engine.constraints.device_conditions import given_up
from engine.model.device_uses import DeviceUse
from engine.model.devices import (
    MOST_ALTERNATIVES,
    Allocation,
    ClaimedDevices,
    DeviceRequest,
    DeviceRequirements,
    ResourceClaim,
)
from engine.model.objects import NodeSelectorTerm, PodKey
from engine.state.devices import Devices

Terms = tuple[NodeSelectorTerm, ...]
"""Of which one must hold."""

_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic")
_DECODER: Final = msgspec.msgpack.Decoder(ClaimedDevices)


@dataclass(frozen=True, slots=True)
class WantedDevices:
    """What a claim without devices asks for.

    Attributes:
        key: Equal for claims that ask for the same.
        asked: The requests and constraints.
    """

    key: bytes
    asked: ClaimedDevices = field(compare=False)


@dataclass(frozen=True, slots=True)
class DeviceDemand:
    """What a pod's claims come to.

    Attributes:
        trouble: Why no node will do, "" where one may.
        pinned: Of the claims that have devices on some nodes only: where.
        wanted: Of those that have none, in the order of the pod.
        preferred: What the alternatives count that the others got.
        given_up: Whether a claim has devices of which nothing will come, so that no node will do before it has others.
    """

    trouble: str = ""
    pinned: tuple[Terms, ...] = ()
    wanted: tuple[WantedDevices, ...] = ()
    preferred: int = 0
    given_up: bool = False


def device_demand_of(
    devices: Devices, uses: tuple[DeviceUse, ...], pod: PodKey, now: float = 0.0
) -> DeviceDemand:
    """What the claims come to, as things stand at a time in seconds since the epoch."""
    trouble = devices.unknown or _trouble(devices, uses, pod)
    if trouble:
        return DeviceDemand(trouble)
    pinned: list[Terms] = []
    wanted: list[WantedDevices] = []
    preferred = 0
    lost = False
    for claim in claims_in(devices, uses):
        allocation = claim.allocation
        lost = lost or given_up(claim, now)
        if allocation is None:
            wanted.append(_wanted(_key(claim)))
        else:
            preferred += preference(claim.spec.devices, _alternatives(allocation))
            if allocation.node_selector is not None:
                pinned.append(allocation.node_selector.node_selector_terms)
    return DeviceDemand(
        pinned=tuple(dict.fromkeys(pinned)), wanted=tuple(wanted), preferred=preferred, given_up=lost
    )


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


def _key(claim: ResourceClaim) -> bytes:
    asked = claim.spec.devices
    return _ENCODER.encode(msgspec.structs.replace(asked, config=None))


@lru_cache(maxsize=4096)
def _wanted(key: bytes) -> WantedDevices:
    return WantedDevices(key, _DECODER.decode(key))


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
