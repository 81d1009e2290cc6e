"""Which devices claims get, by trying everything: for comparison with what is fast.

Expressions are not evaluated here: `DEVICE_TESTS` says of each that the tests use what it means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

from engine.model.devices import (
    Device,
    DeviceId,
    DeviceRequest,
    DeviceRequirements,
    ResourceClaim,
    ResourceSlice,
)
from engine.model.objects import Node, NodeSelector
from engine.model.quantity import parse

Choice = tuple[tuple[str, DeviceId], ...]
"""Request and device, in order."""
Taken = tuple[tuple[str, DeviceId, int | None], ...]
"""The same with what of a shared device's memory is taken; None of one that is not shared."""
Meant = dict[str, Callable[[Device], bool]]


class Slow:
    """Everything there is.

    Args:
        slices: All.
        taken: Devices that somebody has.
        meant: What each expression means.
        shares: What somebody has of the memory of shared devices.
    """

    def __init__(
        self,
        slices: Iterable[ResourceSlice],
        taken: Iterable[DeviceId],
        meant: Meant,
        shares: dict[DeviceId, int] | None = None,
    ) -> None:
        self.slices = sorted(slices, key=lambda one: (one.spec.driver, one.spec.pool.name, one.metadata.name))
        self.taken = set(taken)
        self.meant = meant
        self.shares = shares or {}

    def reached(self, node: Node) -> list[tuple[DeviceId, Device]] | None:
        """The devices that a node reaches, in order."""
        found = []
        pools = dict.fromkeys((one.spec.driver, one.spec.pool.name) for one in self.slices)
        for pool in pools:
            everything = [one for one in self.slices if (one.spec.driver, one.spec.pool.name) == pool]
            mine = [one for one in everything if _reaches(one, node)]
            if not mine:
                continue
            generation = max(one.spec.pool.generation for one in mine)
            mine = [one for one in mine if one.spec.pool.generation == generation]
            wanted = mine[0].spec.pool.resource_slice_count
            if len(mine) != wanted:
                if any(one.spec.pool.generation > generation for one in everything):
                    continue
                same = [one for one in everything if one.spec.pool.generation == generation]
                if len(same) != wanted:
                    continue
            for one in mine:
                found += [(DeviceId(*pool, device.name), device) for device in one.spec.devices or ()]
        return found

    def choice(self, node: Node, claims: Iterable[ResourceClaim]) -> list[Choice] | None:
        """The first choice of devices for all claims, None where there is none."""
        devices = self.reached(node) or []
        found = next(self._claims(list(claims), devices, []), None)
        if found is None:
            return None
        return [tuple((name, id_) for name, id_, _ in choice) for choice in found]

    def _claims(
        self, claims: list[ResourceClaim], devices: list[tuple[DeviceId, Device]], used: Taken | list[Any]
    ) -> Iterator[list[Taken]]:
        if not claims:
            yield []
            return
        requests = claims[0].spec.devices.requests or ()
        for choice in self._requests(claims[0], requests, devices, tuple(used), ()):
            for others in self._claims(claims[1:], devices, (*used, *choice)):
                yield [choice, *others]

    def _requests(
        self,
        claim: ResourceClaim,
        requests: Sequence[DeviceRequest],
        devices: list[tuple[DeviceId, Device]],
        used: Taken,
        so_far: Taken,
    ) -> Iterator[Taken]:
        if not requests:
            known = dict(devices)
            if (
                self._constrained(claim, so_far, known)
                and self._counted(so_far, used, known)
                and self._shared((*used, *so_far), known)
            ):
                yield so_far
            return
        request = requests[0]
        if request.exactly is not None:
            ways = [(request.name, request.exactly)]
        else:
            ways = [(f"{request.name}/{one.name}", one) for one in request.first_available or ()]
        for full, asked in ways:
            taken = {device for _, device, share in (*so_far, *used) if share is None}
            for picked in self._picked(asked, devices, taken):
                chosen = (
                    *so_far,
                    *((full, device, self._share(asked, devices, device)) for device in picked),
                )
                yield from self._requests(claim, requests[1:], devices, used, chosen)

    def _picked(
        self, asked: DeviceRequirements, devices: list[tuple[DeviceId, Device]], used: set[DeviceId]
    ) -> Iterator[tuple[DeviceId, ...]]:
        meant = [
            id_ for id_, device in devices if self._means(asked, device) and self._enough(asked, id_, device)
        ]
        if asked.allocation_mode == "All":
            if meant and not any(one in self.taken or one in used for one in meant):
                yield tuple(meant)
            return
        free = [one for one in meant if one not in self.taken and one not in used]
        yield from combinations(free, asked.count)

    def _wanted(self, asked: DeviceRequirements, device: Device) -> int:
        """Of the device's memory: as much as is asked for, else all."""
        if asked.capacity is not None:
            return parse((asked.capacity.requests or {})["memory"])
        return parse((device.capacity or {})["memory"].value)

    def _enough(self, asked: DeviceRequirements, id_: DeviceId, device: Device) -> bool:
        there = parse((device.capacity or {})["memory"].value)
        return self._wanted(asked, device) + self.shares.get(id_, 0) <= there

    def _share(
        self, asked: DeviceRequirements, devices: list[tuple[DeviceId, Device]], id_: DeviceId
    ) -> int | None:
        device = dict(devices)[id_]
        return self._wanted(asked, device) if device.allow_multiple_allocations else None

    def _shared(self, chosen: Taken, devices: dict[DeviceId, Device]) -> bool:
        """Whether shared devices have what is taken of them altogether."""
        sums = dict(self.shares)
        for _, id_, share in chosen:
            if share is not None:
                sums[id_] = sums.get(id_, 0) + share
        return all(
            amount <= parse((devices[id_].capacity or {})["memory"].value)
            for id_, amount in sums.items()
            if id_ in devices
        )

    def _means(self, asked: DeviceRequirements, device: Device) -> bool:
        return all(
            self.meant[selector.cel.expression](device)
            for selector in asked.selectors or ()
            if selector.cel is not None
        )

    def _constrained(self, claim: ResourceClaim, choice: Taken, devices: dict[DeviceId, Device]) -> bool:
        for constraint in claim.spec.devices.constraints or ():
            names = constraint.requests or ()
            concerned = [
                device
                for name, device, _ in choice
                if not names or name in names or name.partition("/")[0] in names
            ]
            attribute = (constraint.match_attribute or constraint.distinct_attribute or "").partition("/")[2]
            found = [(devices[one].attributes or {}).get(attribute) for one in concerned]
            values = [one.value for one in found if one is not None]
            if len(values) != len(concerned):
                return False
            different = len(set(values))
            if constraint.match_attribute and different > 1:
                return False
            if constraint.distinct_attribute and different != len(values):
                return False
        return True

    def _counted(self, choice: Taken, used: Taken, devices: dict[DeviceId, Device]) -> bool:
        """Whether shared amounts suffice for what is taken and what is chosen; of shares, only the first counts."""
        for pool in {(one.driver, one.pool) for _, one, _ in choice}:
            there: dict[tuple[str, str], int] = {}
            for slice_ in self.slices:
                if (slice_.spec.driver, slice_.spec.pool.name) == pool:
                    for counters in slice_.spec.shared_counters or ():
                        for name, counter in (counters.counters or {}).items():
                            there[counters.name, name] = parse(counter.value)
            before = self.taken | set(self.shares)
            gone = [id_ for id_ in before if id_[:2] == pool and id_ in devices]
            new = [id_ for _, id_, share in (*used, *choice) if share is None or id_ not in self.shares]
            gone += [id_ for id_ in dict.fromkeys(new) if id_[:2] == pool]
            consumes = False
            for id_ in gone:
                for consumption in devices[id_].consumes_counters or ():
                    consumes = consumes or id_ not in before
                    for name, counter in (consumption.counters or {}).items():
                        there[consumption.counter_set, name] -= parse(counter.value)
            if consumes and any(amount < 0 for amount in there.values()):
                return False
        return True


def _reaches(slice_: ResourceSlice, node: Node) -> bool:
    spec = slice_.spec
    if spec.shared_counters:
        return spec.node_name in (None, node.name)
    if spec.node_name is not None:
        return spec.node_name == node.name
    return bool(spec.all_nodes) or (spec.node_selector is not None and _selects(spec.node_selector, node))


def _selects(selector: NodeSelector, node: Node) -> bool:
    labels = node.metadata.labels or {}
    return any(
        all(labels.get(one.key) in (one.values or ()) for one in term.match_expressions or ())
        for term in selector.node_selector_terms
    )
