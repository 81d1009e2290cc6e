"""Which devices a node reaches: slices made into pools, as they are seen from each node.

Nodes that have no device of their own see the same pools as many others do, so these are shared.

Source: ``k8s.io/dynamic-resource-allocation/structured`` (GatherPools).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from engine.constraints.device_selectors import DeviceValues, SelectorError, compiled
from engine.constraints.nodes import term_matches
from engine.constraints.protocol import Mask
from engine.model.devices import Device, DeviceId, PoolId, ResourceSlice
from engine.model.objects import NodeSelector
from engine.model.quantity import QuantityError, parse
from engine.state.cache import Cache

INCOMPLETE: Final = "is currently being updated"
INVALID: Final = "is currently invalid"

Amounts = dict[tuple[str, str], int]
"""Shared amounts by their set and their name, in billionths."""


class Offered:
    """A device that a slice offers.

    Attributes:
        id: Which.
        device: What it is.
        slice: Which slice says so.
        consumes: What it takes of the pool's shared amounts.
        shared: Whether it is given out in shares, as far as its own amounts go.
    """

    __slots__ = ("_capacities", "_values", "_verdicts", "consumes", "device", "id", "shared", "slice")

    def __init__(self, slice_: ResourceSlice, device: Device) -> None:
        self.id = DeviceId(slice_.spec.driver, slice_.spec.pool.name, device.name)
        self.device = device
        self.slice = slice_
        self.shared = bool(device.allow_multiple_allocations)
        self.consumes: Amounts = {}
        self._capacities: dict[str, int] | None = None
        for consumption in device.consumes_counters or ():
            for name, counter in (consumption.counters or {}).items():
                self.consumes[consumption.counter_set, name] = _amount(counter.value)
        self._values: DeviceValues | SelectorError | None = None
        self._verdicts: dict[str, bool | SelectorError] = {}

    @property
    def capacities(self) -> dict[str, int]:
        """Its own amounts, in billionths."""
        if self._capacities is None:
            capacities = self.device.capacity or {}
            self._capacities = {name: _amount(capacity.value) for name, capacity in capacities.items()}
        return self._capacities

    def matches(self, expression: str) -> bool:
        """Whether an expression means the device; worked out once.

        Raises:
            SelectorError: There is no answer.
        """
        found = self._verdicts.get(expression)
        if found is None:
            found = self._verdicts[expression] = self._judged(expression)
        if isinstance(found, SelectorError):
            raise found
        return found

    def _judged(self, expression: str) -> bool | SelectorError:
        try:
            if self._values is None:
                self._values = DeviceValues(self.id.driver, self.device)
            if isinstance(self._values, SelectorError):
                return self._values
            return compiled(expression).matches(self._values)
        except SelectorError as error:
            if self._values is None:
                self._values = error
            return error


class Pool:
    """A pool as seen from a node.

    Attributes:
        id: Which.
        devices: Those that the node reaches, in the order in which they are given out.
        trouble: Why none of them can be given out now: `INCOMPLETE` or `INVALID`; "" where they can.
        reason: More of that.
        counters: The shared amounts, before anybody has taken some.
        others: Devices of the pool that the node does not reach, but which take of the shared amounts.
    """

    __slots__ = ("counters", "devices", "id", "others", "reason", "trouble")

    def __init__(self, id_: PoolId, trouble: str = "", reason: str = "") -> None:
        self.id = id_
        self.devices: tuple[Offered, ...] = ()
        self.trouble = trouble
        self.reason = reason
        self.counters: Amounts = {}
        self.others: tuple[Offered, ...] = ()


Pools = tuple[Pool, ...]


class DevicePools:
    """What each node sees; kept up with the slices and the nodes.

    Args:
        cache: Both.
    """

    def __init__(self, cache: Cache) -> None:
        self._columns = cache.columns
        self._devices = cache.devices
        self._offered: dict[str, tuple[ResourceSlice, tuple[Offered, ...]]] = {}
        self._by_slot: dict[int, Pools] = {}
        self._shared: dict[object, Pool] = {}
        self._combined: dict[object, Pools] = {}
        self._reached: list[tuple[ResourceSlice, Mask]] = []
        self._masks: dict[str, list[Mask]] = {}
        self._generations: dict[PoolId, dict[int, list[ResourceSlice]]] = {}
        self._nodes_seen = -1
        self._slices_seen = -1
        self._shared_seen = -1

    def refresh(self) -> list[int] | None:
        """Bring it up to now. Returns the slots whose pools may differ, None where it may be all of them."""
        nodes, slices = self._columns.node_changes, self._devices.slice_changes
        moved = nodes.since(self._nodes_seen)
        sliced = slices.since(self._slices_seen)
        shared = self._devices.shared_slices_version != self._shared_seen
        self._nodes_seen, self._slices_seen = nodes.version, slices.version
        self._shared_seen = self._devices.shared_slices_version
        if moved is None or sliced is None or moved or sliced or shared:
            self._masks.clear()
            self._generations.clear()
        if moved is None or sliced is None or shared:
            self._by_slot.clear()
            self._shared.clear()
            self._combined.clear()
            everything = [*self._devices.shared_slices().values()]
            self._reached = [(one, self._reach(one)) for one in everything if not one.spec.shared_counters]
            self._reached += [
                (one, np.ones(self._columns.capacity, dtype=np.bool_))
                for one in everything
                if one.spec.shared_counters
            ]
            self._sweep()
            return None
        changed = list(dict.fromkeys((*moved, *sliced)))
        if moved and self._reached:
            for one, mask in self._reached:
                if len(mask) != self._columns.capacity:
                    self._shared_seen = -1
                    return self.refresh()
                if not one.spec.shared_counters:
                    where = np.array(moved, dtype=np.int64)
                    mask[where] = self._reach(one)[where]
        for slot in changed:
            self._by_slot.pop(slot, None)
        return changed

    def of(self, slot: int) -> Pools:
        """The pools that a node sees, by name. The same tuple for nodes that see the same."""
        found = self._by_slot.get(slot)
        if found is None:
            found = self._by_slot[slot] = self._gather(slot)
        return found

    def _sweep(self) -> None:
        """Forget devices of slices that are gone."""
        if len(self._offered) > 64:
            kept = {
                name
                for name, (slice_, _) in self._offered.items()
                if self._devices.slices_of(slice_.pool_id).get(name) is slice_
            }
            self._offered = {name: one for name, one in self._offered.items() if name in kept}

    def _reach(self, slice_: ResourceSlice) -> Mask:
        """Which nodes a slice that is of no one node is for."""
        spec = slice_.spec
        if spec.per_device_node_selection:
            mask = np.zeros(self._columns.capacity, dtype=np.bool_)
            for device in spec.devices or ():
                mask |= self._reaches(device.node_name, device.all_nodes, device.node_selector)
            return mask
        return self._reaches(None, spec.all_nodes, spec.node_selector)

    def _reaches(self, node: str | None, everywhere: bool | None, selector: NodeSelector | None) -> Mask:
        columns = self._columns
        mask = np.zeros(columns.capacity, dtype=np.bool_)
        if node:
            slot = columns.slot(node)
            if slot is not None:
                mask[slot] = True
        elif everywhere:
            mask[:] = True
        elif selector is not None:
            for term in selector.node_selector_terms:
                mask |= term_matches(term, columns, slice(0, columns.capacity))
        return mask

    def _gather(self, slot: int) -> Pools:
        name = self._columns.names[slot]
        local = self._devices.slices_on(name).values()
        shared = [one for one, mask in self._reached if mask[slot]]
        by_pool: dict[PoolId, list[ResourceSlice]] = {}
        for one in (*local, *shared):
            by_pool.setdefault(one.pool_id, []).append(one)
        pools = [pool for id_ in sorted(by_pool) if (pool := self._pool(id_, by_pool[id_], slot)) is not None]
        key = tuple(id(pool) for pool in pools)
        # Pools of one node alone are in no other's tuple: nothing is gained by keeping them twice.
        return tuple(pools) if local else self._combined.setdefault(key, tuple(pools))

    def _pool(self, id_: PoolId, slices: list[ResourceSlice], slot: int) -> Pool | None:
        """The pool of these slices, None where it is about to be replaced by a newer one."""
        generation = max(one.spec.pool.generation for one in slices)
        current = sorted((one for one in slices if one.spec.pool.generation == generation), key=_name)
        wanted = current[0].spec.pool.resource_slice_count
        everything = current
        if len(current) != wanted:
            generations = self._known(id_)
            if max(generations) > generation:
                return None
            everything = generations[generation]
            if len(everything) != wanted:
                return Pool(id_, INCOMPLETE)
        parts = tuple((one, self._part(one, slot)) for one in current)
        key = (id_, tuple((one.name, id(one), devices) for one, devices in parts))
        if all(one.spec.node_name is None for one in current):
            found = self._shared.get(key)
            if found is None:
                found = self._shared[key] = self._made(id_, parts, everything)
            return found
        return self._made(id_, parts, everything)

    def _known(self, id_: PoolId) -> dict[int, list[ResourceSlice]]:
        """All slices of a pool by their generation."""
        found = self._generations.get(id_)
        if found is None:
            found = self._generations[id_] = {}
            for one in sorted(self._devices.slices_of(id_).values(), key=_name):
                found.setdefault(one.spec.pool.generation, []).append(one)
        return found

    def _part(self, slice_: ResourceSlice, slot: int) -> tuple[int, ...] | None:
        """The positions of the slice's devices that a node reaches; None for all of them."""
        if not slice_.spec.per_device_node_selection:
            return None
        masks = self._masks.get(slice_.name)
        if masks is None:
            masks = self._masks[slice_.name] = [
                self._reaches(one.node_name, one.all_nodes, one.node_selector)
                for one in slice_.spec.devices or ()
            ]
        return tuple(position for position, mask in enumerate(masks) if mask[slot])

    def _made(
        self,
        id_: PoolId,
        parts: Iterable[tuple[ResourceSlice, tuple[int, ...] | None]],
        everything: Iterable[ResourceSlice],
    ) -> Pool:
        reached: list[Offered] = []
        names: set[str] = set()
        counters: Amounts = {}
        sets: set[str] = set()
        for slice_, positions in parts:
            for counter_set in slice_.spec.shared_counters or ():
                if counter_set.name in sets:
                    return Pool(id_, INVALID, f"duplicate counter set name {counter_set.name}")
                sets.add(counter_set.name)
                for name, counter in (counter_set.counters or {}).items():
                    counters[counter_set.name, name] = _amount(counter.value)
            offered = self._offers(slice_)
            for one in offered:
                if one.device.name in names:
                    return Pool(id_, INVALID, f"duplicate device name {one.device.name}")
                names.add(one.device.name)
            reached += offered if positions is None else [offered[position] for position in positions]
        seen = {id(one) for one in reached}
        others = tuple(
            one
            for slice_ in (everything if counters else ())
            for one in self._offers(slice_)
            if one.consumes and id(one) not in seen
        )
        for one in (*reached, *others):
            for amount in one.consumes:
                if amount not in counters:
                    return Pool(id_, INVALID, f"counter {amount[1]} not found in counter set {amount[0]}")
        pool = Pool(id_)
        pool.devices, pool.counters, pool.others = tuple(reached), counters, others
        return pool

    def _offers(self, slice_: ResourceSlice) -> tuple[Offered, ...]:
        known = self._offered.get(slice_.name)
        if known is not None and known[0] is slice_:
            return known[1]
        offered = tuple(Offered(slice_, device) for device in slice_.spec.devices or ())
        self._offered[slice_.name] = (slice_, offered)
        return offered


def _name(slice_: ResourceSlice) -> str:
    return slice_.name


def _amount(value: str | int | float) -> int:
    try:
        return parse(value)
    except QuantityError:
        return 0
