"""Do pods fit somewhere at the same time? An exact search, within a bound of steps.

Depth first: the pods that fewest nodes would take come first, the larger of equals before, each onto the node where it
leaves least. Placing is done in the cache itself, so each step asks the placer's own filters about the pods placed
before it. An arrangement counts if there is an order in which every pod is let pass when its turn comes: that is how
it would be carried out.

- Where pods can only stand in each other's way, any order does as well as any other, so only nodes are branched over,
  and one pod that no node is left for ends the branch. Where a pod may open a node for another (spread, affinity, a
  delay from a workload), pods are branched over as well.
- What an arrangement allows depends on which kind of pods is where, not on the order: arrangements that failed are
  remembered, so equal pods are not tried in each other's places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.constraints.protocol import Mask, Slots
from engine.healing.rules import Amounts, Rules, asked, passes_at
from engine.placement.evaluation import Evaluation
from engine.state.columns import PODS
from engine.state.pods import PlacedPod

STEPS: Final = 20_000
"""Placements that are tried before the answer is "unknown"."""

Order = Callable[[PlacedPod, Slots], NDArray[np.float64]]
"""What a pod costs on each of some slots: the cheapest is tried first."""
_Choice = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a search.

    Attributes:
        places: The pods with their slots, in an order in which each is let pass: all of them, or the most that were
            ever placed at once.
        left: The others.
        hopeless: How many of those left, the first of them, no slot takes, whatever the others do.
        exhausted: Whether everything was tried, so that where pods are left not all of them can be placed.
        steps: How many placements were tried.
    """

    places: tuple[tuple[PlacedPod, int], ...]
    left: tuple[PlacedPod, ...]
    hopeless: int
    exhausted: bool
    steps: int


class _Kind:
    """Pods that may stand in for each other."""

    __slots__ = ("asked", "evaluations", "local", "mask", "pods")

    def __init__(self, pods: list[PlacedPod], evaluations: list[Evaluation], local: bool, mask: Mask) -> None:
        self.pods = pods
        self.evaluations = evaluations
        self.local = local
        self.mask = mask
        self.asked = asked(pods[0])


