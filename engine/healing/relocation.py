"""Moves many pods of nodes that are lost or being emptied, as one plan: to their backups first, else by the rules.

1. Whoever has a backup that its rules still let it have goes there; the placeholders on that node give way.
2. The others go where the placer would put them: the more important first. A covered one may take what is kept, where
   there is nothing else.
3. Where some of those are left over that have a node for themselves, a search looks for an arrangement of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from engine.healing.choice import find, give_way
from engine.healing.draft import Draft
from engine.healing.places import Place
from engine.healing.plan import Move, Way
from engine.healing.rules import Rules
from engine.healing.search import Search
from engine.healing.trial import replacement
from engine.state.pods import PlacedPod
from grammar.policy import Heal

_STEPS: Final = 2_000
"""The bound of a search: some 200 ms."""


@dataclass(frozen=True, slots=True, eq=False)
class Victim:
    """A pod that is to leave.

    Attributes:
        way: How.
        why: A clause for people.
        waited_ms: For how long it has been without a proper node: which stages of its fallbacks are open.
        away: Nodes that it is not to go to.
    """

    pod: PlacedPod
    way: Way
    why: str
    waited_ms: float
    away: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    victim: Victim
    place: Place
    backup: bool


class Relocation:
    """Plans the moves of one rule.

    Args:
        draft: The plan so far.
        heal: The rule.
        at_once: Whether all leave before the first is placed, as from nodes that are lost; else one after the other.
    """

    def __init__(self, draft: Draft, heal: Heal, at_once: bool) -> None:
        self._draft = draft
        self._trial = draft.trial
        self._heal = heal
        self._at_once = at_once
        self._copies: dict[Victim, PlacedPod] = {}

    def run(self, victims: Iterable[Victim]) -> None:
        """Move as many as have a place and as the rule allows; of the others say why they stay."""
        todo = sorted(victims, key=lambda one: (-one.pod.shape.priority, one.pod.key))
        if not todo:
            return
        self._draft.begin()
        self._copies = {one: replacement(one.pod) for one in todo}
        if self._at_once:
            self._all(todo)
        else:
            self._one_by_one(todo)

    # Inside

    def _all(self, todo: list[Victim]) -> None:
        mark = self._trial.mark()
        self._depart(todo)
        placed = [found for one in todo if (found := self._to_backup(one)) is not None]
        done = {one.victim for one in placed}
        placed += self._by_rules([one for one in todo if one not in done])
        kept, late = self._within_rate(placed)
        if len(kept) < len(todo):
            # Who stays is still on its node, and counts there: the others are asked about once more with it.
            self._trial.back_to(mark)
            kept = self._prove(kept)
        chosen = {one.victim for one in kept}
        for victim in todo:
            if victim in late:
                self._draft.rated(victim.pod, self._heal)
            elif victim not in chosen:
                self._nowhere(victim)
        for one in kept:
            self._commit(one)

    def _one_by_one(self, todo: list[Victim]) -> None:
        left = [one for one in todo if self._may(one) and not self._try(one, self._to_backup)]
        for victim in left:
            if self._may(victim) and not self._try(victim, self._best):
                self._nowhere(victim)

    def _may(self, victim: Victim) -> bool:
        draft = self._draft
        if draft.allowance(self._heal) == 0:
            draft.rated(victim.pod, self._heal)
            return False
        if draft.protected([victim.pod]):
            draft.guarded(victim.pod, self._heal, victim.why)
            return False
        return True

    def _try(self, victim: Victim, how: Callable[[Victim], _Placed | None]) -> bool:
        found = how(victim)
        if found is not None:
            self._commit(found)
        return found is not None

    def _depart(self, victims: Iterable[Victim]) -> None:
        for one in victims:
            self._leave(one)

    def _leave(self, victim: Victim) -> None:
        if victim.way is Way.DELETE:
            self._trial.leave(victim.pod)
        else:
            self._trial.lift(victim.pod)

    def _to_backup(self, victim: Victim) -> _Placed | None:
        slot = self._draft.cache.columns.slot(self._draft.situation.backups.get(victim.pod.key, ""))
        if slot is None or self._draft.without(victim.away)[slot]:
            return None
        mark = self._trial.mark()
        if not self._at_once:
            self._leave(victim)
        give_way(self._draft, slot)
        copy = self._copies[victim]
        place = self._draft.places.at(copy, slot, victim.waited_ms)
        if place is None:
            self._trial.back_to(mark)
            return None
        self._trial.put(copy, slot)
        return _Placed(victim, place, True)

    def _by_rules(self, victims: Sequence[Victim]) -> list[_Placed]:
        mark = self._trial.mark()
        placed = [found for one in victims if (found := self._best(one)) is not None]
        done = {one.victim for one in placed}
        left = [one for one in victims if one not in done]
        if not left or not placed:
            return placed
        self._trial.back_to(mark)
        draft = self._draft
        alone = [
            one for one in left if draft.places.any(self._copies[one], draft.without(one.away), one.waited_ms)
        ]
        better = self._search([*done, *alone]) if alone else []
        if _importance(better) > _importance(placed):
            placed = better
        return [one for one in placed if self._again(one)]

    def _best(self, victim: Victim) -> _Placed | None:
        """The best place for one; where it is covered and there is none, what is kept counts as free."""
        draft, trial = self._draft, self._trial
        copy, banned = self._copies[victim], draft.without(victim.away)
        mark = trial.mark()
        if not self._at_once:
            self._leave(victim)
        place = find(draft, copy, banned, victim.waited_ms)
        if place is None:
            trial.back_to(mark)
            return None
        trial.put(copy, place.slot)
        return _Placed(victim, place, False)

    def _search(self, victims: Sequence[Victim]) -> list[_Placed]:
        """An arrangement of as many as can be, by the stages that are open at once."""
        draft = self._draft
        by_copy = {self._copies[one]: one for one in victims}
        pods = sorted(by_copy, key=lambda one: (-one.shape.priority, one.key))
        away = sorted({node for one in victims for node in one.away})
        rules = Rules(draft.cache, draft.places.placer, draft.now)
        found = Search(rules, pods, draft.without(away), steps=_STEPS).run()
        return [_Placed(by_copy[pod], Place(slot), False) for pod, slot in found.places]

    def _again(self, one: _Placed) -> bool:
        """Put a pod that leaves where it was found to go, if its rules still let it go there."""
        mark = self._trial.mark()
        copy, slot = self._copies[one.victim], one.place.slot
        if one.victim.pod.key in self._draft.situation.backups:
            place = self._draft.places.at(copy, slot, one.victim.waited_ms)
            if one.backup or place is None:
                give_way(self._draft, slot)
        if self._draft.places.at(copy, slot, one.victim.waited_ms) is None:
            self._trial.back_to(mark)
            return False
        self._trial.put(copy, slot)
        return True

    def _within_rate(self, placed: list[_Placed]) -> tuple[list[_Placed], set[Victim]]:
        allowed = self._draft.allowance(self._heal)
        if allowed is None or len(placed) <= allowed:
            return placed, set()
        first = sorted(placed, key=lambda one: -one.victim.pod.shape.priority)[:allowed]
        kept = [one for one in placed if one in first]  # in the order in which each was let pass
        return kept, {one.victim for one in placed if one not in first}

    def _prove(self, placed: list[_Placed]) -> list[_Placed]:
        """Those that can go where they were to go, when only they leave."""
        while True:
            mark = self._trial.mark()
            self._depart(one.victim for one in placed)
            kept = [one for one in placed if self._again(one)]
            if len(kept) == len(placed):
                return kept
            self._trial.back_to(mark)
            placed = kept

    def _nowhere(self, victim: Victim) -> None:
        draft, copy = self._draft, self._copies[victim]
        mark = self._trial.mark()
        self._leave(victim)
        why = draft.places.why_not(copy, victim.waited_ms, draft.without((*victim.away, victim.pod.node)))
        self._trial.back_to(mark)
        draft.stay(victim.pod, self._heal, "nowhere", f"{victim.why}, and {why}")
        opens = draft.places.opens_in(copy, victim.waited_ms)
        if opens is not None:
            draft.later(draft.now + opens / 1000)

    def _commit(self, one: _Placed) -> None:
        pod = one.victim.pod
        self._draft.move(
            Move(
                pod.key,
                pod.node,
                self._draft.name(one.place),
                one.victim.way,
                self._heal,
                one.victim.why,
                backup=one.backup,
                stage=one.place.stage,
            ),
            pod,
            disrupts=not self._at_once,
        )


def _importance(placed: Sequence[_Placed]) -> list[int]:
    """More is better: who is placed, the most important first."""
    return sorted((one.victim.pod.shape.priority for one in placed), reverse=True)
