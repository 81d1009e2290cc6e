"""What happened in a simulation, in the order in which it did."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from engine.cluster.protocol import ClusterEvent, EventType
from engine.cluster.simulated.happenings import Happening

KEEPS: Final = "Keeps"
"""The reason by which a reserve is told of."""
_NAMED: Final = 6
"""Pods or nodes that are named where one sentence is true of many."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened.

    Attributes:
        time: Seconds since the start.
        regarding: The pod, node or reserve that is told of; "" where the scenario says that something happens.
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
        if not self.regarding or self.reason == KEEPS:
            return self.message
        return f"{self.regarding.removeprefix('default/')}: {self.reason}: {self.message}"

    def as_json(self) -> dict[str, object]:
        """As ``--format json --timeline`` writes it."""
        return {
            "time": round(self.time, 3),
            "regarding": self.regarding or None,
            "reason": self.reason or None,
            "message": self.message,
            "warning": self.warning,
        }


def timeline(
    start: float, happened: Iterable[Happening], events: Iterable[ClusterEvent], kept: Iterable[Entry] = ()
) -> list[Entry]:
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
    return sorted([*entries, *kept], key=lambda entry: entry.time)


def grouped(entries: Iterable[Entry]) -> list[Entry]:
    """The entries, with those that say the same of several at one time made into one, where its first stood."""
    found: dict[tuple[object, ...], list[Entry]] = {}
    for number, entry in enumerate(entries):
        alike = (round(entry.time, 3), entry.reason, entry.message) if entry.regarding else (number,)
        found.setdefault(alike, []).append(entry)
    return [replace(first, regarding=_names([first, *rest])) for first, *rest in found.values()]


def _names(entries: list[Entry]) -> str:
    names = [entry.regarding.removeprefix("default/") for entry in entries]
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
