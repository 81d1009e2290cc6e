"""What pods that come and go mean for those that wait: which node has more room now, and for whom."""

from __future__ import annotations

import functools

from engine.scheduler.queue import SchedulingQueue
from engine.scheduler.waiters import Free
from engine.state.cache import Cache
from engine.state.pods import PlacedPod


class Movements:
    """Tells the queue of what moved.

    Args:
        cache: Where the pods are.
        queue: Who waits.
        preempts: Whether pods of lower priority can be taken away, so that what they hold is as good as free.
    """

    def __init__(self, cache: Cache, queue: SchedulingQueue, preempts: bool) -> None:
        self._cache = cache
        self._queue = queue
        self._preempts = preempts
        self._promises_seen = cache.nominations.dropped.version

    def node_changed(self, slot: int, now: float) -> None:
        """A node is not what it was."""
        self._queue.node_changed(slot, self._free(slot), now)

    def moved(self, left: int, came: int, now: float) -> None:
        """A pod left a slot, or came to one (-1 for none), or is not what it was there."""
        if left < 0 and came < 0:
            return
        self._queue.pods_moved(now)
        if left >= 0:
            self._queue.freed(left, self._free(left), now)
        if came >= 0:
            self._queue.filled(came, now)

    def unpromised(self, now: float) -> None:
        """Promises that were taken back, or kept elsewhere, leave room."""
        changes = self._cache.nominations.dropped
        if changes.version == self._promises_seen:
            return
        slots = changes.since(self._promises_seen)
        self._promises_seen = changes.version
        for slot in range(self._cache.columns.size) if slots is None else slots:
            if self._cache.columns.alive[slot]:
                self._queue.freed(slot, self._free(slot), now)

    def _free(self, slot: int) -> Free:
        """What a node has free for pods of a priority, with what lower ones hold where those could be taken away.

        Mostly nobody waits, so nothing is looked up before somebody asks.
        """

        @functools.cache
        def there() -> tuple[int, int, list[PlacedPod]]:
            columns = self._cache.columns
            cpu, memory = (columns.allocatable_pair[:, slot] - columns.used_pair[:, slot]).tolist()
            return cpu, memory, list(self._cache.pods_on(columns.names[slot])) if self._preempts else []

        def free(priority: int) -> tuple[int, int]:
            cpu, memory, pods = there()
            lower = [one.requests for one in pods if one.shape.priority < priority]
            return (
                cpu + sum(requests.get("cpu", 0) for requests in lower),
                memory + sum(requests.get("memory", 0) for requests in lower),
            )

        return free
