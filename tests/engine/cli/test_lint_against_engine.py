"""What lint says beside a cluster is compared with what the engine does there: it never warns of what can be had."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any, Final, cast

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from engine.cli.explain_subject import World
from engine.cli.known_inventory import inventory_of
from engine.compile import compile_policy
from engine.compile.nodes import Require
from engine.compile.origins import Origins
from engine.compile.plan import BoundPlan
from engine.compile.requirements import Requirements
from engine.compile.subject import Moment, PodSubject
from engine.constraints.protocol import Filter, GlobalFilter, is_global
from engine.model.objects import PodSpec
from engine.model.pattern import fits
from engine.placement import Placer
from engine.placement.explanation_pods import set_apart
from engine.state.cache import Cache
from engine.state.pods import PlacedPod
from grammar import policy
from grammar.beside import beside
from grammar.diagnostic import Diagnostic, Note
from grammar.files import Result
from grammar.inventory import Inventory
from grammar.policy import CheckedPolicy, Operator, Rule
from grammar.satisfiable import atoms
from grammar.span import Span
from tests.engine import random_policies, worlds
from tests.engine.placement.compare import cache_of, delay_map

WORLDS: Final = 1200
EXPECTED: Final = {
    "P701", "P701 of a domain", "P702", "P703 of a requirement", "P703 of a rule",
    "P705 of a rule", "P705 of a pod", "P706 of a rule", "P706 of a pod",
}  # fmt: skip
"""What all these worlds together have to bring up: else nothing was compared."""
LEAST: Final = 2

_ASKED: Final = re.compile(r"`(?P<key>[^`]*)` of pod (?P<namespace>[^/]*)/(?P<name>[^ ;]*)")
_QUOTED: Final = re.compile(r"`([^`]*)`")


# Random policies, of which each part is somewhere


def limit(r: Random, delay: policy.Delay, bound: bool) -> policy.Condition:
    """An upper limit, written in one of the ways in which it can be."""
    most: policy.Operand = policy.Literal(r.choice(worlds.MS), policy.Kind.DURATION)
    if bound and not worlds.rarely(r, 3):
        most = policy.BoundName("limit")
    if worlds.rarely(r, 3):
        return policy.Compare(most, r.choice((Operator.GE, Operator.GT)), delay, worlds.rarely(r, 6))
    return policy.Compare(delay, r.choice((Operator.LE, Operator.LT)), most, worlds.rarely(r, 6))


def required(r: Random) -> policy.Require:
    """What is asked of nodes; seldom of how full they are, so that there is something to be said of it."""
    match r.randrange(6):
        case 0:
            delay = policy.Delay(r.choice((*worlds.NODES, *worlds.WORKLOADS, "z1", "n-2", "elsewhere")))
            found: policy.Condition = limit(r, delay, bound=False)
        case 1:
            found = random_policies.compound(r, random_policies.simple)
        case 2:
            found = random_policies.compound(r, asked_of_labels)
        case _:
            found = asked_of_labels(r)
    if worlds.rarely(r, 4):
        found = policy.And((found, asked_of_labels(r)))
    return policy.Require(found, forbid=worlds.rarely(r, 4))


def asked_of_labels(r: Random) -> policy.Condition:
    values = ("edge", "cloud", "1", "10", "z1", "z2", "z9", "egde", "n-1", "n4")
    keys = ("role", "roles", "rack", "nowhere")
    fact = r.choice(
        (*random_policies.NODE_TEXTS[2:], random_policies.of_node("labels", policy.Kind.TEXT, r.choice(keys)))
    )
    choices = tuple(policy.Literal(value, policy.Kind.TEXT) for value in r.sample(values, r.randint(1, 2)))
    match r.randrange(4):
        case 0:
            return policy.Has(policy.Subject.NODE, "labels", r.choice((*keys, "r*", "x*")))
        case 1:
            return policy.Member(fact, choices)
        case _:
            return policy.Compare(fact, r.choice(random_policies.EQUALITY), choices[0])


def for_each(r: Random) -> policy.ForEachLabel:
    delay = policy.Delay("from", bound=True)
    body: list[policy.Statement] = [policy.Require(limit(r, delay, bound=True))]
    if worlds.rarely(r, 2):
        body.append(required(r))
    if worlds.rarely(r, 4):
        body = [policy.PreferScaled(delay, 1, low=True)]
    return policy.ForEachLabel("delay_", "from", "", "limit", tuple(body))


def near(r: Random) -> tuple[Rule, ...]:
    """What most policies are about: a limit for some nodes, and a way out of it for some pods."""
    equal = policy.Compare(
        r.choice(random_policies.NODE_TEXTS), r.choice(random_policies.EQUALITY), random_policies.text(r)
    )
    fixed = policy.Require(limit(r, policy.Delay(r.choice((*worlds.NODES, "z1"))), bound=False))
    first = Rule("first", None, (policy.Require(equal), for_each(r) if worlds.rarely(r, 2) else fixed))
    sets = [policy.Step(r.choice(random_policies.SETS))]
    sets.append(policy.Step(r.choice(random_policies.SETS), 0.0, ("first",)))
    out = policy.Has(policy.Subject.POD, "labels", "app")
    return (first, *([Rule("second", out, (policy.Try(tuple(sets)),))] if worlds.rarely(r, 2) else []))


def a_policy(r: Random) -> CheckedPolicy:
    rules = [*near(r)] if worlds.rarely(r, 2) else [*any_rules(r)]
    sets = tuple(
        policy.NodeSet(name, random_policies.compound(r, random_policies.simple_of_node))
        for name in random_policies.SETS
    )
    return placed_in_text(CheckedPolicy(node_sets=sets, rules=tuple(rules)))


def any_rules(r: Random) -> Iterator[Rule]:
    for name in random_policies.RULES[: r.randint(1, 3)]:
        statements: list[policy.Statement] = [required(r) for _ in range(r.randint(0, 2))]
        if worlds.rarely(r, 2):
            statements.append(for_each(r))
        if worlds.rarely(r, 4):
            statements.append(random_policies.statement(r))
        if worlds.rarely(r, 3):
            statements.append(random_policies.fallback(r))
        condition = (
            random_policies.compound(r, random_policies.simple_of_pod) if worlds.rarely(r, 3) else None
        )
        yield Rule(name, condition, tuple(statements))


def placed_in_text(checked: CheckedPolicy) -> CheckedPolicy:
    """The policy with a span of its own for each part: a line for each statement, a column for each thing in it."""
    lines, columns = count(1), count(1)

    def spanned(one: Any, line: int) -> Any:
        if isinstance(one, tuple):
            return tuple(spanned(part, line) for part in one)
        if not dataclasses.is_dataclass(one) or isinstance(one, type | policy.Domain):
            return one
        if isinstance(one, policy.Statement | policy.NodeSet | Rule):
            line = next(lines)
        parts = {
            part.name: spanned(getattr(one, part.name), line)
            for part in dataclasses.fields(one)
            if part.name != "span"
        }
        if hasattr(one, "span"):
            column = next(columns)
            parts["span"] = Span("a", line, column, line, column + 1)
        return dataclasses.replace(one, **parts)

    return cast(CheckedPolicy, spanned(checked, 0))


# The engine's word


def place_of(constraint: Filter | GlobalFilter) -> int | None:
    """The line of the statement that it carries out; None where it is none of the policy's."""
    return None if constraint.citation is None else constraint.citation.span.line


