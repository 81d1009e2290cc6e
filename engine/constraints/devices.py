"""Which nodes a pod's claims of devices let it run on, and what they get there.

Source: kube-scheduler's plugin DynamicResources.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.constraints.device_allocation import allocations
from engine.constraints.device_conditions import has_conditions
from engine.constraints.device_demand import DeviceDemand, Terms, claims_in, preference
from engine.constraints.device_pools import DevicePools, Pools
from engine.constraints.device_search import Patience, SearchError, Solution, search
from engine.constraints.device_telling import not_to_be_had, out_of_reach
from engine.constraints.extended_resources import REASON, claim_for
from engine.constraints.nodes import term_matches
from engine.constraints.protocol import Depends, Mask, Normalization, Slots, Vector
from engine.constraints.telling import Value
from engine.constraints.wanted_devices import WantedDevices
from engine.model.device_uses import DeviceBindings, DeviceMapping, DeviceUse, MadeClaim
from engine.model.devices import Allocation, ResourceClaim
from engine.model.objects import PodKey
from engine.state.cache import Cache
from engine.state.columns import Columns
from engine.state.labels import Where
from engine.state.pods import PlacedPod

_KEPT: Final = 256
"""Combinations of claims of which the answers are kept."""
_NO: Final = -1
_CANNOT: Final = "cannot allocate all claims"

Wanted = tuple[WantedDevices, ...]


class _Answers:
    """The answers for one combination of claims, as they were at these versions."""

    __slots__ = ("nodes", "preferred", "reasons", "shared", "taken")

    def __init__(self, capacity: int) -> None:
        self.preferred: NDArray[np.int64] = np.full(capacity, _NO, dtype=np.int64)
        self.reasons: dict[int, str] = {}
        self.nodes = -1
        self.taken = -1
        self.shared = -1


class DeviceMatching:
    """Answers for one cache, slot by slot; asked again only where devices, or whoever has them, changed.

    Args:
        cache: The nodes and the devices.
    """

    def __init__(self, cache: Cache) -> None:
        self._columns = cache.columns
        self._devices = cache.devices
        self._pools = DevicePools(cache)
        self._kept: OrderedDict[Wanted, _Answers] = OrderedDict()
        # Slots whose pools changed, for each of the kept answers to look at again.
        self._moved: list[int] = []
        self._moved_base = 0

    def find(self, wanted: Wanted) -> _Answers:
        """The answers of now."""
        self._refresh_pools()
        answers = self._kept.get(wanted)
        if answers is None or len(answers.preferred) != self._columns.capacity:
            answers = self._kept[wanted] = _Answers(self._columns.capacity)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(wanted)
        taken = self._devices.taken_changes
        moved = self._moved_since(answers.nodes)
        used = taken.since(answers.taken)
        if moved is None or used is None or answers.shared != self._devices.shared_taken_version:
            slots = np.flatnonzero(self._columns.alive).tolist()
            answers.preferred[:] = _NO
            answers.reasons.clear()
        else:
            slots = list(dict.fromkeys((*moved, *used)))
        self._ask(wanted, answers, slots)
        answers.nodes = self._moved_base + len(self._moved)
        answers.taken = taken.version
        answers.shared = self._devices.shared_taken_version
        return answers

    def seen(self, slot: int) -> Pools:
        """The pools that a node sees."""
        self._refresh_pools()
        return self._pools.of(slot)

    def solution(self, wanted: Wanted, slot: int) -> Solution | None:
        """The devices that claims get on a node."""
        self._refresh_pools()
        try:
            return search(wanted, self._pools.of(slot), self._devices)
        except SearchError:
            return None

    def _refresh_pools(self) -> None:
        changed = self._pools.refresh()
        if changed is None:
            self._moved_base += len(self._moved) + 1
            self._moved.clear()
        else:
            self._moved += changed
            if len(self._moved) > 2 * self._columns.capacity:
                self._moved_base += len(self._moved) + 1
                self._moved.clear()

    def _moved_since(self, version: int) -> list[int] | None:
        start = version - self._moved_base
        return None if version < 0 or start < 0 else self._moved[start:]

    def _ask(self, wanted: Wanted, answers: _Answers, slots: list[int]) -> None:
        # Nodes that see the same pools get the same answer.
        known: dict[int, tuple[int, str]] = {}
        patience = Patience()
        for slot in slots:
            if not self._columns.alive[slot]:
                answers.preferred[slot] = _NO
                answers.reasons.pop(slot, None)
                continue
            pools = self._pools.of(slot)
            answer = known.get(id(pools))
            if answer is None:
                answer = known[id(pools)] = self._answer(wanted, slot, patience)
            answers.preferred[slot] = answer[0]
            if answer[1]:
                answers.reasons[slot] = answer[1]
            else:
                answers.reasons.pop(slot, None)

    def _answer(self, wanted: Wanted, slot: int, patience: Patience) -> tuple[int, str]:
        pools = self._pools.of(slot)
        if not pools:
            return _NO, ""
        try:
            solution = search(wanted, pools, self._devices, patience)
        except SearchError as error:
            return _NO, str(error)
        if solution is None:
            invalid = any(pool.reason for pool in pools)
            return _NO, "invalid resource pools were encountered" if invalid else ""
        return sum(
            preference(claim.asked, {found.part.name for found in devices})
            for claim, devices in zip(wanted, solution, strict=True)
        ), ""


class NodeAnswers:
    """What is found for a pod's claims on each node: nodes that offer an extended resource need no devices for it."""

    def __init__(self, demand: DeviceDemand, matching: DeviceMatching, columns: Columns) -> None:
        self._demand = demand
        self._matching = matching
        self._columns = columns

    def resources(self, slot: int) -> tuple[str, ...]:
        """The extended resources that are devices on a node."""
        extended = self._demand.extended
        classes = extended.classes if extended is not None else ()
        allocatable = self._columns.allocatable
        return tuple(
            resource for resource, _ in classes if not self._columns.resource(allocatable, resource)[slot]
        )

    def wanted(self, resources: Collection[str]) -> Wanted:
        """What has to be found where these extended resources are devices; those come last."""
        extended = self._demand.extended
        if extended is None or not resources:
            return self._demand.wanted
        return (*self._demand.wanted, extended.wanted(resources)[0])

    def groups(self, slots: Slots) -> Iterator[tuple[Wanted, Slots]]:
        """What has to be found where: as the positions in ``slots``."""
        extended = self._demand.extended
        if extended is None:
            yield self._demand.wanted, np.arange(len(slots))
            return
        allocatable = self._columns.allocatable
        codes = np.zeros(len(slots), dtype=np.int64)
        for position, (resource, _) in enumerate(extended.classes):
            codes |= (self._columns.resource(allocatable, resource)[slots] == 0).astype(np.int64) << position
        for code in np.unique(codes).tolist():
            resources = [
                resource for position, (resource, _) in enumerate(extended.classes) if code >> position & 1
            ]
            yield self.wanted(resources), np.flatnonzero(codes == code)

    def preferred(self, slots: Slots) -> NDArray[np.int64]:
        """What the alternatives count that are chosen in these slots; negative where there are no devices."""
        found = np.zeros(len(slots), dtype=np.int64)
        for wanted, positions in self.groups(slots):
            if wanted:
                found[positions] = self._matching.find(wanted).preferred[slots[positions]]
        return found


