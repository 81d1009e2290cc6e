"""What is due when: a queue of actions in virtual time, ties in the order in which they were put there."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

from engine.cluster.simulated.clock import VirtualClock

Action = Callable[[], None]

_RUNAWAY: Final = 5_000_000
"""Actions at one instant after which something must be feeding itself."""


class Appointment:
    """An action that is due at a time, until it is cancelled."""

    __slots__ = ("action", "time")

    def __init__(self, time: float, action: Action) -> None:
        self.time = time
        self.action: Action | None = action

    def cancel(self) -> None:
        """Take it off the agenda; nothing happens if it is past."""
        self.action = None


class Agenda:
    """Actions by their time.

    Args:
        clock: Advanced to each action's time before the action runs.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Appointment]] = []
        self._count = 0

    @property
    def now(self) -> float:
        """The clock's time."""
        return self._clock.now()

    def at(self, time: float, action: Action) -> Appointment:
        """Run the action at a time, in seconds since the epoch; at once where that is past."""
        appointment = Appointment(max(time, self._clock.now()), action)
        heapq.heappush(self._heap, (appointment.time, self._count, appointment))
        self._count += 1
        return appointment

    def after(self, seconds: float, action: Action) -> Appointment:
        """Run the action when the seconds have passed."""
        return self.at(self._clock.now() + seconds, action)

    def soon(self, action: Action) -> Appointment:
        """Run the action now, after everything else that is due now."""
        return self.at(self._clock.now(), action)

    def next_time(self) -> float | None:
        """When the next action is due, None where nothing is."""
        heap = self._heap
        while heap and heap[0][2].action is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def run_until(self, time: float) -> None:
        """Run everything that is due until then, also what these actions add, and leave the clock there.

        Raises:
            ValueError: The time has passed.
            RuntimeError: Actions keep adding others at one instant.
        """
        instant, ran = self._clock.now(), 0
        while (due := self.next_time()) is not None and due <= time:
            appointment = heapq.heappop(self._heap)[2]
            action = appointment.action
            assert action is not None  # INVARIANT: next_time has just taken the cancelled ones off
            appointment.action = None
            self._clock.advance_to(due)
            instant, ran = (due, 0) if due > instant else (instant, ran + 1)
            if ran > _RUNAWAY:
                raise RuntimeError(f"{ran} actions at one instant: the simulation feeds itself")
            action()
        self._clock.advance_to(time)
