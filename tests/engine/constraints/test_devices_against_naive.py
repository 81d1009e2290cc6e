"""What claims of devices get, compared with what trying everything gives; kept up through changes."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.constraints.device_demand import device_demand_of
from engine.constraints.devices import DeviceMatching, DynamicResources, device_bindings
from engine.model.device_capacity import CapacityRequirements
from engine.model.device_uses import device_uses
from engine.model.devices import (
    AllocatedDevices,
    Device,
    DeviceConstraint,
    DeviceId,
    DeviceRequest,
    ResourceClaim,
    ResourceSlice,
)
from engine.model.objects import NodeSelector, NodeSelectorTerm, Pod, PodKey, Requirement
from engine.state.cache import Cache
from tests.engine import build
from tests.engine import devices as make
from tests.engine.naive.devices import Meant, Slow

OWN = f'device.attributes["{make.DRIVER}"]'
NODES = ("n1", "n2", "n3")


def _value(device: Device, name: str) -> Any:
    found = (device.attributes or {}).get(name)
    return None if found is None or found.value is None else found.value[1]


MEANT: Meant = {
    f'{OWN}.model == "x"': lambda device: _value(device, "model") == "x",
    f'{OWN}.model in ["x", "y"] && {OWN}.index > 0': lambda device: (
        _value(device, "model") in ("x", "y") and _value(device, "index") > 0
    ),
    f"has({OWN}.spare) && {OWN}.spare": lambda device: bool(_value(device, "spare")),
    f'device.capacity["{make.DRIVER}"].memory.isGreaterThan(quantity("10Gi"))': lambda device: (
        (device.capacity or {})["memory"].value == "20Gi"
    ),
}
PARTITIONED = {"gpu": {"memory": "25Gi"}}


@st.composite
def devices(draw: st.DrawFn, partitioned: bool) -> list[Device]:
    found = []
    for index in range(draw(st.integers(0, 3))):
        attributes: dict[str, str | int | bool] = {
            "index": index,
            "model": draw(st.sampled_from(["x", "y", "z"])),
        }
        if draw(st.booleans()):
            attributes["spare"] = draw(st.booleans())
        memory = draw(st.sampled_from(["10Gi", "20Gi"]))
        consumes = {"gpu": {"memory": memory}} if partitioned and draw(st.booleans()) else None
        shared = draw(st.sampled_from([None, None, True]))
        more = {"allow_multiple_allocations": shared}
        found.append(make.device(f"d{index}", attributes, {"memory": memory}, consumes, **more))
    return found


@st.composite
def slices(draw: st.DrawFn) -> list[ResourceSlice]:
    found: list[ResourceSlice] = []
    for node in NODES:
        for part in range(draw(st.integers(0, 2))):
            partitioned = draw(st.booleans())
            pool, count = f"{node}-{part}", 2 if partitioned else 1
            generation = draw(st.integers(1, 2))
            own = draw(devices(partitioned))
            found.append(
                make.slice_(f"s-{pool}", *own, node=node, pool=pool, slices=count, generation=generation)
            )
            if partitioned and draw(st.integers(0, 5)):
                found.append(
                    make.slice_(
                        f"t-{pool}",
                        node=node,
                        pool=pool,
                        slices=count,
                        generation=generation,
                        counters=PARTITIONED,
                    )
                )
    if draw(st.booleans()):
        zone = Requirement("zone", "In", (draw(st.sampled_from(["a", "b"])),))
        selector = NodeSelector((NodeSelectorTerm((zone,)),))
        found.append(make.slice_("net", *draw(devices(False)), selector=selector, pool="net"))
    if draw(st.booleans()):
        found.append(make.slice_("all", *draw(devices(False)), everywhere=True, pool="all"))
    return found


@st.composite
def requests(draw: st.DrawFn, name: str) -> DeviceRequest:
    def asked() -> Any:
        expressions = draw(st.lists(st.sampled_from(list(MEANT)), max_size=1))
        memory = draw(st.sampled_from([None, None, "5Gi", "12Gi"]))
        capacity = None if memory is None else CapacityRequirements({"memory": memory})
        if draw(st.integers(0, 5)) == 0:
            return make.asked(*expressions, allocation_mode="All", capacity=capacity)
        return make.asked(*expressions, count=draw(st.integers(1, 2)), capacity=capacity)

    if draw(st.integers(0, 3)) == 0:
        return make.first(name, asked(), asked())
    return DeviceRequest(name, asked())


@st.composite
def claims(draw: st.DrawFn) -> list[ResourceClaim]:
    found = []
    for number in range(draw(st.integers(1, 2))):
        asked = [draw(requests(f"r{index}")) for index in range(draw(st.integers(1, 2)))]
        constraints = []
        if draw(st.integers(0, 2)) == 0:
            kind = draw(st.sampled_from(["match_attribute", "distinct_attribute"]))
            attribute = f"{make.DRIVER}/{draw(st.sampled_from(['model', 'spare']))}"
            names = draw(st.sampled_from([None, ("r0",), ("r0", "r1")]))
            constraints.append(DeviceConstraint(names, **{kind: attribute}))
        found.append(make.claim(f"c{number}", *asked, constraints=constraints))
    return found


def holding(number: int, device: DeviceId, shared: bool) -> ResourceClaim:
    """A claim of somebody else that has a device, or some of its memory."""
    allocation = make.allocated(device.pool, device.device)
    if shared:
        (result,) = allocation.devices.results or ()
        result = replace(result, share_id=f"share-{number}", consumed_capacity={"memory": "5Gi"})
        allocation = replace(allocation, devices=AllocatedDevices((result,)))
    return make.claim(f"other-{number}", allocation=allocation)


def world(found: list[ResourceSlice]) -> Cache:
    cache = Cache()
    for node, zone in zip(NODES, "aab", strict=True):
        cache.put_node(build.node(node, {"zone": zone}))
    cache.devices.put(make.device_class())
    for one in found:
        cache.devices.put(one)
    return cache


def compare(
    cache: Cache, matching: DeviceMatching, found: list[ResourceSlice], mine: list[ResourceClaim], pod: Pod
) -> None:
    key = PodKey("default", "p", "u")
    uses = device_uses(pod)
    demand = device_demand_of(cache.devices, uses, key)
    assert demand.trouble == ""
    taken = {id_ for one in found for id_ in ids(one) if cache.devices.taken(id_)}
    shares = {
        id_: shared["memory"]
        for one in found
        for id_ in ids(one)
        if (shared := cache.devices.shared(id_)) is not None
    }
    slow = Slow(found, taken, MEANT, shares)
    constraint = DynamicResources(demand, matching, cache)
    passes = constraint.passes(cache.columns.everywhere)
    for name in NODES:
        node, slot = cache.node(name), cache.columns.slot(name)
        assert node is not None
        assert slot is not None
        # Where all devices are asked for and a pool is not whole, nothing can be said.
        whole = not any(_broken(one, found) and _on(one, name) for one in found)
        if not whole and any("All" in str(one.spec) for one in mine):
            continue
        expected = slow.choice(node, mine)
        assert bool(passes[slot]) == (expected is not None), name
        if expected is None:
            continue
        bindings = device_bindings(uses, key, demand, cache, matching, slot)
        assert bindings is not None
        got = [
            tuple((one.request, one.id) for one in allocation.devices.results or ())
            for _, allocation in bindings.claims
            if allocation is not None
        ]
        assert got == expected, name


def ids(one: ResourceSlice) -> list[DeviceId]:
    return [DeviceId(*one.pool_id, device.name) for device in one.spec.devices or ()]


def _broken(one: ResourceSlice, found: list[ResourceSlice]) -> bool:
    return (
        len([other for other in found if other.pool_id == one.pool_id]) != one.spec.pool.resource_slice_count
    )


def _shared(found: list[ResourceSlice], id_: DeviceId) -> bool:
    return any(
        bool(device.allow_multiple_allocations)
        for one in found
        if one.pool_id == id_[:2]
        for device in one.spec.devices or ()
        if device.name == id_.device
    )


def _on(one: ResourceSlice, node: str) -> bool:
    return one.spec.node_name in (None, node)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_everything_that_can_be_had_is_found_and_nothing_else(data: st.DataObject) -> None:
    found, mine = data.draw(slices()), data.draw(claims())
    # A device that takes of amounts that are not told makes its pool invalid, which is tested by itself.
    sets = {one.pool_id for one in found if one.spec.shared_counters}
    found = [
        one
        for one in found
        if one.pool_id in sets or not any(device.consumes_counters for device in one.spec.devices or ())
    ]
    cache = world(found)
    matching = DeviceMatching(cache)
    for one in mine:
        cache.devices.put(one)
    pod = make.using(build.pod("p", uid="u"), *(one.metadata.name for one in mine))
    everything = [id_ for one in found for id_ in ids(one)]
    others: dict[DeviceId, ResourceClaim] = {}
    for step in range(data.draw(st.integers(1, 4))):
        compare(cache, matching, found, mine, pod)
        change = data.draw(st.sampled_from(["take", "free", "slice", "label"]))
        if change == "take" and everything:
            id_ = data.draw(st.sampled_from(everything))
            if id_ not in others:
                others[id_] = holding(step, id_, _shared(found, id_))
                cache.devices.put(others[id_])
        elif change == "free" and others:
            id_ = data.draw(st.sampled_from(sorted(others)))
            cache.devices.remove(others.pop(id_))
        elif change == "slice" and found:
            gone = data.draw(st.sampled_from(found))
            if (
                any(device.consumes_counters for device in gone.spec.devices or ())
                or gone.spec.shared_counters
            ):
                continue
            left = replace(gone, spec=replace(gone.spec, devices=(gone.spec.devices or ())[:1] or None))
            found[found.index(gone)] = left
            cache.devices.put(left)
        elif change == "label":
            zone = data.draw(st.sampled_from(["a", "b"]))
            cache.put_node(build.node("n1", {"zone": zone}))
    compare(cache, matching, found, mine, pod)
