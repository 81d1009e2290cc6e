"""A policy set as a plan, and the plan bound to a cache: from there each pod gets its requirements.

A plan is made once per policy set and swapped whole. Binding it takes the counts that its rules need.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from engine.compile.citation import excerpt
from engine.compile.conditions import Context, build
from engine.compile.labels import LabelError, matching_labels
from engine.compile.origins import Origin, Origins
from engine.compile.requirements import Requirements
from engine.compile.stages import stages
from engine.compile.statements import Parts, add_statement, conditions_of, delays_of, selections_of
from engine.compile.subject import Moment, PodSelector, PodSubject, chosen, holds, operands, own_facts
from engine.compile.telling import FactsOf
from engine.constraints.citation import Citation
from engine.constraints.device_demand import DeviceDemand, concerns, device_demand_of
from engine.constraints.devices import (
    DeviceMatching,
    DynamicResources,
    DynamicResourcesScore,
    device_bindings,
)
from engine.constraints.image_locality import ImageLocality
from engine.constraints.inter_pod_affinity import InterPodAffinity, InterPodAffinityScore
from engine.constraints.named_nodes import NamedNodes
from engine.constraints.nodes import (
    NodeAffinity,
    NodeAffinityScore,
    NodeUnschedulable,
    TaintScore,
    TaintToleration,
)
from engine.constraints.protocol import Depends, Filter, GlobalFilter, Score
from engine.constraints.resources import BalancedAllocation, LeastAllocated, NodePorts, NodeResourcesFit
from engine.constraints.topology_spread import PodTopologySpread, PodTopologySpreadScore
from engine.constraints.unsupported import Unsupported
from engine.constraints.volume_demand import Demand, demand_of
from engine.constraints.volume_matching import VolumeMatching
from engine.constraints.volumes import volume_bindings, volume_filters
from engine.model.device_uses import DeviceBindings
from engine.model.shape import Shape
from engine.model.storage import VolumeBindings
from engine.state.cache import Cache
from engine.state.census import Census
from grammar.policy import (
    CheckedPolicy,
    Condition,
    FactRef,
    ForEachLabel,
    Has,
    PreferCurrent,
    Rule,
    Statement,
    Subject,
    Try,
)


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled policy set.

    Attributes:
        policy: What it was made from.
        annotations: The keys (or patterns) of the pods' annotations that it reads.
        own_facts: The facts it reads that pods of one shape need not share.
        aging: The conditions on a pod whose verdict changes with time.
        sticky: The choices of pods for which the node that they are on counts; None chooses all.
    """

    policy: CheckedPolicy
    annotations: frozenset[str]
    own_facts: frozenset[str]
    aging: tuple[Condition, ...]
    sticky: tuple[Condition | None, ...] = ()


def compile_policy(policy: CheckedPolicy) -> Plan:
    """The plan of a policy set. What it costs is known: statements × nodes."""
    annotations: set[str] = set()
    own: set[str] = set()
    for condition in _conditions(policy):
        own |= own_facts(condition)
        for operand in operands(condition):
            if (
                isinstance(operand, Has)
                and operand.subject is Subject.POD
                and operand.mapping == "annotations"
            ):
                annotations.add(operand.pattern)
            if (
                isinstance(operand, FactRef)
                and operand.subject is Subject.POD
                and operand.path == "annotations"
            ):
                annotations.add(operand.key or "")
    aging = tuple(condition for condition in _selections(policy) if "age" in own_facts(condition))
    sticky = tuple(
        rule.condition
        for rule in policy.rules
        if any(isinstance(statement, PreferCurrent) for statement in rule.statements)
    )
    return Plan(policy, frozenset(annotations), frozenset(own), aging, sticky)


def _selections(policy: CheckedPolicy) -> Iterator[Condition]:
    """The conditions that say of pods whether they are meant."""
    for rule in policy.rules:
        if rule.condition is not None:
            yield rule.condition
        for statement in rule.statements:
            yield from selections_of(statement)
    for reserve in policy.reserves:
        if reserve.condition is not None:
            yield reserve.condition


def _conditions(policy: CheckedPolicy) -> Iterator[Condition]:
    for nodes in policy.node_sets:
        yield nodes.condition
    for rule in policy.rules:
        if rule.condition is not None:
            yield rule.condition
        for statement in rule.statements:
            yield from conditions_of(statement)
    for reserve in policy.reserves:
        if reserve.condition is not None:
            yield reserve.condition


Key = tuple[object, ...]


