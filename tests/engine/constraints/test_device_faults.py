"""Expressions that cannot be worked out for a device: that matters only where its turn comes, as in kube-scheduler."""

from __future__ import annotations

from typing import Any

import pytest

from engine.constraints.device_demand import device_demand_of
from engine.constraints.devices import DeviceMatching, DynamicResources
from engine.model.device_uses import device_uses
from engine.model.devices import Device, DeviceConstraint, DeviceRequest, DeviceTaint
from engine.model.objects import PodKey
from engine.state.cache import Cache
from tests.engine import build
from tests.engine import devices as make

RARE = 'device.attributes["gpu.example.com"].rare'
FAULT = "request r: selector #0: CEL runtime error: no such key: rare"
CANNOT = "cannot allocate all claims"
GOOD = make.device("good", {"rare": True, "alike": 1})
BAD = make.device("bad", {"rare": False, "alike": 1})
ODD = make.device("odd", {"alike": 1})
TAINTED = make.device("tainted", taints=(DeviceTaint("ill", "", "NoSchedule"),))
NOTHING = 'device.driver == "nobody"'
ALIKE = DeviceConstraint(match_attribute="gpu.example.com/other")
"""What no device has."""


def wanted(name: str, *expressions: str, **more: Any) -> DeviceRequest:
    return make.exactly(*expressions, name=name, **more)


CASES: dict[str, tuple[list[Device], list[DeviceRequest], tuple[DeviceConstraint, ...], str]] = {
    "behind one that does": ([GOOD, ODD], [wanted("r", RARE)], (), ""),
    "before one that does": ([ODD, GOOD], [wanted("r", RARE)], (), FAULT),
    "behind one that does not": ([BAD, ODD], [wanted("r", RARE)], (), FAULT),
    "its taint comes later": ([TAINTED, GOOD], [wanted("r", RARE)], (), FAULT),
    "one is not enough": ([GOOD, ODD], [wanted("r", RARE, count=2)], (), FAULT),
    "all are asked for": ([GOOD, ODD], [wanted("r", RARE, allocation_mode="All")], (), FAULT),
    "behind one that a constraint refuses": ([GOOD, ODD], [wanted("r", RARE)], (ALIKE,), FAULT),
    "another request has it already": ([ODD, GOOD], [wanted("q"), wanted("r", RARE)], (), ""),
    "an earlier request finds nothing": (
        [GOOD, ODD],
        [wanted("q", NOTHING), wanted("r", RARE)],
        (),
        CANNOT,
    ),
    "a later request finds nothing": (
        [GOOD, ODD],
        [wanted("r", RARE), wanted("q", NOTHING)],
        (),
        FAULT,
    ),
}


@pytest.mark.parametrize(("devices", "requests", "constraints", "said"), CASES.values(), ids=CASES)
def test_an_expression_that_fails(
    devices: list[Device], requests: list[DeviceRequest], constraints: tuple[DeviceConstraint, ...], said: str
) -> None:
    cache = Cache()
    cache.put_node(build.node("a"))
    cache.devices.put(make.device_class())
    cache.devices.put(make.slice_("a", *devices, node="a"))
    claim = make.claim("c", *requests, constraints=constraints)
    cache.devices.put(claim)
    pod = make.using(build.pod("p", uid="u"), "c")
    demand = device_demand_of(cache.devices, device_uses(pod), PodKey("default", "p", "u"))
    constraint = DynamicResources(demand, DeviceMatching(cache), cache)
    everywhere = cache.columns.everywhere
    assert bool(constraint.passes(everywhere).all()) is not bool(said)
    refused = (~constraint.passes(everywhere)).nonzero()[0]
    assert list(constraint.reasons(refused)) == ([said] if said else [])
