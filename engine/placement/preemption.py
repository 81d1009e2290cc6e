"""A second question to the same columns: which pods of lower priority would have to go for this one to find a node?

Source: kube-scheduler's preemption and its plugin defaultpreemption. On each node that might help, all pods of a
lower priority are taken away, and as many as fit are given back: those that a disruption budget protects first, the
more important ones before the others. Every filter is asked, the policies' too, so room is never made where a rule
forbids the pod. The node where least is lost is chosen.

1. A shortlist for all nodes at once: where could refusals be cured, whom is there to take away, and would it do?
2. Each node of the shortlist exactly, those first that need the lowest priorities to go. Where only requests matter,
   that is a sum, and kept for pods of the same shape until something happens on the node; else the cache is asked
   under a supposition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.compile.origins import Origin
from engine.constraints.protocol import Mask, Slots, curable
from engine.placement.decision import PASSES, Loss, Preemption, Refusals, Victim
from engine.placement.evaluation import Evaluation
from engine.state.cache import Cache
from engine.state.columns import PODS
from engine.state.levels import Levels
from engine.state.pods import PlacedPod
from engine.state.supposition import Supposition

PERCENT: Final = 10
AT_LEAST: Final = 100
"""So many candidates are compared: that share of the nodes that might help, but not fewer than that."""
_FAILURES_AT_MOST: Final = 1000
"""Nodes that are looked at in vain under a supposition before the rest is left out."""

_NOT_HELPFUL: Final = "Preemption is not helpful for scheduling"
_NO_VICTIMS: Final = "No preemption victims found for incoming pod"
_LEFT_OUT: Final = "node(s) were not looked at, after so many where preemption does not help"
_LOWEST: Final = 2**31
"""Added to each priority in a sum, so that more victims of a negative priority are not better than fewer."""

Rank = tuple[int, int, int, int, float]
_LOSSES: Final = (Loss.VIOLATIONS, Loss.HIGHEST, Loss.SUM, Loss.NUMBER, Loss.START)
"""The parts of a rank."""
Scatter = Callable[[Slots], NDArray[np.uint64]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node with those who would have to go.

    Attributes:
        victims: The more important first.
        protected: How many of them a disruption budget protects.
    """

    slot: int
    victims: tuple[PlacedPod, ...]
    protected: int

    @property
    def rank(self) -> Rank:
        """Lower is better: violations, highest priority, sum of priorities, victims, latest start of the highest."""
        highest = self.victims[0].shape.priority
        starts = (_start(one) for one in self.victims if one.shape.priority == highest)
        total = sum(one.shape.priority + _LOWEST for one in self.victims)
        return self.protected, highest, total, len(self.victims), -min(starts)


class _Rooms:
    """Candidates of pods of one shape, by slot, where only requests matter. Kept while nothing happens there."""

    __slots__ = ("_seen", "by_slot")

    def __init__(self) -> None:
        self.by_slot: dict[int, tuple[Rank, Candidate]] = {}
        self._seen: tuple[int, ...] | None = None

    def refresh(self, cache: Cache) -> None:
        logs = (cache.columns.usage_changes, cache.columns.node_changes, cache.pod_changes)
        if self._seen is None or self._seen[-1] != cache.budgets.version:
            self.by_slot.clear()
        else:
            for log, seen in zip(logs, self._seen, strict=False):
                changed = log.since(seen)
                if changed is None:
                    self.by_slot.clear()
                    break
                for slot in changed:
                    self.by_slot.pop(slot, None)
        self._seen = (*(log.version for log in logs), cache.budgets.version)


