"""What a pod's claims of devices add to its way: nothing is decided before devices are known.

What claims get is written by the binder right before the pod is bound; there is nothing to wait for in between.
"""

from __future__ import annotations

from engine.binder import BindResult
from engine.cluster.protocol import DEVICES, ResourceKind
from engine.constraints.device_demand import claims_in
from engine.constraints.devices import DynamicResources
from engine.constraints.protocol import Depends
from engine.model.devices import DeviceObject, ResourceClaim
from engine.model.objects import PodKey
from engine.model.storage import ClaimName
from engine.placement import Decision
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
        self._unlisted = dict.fromkeys(DEVICES)
        self._troubles: dict[ResourceKind, str] = {}
        self._held: dict[PodKey, None] = {}
        self._refused: dict[PodKey, tuple[ClaimName, ...]] = {}
        self._refused_with: dict[ClaimName, dict[PodKey, None]] = {}

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
            for key in list(self._refused_with.get(item.name, ())):
                self._queue.retry(key, now)
        if not isinstance(item, ResourceClaim) or self._cache.devices.freed != freed:
            self._queue.wake(Depends.DEVICES, now)

    def refused(self, placed: PlacedPod) -> None:
        """No node takes the pod: it is tried again when one of its own claims changes."""
        self._no_longer_refused(placed.key)
        if placed.devices:
            names = tuple(name for name, _ in placed.devices if name is not None)
            self._refused[placed.key] = names
            for name in names:
                self._refused_with.setdefault(name, {})[placed.key] = None

    def _no_longer_refused(self, key: PodKey) -> None:
        for name in self._refused.pop(key, ()):
            users = self._refused_with[name]
            del users[key]
            if not users:
                del self._refused_with[name]

    def listed(self, kind: ResourceKind, now: float) -> None:
        """Everything of a kind has been told."""
        if kind in self._unlisted:
            del self._unlisted[kind]
            self._troubles.pop(kind, None)
            self._reconsider(now)

    def troubled(self, kind: ResourceKind, text: str, now: float) -> None:
        """A kind cannot be read: the cluster may be too old for it, or we may not."""
        if kind in self._unlisted:
            self._troubles[kind] = text
            self._reconsider(now)

    def holds(self, placed: PlacedPod) -> bool:
        """Whether the pod is kept back, as it has claims and devices are about to be told."""
        if not placed.devices or not self._unlisted or self._troubles:
            return False
        self._held[placed.key] = None
        return True

    def drop(self, key: PodKey) -> None:
        """The pod is no longer to be bound by us."""
        self._held.pop(key, None)
        self._no_longer_refused(key)

    def written(self, result: BindResult, now: float) -> None:
        """Take over what the binder wrote, or read, so that it counts before the watch tells."""
        for claim in result.devices:
            self.put(claim, now)

    def unwritten(self, result: BindResult, now: float) -> None:
        """What was decided for the pod's claims is free again."""
        if result.assignment.devices is not None:
            self._queue.wake(Depends.DEVICES, now)

    def idle(self, placed: PlacedPod, decision: Decision) -> ResourceClaim | None:
        """A claim of a pod that found no node, whose devices are elsewhere, and which no other pod uses.

        Source: kube-scheduler's plugin DynamicResources (PostFilter).
        """
        if not placed.devices or decision.refusals is None:
            return None
        refused = [
            (constraint, slots)
            for constraint, slots in decision.refusals.by_filter()
            if isinstance(constraint, DynamicResources)
        ]
        for claim in claims_in(self._cache.devices, placed.devices):
            selector = claim.allocation.node_selector if claim.allocation is not None else None
            others = any(consumer.uid != placed.key.uid for consumer in claim.status.reserved_for or ())
            if selector is None or others:
                continue
            if any(one.elsewhere(selector.node_selector_terms, slots) for one, slots in refused):
                return claim
        return None

    def _reconsider(self, now: float) -> None:
        """Let held pods go once all is known, and those who are to learn why it is not."""
        if self._unlisted and not self._troubles:
            return
        self._cache.devices.unknown = next(iter(self._troubles.values()), "")
        for key in self._held:
            placed = self._cache.pod(key)
            if placed is not None:
                self._queue.add(key, placed.shape.priority, now)
        self._held.clear()
        self._queue.wake(Depends.DEVICES, now)
