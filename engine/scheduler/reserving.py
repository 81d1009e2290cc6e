"""Keeps the policies' reserves: plans that follow the pods, and the placeholders in the cluster that follow the plans.

::

    pods, nodes, delays ──▶ Reserve (where to keep how much) ──▶ differences ──▶ errands: delete, create
            ▲                                                                        │
            └───────────────── placeholders come and go, as the watch tells ◀────────┘
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from random import Random
from typing import Final

from engine.binder.errands import ErrandExecutor, ErrandResult
from engine.healing import Reserve
from engine.healing.placeholders import label_of
from engine.healing.plan import Move
from engine.model.objects import PodKey
from engine.model.placeholder import FOR_ONE, holds_for
from engine.placement import Placer
from engine.scheduler.expected import expected
from engine.scheduler.holding import Holding
from engine.scheduler.kept import Kept, Uncovered
from engine.scheduler.metrics import Metrics
from engine.scheduler.telling import Telling
from engine.state.cache import Cache
from engine.state.pods import PlacedPod

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 30.0
"""How often pods that could not be covered are looked at again."""
PROMISED_SECONDS: Final = 1.0
"""How often plans are brought up to date while pods move: binding those that come in their place is more urgent."""
_AT_ONCE: Final = 150
"""Pods about which the rules are asked between two passes of decisions: 15 to 30 ms."""


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
        self._telling = telling
        self._metrics = metrics
        self._holding = Holding(cache, executor, namespace, image)
        self._random = Random(seed)
        self._reserves: list[Kept] | None = None
        self._changed: dict[PodKey, None] = {}
        self._known: dict[PodKey, tuple[object, ...]] = {}
        self._held_changed = False
        self._delays_changed = False
        self._seen = (-1, -1)
        self._moves: dict[PodKey, Move] = {}
        self._follow_at = 0.0
        self._retry_at: float | None = None

    # Asking

    @property
    def active(self) -> bool:
        """Whether there is anything to keep, or to clear away."""
        return bool(self._placer.reserves) or bool(self._holding)

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
        return self._holding.holding()

    def waiting_pods(self) -> Collection[PlacedPod]:
        """The placeholders that carry a pod which is being made anew."""
        return self._holding.of(FOR_ONE)

    def in_the_way(self, pod: PlacedPod, target: str) -> list[PodKey]:
        """The placeholders that have to go so that a pod has room on its target beside who is promised room there."""
        return self._holding.in_the_way(pod, target)

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
        while self._reserves is None or any(one.growing for one in self.reserves):
            self._follow(now)
        with expected(self._cache, self._moves.values(), self.waiting_pods(), placed.key):
            return self._refusal(placed, node, now)

    # What happens

    def pod(self, placed: PlacedPod) -> None:
        """A pod came, changed or left its node."""
        label = holds_for(placed.shape.labels)
        if label is not None:
            self._holding.pod(placed, label)
            self._held_changed = True
            return
        if self._placer.reserves:
            self._changed[placed.key] = None

    def gone(self, key: PodKey) -> None:
        """A pod is gone."""
        self._changed[key] = None
        if self._holding.gone(key):
            self._held_changed = True

    def plan_changed(self) -> None:
        """Other policies are in force."""
        self._reserves = None
        self._holding.dirty = True

    def delays_changed(self) -> None:
        """Other delays are in force."""
        self._delays_changed = True

    def ended(self, result: ErrandResult, now: float) -> None:
        """Placeholders were made and deleted, or not."""
        self._holding.ended(result, now)

    # The work

    def tend(self, now: float, idle: bool, moves: Iterable[Move]) -> None:
        """Bring plans up to what happened, and the cluster up to the plans.

        While pods move, plans are made for the cluster as it is once they have: what is promised to a replacement is
        no room for backups, and who leaves needs none. Nodes where something is promised keep their placeholders as
        they are until then, all others follow.

        Args:
            now: Seconds since the epoch.
            idle: Whether nothing else waits, so that there is time to make reserves smaller.
            moves: Those whose replacement is not on its node yet.
        """
        before, self._moves = self._moves, {move.pod: move for move in moves}
        self._changed.update(dict.fromkeys(before.keys() ^ self._moves.keys()))
        if not self.active:
            return
        if self._moves and not before:
            self._follow_at = now + PROMISED_SECONDS
        unplanned = self._reserves is None or (idle and self._behind)
        if self._moves and now < self._follow_at and not unplanned:
            return
        self._follow_at = now + PROMISED_SECONDS
        if self._follow(now) or (idle and not self._moves and self._improve(now)):
            self._holding.dirty = True
            self._tell(now)
        if not any(one.growing for one in self.reserves):  # else what is held would be given up for nothing
            self._holding.tend(((one.label, one.plan.kept()) for one in self.reserves), now)

    def next_due(self, now: float) -> float | None:
        """When there is something to do even if nothing comes in."""
        if not self.active:
            return None
        if self._reserves is None or self._behind:
            return now
        due = [self._holding.next_due(now), self._retry_at]
        if self._changed or self._held_changed or self._delays_changed:
            due.append(self._holding.soon(now))
        if not self._moves:
            due += [at for one in self.reserves for at in (one.improves_at, one.renews_at)]
        found = min((at for at in due if at is not None), default=None)
        return found if found is None or not self._moves else max(found, self._follow_at)

    # Inside

    @property
    def _behind(self) -> bool:
        return any(one.plan.behind for one in self.reserves)

    def _refusal(self, placed: PlacedPod, node: str, now: float) -> str:
        for one in self.reserves:
            if one.rule.refuse and one.covers(placed):
                before = set(one.plan.uncovered)
                promised = self._cache.nominations.node_of(placed.key)
                self._cache.assume(placed.key, node)
                try:
                    one.plan.put(placed, now)
                    why = one.plan.uncovered.get(placed.key)
                    others = one.plan.uncovered.keys() - before - {placed.key}
                finally:
                    self._cache.forget(placed.key)
                    self._cache.nominations.put(placed, promised)
                    one.plan.drop(placed.key, now)
                if others:
                    one.plan.retry(now)
                if why is not None or others:
                    told = why or f"what is kept for {min(others)} would not be enough"
                    return f"reserve {one.rule.name} ({one.rule.span}) refuses it on {node}: {told}"
        return ""

    def _follow(self, now: float) -> bool:
        """Whether anything was different."""
        nodes, usage = self._versions()
        other_nodes, otherwise_used = nodes != self._seen[0], usage != self._seen[1]
        retry = self._retry_at is not None and now >= self._retry_at
        news = self._reserves is None or self._changed or self._held_changed or self._delays_changed
        if not (news or retry or other_nodes or otherwise_used or self._behind):
            return False
        with expected(self._cache, self._moves.values(), self.waiting_pods()):
            found = self._catch_up(now, retry, other_nodes, otherwise_used)
        self._seen = self._versions()
        return found

    def _versions(self) -> tuple[int, int]:
        columns = self._cache.columns
        return columns.node_changes.version, columns.usage_changes.version

    def _catch_up(self, now: float, retry: bool, nodes: bool, usage: bool) -> bool:
        anew = self._reserves is None
        if anew:
            self._build(now)
        if self._changed:
            for one in self.reserves:
                one.pods_moved()
        moved = [key for key in self._changed if self._differs(key)]
        self._changed.clear()
        held, self._held_changed = self._held_changed, False
        delays, self._delays_changed = self._delays_changed, False
        if not (anew or moved or held or delays or retry or nodes or usage or self._behind):
            return False
        for one in self.reserves:
            if held:
                one.plan.hold(set(self._holding.of(one.label)), now)
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
            if anew or moved or delays or nodes or one.plan.behind:
                one.stirred(now)
            one.grown()
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
        self._holding.dirty = True
        self._known.clear()
        self._holding.forgive()
        for rule, covers in self._placer.reserves:
            held = set(self._holding.of(label_of(rule.name)))
            share = None if rule.at_most is None else rule.at_most / 100
            plan = Reserve(self._cache, self._placer, covers, rule.domain.label, share, held, _AT_ONCE)
            self._reserves.append(Kept(rule, covers, plan))
        if self._reserves:
            pods = [pod for pod in self._cache.pods() if pod.counts and holds_for(pod.shape.labels) is None]
            for one in self._reserves:
                one.plan.put_all([pod for pod in pods if one.covers(pod)], now)
            for pod in pods:
                self._differs(pod.key)

    def _improve(self, now: float) -> bool:
        """A slice of looking after reserves, and of making them smaller. Whether one lies elsewhere now."""
        found = [one.renew(now) or one.improve(now, self._random) for one in self.reserves]
        return any(found)

    def _tell(self, now: float) -> None:
        for one in self.reserves:
            plan = one.plan
            held = sum(pod.requests.get("memory", 0) for pod in self._holding.of(one.label))
            covered, uncovered = len(plan.backups), len(plan.uncovered)
            self._metrics.reserved(one.rule.name, covered, uncovered, plan.kept_memory, held)
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
