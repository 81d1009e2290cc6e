"""How many placed pods of some kind there are, on each node and in each failure domain, kept up by every bind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engine.state.columns import Columns
from engine.state.counted import Counted
from engine.state.labels import LabelColumn, grown
from engine.state.pods import PlacedPod

Selects = Callable[[PlacedPod], bool]


class DomainCount:
    """The pods of a census by failure domain: ``counts[code]`` by the code of the domain's label value."""

    __slots__ = ("_census", "_seen", "column", "counts")

    def __init__(self, census: Census, column: LabelColumn) -> None:
        self.column = column
        self.counts: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._census = census
        self._seen = -1

    def refresh(self) -> NDArray[np.int64]:
        """The counts, recounted only where nodes changed; one entry for each value of the label."""
        version = self._census.columns.node_changes.version
        if version != self._seen:
            codes = self.column.codes
            on = np.flatnonzero(self._census.by_slot)
            on = on[codes[on] >= 0]
            weights = self._census.by_slot[on]
            counts = np.bincount(codes[on], weights=weights, minlength=len(self.column.values))
            self.counts = counts.astype(np.int64)
            self._seen = version
        return self.counts

    def clear(self) -> None:
        """Count nobody."""
        self.counts[:] = 0

    def add(self, slot: int, number: int) -> None:
        """Count pods that came to (or left, negative) a slot."""
        code = int(self.column.codes[slot])
        if code >= 0 and self._seen == self._census.columns.node_changes.version:
            self.counts[code] += number


class Census(Counted):
    """Counts the placed pods that a predicate selects.

    Attributes:
        by_slot: How many on each node. Pods that are going away are not counted.
    """

    __slots__ = ("_domains", "by_slot", "columns", "selects")

    def __init__(self, columns: Columns, selects: Selects) -> None:
        super().__init__()
        self.columns = columns
        self.selects = selects
        self.by_slot: NDArray[np.int64] = np.zeros(columns.capacity, dtype=np.int64)
        self._domains: dict[str, DomainCount] = {}

    def by_domain(self, label: str) -> DomainCount:
        """The same counts by the values of a node label."""
        domain = self._domains.get(label)
        if domain is None:
            domain = self._domains[label] = DomainCount(self, self.columns.labels.column(label))
        return domain

    def add(self, slot: int, number: int) -> None:
        """Count pods that came to (or left, negative) a slot."""
        if slot >= len(self.by_slot):
            self.by_slot = grown(self.by_slot, self.columns.capacity, 0)
        self.by_slot[slot] += number
        if self.noticed is not None:
            self.notice()
        for domain in self._domains.values():
            domain.add(slot, number)

    def clear(self) -> None:
        """Count nobody."""
        self.by_slot[:] = 0
        for domain in self._domains.values():
            domain.clear()

    def slots(self) -> NDArray[np.int64]:
        """The counts by slot, as long as every other column."""
        if len(self.by_slot) < self.columns.capacity:
            self.by_slot = grown(self.by_slot, self.columns.capacity, 0)
        return self.by_slot
