"""The watch history of one kind: a window of the latest events, by version."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from engine.cluster.protocol import Change, Object, WatchEvent
from engine.cluster.simulated.refusals import expired


class History:
    """The latest events of one kind.

    Positions count every event that there ever was, so that a reader's position outlives the trimming.

    Args:
        limit: How many events are kept.
    """

    __slots__ = ("_dropped", "_events", "_floor", "_limit", "_versions")

    def __init__(self, limit: int) -> None:
        self._limit = max(1, limit)
        self._events: list[WatchEvent] = []
        self._versions: list[int] = []
        self._dropped = 0
        self._floor = 0
        """The newest version of which the event is gone: watches must start there or later."""

    def append(self, change: Change, item: Object, version: int) -> None:
        """Record an event; versions only grow."""
        self._events.append(WatchEvent(change, item, item.metadata.resource_version))
        self._versions.append(version)
        excess = len(self._events) - self._limit
        if excess > 0:
            self._floor = self._versions[excess - 1]
            if excess > self._limit:  # Trimming in large steps keeps an append cheap.
                del self._events[:excess], self._versions[:excess]
                self._dropped += excess

    def compact(self, version: int) -> None:
        """Forget the events up to a version, as etcd's compaction does."""
        count = bisect_right(self._versions, version)
        del self._events[:count], self._versions[:count]
        self._dropped += count
        self._floor = max(self._floor, version)

    def seek(self, version: int) -> int:
        """The position of the first event after the version.

        Raises:
            Expired: Events after it are gone.
        """
        if version < self._floor:
            raise expired(version, self._floor)
        return self._dropped + bisect_right(self._versions, version)

    def read(self, position: int) -> Iterator[WatchEvent]:
        """The events from a position to the newest, also those that come while reading.

        Raises:
            Expired: The reader was overtaken by the window's end.
        """
        while True:
            index = position - self._dropped
            if index < max(0, len(self._events) - self._limit):
                raise expired(self._floor - 1, self._floor)
            if index >= len(self._events):
                return
            yield self._events[index]
            position += 1