@dataclass
class Engine:
    """A random cluster under a random policy, as the engine sees it."""

    checked: CheckedPolicy
    cache: Cache
    placer: Placer

    def __post_init__(self) -> None:
        origins = Origins(self.cache.columns, self.cache.workloads, self.placer.delay_map)
        moment = Moment(worlds.NOW)
        self.origins = origins
        self.plan = BoundPlan(compile_policy(self.checked), self.cache, origins, moment)
        self.alive: NDArray[np.bool_] = self.cache.columns.alive
        self.of_rule = {
            statement.span: rule for rule in self.checked.rules for statement in flat(rule.statements)
        }

    def requirements(self, pod: PlacedPod) -> Requirements:
        return self.plan.requirements(PodSubject.of(pod, worlds.NOW))

    def left(self, pod: PlacedPod, what: Rule | policy.Statement) -> int:
        """How many nodes are left for a pod by what a statement requires, or all those of a rule."""
        asked, mask = self.requirements(pod), self.alive.copy()
        if asked.trouble is not None:
            return 0  # a label that cannot be read
        for one in asked.policies:
            of_it = one.name == what.name if isinstance(what, Rule) else place_of(one) == what.span.line
            if isinstance(one, Require) and of_it:
                mask &= one.passes(slice(None))
        return int(np.count_nonzero(mask))

    def placed(self, pod: PlacedPod) -> bool:
        """Whether it gets a node, however long it waits."""
        with set_apart(self.cache, pod.key) as apart:
            return self.placer.place(apart, worlds.NOW, 3_600_000.0).node is not None

    def asked(self, statement: policy.Statement) -> list[PlacedPod]:
        """The pods of which the statement asks something."""
        return [
            pod
            for pod in self.bound(self.of_rule[statement.span])
            if any(
                isinstance(one, Require) and place_of(one) == statement.span.line
                for one in self.requirements(pod).policies
            )
        ]

    def bound(self, rule: Rule) -> list[PlacedPod]:
        """The pods that a rule selects."""
        return [
            pod
            for pod in self.cache.pods()
            if any(one.startswith(f"{rule.name} (") for one in self.requirements(pod).rules)
        ]


