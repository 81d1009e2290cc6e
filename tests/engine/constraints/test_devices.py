"""Rules of devices one by one: expressions, pools, and what requests may say."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from engine.constraints.device_demand import device_demand_of
from engine.constraints.device_selectors import DeviceValues, SelectorError, compiled
from engine.constraints.devices import (
    DeviceMatching,
    DynamicResources,
    DynamicResourcesScore,
    device_bindings,
)
from engine.model.device_capacity import CapacityRequirements, DeviceCapacity
from engine.model.device_uses import DeviceBindings, device_uses
from engine.model.devices import (
    AllocatedConfiguration,
    Device,
    DeviceClassSpec,
    DeviceConfiguration,
    DeviceConstraint,
    DeviceObject,
    DeviceRequest,
    DeviceTaint,
    DeviceToleration,
    ResourceClaim,
)
from engine.model.objects import NodeSelector, NodeSelectorTerm, PodKey, Requirement
from engine.state.cache import Cache
from tests.engine import build
from tests.engine import devices as make

POD = PodKey("default", "p", "u")
CLASS = make.device_class()
DEVICE = make.device(
    "d",
    {"model": "a100", "index": 3, "spare": True, "firmware": "v1.10.0-rc.1+b7", "other.org/x": "y"},
    {"memory": "40Gi"},
)
OWN = 'device.attributes["gpu.example.com"]'
MEMORY = 'device.capacity["gpu.example.com"].memory'

MEANT = {
    "the driver": ('device.driver == "gpu.example.com"', True),
    "a string": (f'{OWN}.model == "a100"', True),
    "a number": (f"{OWN}.index >= 2 && {OWN}.index < 3", False),
    "a truth": (f"{OWN}.spare", True),
    "another type": (f'{OWN}.index == "3"', False),
    "of another domain": ('device.attributes["other.org"].x == "y"', True),
    "by brackets": (f'{OWN}["model"].startsWith("a")', True),
    "an amount in other words": (f'{MEMORY} == quantity("40960Mi")', True),
    "an amount, compared": (f'{MEMORY}.compareTo(quantity("40Gi")) == 0', True),
    "an amount, less": (f'{MEMORY}.isLessThan(quantity("40Gi"))', False),
    "an amount, summed": (f'{MEMORY}.add(quantity("1Gi")).isGreaterThan(quantity("40Gi"))', True),
    "a version before its release": (f'{OWN}.firmware.isLessThan(semver("1.10.0"))', True),
    "a version by number": (f'{OWN}.firmware.isGreaterThan(semver("1.9.9"))', True),
    "a version's build does not count": (f'{OWN}.firmware == semver("1.10.0-rc.1")', True),
    "a version's parts": (f"{OWN}.firmware.major() == 1 && {OWN}.firmware.minor() == 10", True),
    "a version that is made whole": ('semver("v1.2", true) == semver("1.2.0")', True),
    "no version": ('isSemver("1.2")', False),
    "what lacks": (f"has({OWN}.nothing)", False),
    "what lacks in a domain that lacks": ('has(device.attributes["nobody.org"].x)', False),
    "a domain that lacks": ('"nobody.org" in device.attributes', False),
    "asked first": ('"nobody.org" in device.attributes && device.attributes["nobody.org"].x', False),
    "an error that does not matter": (f'{OWN}.nothing == 1 || device.driver == "gpu.example.com"', True),
    "bound": (f'cel.bind(own, {OWN}, own.model == "a100" && own.index == 3)', True),
    "bound twice": (f"cel.bind(a, {OWN}, cel.bind(b, a.index, b == 3 && a.spare))", True),
    "bound in a string": ('"cel.bind(" == device.driver', False),
    "a bracket in a string": (f'cel.bind(a, {OWN}, a.model != "),(" && a.index == 3)', True),
    "letters": (f'{OWN}.model.upperAscii().replace("A", "B") == "B100"', True),
    "one of them": (f'["h100", "a100"].exists(one, one == {OWN}.model)', True),
    "not shared": ("device.allowMultipleAllocations", False),
}


@pytest.mark.parametrize(("expression", "meant"), MEANT.values(), ids=MEANT)
def test_expressions(expression: str, meant: bool) -> None:
    assert compiled(expression).matches(DeviceValues(make.DRIVER, DEVICE)) is meant


BROKEN = {
    "no such attribute": (f'{OWN}.nothing == "x"', "CEL runtime error: no such key: nothing"),
    "no such domain": ('device.attributes["nobody.org"].x == 1', "CEL runtime error: no such key: x"),
    "no truth": (f"{OWN}.model", "CEL runtime error: the result is no bool but 'a100'"),
    "no CEL": ("device.", "CEL compile error: "),
    "a bind that is not closed": ("cel.bind(a, 1, a == 1", "CEL compile error: a parenthesis is not closed"),
    "a bind of two": (
        "cel.bind(a, 1)",
        "CEL compile error: cel.bind takes a name, a value and an expression",
    ),
    "no such function": (f"{OWN}.index.frobnicate()", "CEL runtime error: Undefined variable or function"),
    "no quantity": (f'{MEMORY}.isLessThan(quantity("much"))', "'much' is not a quantity"),
    "a version beside an amount": (
        f"{MEMORY}.isLessThan({OWN}.firmware)",
        "only two quantities, or two versions",
    ),
}


@pytest.mark.parametrize(("expression", "said"), BROKEN.values(), ids=BROKEN)
def test_expressions_that_have_no_answer(expression: str, said: str) -> None:
    with pytest.raises(SelectorError) as caught:
        compiled(expression).matches(DeviceValues(make.DRIVER, DEVICE))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def world(*objects: DeviceObject, nodes: tuple[str, ...] = ("n1", "n2")) -> Cache:
    cache = Cache()
    for name in nodes:
        cache.put_node(build.node(name, {"name": name}))
    for item in (CLASS, *objects):
        cache.devices.put(item)
    return cache


class Case:
    """A pod with claims that are in a cache."""

    def __init__(self, cache: Cache, *claims: ResourceClaim) -> None:
        self.cache = cache
        for one in claims:
            cache.devices.put(one)
        self.uses = device_uses(make.using(build.pod("p", uid="u"), *(one.metadata.name for one in claims)))
        self.matching = DeviceMatching(cache)

    @property
    def constraint(self) -> DynamicResources:
        demand = device_demand_of(self.cache.devices, self.uses, POD)
        assert demand.trouble == ""
        return DynamicResources(demand, self.matching, self.cache)

    def nodes(self) -> set[str]:
        columns = self.cache.columns
        passes = self.constraint.passes(columns.everywhere)
        return {name for name in columns.node_names() if passes[columns.slot(name)]}

    def why(self, node: str) -> str:
        slot = self.cache.columns.slot(node)
        assert slot is not None
        ((reason, count),) = self.constraint.reasons(np.array([slot], dtype=np.int64)).items()
        assert count == 1
        return reason

    def bindings(self, node: str) -> DeviceBindings | None:
        slot = self.cache.columns.slot(node)
        assert slot is not None
        demand = device_demand_of(self.cache.devices, self.uses, POD)
        return device_bindings(self.uses, POD, demand, self.cache, self.matching, slot)

    def given(self, node: str) -> list[str]:
        bindings = self.bindings(node)
        assert bindings is not None
        return [
            f"{one.request}={one.pool}/{one.device}"
            for _, allocation in bindings.claims
            if allocation is not None
            for one in allocation.devices.results or ()
        ]


def test_an_outdated_slice_offers_nothing() -> None:
    old = make.slice_("old", make.device("gone"), node="n1", pool="n1", generation=1)
    new = make.slice_("new", make.device("here"), node="n1", pool="n1", generation=2)
    case = Case(world(old, new), make.claim("mine"))
    assert case.given("n1") == ["gpu=n1/here"]


def test_a_pool_that_is_not_whole_offers_nothing() -> None:
    case = Case(world(make.slice_("one", make.device("d"), node="n1", slices=2)), make.claim("mine"))
    assert case.nodes() == set()
    assert case.why("n1") == "cannot allocate all claims"
    case.cache.devices.put(make.slice_("two", make.device("e"), node="n1", pool="one", slices=2))
    assert case.given("n1") == ["gpu=one/d"]


def test_all_devices_of_a_pool_that_is_not_whole_cannot_be_had() -> None:
    part = make.slice_("one", make.device("d"), node="n1", slices=2)
    case = Case(world(part), make.claim("mine", make.exactly(allocation_mode="All")))
    assert case.why("n1") == (
        "request gpu: asks for all devices, but resource pool gpu.example.com/one is currently being updated"
    )


def test_a_pool_in_which_two_devices_have_one_name_offers_nothing() -> None:
    case = Case(world(make.slice_("one", make.device("d"), make.device("d"), node="n1")), make.claim("mine"))
    assert case.why("n1") == "invalid resource pools were encountered"


def test_a_device_of_no_amounts_that_are_told_makes_its_pool_invalid() -> None:
    device = make.device("d", consumes={"gpu": {"memory": "1Gi"}})
    case = Case(world(make.slice_("one", device, node="n1")), make.claim("mine"))
    assert case.nodes() == set()


def test_devices_that_say_themselves_who_reaches_them() -> None:
    devices = (
        make.device("a", node_name="n1"),
        make.device("b", node_name="n2"),
        make.device("c", all_nodes=True),
    )
    slice_ = make.slice_("net", *devices, per_device_node_selection=True)
    case = Case(world(slice_), make.claim("mine", make.exactly(count=2)))
    assert case.given("n1") == ["gpu=net/a", "gpu=net/c"]
    assert case.given("n2") == ["gpu=net/b", "gpu=net/c"]


def test_the_devices_of_a_claim_tell_which_nodes_reach_them() -> None:
    reached = Requirement("name", "In", ("n1", "n2"))
    selector = NodeSelector((NodeSelectorTerm((reached,)),))
    net = make.slice_("net", make.device("d"), selector=selector)
    everywhere = make.slice_("all", make.device("d"), everywhere=True)
    for slice_, expected in ((net, selector), (everywhere, None)):
        bindings = Case(world(slice_), make.claim("mine")).bindings("n1")
        assert bindings is not None
        ((_, allocation),) = bindings.claims
        assert allocation is not None
        assert allocation.node_selector == expected


def test_a_device_that_has_to_be_waited_for_says_so_in_the_result() -> None:
    conditions: dict[str, Any] = {"binding_conditions": ("ready",), "binding_failure_conditions": ("broken",)}
    slice_ = make.slice_("n1", make.device("d", **conditions, binds_to_node=True), everywhere=True)
    bindings = Case(world(slice_), make.claim("mine")).bindings("n1")
    assert bindings is not None
    ((claim, allocation),) = bindings.claims
    assert bindings.awaited == (claim.name,)
    assert allocation is not None
    (result,) = allocation.devices.results or ()
    assert result.binding_conditions == ("ready",)
    assert result.binding_failure_conditions == ("broken",)
    only = Requirement("metadata.name", "In", ("n1",))
    assert allocation.node_selector == NodeSelector((NodeSelectorTerm(match_fields=(only,)),))


def card(**amounts: DeviceCapacity) -> Device:
    """A device that is given out in shares."""
    return replace(make.device("card", allow_multiple_allocations=True), capacity=amounts)


def want(name: str = "gpu", count: int = 1, **amounts: str) -> DeviceRequest:
    capacity = CapacityRequirements(dict(amounts)) if amounts else None
    return make.exactly(name=name, count=count, capacity=capacity)


def test_a_device_is_given_out_in_shares_until_its_amounts_are_gone() -> None:
    slice_ = make.slice_("n1", card(memory=DeviceCapacity("10Gi")), node="n1")
    cache = world(slice_, nodes=("n1",))
    ids = set()
    for number, (memory, fits) in enumerate([("4Gi", True), ("4Gi", True), ("4Gi", False), ("2Gi", True)]):
        case = Case(cache, make.claim(f"c{number}", want(memory=memory)))
        assert (case.nodes() == {"n1"}) is fits
        bindings = case.bindings("n1") if fits else None
        if bindings is not None:
            ((_, allocation),) = bindings.claims
            assert allocation is not None
            (result,) = allocation.devices.results or ()
            assert result.consumed_capacity == {"memory": memory}
            assert result.share_id is not None
            ids.add(result.share_id)
            cache.devices.assume(PodKey("default", f"p{number}", f"u{number}"), bindings)
    assert len(ids) == 3
    assert not Case(cache, make.claim("whole", want())).nodes()
    cache.devices.forget(PodKey("default", "p1", "u1"))
    assert Case(cache, make.claim("again", want(memory="4Gi"))).nodes() == {"n1"}
    assert not Case(cache, make.claim("more", want(memory="5Gi"))).nodes()


SHARES: dict[str, tuple[tuple[DeviceRequest, ...], bool]] = {
    "two requests of one claim": ((want("a", memory="5Gi"), want("b", memory="5Gi")), True),
    "which are too much together": ((want("a", memory="6Gi"), want("b", memory="5Gi")), False),
    "one request has no two shares of one device": ((want("a", count=2, memory="1Gi"),), False),
    "all that there is": ((want("a"),), True),
    "all of it, and more": ((want("a"), want("b", memory="1Gi")), False),
    "an amount that it does not have": ((want("a", bandwidth="1"),), False),
    "no quantity": ((want("a", memory="much"),), False),
}


@pytest.mark.parametrize(("requests", "fits"), SHARES.values(), ids=SHARES)
def test_shares_of_one_claim(requests: tuple[DeviceRequest, ...], fits: bool) -> None:
    slice_ = make.slice_("n1", card(memory=DeviceCapacity("10Gi")), node="n1")
    assert bool(Case(world(slice_), make.claim("mine", *requests)).nodes()) is fits


def test_a_device_that_is_not_shared_must_have_what_is_asked_and_is_taken_whole() -> None:
    devices = (make.device(f"d{size}", capacity={"memory": f"{size}Gi"}) for size in (10, 40))
    case = Case(world(make.slice_("n1", *devices, node="n1")), make.claim("mine", want(memory="20Gi")))
    assert case.given("n1") == ["gpu=n1/d40"]
    bindings = case.bindings("n1")
    assert bindings is not None
    (result,) = bindings.claims[0][1].devices.results or ()  # type: ignore[union-attr]
    assert (result.share_id, result.consumed_capacity) == (None, None)


def test_all_devices_are_those_that_have_enough() -> None:
    devices = (make.device(f"d{size}", capacity={"memory": f"{size}Gi"}) for size in (10, 20, 40))
    capacity = CapacityRequirements({"memory": "20Gi"})
    every = make.exactly(allocation_mode="All", capacity=capacity)
    case = Case(world(make.slice_("n1", *devices, node="n1")), make.claim("mine", every))
    assert case.given("n1") == ["gpu=n1/d20", "gpu=n1/d40"]


def test_a_second_share_takes_nothing_more_of_what_the_devices_of_a_pool_share() -> None:
    shared = replace(
        make.device("card", {}, {}, {"gpu": {"slots": "1"}}, allow_multiple_allocations=True),
        capacity={"memory": DeviceCapacity("10Gi")},
    )
    other = make.device("other", {}, {}, {"gpu": {"slots": "1"}})
    slices = (
        make.slice_("s", shared, other, node="n1", pool="n1", slices=2),
        make.slice_("t", node="n1", pool="n1", slices=2, counters={"gpu": {"slots": "1"}}),
    )
    both = (want("a", memory="1Gi"), want("b", memory="1Gi"))
    assert Case(world(*slices), make.claim("mine", *both)).given("n1") == ["a=n1/card", "b=n1/card"]


def test_administration_is_beside_whoever_has_the_device() -> None:
    cache = world(make.gpus("n1", 2))
    cache.devices.put(make.claim("other", allocation=make.allocated("n1", "gpu-0")))
    case = Case(cache, make.claim("mine", make.exactly(allocation_mode="All", admin_access=True)))
    assert case.given("n1") == ["gpu=n1/gpu-0", "gpu=n1/gpu-1"]
    bindings = case.bindings("n1")
    assert bindings is not None
    cache.devices.assume(POD, bindings)
    assert Case(cache, make.claim("plain")).given("n1") == ["gpu=n1/gpu-1"]


TAINT = DeviceTaint("ill", "yes", "NoSchedule")
TOLERATIONS = {
    "none": ((), False),
    "by key": ((DeviceToleration("ill", "Exists"),), True),
    "by value": ((DeviceToleration("ill", "Equal", "yes", "NoSchedule"),), True),
    "another value": ((DeviceToleration("ill", "Equal", "no"),), False),
    "another effect": ((DeviceToleration("ill", "Exists", "", "NoExecute"),), False),
    "everything": ((DeviceToleration("", "Exists"),), True),
}


@pytest.mark.parametrize(("tolerations", "had"), TOLERATIONS.values(), ids=TOLERATIONS)
def test_tainted_devices(tolerations: tuple[DeviceToleration, ...], had: bool) -> None:
    slice_ = make.slice_("n1", make.device("d", taints=(TAINT, DeviceTaint("x", "", "None"))), node="n1")
    case = Case(world(slice_), make.claim("mine", make.exactly(tolerations=tolerations or None)))
    assert (case.nodes() == {"n1"}) is had


def test_what_drivers_are_told_goes_with_the_devices() -> None:
    of_class = {"driver": "gpu.example.com", "parameters": {"mode": "class"}}
    own = {"driver": "gpu.example.com", "parameters": {"mode": "own"}}
    cache = world(make.gpus("n1", 2))
    cache.devices.put(
        replace(
            CLASS,
            spec=DeviceClassSpec(config=(DeviceConfiguration(None, of_class),)),
            metadata=CLASS.metadata,
        )
    )
    claim = make.claim("mine", make.exactly(name="a"), make.first("b", make.asked()))
    devices = replace(
        claim.spec.devices,
        config=(
            DeviceConfiguration(None, own),
            DeviceConfiguration(("b/a0",), own),
            DeviceConfiguration(("c",), own),
        ),
    )
    bindings = Case(cache, replace(claim, spec=replace(claim.spec, devices=devices))).bindings("n1")
    assert bindings is not None
    ((_, allocation),) = bindings.claims
    assert allocation is not None
    assert allocation.devices.config == (
        AllocatedConfiguration("FromClass", ("a", "b/a0"), of_class),
        AllocatedConfiguration("FromClaim", None, own),
        AllocatedConfiguration("FromClaim", ("b/a0",), own),
    )


def test_a_node_with_an_earlier_alternative_is_better() -> None:
    large = make.asked(f'{OWN}.model == "large"')
    cache = world(make.gpus("n1", 1, model="small"), make.gpus("n2", 1, model="large"))
    case = Case(cache, make.claim("mine", make.first("gpu", large, make.asked())))
    demand = device_demand_of(cache.devices, case.uses, POD)
    score = DynamicResourcesScore(demand, case.matching, case.cache)
    assert DynamicResourcesScore.applies(demand)
    slots = [cache.columns.slot(name) for name in ("n1", "n2")]
    assert score.raw(np.array(slots, dtype=np.int64)).tolist() == [7.0, 8.0]


def test_too_many_devices_for_one_claim() -> None:
    case = Case(world(make.gpus("n1", 40)), make.claim("mine", make.exactly(count=33)))
    assert case.why("n1") == "number of requested devices 33 exceeds the claim limit of 32"


def test_claims_of_more_devices_than_anybody_has_are_given_up() -> None:
    """Forty claims of thirty devices each."""
    claims = [make.claim(f"c{number}", make.exactly(count=30)) for number in range(40)]
    assert Case(world(make.gpus("n1", 1200)), *claims).why("n1") == (
        "gave up trying to allocate devices, the pod's claims ask for too many"
    )


def test_a_search_without_end_is_given_up() -> None:
    """Twenty devices of which no eleven are of one model, in two requests: more ways than anybody tries."""
    devices = (make.device(f"d{index}", {"model": f"m{index % 10}", "index": index}) for index in range(30))
    requests = [make.exactly(name=name, count=8) for name in "abc"]
    constraint = DeviceConstraint(("c",), match_attribute=f"{make.DRIVER}/model")
    claim = make.claim("mine", *requests, constraints=[constraint])
    case = Case(world(make.slice_("n1", *devices, node="n1")), claim)
    assert case.why("n1") == "gave up trying to allocate devices, there are too many ways"


def test_a_search_without_end_is_given_up_once_for_all_nodes() -> None:
    """However many nodes there are, the time that one pod may cost is bounded."""
    names = tuple(f"n{number}" for number in range(400))
    slices = [
        make.slice_(
            name, *(make.device(f"d{index}", {"model": f"m{index}"}) for index in range(16)), node=name
        )
        for name in names
    ]
    alike = DeviceConstraint(None, match_attribute=f"{make.DRIVER}/model")
    requests = [make.exactly(name=name, count=6) for name in "ab"]
    odd = DeviceConstraint(("b",), match_attribute=f"{make.DRIVER}/model")
    case = Case(world(*slices, nodes=names), make.claim("mine", *requests, constraints=[odd]))
    before = time.process_time()
    assert case.nodes() == set()
    assert time.process_time() - before < 20
    assert "gave up" in case.why("n399")
    quick = Case(world(*slices, nodes=names), make.claim("mine", *requests, constraints=[alike]))
    assert quick.why("n399") == "cannot allocate all claims"


def test_what_is_kept_follows_every_change() -> None:
    cache = world(make.gpus("n1", 1), make.gpus("n2", 1))
    case = Case(cache, make.claim("mine"))
    assert case.nodes() == {"n1", "n2"}
    other = make.claim("other", allocation=make.allocated("n1", "gpu-0"), version="5")
    cache.devices.put(other)
    assert case.nodes() == {"n2"}
    cache.devices.put(replace(other, metadata=replace(other.metadata, resource_version="4")))
    assert case.nodes() == {"n2"}, "an older word was taken"
    cache.devices.remove(other)
    assert case.nodes() == {"n1", "n2"}
    cache.devices.remove(make.gpus("n2", 1))
    assert case.nodes() == {"n1"}
    cache.remove_node("n1")
    cache.put_node(build.node("n3"))
    assert case.nodes() == set()
    cache.devices.put(make.gpus("n3", 1))
    assert case.nodes() == {"n3"}
    cache.devices.put(make.device_class("gpu", "false"))
    assert case.nodes() == set()