class Preemptor:
    """Finds out where room can be made. Changes nothing; the cache is as before after each question.

    Args:
        cache: The pods and nodes.
        may_take: Whether a pod may have the room that another holds; never where that has no lower priority.
    """

    def __init__(self, cache: Cache, may_take: Callable[[PlacedPod, PlacedPod], bool]) -> None:
        self._cache = cache
        self._may_take = may_take
        self._levels = Levels(cache)

    def find(
        self,
        pod: PlacedPod,
        evaluation: Evaluation,
        refusals: Refusals,
        needed: Sequence[Origin],
        scatter: Scatter,
    ) -> Preemption:
        """Where room can be made for a pod that no node can take, and by whom.

        Args:
            pod: The pod.
            evaluation: Its vectors, refreshed.
            refusals: What they say.
            needed: The origins of delays without which there is no place for it.
            scatter: Numbers that break ties between slots.
        """
        slots = self._curable(evaluation, refusals)
        reasons: Counter[str] = Counter()
        reasons[_NOT_HELPFUL] = refusals.nodes - len(slots)
        slots, bounds = self._shortlist(pod, slots, reasons)
        limit = max(AT_LEAST, len(slots) * PERCENT // 100)
        slots = slots[np.argsort(bounds, kind="stable")]
        found = self._candidates(pod, evaluation, slots, limit, needed, reasons)
        told = tuple(sorted((+reasons).items(), key=lambda item: f"{item[1]} {item[0]}"))
        if not found:
            return Preemption(nodes=refusals.nodes, reasons=told)
        best, loss = _best(found, scatter)
        budgets = self._cache.budgets.violated(best.victims) if best.protected else [()] * len(best.victims)
        return Preemption(
            nodes=refusals.nodes,
            node=self._cache.columns.names[best.slot],
            victims=tuple(
                Victim(one.key, one.shape.priority, violated)
                for one, violated in zip(best.victims, budgets, strict=True)
            ),
            reasons=told,
            candidates=len(found),
            loss=loss,
        )

    # The shortlist

    @staticmethod
    def _curable(evaluation: Evaluation, refusals: Refusals) -> Slots:
        """The nodes whose first refusal taking pods away might end, and that the pod could be on at all."""
        parts = [slots[curable(constraint, slots)] for constraint, slots in refusals.by_filter()]
        if not parts:
            return np.zeros(0, dtype=np.int64)
        slots = np.sort(np.concatenate(parts))
        return slots[evaluation.bearable(slots)]

    def _shortlist(self, pod: PlacedPod, slots: Slots, reasons: Counter[str]) -> tuple[Slots, Slots]:
        """Those where there is somebody to take away, and would be enough for the requests.

        Returns:
            The slots, and for each the lowest priority up to which all have to go, for the requests' sake alone.
        """
        columns = self._cache.columns
        asked = [(resource, value) for resource, value in pod.shape.requests.items() if value > 0]
        asked.append((PODS, 1))
        room = {
            resource: columns.resource(columns.allocatable, resource)[slots]
            - columns.resource(columns.used, resource)[slots]
            for resource, _ in asked
        }
        for slot, yielding in self._promised(pod):
            if among(slot, slots):
                promised, position = held_by(yielding), int(np.searchsorted(slots, slot))
                for resource, left in room.items():
                    left[position] -= promised[resource]
        victims = np.zeros(len(slots), dtype=np.int64)
        bounds = np.zeros(len(slots), dtype=np.int64)
        enough: Mask = np.zeros(len(slots), dtype=np.bool_)
        for level, held in self._levels.below(pod.shape.priority):
            victims += _at(held[PODS], slots)
            for resource in room:
                if resource in held:
                    room[resource] = room[resource] + _at(held[resource], slots)
            does = np.logical_and.reduce([room[resource] >= value for resource, value in asked])
            bounds[~enough] = level
            enough |= does
        somebody = victims > 0
        reasons[_NO_VICTIMS] += int(np.count_nonzero(~somebody))
        if pod.shape.host_ports:
            # Ports are asked for before resources, so what is told of such a node is found out exactly.
            enough[:] = True
        else:
            short = somebody & ~enough
            for resource, value in asked:
                name = "Too many pods" if resource == PODS else f"Insufficient {resource}"
                reasons[name] += int(np.count_nonzero(room[resource][short] < value))
        kept = somebody & enough
        return slots[kept], bounds[kept]

    def _promised(self, pod: PlacedPod) -> Iterator[tuple[int, Sequence[PlacedPod]]]:
        """The slots that are promised to pods which this one must leave room for."""
        nominations = self._cache.nominations
        for node in nominations.nodes():
            slot, yielding = self._cache.columns.slot(node), nominations.yielding(pod, node)
            if slot is not None and yielding:
                yield slot, yielding

    # One node

    def _lower(self, pod: PlacedPod, slot: int) -> list[PlacedPod]:
        """Those who might go from a node, the more important first."""
        pods = [
            one for one in self._cache.pods_on(self._cache.columns.names[slot]) if self._may_take(pod, one)
        ]
        pods.sort(key=lambda one: (-one.shape.priority, _start(one), one.key))
        return pods

    def _protected(self, pods: Sequence[PlacedPod]) -> list[PlacedPod]:
        verdicts = self._cache.budgets.protected(pods)
        return [one for one, protected in zip(pods, verdicts, strict=True) if protected]

    def _give_back(
        self, slot: int, lower: list[PlacedPod], stays: Callable[[PlacedPod], bool]
    ) -> Candidate | None:
        """Give back whoever can stay. None where nobody had to go, so that the node was refused for another reason."""
        protected = self._protected(lower)
        spared = set(protected)
        kept = {one for one in protected if stays(one)}
        kept |= {one for one in lower if one not in spared and stays(one)}
        if len(kept) == len(lower):
            return None
        return Candidate(slot, tuple(one for one in lower if one not in kept), len(spared - kept))

    def _candidates(
        self,
        pod: PlacedPod,
        evaluation: Evaluation,
        slots: Slots,
        limit: int,
        needed: Sequence[Origin],
        reasons: Counter[str],
    ) -> list[tuple[Rank, Candidate]]:
        """The first candidates among the slots: so many, of which one at least violates no budget, or all."""
        rooms = evaluation.room
        if not isinstance(rooms, _Rooms):
            rooms = evaluation.room = _Rooms()
        rooms.refresh(self._cache)
        kept, columns, nominations = rooms.by_slot, self._cache.columns, self._cache.nominations
        promised = {columns.slot(node) for node in nominations.nodes()}
        alone = evaluation.room_alone()
        sums = np.ones(len(slots), dtype=np.bool_) if alone is None else alone[slots]
        found: list[tuple[Rank, Candidate]] = []
        unprotected, failures = False, 0
        for slot, by_sum in zip(slots.tolist(), sums.tolist(), strict=True):
            yielding = nominations.yielding(pod, columns.names[slot]) if slot in promised else ()
            room = kept.get(slot) if by_sum and not yielding else None  # what is kept knows of no promises
            if room is None:
                if yielding and (alone is not None or any(one.shape.terms for one in yielding)):
                    by_sum = False
                candidate = (
                    self._sum(pod, slot, yielding, reasons)
                    if by_sum
                    else self._suppose(pod, evaluation, slot, needed, reasons)
                )
                if candidate is None:
                    failures += not by_sum
                    if failures >= _FAILURES_AT_MOST:
                        reasons[_LEFT_OUT] += len(slots) - int(np.flatnonzero(slots == slot)[0]) - 1
                        break
                    continue
                room = (candidate.rank, candidate)
                if by_sum and not yielding:
                    kept[slot] = room
            found.append(room)
            unprotected = unprotected or not room[1].protected
            if unprotected and len(found) >= limit:
                break
        return found

    def _sum(
        self, pod: PlacedPod, slot: int, yielding: Sequence[PlacedPod], reasons: Counter[str]
    ) -> Candidate | None:
        """Whoever has to go where only requests matter."""
        columns = self._cache.columns
        asked = [(resource, value) for resource, value in pod.shape.requests.items() if value > 0]
        asked.append((PODS, 1))
        lower = self._lower(pod, slot)
        spare: dict[str, int] = {}
        for resource, value in asked:
            allocatable = columns.resource(columns.allocatable, resource)[slot]
            used = columns.resource(columns.used, resource)[slot]
            freed = sum(_held(one, resource) for one in lower)
            promised = sum(_held(one, resource) for one in yielding)
            spare[resource] = int(allocatable) - int(used) + freed - promised - value
        short = [resource for resource in spare if spare[resource] < 0]
        if short:
            for resource in short:
                reasons["Too many pods" if resource == PODS else f"Insufficient {resource}"] += 1
            return None

        def stays(one: PlacedPod) -> bool:
            if any(_held(one, resource) > left for resource, left in spare.items()):
                return False
            for resource in spare:
                spare[resource] -= _held(one, resource)
            return True

        return self._give_back(slot, lower, stays)

    def _suppose(
        self,
        pod: PlacedPod,
        evaluation: Evaluation,
        slot: int,
        needed: Sequence[Origin],
        reasons: Counter[str],
    ) -> Candidate | None:
        """Whoever has to go, all filters being asked. With the pods nominated for the node, and without them."""
        yielding = self._cache.nominations.yielding(pod, self._cache.columns.names[slot])
        lower = self._lower(pod, slot)
        with Supposition(self._cache, slot) as world:
            for one in lower:
                world.take(one)
            why = refusal(world, evaluation, slot, yielding, needed)
            if why is not None:
                reasons.update(why)
                return None

            def stays(one: PlacedPod) -> bool:
                world.give_back(one)
                if refusal(world, evaluation, slot, yielding, needed) is None:
                    return True
                world.take(one)
                return False

            candidate = self._give_back(slot, lower, stays)
        if candidate is None:
            reasons[_NO_VICTIMS] += 1
        return candidate


def refusal(
    world: Supposition,
    evaluation: Evaluation,
    slot: int,
    yielding: Sequence[PlacedPod],
    needed: Iterable[Origin] = (),
) -> Counter[str] | None:
    """Why a node refuses a pod, supposing that those it must yield to are there, or that they are not; else None."""
    for putting in (True, False) if yielding else (False,):
        if putting:
            world.put(yielding)
        try:
            code = evaluation.refusal_at(slot)
            if code != PASSES:
                return evaluation.filters[code - 1].reasons(np.array([slot]))
            for origin in needed:
                missing = origin.missing()
                if missing is not None:
                    return Counter({f"node(s) without a delay: {missing}": 1})
        finally:
            if putting:
                for one in yielding:
                    world.put_off(one)
    return None


def _best(found: list[tuple[Rank, Candidate]], scatter: Scatter) -> tuple[Candidate, Loss]:
    """The candidate of the lowest rank, and what of it was lower than in any other."""
    ranks = sorted(rank for rank, _ in found)
    best = [candidate for rank, candidate in found if rank == ranks[0]]
    if len(found) == 1:
        return best[0], Loss.ONLY
    if len(best) == 1:
        parts = zip(_LOSSES, ranks[0], ranks[1], strict=True)
        return best[0], next(loss for loss, mine, other in parts if mine != other)
    numbers = scatter(np.array([candidate.slot for candidate in best], dtype=np.int64))
    return best[int(np.argmin(numbers))], Loss.HASH


def _start(pod: PlacedPod) -> float:
    """When the pod started; one that has not yet counts as starting now, which is after all others."""
    start = pod.pod.status.start_time
    return float("inf") if start is None else start.timestamp()


def _held(pod: PlacedPod, resource: str) -> int:
    return 1 if resource == PODS else pod.requests.get(resource, 0)


def _at(column: Slots, slots: Slots) -> Slots:
    """The entries of a column that may be shorter than the others: nothing was ever held in later slots."""
    if len(slots) and int(slots[-1]) >= len(column):
        column = np.append(column, np.zeros(int(slots[-1]) + 1 - len(column), dtype=np.int64))
    found: Slots = column[slots]
    return found


def held_by(pods: Iterable[PlacedPod]) -> Counter[str]:
    """What pods ask for together, themselves counted."""
    held: Counter[str] = Counter()
    for one in pods:
        held.update(one.requests)
        held[PODS] += 1
    return held


def among(slot: int, slots: Slots) -> bool:
    """Whether a slot is among others, which rise."""
    position = int(np.searchsorted(slots, slot))
    return position < len(slots) and int(slots[position]) == slot