def flat(body: tuple[policy.Statement, ...]) -> Iterator[policy.Statement]:
    for statement in body:
        yield statement
        if isinstance(statement, policy.ForEachLabel):
            yield from flat(statement.body)


def a_world(r: Random) -> tuple[Engine, Inventory]:
    world, checked = worlds.world(r), a_policy(r)
    for number in range(r.randint(0, 4)):
        pod = worlds.pod(r, r.choice((f"new-{number}", "web")))
        # What Kubernetes asks besides would only hide what a rule does.
        world.put_pod(structs.replace(pod, spec=PodSpec()))
    cache = cache_of(world)
    placer = Placer(cache, compile_policy(checked), delay_map(world.delays))
    schedulers = tuple({pod.pod.spec.scheduler_name for pod in cache.pods()})
    return Engine(checked, cache, placer), inventory_of(World(cache, placer, worlds.NOW, schedulers))


# What has to be so wherever it is told


def statement_of(engine: Engine, told: Diagnostic) -> policy.Statement | None:
    """The statement that it is about: each has a line to itself."""
    everywhere = (one for rule in engine.checked.rules for one in flat(rule.statements))
    return next((one for one in everywhere if one.span.line == told.span.line), None)


def meant(engine: Engine, told: Diagnostic, statement: policy.Statement) -> list[PlacedPod]:
    """Of the pods that a statement binds the one that is named, if one is; else all of them."""
    asked = _ASKED.match(told.label)
    if asked is None:
        return engine.asked(statement) if isinstance(statement, policy.Require) else []
    pods = engine.bound(engine.of_rule[statement.span])
    [found] = [pod for pod in pods if str(pod.key) == f"{asked['namespace']}/{asked['name']}"]
    assert asked["key"] in found.shape.labels
    return [found]


