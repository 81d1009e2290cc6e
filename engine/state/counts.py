"""Numbers by slot, and the same by the values of a label, kept up by what is added and read when asked for."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.state.columns import Columns
from engine.state.counted import Counted
from engine.state.labels import LabelColumn, grown

Counts = NDArray[np.int64]

_KEPT: Final = 512
"""Changes that a log keeps; whoever is further behind recounts, which costs about as much as replaying these."""


class SlotCounts(Counted):
    """A number for each slot, with a log of what was added.

    Attributes:
        by_slot: As long as the columns, once `slots` was called.
        total: The sum.
    """

    __slots__ = ("__weakref__", "_base", "_log", "by_slot", "columns", "total")

    def __init__(self, columns: Columns) -> None:
        super().__init__()
        self.columns = columns
        self.by_slot: Counts = np.zeros(columns.capacity, dtype=np.int64)
        self.total = 0
        self._log: list[tuple[int, int]] = []
        self._base = 0

    @property
    def version(self) -> int:
        """Grows with every change."""
        return self._base + len(self._log)

    def since(self, version: int) -> list[tuple[int, int]] | None:
        """What was added where after ``version``; None where the reader has to recount, as after -1."""
        start = version - self._base
        return self._log[start:] if start >= 0 else None

    def add(self, slot: int, number: int) -> None:
        """Count pods that came to (or left, negative) a slot."""
        if slot >= len(self.by_slot):
            self.by_slot = grown(self.by_slot, self.columns.capacity, 0)
        self.by_slot[slot] += number
        self.total += number
        self._log.append((slot, number))
        if self.noticed is not None:
            self.notice()
        if len(self._log) > _KEPT:
            self._base += len(self._log)
            self._log.clear()

    def slots(self) -> Counts:
        """The counts by slot, as long as every other column."""
        if len(self.by_slot) < self.columns.capacity:
            self.by_slot = grown(self.by_slot, self.columns.capacity, 0)
        return self.by_slot


class DomainCounts:
    """Slot counts by the values of a node label: ``refresh(slots)[code]``, brought up to date when asked for.

    Always asked with the same slot counts, which it does not hold itself, lest they hold each other.
    """

    __slots__ = ("_counts", "_nodes_seen", "_seen", "_within", "column")

    def __init__(self, column: LabelColumn) -> None:
        self.column = column
        self._counts: Counts = np.zeros(0, dtype=np.int64)
        self._within: NDArray[np.bool_] | None = None
        self._seen = -1
        self._nodes_seen = -1

    def refresh(self, slots: SlotCounts, within: NDArray[np.bool_] | None = None) -> Counts:
        """The counts, an entry for each value of the label; not to be kept.

        Args:
            slots: What is counted.
            within: Shape (capacity,): only these slots are counted. A changed mask has to be another array.
        """
        column = self.column
        nodes = slots.columns.node_changes.version
        added = slots.since(self._seen)
        if added is None or nodes != self._nodes_seen or within is not self._within:
            self._recount(slots, within)
            self._nodes_seen = nodes
            self._within = within
        else:
            codes = column.codes
            for slot, number in added:
                code = codes[slot]
                if code >= 0 and (within is None or within[slot]):
                    self._counts[code] += number
        self._seen = slots.version
        return self._counts

    def _recount(self, slots: SlotCounts, within: NDArray[np.bool_] | None) -> None:
        by_slot, codes = slots.slots(), self.column.codes
        on = np.flatnonzero(by_slot if within is None else by_slot * within)
        on = on[codes[on] >= 0]
        counts = np.bincount(codes[on], weights=by_slot[on], minlength=len(self.column.values))
        self._counts = counts.astype(np.int64)
