"""Pods with claims of one sort: they wait until all that bears on these is known, and are tried when one changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from engine.cluster.protocol import ResourceKind
from engine.constraints.protocol import Depends
from engine.model.objects import PodKey
from engine.model.storage import ClaimName
from engine.scheduler.queue import SchedulingQueue
from engine.state.cache import Cache


class Claimants:
    """The pods, on the scheduler's thread.

    Args:
        kinds: Of what bears on the claims.
        depends: What pods are woken by when it is known.
        cache: The pods.
        queue: Where they wait.
        unknown: Takes why it is not known, "" where it is.
    """

    def __init__(
        self,
        kinds: Iterable[ResourceKind],
        depends: Depends,
        cache: Cache,
        queue: SchedulingQueue,
        unknown: Callable[[str], None],
    ) -> None:
        self._unlisted = dict.fromkeys(kinds)
        self._depends = depends
        self._cache = cache
        self._queue = queue
        self._unknown = unknown
        self._troubles: dict[ResourceKind, str] = {}
        self._held: dict[PodKey, None] = {}
        self._refused: dict[PodKey, tuple[ClaimName, ...]] = {}
        self._refused_with: dict[ClaimName, dict[PodKey, None]] = {}

    # Whether it is known at all

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

    def holds(self, key: PodKey) -> bool:
        """Whether a pod with such claims is kept back, as what bears on them is about to be told."""
        if not self._unlisted or self._troubles:
            return False
        self._held[key] = None
        return True

    def _reconsider(self, now: float) -> None:
        """Let held pods go once all is known, and those who are to learn why it is not."""
        if self._unlisted and not self._troubles:
            return
        self._unknown(next(iter(self._troubles.values()), ""))
        for key in self._held:  # the wake below is for those that were told why
            placed = self._cache.pod(key)
            if placed is not None:
                self._queue.add(key, placed.shape.priority, now)
        self._held.clear()
        self._queue.wake(self._depends, now)

    # Whom a claim could help

    def refused(self, key: PodKey, names: Collection[ClaimName]) -> None:
        """No node takes the pod: it is tried again when one of its own claims changes."""
        self._no_longer_refused(key)
        if names:
            self._refused[key] = tuple(names)
            for name in names:
                self._refused_with.setdefault(name, {})[key] = None

    def changed(self, name: ClaimName, now: float) -> None:
        """Look again at the pods that were refused with a claim."""
        for key in list(self._refused_with.get(name, ())):
            self._queue.retry(key, now)

    def drop(self, key: PodKey) -> None:
        """The pod is no longer to be bound by us."""
        self._held.pop(key, None)
        self._no_longer_refused(key)

    def _no_longer_refused(self, key: PodKey) -> None:
        for name in self._refused.pop(key, ()):
            users = self._refused_with[name]
            users.pop(key, None)
            if not users:
                del self._refused_with[name]
