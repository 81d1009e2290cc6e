"""What a pod's claims add to its way: nothing is decided before storage is known, nothing bound before they are.

::

    decided ──▶ binder: writes ──▶ waits for its claims ──▶ binder: binds
                      │                   │
                      └── trouble ────────┴──▶ back into the queue
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from engine.binder import Assignment, BindResult, Outcome
from engine.cluster.protocol import STORAGE, ResourceKind
from engine.constraints.protocol import Depends
from engine.model.objects import PodKey
from engine.model.storage import ClaimName, PersistentVolume, PersistentVolumeClaim, StorageObject
from engine.scheduler.claimants import Claimants
from engine.scheduler.queue import SchedulingQueue
from engine.scheduler.volume_waits import BOUND, VolumeWaits
from engine.state.cache import Cache
from engine.state.pods import PlacedPod

TIMEOUT_SECONDS: Final = 600.0
"""For how long a pod waits for its claims, unless told otherwise."""


class PodVolumes:
    """The scheduler's dealings with storage; on its thread.

    Args:
        cache: What is known.
        queue: Where pods go that are held back until storage is known.
        ready: Takes the pods whose claims are bound, with their nodes.
        failed: Takes pods whose claims will not be, as the result of a binding.
        seconds: How long a pod waits for its claims.
    """

    def __init__(
        self,
        cache: Cache,
        queue: SchedulingQueue,
        ready: Callable[[PodKey, str], object],
        failed: Callable[[BindResult, float], None],
        seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._ready = ready
        self._failed = failed
        self._waits = VolumeWaits(cache, seconds)
        self._claimants = Claimants(STORAGE, Depends.VOLUMES, cache, queue, self._unknown)

    @property
    def waiting(self) -> int:
        """How many pods wait for their claims."""
        return len(self._waits)

    def __contains__(self, key: object) -> bool:
        """Whether the pod waits for its claims."""
        return key in self._waits

    # What storage there is

    def put(self, item: StorageObject, now: float) -> None:
        """Storage is new or changed."""
        if self._cache.volumes.put(item):
            self._changed(item, now)

    def remove(self, item: StorageObject, now: float) -> None:
        """Storage is gone."""
        self._cache.volumes.remove(item)
        self._changed(item, now)

    def _changed(self, item: StorageObject, now: float) -> None:
        """Look again at the pods that use what changed, and at all others that a free volume, or room, could help.

        A claim matters to its own pods alone: that it is bound helps nobody else, however many wait.
        """
        for claim in self._claims_of(item):
            self._claimants.changed(claim, now)
        if not isinstance(item, PersistentVolumeClaim) and not _taken(item):
            self._queue.wake(Depends.VOLUMES, now)
        for key in self._waits.concerned(item):
            self._look(key, now)

    def _claims_of(self, item: StorageObject) -> Iterable[ClaimName]:
        if isinstance(item, PersistentVolumeClaim):
            return (item.name,)
        if not isinstance(item, PersistentVolume):
            return ()
        reference = item.spec.claim_ref
        own = () if reference is None else (ClaimName(reference.namespace, reference.name),)
        return dict.fromkeys((*own, *self._cache.volumes.naming(item.metadata.name)))

    def refused(self, placed: PlacedPod) -> None:
        """No node takes the pod: it is tried again when one of its own claims changes."""
        self._claimants.refused(placed.key, [name for name, _ in placed.claims])

    # Whether it is known at all

    def listed(self, kind: ResourceKind, now: float) -> None:
        """Everything of a kind has been told."""
        self._claimants.listed(kind, now)

    def troubled(self, kind: ResourceKind, text: str, now: float) -> None:
        """A kind cannot be read."""
        self._claimants.troubled(kind, text, now)

    def holds(self, placed: PlacedPod) -> bool:
        """Whether the pod is kept back, as it has claims and storage is about to be told."""
        return bool(placed.claims) and self._claimants.holds(placed.key)

    def _unknown(self, why: str) -> None:
        self._cache.volumes.unknown = why

    # Pods on their way

    def prepared(self, result: BindResult, alive: bool, now: float) -> None:
        """The binder has written what a pod's claims need, or found that it cannot be.

        Args:
            result: What came of it.
            alive: Whether the pod is still to be bound.
            now: Seconds since the epoch.
        """
        for item in result.storage:
            self.put(item, now)
        volumes = result.assignment.volumes
        if alive and volumes is not None and result.outcome is Outcome.PREPARED:
            self._waits.add(result.assignment.pod, volumes, now)
            self._look(result.assignment.pod, now)

    def drop(self, key: PodKey) -> bool:
        """The pod is no longer to be bound by us. Returns whether it was waiting for its claims."""
        self._claimants.drop(key)
        return self._waits.drop(key)

    def node_gone(self, node: str, now: float) -> None:
        """Nobody goes to a node any more."""
        for key in self._waits.on(node):
            self._look(key, now)

    def expire(self, now: float) -> None:
        """Give up on pods that have waited too long."""
        for key, message in list(self._waits.expired(now)):
            self._fail(key, message, now)

    def next_due(self) -> float | None:
        """When `expire` will have something to do."""
        return self._waits.next_due()

    def _look(self, key: PodKey, now: float) -> None:
        if key not in self._waits:
            return
        verdict = self._waits.verdict(key)
        if verdict == BOUND:
            node = self._waits.node_of(key)
            self._waits.drop(key)
            self._ready(key, node)
        elif verdict is not None:
            self._fail(key, verdict, now)

    def _fail(self, key: PodKey, message: str, now: float) -> None:
        node = self._waits.node_of(key)
        self._waits.drop(key)
        self._failed(BindResult(Assignment(key, node), Outcome.NO_VOLUMES, message, 0), now)


def _taken(item: StorageObject) -> bool:
    """Whether it is a volume that somebody has, and so nobody else can get."""
    return isinstance(item, PersistentVolume) and item.spec.claim_ref is not None
