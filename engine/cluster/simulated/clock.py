"""Time that passes only when told to."""

from __future__ import annotations

from typing import Final

DEFAULT_START: Final = 1_767_225_600.0
"""2026-01-01T00:00:00Z: where simulations start unless told otherwise, so that runs repeat to the letter."""


class VirtualClock:
    """An `engine.clock.Clock` whose owner moves it.

    Args:
        start: Seconds since the epoch at which the simulation starts.
    """

    __slots__ = ("_now", "start")

    def __init__(self, start: float = DEFAULT_START) -> None:
        self.start: Final = start
        self._now = start

    def now(self) -> float:
        """Virtual seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """Virtual seconds since the start."""
        return self._now - self.start

    def advance_to(self, time: float) -> None:
        """Move to a moment, in seconds since the epoch.

        Raises:
            ValueError: The moment has passed.
        """
        if time < self._now:
            raise ValueError(f"time does not go back: {time} is {self._now - time} s before now")
        self._now = time
