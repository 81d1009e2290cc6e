"""What is free on each node for what is kept, and how much may be kept in all."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.healing.ledger import Ledger, Table
from engine.healing.rules import asked
from engine.state.columns import Columns
from engine.state.pods import PlacedPod

_CPU_WEIGHT: Final = 0.01
"""What a share of all cpu counts beside the same share of all memory: only so much that needless cpu is not kept."""


class Headroom:
    """Follows the columns; a look at it costs what changed since the last one.

    Args:
        columns: The nodes.
        at_most: The most that may be kept, as a share of the memory that is requested; None for no limit.
        placeholders: The pods that hold what is kept at the moment: their room counts as free.

    Attributes:
        free: By the rows of a ledger; below zero where pods were put onto a node that they do not fit.
        limit: Bytes of memory that may be kept, None for no limit.
    """

    __slots__ = ("_columns", "_seen", "_weights", "at_most", "free", "limit", "placeholders")

    def __init__(self, columns: Columns, at_most: float | None, placeholders: Collection[PlacedPod]) -> None:
        self._columns = columns
        self._seen = (-1, -1)
        self._weights: NDArray[np.float64] = np.zeros(0)
        self.at_most = at_most
        self.placeholders = set(placeholders)
        self.free: Table = np.zeros((0, 0), dtype=np.int64)
        self.limit: float | None = None

    def requested(self) -> int:
        """Bytes of memory that pods on nodes ask for, placeholders aside."""
        used = self._columns.used["memory"][self._columns.alive]
        holding = (one.requests.get("memory", 0) for one in self.placeholders if one.slot >= 0)
        return int(used.sum()) - sum(holding)

    def weights(self, ledger: Ledger) -> NDArray[np.float64]:
        """What a unit of each of the ledger's resources costs, a byte of memory costing 1."""
        if len(self._weights) != len(ledger.resources):
            allocatable = self._columns.allocatable
            memory, cpu = (max(int(allocatable[one].sum()), 1) for one in ("memory", "cpu"))
            self._weights = np.zeros(len(ledger.resources))
            self._weights[:2] = 1.0, _CPU_WEIGHT * memory / cpu
        return self._weights

    def refresh(self, ledger: Ledger, anew: bool = False) -> None:
        """Bring it up to now; ``anew`` where the placeholders or the ledger's rows changed."""
        columns = self._columns
        nodes_seen, usage_seen = self._seen
        touched: set[int] | None = None
        if not anew and usage_seen >= 0:
            nodes = columns.node_changes.since(nodes_seen)
            used = columns.usage_changes.since(usage_seen)
            touched = None if nodes is None or used is None else {*nodes, *used}
        self._seen = (columns.node_changes.version, columns.usage_changes.version)
        if touched is None or self.free.shape != ledger.kept.shape:
            self.free = np.zeros_like(ledger.kept)
            where = np.arange(columns.capacity)
        elif touched:
            where = np.array(sorted(touched), dtype=np.int64)
        else:
            return
        for row, resource in enumerate(ledger.resources):
            allocatable = columns.resource(columns.allocatable, resource)
            self.free[row, where] = allocatable[where] - columns.resource(columns.used, resource)[where]
        self.free[:, where] *= columns.alive[where]
        if self.placeholders:
            changed = set(where.tolist())
            for one in self.placeholders:
                if one.slot in changed:
                    self.free[:, one.slot] += ledger.amount(asked(one))
        if self.at_most is not None:
            self.limit = self.at_most * self.requested()
