"""One decision by policies, worked out in the order in which the language tells it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product

from engine.model.objects import Node, Pod
from grammar.policy import (
    Bound,
    Cardinality,
    CheckedPolicy,
    Condition,
    Delay,
    Domain,
    ForEachLabel,
    Prefer,
    PreferCurrent,
    PreferScaled,
    Require,
    Rule,
    Spread,
    Statement,
    Together,
    Try,
)
from tests.engine.naive import kubernetes, neighbours
from tests.engine.naive.conditions import Scope, facts_of, judge, value, varying
from tests.engine.naive.world import World

Scores = dict[str, Fraction]


@dataclass
class Filter:
    """``fixed`` filters decide which domains count for a spread."""

    name: str
    passes: Callable[[Node, list[Node]], bool]
    fixed: bool = True


@dataclass
class Score:
    weight: int
    scores: Callable[[list[Node]], Scores]
    scaled: bool = False


@dataclass
class Outcome:
    """What a placement has to be."""

    waits: bool = False
    stage: int = -1
    filters: list[str] = field(default_factory=list)
    first_refusal: dict[str, int | None] = field(default_factory=dict)
    best: set[str] = field(default_factory=set)
    exact: bool = True
    retry_ms: float | None = None


def place(policy: CheckedPolicy, world: World, pod: Pod, now: float, waited_ms: float) -> Outcome:
    scope = Scope(world, pod, now)
    rules = [rule for rule in policy.rules if judge(rule.condition, None, scope)]
    if bad_limit(rules, pod) or missing_origin(rules, scope):
        return Outcome(waits=True)
    tries = [(rule, s) for rule in rules for s in rule.statements if isinstance(s, Try)]
    stock = stock_filters(world, pod)
    bound = [f for rule in rules for s, inner in expand(rule.statements, scope) for f in hard(rule, s, inner)]
    ranks = [r for rule in rules for s, inner in expand(rule.statements, scope) for r in soft(rule, s, inner)]
    outcome = Outcome()
    waits: list[float] = []
    combinations = sorted(product(*(range(len(t.steps)) for _, t in tries)), key=lambda c: (sum(c), c))
    for position, combination in enumerate(combinations):
        opens = max(
            (sum(s.after_ms for s in t.steps[: i + 1]) for (_, t), i in zip(tries, combination, strict=True)),
            default=0.0,
        )
        if opens > waited_ms:
            waits.append(opens - waited_ms)
            continue
        waived = {name for (_, t), i in zip(tries, combination, strict=True) for name in t.steps[i].waiving}
        members = [
            member(rule, policy.node_set(t.steps[i].nodes).condition, scope)
            for (rule, t), i in zip(tries, combination, strict=True)
        ]
        filters = [*stock, *(f for f in bound if f.name not in waived), *members]
        outcome = judge_stage(filters, ranks, world, pod)
        outcome.stage = position
        if outcome.best:
            return outcome
    outcome.retry_ms = min(waits, default=None)
    return outcome


def judge_stage(filters: list[Filter], ranks: list[Score], world: World, pod: Pod) -> Outcome:
    nodes = list(world.nodes.values())
    eligible = [node for node in nodes if all(f.passes(node, []) for f in filters if f.fixed)]
    first: dict[str, int | None] = {}
    for node in nodes:
        refusing = (position for position, f in enumerate(filters) if not f.passes(node, eligible))
        first[node.name] = next(refusing, None)
    feasible = [node for node in nodes if first[node.name] is None]
    outcome = Outcome(filters=[f.name for f in filters], first_refusal=first)
    if feasible:
        outcome.exact = not any(rank.scaled for rank in ranks)
        outcome.best = best(feasible, ranks, world, pod, outcome.exact)
    return outcome


def best(feasible: list[Node], ranks: list[Score], world: World, pod: Pod, exact: bool) -> set[str]:
    if not ranks:
        return highest(stock_totals(pod, feasible, world))
    totals: Scores = {node.name: Fraction(0) for node in feasible}
    for rank in ranks:
        for name, score in rank.scores(feasible).items():
            totals[name] += rank.weight * score
    tied = highest(totals)
    if not exact:
        # Scaled scores are no whole numbers, so which of the tied are equal in floating point is not told here.
        return tied
    return highest(stock_totals(pod, [world.nodes[name] for name in tied], world))


def stock_totals(pod: Pod, nodes: list[Node], world: World) -> dict[str, int]:
    """The stock scheduler's weighted sums, with what pods ask of each other."""
    totals = kubernetes.stock_totals(pod, nodes, world)
    for weight, scores in (
        (2, neighbours.spread_scores(pod, nodes, world)),
        (2, neighbours.affinity_scores(pod, nodes, world)),
        (1, neighbours.image_scores(pod, nodes, world)),
    ):
        for name, score in scores.items():
            totals[name] += weight * score
    return totals


