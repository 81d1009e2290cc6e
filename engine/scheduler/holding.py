"""The placeholders in the cluster: which there are, and errands that make and delete them until they are as planned."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from engine.binder.errands import Create, Delete, Errand, ErrandExecutor, ErrandResult, Step
from engine.healing.placeholders import Amounts, Keep, differences, manifest, numbers
from engine.healing.rules import asked
from engine.model.objects import PodKey
from engine.model.placeholder import FOR_ONE, holds_for
from engine.state.cache import Cache
from engine.state.columns import PODS
from engine.state.pods import Phase, PlacedPod

log = logging.getLogger(__name__)

SYNC_SECONDS: Final = 0.5
"""What changed within this time is written to the cluster together."""
RETRY_SECONDS: Final = 30.0
"""How often a node that would not hold a placeholder is tried again."""
_LEFT_BEHIND: Final = 256
"""Of so many placeholders that went unasked it is remembered that something of them may be left, the last ones."""


class Holding:
    """Placeholders as the watch tells of them, and what is under way to change them.

    A node on which something is under way, or a place is promised to somebody, is left alone until that is over.

    Args:
        cache: What is known of the cluster.
        executor: Makes and deletes placeholders; results come back through `ended`.
        namespace: Where placeholders are.
        image: What they run.

    Attributes:
        dirty: Whether the cluster may differ from the plans.
    """

    def __init__(self, cache: Cache, executor: ErrandExecutor, namespace: str, image: str) -> None:
        self._cache = cache
        self._executor = executor
        self._namespace = namespace
        self._image = image
        self._placeholders: dict[str, dict[PodKey, PlacedPod]] = {}
        self._under_way: dict[tuple[str, str], set[PodKey]] = {}
        self._refused: dict[tuple[str, str], float] = {}
        self._promised: set[str] = set()
        self._again_at: float | None = None
        self._left_behind: dict[PodKey, Keep] = {}
        self._sync_at = 0.0
        self.dirty = False

    def __bool__(self) -> bool:
        """Whether there are any, or something may be left of some."""
        return bool(self._placeholders) or bool(self._left_behind)

    # Asking

    def holding(self) -> list[PlacedPod]:
        """All that hold room for a reserve."""
        return [
            pod for label, pods in self._placeholders.items() if label != FOR_ONE for pod in pods.values()
        ]

    def of(self, label: str) -> Collection[PlacedPod]:
        """Those of a label."""
        return self._placeholders.get(label, {}).values()

    def in_the_way(self, pod: PlacedPod, target: str) -> list[PodKey]:
        """The placeholders that have to go so that a pod has room on its target beside who is promised room there.

        No more than that: what the others hold stays held. One that carries a pod that is being made anew never goes.
        """
        columns = self._cache.columns
        slot = columns.slot(target)
        on_target = sorted(self._on(target), key=lambda one: one.key)
        holding = [one for one in on_target if holds_for(one.shape.labels) != FOR_ONE]
        if slot is None or not holding:
            return []
        promised = [asked(one) for one in self._cache.nominations.on(target)]
        short: dict[str, int] = {}
        for resource, value in asked(pod).items():
            allocatable = columns.resource(columns.allocatable, resource)[slot]
            used = columns.resource(columns.used, resource)[slot]
            lacks = int(used - allocatable) + value + sum(one.get(resource, 0) for one in promised)
            if lacks > 0:
                short[resource] = lacks
        found = []
        # Those that hold nothing but a place first: where places are all that is short, they are enough.
        for one in sorted(holding, key=lambda one: any(one.requests.values()) and short.keys() == {PODS}):
            held = asked(one)
            if any(held.get(resource, 0) for resource in short):
                found.append(one.key)
                short = {
                    resource: value - held.get(resource, 0)
                    for resource, value in short.items()
                    if value > held.get(resource, 0)
                }
        return found

    # What happens

    def pod(self, placed: PlacedPod, label: str) -> None:
        """A placeholder came or changed."""
        if placed.slot >= 0 or placed.node:
            self._placeholders.setdefault(label, {})[placed.key] = placed

    def gone(self, key: PodKey) -> bool:
        """A pod is gone. Whether it was a placeholder."""
        found = False
        for label, pods in list(self._placeholders.items()):
            if (placed := pods.pop(key, None)) is not None:
                found = True
                self._unasked(placed, label)
                if not pods:
                    del self._placeholders[label]
        for place, going in list(self._under_way.items()):
            going.discard(key)
            if not going:
                del self._under_way[place]
        return found

    def ended(self, result: ErrandResult, now: float) -> None:
        """Placeholders were made and deleted, or not."""
        keep = result.errand.subject
        assert isinstance(keep, Keep)
        place = (keep.reserve, keep.node)
        going = self._under_way.get(place, set())
        going &= {key for key in keep.delete if self._cache.pod(key) is not None}
        if result.message:
            self._refused[place] = now + RETRY_SECONDS
            log.warning(
                "room that is to be kept on node %s for %s is not: %s",
                keep.node,
                keep.reserve,
                result.message,
                extra={"node": keep.node},
            )
            going.clear()
        if not going:
            self._under_way.pop(place, None)
        self.dirty = True

    def forgive(self) -> None:
        """Try all nodes again, whatever they refused."""
        self._refused.clear()

    # The work

    def tend(self, plans: Iterable[tuple[str, Mapping[str, Amounts]]], now: float) -> None:
        """Have made and deleted what differs from the plans, if it is time to.

        Args:
            plans: The label of each reserve, and what is to be kept: node → resource → amount.
            now: Seconds since the epoch.
        """
        if self._kept_waiting(now):
            self.dirty = True
        if self.dirty and now >= self._sync_at:
            self._sync(dict(plans), now)

    def next_due(self, now: float) -> float | None:
        """When there is something to do even if nothing comes in."""
        return self.soon(now) if self.dirty else self._again_at

    def soon(self, now: float) -> float:
        """When the cluster may next be brought up to the plans."""
        return max(now, self._sync_at)

    # Inside

    def _unasked(self, placed: PlacedPod, label: str) -> None:
        """A placeholder is gone. One that its node ended is still there, though no watch shows it."""
        if label != FOR_ONE and not any(placed.key in going for going in self._under_way.values()):
            self._left_behind[placed.key] = Keep(placed.pod.spec.node_name, label, (placed.key,), ())
            if len(self._left_behind) > _LEFT_BEHIND:
                del self._left_behind[next(iter(self._left_behind))]

    def _clear_away(self) -> None:
        """Delete what is left of placeholders, where nothing else is to be done."""
        if self._cache.nominations.nodes():
            return
        for key, keep in list(self._left_behind.items()):
            place = (keep.reserve, keep.node)
            if place not in self._under_way:
                del self._left_behind[key]
                self._under_way[place] = set()
                self._executor.submit(Errand(keep, (Delete(key, 0),)))

    def _kept_waiting(self, now: float) -> bool:
        """Whether a node that was left alone need not be any more."""
        nominations = self._cache.nominations
        return any(not nominations.on(node) for node in self._promised) or (
            self._again_at is not None and now >= self._again_at
        )

    def _sync(self, plans: Mapping[str, Mapping[str, Amounts]], now: float) -> None:
        self.dirty, self._sync_at = False, now + SYNC_SECONDS
        self._again_at = None
        self._promised.clear()
        counts = numbers(plans, self._free_places(plans))
        keeps: list[Keep] = []
        for label, kept in plans.items():
            keeps += differences(label, kept, self._staying(label), counts.get(label))
        for label in sorted(self._placeholders.keys() - plans.keys() - {FOR_ONE}):
            keeps += differences(label, {}, self._staying(label))
        for keep in keeps:
            place = (keep.reserve, keep.node)
            if self._cache.nominations.on(keep.node):
                self._promised.add(keep.node)
                continue
            if place in self._under_way:
                continue  # what ends it makes us look again
            again_at = self._refused.get(place, 0.0)
            if now < again_at:
                self._again_at = min(self._again_at or again_at, again_at)
                continue
            self._refused.pop(place, None)
            steps = tuple(self._steps(keep))
            if steps:
                # Until the watch has told of all of it, nothing else is done there.
                self._under_way[place] = set(keep.delete)
                self._executor.submit(Errand(keep, steps))
        if not keeps:
            self._clear_away()

    def _on(self, node: str) -> list[PlacedPod]:
        return [pod for pod in self._cache.pods_on(node) if holds_for(pod.shape.labels) is not None]

    def _staying(self, label: str) -> Sequence[PlacedPod]:
        return [pod for pod in self.of(label) if pod.phase is not Phase.TERMINATING]

    def _steps(self, keep: Keep) -> Iterator[Step]:
        for key in keep.delete:
            yield Delete(key, 0)
        node = self._cache.node(keep.node)
        if node is None:
            return  # its placeholders go with it
        taken = {pod.key.name for pod in self._on(keep.node)}
        number = 0
        for amounts in keep.create:
            while (name := _name(keep, number)) in taken:
                number += 1
            number += 1
            yield Create(manifest(name, self._namespace, keep.reserve, node, amounts, self._image))

    def _free_places(self, plans: Mapping[str, Mapping[str, Amounts]]) -> dict[str, int]:
        """The places among the pods of each node that no pod has, those of reserves aside."""
        columns = self._cache.columns
        found = {}
        for node in {node for kept in plans.values() for node in kept}:
            slot = columns.slot(node)
            if slot is not None:
                found[node] = int(columns.allocatable[PODS][slot] - columns.used[PODS][slot])
        for one in self.holding():
            if one.slot >= 0 and one.node in found:
                found[one.node] += 1
        return found


def _name(keep: Keep, number: int) -> str:
    digest = blake2b(f"{keep.reserve}/{keep.node}".encode(), digest_size=6).hexdigest()
    return f"berth-placeholder-{digest}-{number}"
