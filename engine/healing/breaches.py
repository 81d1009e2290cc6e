"""What a pod breaks where it is: the rule's own filters are asked, with the pod itself lifted from its node."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from typing import Final

import numpy as np

from engine.compile.nodes import WithinDelay
from engine.compile.requirements import Requirements, Stage
from engine.constraints.protocol import Depends, Filter, GlobalFilter, Mask, Slots, is_global
from engine.constraints.telling import DelayBeyond
from engine.placement.placer import Placer
from engine.state.cache import Cache
from engine.state.pods import PlacedPod
from engine.state.supposition import Supposition

_OF_NODES: Final = Depends.NODE | Depends.DELAY
_BARE: Final = Stage()
_versions = count(2)


@dataclass(frozen=True, slots=True)
class Breach:
    """What a pod breaks where it is.

    Attributes:
        limits: The delays that are beyond their limits.
        unmeasured: Whether all that is wrong is that delays are not measured, and no estimate is so long that even with
            its error it is beyond the limit: nothing is known to be broken then.
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
                text, known = _beyond(value)
                unmeasured += not known
                told.append(text)
            else:
                others += 1
                told.append(str(value))
        if not found:
            others += 1
            told += [reason.removeprefix("node(s) ") for reason in sorted(constraint.reasons(where))]
    limits = tuple(one for one in refused if isinstance(one, WithinDelay))
    return Breach(limits, bool(delays) and unmeasured == delays and not others, "; ".join(told))


def _beyond(value: DelayBeyond) -> tuple[str, bool]:
    """What is wrong with a delay, for people, and whether that is known: an estimate may be wrong by its error."""
    if value.delay_ms is None:
        return f"its delay from {value.origin} is not measured", False
    if not value.error_ms:
        return f"{value.delay_ms:g} ms from {value.origin}, {value.limit_ms:g} ms allowed", True
    estimate = value.delay_ms - value.error_ms
    told = f"about {estimate:.3g} ms ± {value.error_ms:.2g}"
    if estimate - value.error_ms > value.limit_ms:
        return f"{told} (estimated) from {value.origin}, {value.limit_ms:g} ms allowed", True
    return f"its delay from {value.origin} is not measured, only estimated: {told}", False