class BoundPlan:
    """A plan on a cache: gives each pod its requirements. Close it when another plan takes its place.

    Attributes:
        plan: The plan.
        reserves: Its reserves, each with whom it covers.
    """

    def __init__(self, plan: Plan, cache: Cache, origins: Origins, moment: Moment) -> None:
        cache.read_annotations(plan.annotations)
        origins.clear()
        self.plan = plan
        self._cache = cache
        self._origins = origins
        self._moment = moment
        self._censuses: dict[Condition | None, Census] = {}
        self._aging: list[Census] = []
        self.reserves = tuple((one, PodSelector(one.condition, moment)) for one in plan.policy.reserves)
        self._matching = VolumeMatching(cache)
        self._devices = DeviceMatching(cache)

    def close(self) -> None:
        """Stop counting."""
        for census in self._censuses.values():
            self._cache.drop_census(census)

    def tick(self) -> None:
        """Bring up to the moment what changes with time alone."""
        for census in self._aging:
            self._cache.recount(census)

    def key(self, subject: PodSubject) -> Key:
        """Pods of one key have the same requirements: shape, demand of claims, and what else the rules read."""
        own = self.plan.own_facts
        demand = (self._demand(subject), self._device_demand(subject))
        node = self._current(subject)
        if not own:
            return (subject.shape, demand, node)
        aged = tuple(holds(condition, subject) for condition in self.plan.aging)
        bare = subject.shape.owner is None and ("owner.name" in own or "owner.kind" in own)
        return (
            subject.shape,
            demand,
            node,
            subject.name if bare or "name" in own else "",
            subject.restarts if "restarts" in own else 0,
            subject.created if "age" in own else 0.0,
            aged,
        )

    def requirements(self, subject: PodSubject) -> Requirements:
        """All that bears on the placement of a pod."""
        shape, columns = subject.shape, self._cache.columns
        context = Context(columns, self._origins, self._moment, subject)
        parts = Parts()
        tries: list[tuple[Rule, Try]] = []
        rules: list[str] = []
        demand = self._demand(subject)
        trouble: str | None = demand.trouble or None if demand is not None else None
        trouble_depends = Depends(0) if trouble is None else Depends.VOLUMES
        troubled_by: str | None = None
        devices = self._device_demand(subject)
        if devices is not None and devices.trouble and trouble is None:
            trouble, trouble_depends = devices.trouble, Depends.DEVICES
        for rule in self.plan.policy.rules:
            if not chosen(rule.condition, subject):
                continue
            rules.append(f"{rule.name} ({rule.span})")
            try:
                for statement, within in _expand(rule.statements, context):
                    if isinstance(statement, Try):
                        tries.append((rule, statement))
                    else:
                        self._add(rule, statement, within, parts)
            except LabelError as error:
                if trouble is None:
                    trouble, troubled_by = f"{error} ({Citation(rule.name, error.span)})", rule.name
        for _, fallback in tries:
            for step in fallback.steps:
                delays = delays_of(self.plan.policy.node_set(step.nodes).condition)
                parts.origins += [context.origin(delay) for delay, _ in delays]
        return Requirements(
            kubernetes=stock_filters(
                shape,
                self._cache,
                volume_filters(shape, demand, self._cache, self._matching),
                () if devices is None else (DynamicResources(devices, self._devices, self._cache),),
                _resources(devices),
            ),
            policies=tuple(parts.filters),
            stock=self._scores(shape, devices),
            ranks=tuple(parts.scores),
            stages=stages(
                tries,
                self.plan.policy,
                lambda condition: build(condition, context),
                lambda condition: FactsOf(condition, context),
            ),
            origins=_unique(parts.origins),
            needed=_unique(parts.needed),
            trouble=trouble,
            troubled_by=troubled_by,
            trouble_depends=trouble_depends,
            rules=tuple(rules),
        )

    def volumes(self, subject: PodSubject, slot: int) -> VolumeBindings | None:
        """What the pod's claims get on a node that its filters let pass; None where they need nothing."""
        demand = self._demand(subject)
        if demand is None:
            return None
        return volume_bindings(subject.claims, demand, self._cache, self._matching, slot)

    def devices(self, subject: PodSubject, slot: int) -> DeviceBindings | None:
        """What the pod's claims of devices get on a node that its filters let pass; None where they need nothing."""
        demand = self._device_demand(subject)
        if demand is None or subject.key is None:
            return None
        return device_bindings(subject.devices, subject.key, demand, self._cache, self._devices, slot)

    def _device_demand(self, subject: PodSubject) -> DeviceDemand | None:
        if subject.key is None:
            return None
        demand = device_demand_of(
            self._cache.devices, subject.devices, subject.key, subject.now, subject.shape.asking
        )
        return demand if concerns(demand, subject.devices) else None

    def _scores(self, shape: Shape, devices: DeviceDemand | None) -> tuple[Score, ...]:
        scores = stock_scores(shape, self._cache)
        if devices is None or not DynamicResourcesScore.applies(devices):
            return scores
        return (*scores, DynamicResourcesScore(devices, self._devices, self._cache))

    def _demand(self, subject: PodSubject) -> Demand | None:
        if not subject.claims and not subject.shape.inline:
            return None
        return demand_of(self._cache.volumes, subject.claims, subject.shape.inline)

    def _current(self, subject: PodSubject) -> str:
        """The node that the pod is on, where that counts; so all others of a shape share what is worked out."""
        stays = subject.node and any(holds(condition, subject) for condition in self.plan.sticky)
        return subject.node if stays else ""

    def _add(self, rule: Rule, statement: Statement, context: Context, parts: Parts) -> None:
        citation = Citation(rule.name, statement.span, excerpt(self.plan.policy, statement.span))
        add_statement(statement, citation, rule.condition, context, self._census, parts)

    def _census(self, condition: Condition | None) -> Census:
        """Equal conditions share their counts."""
        census = self._censuses.get(condition)
        if census is None:
            census = self._cache.census(PodSelector(condition, self._moment))
            self._censuses[condition] = census
            if "age" in own_facts(condition):
                self._aging.append(census)
        return census