class Search:
    """One search. The pods must be nowhere in the cache, and are so again after it.

    Args:
        rules: Where pods may go.
        pods: Those to place, in an order that repeats.
        banned: The slots that must not be used. Shape (capacity,).
        room: What may be taken of each slot beside what the filters say; None where they alone decide.
        order: Which slots to try first; those with the least memory left where None.
        steps: The bound.
    """

    def __init__(
        self,
        rules: Rules,
        pods: Sequence[PlacedPod],
        banned: Mask,
        room: Amounts | None = None,
        order: Order | None = None,
        steps: int = STEPS,
    ) -> None:
        self._rules = rules
        self._cache = rules.cache
        self._allowed = self._cache.columns.alive & ~banned
        self._room = None if room is None else {resource: column.copy() for resource, column in room.items()}
        self._order = order
        self._limit = steps
        self._steps = 0
        self._placed: list[_Choice] = []
        self._pods: list[PlacedPod] = []
        self._flipped: list[list[int]] = []
        self._best: list[tuple[PlacedPod, int]] = []
        self._failed: set[frozenset[tuple[_Choice, int]]] = set()
        self._kinds = self._sort(pods)
        self._any_order = all(rules.only_ever_refused(kind.pods[0]) for kind in self._kinds)

    def run(self) -> Found:
        """Search. Whatever comes of it, the cache is as it was."""
        hopeless: list[PlacedPod] = []
        if self._any_order:
            hopeless = [pod for kind in self._kinds if not kind.mask.any() for pod in kind.pods]
            self._kinds = [kind for kind in self._kinds if kind.mask.any()]
        try:
            done = self._descend()
        finally:
            while self._placed:
                self._undo()
        placed = {pod for pod, _ in self._best}
        left = [pod for kind in self._kinds for pod in kind.pods if pod not in placed]
        return Found(tuple(self._best), (*hopeless, *left), len(hopeless), done is not None, self._steps)

    # Inside

    def _sort(self, pods: Sequence[PlacedPod]) -> list[_Kind]:
        groups: dict[Hashable, list[PlacedPod]] = {}
        for pod in pods:
            groups.setdefault(self._rules.kind(pod), []).append(pod)
        # A pod that keeps others away does so in whole domains, so each step may change every slot.
        apart = any(group[0].shape.terms.apart for group in groups.values())
        kinds: list[_Kind] = []
        for group in groups.values():
            first = group[0]
            local = not apart and self._rules.only_room_matters(first)
            kind = _Kind(list(reversed(group)), self._rules.evaluations(first), local, self._allowed)
            kind.mask = self._mask(kind)
            kinds.append(kind)
        return kinds

    def _mask(self, kind: _Kind) -> Mask:
        mask = self._rules.legal(kind.pods[-1]) & self._allowed
        if self._room is not None:
            for resource, value in kind.asked.items():
                column = self._room.get(resource)
                mask &= (column >= value) if column is not None else False
        return mask

    def _descend(self) -> bool | None:
        """True where all are placed, False where that cannot be, None where the bound was hit."""
        left = sum(len(kind.pods) for kind in self._kinds)
        if not left:
            return True
        stack = [self._choices()]
        while stack:
            choice = next(stack[-1], None)
            if choice is None:
                stack.pop()
                self._keep_best()
                if self._placed:
                    self._failed.add(self._state())
                    self._undo()
                continue
            if self._steps >= self._limit:
                self._keep_best()
                return None
            self._steps += 1
            self._place(*choice)
            if len(self._placed) == left:
                self._keep_best()
                return True
            if self._failed and self._state() in self._failed:
                self._undo()
                continue
            stack.append(self._choices())
        return False

    def _choices(self) -> Iterator[_Choice]:
        """What to try next: of one kind of pods where any order does, else of all that have a node now."""
        open_kinds: list[tuple[int, int, int]] = []
        masks: list[Mask] = []
        for position, kind in enumerate(self._kinds):
            if not kind.pods:
                continue
            mask = kind.mask if kind.local else self._mask(kind)
            masks.append(mask)
            count = int(np.count_nonzero(mask))
            if count:
                open_kinds.append((count, -kind.asked.get("memory", 0), position))
                kind.mask = mask
            elif self._any_order:
                return
        if self._any_order and not self._enough(masks):
            return
        open_kinds.sort()
        tried = open_kinds[:1] if self._any_order else open_kinds
        todo = [
            (position, self._ranked(self._kinds[position], self._kinds[position].mask))
            for *_, position in tried
        ]
        for position, slots in todo:
            for slot in slots:
                yield position, slot

    def _ranked(self, kind: _Kind, mask: Mask) -> list[int]:
        slots = np.flatnonzero(mask)
        if self._order is not None:
            costs = self._order(kind.pods[-1], slots)
        else:
            costs = self._available("memory")[slots].astype(np.float64)
        ranked: list[int] = slots[np.argsort(costs, kind="stable")].tolist()
        return ranked

    def _available(self, resource: str) -> NDArray[np.int64]:
        columns = self._cache.columns
        free: NDArray[np.int64] = columns.resource(columns.allocatable, resource) - columns.resource(
            columns.used, resource
        )
        if self._room is not None:
            return np.minimum(free, self._room.get(resource, np.zeros_like(free)))
        return free

    def _enough(self, masks: list[Mask]) -> bool:
        """Whether all together there is enough on all nodes that take any of them: cheap, and ends many branches."""
        if not masks:
            return True
        anywhere = np.logical_or.reduce(masks)
        for resource in ("memory", "cpu", PODS):
            need = sum(kind.asked.get(resource, 0) * len(kind.pods) for kind in self._kinds)
            if need and need > int(np.maximum(self._available(resource)[anywhere], 0).sum()):
                return False
        return True

    def _place(self, position: int, slot: int) -> None:
        kind = self._kinds[position]
        pod = kind.pods.pop()
        self._cache.lower(pod, slot)
        self._take(kind, slot, -1)
        self._placed.append((position, slot))
        flipped: list[int] = []
        for other, one in enumerate(self._kinds):
            if one.local and one.pods and one.mask[slot] and not self._fits(one, slot):
                one.mask[slot] = False
                flipped.append(other)
        self._flipped.append(flipped)
        self._pods.append(pod)

    def _undo(self) -> None:
        position, slot = self._placed.pop()
        kind, pod = self._kinds[position], self._pods.pop()
        self._cache.lift(pod)
        self._take(kind, slot, 1)
        kind.pods.append(pod)
        for other in self._flipped.pop():
            self._kinds[other].mask[slot] = True

    def _fits(self, kind: _Kind, slot: int) -> bool:
        if self._room is not None and any(
            self._room[resource][slot] < value for resource, value in kind.asked.items()
        ):
            return False
        return passes_at(kind.evaluations, slot)

    def _take(self, kind: _Kind, slot: int, sign: int) -> None:
        if self._room is not None:
            for resource, value in kind.asked.items():
                self._room[resource][slot] += sign * value

    def _state(self) -> frozenset[tuple[_Choice, int]]:
        return frozenset(Counter(self._placed).items())

    def _keep_best(self) -> None:
        if len(self._placed) > len(self._best):
            self._best = [(pod, slot) for pod, (_, slot) in zip(self._pods, self._placed, strict=True)]
