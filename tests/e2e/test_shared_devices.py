"""Shares of devices, and devices that their drivers make ready, for Berth and for kube-scheduler: both do the same."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.controlplane import ControlPlane
from tests.controlplane.api import Object
from tests.e2e.part import SCHEDULER, Part
from tests.e2e.test_devices import DEVICES, STOCK, Devices

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def _stock(full_control_plane: ControlPlane) -> Iterator[None]:
    full_control_plane.start_scheduler()
    yield
    full_control_plane.stop_scheduler()


@pytest.fixture(params=[SCHEDULER, STOCK], ids=["berth", "kube-scheduler"])
def devices(part: Part, request: pytest.FixtureRequest, _stock: None) -> Devices:
    return Devices(part, request.param)


def card(name: str, memory: str, policy: Object | None = None, **more: Any) -> Object:
    """A device of which each claim gets some memory."""
    amount: Object = {"value": memory, **({"requestPolicy": policy} if policy else {})}
    return {"name": name, "allowMultipleAllocations": True, "capacity": {"memory": amount}, **more}


def want(devices: Devices, memory: str, name: str = "gpu") -> Object:
    capacity = {"capacity": {"requests": {"memory": memory}}} if memory else {}
    return devices.exactly(name=name, **capacity)


def results(devices: Devices, claim: str) -> list[Object]:
    found: list[Object] = devices.found(claim)["status"]["allocation"]["devices"]["results"]
    return found


def test_claims_share_a_device_until_its_amounts_are_gone(devices: Devices) -> None:
    part = devices.part
    part.add_nodes("a")
    devices.slice("a", card("one", "10Gi"), card("two", "10Gi"), node="a")
    shares = set()
    for number, (memory, device) in enumerate(
        [("6Gi", "one"), ("6Gi", "two"), ("4Gi", "one"), ("3Gi", "two")]
    ):
        claim = f"c{number}"
        devices.claim(claim, want(devices, memory))
        devices.pod(f"p{number}", claim)
        assert part.node_of(f"p{number}") == "a"
        (result,) = results(devices, claim)
        assert result["device"] == device
        assert result["consumedCapacity"] == {"memory": memory}
        shares.add(uuid.UUID(result["shareID"]))
    assert len(shares) == 4
    devices.claim("last", want(devices, "2Gi"))
    devices.pod("q", "last")
    part.refused("q", "cannot allocate all claims")
    part.delete_pod("p3")
    devices.part.plane.api.delete(f"{DEVICES}/namespaces/{part.namespace}/resourceclaims/c3")
    assert part.node_of("q") == "a"


POLICIES: dict[str, tuple[Object | None, str, str]] = {
    "all where nothing is said": (None, "", "10Gi"),
    "the default": ({"default": "1Gi"}, "", "1Gi"),
    "as asked": ({"default": "1Gi"}, "1500Mi", "1500Mi"),
    "the next of the values": ({"default": "1Gi", "validValues": ["1Gi", "2Gi", "8Gi"]}, "3Gi", "8Gi"),
    "no value is so large": ({"default": "1Gi", "validValues": ["1Gi", "2Gi"]}, "3Gi", ""),
    "the least": ({"default": "2Gi", "validRange": {"min": "2Gi"}}, "1Gi", "2Gi"),
    "a step": ({"default": "1Gi", "validRange": {"min": "1Gi", "step": "2Gi"}}, "3500Mi", "5Gi"),
    "a step of an odd size": ({"default": "1", "validRange": {"min": "1", "step": "1500"}}, "2000", "3001"),
    "beyond the most": ({"default": "1Gi", "validRange": {"min": "1Gi", "max": "4Gi"}}, "5Gi", ""),
    "more than there is": (None, "11Gi", ""),
}


@pytest.mark.parametrize(("policy", "memory", "taken"), POLICIES.values(), ids=POLICIES)
def test_how_much_is_taken(devices: Devices, policy: Object | None, memory: str, taken: str) -> None:
    devices.part.add_nodes("a")
    devices.slice("a", card("card", "10Gi", policy), node="a")
    devices.claim("mine", want(devices, memory))
    devices.pod("p", "mine")
    if not taken:
        devices.part.refused("p", "cannot allocate all claims")
        return
    assert devices.part.node_of("p") == "a"
    (result,) = results(devices, "mine")
    assert result["consumedCapacity"] == {"memory": taken}


def test_requests_of_one_claim_share_a_device(devices: Devices) -> None:
    devices.part.add_nodes("a")
    devices.slice("a", card("card", "10Gi"), node="a")
    devices.claim("fits", want(devices, "5Gi", "one"), want(devices, "4Gi", "two"))
    devices.pod("p", "fits")
    assert devices.part.node_of("p") == "a"
    assert [one["device"] for one in results(devices, "fits")] == ["card", "card"]
    devices.claim("too-much", want(devices, "1Gi", "one"), want(devices, "1Gi", "two"))
    devices.pod("q", "too-much")
    devices.part.refused("q", "cannot allocate all claims")


def test_a_device_that_is_not_shared_must_have_what_is_asked(devices: Devices) -> None:
    devices.part.add_nodes("a")
    devices.gpus("a", "m", "m", "m")
    devices.claim("mine", want(devices, "15Gi"))
    devices.pod("p", "mine")
    assert devices.part.node_of("p") == "a"
    (result,) = results(devices, "mine")
    assert result["device"] == "gpu-1"
    assert not result.keys() & {"shareID", "consumedCapacity"}


# Devices that have to be waited for

SLOW: Object = {
    "name": "slow",
    "bindsToNode": True,
    "bindingConditions": ["example.com/attached"],
    "bindingFailureConditions": ["example.com/broken"],
}


def says(devices: Devices, claim: str, condition: str) -> None:
    """The driver says that of the claim's device."""
    (result,) = results(devices, claim)
    said = {
        "type": condition,
        "status": "True",
        "reason": "Said",
        "message": "",
        "lastTransitionTime": "2030-01-01T00:00:00Z",
    }
    status = {
        "driver": result["driver"],
        "pool": result["pool"],
        "device": result["device"],
        "conditions": [said],
    }
    path = f"{DEVICES}/namespaces/{devices.part.namespace}/resourceclaims/{claim}/status"
    devices.part.plane.api.patch(path, {"status": {"devices": [status]}})