class DynamicResources:
    """Keeps a pod to nodes where its claims have their devices, or can get them."""

    name = "DynamicResources"
    citation = None
    depends = Depends.NODE | Depends.DEVICES

    def __init__(self, demand: DeviceDemand, matching: DeviceMatching, cache: Cache) -> None:
        self._demand = demand
        self._matching = matching
        self._columns = cache.columns
        self._devices = cache.devices
        self._answers = NodeAnswers(demand, matching, cache.columns)

    def passes(self, where: Where) -> Mask:
        """True where all claims are satisfied."""
        mask = np.ones_like(self._columns.alive[where])
        if self._demand.given_up or self._demand.stale:
            mask[:] = False
        for terms in self._demand.pinned:
            mask &= self._reached(terms, where)
        if self._demand.extended is not None:
            mask &= self._answers.preferred(_slots(where)) != _NO
        elif self._demand.wanted:
            mask &= self._matching.find(self._demand.wanted).preferred[where] != _NO
        return mask

    def reasons(self, refused: Slots) -> Counter[str]:
        """That no devices can be had comes before that others are elsewhere."""
        if self._demand.stale:
            return Counter({REASON: len(refused)})
        found: Counter[str] = Counter()
        for wanted, positions in self._answers.groups(refused):
            if wanted:
                answers = self._matching.find(wanted)
                slots = refused[positions]
                without = slots[answers.preferred[slots] == _NO]
                found.update(answers.reasons.get(slot, _CANNOT) for slot in without.tolist())
        if len(refused) > found.total():
            found["resourceclaim not available on the node"] = len(refused) - found.total()
        return found

    def values_of(self, slot: int, pod: PlacedPod) -> tuple[Value, ...]:
        """The claims whose devices are elsewhere, else the requests that the node cannot fulfil."""
        lacking = self._demand.wanted and self._matching.find(self._demand.wanted).preferred[slot] == _NO
        if lacking:
            return tuple(not_to_be_had(self._devices, pod.devices, self._matching.seen(slot)))
        return tuple(out_of_reach(self._devices, self._columns, pod.devices, slot))

    def elsewhere(self, terms: Terms, slots: Slots) -> bool:
        """Whether a claim keeps the pod off some of the slots by where its devices are."""
        return not bool(self._reached(terms, slots).all())

    def _reached(self, terms: Terms, where: Where) -> Mask:
        mask = np.zeros_like(self._columns.alive[where])
        for term in terms:
            mask |= term_matches(term, self._columns, where)
        return mask


