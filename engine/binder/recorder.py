"""Writes what is read by people and controllers, Events and pod conditions, without standing in the bindings' way.

A burst of pods is bound first; what is to be said about them waits in a bounded queue and goes out behind. The same
Event about the same pod is not sent again for some minutes: the stock scheduler counts repeats in the Event's series,
which costs a write each time; the pod's first Event and one every few minutes say as much.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tenacity.wait import wait_base, wait_random_exponential

from engine.clock import Clock, SystemClock
from engine.cluster.backoff import request_retrying
from engine.cluster.errors import ClusterError
from engine.cluster.protocol import Cluster, ClusterEvent
from engine.model.objects import Condition, PodKey

log = logging.getLogger(__name__)

CAPACITY = 50_000
ATTEMPTS = 5
REPEAT_SECONDS = 300.0
REMEMBERED = 20_000
PATIENCE_SECONDS = 10.0
LOG_SECONDS = 10.0
IDLE_SECONDS = 0.1
PAUSE_SECONDS = 0.02
STOP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ConditionChange:
    """A condition to set in a pod's status."""

    pod: PodKey
    condition: Condition


Write = ClusterEvent | ConditionChange


class Recorder(Protocol):
    """Takes what is to be written; never raises for what a cluster answers."""

    def event(self, event: ClusterEvent) -> None:
        """Send an Event, unless the same was sent a short while ago."""
        ...

    def condition(self, pod: PodKey, condition: Condition) -> None:
        """Set a condition in the pod's status, unless that is what was last set."""
        ...

    def stop(self, timeout: float = STOP_SECONDS) -> int:
        """Send what waits within ``timeout`` seconds; how many writes were lost in all."""
        ...


class Repeats:
    """Knows what was written lately, so that repeats cost nothing. Bounded: the oldest is forgotten first.

    Args:
        seconds: After how long an equal Event is sent again.
        capacity: How many subjects are remembered.
    """

    def __init__(self, seconds: float = REPEAT_SECONDS, capacity: int = REMEMBERED) -> None:
        self._seconds = seconds
        self._capacity = capacity
        self._last: dict[object, object] = {}

    def is_repeat(self, write: Write) -> bool:
        """Whether this need not be written; if not, it counts as written from now on."""
        key: object
        value: object
        if isinstance(write, ClusterEvent):
            key = (write.regarding, write.reason, write.message)
            when = write.time.timestamp()
            before = self._last.get(key)
            if isinstance(before, float) and 0 <= when - before < self._seconds:
                return True
            value = when
        else:
            key = (write.pod.uid, write.condition.type)
            value = (write.condition.status, write.condition.reason, write.condition.message)
            if self._last.get(key) == value:
                return True
        self._last.pop(key, None)  # so that it moves to the end
        self._last[key] = value
        if len(self._last) > self._capacity:
            del self._last[next(iter(self._last))]
        return False

    def forget(self, write: Write) -> None:
        """It was not written after all."""
        if isinstance(write, ClusterEvent):
            self._last.pop((write.regarding, write.reason, write.message), None)
        else:
            self._last.pop((write.pod.uid, write.condition.type), None)


def _send(cluster: Cluster, write: Write) -> None:
    if isinstance(write, ClusterEvent):
        cluster.post_event(write)
    else:
        cluster.patch_pod_condition(write.pod, write.condition)


def _describe(write: Write) -> str:
    if isinstance(write, ClusterEvent):
        return f"event {write.reason} about {write.regarding}"
    return f"condition {write.condition.type} of {write.pod}"


class ImmediateRecorder:
    """Writes at once, for the simulated cluster. What is refused is counted and logged."""

    def __init__(self, cluster: Cluster, repeats: Repeats | None = None) -> None:
        self._cluster = cluster
        self._repeats = repeats or Repeats()
        self.lost = 0

    def event(self, event: ClusterEvent) -> None:
        """Send it."""
        self._write(event)

    def condition(self, pod: PodKey, condition: Condition) -> None:
        """Set it."""
        self._write(ConditionChange(pod, condition))

    def stop(self, timeout: float = STOP_SECONDS) -> int:  # noqa: ARG002  (the protocol's)
        """Nothing waits; how many writes were refused."""
        return self.lost

    def _write(self, write: Write) -> None:
        if self._repeats.is_repeat(write):
            return
        try:
            _send(self._cluster, write)
        except ClusterError as error:
            self.lost += 1
            self._repeats.forget(write)
            log.warning("%s: %s", _describe(write), error)


