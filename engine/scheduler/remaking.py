"""Bare pods that are made anew: nobody else does, so what is to come of them is written down in the cluster first.

::

    placeholder with the manifest ──▶ pod asked to leave ──▶ pod gone ──▶ made anew ──▶ placeholder gone

The placeholder stands where the new pod is to run. Whoever starts after a kill finds it, and goes on from there. Where
it goes before its time (with its node, or ended by it, or deleted by somebody), we still know what it carried.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

from engine.binder.errands import Create, Delete, Errand, ErrandExecutor, ErrandResult, Record, Remake, Step
from engine.healing.placeholders import manifest
from engine.healing.plan import Move
from engine.model.objects import PodKey
from engine.model.placeholder import FOR_ONE, OF, RECREATES, holds_for
from engine.scheduler.reserving import Reserving
from engine.state.cache import Cache
from engine.state.pods import PlacedPod

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 5.0
ABANDON_SECONDS: Final = 60.0
"""A placeholder whose pod is still there, and asked to leave by nobody, goes after so long."""


class Remaking:
    """Pods that are being made anew.

    Args:
        cache: What is known of the cluster.
        executor: Makes pods; results come back through `ended`.
        reserving: Knows the placeholders.
        namespace: Where they are.
        image: What they run.
    """

    def __init__(
        self, cache: Cache, executor: ErrandExecutor, reserving: Reserving, namespace: str, image: str
    ) -> None:
        self._cache = cache
        self._executor = executor
        self._reserving = reserving
        self._namespace = namespace
        self._image = image
        self._again_at: dict[PodKey, float] = {}
        self._alive_since: dict[PodKey, float] = {}
        self._held: dict[PodKey, PlacedPod] = {}
        self._sent: dict[PodKey, PlacedPod] = {}
        self._done: set[PodKey] = set()
        self._astray: dict[PodKey, PlacedPod] = {}

    def steps(self, move: Move, pod: PlacedPod) -> Iterator[Step]:
        """What begins it."""
        node = self._cache.node(move.target)
        if node is not None:
            amounts = {name: value for name, value in pod.requests.items() if value > 0}
            name = f"berth-recreates-{blake2b(pod.key.uid.encode(), digest_size=8).hexdigest()}"
            placeholder = manifest(name, self._namespace, FOR_ONE, node, amounts, self._image)
            yield Record(pod.key, placeholder)
            lost = (found := self._cache.node(move.source)) is None or not found.ready
            yield Delete(pod.key, 0 if lost else None)

    def tend(self, now: float) -> None:
        """Make those anew that are gone, and clear away what is done."""
        for held in [*self._reserving.waiting_pods(), *self._astray.values()]:
            if now < self._again_at.get(held.key, 0.0) or held.key in self._sent:
                continue
            found = _carried(held)
            if found is None:
                log.warning("placeholder %s carries no pod that could be read; it is deleted", held.key.name)
                self._clear(held, now)
                continue
            namespace, name, uid = found
            there = self._named(namespace, name)
            if there is None:
                log.info("pod %s/%s is made anew", namespace, name, extra={"pod": f"{namespace}/{name}"})
                self._make(held, now)
            elif there.uid != uid:
                self._clear(held, now)  # made anew, by whomever
            elif self._leaves(there):
                self._alive_since.pop(held.key, None)
                self._again_at.pop(held.key, None)
            elif now - self._alive_since.setdefault(held.key, now) >= ABANDON_SECONDS:
                self._clear(held, now)

    def pod(self, placed: PlacedPod) -> None:
        """A pod came or changed."""
        if holds_for(placed.shape.labels) == FOR_ONE:
            self._held[placed.key] = placed
            return
        key = placed.key
        for held in list(self._astray.values()):
            found = _carried(held)
            if found is not None and found[:2] == (key.namespace, key.name) and found[2] != key.uid:
                self._drop(held.key)

    def ended(self, result: ErrandResult, now: float) -> None:
        """A pod was made anew, or could not be."""
        key = result.errand.subject
        assert isinstance(key, PodKey)
        held = self._sent.pop(key, None)
        if result.message:
            log.warning("a pod was not made anew from placeholder %s: %s", key.name, result.message)
            self._again_at[key] = now + RETRY_SECONDS
        if held is None:
            return
        making = any(isinstance(step, Create | Remake) for step in result.errand.steps)
        if result.message or (making and not result.created):
            if key not in self._held:
                self._astray[key] = held
        elif making and result.created[0].metadata.uid == (held.pod.metadata.annotations or {}).get(OF):
            self._astray[key] = held  # the old one is not gone yet
            self._again_at[key] = now + RETRY_SECONDS
        elif key in self._held:
            self._done.add(key)
        else:
            self._drop(key)

    def gone(self, key: PodKey) -> None:
        """A pod is gone."""
        held = self._held.pop(key, None)
        if held is None:
            return
        self._again_at.pop(key, None)
        self._alive_since.pop(key, None)
        if key in self._done:
            self._done.discard(key)
        elif key not in self._sent:  # else its end says what came of it
            found = _carried(held)
            there = None if found is None else self._named(*found[:2])
            if found is not None and (there is None or there.uid == found[2]):
                self._astray[key] = held

    def next_due(self) -> float | None:
        """When there is something to do even if nothing comes in."""
        waiting = [*self._reserving.waiting_pods(), *self._astray.values()]
        due = [self._again_at[held.key] for held in waiting if held.key in self._again_at]
        due += [since + ABANDON_SECONDS for since in self._alive_since.values()]
        return min(due, default=None)

    # Inside

    def _make(self, held: PlacedPod, now: float) -> None:
        if held.key in self._astray:
            carried = json.loads((held.pod.metadata.annotations or {})[RECREATES])
            self._send(held, (Create(carried), Delete(held.key, 0)), now)
        else:
            self._send(held, (Remake(held.key), Delete(held.key, 0)), now)

    def _clear(self, held: PlacedPod, now: float) -> None:
        """Nothing is to come of a placeholder any more."""
        self._alive_since.pop(held.key, None)
        if held.key in self._astray:
            self._drop(held.key)
        else:
            self._send(held, (Delete(held.key, 0),), now)

    def _drop(self, key: PodKey) -> None:
        self._astray.pop(key, None)
        self._again_at.pop(key, None)
        self._alive_since.pop(key, None)

    def _send(self, held: PlacedPod, steps: tuple[Step, ...], now: float) -> None:
        self._again_at[held.key] = now + RETRY_SECONDS
        self._sent[held.key] = held
        self._executor.submit(Errand(held.key, steps))

    def _leaves(self, key: PodKey) -> bool:
        placed = self._cache.pod(key)
        return placed is not None and placed.pod.metadata.deletion_timestamp is not None

    def _named(self, namespace: str, name: str) -> PodKey | None:
        found = [
            one.key for one in self._cache.pods() if one.key.name == name and one.key.namespace == namespace
        ]
        return found[0] if found else None


def _carried(held: PlacedPod) -> tuple[str, str, str] | None:
    """The namespace, name and former uid of the pod that a placeholder carries."""
    annotations = held.pod.metadata.annotations or {}
    try:
        metadata = json.loads(annotations[RECREATES])["metadata"]
        return str(metadata.get("namespace") or "default"), str(metadata["name"]), annotations[OF]
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
