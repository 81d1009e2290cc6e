"""Full garbage collections wait until nothing else is to be done.

Python looks through all that it has for cycles from time to time: some 350 ms where 10,000 nodes and 15,000 pods are
known, amid a decision. Nearly all of that lives on, so what was there when we came into step is left out of it, and the
rest is looked through while no pod waits. Small, frequent collections of what is young go on as ever.
"""

from __future__ import annotations

import gc
from typing import Final

from engine.clock import Clock

_NEVER: Final = 1_000_000_000
_WORTH_IT: Final = 20
"""Collections of the middle generation since the last full one; each is about 7,000 objects that were not let go."""
_AT_LATEST: Final = 300
"""The same where there is never time for it: some 2,000,000 objects."""
_EVERY_SECONDS: Final = 10.0
_TOO_LONG: Final = 0.02
"""Seconds that a full collection may take before what it went through is left out of the next ones."""


class FullCollections:
    """When to look through everything. Affects the whole process, between `begin` and `end`.

    Args:
        clock: For how long it takes, and how often.
    """

    __slots__ = ("_anew", "_before", "_clock", "_next")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._before: tuple[int, int, int] | None = None
        self._next = float("-inf")
        self._anew = False

    def begin(self) -> None:
        """From now on full collections are made here only."""
        self._before = gc.get_threshold()
        gc.set_threshold(*self._before[:2], _NEVER)
        gc.freeze()

    def discarded(self) -> None:
        """Something large is no longer used: what was left out so far is looked through again."""
        self._anew = True

    def pause(self, idle: bool) -> None:
        """There is a moment between two passes.

        Args:
            idle: Whether nothing is to be done.
        """
        if self._before is None or gc.get_count()[2] < (_WORTH_IT if idle else _AT_LATEST):
            return
        now = self._clock.monotonic()
        if now < self._next:
            return
        anew, self._anew = self._anew and idle, self._anew and not idle
        if anew:
            gc.unfreeze()
        gc.collect()
        ended = self._clock.monotonic()
        if anew or ended - now > _TOO_LONG:
            gc.freeze()
        self._next = ended + _EVERY_SECONDS

    def end(self) -> None:
        """Leave it to Python again."""
        if self._before is not None:
            gc.set_threshold(*self._before)
            gc.unfreeze()
            self._before = None
