"""The free volumes that do for a kind of claim, kept up volume by volume.

Volumes that the same nodes reach form a group, of which only the smallest can be chosen by a pod's first claim, the
two smallest by its second, and so on. Where every volume is reached from few nodes, as local ones are, the best of
each node is kept too, and worked out anew only for the nodes of a volume that changed.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.constraints.protocol import Slots
from engine.constraints.volume_demand import Terms, Wanted, size_of, terms_of
from engine.model.storage import AVAILABLE, FILESYSTEM, PersistentVolume
from engine.state.columns import Columns
from engine.state.volumes import Volumes

NONE: Final = -1
"""The number of no volume."""
_KINDS: Final = 256
"""Kinds of claims of which the free volumes are kept."""
_LOCAL: Final = 64
"""So many nodes may reach a volume that counts as local."""
_GROUPS = 64
"""So many groups are gone through for each decision."""
_NAMES: Final = 100_000
"""Names that get a number before all are forgotten."""

Candidate = tuple[int, str, Slots]
"""A volume: its size, its name, and the slots that reach it."""

Chosen = NDArray[np.int64]
"""Shape (capacity,): by slot the number of a volume, `NONE` for none."""


def does(volume: PersistentVolume, one: Wanted) -> bool:
    """What holds for any volume that a claim may have, also for one that is reserved for it."""
    spec = volume.spec
    return (
        size_of((spec.capacity or {}).get("storage")) >= one.size
        and (spec.volume_mode or FILESYSTEM) == one.mode
        and (spec.volume_attributes_class_name or "") == one.attributes
        and volume.metadata.deletion_timestamp is None
    )


@dataclass(slots=True, eq=False)
class _Group:
    """Free volumes that the same nodes reach.

    Attributes:
        terms: Of their node affinity.
        members: Size and name, smallest first; also those that we assume to be given.
        slots: The nodes, as they were at that version.
    """

    terms: Terms | None
    members: list[tuple[int, str]] = field(default_factory=list)
    slots: Slots = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    nodes_seen: int = -1


class Pool:
    """The free volumes that do for one kind of claim."""

    def __init__(self, kind: Wanted, pools: VolumePools) -> None:
        self._kind = kind
        self._pools = pools
        self._groups: dict[Terms | None, _Group] = {}
        self._member_of: dict[str, tuple[_Group, int]] = {}
        self._changes = -1
        self._best: Chosen | None = None
        self._best_nodes = -1
        self._by_slot: dict[int, list[_Group]] = {}

    def candidates(self, most: int) -> list[Candidate]:
        """The volumes that may be chosen: of each group the ``most`` smallest that are not given."""
        found: list[Candidate] = []
        for group in self._groups.values():
            slots = self._slots(group)
            left = most
            for size, name in group.members:
                if not self._pools.volumes.given(name):
                    found.append((size, name, slots))
                    left -= 1
                    if not left:
                        break
        return found

    def best(self) -> Chosen | None:
        """The smallest volume by slot, not to be changed; None where it is not kept, as volumes are not local."""
        nodes = self._pools.columns.node_changes.version
        if self._best is None or nodes != self._best_nodes or len(self._best) != self._pools.columns.capacity:
            self._best_nodes = nodes
            self._best = self._all_best()
        return self._best

    def refresh(self) -> None:
        """Take over what changed of volumes."""
        volumes = self._pools.volumes
        changed = volumes.changed_since(self._changes)
        self._changes = volumes.changes
        if changed is None:
            self._groups.clear()
            self._member_of.clear()
            self._best = None
            changed = list(volumes.volumes_of_class(self._kind.storage_class))
        for name in changed:
            self._take_over(name)

    def _take_over(self, name: str) -> None:
        group, size = self._member_of.pop(name, (None, 0))
        if group is not None:
            del group.members[bisect_left(group.members, (size, name))]
            self._mend(group)
            if not group.members:
                del self._groups[group.terms]
                self._best = None if self._best is None else self._without(group)
        volume = self._pools.volumes.volume(name)
        if volume is None or not self._free(volume):
            return
        terms = terms_of(volume)
        group = self._groups.get(terms)
        if group is None:
            group = self._groups[terms] = _Group(terms)
            if self._best is not None and not self._joined(group):
                self._best = None
        size = size_of((volume.spec.capacity or {}).get("storage"))
        insort(group.members, (size, name))
        self._member_of[name] = (group, size)
        self._mend(group)

    def _free(self, volume: PersistentVolume) -> bool:
        """Whether the claim may have it, as the cluster has it."""
        kind = self._kind
        return (
            volume.storage_class == kind.storage_class
            and volume.status.phase == AVAILABLE
            and volume.spec.claim_ref is None
            and does(volume, kind)
            and set(kind.modes) <= set(volume.spec.access_modes or ())
            and (kind.selector is None or kind.selector.matches(volume.metadata.labels or {}))
        )

    def _slots(self, group: _Group) -> Slots:
        version = self._pools.columns.node_changes.version
        if group.nodes_seen != version:
            group.slots, group.nodes_seen = self._pools.reached(group.terms), version
        return group.slots

    # The best by slot

    def _all_best(self) -> Chosen | None:
        self._by_slot = {}
        if len(self._groups) <= _GROUPS:
            return None  # going through them costs less
        for group in self._groups.values():
            if not self._joined(group):
                return None
        best = np.full(self._pools.columns.capacity, NONE, dtype=np.int64)
        for slot in self._by_slot:
            best[slot] = self._best_of(slot)
        return best

    def _joined(self, group: _Group) -> bool:
        """Note which slots reach a group; whether they are few."""
        slots = self._slots(group)
        if len(slots) > _LOCAL:
            return False
        for slot in slots.tolist():
            self._by_slot.setdefault(slot, []).append(group)
        return True

    def _without(self, group: _Group) -> Chosen | None:
        for slot in group.slots.tolist():
            groups = self._by_slot.get(slot)
            if groups is not None and group in groups:
                groups.remove(group)
        return self._best

    def _mend(self, group: _Group) -> None:
        if self._best is not None and self._best_nodes == group.nodes_seen:
            for slot in group.slots.tolist():
                self._best[slot] = self._best_of(slot)

    def _best_of(self, slot: int) -> int:
        smallest: tuple[int, str] | None = None
        for group in self._by_slot.get(slot, ()):
            for member in group.members:
                if not self._pools.volumes.given(member[1]):
                    smallest = member if smallest is None else min(smallest, member)
                    break
        return NONE if smallest is None else self._pools.number(smallest[1])


class VolumePools:
    """The pools of one cache.

    Args:
        columns: The nodes.
        volumes: All volumes.
        reached: The slots of which one of some terms holds.

    Attributes:
        names: Of the numbered volumes.
    """

    def __init__(self, columns: Columns, volumes: Volumes, reached: Callable[[Terms | None], Slots]) -> None:
        self.columns = columns
        self.volumes = volumes
        self.reached = reached
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}
        self._pools: dict[Wanted, Pool] = {}

    def pool(self, one: Wanted) -> Pool:
        """The pool of a claim, up to date."""
        if len(self._pools) > _KINDS or len(self.names) > _NAMES:
            self._pools, self._numbers, self.names = {}, {}, []
        kind = Wanted(
            one.storage_class, one.size, one.sized, one.modes, one.selector, one.mode, one.attributes
        )
        pool = self._pools.get(kind)
        if pool is None:
            pool = self._pools[kind] = Pool(kind, self)
        pool.refresh()
        return pool

    def number(self, name: str) -> int:
        """The number that stands for a volume."""
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self.names)
            self.names.append(name)
        return number
