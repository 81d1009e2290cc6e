"""Which backups lie on which nodes, and what has to be kept there for them.

Backups of pods that are lost together need their room at the same time, so they add up; those of different losses
share it. What is kept on a node is the most that any one loss asks of it, resource by resource.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.constraints.protocol import Mask
from engine.model.objects import PodKey
from engine.state.columns import PODS

Amount = NDArray[np.int64]
"""Shape (resources,): an amount of each."""
Table = NDArray[np.int64]
"""Shape (resources, capacity)."""

FIRST: Final = ("memory", "cpu", PODS)
"""The resources that every ledger knows, in this order."""
MEMORY: Final = 0


class Backup:
    """A covered pod, and where its backup lies.

    Attributes:
        key: The pod.
        priority: Its priority: where not all can be covered, the higher are.
        loss: What it would be lost with, by the value of the domain.
        asked: By resource name.
        amount: The same as the ledger has it.
        fixed: Whether its rules look at other pods, so that it was placed together with those.
        slot: Where, -1 where nowhere.
        seen: As of when ``legal`` is: the version of the nodes and that of the delays.
    """

    __slots__ = ("_legal", "amount", "asked", "capacity", "fixed", "key", "loss", "priority", "seen", "slot")

    def __init__(self, key: PodKey, priority: int, loss: str, asked: dict[str, int], fixed: bool) -> None:
        self.key = key
        self.priority = priority
        self.loss = loss
        self.asked = asked
        self.amount: Amount = np.zeros(0, dtype=np.int64)
        self.fixed = fixed
        self.slot = -1
        self.seen: tuple[int, str] | None = None
        self._legal: NDArray[np.uint8] = np.zeros(0, dtype=np.uint8)
        self.capacity = 0

    @property
    def legal(self) -> Mask:
        """Where its rules let it be, room aside, as of ``seen``. Shape (capacity,)."""
        return np.unpackbits(self._legal, count=self.capacity).view(np.bool_)

    @legal.setter
    def legal(self, mask: Mask) -> None:
        # One bit a node: of ten thousand pods on as many nodes that is 12 MB.
        self._legal = np.packbits(mask)
        self.capacity = len(mask)


class Ledger:
    """The sums.

    Attributes:
        resources: Their names, by row.
        kept: What is kept; call `settle` before reading it.
    """

    __slots__ = ("_by_slot", "_dirty", "_loads", "_on", "kept", "resources")

    def __init__(self, capacity: int) -> None:
        self.resources = list(FIRST)
        self.kept: Table = np.zeros((len(FIRST), capacity), dtype=np.int64)
        self._loads: dict[str, dict[int, Amount]] = {}
        self._by_slot: dict[int, dict[str, int]] = {}
        self._on: dict[int, dict[Backup, None]] = {}
        self._dirty: set[int] = set()

    @property
    def capacity(self) -> int:
        """How many slots there are."""
        return int(self.kept.shape[1])

    def amount(self, asked: dict[str, int]) -> Amount:
        """Amounts by name as a vector. A resource that is new gets a row."""
        for resource in asked:
            if resource not in self.resources:
                self.resources.append(resource)
                self.kept = np.vstack([self.kept, np.zeros((1, self.capacity), dtype=np.int64)])
                for load in self._loads.values():
                    for slot, held in load.items():
                        load[slot] = np.append(held, 0)
        return np.array([asked.get(resource, 0) for resource in self.resources], dtype=np.int64)

    def grow(self, capacity: int) -> None:
        """Make room for more slots."""
        if capacity > self.capacity:
            more = np.zeros((len(self.resources), capacity - self.capacity), dtype=np.int64)
            self.kept = np.hstack([self.kept, more])

    def load(self, loss: str) -> Table:
        """What one loss asks of each slot."""
        table = np.zeros_like(self.kept)
        for slot, held in self._loads.get(loss, {}).items():
            table[:, slot] = held
        return table

    def room(self, loss: str, free: Table) -> dict[str, NDArray[np.int64]]:
        """What one loss leaves of what is free: by resource, for each slot."""
        return dict(zip(self.resources, np.maximum(free, 0) - self.load(loss), strict=True))

    def put(self, backup: Backup, slot: int) -> None:
        """Lay a backup down."""
        load = self._loads.setdefault(backup.loss, {})
        held = load.get(slot)
        load[slot] = total = backup.amount.copy() if held is None else held + backup.amount
        losses = self._by_slot.setdefault(slot, {})
        losses[backup.loss] = losses.get(backup.loss, 0) + 1
        self._on.setdefault(slot, {})[backup] = None
        if slot not in self._dirty:
            np.maximum(self.kept[:, slot], total, out=self.kept[:, slot])
        backup.slot = slot

    def take(self, backup: Backup) -> int:
        """Take a backup up. Returns where it lay."""
        slot = backup.slot
        load, losses = self._loads[backup.loss], self._by_slot[slot]
        load[slot] = load[slot] - backup.amount
        losses[backup.loss] -= 1
        if not losses[backup.loss]:
            del losses[backup.loss], load[slot]
            if not load:
                del self._loads[backup.loss]
            if not losses:
                del self._by_slot[slot]
        del self._on[slot][backup]
        self._dirty.add(slot)
        backup.slot = -1
        return slot

    def settle(self) -> None:
        """Work out again what is kept where backups were taken up."""
        for slot in self._dirty:
            losses = self._by_slot.get(slot)
            if losses:
                self.kept[:, slot] = np.maximum.reduce([self._loads[loss][slot] for loss in losses])
            else:
                self.kept[:, slot] = 0
        self._dirty.clear()

    def by_node(self, names: Sequence[str]) -> dict[str, dict[str, int]]:
        """What is kept: node → resource → amount, without zeros.

        Args:
            names: Of the nodes, by slot.
        """
        self.settle()
        return {
            names[slot]: {
                resource: int(value)
                for resource, value in zip(self.resources, self.kept[:, slot], strict=True)
                if value
            }
            for slot in np.flatnonzero(self.kept.any(axis=0)).tolist()
        }

    def on(self, slot: int) -> list[Backup]:
        """The backups that lie there."""
        return list(self._on.get(slot, ()))

    def peaks(self, slot: int) -> set[str]:
        """The losses that ask for all the memory that is kept in a slot."""
        most = self.kept[MEMORY, slot]
        return {loss for loss in self._by_slot.get(slot, ()) if self._loads[loss][slot][MEMORY] == most}