class DynamicResourcesScore:
    """Earlier alternatives of requests are better."""

    name = "DynamicResources"
    citation = None
    depends = Depends.NODE | Depends.DEVICES
    normalization = Normalization.TO_MAX
    weight = 2.0

    def __init__(self, demand: DeviceDemand, matching: DeviceMatching, cache: Cache) -> None:
        self._demand = demand
        self._answers = NodeAnswers(demand, matching, cache.columns)

    @staticmethod
    def applies(demand: DeviceDemand) -> bool:
        """Whether there is anything to choose between."""
        return any(
            request.first_available for claim in demand.wanted for request in claim.asked.requests or ()
        )

    def raw(self, where: Where) -> Vector:
        """What the alternatives count that are chosen there."""
        preferred = self._answers.preferred(_slots(where))
        return np.maximum(preferred, 0).astype(np.float64) + self._demand.preferred


def device_bindings(
    uses: tuple[DeviceUse, ...],
    pod: PodKey,
    demand: DeviceDemand,
    cache: Cache,
    matching: DeviceMatching,
    slot: int,
) -> DeviceBindings | None:
    """What has to be written for a pod's claims on a node that passes; None where nothing has to be.

    Raises:
        RuntimeError: The node does not pass.
    """
    claims = claims_in(cache.devices, uses)
    node = cache.columns.names[slot]
    wanting = [claim for claim in claims if claim.allocation is None]
    answers = NodeAnswers(demand, matching, cache.columns)
    resources = answers.resources(slot)
    extended: ResourceClaim | None = None
    mappings: tuple[DeviceMapping, ...] = ()
    if demand.extended is not None and resources:
        asked, mappings = demand.extended.wanted(resources)
        extended = claim_for(pod, asked.asked)
    wanted = answers.wanted(resources)
    made: Iterator[Allocation] = iter(())
    if wanted:
        solution = matching.solution(wanted, slot)
        if solution is None:
            raise RuntimeError(f"the devices that were found for {pod} on {node} are not there")
        asking = wanting if extended is None else [*wanting, extended]
        made = allocations(asking, solution, cache.devices, node)
    bindings = tuple(
        (claim, next(made) if claim.allocation is None else None)
        for claim in claims
        if claim.allocation is None or not claim.reserved(pod)
    )
    given = {claim.name: allocation for claim, allocation in bindings}
    awaited = [claim.name for claim in claims if has_conditions(given.get(claim.name) or claim.allocation)]
    special = None
    if extended is not None:
        special = MadeClaim(extended, next(made), mappings)
        awaited += [extended.name] if has_conditions(special.allocation) else []
    if not bindings and not awaited and special is None:
        return None
    return DeviceBindings(node, bindings, tuple(awaited), special)


def _slots(where: Where) -> Slots:
    return np.arange(where.start or 0, where.stop) if isinstance(where, slice) else where