def highest(totals: dict[str, Fraction] | dict[str, int]) -> set[str]:
    top = max(totals.values())
    return {name for name, total in totals.items() if total == top}


def stock_filters(world: World, pod: Pod) -> list[Filter]:
    filters = []
    if named := kubernetes.named_nodes(pod):
        filters.append(Filter("NodeAffinity", lambda node, _: node.name in named))
    filters += [
        Filter("NodeUnschedulable", lambda node, _: kubernetes.unschedulable(pod, node)),
        Filter("TaintToleration", lambda node, _: kubernetes.taints(pod, node)),
    ]
    of_nodes = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    if pod.spec.node_selector or (of_nodes and of_nodes.required_during_scheduling_ignored_during_execution):
        filters.append(Filter("NodeAffinity", lambda node, _: kubernetes.affinity(pod, node)))
    if kubernetes.host_ports(pod):
        filters.append(Filter("NodePorts", lambda node, _: kubernetes.ports(pod, node, world), fixed=False))
    fits = Filter("NodeResourcesFit", lambda node, _: not kubernetes.short_of(pod, node, world), fixed=False)
    filters.append(fits)
    if neighbours.hard(pod):
        spread = Filter(
            "PodTopologySpread", lambda node, _: not neighbours.spread_trouble(pod, node, world), fixed=False
        )
        filters.append(spread)
    near = Filter(
        "InterPodAffinity", lambda node, _: not neighbours.affinity_trouble(pod, node, world), fixed=False
    )
    return [*filters, near]


def labels_of(statement: ForEachLabel, pod: Pod) -> list[tuple[str, str]]:
    """What the variable stands for and the value, for every label that fits, by key."""
    pattern = re.escape(statement.prefix) + "(.+)" + re.escape(statement.suffix)
    found = []
    for key, text in sorted((pod.metadata.labels or {}).items()):
        match = re.fullmatch(pattern, key)
        if match:
            found.append((match[1], text))
    return found


def limit_of(text: str) -> float | None:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) or float(text) > 600_000:
        return None
    return float(text)


def bad_limit(rules: list[Rule], pod: Pod) -> bool:
    return any(
        limit_of(text) is None
        for rule in rules
        for statement in rule.statements
        if isinstance(statement, ForEachLabel)
        for _, text in labels_of(statement, pod)
    )


def expand(statements: tuple[Statement, ...], scope: Scope) -> Iterator[tuple[Statement, Scope]]:
    for statement in statements:
        if isinstance(statement, ForEachLabel):
            for name, text in labels_of(statement, scope.pod):
                limit = limit_of(text)
                assert limit is not None
                yield from expand(statement.body, scope.bind(name, limit))
        else:
            yield statement, scope


def missing_origin(rules: list[Rule], scope: Scope) -> bool:
    """Whether a requirement measures from somewhere that is nowhere at the moment."""
    return any(
        isinstance(operand, Delay)
        and not or_unmeasured
        and not scope.world.first_of(inner.origin(operand), scope.pod)
        and scope.world.references(inner.origin(operand), scope.pod.metadata.namespace) is None
        for rule in rules
        for statement, inner in expand(rule.statements, scope)
        if isinstance(statement, Require)
        for operand, or_unmeasured in facts_of(statement.condition)
    )


def member(rule: Rule, condition: Condition, scope: Scope) -> Filter:
    return Filter(rule.name, lambda node, _: judge(condition, node, scope) is True, not varying(condition))


def domain_of(node: Node, domain: Domain) -> str | None:
    return node.name if domain.label is None else (node.metadata.labels or {}).get(domain.label)


