"""What a pod asks of other pods: affinity, anti-affinity and spread, brought to one form.

Sources: kube-scheduler's framework (AffinityTerm) and its plugin PodTopologySpread (common.go); for the keys that are
merged into selectors when a pod is created, ``pkg/registry/core/pod`` (applyMatchLabelKeysAndMismatchLabelKeys).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from engine.model.objects import (
    Affinity,
    LabelSelector,
    PodAffinity,
    PodAffinityTerm,
    PodSpec,
    Requirement,
    TopologySpreadConstraint,
)
from engine.model.selectors import EVERYTHING, NOTHING, Selector, equal, selector_of


@dataclass(frozen=True, slots=True)
class PodSelection:
    """Pods of some namespaces with some labels.

    Attributes:
        namespaces: By name.
        namespace_selector: And those whose labels it selects.
        selector: Of the pods' labels.
    """

    namespaces: frozenset[str]
    namespace_selector: Selector
    selector: Selector

    @property
    def anywhere(self) -> bool:
        """Whether pods of namespaces that are not named may be meant."""
        return not self.namespace_selector.nothing

    def matches(self, namespace: str, namespace_labels: Mapping[str, str], labels: Mapping[str, str]) -> bool:
        """Whether a pod is meant."""
        if namespace not in self.namespaces and not self.namespace_selector.matches(namespace_labels):
            return False
        return self.selector.matches(labels)


@dataclass(frozen=True, slots=True)
class PodTerm:
    """Pods, and the node label within whose values they are to be near or far."""

    pods: PodSelection
    topology_key: str


@dataclass(frozen=True, slots=True)
class WeightedTerm:
    """A term that adds its weight for every pod that it means; the weight of anti-affinity is negative."""

    weight: int
    term: PodTerm


@dataclass(frozen=True, slots=True)
class PodTerms:
    """All that a pod asks of the pods near it.

    Attributes:
        near: Required affinity: one pod must meet all of these at once.
        apart: Required anti-affinity.
        preferred: Preferred affinity and anti-affinity.
    """

    near: tuple[PodTerm, ...] = ()
    apart: tuple[PodTerm, ...] = ()
    preferred: tuple[WeightedTerm, ...] = ()

    def __bool__(self) -> bool:
        """Whether it asks for anything."""
        return bool(self.near or self.apart or self.preferred)


@dataclass(frozen=True, slots=True)
class Spread:
    """One topology spread constraint.

    Attributes:
        counted: The pods of the same namespace that are counted.
        itself: 1 where the pod is one of them, else 0.
        honor_affinity: Whether only nodes of the pod's node affinity count.
        honor_taints: Whether only nodes whose taints it tolerates count.
    """

    topology_key: str
    max_skew: int
    counted: Selector
    itself: int
    min_domains: int = 1
    honor_affinity: bool = True
    honor_taints: bool = False


@dataclass(frozen=True, slots=True)
class Spreads:
    """A pod's constraints: hard ones keep it off nodes, soft ones rank them.

    Attributes:
        default: Whether it has none at all, so that the scheduler's defaults hold.
    """

    hard: tuple[Spread, ...] = ()
    soft: tuple[Spread, ...] = ()
    default: bool = field(default=True)


def pod_terms(spec: PodSpec, namespace: str) -> PodTerms:
    """The pod's terms; a namespace is the pod's own where a term names none."""
    affinity = spec.affinity
    if affinity is None or (affinity.pod_affinity is None and affinity.pod_anti_affinity is None):
        return PodTerms()
    near, apart = affinity.pod_affinity or PodAffinity(), affinity.pod_anti_affinity or PodAffinity()
    preferred = [
        WeightedTerm(sign * term.weight, _term(term.pod_affinity_term, namespace))
        for sign, kind in ((1, near), (-1, apart))
        for term in kind.preferred_during_scheduling_ignored_during_execution or ()
    ]
    return PodTerms(
        tuple(
            _term(term, namespace) for term in near.required_during_scheduling_ignored_during_execution or ()
        ),
        tuple(
            _term(term, namespace) for term in apart.required_during_scheduling_ignored_during_execution or ()
        ),
        tuple(preferred),
    )


def _term(term: PodAffinityTerm, namespace: str) -> PodTerm:
    names = term.namespaces or ()
    if not names and term.namespace_selector is None:
        names = (namespace,)
    pods = PodSelection(
        frozenset(names), selector_of(term.namespace_selector), selector_of(term.label_selector)
    )
    return PodTerm(pods, term.topology_key)


def spreads(spec: PodSpec, labels: Mapping[str, str]) -> Spreads:
    """The pod's topology spread constraints."""
    written = spec.topology_spread_constraints or ()
    return Spreads(
        tuple(_spread(one, labels) for one in written if one.when_unsatisfiable == "DoNotSchedule"),
        tuple(_spread(one, labels) for one in written if one.when_unsatisfiable == "ScheduleAnyway"),
        not written,
    )


def _spread(written: TopologySpreadConstraint, labels: Mapping[str, str]) -> Spread:
    selector = selector_of(written.label_selector)
    own = {key: labels[key] for key in written.match_label_keys or () if key in labels}
    selector = selector.also(equal(own))
    # An empty selector counts no pod, although it would select each, and so the pod itself.
    return Spread(
        written.topology_key,
        written.max_skew,
        NOTHING if selector == EVERYTHING else selector,
        int(selector.matches(labels)),
        1 if written.min_domains is None else written.min_domains,
        written.node_affinity_policy in (None, "Honor"),
        written.node_taints_policy == "Honor",
    )


def with_label_keys(spec: PodSpec, labels: Mapping[str, str]) -> PodSpec:
    """The spec as the API server stores it: ``matchLabelKeys`` and ``mismatchLabelKeys`` merged into the selectors.

    For pods that no API server has seen. Merging twice changes nothing.
    """
    affinity = spec.affinity
    if affinity is None:
        return spec
    merged = Affinity(
        affinity.node_affinity,
        _with_keys(affinity.pod_affinity, labels),
        _with_keys(affinity.pod_anti_affinity, labels),
    )
    return spec if merged == affinity else replace(spec, affinity=merged)


def _with_keys(affinity: PodAffinity | None, labels: Mapping[str, str]) -> PodAffinity | None:
    if affinity is None:
        return None
    required = affinity.required_during_scheduling_ignored_during_execution
    preferred = affinity.preferred_during_scheduling_ignored_during_execution
    return PodAffinity(
        required and tuple(_merged(term, labels) for term in required),
        preferred
        and tuple(
            replace(one, pod_affinity_term=_merged(one.pod_affinity_term, labels)) for one in preferred
        ),
    )


def _merged(term: PodAffinityTerm, labels: Mapping[str, str]) -> PodAffinityTerm:
    selector = term.label_selector
    if selector is None:
        return term
    keys = [(key, "In") for key in term.match_label_keys or ()]
    keys += [(key, "NotIn") for key in term.mismatch_label_keys or ()]
    expressions = list(selector.match_expressions or ())
    for key, operator in keys:
        if key in labels:
            requirement = Requirement(key, operator, (labels[key],))
            if requirement not in expressions:
                expressions.append(requirement)
    if len(expressions) == len(selector.match_expressions or ()):
        return term
    return replace(term, label_selector=LabelSelector(selector.match_labels, tuple(expressions)))
