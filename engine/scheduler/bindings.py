"""Bindings under way: what was decided, until it is known what came of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from engine.binder import Assignment, BindingExecutor, BindResult, Outcome
from engine.clock import Clock
from engine.model.objects import PodKey
from engine.placement import Decision
from engine.scheduler.devices import PodDevices
from engine.scheduler.metrics import Metrics
from engine.scheduler.movements import Movements
from engine.scheduler.queue import QueuedPod, SchedulingQueue
from engine.scheduler.telling import Telling, assigned
from engine.scheduler.volumes import PodVolumes
from engine.state.cache import Cache
from engine.state.pods import Phase, PlacedPod

log = logging.getLogger(__name__)

_TOLD: Final = (Outcome.REFUSED, Outcome.GAVE_UP, Outcome.NO_VOLUMES, Outcome.NO_DEVICES)
"""Outcomes of bindings of which whoever waits for the pod is told."""


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A binding that is being carried out.

    Attributes:
        queued: The pod, as it goes back into the queue if nothing comes of it.
        scheduler: The name of the scheduler that the pod asks for.
        told: What its event will say.
        began: When the attempt began, monotonic.
        submitted: When the binder got it, monotonic.
    """

    queued: QueuedPod
    scheduler: str
    told: str
    began: float
    submitted: float


class Bindings:
    """Hands decisions to the binder and takes in what comes of them.

    Args:
        cache: Where a pod is assumed to be.
        queue: Where it goes back to.
        binder: Carries bindings out.
        telling: Says how they ended.
        metrics: Takes counts and durations.
        movements: Is told of pods that come, and of those that do not stay.
        devices: The pods' claims of devices.
        clock: The time.
        volume_timeout: How many seconds a pod waits for its claims to be bound.

    Attributes:
        volumes: The pods' claims of volumes.
    """

    def __init__(
        self,
        cache: Cache,
        queue: SchedulingQueue,
        binder: BindingExecutor,
        telling: Telling,
        metrics: Metrics,
        movements: Movements,
        devices: PodDevices,
        clock: Clock,
        volume_timeout: float,
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._binder = binder
        self._telling = telling
        self._metrics = metrics
        self._movements = movements
        self._devices = devices
        self._clock = clock
        self._under_way: dict[PodKey, _UnderWay] = {}
        self.volumes = PodVolumes(cache, queue, self._ready, self.ended, volume_timeout)
        devices.report_to(self._ready, self.ended)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._under_way)

    def __contains__(self, key: object) -> bool:
        """Whether the pod is being bound."""
        return key in self._under_way

    def drop(self, key: PodKey) -> None:
        """Nothing more is to come of it."""
        self._under_way.pop(key, None)

    def give_up_waiting(self, key: PodKey) -> None:
        """The pod is no longer to be bound by us: if it was waiting for its claims, nothing more is to come of it."""
        waited = self.volumes.drop(key), self._devices.give_up_waiting(key)
        if any(waited):
            self.drop(key)  # no result will come for it

    def node_gone(self, node: str, now: float) -> None:
        """Nobody goes to a node any more."""
        self.volumes.node_gone(node, now)
        self._devices.node_gone(node, now)

    def expire(self, now: float) -> None:
        """Give up on pods that have waited too long for their claims."""
        self.volumes.expire(now)
        self._devices.expire(now)

    def next_due(self) -> float | None:
        """When `expire` will have something to do."""
        times = [due for due in (self.volumes.next_due(), self._devices.next_due()) if due is not None]
        return min(times, default=None)

    def _ready(self, key: PodKey, node: str) -> None:
        """The pod's volumes, or its devices, are ready: it is bound where it waits for neither."""
        if key not in self.volumes and not self._devices.awaits(key):
            self._binder.submit(Assignment(key, node))

    def begin(
        self, placed: PlacedPod, queued: QueuedPod, decision: Decision, node: str, now: float, began: float
    ) -> None:
        """Assume the pod to be on its node, and have it bound.

        Args:
            placed: The pod.
            queued: The same, taken from the queue.
            decision: What was decided.
            node: Which node, that is.
            now: Seconds since the epoch.
            began: When the attempt began, monotonic.
        """
        self._cache.assume(queued.key, node, decision.volumes, decision.devices)
        self._queue.placed(queued, now)
        self._movements.moved(-1, placed.slot, now)
        self._movements.unpromised(now)
        self._under_way[queued.key] = _UnderWay(
            queued,
            placed.pod.spec.scheduler_name,
            assigned(placed, decision),
            began,
            self._clock.monotonic(),
        )
        self._binder.submit(Assignment(queued.key, node, decision.volumes, decision.devices))

    def ended(self, result: BindResult, now: float) -> None:
        """A binding ended, or a step of it.

        Args:
            result: How.
            now: Seconds since the epoch.
        """
        key, node = result.assignment.pod, result.assignment.node
        self._devices.written(result, now)
        alive = key in self._under_way
        if result.outcome is Outcome.PREPARED and alive and self._devices.begin_waiting(result, now):
            placed = self._cache.pod(key)
            if placed is not None:
                self._telling.awaiting_devices(placed.pod, node, now)
        if result.assignment.volumes is not None:
            self.volumes.prepared(result, alive, now)
        if result.outcome is Outcome.PREPARED:
            self._devices.look(key, now)
            return
        self.volumes.drop(key)
        self._devices.give_up_waiting(key)
        under_way = self._under_way.pop(key, None)
        queued = None
        if under_way is not None:
            queued, ended = under_way.queued, self._clock.monotonic()
            self._metrics.bound(
                result.outcome,
                queued.attempts,
                ended - under_way.began,
                ended - under_way.submitted,
                now - queued.queued,
            )
        if result.outcome is Outcome.BOUND:
            scheduler, told = (under_way.scheduler, under_way.told) if under_way is not None else ("", "")
            self._telling.scheduled(key, scheduler, told, now)
            return
        held = self._cache.pod(key)
        was_on = held.slot if held is not None else -1
        # What may have been written all the same stays taken until the claims, or the next try, tell.
        self._cache.forget(key, devices=result.outcome is not Outcome.GAVE_UP)
        if held is None or held.slot < 0:
            self._movements.moved(was_on, -1, now)
        self._devices.unwritten(result, now)
        if result.outcome is Outcome.STOPPED:
            return
        log.info(
            "pod %s was not bound to %s: %s",
            key,
            node,
            result.message,
            extra={"pod": str(key), "node": node, "outcome": result.outcome.value},
        )
        placed = self._cache.pod(key)
        if placed is None or queued is None or placed.phase is not Phase.QUEUED:
            return
        if result.outcome in _TOLD:
            message = f"binding to {node} failed: {result.message}"
            self._telling.erred(placed.pod, "Binding", message, now)
        # A pod that somebody else has, or that is gone, is queued too while the watch has not told us so: it is
        # taken out when it does, and until then the server refuses a second binding.
        self._queue.again(queued, now)
