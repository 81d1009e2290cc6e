"""What it costs to lay a backup down: by how much more has to be kept, resource by resource."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.constraints.protocol import Mask, Slots
from engine.healing.headroom import Headroom
from engine.healing.ledger import MEMORY, Backup, Ledger
from engine.healing.legality import Legality


class Costs:
    """Asks what lies where, what is free and what the rules say.

    Args:
        ledger: What lies where.
        headroom: What is free, and may be kept.
        legality: Where backups may be.
    """

    __slots__ = ("_headroom", "_ledger", "_legality")

    def __init__(self, ledger: Ledger, headroom: Headroom, legality: Legality) -> None:
        self._ledger = ledger
        self._headroom = headroom
        self._legality = legality

    @property
    def total(self) -> float:
        """What all that is kept costs: bytes of memory, with a little for cpu."""
        self._ledger.settle()
        return float(self._headroom.weights(self._ledger) @ self._ledger.kept.sum(axis=1))

    def best(
        self, backup: Backup, banned: Mask | None = None, noise: NDArray[np.float64] | None = None
    ) -> int | None:
        """Where a backup that lies nowhere costs least; None where it fits nowhere.

        Args:
            backup: The backup.
            banned: Slots that are not to be used.
            noise: What to multiply costs with.
        """
        found = self.of(backup)
        if found is None:
            return None
        slots, costs = found
        if banned is not None:
            allowed = ~banned[slots]
            slots, costs = slots[allowed], costs[allowed]
        if not len(slots):
            return None
        if noise is not None:
            costs = costs * noise[slots]
        return int(slots[np.argmin(costs)])

    def of(self, backup: Backup, legal: Mask | None = None) -> tuple[Slots, NDArray[np.float64]] | None:
        """The slots that a backup fits into, with what it costs there: by the byte, equals by fractions of one.

        Args:
            backup: It lies nowhere.
            legal: Where it may be; None for what the rules say, which look at no other pods.
        """
        ledger, headroom = self._ledger, self._headroom
        ledger.settle()
        need = ledger.load(backup.loss)
        need += backup.amount[:, None]
        allowed = self._legality.of(backup) if legal is None else legal
        slots = np.flatnonzero(allowed & (need <= headroom.free).all(axis=0))
        if not len(slots):
            return None
        growth = need[:, slots] - ledger.kept[:, slots]
        spare = -growth[MEMORY]
        np.maximum(growth, 0, out=growth)
        if headroom.limit is not None:
            within = growth[MEMORY] <= max(headroom.limit - float(ledger.kept[MEMORY].sum()), 0)
            slots, growth, spare = slots[within], growth[:, within], spare[within]
            if not len(slots):
                return None
        costs: NDArray[np.float64] = headroom.weights(ledger) @ growth
        # Of equals the tightest; where something new has to be kept, where most other pods could share it.
        popular = self._legality.popular
        costs += np.where(spare >= 0, spare / 2.0**45, 0.5 - popular[slots] / (4.0 + 2 * popular.max()))
        return slots, costs
