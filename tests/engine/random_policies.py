"""Random checked policies about the clusters of `tests.engine.worlds`."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from grammar.policy import (
    BUILTIN_DOMAINS,
    And,
    Bound,
    BoundName,
    Cardinality,
    CheckedPolicy,
    Compare,
    Condition,
    Delay,
    Domain,
    FactRef,
    ForEachLabel,
    Has,
    Kind,
    Literal,
    Member,
    NodeSet,
    Not,
    Operator,
    Or,
    Prefer,
    PreferScaled,
    Require,
    Rule,
    Spread,
    Statement,
    Step,
    Subject,
    Together,
    Truth,
    Try,
)
from tests.engine.worlds import GPU, MS, NODES, WORKLOADS, rarely, some

Make = Callable[[Random], Condition]

DOMAINS = (*BUILTIN_DOMAINS[:2], Domain("rack", "rack"))
RULES = ("first", "second", "third")
SETS = ("one", "two", "three")
EQUALITY = (Operator.EQ, Operator.NE)


def of_node(path: str, kind: Kind, key: str | None = None) -> FactRef:
    return FactRef(Subject.NODE, path, kind, key)


def of_pod(path: str, kind: Kind, key: str | None = None) -> FactRef:
    return FactRef(Subject.POD, path, kind, key)


Numbers = tuple[tuple[FactRef, tuple[float, ...]], ...]
NODE_NUMBERS: Numbers = (
    (of_node("free", Kind.CPU, "cpu"), (0, 500, 1000)),
    (of_node("free", Kind.COUNT, GPU), (0, 1)),
    (of_node("used", Kind.PERCENT, "memory"), (10, 50)),
    (of_node("allocatable", Kind.BYTES, "memory"), (0, 500_000_000)),
    (of_node("pods", Kind.COUNT), (0, 1, 2)),
    (of_node("age", Kind.DURATION), (0, 61_000)),
)
POD_NUMBERS: Numbers = (
    (of_pod("priority", Kind.COUNT), (0, 10)),
    (of_pod("requests", Kind.CPU, "cpu"), (0, 100, 250)),
    (of_pod("restarts", Kind.COUNT), (0, 2)),
    (of_pod("age", Kind.DURATION), (31_000, 60_000)),
)
NODE_TEXTS = (
    of_node("labels", Kind.TEXT, "role"),
    of_node("labels", Kind.TEXT, "rack"),
    of_node("zone", Kind.TEXT),
    of_node("name", Kind.TEXT),
)
POD_TEXTS = (
    of_pod("labels", Kind.TEXT, "app"),
    of_pod("labels", Kind.TEXT, "zone"),
    of_pod("annotations", Kind.TEXT, "tier"),
    of_pod("namespace", Kind.TEXT),
    of_pod("name", Kind.TEXT),
    of_pod("owner.name", Kind.TEXT),
    of_pod("owner.kind", Kind.TEXT),
)


def text(r: Random) -> Literal:
    return Literal(r.choice(("edge", "cloud", "1", "z1", "z2", "n-1", "n4", "a", "web")), Kind.TEXT)


def number(r: Random, numbers: Numbers) -> Condition:
    fact, values = r.choice(numbers)
    return Compare(fact, r.choice(tuple(Operator)), Literal(r.choice(values), fact.kind))


def origin(r: Random) -> Delay:
    return Delay(r.choice((*NODES, *WORKLOADS, "z1")))


def simple_of_pod(r: Random) -> Condition:
    match r.randrange(5):
        case 0:
            return Compare(r.choice(POD_TEXTS), r.choice(EQUALITY), text(r))
        case 1:
            return Member(r.choice(POD_TEXTS), some(r, text, 2, 1))
        case 2:
            return Has(Subject.POD, "labels", r.choice(("app", "delay_*", "*")))
        case 3:
            return Has(Subject.POD, "annotations", r.choice(("tier", "t*")))
        case _:
            return number(r, POD_NUMBERS)


def simple_of_node(r: Random) -> Condition:
    match r.randrange(7):
        case 0 | 1:
            right = r.choice((text(r), text(r), r.choice(POD_TEXTS), r.choice(NODE_TEXTS)))
            return Compare(r.choice(NODE_TEXTS), r.choice(EQUALITY), right)
        case 2:
            return Member(r.choice(NODE_TEXTS), some(r, text, 2, 1))
        case 3:
            return Has(Subject.NODE, "labels", r.choice(("role", "r*", "nowhere")))
        case 4:
            return Truth(of_node("ready", Kind.TRUTH))
        case 5:
            return number(r, NODE_NUMBERS)
        case _:
            limit = Literal(r.choice(MS), Kind.DURATION)
            return Compare(origin(r), r.choice(tuple(Operator)), limit, rarely(r, 2))


def simple(r: Random) -> Condition:
    return simple_of_pod(r) if rarely(r, 4) else simple_of_node(r)


def compound(r: Random, make: Make) -> Condition:
    match r.randrange(6):
        case 0:
            return Not(make(r))
        case 1:
            return And((make(r), compound(r, make)))
        case 2 | 3:
            return Or((make(r), compound(r, make)))
        case _:
            return make(r)


def weight(r: Random) -> int:
    return r.choice((1, 3))


def statement(r: Random) -> Statement:
    bound = Delay("from", bound=True)
    near = Require(Compare(bound, Operator.LE, BoundName("limit")))
    soft = r.choice((None, weight(r)))
    match r.randrange(9):
        case 0 | 1:
            bodies = ((near,), (near, PreferScaled(bound, 3, True)), (PreferScaled(bound, 1, True),))
            return ForEachLabel("delay_", "from", "", "limit", r.choice(bodies))
        case 2:
            return Require(compound(r, simple), forbid=rarely(r, 2))
        case 3:
            return Prefer(compound(r, simple), weight(r), avoid=rarely(r, 2))
        case 4:
            quantity = r.choice((origin(r), of_node("free", Kind.BYTES, "memory"), r.choice(NODE_NUMBERS)[0]))
            return PreferScaled(quantity, weight(r), low=rarely(r, 2))
        case 5 | 6:
            return Spread(r.choice(DOMAINS), r.randint(1, 2), r.choice((None, None, 2)), soft)
        case 7:
            counted = compound(r, simple_of_pod) if rarely(r, 2) else None
            return Cardinality(r.choice(tuple(Bound)), r.randint(0, 2), r.choice(DOMAINS), counted, soft)
        case _:
            return Together(r.choice(DOMAINS), soft)


def fallback(r: Random) -> Try:
    steps = [Step(r.choice(SETS))]
    for _ in range(r.randint(1, 2)):
        waived = (r.choice(RULES),) if rarely(r, 2) else ()
        steps.append(Step(r.choice(SETS), r.choice((0.0, 0.0, 5000.0)), waived))
    return Try(tuple(steps))


def policy(r: Random) -> CheckedPolicy:
    rules = []
    for name in RULES[: r.choice((0, 1, 2, 2, 3))]:
        statements = [*some(r, statement, 2, 1), *([fallback(r)] if rarely(r, 3) else [])]
        condition = compound(r, simple_of_pod) if rarely(r, 3) else None
        rules.append(Rule(name, condition, tuple(statements)))
    sets = tuple(NodeSet(name, compound(r, simple_of_node)) for name in SETS)
    return CheckedPolicy(node_sets=sets, rules=tuple(rules))
