"""Makes a reserve smaller: take some backups up, lay them down again, keep what is better.

Source: ruin and recreate (Schrimpf and others 2000; a large neighbourhood search, Shaw 1998) under simulated annealing:
what is a little worse may be kept at first, less and less so, and in the end the best is. What is taken up are all
backups of a node, which must do without it then; or all those, wherever they lie, of the losses for which most is kept
on a node, since a reserve is only as small as its worst losses; or those of a few losses or nodes at random.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.constraints.protocol import Mask
from engine.healing.ledger import MEMORY, Backup
from engine.healing.reserve import Reserve

_AT_ONCE: Final = 60
"""Backups that are taken up at once."""
_WARMTH: Final = 0.015
"""How much worse may be accepted at first, as a share of the cost; it cools down to nothing."""


@dataclass(frozen=True, slots=True)
class Improvement:
    """What came of it, and is in force.

    Attributes:
        before: Bytes that were kept.
        after: Bytes that are kept now.
        moved: How many backups lie elsewhere than before. No pod moves for that.
        tries: How often something else was tried.
    """

    before: int
    after: int
    moved: int
    tries: int


def improve(reserve: Reserve, tries: int, moves: int, random: Random) -> Improvement:
    """Try so many times to keep less. The reserve has the result.

    Args:
        reserve: What to make smaller; must be up to the moment.
        tries: The bound of work.
        moves: How many backups may lie elsewhere in the end.
        random: Where choices come from; the same gives the same.
    """
    return _Improving(reserve, moves, random).run(tries)


class _Improving:
    def __init__(self, reserve: Reserve, moves: int, random: Random) -> None:
        self._reserve = reserve
        self._ledger = reserve.ledger
        self._costs = reserve.costs
        self._moves = moves
        self._random = random
        self._noise = np.random.default_rng(random.getrandbits(64))
        self._first = {backup: backup.slot for backup in reserve.loose()}
        self._on: dict[int, dict[Backup, None]] = {}
        for backup, slot in self._first.items():
            self._on.setdefault(slot, {})[backup] = None
        self._moved: set[Backup] = set()

    def run(self, tries: int) -> Improvement:
        before = self._reserve.kept_memory
        cost = best = self._costs.total
        places = self._places()
        for turn in range(tries if self._on else 0):
            warmth = _WARMTH * best * (1 - turn / tries) ** 2
            cost = self._try(cost, warmth)
            if cost < best - 1e-6:
                best, places = cost, self._places()
        self._restore(places)
        return Improvement(before, self._reserve.kept_memory, len(self._moved), tries)

    def _places(self) -> dict[Backup, int]:
        return {backup: backup.slot for backup in self._first}

    def _restore(self, places: dict[Backup, int]) -> None:
        for backup, slot in places.items():
            if backup.slot != slot:
                self._ledger.take(backup)
                self._ledger.put(backup, slot)
        self._moved = {backup for backup, slot in places.items() if slot != self._first[backup]}
        self._ledger.settle()

    def _try(self, cost: float, warmth: float) -> float:
        taken, banned = self._choose()
        if not taken:
            return cost
        old = {backup: self._ledger.take(backup) for backup in taken}
        noise = None
        if self._random.random() < 0.5:
            noise = self._noise.uniform(0.8, 1.2, self._ledger.capacity)
        sizes = {backup: backup.asked.get("memory", 0) * self._random.uniform(0.7, 1.0) for backup in taken}
        laid = self._lay(sorted(taken, key=lambda one: -sizes[one]), banned, noise)
        if laid:
            new = self._costs.total
            moved = self._moved - old.keys() | {one for one in taken if one.slot != self._first[one]}
            worse = new - cost
            if (worse <= 1e-6 or (warmth > 0 and self._random.random() < exp(-worse / warmth))) and len(
                moved
            ) <= self._moves:
                self._moved = moved
                for backup, slot in old.items():
                    del self._on[slot][backup]
                    self._on.setdefault(backup.slot, {})[backup] = None
                return new
        for backup in taken:
            if backup.slot >= 0:
                self._ledger.take(backup)
        for backup, slot in old.items():
            self._ledger.put(backup, slot)
        self._ledger.settle()
        return cost

    def _lay(self, backups: list[Backup], banned: Mask | None, noise: NDArray[np.float64] | None) -> bool:
        for backup in backups:
            slot = self._costs.best(backup, banned, noise)
            if slot is None:
                return False
            self._ledger.put(backup, slot)
        return True

    def _choose(self) -> tuple[list[Backup], Mask | None]:
        """What to take up, and where it must not go back to."""
        self._ledger.settle()
        kept = self._ledger.kept[MEMORY]
        slots = [slot for slot, backups in self._on.items() if backups]
        if not slots:
            return [], None
        slot = self._random.choices(slots, [float(kept[one]) + 1.0 for one in slots])[0]
        way = self._random.random()
        banned: Mask | None = None
        if way < 0.1:
            taken = list(self._on[slot])
            banned = self._ban(slot)
        elif way < 0.2:
            losses = self._ledger.peaks(slot)
            taken = [backup for backup in self._on[slot] if backup.loss in losses]
            banned = self._ban(slot)
        elif way < 0.35:
            losses = {
                self._random.choice(list(self._on[slot])).loss for _ in range(self._random.randint(1, 3))
            }
            taken = [backup for backup in self._first if backup.loss in losses]
        elif way < 0.9:
            losses = self._ledger.peaks(slot)
            taken = [backup for backup in self._first if backup.loss in losses]
            banned = self._ban(slot) if self._random.random() < 0.5 else None
        else:
            taken = list(self._on[slot])
            other = self._random.choice(slots)
            if other != slot:
                taken += self._on[other]
        if len(taken) > _AT_ONCE:
            taken = self._random.sample(taken, _AT_ONCE)
        return taken, banned

    def _ban(self, slot: int) -> Mask:
        banned: Mask = np.zeros(self._ledger.capacity, dtype=np.bool_)
        banned[slot] = True
        return banned
