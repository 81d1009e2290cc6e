"""Carries preemptions out, as the deciding thread sees it: nominations in memory at once, and what goes to the cluster.

::

    decision with victims ──▶ nominated, waits ──▶ victims are asked to leave ──▶ the last is gone ──▶ tried again
                                    │                      │ one stays
                                    │                      ▼
                                    └── superseded ──▶ tried again
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from engine.binder import Recorder, RoomExecutor, RoomResult, RoomWanted
from engine.clock import utc
from engine.cluster.protocol import ClusterEvent, EventType
from engine.model.devices import ResourceClaim
from engine.model.objects import PodKey
from engine.placement import Preemption
from engine.scheduler.promises import Promises
from engine.scheduler.queue import SchedulingQueue
from engine.state.cache import Cache
from engine.state.pods import Phase, PlacedPod

log = logging.getLogger(__name__)


class RoomMaker:
    """Preemptions under way.

    Args:
        cache: What is known; nominations are kept there.
        queue: Where pods wait for their room.
        executor: Asks victims to leave; its results come back through `ended`.
        recorder: Takes events.
        ours: Whether a pod is ours to schedule.
    """

    def __init__(
        self,
        cache: Cache,
        queue: SchedulingQueue,
        executor: RoomExecutor,
        recorder: Recorder,
        ours: Callable[[PlacedPod], bool],
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._executor = executor
        self._recorder = recorder
        self._ours = ours
        self._promises = Promises()

    def waits(self, key: PodKey) -> bool:
        """Whether pods that were asked to leave for this one are still there."""
        return key in self._promises

    def begin(self, pod: PlacedPod, found: Preemption, now: float) -> None:
        """A pod found nowhere to go: make room for it where that can be, else take back what was promised to it."""
        if found.node is None:
            if not found.trouble:
                self._take_back(pod)
            return
        nominations = self._cache.nominations
        superseded = [
            one
            for one in nominations.on(found.node)
            if one.shape.priority < pod.shape.priority and self._ours(one)
        ]
        for one in superseded:
            nominations.drop(one.key)
            self._promises.drop(one.key)
            self._queue.activate(one.key, now)
        nominations.put(pod, found.node)
        asked = self._promises.wait(pod.key, [victim.key for victim in found.victims])
        known = [self._cache.pod(key) for key in asked]
        leave = [one.key for one in known if one is not None and one.phase is not Phase.TERMINATING]
        log.info(
            "pod %s preempts %d pods on %s",
            pod.key,
            len(found.victims),
            found.node,
            extra={"pod": str(pod.key), "node": found.node, "victims": [str(key) for key in leave]},
        )
        self._executor.submit(
            RoomWanted(
                pod.key,
                found.node,
                tuple(leave),
                tuple(one.key for one in superseded),
                pod.pod.spec.scheduler_name,
                utc(now),
            )
        )

    def ended(self, result: RoomResult, now: float) -> None:
        """Victims were asked to leave, or could not be."""
        wanted = result.wanted
        for victim in result.deleted:
            message = f"Preempted by pod {wanted.pod.uid if wanted.pod else ''} on node {wanted.node}"
            self._recorder.event(
                ClusterEvent(
                    victim,
                    EventType.NORMAL,
                    "Preempted",
                    "Preempting",
                    message,
                    utc(now),
                    wanted.scheduler,
                )
            )
        for victim, why in result.failed:
            log.warning(
                "pod %s was not taken from %s to make room: %s",
                victim,
                wanted.node,
                why,
                extra={"pod": str(victim), "node": wanted.node},
            )
            for pod in self._promises.stays(victim):
                self._queue.retry(pod, now)

    def left(self, victim: PodKey, now: float) -> None:
        """A pod is gone: whoever waited for it alone can be tried."""
        for pod in self._promises.left(victim):
            self._queue.activate(pod, now)

    def drop(self, key: PodKey) -> None:
        """The pod is placed, gone, or no longer ours: nobody is waited for."""
        self._promises.drop(key)

    def idle(self, claim: ResourceClaim) -> None:
        """A claim's devices are of no use where they are: they are given back, which whoever waits will hear of."""
        log.info("resourceclaim %s gives its devices back: they are of no use to its pod", claim.name)
        self._executor.submit(RoomWanted(None, "", idle=(claim,)))

    def _take_back(self, pod: PlacedPod) -> None:
        """A promise that came to nothing, in memory and in the cluster."""
        if self._cache.nominations.node_of(pod.key):
            self._cache.nominations.drop(pod.key)
            self._executor.submit(RoomWanted(None, "", superseded=(pod.key,)))