def _expand(statements: tuple[Statement, ...], context: Context) -> Iterator[tuple[Statement, Context]]:
    """Statements with ``for each label`` unrolled over the labels that the pod has."""
    for statement in statements:
        if isinstance(statement, ForEachLabel):
            for name, limit in matching_labels(statement, context.subject.shape.labels):
                yield from _expand(statement.body, replace(context, bound_name=name, limit=limit))
        else:
            yield statement, context


def _resources(devices: DeviceDemand | None) -> tuple[str, ...]:
    extended = devices.extended if devices is not None else None
    return tuple(resource for resource, _ in extended.classes) if extended is not None else ()


def stock_filters(
    shape: Shape,
    cache: Cache,
    volumes: Sequence[Filter] = (),
    devices: Sequence[Filter] = (),
    resources: Collection[str] = (),
) -> tuple[Filter | GlobalFilter, ...]:
    """Kubernetes' filters that apply to a pod, in the stock scheduler's order.

    Args:
        shape: The pod's.
        cache: What is known.
        volumes: The filters of its volumes.
        devices: Those of its devices.
        resources: Extended resources for which a class of devices stands.
    """
    columns = cache.columns
    filters: list[Filter | GlobalFilter] = []
    if shape.unsupported:
        filters.append(Unsupported(shape, columns))
    named = NamedNodes.names(shape)
    if named:
        filters.append(NamedNodes(named, columns))
    filters += [NodeUnschedulable(shape, columns), TaintToleration(shape, columns)]
    if NodeAffinity.applies(shape):
        filters.append(NodeAffinity(shape, columns))
    if NodePorts.applies(shape):
        filters.append(NodePorts(shape, columns))
    filters.append(NodeResourcesFit(shape, columns, resources))
    filters += volumes
    if PodTopologySpread.applies(shape):
        filters.append(PodTopologySpread(shape, cache))
    # Whatever a pod asks for itself, placed pods may not want it near.
    filters.append(InterPodAffinity(shape, cache))
    filters += devices
    return tuple(filters)


def stock_scores(shape: Shape, cache: Cache) -> tuple[Score, ...]:
    """The stock scheduler's scores for a pod, with its weights."""
    columns = cache.columns
    scores: list[Score] = [TaintScore(shape, columns)]
    if shape.preferred:
        scores.append(NodeAffinityScore(shape, columns))
    scores.append(LeastAllocated(shape, columns))
    if BalancedAllocation.applies(shape):
        scores.append(BalancedAllocation(shape, columns))
    if PodTopologySpreadScore.applies(shape):
        scores.append(PodTopologySpreadScore(shape, cache))
    scores.append(InterPodAffinityScore(shape, cache))
    if ImageLocality.applies(shape):
        scores.append(ImageLocality(shape, columns))
    return tuple(scores)


def _unique(origins: list[Origin]) -> tuple[Origin, ...]:
    return tuple(dict.fromkeys(origins))