def check_labels(engine: Engine, told: Diagnostic, statement: policy.Statement | None) -> None:
    """P701 and P702 are about what is written on nodes; who asks for just that gets none."""
    nodes = [*engine.cache.nodes()]
    quoted = _QUOTED.findall(told.message)
    if told.message.startswith("no node here is called"):
        assert not {node.name for node in nodes} & {*quoted}
    elif " as its label " in told.message:
        *values, key = quoted
        assert not {(node.metadata.labels or {}).get(key) for node in nodes} & {*values}
    else:
        assert not any(fits(key, quoted[0]) for node in nodes for key in node.metadata.labels or {})
    if isinstance(statement, policy.Require) and not statement.forbid:
        match statement.condition:
            case policy.Has() | policy.Compare(operator=Operator.EQ):
                exactly = True
            case policy.Member(choices=choices):
                exactly = told.code == "P701" or {str(one.value) for one in choices} <= {*quoted}
            case _:
                exactly = False
        if exactly:
            assert all(engine.left(pod, statement) == 0 for pod in engine.asked(statement))


def check_domain(engine: Engine, told: Diagnostic) -> None:
    """P701 of a domain: nobody is in one, and what does not merely rank refuses all nodes."""
    [key] = _QUOTED.findall(told.message)
    assert not any(key in (node.metadata.labels or {}) for node in engine.cache.nodes())
    notes = [Note(told.span, told.label), *told.related]
    refusing = {note.span.line for note in notes if "no node meets this" in note.message}
    for rule in engine.checked.rules:
        lines = refusing & {statement.span.line for statement in rule.statements}
        for pod in engine.bound(rule) if lines else ():
            asked = engine.requirements(pod)
            found = {place_of(one): one for one in asked.policies}
            assert asked.trouble or lines <= found.keys()
            for one in (found[line] for line in lines if line in found):
                assert is_global(one)
                passing = one.passes_among(engine.alive, 0)
                assert passing is not None
                assert not passing[engine.alive].any()


def check_nobody(engine: Engine, told: Diagnostic, statement: policy.Statement) -> None:
    """P705: nothing is called so, and whose requirement it is waits for it."""
    name = _QUOTED.findall(told.message)[0]
    for pod in meant(engine, told, statement):
        own = pod.shape.owner is not None and pod.shape.owner.name == name
        missing = engine.origins.origin(name, pod.key.namespace, own).missing()
        assert missing is not None
        assert missing.startswith("no node, workload of namespace")
        if isinstance(statement, policy.Require):
            compared = [one for one in atoms(statement.condition) if isinstance(one, policy.Compare)]
            assert any(one.or_unmeasured for one in compared) or not engine.placed(pod)


def check_limit(engine: Engine, told: Diagnostic, statement: policy.Statement) -> None:
    """P706: a pod of the rule gets no node of it, and one whose label it is about gets none at all."""
    for pod in meant(engine, told, statement):
        assert engine.left(pod, engine.of_rule[statement.span]) == 0
        assert _ASKED.match(told.label) is None or not engine.placed(pod)


def check(engine: Engine, told: Diagnostic) -> str:
    """Fails where what is told is not so; returns what it was, for counting."""
    statement = statement_of(engine, told)
    kind = told.code
    match told.code:
        case "P701" if ", so there is no " in told.message:
            check_domain(engine, told)
            kind = "P701 of a domain"
        case "P701" | "P702":
            check_labels(engine, told, statement)
        case "P703" if isinstance(statement, policy.Require):
            together = "all requirements" in told.message
            what = engine.of_rule[statement.span] if together else statement
            assert all(engine.left(pod, what) == 0 for pod in engine.asked(statement))
            kind = f"P703 {'of a rule' if together else 'of a requirement'}"
        case "P705" | "P706" if statement is not None:
            (check_nobody if told.code == "P705" else check_limit)(engine, told, statement)
            kind = f"{told.code} {'of a rule' if _ASKED.match(told.label) is None else 'of a pod'}"
    return kind


def test_lint_only_says_what_the_engine_does() -> None:
    found: Counter[str] = Counter()
    for seed in range(WORLDS):
        engine, inventory = a_world(Random(seed))
        for told in beside(Result(engine.checked, (), ()), inventory).diagnostics:
            try:
                found[check(engine, told)] += 1
            except AssertionError as error:
                error.add_note(f"seed {seed}: {told}\n{engine.checked}")
                raise

    assert {kind for kind, number in found.items() if number >= LEAST} >= EXPECTED
