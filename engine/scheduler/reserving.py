"""Keeps the policies' reserves: plans that follow the pods, and the placeholders in the cluster that follow the plans.

::

    pods, nodes, delays ──▶ Reserve (where to keep how much) ──▶ differences ──▶ errands: delete, create
            ▲                                                                        │
            └───────────────── placeholders come and go, as the watch tells ◀────────┘
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from hashlib import blake2b
from random import Random
from typing import Final

from engine.binder.errands import Create, Delete, Errand, ErrandExecutor, ErrandResult, Step
from engine.healing import Reserve
from engine.healing.placeholders import Keep, differences, label_of, manifest
from engine.model.objects import PodKey
from engine.model.placeholder import FOR_ONE, holds_for
from engine.placement import Placer
from engine.scheduler.kept import Kept, Uncovered
from engine.scheduler.metrics import Metrics
from engine.scheduler.telling import Telling
from engine.state.cache import Cache
from engine.state.columns import PODS
from engine.state.pods import Phase, PlacedPod

log = logging.getLogger(__name__)

SYNC_SECONDS: Final = 0.5
"""What changed within this time is written to the cluster together."""
RETRY_SECONDS: Final = 30.0
"""How often pods that could not be covered are looked at again, and a node that would not hold a placeholder."""
_SPARE_PLACES: Final = 10
"""Places among a node's pods below which as many placeholders are made as places are kept."""


