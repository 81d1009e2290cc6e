"""Which pods would break a rule because others moved: those near them by a delay, or counted with them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from engine.compile.statements import conditions_of, delays_of
from engine.compile.subject import Moment, PodSelector
from engine.constraints.protocol import Filter, GlobalFilter, counted
from engine.healing.breaches import Breaches
from engine.model.objects import PodKey
from engine.state.cache import Cache
from engine.state.census import Census
from engine.state.pods import PlacedPod
from grammar.policy import Cardinality, CheckedPolicy, ForEachLabel, Rule, Spread, Statement, Together

Broken = set[tuple[PodKey, str]]
"""Pods with the rule that each breaks."""


class Dependants:
    """Pods whose rules look at other pods, found when first asked for; good for one plan.

    Args:
        cache: The pods and nodes.
        breaches: Says who breaks what.
        now: Seconds since the epoch.
    """

    __slots__ = ("_breaches", "_cache", "_counting", "_named", "_near", "_now")

    def __init__(self, cache: Cache, breaches: Breaches, now: float) -> None:
        self._cache = cache
        self._breaches = breaches
        self._now = now
        self._near: dict[tuple[str, str], list[PlacedPod]] = {}
        self._named: frozenset[str] | None = None
        self._counting: list[tuple[PlacedPod, list[Census]]] | None = None

    def broken(self, moved: Collection[PlacedPod], copies: Sequence[PlacedPod] = ()) -> Broken:
        """What is broken by pods that may depend on those moved.

        Args:
            moved: The pods that move, which are not asked about themselves.
            copies: Their replacements where they are now, which are.
        """
        asked: dict[PlacedPod, None] = {}
        for one in moved:
            asked.update(dict.fromkeys(self._measured_from(one.shape.namespace, one.workload.name)))
            for pod, censuses in self._counted():
                if any(census.selects(one) for census in censuses):
                    asked[pod] = None
        for one in moved:
            asked.pop(one, None)
        return {
            (pod.key, rule)
            for pod in (*asked, *copies)
            if pod.slot >= 0
            for rule in self._breaches.rules(pod, self._now)
            if self._breaches.of(pod, rule, self._now) is not None
        }

    def _measured_from(self, namespace: str, name: str) -> list[PlacedPod]:
        """The pods whose delay from a workload is required to be something."""
        found = self._near.get((namespace, name))
        if found is None:
            found = self._near[namespace, name] = [
                pod
                for pod in self._cache.pods()
                if pod.counts
                and pod.shape.namespace == namespace
                and (name in self._named_origins() or any(name in key for key in pod.shape.labels))
                and any(
                    origin.moves and origin.name == name
                    for origin in self._breaches.placer.requirements(pod, self._now).needed
                )
            ]
        return found

    def _named_origins(self) -> frozenset[str]:
        """The origins that the policy itself names; others come from pods' labels."""
        if self._named is None:
            self._named = frozenset(
                delay.origin
                for rule in self._policy.rules
                for statement in rule.statements
                for condition in conditions_of(statement)
                for delay, _ in delays_of(condition)
                if not delay.bound
            )
        return self._named

    def _counted(self) -> list[tuple[PlacedPod, list[Census]]]:
        """The pods with rules that count pods, with what is counted."""
        if self._counting is None:
            counting = [rule for rule in self._policy.rules if _counts(rule.statements)]
            self._counting = list(self._selected(counting)) if counting else []
        return self._counting

    def _selected(self, rules: Sequence[Rule]) -> Iterator[tuple[PlacedPod, list[Census]]]:
        selectors = [PodSelector(rule.condition, Moment(self._now)) for rule in rules]
        for pod in self._cache.pods():
            if pod.counts and any(selects(pod) for selects in selectors):
                policies = self._breaches.placer.requirements(pod, self._now).policies
                yield pod, [census for one in policies for census in _censuses(one)]

    @property
    def _policy(self) -> CheckedPolicy:
        return self._breaches.placer.plan.policy


def _counts(statements: Iterable[Statement]) -> bool:
    return any(
        _counts(one.body)
        if isinstance(one, ForEachLabel)
        else isinstance(one, (Spread, Cardinality, Together)) and one.weight is None
        for one in statements
    )


def _censuses(constraint: Filter | GlobalFilter) -> list[Census]:
    return [one for one in counted(constraint) or () if isinstance(one, Census)]
