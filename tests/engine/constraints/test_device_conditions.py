"""When devices are ready, and when they are given up."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.clock import utc
from engine.constraints.device_conditions import BINDING_SECONDS, given_up, pending, readiness
from engine.model.devices import (
    AllocatedDevice,
    AllocatedDevices,
    AllocatedDeviceStatus,
    Allocation,
    ResourceClaim,
)
from engine.model.objects import Condition
from tests.engine import devices as make

SINCE = 1000.0
LATER = SINCE + BINDING_SECONDS + 1


def claim(
    *said: tuple[str, str],
    wanted: tuple[str, ...] = ("attached", "ready"),
    failures: tuple[str, ...] = ("broken",),
    device: str = "d",
    since: float | None = SINCE,
) -> ResourceClaim:
    """A claim of a device, and what its driver says of ``device``."""
    result = AllocatedDevice(
        "gpu",
        make.DRIVER,
        "n1",
        "d",
        binding_conditions=wanted or None,
        binding_failure_conditions=failures or None,
    )
    found = make.claim(
        "mine",
        allocation=Allocation(
            AllocatedDevices((result,)), allocation_timestamp=None if since is None else utc(since)
        ),
    )
    conditions = tuple(Condition(type_, status, "Because", "of this") for type_, status in said)
    status = AllocatedDeviceStatus(make.DRIVER, "n1", device, conditions)
    return replace(found, status=replace(found.status, devices=(status,) if said else None))


BROKEN = "device gpu.example.com/n1/d of resourceclaim default/mine failed with broken (Because: of this)"
CASES: dict[str, tuple[ResourceClaim, str | None, bool]] = {
    "no conditions": (claim(wanted=(), failures=()), "", False),
    "nothing said": (claim(), None, True),
    "of another device": (claim(("attached", "True"), ("ready", "True"), device="e"), None, True),
    "one of two": (claim(("attached", "True")), None, True),
    "one is not": (claim(("attached", "True"), ("ready", "False")), None, True),
    "both": (claim(("attached", "True"), ("ready", "True")), "", False),
    "failed": (claim(("broken", "True")), BROKEN, True),
    "failed though ready": (claim(("attached", "True"), ("ready", "True"), ("broken", "True")), BROKEN, True),
    "not failed": (claim(("broken", "False"), ("attached", "True"), ("ready", "True")), "", False),
    "since nobody knows when": (claim(since=None), None, False),
}


@pytest.mark.parametrize(("found", "state", "late"), CASES.values(), ids=CASES)
def test_readiness(found: ResourceClaim, state: str | None, late: bool) -> None:
    assert readiness(found) == state
    assert given_up(found, LATER) is late
    assert given_up(found, SINCE + 1) is bool(state)


def test_what_lacks_is_told() -> None:
    assert pending(claim(("attached", "True"))) == ["gpu.example.com/n1/d lacks ready"]
    assert pending(claim()) == ["gpu.example.com/n1/d lacks attached, ready"]
    assert pending(make.claim("none")) == []