def allocated(devices: Devices, claim: str) -> bool:
    return bool(devices.found(claim).get("status", {}).get("allocation"))


def test_a_pod_is_bound_when_its_devices_are_ready(devices: Devices) -> None:
    part = devices.part
    part.add_nodes("ab")
    devices.slice("net", SLOW, allNodes=True)
    devices.claim("mine")
    devices.pod("p", "mine", affinity=part.only_on("b"))
    part.eventually(lambda: allocated(devices, "mine"), "the claim has its device")
    allocation = devices.found("mine")["status"]["allocation"]
    assert allocation["allocationTimestamp"]
    (result,) = results(devices, "mine")
    assert result["bindingConditions"] == ["example.com/attached"]
    assert result["bindingFailureConditions"] == ["example.com/broken"]
    only = {"key": "metadata.name", "operator": "In", "values": [part.full("b")]}
    assert allocation["nodeSelector"] == {"nodeSelectorTerms": [{"matchFields": [only]}]}
    part.eventually(
        lambda: "BindingConditionsPending" in [one["reason"] for one in part.events("p")], "it is told"
    )
    assert not part.pod("p")["spec"].get("nodeName")
    says(devices, "mine", "example.com/attached")
    assert part.node_of("p") == "b"


def test_a_device_that_fails_is_given_back(devices: Devices) -> None:
    part = devices.part
    part.add_nodes("a")
    devices.slice("net", SLOW, allNodes=True)
    devices.claim("mine")
    devices.pod("p", "mine")
    part.eventually(lambda: allocated(devices, "mine"), "the claim has its device")
    # Such a device should not be given out again.
    path = f"{DEVICES}/resourceslices/net.{part.namespace}"
    good = {"name": "good", "attributes": {"model": {"string": "m"}}}
    part.plane.api.patch(path, {"spec": {"devices": [good]}})
    says(devices, "mine", "example.com/broken")
    assert part.node_of("p") == "a"
    (result,) = results(devices, "mine")
    assert result["device"] == "good"
    assert not devices.found("mine")["status"].get("devices")
