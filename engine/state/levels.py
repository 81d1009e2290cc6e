"""What the pods of each priority hold on each node: how much room taking the lower ones away could make at most.

Worked out when first asked for, then mended for the slots whose use changed; clusters that never preempt pay nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from engine.state.cache import Cache
from engine.state.columns import PODS
from engine.state.labels import grown

Held = dict[str, NDArray[np.int64]]
"""Sum of the requests by resource, entries by slot; `PODS` counts the pods."""


class Levels:
    """The requests of placed pods by their priority. Pods on their way out count, as they still hold room."""

    __slots__ = ("_cache", "_held", "_seen")

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._held: dict[int, Held] = {}
        self._seen = -1

    def below(self, priority: int) -> Iterator[tuple[int, Held]]:
        """The priorities of placed pods that are lower, rising, each with what its pods hold; not to be kept."""
        self._refresh()
        for level in sorted(self._held):
            if level >= priority:
                return
            yield level, self._held[level]

    def _refresh(self) -> None:
        columns = self._cache.columns
        changed = columns.usage_changes.since(self._seen)
        if changed is None:
            self._held.clear()
            changed = np.flatnonzero(columns.alive).tolist()
        for slot in changed:
            self._mend(slot)
        self._seen = columns.usage_changes.version

    def _mend(self, slot: int) -> None:
        columns = self._cache.columns
        for held in self._held.values():
            for column in held.values():
                if slot < len(column):
                    column[slot] = 0
        for pod in self._cache.pods_on(columns.names[slot]) if columns.alive[slot] else ():
            held = self._held.setdefault(pod.shape.priority, {})
            for resource, value in pod.requests.items():
                if value:
                    self._column(held, resource)[slot] += value
            self._column(held, PODS)[slot] += 1

    def _column(self, held: Held, resource: str) -> NDArray[np.int64]:
        capacity = self._cache.columns.capacity
        column = held.get(resource)
        if column is None:
            column = held[resource] = np.zeros(capacity, dtype=np.int64)
        elif len(column) < capacity:
            column = held[resource] = grown(column, capacity, 0)
        return column