class EventRecorder:
    """Writes from threads of its own, when nothing is being bound.

    Args:
        cluster: Where.
        capacity: Writes that may wait; beyond, the newest is lost, which is counted and logged.
        wait_idle: Waits at most that many seconds until nothing is being bound and says whether that is so:
            `BindingExecutor.wait_idle`, or better one that knows of the pods that are yet to be decided too.
        patience: Seconds after which a write goes out although bindings never pause. So does everything while the
            queue is more than half full.
        senders: Threads, each with its connection.
        attempts: Tries for each write.
        repeats: What is not written again.
        sleep: Between tries; the default wakes up on `stop`.
        clock: For the patience and for stopping.
        wait: Between tries where the server doesn't say.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        capacity: int = CAPACITY,
        wait_idle: Callable[[float], bool] | None = None,
        patience: float = PATIENCE_SECONDS,
        senders: int = 2,
        attempts: int = ATTEMPTS,
        repeats: Repeats | None = None,
        sleep: Callable[[float], None] | None = None,
        clock: Clock | None = None,
        wait: wait_base | None = None,
    ) -> None:
        self._cluster = cluster
        self._capacity = capacity
        self._wait_idle = wait_idle
        self._patience = patience
        self._repeats = repeats or Repeats()
        self._clock = clock or SystemClock()
        self._condition = threading.Condition()
        self._queue: deque[tuple[float, Write]] = deque()
        self._under_way = 0
        self._stopping = False
        self._hurry = threading.Event()  # no more waiting for pauses of the bindings
        self._abandon = threading.Event()  # the time for draining is over
        self._lost = 0
        self._unlogged = 0
        self._log_after = float("-inf")
        patient = wait or wait_random_exponential(multiplier=0.2, max=10)
        self._retrying = request_retrying(self._abandon, attempts=attempts, wait=patient, sleep=sleep)
        self._threads = [
            threading.Thread(target=self._work, name=f"recorder-{number}", daemon=True)
            for number in range(senders)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def lost(self) -> int:
        """How many writes were lost: the queue was full, the server refused them, or the time ran out."""
        return self._lost

    @property
    def pending(self) -> int:
        """How many writes wait or are under way."""
        return len(self._queue) + self._under_way

    def event(self, event: ClusterEvent) -> None:
        """Send an Event behind the bindings."""
        self._put(event)

    def condition(self, pod: PodKey, condition: Condition) -> None:
        """Set a condition behind the bindings."""
        self._put(ConditionChange(pod, condition))

    def drain(self, timeout: float) -> bool:
        """Wait until everything is written; whether it is within ``timeout`` seconds."""
        with self._condition:
            return self._condition.wait_for(lambda: not self._queue and not self._under_way, timeout)

    def stop(self, timeout: float = STOP_SECONDS) -> int:
        """Send what waits within ``timeout`` seconds, no longer waiting for pauses of the bindings.

        Returns:
            How many writes were lost in all.
        """
        deadline = time.monotonic() + timeout
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        self._hurry.set()
        self.drain(timeout)
        self._abandon.set()
        with self._condition:
            left = len(self._queue)
            self._lose(left)
            self._queue.clear()
            self._condition.notify_all()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._lost:
            log.warning(
                "%d events and conditions were not written, %d of them for want of time", self._lost, left
            )
        return self._lost

    def _put(self, write: Write) -> None:
        with self._condition:
            if self._repeats.is_repeat(write):
                return
            if self._stopping or len(self._queue) >= self._capacity:
                self._repeats.forget(write)
                self._lose(
                    1, f"the queue of {self._capacity} is full" if not self._stopping else "shutting down"
                )
                return
            self._queue.append((self._clock.monotonic(), write))
            self._condition.notify()

    def _lose(self, count: int, why: str = "") -> None:
        """Count losses; say so, but not for each of thousands."""
        self._lost += count
        self._unlogged += count
        now = self._clock.monotonic()
        if why and now >= self._log_after:
            log.warning("%d events or conditions lost: %s", self._unlogged, why)
            self._unlogged = 0
            self._log_after = now + LOG_SECONDS

    def _work(self) -> None:
        while (write := self._next()) is not None:
            try:
                self._retrying(_send, self._cluster, write)
            except ClusterError as error:
                with self._condition:
                    self._repeats.forget(write)
                    self._lose(1, f"{_describe(write)}: {error}")
            except Exception as error:  # a fault of ours must not end the thread
                log.exception("%s failed unexpectedly", _describe(write))
                with self._condition:
                    self._lose(1, repr(error))
            finally:
                with self._condition:
                    self._under_way -= 1
                    if not self._queue and not self._under_way:
                        self._condition.notify_all()

    def _next(self) -> Write | None:
        """The next write, when its turn has come; None at the end."""
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._queue or self._stopping)
                if not self._queue:
                    return None
                if self._is_due():
                    self._under_way += 1
                    return self._queue.popleft()[1]
            if self._wait_idle is None or self._wait_idle(IDLE_SECONDS):
                with self._condition:
                    if self._queue:
                        self._under_way += 1
                        return self._queue.popleft()[1]
            else:
                # It may have said so at once; asking on and on would take the very time that bindings need.
                self._hurry.wait(PAUSE_SECONDS)

    def _is_due(self) -> bool:
        """Whether the oldest must go out even if bindings wait."""
        waited = self._clock.monotonic() - self._queue[0][0]
        return self._stopping or waited >= self._patience or len(self._queue) * 2 > self._capacity
