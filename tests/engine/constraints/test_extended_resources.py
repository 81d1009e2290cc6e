"""Extended resources that are devices on some nodes: what is asked for there, and which nodes do."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from engine.clock import utc
from engine.constraints.device_demand import device_demand_of
from engine.constraints.devices import DeviceMatching, DynamicResources, device_bindings
from engine.constraints.extended_resources import REASON, Extended
from engine.constraints.resources import NodeResourcesFit
from engine.model.device_uses import DeviceBindings
from engine.model.devices import DeviceClass, ResourceClaim
from engine.model.extended_resources import ANNOTATION, asking, may_be_devices
from engine.model.objects import (
    Container,
    Node,
    NodeStatus,
    ObjectMeta,
    Pod,
    PodKey,
    PodSpec,
    ResourceRequirements,
)
from engine.state.cache import Cache
from tests.engine import devices as make

GPU = "example.com/gpu"
NIC = "example.com/nic"
NAMES = {
    GPU: True,
    "deviceclass.resource.kubernetes.io/gpu": True,
    "cpu": False,
    "hugepages-2Mi": False,
    "kubernetes.io/gpu": False,
    "sub.kubernetes.io/gpu": False,
    "requests.example.com/gpu": False,
    "attachable-volumes-x": False,
}


@pytest.mark.parametrize(("name", "may"), NAMES.items(), ids=NAMES)
def test_names(name: str, may: bool) -> None:
    assert may_be_devices(name) is may


def container(name: str, sidecar: bool = False, **requests: Any) -> Container:
    named: dict[str, str | int | float] = {
        {"gpu": GPU, "nic": NIC}.get(key, key): str(value) for key, value in requests.items()
    }
    return Container(name, ResourceRequirements(requests=named), restart_policy="Always" if sidecar else None)


def spec(*containers: Container, initial: tuple[Container, ...] = ()) -> PodSpec:
    return PodSpec(containers=containers, init_containers=initial or None)


Asked = list[tuple[str, str, int]]
Mapped = list[tuple[str, str]]
CLAIMS: dict[str, tuple[PodSpec, Asked, Mapped]] = {
    "one container": (
        spec(container("a", cpu=1, gpu=2, memory="1Gi")),
        [("container-0-request-1", "gpu", 2)],
        [("a", "container-0-request-1")],
    ),
    "two containers": (
        spec(container("a", gpu=1), container("b", gpu=3)),
        [("container-0-request-0", "gpu", 1), ("container-1-request-0", "gpu", 3)],
        [("a", "container-0-request-0"), ("b", "container-1-request-0")],
    ),
    "two resources": (
        spec(container("a", gpu=1, nic=2)),
        [("container-0-request-0", "gpu", 1), ("container-0-request-1", "nic", 2)],
        [("a", "container-0-request-0"), ("a", "container-0-request-1")],
    ),
    "none": (spec(container("a", cpu=1), container("b", gpu=0)), [], []),
    "what initialises uses what lasts": (
        spec(container("a", gpu=2), initial=(container("i", gpu=1),)),
        [("container-1-request-0", "gpu", 2)],
        [("a", "container-1-request-0"), ("i", "container-1-request-0")],
    ),
    "and what it needs besides": (
        spec(container("a", gpu=1), container("b", gpu=1), initial=(container("i", gpu=5),)),
        [
            ("container-0-request-0", "gpu", 3),
            ("container-1-request-0", "gpu", 1),
            ("container-2-request-0", "gpu", 1),
        ],
        [
            ("a", "container-1-request-0"),
            ("b", "container-2-request-0"),
            ("i", "container-1-request-0"),
            ("i", "container-2-request-0"),
            ("i", "container-0-request-0"),
        ],
    ),
    "of two that initialise the larger is enough": (
        spec(container("a", gpu=1), initial=(container("i", gpu=2), container("j", gpu=4))),
        [("container-1-request-0", "gpu", 3), ("container-2-request-0", "gpu", 1)],
        [
            ("a", "container-2-request-0"),
            ("i", "container-2-request-0"),
            ("i", "container-1-request-0"),
            ("j", "container-2-request-0"),
            ("j", "container-1-request-0"),
        ],
    ),
    "a sidecar lasts, and is used only by what comes before it": (
        spec(
            container("a", cpu=1),
            initial=(container("i", gpu=1), container("s", sidecar=True, gpu=1), container("j", gpu=1)),
        ),
        [("container-1-request-0", "gpu", 1), ("container-2-request-0", "gpu", 1)],
        [
            ("s", "container-1-request-0"),
            ("i", "container-1-request-0"),
            ("j", "container-2-request-0"),
        ],
    ),
}


@pytest.mark.parametrize(("pod", "asked", "mapped"), CLAIMS.values(), ids=CLAIMS)
def test_what_is_asked_for(pod: PodSpec, asked: Asked, mapped: Mapped) -> None:
    extended = Extended(((GPU, "gpu"), (NIC, "nic")), asking(pod))
    wanted, mappings = extended.wanted((GPU, NIC))
    found = [
        (one.name, one.exactly.device_class_name, one.exactly.count)
        for one in wanted.asked.requests or ()
        if one.exactly is not None
    ]
    assert found == asked
    assert [(one.container, one.request) for one in mappings] == mapped


def test_only_what_the_node_does_not_offer_is_asked_for() -> None:
    extended = Extended(((GPU, "gpu"), (NIC, "nic")), asking(spec(container("a", gpu=1, nic=2))))
    wanted, mappings = extended.wanted((NIC,))
    assert [one.name for one in wanted.asked.requests or ()] == ["container-0-request-1"]
    assert [(one.resource, one.request) for one in mappings] == [(NIC, "container-0-request-1")]


# Nodes

KEY = PodKey("default", "p", "u")
POD = Pod(ObjectMeta(name="p", namespace="default", uid="u"), spec(container("a", gpu=1, nic=1)))


def standing_for(name: str, resource: str, created: float = 0.0) -> DeviceClass:
    found = make.device_class(name, f'device.attributes["{make.DRIVER}"].kind == "{name}"')
    metadata = replace(found.metadata, creation_timestamp=utc(created))
    return replace(found, metadata=metadata, spec=replace(found.spec, extended_resource_name=resource))


class Case:
    """Nodes, some of which offer resources themselves, and some of which have devices."""

    def __init__(self, *classes: DeviceClass, pod: Pod = POD) -> None:
        self.cache = Cache()
        for name, own in (
            ("none", {}),
            ("own", {GPU: "2", NIC: "2"}),
            ("half", {GPU: "2"}),
            ("full", {GPU: "0"}),
        ):
            allocatable: dict[str, str | int | float] = {"cpu": "4", "memory": "8Gi", "pods": "10", **own}
            self.cache.put_node(Node(ObjectMeta(name=name), status=NodeStatus(allocatable=allocatable)))
        for one in classes:
            self.cache.devices.put(one)
        for node, kinds in (("none", ("gpu", "nic")), ("half", ("nic",)), ("full", ("gpu",))):
            devices = (make.device(f"{kind}-0", {"kind": kind}) for kind in kinds)
            self.cache.devices.put(make.slice_(node, *devices, node=node))
        self.placed = self.cache.put_pod(pod)
        self.matching = DeviceMatching(self.cache)

    def feasible(self) -> tuple[set[str], set[str]]:
        """The nodes that resources let pass, and those of them that devices do, too."""
        columns = self.cache.columns
        shape = self.placed.shape
        demand = device_demand_of(self.cache.devices, (), KEY, 0.0, shape.asking)
        extended = demand.extended
        resources = [resource for resource, _ in extended.classes] if extended is not None else []
        fits = NodeResourcesFit(shape, columns, resources).passes(columns.everywhere)
        by_resources = {name for name in columns.node_names() if fits[columns.slot(name)]}
        if extended is None:
            return by_resources, by_resources
        passes = DynamicResources(demand, self.matching, self.cache).passes(columns.everywhere)
        return by_resources, {name for name in by_resources if passes[columns.slot(name)]}

    def bindings(self, node: str) -> DeviceBindings | None:
        slot = self.cache.columns.slot(node)
        assert slot is not None
        demand = device_demand_of(self.cache.devices, (), KEY, 0.0, self.placed.shape.asking)
        return device_bindings((), KEY, demand, self.cache, self.matching, slot)


GPUS, NICS = standing_for("gpu", GPU), standing_for("nic", NIC)
EVERY = {"none", "own", "half", "full"}
WHERE: dict[str, tuple[tuple[DeviceClass, ...], set[str], set[str]]] = {
    "no class": ((), {"own"}, {"own"}),
    "one class": ((NICS,), {"own", "half"}, {"own", "half"}),
    "both": ((GPUS, NICS), EVERY, {"none", "own", "half"}),
}


@pytest.mark.parametrize(("classes", "fits", "where"), WHERE.values(), ids=WHERE)
def test_nodes_offer_resources_or_have_devices(
    classes: tuple[DeviceClass, ...], fits: set[str], where: set[str]
) -> None:
    assert Case(*classes).feasible() == (fits, where)


def test_the_claim_is_made_for_the_node() -> None:
    case = Case(GPUS, NICS)
    assert case.bindings("own") is None
    half = case.bindings("half")
    assert half is not None
    assert half.made is not None
    assert [(one.request, one.device) for one in half.made.allocation.devices.results or ()] == [
        ("container-0-request-1", "nic-0")
    ]
    none = case.bindings("none")
    assert none is not None
    assert none.made is not None
    assert [one.device for one in none.made.allocation.devices.results or ()] == ["gpu-0", "nic-0"]
    metadata = none.made.claim.metadata
    assert metadata.annotations == {ANNOTATION: "true"}
    assert metadata.name.startswith("p-extended-resources-")
    assert none.made.claim.made_for(KEY)


def test_what_is_assumed_is_taken_until_the_claim_says_so() -> None:
    case = Case(GPUS, NICS)
    bindings = case.bindings("none")
    assert bindings is not None
    assert bindings.made is not None
    devices = case.cache.devices
    devices.assume(KEY, bindings)
    assert case.feasible()[1] == {"own", "half"}
    made = bindings.made.claim
    created = replace(made, metadata=replace(made.metadata, uid="new", resource_version="1"))
    devices.put(created)
    assert devices.assumed == 1
    devices.put(
        replace(
            created,
            metadata=replace(created.metadata, resource_version="2"),
            status=replace(created.status, allocation=bindings.made.allocation),
        )
    )
    assert devices.assumed == 0
    assert devices.made_for(KEY) is not None


def test_a_claim_of_an_earlier_try_is_in_the_way_until_it_is_gone() -> None:
    case = Case(GPUS, NICS)
    bindings = case.bindings("none")
    assert bindings is not None
    assert bindings.made is not None
    left: ResourceClaim = bindings.made.claim
    case.cache.devices.put(left)
    assert case.feasible()[1] == set()
    demand = device_demand_of(case.cache.devices, (), KEY, 0.0, case.placed.shape.asking)
    slots = case.cache.columns.alive.nonzero()[0]
    assert DynamicResources(demand, case.matching, case.cache).reasons(slots) == {REASON: 4}
    case.cache.devices.remove(left)
    assert case.feasible()[1] == {"none", "own", "half"}


def test_of_two_classes_the_newer_stands_for_a_resource() -> None:
    devices = Case().cache.devices
    for name, created in (("old", 1.0), ("b", 2.0), ("a", 2.0)):
        devices.put(standing_for(name, GPU, created))
    found = devices.class_for(GPU)
    assert found is not None
    assert found.metadata.name == "a"
    devices.remove(found)
    found = devices.class_for(GPU)
    assert found is not None
    assert found.metadata.name == "b"
    implicit = devices.class_for("deviceclass.resource.kubernetes.io/old")
    assert implicit is not None
    assert implicit.metadata.name == "old"
    assert devices.class_for("deviceclass.resource.kubernetes.io/none") is None


def test_taking_pods_away_may_help_where_devices_stand_for_what_the_node_lacks() -> None:
    case = Case()
    columns = case.cache.columns
    slots = columns.alive.nonzero()[0]
    names = [columns.names[slot] for slot in slots]
    for devices, curable in (((), {"own"}), ((NIC,), {"own", "half"}), ((GPU, NIC), EVERY)):
        found = NodeResourcesFit(case.placed.shape, columns, devices).curable(slots)
        assert {name for name, may in zip(names, found, strict=True) if may} == curable
