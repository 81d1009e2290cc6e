"""The pods that wait for a node.

::

             ┌────────── woken, or its time has come ───────────┐
             ▼                                                  │
    add ──▶ active ──pop──▶ (being placed) ──no node──▶ unschedulable
             ▲                                                  │ woken before its backoff is over
             └──────────── backoff is over ◀── backing off ◀────┘

Active pods come out by priority, then by the time they were first queued. A pod that failed waits 1 s, doubling to
10 s, before it is tried again, and only after something happened that could help it, or its own time came: a fallback
that opens, or the regular second look every five minutes.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from engine.constraints.protocol import Depends
from engine.model.objects import PodKey

FLUSH_SECONDS: Final = 300.0
"""However little happens, every pod is looked at again after this long."""


@dataclass(slots=True, eq=False)
class QueuedPod:
    """A pod in the queue, or being placed.

    Attributes:
        queued: When it was first queued, seconds since the epoch.
        attempts: How often it was tried.
        waiting_since: Since when it has been found unschedulable, None while it has not.
        helped_by: Which changes could help it.
        ready_at: Before this it is not tried again.
        due_at: At this time it is tried again whatever happens.
        promised: How often it was tried at once, for others had made room for it.
        timed: Whether a fallback opens then, and it is not just the regular second look.
    """

    key: PodKey
    priority: int
    queued: float
    attempts: int = 0
    waiting_since: float | None = None
    helped_by: Depends = Depends(0)  # noqa: RUF009  (flags are immutable)
    ready_at: float = 0.0
    due_at: float = 0.0
    promised: int = 0
    timed: bool = False
    where: str = field(default="", repr=False)
    ticket: int = field(default=0, repr=False)


class SchedulingQueue:
    """Which pod is next. Not thread-safe: the scheduler's thread owns it.

    Args:
        initial: Seconds that a pod waits after its first failure.
        maximum: The most that doubling leads to.
    """

    def __init__(self, initial: float = 1.0, maximum: float = 10.0) -> None:
        self._initial = initial
        self._maximum = maximum
        self._pods: dict[PodKey, QueuedPod] = {}
        self._tickets = count(1)
        self._active: list[tuple[int, float, int, QueuedPod]] = []
        self._waiting: list[tuple[float, int, QueuedPod]] = []
        self._unschedulable: dict[PodKey, QueuedPod] = {}

    def __contains__(self, key: PodKey) -> bool:
        return key in self._pods

    def __len__(self) -> int:
        """How many pods wait, in whatever part."""
        return len(self._pods)

    @property
    def active(self) -> bool:
        """Whether a pod can be popped. May be true for one that was removed since; `pop` tells."""
        return bool(self._active)

    @property
    def restless(self) -> bool:
        """Whether a pod is to be tried, or will be when its time comes, even if nothing happens before.

        The regular second look does not count: it is against our own mistakes, and changes nothing by itself.
        """
        return any(pod.where != "unschedulable" or pod.timed for pod in self._pods.values())

    def pods(self) -> list[QueuedPod]:
        """All of them, in no order."""
        return list(self._pods.values())

    def counts(self) -> dict[str, int]:
        """How many pods are in each part: active, backoff, unschedulable."""
        counts = {"active": 0, "backoff": 0, "unschedulable": 0}
        for pod in self._pods.values():
            counts[pod.where] += 1
        return counts

    def add(self, key: PodKey, priority: int, now: float, waiting_since: float | None = None) -> None:
        """Queue a pod that was seen for the first time; nothing happens where it is queued already."""
        if key not in self._pods:
            pod = QueuedPod(key, priority, now, waiting_since=waiting_since)
            self._pods[key] = pod
            self._activate(pod)

    def remove(self, key: PodKey) -> None:
        """Forget a pod: it is bound, deleted, or no longer ours."""
        pod = self._pods.pop(key, None)
        if pod is not None:
            self._leave(pod)

    def pop(self) -> QueuedPod | None:
        """Take the next active pod out, None where there is none. Put it back with `failed`, or it is gone."""
        while self._active:
            *_, ticket, pod = heapq.heappop(self._active)
            if pod.ticket == ticket and pod.where == "active":
                del self._pods[pod.key]
                pod.where = ""
                pod.attempts += 1
                return pod
        return None

    def failed(self, pod: QueuedPod, now: float, helped_by: Depends, retry_at: float | None = None) -> None:
        """No node for the pod: it waits for a change that could help, or for its time.

        Args:
            pod: As `pop` gave it.
            now: Seconds since the epoch.
            helped_by: Which changes could help.
            retry_at: When a fallback opens, None if none is left.
        """
        if pod.waiting_since is None:
            pod.waiting_since = now
        pod.helped_by = helped_by
        pod.ready_at = now + self._backoff(pod.attempts)
        pod.due_at = now + FLUSH_SECONDS if retry_at is None else min(retry_at, now + FLUSH_SECONDS)
        pod.timed = retry_at is not None
        pod.where = "unschedulable"
        self._pods[pod.key] = pod
        self._unschedulable[pod.key] = pod
        self._wait(pod, pod.due_at)

    def again(self, pod: QueuedPod, now: float) -> None:
        """Try the pod again after its backoff: what went wrong was not the lack of a node."""
        pod.ready_at = now + self._backoff(pod.attempts)
        self._pods[pod.key] = pod
        pod.where = "backoff"
        self._wait(pod, pod.ready_at)

    def wake(self, change: Depends, now: float) -> None:
        """Something changed: the pods that it could help are tried again, after their backoff."""
        for pod in [pod for pod in self._unschedulable.values() if pod.helped_by & change]:
            self._wake(pod, now)

    def wake_all(self, now: float) -> None:
        """Everything may be different: the policies changed."""
        for pod in list(self._unschedulable.values()):
            self._wake(pod, now)

    def wake_pod(self, key: PodKey, now: float) -> None:
        """The pod itself was changed: what was found out about it is worth nothing now."""
        pod = self._pods.get(key)
        if pod is not None and pod.where != "active":
            self._leave(pod)
            pod.waiting_since = None
            pod.queued = min(pod.queued, now)
            self._activate(pod)

    def activate(self, key: PodKey, now: float) -> None:
        """What the pod waited for is there: it is tried without waiting for its backoff, at the first such time.

        Where that came to nothing before, it waits; else two schedulers could take room from each other in a hot loop.
        """
        pod = self._pods.get(key)
        if pod is None or pod.where == "active":
            return
        pod.promised += 1
        self._leave(pod)
        if pod.promised > 1:
            pod.ready_at = max(pod.ready_at, now + self._backoff(pod.promised - 1))
        else:
            pod.ready_at = now
        self._rouse(pod, now)

    def retry(self, key: PodKey, now: float) -> None:
        """The pod is tried again after its backoff, whatever happens."""
        pod = self._pods.get(key)
        if pod is not None and pod.where == "unschedulable":
            self._wake(pod, now)

    def advance(self, now: float) -> None:
        """Activate the pods whose time has come."""
        while self._waiting and self._waiting[0][0] <= now:
            _, ticket, pod = heapq.heappop(self._waiting)
            if pod.ticket == ticket and pod.where in ("backoff", "unschedulable"):
                self._leave(pod)
                self._activate(pod)

    def next_due(self) -> float | None:
        """When `advance` will have something to do, None where nothing waits for a time."""
        while self._waiting:
            due, ticket, pod = self._waiting[0]
            if pod.ticket == ticket and pod.where in ("backoff", "unschedulable"):
                return due
            heapq.heappop(self._waiting)
        return None

    def _backoff(self, attempts: int) -> float:
        return min(self._maximum, self._initial * 2.0 ** min(attempts - 1, 32))

    def _wake(self, pod: QueuedPod, now: float) -> None:
        self._leave(pod)
        self._rouse(pod, now)

    def _rouse(self, pod: QueuedPod, now: float) -> None:
        if pod.ready_at <= now:
            self._activate(pod)
        else:
            pod.where = "backoff"
            self._wait(pod, pod.ready_at)

    def _leave(self, pod: QueuedPod) -> None:
        """Take the pod out of its part; heaps find out by the ticket."""
        self._unschedulable.pop(pod.key, None)
        pod.where = ""
        pod.ticket = 0

    def _activate(self, pod: QueuedPod) -> None:
        pod.where = "active"
        pod.ticket = next(self._tickets)
        heapq.heappush(self._active, (-pod.priority, pod.queued, pod.ticket, pod))

    def _wait(self, pod: QueuedPod, until: float) -> None:
        pod.ticket = next(self._tickets)
        heapq.heappush(self._waiting, (until, pod.ticket, pod))
