"""Room for pods that no node takes: the fewest pods that have another legal place move, so that the waiting one fits.

For one waiting pod, nodes are looked at that taking pods away could open to it. Of the pods there that may move,
first each alone is tried, then pairs, and so on up to what the rule allows: the less important first, of equals those
that lose least of what they prefer where a rule says ``prefer current``, and then the smaller.
A try is a supposition: the pods are gone, the waiting one is there, and each finds a place elsewhere by all its rules.
It must be possible in that order, too, and no other pod may break a rule for it. The number of tries is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import combinations
from math import inf
from typing import Final

import numpy as np

from engine.constraints.protocol import Slots, curable
from engine.healing.attachment import Attachment
from engine.healing.choice import way_out
from engine.healing.dependants import Dependants
from engine.healing.draft import Draft, told_s
from engine.healing.places import Place
from engine.healing.plan import Move, Stay, Way
from engine.healing.trial import replacement
from engine.model.objects import PodKey
from engine.placement.evaluation import Evaluation
from engine.state.columns import PODS
from engine.state.pods import PlacedPod
from grammar.policy import Heal

_TRIES: Final = 200
"""Suppositions for one waiting pod."""
_TRIES_AT_ONCE: Final = 1_000
"""Those of one plan, for all that wait."""
_NODES: Final = 2_000
"""Nodes whose pods are looked at for one waiting pod: those where least is lacking."""
_PODS: Final = 16
"""Pods of one node of which more than one may move: the smallest that are large enough together come first anyway."""
_WEIGHED: Final = 200
"""Pods that are asked, for one waiting pod, what they lose by going; all others are tried after them."""
_YOUNG_S: Final = 60.0
"""A pod that started so lately has just been placed, and is left where it is."""


@dataclass(frozen=True, slots=True)
class _Try:
    """Pods that might move from a node.

    Attributes:
        rank: The smallest is tried first.
        loss: The points that they lose by it, as far as is known.
        weighed: Whether that is the last word; else they lose at least so much.
    """

    rank: tuple[object, ...]
    pods: tuple[PlacedPod, ...]
    slot: int
    loss: float
    weighed: bool


class RoomFor:
    """Plans moves for pods that wait, by one rule.

    Args:
        draft: The plan so far.
        heal: The rule.
        dependants: Tells which other pods would break a rule.
    """

    def __init__(self, draft: Draft, heal: Heal, dependants: Dependants) -> None:
        self._draft = draft
        self._heal = heal
        self._dependants = dependants
        self._attachment = Attachment(draft)
        self._losses: dict[PodKey, float] = {}
        self._weighed = 0
        self._left = _TRIES_AT_ONCE
        self._tries = 0
        self._spared = False

    def run(self) -> None:
        """Help whom it can be done for."""
        draft = self._draft
        due: list[tuple[PlacedPod, float]] = []
        for key, since in draft.situation.waiting.items():
            pod = draft.cache.pod(key)
            if pod is None or pod.node or draft.cache.nominations.node_of(key):
                continue
            when = since + self._heal.after_ms / 1000
            if when > draft.now:
                draft.later(when)
            else:
                due.append((pod, since))
        due.sort(key=lambda one: (-one[0].shape.priority, one[1], one[0].key))
        for pod, since in due:
            self._help(pod, draft.now - since)

    # Inside

    def _help(self, pod: PlacedPod, waited: float) -> None:
        draft, heal = self._draft, self._heal
        most = heal.relocate or 0
        allowed = draft.allowance(heal)
        if allowed == 0:
            draft.rated(pod, heal)
            return
        draft.begin()
        copy = replacement(pod)
        stages = [evaluation for _, evaluation in draft.places.stages(copy, waited * 1000)]
        opens = draft.places.opens_in(copy, waited * 1000)
        if opens is not None:
            draft.later(draft.now + opens / 1000)
        if draft.places.any(copy, draft.banned, waited * 1000):
            return  # the scheduler gets to it by itself
        self._tries = 0
        self._spared = False
        self._losses = {}
        self._weighed = 0
        for number in range(1, min(most, most if allowed is None else allowed) + 1):
            for one in self._candidates(copy, stages, number):
                if self._tries >= _TRIES or self._left <= 0:
                    break
                self._tries += 1
                self._left -= 1
                if self._suppose(copy, one, waited):
                    return
        told = "1 pod" if most == 1 else f"up to {most} pods"
        why = f"waiting for {told_s(waited)}, and moving {told} would not make room for it"
        if self._tries >= _TRIES or self._left <= 0:
            why = f"waiting for {told_s(waited)}, and no way to make room for it was found in {self._tries} tries"
        if self._spared:
            why += "; pods that were placed or moved lately are left where they are for now"
        draft.unhelped(Stay(pod.key, "", heal, "nowhere", why))

    def _candidates(self, copy: PlacedPod, stages: Sequence[Evaluation], number: int) -> Iterator[_Try]:
        """Sets of so many pods that could make room, the least to lose first."""
        draft = self._draft
        columns = draft.cache.columns
        asked = [(resource, value) for resource, value in copy.shape.requests.items() if value > 0]
        asked.append((PODS, 1))
        slots = self._curable(stages)
        lacks = {
            resource: value
            - columns.resource(columns.allocatable, resource)[slots]
            + columns.resource(columns.used, resource)[slots]
            for resource, value in asked
        }
        order = np.lexsort((columns.hashes[slots], lacks.get("memory", lacks[PODS])))[:_NODES]
        found: list[_Try] = []
        for position in order.tolist():
            slot = int(slots[position])
            lack = [(resource, int(column[position])) for resource, column in lacks.items()]
            lack = [(resource, value) for resource, value in lack if value > 0]
            pods = self._movable(slot)
            if number > 1:
                pods = pods[:_PODS]
            found += [
                self._supposed(chosen, slot, 0.0, weighed=False)
                for chosen in combinations(pods, number)
                if all(sum(_held(one, resource) for one in chosen) >= value for resource, value in lack)
            ]
        return self._in_rank(found)

    def _curable(self, stages: Sequence[Evaluation]) -> Slots:
        """The slots that taking pods away might open."""
        mask = np.zeros(self._draft.cache.columns.capacity, dtype=np.bool_)
        for evaluation in stages:
            for constraint, refused in evaluation.refusals().by_filter():
                open_ = refused[curable(constraint, refused)]
                mask[open_[evaluation.bearable(open_)]] = True
        mask &= ~self._draft.banned
        return np.flatnonzero(mask)

    def _movable(self, slot: int) -> list[PlacedPod]:
        """The pods of a node that may move, the least important first, then the smallest."""
        draft = self._draft
        pods = [
            one
            for one in draft.cache.pods_on(draft.cache.columns.names[slot])
            if one.slot == slot
            and draft.movable(one)
            and isinstance(way_out(one, self._heal), Way)
            and not self._lately(one)
            and not draft.protected([one])
        ]
        pods.sort(key=lambda one: (one.shape.priority, one.requests.get("memory", 0), one.key))
        return pods

    def _lately(self, pod: PlacedPod) -> bool:
        """Whether the pod came to its node, or its workload was moved, so lately that it is left in peace."""
        draft = self._draft
        start = pod.pod.status.start_time or pod.pod.metadata.creation_timestamp
        until = [] if start is None else [start.timestamp() + _YOUNG_S]
        until += [one for one in (draft.situation.pace.back_at(pod, draft.now),) if one is not None]
        last = max(until, default=0.0)
        draft.later(last)
        self._spared |= last > draft.now
        return last > draft.now

    def _in_rank(self, found: Sequence[_Try]) -> Iterator[_Try]:
        """By their ranks. What pods lose is asked of those only whose turn it is as long as that is nothing."""
        heap = [(one.rank, one) for one in found]
        heapify(heap)
        while heap:
            _, one = heappop(heap)
            if one.weighed or not any(self._attachment.says(pod) for pod in one.pods):
                yield one
                continue
            loss = sum(self._loss(pod) for pod in one.pods)
            again = self._supposed(one.pods, one.slot, loss, weighed=True)
            heappush(heap, (again.rank, again))

    def _loss(self, pod: PlacedPod) -> float:
        loss = self._losses.get(pod.key)
        if loss is None:
            says = self._attachment.says(pod)
            if says and self._weighed >= _WEIGHED:
                loss = inf
            else:
                loss = self._attachment.loss(pod)
                self._weighed += says
            self._losses[pod.key] = loss
        return loss

    def _supposed(self, pods: tuple[PlacedPod, ...], slot: int, loss: float, weighed: bool) -> _Try:
        rank = (
            max(one.shape.priority for one in pods),
            loss,
            sum(one.requests.get("memory", 0) for one in pods),
            sum(one.requests.get("cpu", 0) for one in pods),
            self._draft.cache.columns.names[slot],
            tuple(one.key for one in pods),
        )
        return _Try(rank, pods, slot, loss, weighed)

    def _suppose(self, copy: PlacedPod, chosen: _Try, waited: float) -> bool:
        """Try it; where it can be done, it stays in force."""
        draft, trial = self._draft, self._draft.trial
        if draft.protected(chosen.pods):
            return False
        mark = trial.mark()
        copies = [replacement(one) for one in chosen.pods]
        for one in chosen.pods:
            trial.lift(one)
        home = draft.places.at(copy, chosen.slot, waited * 1000)
        if home is None:
            trial.back_to(mark)
            return False
        trial.put(copy, chosen.slot)
        found: list[Place] = []
        elsewhere = draft.without((draft.cache.columns.names[chosen.slot],))
        for one in reversed(copies):  # the largest first
            place = draft.places.best(one, elsewhere, 0.0)
            if place is None:
                trial.back_to(mark)
                return False
            trial.put(one, place.slot)
            found.append(place)
        found.reverse()
        trial.back_to(mark)
        sources = [one.node for one in chosen.pods]
        before = self._dependants.broken(chosen.pods)
        if (
            not self._in_order(copy, chosen, copies, found, waited)
            or self._dependants.broken(chosen.pods, copies) - before
        ):
            trial.back_to(mark)
            return False
        for one, source, place in zip(chosen.pods, sources, found, strict=True):
            way = way_out(one, self._heal)
            assert isinstance(way, Way)
            why = f"makes room for {copy.key}, which has waited for {told_s(waited)}"
            if chosen.loss and 0 < (loss := self._loss(one)) < inf:
                why += f"; it prefers {source} by {loss:g} points over any other node"
            target = draft.name(place)
            draft.move(
                Move(one.key, source, target, way, self._heal, why, stage=place.stage, helps=copy.key),
                one,
                disrupts=True,
            )
        return True

    def _in_order(
        self,
        copy: PlacedPod,
        chosen: _Try,
        copies: Sequence[PlacedPod],
        found: Sequence[Place],
        waited: float,
    ) -> bool:
        """Whether each is let pass in its turn, the waiting one last; then all are where they go."""
        draft, trial = self._draft, self._draft.trial
        for one, other, place in zip(chosen.pods, copies, found, strict=True):
            trial.lift(one)
            if draft.places.at(other, place.slot, 0.0) is None:
                return False
            trial.put(other, place.slot)
        if draft.places.at(copy, chosen.slot, waited * 1000) is None:
            return False
        trial.put(copy, chosen.slot)
        return True


def _held(pod: PlacedPod, resource: str) -> int:
    return 1 if resource == PODS else pod.requests.get(resource, 0)
