"""Which pods break a rule where they are: the rule's own filters are asked, with the pod itself lifted from its node.

Followed by the logs of what changed. A look where nothing did costs nothing; where pods came or went, those on the
changed nodes, and those for which it matters where other pods are; where nodes or delays changed, all that the rule
selects.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from typing import Final

import numpy as np

from engine.compile.nodes import WithinDelay
from engine.compile.origins import Origin
from engine.compile.plan import Plan
from engine.compile.requirements import Requirements, Stage
from engine.compile.subject import Moment, PodSelector, own_facts
from engine.constraints.protocol import Depends, Filter, GlobalFilter, Mask, Slots, is_global
from engine.constraints.telling import DelayBeyond
from engine.model.objects import PodKey
from engine.placement.placer import Placer
from engine.state.cache import Cache
from engine.state.pods import PlacedPod
from engine.state.supposition import Supposition
from grammar.policy import Condition

_OF_NODES: Final = Depends.NODE | Depends.DELAY
_BARE: Final = Stage()
_versions = count(2)


@dataclass(frozen=True, slots=True)
class Breach:
    """What a pod breaks where it is.

    Attributes:
        limits: The delays that are beyond their limits.
        unmeasured: Whether all that is wrong is that delays are not measured: nothing is known to be broken then.
        why: A clause for people: ``32 ms from edge-1, 25 ms allowed``.
    """

    limits: tuple[WithinDelay, ...]
    unmeasured: bool
    why: str


class Breaches:
    """Asks for single pods whether they break a rule.

    A rule is kept in a step of a ``try`` that waives it, if the pod's node is of that step's nodes.

    Args:
        cache: The pods and nodes.
        placer: Has the rules.
    """

    __slots__ = ("_cache", "placer")

    def __init__(self, cache: Cache, placer: Placer) -> None:
        self._cache = cache
        self.placer = placer

    def rules(self, pod: PlacedPod, now: float) -> list[str]:
        """The rules that require something of the pod's node, by name."""
        requirements = self.placer.requirements(pod, now)
        members = [one for stage in requirements.stages for one in stage.members]
        return list(dict.fromkeys(one.name for one in (*requirements.policies, *members)))

    def of(self, pod: PlacedPod, rule: str, now: float) -> Breach | None:
        """What the pod, which must be on a node, breaks of a rule; None where it breaks nothing."""
        requirements = self.placer.requirements(pod, now)
        own = own_filters(requirements, rule)
        if not own:
            return None
        slot = pod.slot
        eligible: Mask | None = None
        timed = any(one.depends & Depends.TIME for one in own)
        if timed or any(is_global(one) for one in own):
            evaluation = self.placer.evaluation(pod, now, 0)  # which sets the moment, too
            eligible = evaluation.bearable(np.arange(self._cache.columns.capacity))
        if not by_pods(pod, requirements, own):
            return _breach(requirements, rule, slot, eligible)
        with Supposition(self._cache, slot) as world:
            world.take(pod)
            return _breach(requirements, rule, slot, eligible)


def own_filters(requirements: Requirements, rule: str) -> list[Filter | GlobalFilter]:
    """What a rule requires of a pod's node."""
    members = [one for stage in requirements.stages for one in stage.members]
    return [one for one in (*requirements.policies, *members) if one.name == rule]


def by_pods(pod: PlacedPod, requirements: Requirements, own: Iterable[Filter | GlobalFilter]) -> bool:
    """Whether these filters say something else when the pod itself is not on its node."""
    if any(is_global(one) or one.depends & ~(_OF_NODES | Depends.TIME) for one in own):
        return True
    name = pod.workload.name
    return any(one.name == name for one in (*requirements.origins, *requirements.needed))


def _breach(requirements: Requirements, rule: str, slot: int, eligible: Mask | None) -> Breach | None:
    where = np.array([slot])
    version = -next(_versions)  # one that no evaluation has: what filters remember by it is not used again
    verdicts: dict[int, bool] = {}

    def passes(constraint: Filter | GlobalFilter) -> bool:
        verdict = verdicts.get(id(constraint))
        if verdict is None:
            if is_global(constraint):
                assert eligible is not None
                mask = constraint.passes_among(eligible, version)
                verdict = mask is None or bool(mask[slot])
            else:
                verdict = bool(constraint.passes(where)[0])
            verdicts[id(constraint)] = verdict
        return verdict

    first: list[Filter | GlobalFilter] | None = None
    stages = [
        stage
        for stage in requirements.stages
        if all(passes(one) for one in stage.members if one.name != rule)
    ]
    for stage in stages or [_BARE]:
        bound = () if rule in stage.waived else requirements.policies
        bad = [one for one in (*bound, *stage.members) if one.name == rule and not passes(one)]
        if not bad:
            return None
        first = bad if first is None else first
    assert first is not None
    return _told(first, where)


