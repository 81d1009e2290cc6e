"""Time as an argument: who needs the time takes a `Clock`, so that tests and the simulated cluster own it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def now(self) -> float:
        """Seconds since the epoch, wall clock; virtual time on the simulated cluster."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, for measuring durations."""
        ...


class SystemClock:
    """The machine's clocks, of which neither goes back.

    A wall clock that is set back would leave all that is due until it is there again: for an hour nothing would be
    healed, or tried again. So what is told runs on at half the speed until the wall clock has caught up. Ahead it goes
    with it at once.

    Args:
        wall: Seconds since the epoch.
        monotonic: Seconds that never go back.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._told = float("-inf")
        self._told_at = 0.0

    def now(self) -> float:
        """Seconds since the epoch; any thread may ask."""
        with self._lock:
            at = self._monotonic()
            slow = self._told + (at - self._told_at) / 2
            self._told, self._told_at = max(self._wall(), slow), at
            return self._told

    def monotonic(self) -> float:
        """Seconds of the monotonic clock."""
        return self._monotonic()


def utc(seconds: float) -> datetime:
    """The moment as an aware datetime, as the API's timestamps want it."""
    return datetime.fromtimestamp(seconds, UTC)
