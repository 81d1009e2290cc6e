"""Pods that break a rule where they are, and have for a while: each is moved to where it keeps all rules, if it can be.

One after the other, the more important first: each later pod sees the earlier ones moved, and stays if that mended it.
Where a rule is broken by several pods together, of equally important ones those come last that lose most of what they
prefer, where a rule says ``prefer current``.
A delay that is not measured moves nobody: that a probe is silent says nothing of the link.
"""

from __future__ import annotations

import numpy as np

from engine.constraints.protocol import Depends, Mask, Slots, is_global
from engine.healing.attachment import Attachment
from engine.healing.breaches import Breach, Breaches, own_filters
from engine.healing.choice import find, way_out
from engine.healing.draft import Draft, told_s
from engine.healing.places import Accepts
from engine.healing.plan import Move, Way
from engine.healing.trial import replacement
from engine.healing.watching import RuleWatch
from engine.model.objects import PodKey
from engine.placement.placer import Placer
from engine.state.cache import Cache
from engine.state.pods import PlacedPod
from grammar.policy import Heal


class Drift:
    """Remembers since when each pod has been breaking each rule.

    Args:
        cache: The pods and nodes.
        placer: Has the rules.
        heals: What answers to broken rules.
        at_once: Of how many pods is found out at a look whether they break a rule; None for all.
    """

    __slots__ = ("_breaches", "_heals", "_own", "_since", "watches")

    def __init__(self, cache: Cache, placer: Placer, heals: list[Heal], at_once: int | None = None) -> None:
        self._breaches = Breaches(cache, placer)
        self._heals = heals
        self._since: dict[str, dict[PodKey, float]] = {}
        self._own: dict[str, set[PodKey]] = {}
        names = dict.fromkeys(heal.broken for heal in heals if heal.broken is not None)
        self.watches = {name: RuleWatch(cache, placer, name, at_once) for name in names}

    def look(self, now: float) -> None:
        """See who breaks what, before anything is tried."""
        for name, watch in self.watches.items():
            found = watch.look(now)
            for pod, breach in found.values():
                if breach.unmeasured:  # somebody has to know whether it is broken
                    for limit in breach.limits:
                        limit.origin.want(pod.slot)
            before = self._since.get(name, {})
            if found or before:
                self._since[name] = {key: before.get(key, now) for key in found}
                self._own[name] = {key for key, (_, breach) in found.items() if breach.limits}

    def plan(self, draft: Draft) -> None:
        """Add the moves of the rules; `look` was called at this moment."""
        attachment = Attachment(draft)
        for heal in self._heals:
            if heal.broken is not None:
                self._one(draft, heal, heal.broken, attachment)

    # Inside

    def _one(self, draft: Draft, heal: Heal, rule: str, attachment: Attachment) -> None:
        due: list[tuple[PlacedPod, float]] = []
        for key, since in self._since.get(rule, {}).items():
            when = since + heal.after_ms / 1000
            pod = draft.cache.pod(key)
            if when > draft.now:
                draft.later(when)
            elif pod is not None and pod.slot >= 0 and not draft.banned[pod.slot] and draft.movable(pod):
                due.append((pod, since))
        several = len(due) > 1

        def rank(one: tuple[PlacedPod, float]) -> tuple[object, ...]:
            pod, since = one
            loss = 0.0
            if several and attachment.says(pod) and self._with_others(draft, pod, rule):
                loss = attachment.loss(pod, (draft.now - since) * 1000)
            return (-pod.shape.priority, loss, since, pod.key)

        due.sort(key=rank)
        for pod, since in due:
            breach = self._breaches.of(pod, rule, draft.now)
            if breach is not None:
                self._heal(draft, heal, pod, breach, draft.now - since)

    def _with_others(self, draft: Draft, pod: PlacedPod, rule: str) -> bool:
        """Whether it is broken for what else runs somewhere, so that others may mend it by going."""
        if pod.key in self._own.get(rule, ()):
            return False
        own = own_filters(draft.places.placer.requirements(pod, draft.now), rule)
        return any(
            is_global(one) or one.depends & ~(Depends.NODE | Depends.DELAY | Depends.TIME) for one in own
        )

    def _heal(self, draft: Draft, heal: Heal, pod: PlacedPod, breach: Breach, lasting: float) -> None:
        why = f"{breach.why}, for {told_s(lasting)}" if lasting >= 1 else breach.why
        if breach.unmeasured:
            draft.stay(pod, heal, "unmeasured", f"{breach.why}: nothing is known to be broken")
            return
        way = way_out(pod, heal)
        if not isinstance(way, Way):
            draft.stay(pod, heal, *way)
        elif draft.allowance(heal) == 0:
            draft.rated(pod, heal)
        elif draft.protected([pod]):
            draft.guarded(pod, heal, why)
        else:
            self._move(draft, heal, pod, breach, way, why, lasting * 1000)

    def _move(
        self,
        draft: Draft,
        heal: Heal,
        pod: PlacedPod,
        breach: Breach,
        way: Way,
        why: str,
        waited_ms: float,
    ) -> None:
        draft.begin()
        source, slot = pod.node, pod.slot
        away = draft.situation.pace.left(pod, draft.now)
        banned = draft.without((source, *away))
        mark = draft.trial.mark()
        draft.trial.lift(pod)
        copy = replacement(pod)
        accepts = _improves(breach, slot, heal.improving) if heal.improving > 0 else None
        place = find(draft, copy, banned, waited_ms, accepts)
        if place is not None:
            draft.trial.put(copy, place.slot)
            target = draft.name(place)
            gain = _gain(breach, place.slot)
            told = f"{why}; {gain}" if gain else why
            draft.move(Move(pod.key, source, target, way, heal, told, stage=place.stage), pod, disrupts=True)
            return
        if accepts is not None and draft.places.any(copy, banned, waited_ms):
            reason, because = "no-better", f"no node that takes it is better by {heal.improving:g}%"
        else:
            reason, because = "nowhere", draft.places.why_not(copy, waited_ms, banned)
        opens = draft.places.opens_in(copy, waited_ms)
        draft.trial.back_to(mark)
        if opens is not None:
            draft.later(draft.now + opens / 1000)
        draft.later(draft.situation.pace.back_at(pod, draft.now))
        draft.stay(pod, heal, reason, f"{why}, and {because}")


def _improves(breach: Breach, slot: int, percent: float) -> Accepts:
    """Where each broken delay is less than now by such a share; not measured now, any measured one is."""
    limits = [(one.origin, float(one.origin.vector()[slot])) for one in breach.limits]

    def accepts(slots: Slots) -> Mask:
        good: Mask = np.ones(len(slots), dtype=np.bool_)
        for origin, before in limits:
            delays = origin.vector()[slots]
            good &= ~np.isnan(delays) if np.isnan(before) else delays <= before * (1 - percent / 100)
        return good

    return accepts


def _gain(breach: Breach, slot: int) -> str:
    """What the delays will be."""
    heard = [one.origin.heard(slot) for one in breach.limits]
    return ", ".join(
        f"{one} there" if one.error_ms else f"{one.ms:g} ms there" for one in heard if not np.isnan(one.ms)
    )
