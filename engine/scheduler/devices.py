"""What a pod's claims of devices add to its way: nothing is decided before devices are known.

What claims get is written by the binder before the pod is bound. In between there is something to wait for only where
drivers have to make devices ready.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.binder import Assignment, BindResult, Outcome
from engine.cluster.protocol import DEVICES, ResourceKind
from engine.constraints.device_conditions import given_up
from engine.constraints.device_demand import claims_in
from engine.constraints.devices import DynamicResources
from engine.constraints.protocol import Depends
from engine.model.devices import DeviceClass, DeviceObject, ResourceClaim
from engine.model.objects import PodKey
from engine.placement import Decision
from engine.scheduler.claimants import Claimants
from engine.scheduler.device_waits import BOUND, DeviceWaits
from engine.scheduler.queue import SchedulingQueue
from engine.state.cache import Cache
from engine.state.pods import PlacedPod


class PodDevices:
    """The scheduler's dealings with devices; on its thread.

    Args:
        cache: What is known.
        queue: Where pods go that are held back until devices are known.
    """

    def __init__(self, cache: Cache, queue: SchedulingQueue) -> None:
        self._cache = cache
        self._queue = queue
        self._waits = DeviceWaits(cache)
        self._ready: Callable[[PodKey, str], object] | None = None
        self._failed: Callable[[BindResult, float], None] | None = None
        self._claimants = Claimants(DEVICES, Depends.DEVICES, cache, queue, self._unknown)

    def put(self, item: DeviceObject, now: float) -> None:
        """A device, or who has it, is new or changed."""
        freed = self._cache.devices.freed
        if self._cache.devices.put(item):
            self._changed(item, freed, now)

    def remove(self, item: DeviceObject, now: float) -> None:
        """It is gone."""
        freed = self._cache.devices.freed
        self._cache.devices.remove(item)
        self._changed(item, freed, now)

    def _changed(self, item: DeviceObject, freed: int, now: float) -> None:
        """Look again at the pods that use what changed, and at others where that could help them.

        A claim matters to its own pods alone, unless it gives devices back.
        """
        if isinstance(item, ResourceClaim):
            self._claimants.changed(item.name, now)
            for key in self._waits.concerned(item.name):
                self.look(key, now)
            owners = item.metadata.owner_references if item.of_extended_resources else ()
            for owner in owners:
                self._queue.retry(PodKey(item.metadata.namespace, owner.name, owner.uid), now)
        if not isinstance(item, ResourceClaim) or self._cache.devices.freed != freed:
            self._queue.wake(Depends.DEVICES, now)
        if isinstance(item, DeviceClass):
            # It may stand for what pods were refused for lack of.
            self._queue.wake(Depends.NODE, now)

    def refused(self, placed: PlacedPod) -> None:
        """No node takes the pod: it is tried again when one of its own claims changes."""
        self._claimants.refused(placed.key, [name for name, _ in placed.devices if name is not None])

    def listed(self, kind: ResourceKind, now: float) -> None:
        """Everything of a kind has been told."""
        self._claimants.listed(kind, now)

    def troubled(self, kind: ResourceKind, text: str, now: float) -> None:
        """A kind cannot be read: the cluster may be too old for it, or we may not."""
        self._claimants.troubled(kind, text, now)

    def holds(self, placed: PlacedPod) -> bool:
        """Whether the pod is kept back, as it has claims and devices are about to be told."""
        return bool(placed.devices or placed.shape.asking) and self._claimants.holds(placed.key)

    def _unknown(self, why: str) -> None:
        self._cache.devices.unknown = why

    def drop(self, key: PodKey) -> None:
        """The pod is no longer to be bound by us."""
        self._claimants.drop(key)

    # Pods on their way

    def report_to(
        self, ready: Callable[[PodKey, str], object], failed: Callable[[BindResult, float], None]
    ) -> None:
        """Who takes the pods whose devices are ready, with their nodes, and who those whose devices will not be."""
        self._ready, self._failed = ready, failed

    def awaits(self, key: PodKey) -> bool:
        """Whether the pod waits for its devices."""
        return key in self._waits

    def begin_waiting(self, result: BindResult, now: float) -> bool:
        """The binder has written what the pod's claims get. Returns whether there is something to wait for."""
        devices = result.assignment.devices
        if devices is None or not devices.awaited:
            return False
        self._waits.add(result.assignment.pod, devices, now)
        return self._waits.verdict(result.assignment.pod) is None

    def give_up_waiting(self, key: PodKey) -> bool:
        """The pod is no longer to be bound by us. Returns whether it was waiting for its devices."""
        return self._waits.drop(key)

    def node_gone(self, node: str, now: float) -> None:
        """Nobody goes to a node any more."""
        for key in self._waits.on(node):
            self.look(key, now)

    def expire(self, now: float) -> None:
        """Give up on pods that have waited too long."""
        for key, message in list(self._waits.expired(now)):
            self._fail(key, message, now)

    def next_due(self) -> float | None:
        """When `expire` will have something to do."""
        return self._waits.next_due()

    def look(self, key: PodKey, now: float) -> None:
        """Whether the pod, if it waits for its devices, has them now."""
        if key not in self._waits:
            return
        verdict = self._waits.verdict(key)
        if verdict == BOUND and self._ready is not None:
            node = self._waits.node_of(key)
            self._waits.drop(key)
            self._ready(key, node)
        elif verdict:
            self._fail(key, verdict, now)

    def _fail(self, key: PodKey, message: str, now: float) -> None:
        node = self._waits.node_of(key)
        self._waits.drop(key)
        if self._failed is not None:
            self._failed(BindResult(Assignment(key, node), Outcome.NO_DEVICES, message, 0), now)

    def written(self, result: BindResult, now: float) -> None:
        """Take over what the binder wrote, or read, so that it counts before the watch tells."""
        for claim in result.devices:
            self.put(claim, now)

    def unwritten(self, result: BindResult, now: float) -> None:
        """What was decided for the pod's claims is free again."""
        if result.assignment.devices is not None:
            self._queue.wake(Depends.DEVICES, now)

    def idle(self, placed: PlacedPod, decision: Decision, now: float) -> ResourceClaim | None:
        """A claim of a pod that found no node, which no other pod uses, and whose devices are elsewhere or not ready.

        One that was made for the pod's extended resources in an earlier try is of no use any more.

        Source: kube-scheduler's plugin DynamicResources (PostFilter).
        """
        if decision.refusals is None or not (placed.devices or placed.shape.asking):
            return None
        refused = [
            (constraint, slots)
            for constraint, slots in decision.refusals.by_filter()
            if isinstance(constraint, DynamicResources)
        ]
        made = self._cache.devices.made_for(placed.key)
        if made is not None and refused:
            return made
        for claim in claims_in(self._cache.devices, placed.devices):
            if any(consumer.uid != placed.key.uid for consumer in claim.status.reserved_for or ()):
                continue
            if refused and given_up(claim, now):
                return claim
            selector = claim.allocation.node_selector if claim.allocation is not None else None
            if selector is not None and any(
                one.elsewhere(selector.node_selector_terms, slots) for one, slots in refused
            ):
                return claim
        return None
