"""The planner of moves: what is lost, broken or without room, and which moves mend it, as one plan.

Everything is found out on the cache itself, by the placer's own filters and scores, and undone: a plan changes nothing,
and the same situation gives the same plan. What the planner remembers between plans is only since when things have
been as they are, where the cluster does not say so itself; a restart forgets that, and the durations begin again.

Moves are carried out in the plan's order: each later one was let pass with the earlier ones done. Those from lost nodes
leave all before the first of them is placed.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.healing.breaches import Breaches
from engine.healing.dependants import Dependants
from engine.healing.draft import Draft
from engine.healing.draining import DrainingNodes
from engine.healing.drift import Drift
from engine.healing.lost import LostNodes
from engine.healing.places import Places
from engine.healing.plan import Plan
from engine.healing.situation import Situation
from engine.healing.trial import Trial
from engine.healing.unschedulable import RoomFor
from engine.placement.placer import Placer
from engine.state.cache import Cache
from grammar.policy import Heal, Trigger


class Planner:
    """Plans what the rules ask for, on one cache.

    Args:
        cache: The pods and nodes. It is changed while a plan is made, and is as it was afterwards.
        placer: Decides on that cache; its rules are those of every target.
        heals: The rules, in their order.
        at_once: Of how many pods is found out at a plan whether they break a rule, for each rule, where nodes or
            delays changed; None for all.
    """

    __slots__ = ("_breaches", "_by_trigger", "_cache", "_draining", "_drift", "_lost", "_placer")

    def __init__(
        self, cache: Cache, placer: Placer, heals: Sequence[Heal], at_once: int | None = None
    ) -> None:
        self._cache = cache
        self._placer = placer
        self._by_trigger = {one: [heal for heal in heals if heal.trigger is one] for one in Trigger}
        self._lost = LostNodes(cache)
        self._draining = DrainingNodes(cache)
        self._drift = Drift(cache, placer, self._by_trigger[Trigger.BROKEN], at_once)
        self._breaches = Breaches(cache, placer)

    @property
    def behind(self) -> int:
        """Of how many pods the next plan will find out whether they break a rule, as this one could not."""
        return sum(watch.behind for watch in self._drift.watches.values())

    def plan(self, now: float, situation: Situation) -> Plan:
        """All that is to be done now, and when to ask again.

        Args:
            now: Seconds since the epoch.
            situation: How things stand.
        """
        with Trial(self._cache) as trial:
            draft = Draft(self._cache, Places(self._cache, self._placer, now), situation, trial)
            self._drift.look(now)
            if lost := self._by_trigger[Trigger.NODE_LOST]:
                self._lost.plan(draft, lost)
            if draining := self._by_trigger[Trigger.NODE_DRAINING]:
                self._draining.plan(draft, draining)
            self._drift.plan(draft)
            dependants = Dependants(self._cache, self._breaches, now)
            for heal in self._by_trigger[Trigger.POD_UNSCHEDULABLE]:
                RoomFor(draft, heal, dependants).run()
            return draft.plan()