class Reserving:
    """The reserves, and their placeholders.

    Args:
        cache: What is known of the cluster.
        placer: Whose rules the backups obey, and whose plan says what is reserved.
        executor: Makes and deletes placeholders; results come back through `ended`.
        telling: Tells people of what is not covered.
        metrics: Takes counts.
        namespace: Where placeholders are.
        image: What they run.
        seed: Of the optimiser.
    """

    def __init__(
        self,
        cache: Cache,
        placer: Placer,
        executor: ErrandExecutor,
        telling: Telling,
        metrics: Metrics,
        namespace: str,
        image: str,
        seed: int = 0,
    ) -> None:
        self._cache = cache
        self._placer = placer
        self._executor = executor
        self._telling = telling
        self._metrics = metrics
        self._namespace = namespace
        self._image = image
        self._random = Random(seed)
        self._reserves: list[Kept] | None = None
        self._changed: dict[PodKey, None] = {}
        self._known: dict[PodKey, tuple[object, ...]] = {}
        self._placeholders: dict[str, dict[PodKey, PlacedPod]] = {}
        self._held_changed = False
        self._delays_changed = False
        self._seen = (-1, -1)
        self._under_way: dict[tuple[str, str], set[PodKey]] = {}
        self._refused: dict[tuple[str, str], float] = {}
        self._sync_at = 0.0
        self._dirty = False
        self._promised = False
        self._retry_at: float | None = None

    # Asking

    @property
    def active(self) -> bool:
        """Whether there is anything to keep, or to clear away."""
        return bool(self._placer.reserves) or bool(self._placeholders)

    @property
    def reserves(self) -> list[Kept]:
        """Those of the policy in force, as far as they are planned."""
        return self._reserves or []

    def backups(self) -> dict[PodKey, str]:
        """The node that each covered pod's backup lies on; of several reserves the first that has one."""
        found: dict[PodKey, str] = {}
        for one in reversed(self.reserves):
            found.update(one.plan.places())
        return found

    def placeholders(self) -> list[PlacedPod]:
        """All that hold room now."""
        return [
            pod for label, pods in self._placeholders.items() if label != FOR_ONE for pod in pods.values()
        ]

    def waiting_pods(self) -> Collection[PlacedPod]:
        """The placeholders that carry a pod which is being made anew."""
        return self._placeholders.get(FOR_ONE, {}).values()

    def on(self, node: str) -> list[PlacedPod]:
        """The placeholders of a node."""
        return [pod for pod in self._cache.pods_on(node) if holds_for(pod.shape.labels) is not None]

    def uncovered(self) -> Iterator[Uncovered]:
        """Whom nothing is kept for."""
        for one in self.reserves:
            for key, why in one.plan.uncovered.items():
                yield Uncovered(one.rule, key, why)

    def refusal(self, placed: PlacedPod, node: str, now: float) -> str:
        """Why a pod is not to be placed on a node, "" where it may: a reserve wants all covered, and one would not be.

        Args:
            placed: A pod that has no node.
            node: Where it would go.
            now: Seconds since the epoch.
        """
        if self._reserves is None:
            self._follow(now)
        for one in self.reserves:
            if one.rule.refuse and one.covers(placed):
                before = set(one.plan.uncovered)
                self._cache.assume(placed.key, node)
                try:
                    one.plan.put(placed, now)
                    why = one.plan.uncovered.get(placed.key)
                    others = one.plan.uncovered.keys() - before - {placed.key}
                finally:
                    self._cache.forget(placed.key)
                    one.plan.drop(placed.key, now)
                if others:
                    one.plan.retry(now)
                if why is not None or others:
                    told = why or f"what is kept for {min(others)} would not be enough"
                    return f"reserve {one.rule.name} ({one.rule.span}) refuses it on {node}: {told}"
        return ""

    # What happens

    def pod(self, placed: PlacedPod) -> None:
        """A pod came, changed or left its node."""
        label = holds_for(placed.shape.labels)
        if label is not None:
            if placed.slot >= 0 or placed.node:
                self._placeholders.setdefault(label, {})[placed.key] = placed
            self._held_changed = True
            return
        if self._placer.reserves:
            self._changed[placed.key] = None

    def gone(self, key: PodKey) -> None:
        """A pod is gone."""
        self._changed[key] = None
        for label, pods in list(self._placeholders.items()):
            if pods.pop(key, None) is not None:
                self._held_changed = True
                if not pods:
                    del self._placeholders[label]
        for place, going in list(self._under_way.items()):
            going.discard(key)
            if not going:
                del self._under_way[place]

    def plan_changed(self) -> None:
        """Other policies are in force."""
        self._reserves = None
        self._dirty = True

    def delays_changed(self) -> None:
        """Other delays are in force."""
        self._delays_changed = True

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
        self._dirty = True

    # The work

    def tend(self, now: float, idle: bool, promised: bool) -> None:
        """Bring plans up to what happened, and the cluster up to the plans.

        Args:
            now: Seconds since the epoch.
            idle: Whether nothing else waits, so that there is time to make reserves smaller.
            promised: Whether places are promised to pods that have not come yet: until they have, all stays as it is.
        """
        self._promised = promised
        if not self.active or promised:
            return
        if self._follow(now) or (idle and self._improve(now)):
            self._dirty = True
            self._tell(now)
        if self._dirty and now >= self._sync_at:
            self._sync(now)

    def next_due(self, now: float) -> float | None:
        """When there is something to do even if nothing comes in."""
        if not self.active or self._promised:
            return None  # a promise ends by something that comes in, or lapses
        if self._dirty or self._changed or self._held_changed or self._delays_changed:
            return max(now, self._sync_at)
        due = [self._retry_at] if self._retry_at is not None else []
        due += [at for one in self.reserves if (at := one.improves_at) is not None]
        return min(due, default=None)

    # Inside

    def _follow(self, now: float) -> bool:
        """Whether anything was different."""
        columns = self._cache.columns
        seen = (columns.node_changes.version, columns.usage_changes.version)
        anew = self._reserves is None
        if anew:
            self._build(now)
        moved = [key for key in self._changed if self._differs(key)]
        self._changed.clear()
        held, self._held_changed = self._held_changed, False
        delays, self._delays_changed = self._delays_changed, False
        retry = self._retry_at is not None and now >= self._retry_at
        if not (anew or moved or held or delays or retry or seen != self._seen):
            return False
        for one in self.reserves:
            if held:
                one.plan.hold(set(self._placeholders.get(one.label, {}).values()), now)
            if delays and not anew:
                one.plan.revise(now)
            if not anew:
                for key in moved:
                    placed = self._cache.pod(key)
                    if placed is not None and placed.counts:
                        one.plan.put(placed, now)
                    else:
                        one.plan.drop(key, now)
                one.plan.follow(now)
            if retry and one.plan.uncovered:
                one.plan.retry(now)
            if anew or moved or delays or seen[0] != self._seen[0]:
                one.stirred(now)
        self._seen = (columns.node_changes.version, columns.usage_changes.version)
        if any(one.plan.uncovered for one in self.reserves):
            if self._retry_at is None or retry:
                self._retry_at = now + RETRY_SECONDS
        else:
            self._retry_at = None
        return True

    def _differs(self, key: PodKey) -> bool:
        """Whether a pod is not what it was when the plans last saw it; those that nothing covers never are."""
        placed = self._cache.pod(key)
        now: tuple[object, ...] | None = None
        if placed is not None and placed.counts and any(one.covers(placed) for one in self.reserves):
            now = (placed.slot, id(placed.shape), tuple(placed.requests.items()))
        if now == self._known.get(key):
            return False
        if now is None:
            del self._known[key]
        else:
            self._known[key] = now
        return True

    def _build(self, now: float) -> None:
        self._reserves = []
        self._dirty = True
        self._known.clear()
        self._refused.clear()
        for rule, covers in self._placer.reserves:
            held = set(self._placeholders.get(label_of(rule.name), {}).values())
            share = None if rule.at_most is None else rule.at_most / 100
            plan = Reserve(self._cache, self._placer, covers, rule.domain.label, share, held)
            self._reserves.append(Kept(rule, covers, plan))
        if self._reserves:
            pods = [pod for pod in self._cache.pods() if pod.counts and holds_for(pod.shape.labels) is None]
            for one in self._reserves:
                one.plan.put_all([pod for pod in pods if one.covers(pod)], now)
                log.info(
                    "reserve %s: %d pods are covered, %d are not",
                    one.rule.name,
                    len(one.plan.backups),
                    len(one.plan.uncovered),
                )
            for pod in pods:
                self._differs(pod.key)

    def _improve(self, now: float) -> bool:
        """A slice of making reserves smaller. Whether one lies elsewhere now."""
        better = [one.improve(now, self._random) for one in self.reserves]
        return any(better)

    def _tell(self, now: float) -> None:
        for one in self.reserves:
            plan = one.plan
            self._metrics.reserved(one.rule.name, len(plan.backups), len(plan.uncovered), plan.kept_memory)
            for key, why in plan.uncovered.items():
                if one.told.get(key) != why:
                    placed = self._cache.pod(key)
                    if placed is not None:
                        self._telling.uncovered(placed.pod, one.rule, why, now)
            for key in sorted(one.told.keys() - plan.uncovered.keys()):
                placed = self._cache.pod(key)
                if placed is not None and key in plan.backups:
                    self._telling.covered(placed.pod, one.rule, plan.backup(key) or "", now)
            one.told = dict(plan.uncovered)

    def _sync(self, now: float) -> None:
        """Have made and deleted what differs from the plans; nodes that something is under way on come later."""
        self._dirty = False
        self._sync_at = now + SYNC_SECONDS
        labels = {one.label for one in self.reserves}
        keeps: list[Keep] = []
        for one in self.reserves:
            kept = one.plan.kept()
            held = self._held(one.label)
            keeps += differences(one.label, kept, held, self._scarce(kept))
        for label in sorted(self._placeholders.keys() - labels - {FOR_ONE}):
            keeps += differences(label, {}, self._held(label))
        nominations = self._cache.nominations
        for keep in keeps:
            place = (keep.reserve, keep.node)
            if place in self._under_way or nominations.on(keep.node):
                continue
            if now < self._refused.get(place, 0.0):
                self._retry_at = min(self._retry_at or now + RETRY_SECONDS, self._refused[place])
                continue
            self._refused.pop(place, None)
            steps = tuple(self._steps(keep))
            if steps:
                # Until the watch has told of all of it, nothing else is done there.
                self._under_way[place] = set(keep.delete)
                self._executor.submit(Errand(keep, steps))

    def _held(self, label: str) -> Iterable[PlacedPod]:
        pods = self._placeholders.get(label, {}).values()
        return [pod for pod in pods if pod.phase is not Phase.TERMINATING]

    def _steps(self, keep: Keep) -> Iterator[Step]:
        for key in keep.delete:
            yield Delete(key, 0)
        node = self._cache.node(keep.node)
        if node is None:
            return  # its placeholders go with it
        taken = {pod.key.name for pod in self.on(keep.node)}
        number = 0
        for amounts in keep.create:
            while (name := _name(keep, number)) in taken:
                number += 1
            number += 1
            yield Create(manifest(name, self._namespace, keep.reserve, node, amounts, self._image))

    def _scarce(self, kept: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
        columns = self._cache.columns
        found = {}
        for node, amounts in kept.items():
            slot = columns.slot(node)
            if slot is not None and amounts.get(PODS, 0) > 1:
                left = int(columns.allocatable[PODS][slot] - columns.used[PODS][slot])
                if left < amounts[PODS] + _SPARE_PLACES:
                    found[node] = left
        return found


def _name(keep: Keep, number: int) -> str:
    digest = blake2b(f"{keep.reserve}/{keep.node}".encode(), digest_size=6).hexdigest()
    return f"berth-placeholder-{digest}-{number}"
