"""The pods that wait for a node.

::

             ┌────────── woken, or its time has come ───────────┐
             ▼                                                  │
    add ──▶ active ──pop──▶ (being placed) ──no node──▶ unschedulable
             ▲                                                  │ woken before its backoff is over
             └──────────── backoff is over ◀── backing off ◀────┘

Active pods come out by priority, then by the time they were first queued; of one priority, pods that were never tried
and pods that are tried again take turns, so that neither wait for all of the others. A pod that failed waits 1 s,
doubling to 10 s, before it is tried again, and only after something happened that could help it, or its own time
came: a fallback that opens, or the regular second look every five minutes.

Pods that ask for the same wait in a group. When something happens that could help, one of them, the probe, is tried;
if it finds a place, the next is, and if not, the others need not be.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from engine.constraints.protocol import Depends
from engine.model.objects import PodKey
from engine.placement.hints import Hint
from engine.scheduler.waiters import Free, Group, Waiters

FLUSH_SECONDS: Final = 300.0
"""However little happens, every pod is looked at again after this long."""
BACKOFF_AT_MOST: Final = 10.0
"""Seconds that a pod waits after a try in vain, at the most, once something came that could help it."""
IN_A_ROW_AT_MOST: Final = 8
"""So many pods are tried again before one that was never tried has its turn, whatever its priority."""
_CAUSES_AT_MOST: Final = 64

_ANYWHERE: Final = Depends.CENSUS | Depends.DELAY


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
        group: Those that it waits with, or was tried for.
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
    group: Group | None = field(default=None, repr=False)
    retried: bool = field(default=False, repr=False)
    where: str = field(default="", repr=False)
    ticket: int = field(default=0, repr=False)


class SchedulingQueue:
    """Which pod is next. Not thread-safe: the scheduler's thread owns it.

    Args:
        initial: Seconds that a pod waits after its first failure.
        maximum: The most that doubling leads to.
    """

    def __init__(self, initial: float = 1.0, maximum: float = BACKOFF_AT_MOST) -> None:
        self._initial = initial
        self._maximum = maximum
        self._pods: dict[PodKey, QueuedPod] = {}
        self._tickets = count(1)
        self._fresh: list[tuple[int, float, int, QueuedPod]] = []
        self._retries: list[tuple[int, float, int, QueuedPod]] = []
        self._in_a_row = 1
        self._timers: list[tuple[float, int, QueuedPod]] = []
        self._waiters = Waiters()

    def __contains__(self, key: PodKey) -> bool:
        return key in self._pods

    def __len__(self) -> int:
        """How many pods wait, in whatever part."""
        return len(self._pods)

    @property
    def active(self) -> bool:
        """Whether a pod can be popped. May be true for one that was removed since; `pop` tells."""
        return bool(self._fresh or self._retries)

    @property
    def restless(self) -> bool:
        """Whether a pod is to be tried, or will be when its time comes, even if nothing happens before.

        The regular second look does not count: it is against our own mistakes, and changes nothing by itself.
        """
        return any(pod.where != "unschedulable" or pod.timed for pod in self._pods.values())

    def pods(self) -> list[QueuedPod]:
        """All of them, in no order."""
        return list(self._pods.values())

    def unschedulable(self) -> list[PodKey]:
        """Those that wait for something to happen, the longest queued first."""
        resting = (pod for pod in self._pods.values() if pod.where == "unschedulable")
        return [pod.key for pod in sorted(resting, key=lambda pod: pod.queued)]

    def resting(self, key: PodKey) -> QueuedPod | None:
        """The pod where it waits for something to happen; None where it is tried soon, or is not here."""
        pod = self._pods.get(key)
        return pod if pod is not None and pod.where == "unschedulable" else None

    def counts(self) -> dict[str, int]:
        """How many pods are in each part: active, backoff, unschedulable."""
        counts = {"active": 0, "backoff": 0, "unschedulable": 0}
        for pod in self._pods.values():
            counts[pod.where] += 1
        return counts

    # Pods that come, are tried, and go

    def add(self, key: PodKey, priority: int, now: float, waiting_since: float | None = None) -> None:
        """Queue a pod that was seen for the first time; nothing happens where it is queued already."""
        if key not in self._pods:
            pod = QueuedPod(key, priority, now, waiting_since=waiting_since)
            self._pods[key] = pod
            self._activate(pod)

    def remove(self, key: PodKey, now: float = 0.0) -> None:
        """Forget a pod: it is bound, deleted, or no longer ours."""
        pod = self._pods.pop(key, None)
        if pod is not None:
            self._leave(pod, now)

    def pop(self) -> QueuedPod | None:
        """Take the next active pod out, None where there is none. Put it back with `failed`, or it is gone."""
        fresh, retried = self._first(self._fresh), self._first(self._retries)
        if fresh is None or retried is None:
            pod = fresh or retried
        elif fresh.priority != retried.priority and self._in_a_row < IN_A_ROW_AT_MOST:
            pod = max(fresh, retried, key=lambda one: one.priority)
        else:
            pod = fresh if self._in_a_row else retried
        if pod is None:
            return None
        self._in_a_row = 0 if pod is fresh else self._in_a_row + 1
        heapq.heappop(self._fresh if pod is fresh else self._retries)
        del self._pods[pod.key]
        pod.where = ""
        pod.attempts += 1
        return pod

    def causes(self, pod: QueuedPod) -> set[int] | None:
        """The slots for whose sake a popped pod is tried, None where it is not for the sake of some nodes."""
        group = pod.group
        return group.causes if group is not None and group.probe == pod.key else None

    def failed(
        self,
        pod: QueuedPod,
        now: float,
        helped_by: Depends,
        retry_at: float | None = None,
        hint: Hint | None = None,
    ) -> None:
        """No node for the pod: it waits for a change that could help, or for its time.

        Args:
            pod: As `pop` gave it.
            now: Seconds since the epoch.
            helped_by: Which changes could help.
            retry_at: When a fallback opens, None if none is left.
            hint: What could help in particular.
        """
        if pod.waiting_since is None:
            pod.waiting_since = now
        pod.helped_by = helped_by
        pod.ready_at = now + self._backoff(pod.attempts)
        pod.due_at = now + FLUSH_SECONDS if retry_at is None else min(retry_at, now + FLUSH_SECONDS)
        pod.timed = retry_at is not None
        before = pod.group
        probed = before is not None and before.probe == pod.key
        group = self._waiters.wait(pod.key, pod.priority, helped_by, hint)
        if probed and before is not None:
            before.probe = None
            if before is not group:
                self._rouse(before, now)
                self._waiters.tidy(before)
        if len(group.members) == 1 or probed:
            group.ready_at = pod.ready_at
        self._lie_down(pod, group)

    def asleep(self, pod: QueuedPod, now: float) -> None:
        """A closer look showed that what happened does not help: the pod waits on, as if it had not been woken."""
        group = pod.group
        assert group is not None
        pod.attempts -= 1
        group.probe = None
        group.members[pod.key] = None
        pod.due_at = max(pod.due_at, now)
        self._lie_down(pod, group)

    def placed(self, pod: QueuedPod, now: float) -> None:
        """The popped pod has a node: others of its group may find one, too."""
        self._let_go(pod, now, ready_at=now)

    def let_go(self, pod: QueuedPod, now: float) -> None:
        """The popped pod is not to be tried after all."""
        self._let_go(pod, now)

    def again(self, pod: QueuedPod, now: float) -> None:
        """Try the pod again after its backoff: what went wrong was not the lack of a node."""
        self._let_go(pod, now)
        pod.ready_at = now + self._backoff(pod.attempts)
        self._pods[pod.key] = pod
        pod.retried = True
        pod.where = "backoff"
        self._wait(pod, pod.ready_at)

    # What happens

    def wake(self, change: Depends, now: float) -> None:
        """Something changed, nobody knows where: the pods that it could help are tried again, after their backoff."""
        for group in self._waiters.by(change):
            self._rouse(group, now)

    def wake_all(self, now: float) -> None:
        """Everything may be different: the policies changed. Who waited together may be apart now."""
        for pod in [pod for pod in self._pods.values() if pod.where == "unschedulable"]:
            self._leave(pod, now)
            self._stir(pod, now)
        for group in self._waiters.groups():
            group.causes = None

    def wake_pod(self, key: PodKey, now: float) -> None:
        """The pod itself was changed: what was found out about it is worth nothing now."""
        pod = self._pods.get(key)
        if pod is not None and pod.where != "active":
            self._leave(pod, now)
            pod.waiting_since = None
            pod.queued = min(pod.queued, now)
            pod.retried = False
            self._activate(pod)

    def pods_moved(self, now: float) -> None:
        """A pod came or went: whoever counts it, or nobody knows what, is tried again."""
        for group in self._waiters.noticed():
            self._rouse(group, now)
        for group in self._waiters.by_pods(_ANYWHERE):
            self._rouse(group, now)

    def freed(self, slot: int, free: Free, now: float) -> None:
        """There is more room in a slot."""
        for group in self._waiters.by_room(slot, free):
            self._rouse(group, now, (slot,))

    def filled(self, slot: int, now: float) -> None:
        """There is more on a slot, which helps those that want company."""
        for group in self._waiters.by_company(slot):
            self._rouse(group, now, (slot,))

    def node_changed(self, slot: int, free: Free, now: float) -> None:
        """A node is there that was not, or it is not what it was."""
        for group in self._waiters.by_node(slot, free):
            self._rouse(group, now, (slot,))
        self.wake(_ANYWHERE, now)

    def only_supposed(self) -> None:
        """Counts changed, and are as before."""
        self._waiters.unnotice()

    def activate(self, key: PodKey, now: float) -> None:
        """What the pod waited for is there: it is tried without waiting for its backoff, at the first such time.

        Where that came to nothing before, it waits; else two schedulers could take room from each other in a hot loop.
        """
        pod = self._pods.get(key)
        if pod is None or pod.where == "active":
            return
        pod.promised += 1
        self._leave(pod, now)
        pod.ready_at = now
        if pod.promised > 1:
            pod.ready_at = max(pod.ready_at, now + self._backoff(pod.promised - 1))
        self._stir(pod, now, retried=False)

    def retry(self, key: PodKey, now: float) -> None:
        """The pod is tried again after its backoff, whatever happens."""
        pod = self._pods.get(key)
        if pod is not None and pod.where == "unschedulable":
            self._leave(pod, now)
            self._stir(pod, now)

    def advance(self, now: float) -> None:
        """Activate the pods whose time has come."""
        while self._timers and self._timers[0][0] <= now:
            _, ticket, pod = heapq.heappop(self._timers)
            if pod.ticket != ticket:
                continue
            if pod.where == "backoff":
                self._activate(pod)
            elif pod.where == "unschedulable" and (pod.timed or pod.group is None):
                self._leave(pod, now)
                self._activate(pod, retried=True)
            elif pod.where == "unschedulable" and pod.group is not None:
                # The regular second look, which one does for all that ask for the same.
                pod.due_at = now + FLUSH_SECONDS
                self._wait(pod, pod.due_at)
                self._rouse(pod.group, now)

    def next_due(self) -> float | None:
        """When `advance` will have something to do, None where nothing waits for a time."""
        while self._timers:
            due, ticket, pod = self._timers[0]
            if pod.ticket == ticket and pod.where in ("backoff", "unschedulable"):
                return due
            heapq.heappop(self._timers)
        return None

    # Inside

    def _backoff(self, attempts: int) -> float:
        return min(self._maximum, self._initial * 2.0 ** min(max(attempts - 1, 0), 32))

    def _rouse(self, group: Group, now: float, causes: Iterable[int] | None = None) -> None:
        """Something could help the group: one of it is tried, after the group's backoff."""
        if group.probe is None:
            group.causes = set()
        if causes is None:
            group.causes = None
        elif group.causes is not None:
            group.causes.update(causes)
            if len(group.causes) > _CAUSES_AT_MOST:
                group.causes = None
        if group.probe is not None or not group.members:
            return
        key = next(iter(group.members))
        del group.members[key]
        group.probe = key
        pod = self._pods[key]
        pod.ready_at = group.ready_at
        self._stir(pod, now)

    def _let_go(self, pod: QueuedPod, now: float, ready_at: float | None = None) -> None:
        """The popped pod is no longer tried for its group; another is."""
        group, pod.group = pod.group, None
        if group is not None and group.probe == pod.key:
            group.probe = None
            if ready_at is not None:
                group.ready_at = ready_at
            self._rouse(group, now)
            self._waiters.tidy(group)

    def _leave(self, pod: QueuedPod, now: float) -> None:
        """Take the pod out of its part; heaps find out by the ticket."""
        if pod.where == "unschedulable" and pod.group is not None:
            self._waiters.leave(pod.group, pod.key)
            pod.group = None
        else:
            self._let_go(pod, now)
        pod.where = ""
        pod.ticket = 0

    def _lie_down(self, pod: QueuedPod, group: Group) -> None:
        pod.group = group
        pod.where = "unschedulable"
        self._pods[pod.key] = pod
        self._wait(pod, pod.due_at)

    def _stir(self, pod: QueuedPod, now: float, retried: bool = True) -> None:
        """The pod is tried, after its backoff."""
        pod.retried = retried
        if pod.ready_at <= now:
            self._activate(pod, retried)
        else:
            pod.where = "backoff"
            self._wait(pod, pod.ready_at)

    def _activate(self, pod: QueuedPod, retried: bool | None = None) -> None:
        if retried is not None:
            pod.retried = retried
        pod.where = "active"
        pod.ticket = next(self._tickets)
        lane = self._retries if pod.retried else self._fresh
        heapq.heappush(lane, (-pod.priority, pod.queued, pod.ticket, pod))

    def _first(self, lane: list[tuple[int, float, int, QueuedPod]]) -> QueuedPod | None:
        """The first of a lane; those that have left it since are cleared away."""
        while lane:
            *_, ticket, pod = lane[0]
            if pod.ticket == ticket and pod.where == "active":
                return pod
            heapq.heappop(lane)
        return None

    def _wait(self, pod: QueuedPod, until: float) -> None:
        pod.ticket = next(self._tickets)
        heapq.heappush(self._timers, (until, pod.ticket, pod))
