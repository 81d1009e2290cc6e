"""Keeps true what the conditions of waiting pods say, while there is nothing else to do.

A pod that no node takes is asked about again only when something happens that could help it. Its message says how
things were then: nodes have come since that refuse it as well, or refuse it for another reason. So those that wait are
gone through in turn, a few a second. What differs is written into the condition; no event is sent, as nothing happened.

The stock scheduler does without: there a message is as old as the last try, five minutes at most.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from engine.model.objects import PodKey
from engine.placement import Decision
from engine.scheduler.metrics import Metrics
from engine.scheduler.queue import SchedulingQueue
from engine.scheduler.telling import Telling
from engine.state.cache import Cache
from engine.state.pods import Phase, PlacedPod

log = logging.getLogger(__name__)

ROUND_SECONDS: Final = 30.0
"""From the beginning of one round to that of the next, at least."""
EVERY_SECONDS: Final = 1.0
AT_ONCE: Final = 4
"""So many pods are asked about together: with a thousand that wait, a round takes about four minutes."""


class Renewal:
    """Goes round among the pods that wait.

    Args:
        queue: They.
        cache: What is known of them.
        place: Where a pod would go now, having waited so many milliseconds; None where it is not to be asked about.
        telling: Sets conditions.
        metrics: Counts faults of ours.
    """

    def __init__(
        self,
        queue: SchedulingQueue,
        cache: Cache,
        place: Callable[[PlacedPod, float, float], Decision | None],
        telling: Telling,
        metrics: Metrics,
    ) -> None:
        self._queue = queue
        self._cache = cache
        self._place = place
        self._telling = telling
        self._metrics = metrics
        self._left: deque[PodKey] = deque()
        self._next_round = float("-inf")
        self._next = float("-inf")

    def go_on(self, now: float) -> int:
        """Ask about the next few, where it is time to and nobody is to be placed. Returns how many were asked about."""
        if now < self._next or self._queue.active:
            return 0
        self._next = now + EVERY_SECONDS
        if not self._left:
            if now < self._next_round:
                return 0
            self._next_round = now + ROUND_SECONDS
            # Who was tried since the last round began has a message of that time, and is asked about all the same.
            self._left.extend(self._queue.unschedulable())
        asked = 0
        while self._left and asked < AT_ONCE:
            key = self._left.popleft()
            try:
                asked += self._renew(key, now)
            except Exception:  # it is tried in earnest, which tells of the fault if it is still there
                self._metrics.erred()
                log.exception(
                    "renewing what is said of pod %s failed unexpectedly", key, extra={"pod": str(key)}
                )
                self._queue.retry(key, now)
        return asked

    def _renew(self, key: PodKey, now: float) -> bool:
        queued, placed = self._queue.resting(key), self._cache.pod(key)
        if queued is None or placed is None or placed.phase is not Phase.QUEUED:
            return False
        since = now if queued.waiting_since is None else queued.waiting_since
        decision = self._place(placed, now, max(0.0, now - since) * 1000)
        self._queue.only_supposed()
        if decision is None:
            return False
        room = decision.preemption
        if decision.node is not None or (room is not None and room.node is not None):
            self._queue.retry(key, now)  # which the event that made it so should have seen to
        else:
            self._telling.still_unschedulable(placed.pod, decision.message(), since)
        return True
