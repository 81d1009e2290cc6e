"""Where the volumes that a pod's claims want can be found, or made: for all nodes at once.

A claim gets the smallest volume that does, the smallest claim first, and where a node has none, one is made if the
class, and what is known of free room, let that be there.

Source: kube-scheduler's plugin VolumeBinding (binder.go) and FindMatchingVolume of ``k8s.io/component-helpers``.
Volumes of equal size are taken by name, where there it depends on chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from engine.constraints.nodes import term_matches
from engine.constraints.protocol import Mask, Slots
from engine.constraints.volume_demand import Demand, Reach, Terms, Wanted, size_of, terms_of
from engine.constraints.volume_pools import NONE, Candidate, Chosen, VolumePools, does
from engine.model.objects import NodeSelectorTerm, Requirement
from engine.model.selectors import Selector, selector_of
from engine.model.storage import NO_PROVISIONER, StorageClass
from engine.state.cache import Cache

_KINDS: Final = 256
"""Kinds of claims of which the free volumes, or the room, are kept."""
_REACHES: Final = 4_000_000
"""How many slots are kept in all sets of nodes that reach something."""
_OVERHEAD: Final = 40
"""What an empty set of slots takes, in slots."""


@dataclass(slots=True)
class Findings:
    """What was found for one demand.

    Attributes:
        out_of_reach: Where a bound claim's volume is not.
        missing: Where the volume of a bound claim turned out not to exist.
        unmatched: Where a claim neither finds a volume nor may have one made.
        crowded: Where there is no room for one.
        volumes: The names that ``chosen`` counts.
        chosen: For each of the demand's ``wanted`` the volume it gets, by slot; none where one is made.
    """

    out_of_reach: Mask
    missing: Mask
    unmatched: Mask
    crowded: Mask
    volumes: list[str] = field(default_factory=list)
    chosen: list[Chosen] = field(default_factory=list)

    @property
    def refused(self) -> Mask:
        """Where the pod cannot go."""
        mask: Mask = self.out_of_reach | self.missing | self.unmatched | self.crowded
        return mask


class VolumeMatching:
    """Answers for one cache; keeps what does not change from one decision to the next.

    Args:
        cache: The nodes and the storage.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._columns = cache.columns
        self._volumes = cache.volumes
        self._reach: dict[object, Slots] = {}
        self._reach_size = 0
        self._nodes_seen = -1
        self._rooms_seen = -1
        self._room: dict[tuple[str, int], Mask] = {}
        self._pools = VolumePools(cache.columns, cache.volumes, self.reached)
        self._last: tuple[Demand, tuple[int, int, int], Findings] | None = None

    @property
    def cache(self) -> Cache:
        """The nodes and the storage."""
        return self._cache

    def find(self, demand: Demand) -> Findings:
        """Where the demand can be met, and by what."""
        self._renew()
        moment = (self._volumes.version, self._columns.node_changes.version, self._columns.capacity)
        if self._last is not None and self._last[1] == moment and self._last[0] == demand:
            return self._last[2]
        nothing = np.zeros(self._columns.capacity, dtype=np.bool_)
        found = Findings(nothing, nothing.copy(), nothing.copy(), nothing.copy())
        for reach in demand.reaches:
            open_ = ~(found.out_of_reach | found.missing)
            if not reach.exists:
                found.missing |= open_
            elif reach.terms is not None or reach.plugin:
                found.out_of_reach |= open_ & ~self._within(reach)
        if demand.wanted:
            self._match(demand.wanted, found)
        self._last = (demand, moment, found)
        return found

    def _within(self, reach: Reach) -> Mask:
        mask = self._mask(self.reached(reach.terms))
        if reach.plugin:
            migrated = self._volumes.attachments.migrated(reach.plugin)
            if migrated.any():
                mask = np.where(migrated, self._mask(self.reached(reach.migrated)), mask)
        return mask

    # Volumes that are there

    def _match(self, wanted: Sequence[Wanted], found: Findings) -> None:
        capacity = self._columns.capacity
        found.chosen = [np.full(capacity, NONE, dtype=np.int64) for _ in wanted]
        open_ = np.ones(capacity, dtype=np.bool_)
        for one in wanted:
            if one.selected is not None:
                open_ &= self._mask(self._named(one.selected))
        found.unmatched |= ~open_
        selected = [position for position, one in enumerate(wanted) if one.selected is not None]
        free = [position for position, one in enumerate(wanted) if one.selected is None]
        free.sort(key=lambda position: wanted[position].size)
        taken: list[Chosen] = []
        for position in free:
            self._pick(wanted[position], taken, found.chosen[position])
            taken.append(found.chosen[position])
        found.volumes = self._pools.names
        for position in (*selected, *free):
            self._provide(wanted[position], found.chosen[position], open_, found)

    def _pick(self, one: Wanted, taken: list[Chosen], chosen: Chosen) -> None:
        """Fill in the smallest volume for each slot that no earlier claim of the pod takes there."""
        candidates = self._reserved(one)
        if not candidates:
            pool = self._pools.pool(one)
            if not taken:
                best = pool.best()
                if best is not None:
                    np.copyto(chosen, best)
                    return
            candidates = pool.candidates(len(taken) + 1)
        if not candidates:
            return
        # The largest first, so that smaller ones overwrite.
        candidates.sort(key=lambda candidate: candidate[:2], reverse=True)
        reached = [slots for *_, slots in candidates]
        slots = np.concatenate(reached)
        numbered = np.array([self._pools.number(name) for _, name, _ in candidates], dtype=np.int64)
        numbers = np.repeat(numbered, [len(some) for some in reached])
        for other in taken:
            left = other[slots] != numbers
            slots, numbers = slots[left], numbers[left]
        chosen[slots] = numbers

    def _reserved(self, one: Wanted) -> list[Candidate]:
        """The volume that is the claim's already, if it does; then the claim gets no other."""
        usable: list[Candidate] = []
        for name in one.reserved:
            volume = self._volumes.volume(name)
            if volume is not None and volume.storage_class == one.storage_class and does(volume, one):
                size = size_of((volume.spec.capacity or {}).get("storage"))
                usable.append((size, name, self.reached(terms_of(volume))))
        return [min(usable, key=lambda candidate: candidate[:2])] if usable else []

    # Volumes to be made

    def _provide(self, one: Wanted, chosen: Chosen, open_: Mask, found: Findings) -> None:
        """Refuse the slots, of those still open, where the claim has no volume and none can be made."""
        without = open_ & (chosen == NONE)
        if not without.any():
            return
        found_class = self._volumes.storage_class(one.storage_class)
        if found_class is None or found_class.provisioner in ("", NO_PROVISIONER):
            found.unmatched |= without
            open_ &= ~without
            return
        allowed = self._allowed(found_class)
        if allowed is not None:
            found.unmatched |= without & ~allowed
            open_ &= ~without | allowed
            without &= allowed
        room = self._with_room(found_class, one)
        if room is not None:
            found.crowded |= without & ~room
            open_ &= ~without | room

    def _allowed(self, of: StorageClass) -> Mask | None:
        """Where the class lets volumes be made; None for everywhere. A term that asks for nothing allows nothing."""
        if not of.allowed_topologies:
            return None
        terms = tuple(
            NodeSelectorTerm(
                tuple(Requirement(one.key, "In", one.values) for one in term.match_label_expressions)
            )
            for term in of.allowed_topologies
            if term.match_label_expressions
        )
        return self._mask(self.reached(terms))

    def _with_room(self, of: StorageClass, one: Wanted) -> Mask | None:
        """Where the driver says that there is room; None where it does not say, or nothing is asked for."""
        if not one.sized or not self._volumes.tracks_capacity(of.provisioner):
            return None
        key = (of.metadata.name, one.size)
        mask = self._room.get(key)
        if mask is None:
            mask = np.zeros(self._columns.capacity, dtype=np.bool_)
            for capacity in self._volumes.capacities(of.metadata.name):
                most = (
                    capacity.capacity
                    if capacity.maximum_volume_size is None
                    else capacity.maximum_volume_size
                )
                if most is None or size_of(most) < one.size or capacity.node_topology is None:
                    continue
                mask[self.selected(selector_of(capacity.node_topology))] = True
            if len(self._room) >= _KINDS:
                self._room.clear()
            self._room[key] = mask
        return mask

    # Nodes

    def reached(self, terms: Terms | None) -> Slots:
        """The slots of which one of the terms holds; all of them where there are none at all."""
        slots = self._reach.get(terms)
        if slots is None:
            mask = np.full(self._columns.size, terms is None)
            for term in terms or ():
                mask |= term_matches(term, self._columns, self._columns.everywhere)
            slots = self._keep(terms, mask)
        return slots

    def selected(self, selector: Selector) -> Slots:
        """The slots whose labels a selector selects."""
        slots = self._reach.get(selector)
        if slots is None:
            columns = self._columns
            mask = np.full(columns.size, not selector.nothing, dtype=np.bool_)
            for expression in selector.expressions or ():
                column = columns.labels.column(expression.key)
                if expression.values:
                    holds = column.among(expression.values, columns.everywhere)
                else:
                    holds = column.present(columns.everywhere)
                mask &= ~holds if expression.operator in ("NotIn", "DoesNotExist") else holds
            slots = self._keep(selector, mask)
        return slots

    def _keep(self, key: object, mask: Mask) -> Slots:
        slots = np.flatnonzero(mask & self._columns.alive[: len(mask)])
        if self._reach_size > _REACHES:
            self._forget_reach()
        self._reach_size += len(slots) + _OVERHEAD
        self._reach[key] = slots
        return slots

    def _forget_reach(self) -> None:
        self._reach.clear()
        self._reach_size = 0

    def _named(self, node: str) -> Slots:
        slot = self._columns.slot(node)
        return np.array([] if slot is None else [slot], dtype=np.int64)

    def _mask(self, slots: Slots) -> Mask:
        mask = np.zeros(self._columns.capacity, dtype=np.bool_)
        mask[slots] = True
        return mask

    def _renew(self) -> None:
        """Forget what nodes were where one of them changed."""
        version = self._columns.node_changes.version
        if version != self._nodes_seen:
            self._nodes_seen = version
            self._forget_reach()
            self._room.clear()
        if self._rooms_seen != self._volumes.capacity_version:
            self._rooms_seen = self._volumes.capacity_version
            self._room.clear()
