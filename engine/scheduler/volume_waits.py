"""Pods that have a node and wait for the cluster to bind their claims.

Nothing polls: what the watches tell of claims and volumes is looked at when it comes, as it is, without what we assume.

Source: kube-scheduler's plugin VolumeBinding (checkBindings).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from engine.constraints.nodes import term_matches
from engine.constraints.volume_demand import terms_of
from engine.model.migrated import terms_where_migrated
from engine.model.objects import PodKey
from engine.model.storage import (
    ClaimName,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageObject,
    VolumeBindings,
)
from engine.scheduler.waits import Waits
from engine.state.cache import Cache

BOUND: Final = ""
"""The verdict on a pod all whose claims are bound."""


class VolumeWaits:
    """Which pods wait for which claims and volumes.

    Args:
        cache: What is known of both.
        seconds: How long a pod waits at most.
    """

    def __init__(self, cache: Cache, seconds: float) -> None:
        self._cache = cache
        self._seconds = seconds
        self._waits = Waits[VolumeBindings]()

    def __contains__(self, key: object) -> bool:
        """Whether the pod waits."""
        return key in self._waits

    def __len__(self) -> int:
        """How many pods wait."""
        return len(self._waits)

    def add(self, key: PodKey, bindings: VolumeBindings, now: float) -> None:
        """The pod's writes are done: it waits from now on."""
        self._waits.add(key, bindings, bindings.node, tuple(_names(bindings)), now + self._seconds)

    def drop(self, key: PodKey) -> bool:
        """The pod waits no longer. Returns whether it did."""
        return self._waits.drop(key)

    def concerned(self, item: StorageObject) -> list[PodKey]:
        """The pods that a change of an object may be about."""
        names: list[str | ClaimName] = []
        if isinstance(item, PersistentVolumeClaim):
            names.append(item.name)
        elif isinstance(item, PersistentVolume):
            names.append(item.metadata.name)
            reference = item.spec.claim_ref
            if reference is not None:
                names.append(ClaimName(reference.namespace, reference.name))
        return self._waits.concerned(names)

    def on(self, node: str) -> list[PodKey]:
        """The pods that are to go to a node."""
        return self._waits.on(node)

    def node_of(self, key: PodKey) -> str:
        """Where a waiting pod is to go."""
        return self._waits.node_of(key)

    def verdict(self, key: PodKey) -> str | None:
        """`BOUND`, or why nothing will come of it, or None while it has to wait on."""
        bindings = self._waits.what(key)
        if self._cache.columns.slot(bindings.node) is None:
            return f"node {bindings.node} is gone"
        verdicts = [self._given(volume, claim, bindings.node) for volume, claim in bindings.given]
        verdicts += [self._made(claim, bindings.node) for claim in bindings.made]
        troubles = [verdict for verdict in verdicts if verdict]
        if troubles:
            return troubles[0]
        return None if None in verdicts else BOUND

    def expired(self, now: float) -> Iterator[tuple[PodKey, str]]:
        """The pods that have waited too long, with what to say of each."""
        for key in self._waits.expired(now):
            yield key, f"{self._unbound(self._waits.what(key))} not bound within {self._seconds:g} s"

    def next_due(self) -> float | None:
        """When the next pod will have waited too long."""
        return self._waits.next_due()

    def _given(self, given: PersistentVolume, to: PersistentVolumeClaim, node: str) -> str | None:
        name = given.metadata.name
        volume = self._cache.volumes.volume(name)
        claim = self._cache.volumes.claim(to.name)
        if volume is None:
            return f"persistentvolume {name} is gone"
        if claim is None or claim.metadata.uid != to.metadata.uid:
            return f"persistentvolumeclaim {to.name} is gone"
        if not self._reaches(volume, node):
            return f"persistentvolume {name} is not reached from {node}"
        reference = volume.spec.claim_ref
        if reference is None or not reference.uid or not volume.is_for(claim):
            return f"persistentvolume {name} was taken back from {to.name}"
        return BOUND if claim.bound else None

    def _made(self, to: PersistentVolumeClaim, node: str) -> str | None:
        claim = self._cache.volumes.claim(to.name)
        if claim is None or claim.metadata.uid != to.metadata.uid:
            return f"persistentvolumeclaim {to.name} is gone"
        if claim.selected_node != node:
            return f"provisioning failed for persistentvolumeclaim {to.name}"
        if not claim.spec.volume_name:
            return None
        volume = self._cache.volumes.volume(claim.spec.volume_name)
        if volume is None:
            return None  # Its watch may be behind that of the claims.
        if not self._reaches(volume, node):
            return f"persistentvolume {claim.spec.volume_name} is not reached from {node}"
        return BOUND if claim.bound else None

    def _reaches(self, volume: PersistentVolume, node: str) -> bool:
        terms = terms_of(volume)
        slot = self._cache.columns.slot(node)
        migrated = terms_where_migrated(volume)
        if migrated is not None and slot is not None:
            plugin, instead = migrated
            terms = instead if self._cache.volumes.attachments.migrated(plugin.name)[slot] else terms
        if terms is None or slot is None:
            return terms is None
        where = np.array([slot], dtype=np.int64)
        return any(bool(term_matches(term, self._cache.columns, where)[0]) for term in terms)

    def _unbound(self, bindings: VolumeBindings) -> str:
        names = [
            str(claim.name)
            for claim in bindings.claims()
            if (known := self._cache.volumes.claim(claim.name)) is None or not known.bound
        ]
        return f"persistentvolumeclaim {', '.join(names)}"


def _names(bindings: VolumeBindings) -> Iterable[str | ClaimName]:
    for volume, claim in bindings.given:
        yield volume.metadata.name
        yield claim.name
    for claim in bindings.made:
        yield claim.name
