"""Devices that their drivers have to make ready before a pod that has them is bound.

Source: kube-scheduler's plugin DynamicResources (isClaimReadyForBinding, isClaimTimeout).
"""

from __future__ import annotations

from typing import Final

from engine.model.devices import AllocatedDevice, Allocation, ResourceClaim
from engine.model.objects import Condition

READY: Final = ""
BINDING_SECONDS: Final = 600.0
"""For how long a claim's devices may take, from when it got them."""


def has_conditions(allocation: Allocation | None) -> bool:
    """Whether any of the devices has to be waited for."""
    return allocation is not None and any(one.binding_conditions for one in allocation.devices.results or ())


def readiness(claim: ResourceClaim) -> str | None:
    """`READY`, or why a driver cannot make it so, or None while it has to be waited for."""
    if claim.allocation is None:
        return None
    for result in claim.allocation.devices.results or ():
        if not result.binding_conditions:
            continue
        conditions = _conditions(claim, result)
        if conditions is None:
            return None
        for name in result.binding_failure_conditions or ():
            failed = conditions.get(name)
            if failed is not None and failed.status == "True":
                because = ": ".join(part for part in (failed.reason, failed.message) if part)
                return f"device {result.id} of resourceclaim {claim.name} failed with {name}" + (
                    f" ({because})" if because else ""
                )
        for name in result.binding_conditions:
            found = conditions.get(name)
            if found is None or found.status != "True":
                return None
    return READY


def due(claim: ResourceClaim) -> float | None:
    """When devices that are not ready are given up, in seconds since the epoch; None where that is not known."""
    allocation = claim.allocation
    if allocation is None or allocation.allocation_timestamp is None or not has_conditions(allocation):
        return None
    return allocation.allocation_timestamp.timestamp() + BINDING_SECONDS


def given_up(claim: ResourceClaim, now: float) -> bool:
    """Whether nothing will come of a claim's devices, so that it should get others.

    Args:
        claim: Any.
        now: Seconds since the epoch.
    """
    if not has_conditions(claim.allocation):
        return False
    state = readiness(claim)
    if state is None:
        end = due(claim)
        return end is not None and end < now
    return state != READY


def pending(claim: ResourceClaim) -> list[str]:
    """What is not there yet: each device with the conditions that it lacks."""
    found = []
    for result in claim.allocation.devices.results or () if claim.allocation is not None else ():
        conditions = _conditions(claim, result) or {}
        lacking = [
            name
            for name in result.binding_conditions or ()
            if name not in conditions or conditions[name].status != "True"
        ]
        if lacking:
            found.append(f"{result.id} lacks {', '.join(lacking)}")
    return found


def _conditions(claim: ResourceClaim, result: AllocatedDevice) -> dict[str, Condition] | None:
    """What is said of a device, by type; None where nothing is."""
    for status in claim.status.devices or ():
        if (status.driver, status.pool, status.device) == tuple(result.id):
            return {condition.type: condition for condition in status.conditions or ()}
    return None
