"""Time as an argument: who needs the time takes a `Clock`, so that tests and the simulated cluster own it."""

from __future__ import annotations

import time
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
    """The machine's clocks."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds of the monotonic clock."""
        return time.monotonic()


def utc(seconds: float) -> datetime:
    """The moment as an aware datetime, as the API's timestamps want it."""
    return datetime.fromtimestamp(seconds, UTC)