def counts(scope: Scope, condition: Condition | None, domain: Domain) -> Counter[str | None]:
    """How many of the placed pods that the condition selects are in each domain."""
    world = scope.world
    return Counter(
        domain_of(world.nodes[world.node_of(pod)], domain)
        for pod in world.counted()
        if judge(condition, None, Scope(world, pod, scope.now))
    )


def cardinality(rule: Rule, statement: Cardinality, scope: Scope, node: Node) -> bool:
    domain = domain_of(node, statement.domain)
    condition = rule.condition if statement.of is None else statement.of
    number = counts(scope, condition, statement.domain)[domain]
    number += statement.of is None or judge(statement.of, None, scope) is True
    within = number <= statement.number if statement.bound is Bound.AT_MOST else number >= statement.number
    return domain is not None and within


def together(rule: Rule, statement: Together, scope: Scope, node: Node) -> bool:
    domain = domain_of(node, statement.domain)
    occupied = {name for name in counts(scope, rule.condition, statement.domain) if name is not None}
    return domain is not None and (not occupied or domain in occupied)


def spread(rule: Rule, statement: Spread, scope: Scope, node: Node, eligible: list[Node]) -> bool:
    domain = domain_of(node, statement.domain)
    if domain is None:
        return False
    number = counts(scope, rule.condition, statement.domain)
    present = {domain_of(other, statement.domain) for other in eligible} - {None}
    least = min((number[other] for other in present), default=0)
    if statement.domains is not None and len(present) < statement.domains:
        least = 0
    return number[domain] + 1 - least <= statement.skew


def hard(rule: Rule, statement: Statement, scope: Scope) -> Iterator[Filter]:
    match statement:
        case Require(condition, forbid):
            yield Filter(
                rule.name,
                lambda node, _: (
                    judge(condition, node, scope) is not forbid and judge(condition, node, scope) is not None
                ),
                not varying(condition),
            )
        case Cardinality(weight=None):
            yield Filter(rule.name, lambda node, _: cardinality(rule, statement, scope, node), fixed=False)
        case Together(weight=None):
            yield Filter(rule.name, lambda node, _: together(rule, statement, scope, node), fixed=False)
        case Spread(weight=None):
            yield Filter(rule.name, lambda node, e: spread(rule, statement, scope, node, e), fixed=False)


def scale(raw: dict[str, float | None], low: bool) -> Scores:
    """Linear from the worst to the best; what nobody knows scores 0."""
    known = {name: Fraction(number) for name, number in raw.items() if number is not None}
    scores = {name: Fraction(0) for name in raw}
    for name, number in known.items():
        least, most = min(known.values()), max(known.values())
        if least == most:
            scores[name] = Fraction(100)
        else:
            share = (most - number if low else number - least) / (most - least)
            scores[name] = 100 * share
    return scores


def flag(holds: Callable[[Node], bool]) -> Callable[[list[Node]], Scores]:
    return lambda nodes: {node.name: Fraction(100 if holds(node) else 0) for node in nodes}


def soft(rule: Rule, statement: Statement, scope: Scope) -> Iterator[Score]:
    match statement:
        case Prefer(condition, weight, avoid):
            yield Score(weight, flag(lambda node: judge(condition, node, scope) is (not avoid)))
        case PreferCurrent(weight):
            yield Score(weight, flag(lambda node: node.name == scope.world.left.get(scope.pod.key)))
        case PreferScaled(quantity, weight, low):

            def raw(node: Node) -> float | None:
                number = value(quantity, node, scope)
                assert not isinstance(number, str)
                return number

            yield Score(weight, lambda nodes: scale({n.name: raw(n) for n in nodes}, low), scaled=True)
        case Cardinality(weight=int(weight)):
            yield Score(weight, flag(lambda node: cardinality(rule, statement, scope, node)))
        case Together(weight=int(weight)):
            yield Score(weight, flag(lambda node: together(rule, statement, scope, node)))
        case Spread(weight=int(weight)):

            def pods(node: Node) -> float | None:
                domain = domain_of(node, statement.domain)
                return None if domain is None else counts(scope, rule.condition, statement.domain)[domain]

            yield Score(weight, lambda nodes: scale({n.name: pods(n) for n in nodes}, low=True), scaled=True)
