"""What happened in a simulation, in the order in which it did."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engine.cluster.protocol import ClusterEvent, EventType
from engine.cluster.simulated.happenings import Happening


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened.

    Attributes:
        time: Seconds since the start.
        regarding: The pod or node that was told of; "" where the scenario says that something happens.
        reason: The event's, in one word; "" for what the scenario says.
        message: A sentence.
        warning: Whether the event is one.
    """

    time: float
    regarding: str
    reason: str
    message: str
    warning: bool = False

    def text(self) -> str:
        """In one line."""
        return f"{self.regarding}: {self.reason}: {self.message}" if self.regarding else self.message

    def as_json(self) -> dict[str, object]:
        """As ``--format json --timeline`` writes it."""
        return {
            "time": round(self.time, 3),
            "regarding": self.regarding or None,
            "reason": self.reason or None,
            "message": self.message,
            "warning": self.warning,
        }


def timeline(start: float, happened: Iterable[Happening], events: Iterable[ClusterEvent]) -> list[Entry]:
    """All of it, by time; what the scenario makes happen comes before what follows from it."""
    entries = [Entry(happening.at, "", "", str(happening.action)) for happening in happened]
    entries += [
        Entry(
            event.time.timestamp() - start,
            str(event.regarding),
            event.reason,
            event.message,
            event.type is EventType.WARNING,
        )
        for event in events
    ]
    return sorted(entries, key=lambda entry: entry.time)