def _told(refused: list[Filter | GlobalFilter], where: Slots) -> Breach:
    slot = int(where[0])
    told: list[str] = []
    delays = unmeasured = others = 0
    for constraint in refused:
        values = getattr(constraint, "values", None)
        found = values(slot) if values is not None else ()
        for value in found:
            if isinstance(value, DelayBeyond):
                delays += 1
                unmeasured += value.delay_ms is None
                told.append(
                    f"its delay from {value.origin} is not measured"
                    if value.delay_ms is None
                    else f"{value.delay_ms:g} ms from {value.origin}, {value.limit_ms:g} ms allowed"
                )
            else:
                others += 1
                told.append(str(value))
        if not found:
            others += 1
            told += [reason.removeprefix("node(s) ") for reason in sorted(constraint.reasons(where))]
    limits = tuple(one for one in refused if isinstance(one, WithinDelay))
    return Breach(limits, bool(delays) and unmeasured == delays and not others, "; ".join(told))


class RuleWatch:
    """Follows which pods break one rule.

    Args:
        cache: The pods and nodes.
        placer: Has the rule.
        rule: Its name.

    Attributes:
        asked: How many pods were asked about so far.
    """

    __slots__ = (
        "_breaches",
        "_cache",
        "_condition",
        "_found",
        "_known",
        "_moment",
        "_origin",
        "_plan",
        "_roaming",
        "_rule",
        "_seen",
        "_selects",
        "_timed",
        "_usage_seen",
        "asked",
    )

    def __init__(self, cache: Cache, placer: Placer, rule: str) -> None:
        self._cache = cache
        self._breaches = Breaches(cache, placer)
        self._rule = rule
        self._plan: Plan | None = None
        self._condition: Condition | None = None
        self._known = False
        self._moment = Moment()
        self._selects = PodSelector(None, self._moment)
        self._found: dict[PodKey, tuple[PlacedPod, Breach]] = {}
        self._roaming: dict[PodKey, PlacedPod] = {}
        self._origin: Origin | None = None
        self._timed = False
        self._seen: tuple[object, ...] | None = None
        self._usage_seen = -1
        self.asked = 0

    def look(self, now: float) -> dict[PodKey, tuple[PlacedPod, Breach]]:
        """The pods on nodes that break the rule, with what they break. Not to be changed."""
        plan = self._breaches.placer.plan
        columns = self._cache.columns
        self._moment.now = now
        delays = None if self._origin is None else self._origin.stamp()[0]
        seen = (plan, delays, columns.node_changes.version)
        usage = columns.usage_changes.version
        if seen == self._seen and usage == self._usage_seen and not self._timed:
            return self._found
        changed = columns.usage_changes.since(self._usage_seen) if seen == self._seen else None
        if changed is None or self._timed:
            self._all(plan, now)
        else:
            self._some(changed, now)
        delays = None if self._origin is None else self._origin.stamp()[0]
        self._seen = (plan, delays, columns.node_changes.version)
        self._usage_seen = columns.usage_changes.version
        return self._found

    # Inside

    def _all(self, plan: Plan, now: float) -> None:
        if plan is not self._plan:
            # Where the plan was swapped and the planner is yet to be, the rule may be gone: then nobody breaks it.
            rule = next((one for one in plan.policy.rules if one.name == self._rule), None)
            self._known = rule is not None
            self._condition = None if rule is None else rule.condition
            self._selects = PodSelector(self._condition, self._moment)
            self._plan = plan
            self._origin = None
        self._found, self._roaming = {}, {}
        self._timed = "age" in own_facts(self._condition)
        for pod in self._cache.pods() if self._known else ():
            if pod.counts and self._selects(pod):
                self._ask(pod, now)

    def _some(self, changed: list[int], now: float) -> None:
        slots = set(changed)
        gone = [key for key, (pod, _) in self._found.items() if not pod.counts or pod.slot in slots]
        for key in gone:
            del self._found[key]
        for key in [key for key, pod in self._roaming.items() if not pod.counts]:
            del self._roaming[key]
            self._found.pop(key, None)
        again = dict(self._roaming)
        names = self._cache.columns.names
        for slot in changed if self._known else ():
            for pod in self._cache.pods_on(names[slot]):
                if pod.counts and self._selects(pod):
                    again[pod.key] = pod
        for pod in again.values():
            self._ask(pod, now)

    def _ask(self, pod: PlacedPod, now: float) -> None:
        self.asked += 1
        requirements = self._breaches.placer.requirements(pod, now)
        own = own_filters(requirements, self._rule)
        origins = (*requirements.origins, *requirements.needed)
        if origins and self._origin is None:
            self._origin = origins[0]
        if any(one.depends & Depends.TIME for one in own):
            self._timed = True
        if any(one.moves for one in origins) or by_pods(pod, requirements, own):
            self._roaming[pod.key] = pod
        else:
            self._roaming.pop(pod.key, None)
        breach = self._breaches.of(pod, self._rule, now)
        if breach is not None:
            self._found[pod.key] = (pod, breach)
        else:
            self._found.pop(pod.key, None)
