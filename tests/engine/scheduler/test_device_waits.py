"""Pods whose devices have to be made ready by their drivers, on the simulated cluster."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from engine.model.devices import AllocatedDeviceStatus, ResourceSlice
from engine.model.objects import Condition
from tests.engine import devices as make
from tests.engine.scheduler.test_devices import CLASS, World, pod

SLOW: dict[str, Any] = {"binding_conditions": ("ready",), "binding_failure_conditions": ("broken",)}


def slow(node: str) -> ResourceSlice:
    return make.slice_(node, make.device("d", **SLOW), node=node)


def says(world: World, type_: str, name: str = "mine") -> None:
    """The driver says that of the claim's device."""
    claim = world.claim(name)
    assert claim.allocation is not None
    (result,) = claim.allocation.devices.results or ()
    status = AllocatedDeviceStatus(*result.id, (Condition(type_, "True", "Said"),))
    world.cluster._devices.put(replace(claim, status=replace(claim.status, devices=(status,))))


def test_a_pod_is_bound_when_its_devices_are_ready() -> None:
    world = World(CLASS, slow("n1"), make.claim("mine"), pod("p", "mine"))
    world.until(30)
    assert world.node_of("p") == ""
    assert [one.name for one in world.claim("mine").status.reserved_for or ()] == ["p"]
    assert world.told("BindingConditionsPending") == ["waiting for binding conditions for device on node n1"]
    assert not world.told()
    assert world.simulation.scheduler.binding == 1
    says(world, "ready")
    world.until(31)
    assert world.node_of("p") == "n1"
    assert world.settled()


def test_devices_that_fail_are_given_back_and_others_are_found() -> None:
    world = World(CLASS, slow("n1"), slow("n2"), make.claim("mine"), pod("p", "mine"))
    world.until(5)
    first = next(iter(world.held())).pool
    # A driver that finds a device broken taints it, or takes it out.
    world.cluster.apply(make.slice_(first, node=first))
    says(world, "broken")
    world.until(60)
    assert "failed with broken (Said)" in world.told()[0]
    (second,) = world.held()
    assert second.pool != first
    assert world.node_of("p") == ""
    says(world, "ready")
    world.until(61)
    assert world.node_of("p") == second.pool
    assert world.settled()


def test_devices_that_are_never_ready_are_given_up() -> None:
    world = World(CLASS, slow("n1"), slow("n2"), make.claim("mine"), pod("p", "mine"))
    world.until(590)
    first = next(iter(world.held())).pool
    world.cluster.apply(make.slice_(first, node=first))
    world.until(700)
    assert f"devices were not ready within 600 s: gpu.example.com/{first}/d lacks ready" in world.told()[0]
    assert {one.pool for one in world.held()} == {"n1", "n2"} - {first}


def test_another_instance_waits_on() -> None:
    world = World(CLASS, slow("n1"), make.claim("mine"), pod("p", "mine"))
    world.until(5)
    world.restart()
    world.until(10)
    assert world.node_of("p") == ""
    assert world.simulation.scheduler.binding == 1
    says(world, "ready")
    world.until(11)
    assert world.node_of("p") == "n1"


@pytest.mark.parametrize("gone", ["pod", "node"])
def test_what_is_gone_is_waited_for_no_longer(gone: str) -> None:
    world = World(CLASS, slow("n1"), make.claim("mine"), pod("p", "mine"))
    world.until(5)
    if gone == "pod":
        world.cluster.delete("Pod", "default", "p")
    else:
        world.cluster.remove_node("n1")
    world.until(20)
    assert world.simulation.scheduler.binding == 0
    if gone == "node":
        assert "node n1 is gone" in world.told()[0]
