"""Small clusters in which the pods of a lost node get into each other's way, or wait for each other."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from msgspec.structs import replace

from engine.model.objects import (
    Affinity,
    ContainerPort,
    LabelSelector,
    Pod,
    PodAffinity,
    PodAffinityTerm,
    TopologySpreadConstraint,
)
from grammar.policy import (
    BUILTIN_DOMAINS,
    Bound,
    BoundName,
    Cardinality,
    CheckedPolicy,
    Compare,
    Condition,
    Delay,
    FactRef,
    ForEachLabel,
    Kind,
    Literal,
    NodeSet,
    Operator,
    Require,
    Rule,
    Spread,
    Statement,
    Step,
    Subject,
    Together,
    Try,
)
from tests.engine import build
from tests.engine.naive.world import World

NODES = ("n1", "n2", "n3", "n4")
DOMAINS = BUILTIN_DOMAINS[:2]


@dataclass
class Crowd:
    """``kept`` None: all that is free counts."""

    world: World
    policy: CheckedPolicy
    lost: tuple[str, ...]
    kept: dict[str, dict[str, int]] | None


def app(value: str) -> Condition:
    label = FactRef(Subject.POD, "labels", Kind.TEXT, "app")
    return Compare(label, Operator.EQ, Literal(value, Kind.TEXT))


def statement(r: Random) -> Statement:
    near = Require(Compare(Delay("from", bound=True), Operator.LE, BoundName("limit")))
    used = Compare(FactRef(Subject.NODE, "pods", Kind.COUNT), Operator.GE, Literal(1.0, Kind.COUNT))
    return r.choice(
        (
            ForEachLabel("delay_", "from", "", "limit", (near,)),
            Spread(r.choice(DOMAINS), 1, r.choice((None, 2)), None),
            Cardinality(Bound.AT_MOST, 1, r.choice(DOMAINS), None, None),
            Cardinality(Bound.AT_MOST, r.choice((0, 1)), r.choice(DOMAINS), app("b"), None),
            Cardinality(Bound.AT_LEAST, 1, r.choice(DOMAINS), app("b"), None),
            Together(r.choice(DOMAINS), None),
            Require(used),
            Try((Step("first"), Step("second", r.choice((0.0, 5000.0))))),
        )
    )


def policy(r: Random) -> CheckedPolicy:
    rules = tuple(
        Rule(name, r.choice((None, app("a"), app("b"))), (statement(r),))
        for name in ("one", "two")[: r.choice((0, 1, 1, 2))]
    )
    zone = FactRef(Subject.NODE, "zone", Kind.TEXT)
    sets = tuple(
        NodeSet(name, Compare(zone, Operator.EQ, Literal(value, Kind.TEXT)))
        for name, value in (("first", "z1"), ("second", "z2"))
    )
    return CheckedPolicy(node_sets=sets, rules=rules)


def asks(r: Random, one: Pod) -> Pod:
    term = PodAffinityTerm(
        LabelSelector({"app": r.choice("ab")}), None, r.choice(("kubernetes.io/hostname", build.ZONE))
    )
    spread = TopologySpreadConstraint(
        1, r.choice(("kubernetes.io/hostname", build.ZONE)), "DoNotSchedule", LabelSelector({"app": "a"})
    )
    spec = one.spec
    match r.randrange(8):
        case 0:
            spec = replace(spec, affinity=Affinity(pod_anti_affinity=PodAffinity((term,))))
        case 1:
            spec = replace(spec, affinity=Affinity(pod_affinity=PodAffinity((term,))))
        case 2:
            spec = replace(spec, topology_spread_constraints=(spread,))
    return replace(one, spec=spec)


def pod(r: Random, name: str, on: str) -> Pod:
    labels = {"app": r.choice("ab")}
    if not r.randrange(2):
        labels[f"delay_{r.choice(('n2', 'n3', 'a', 'b', 'z2'))}"] = r.choice(("0", "5", "25"))
    made = build.pod(
        name,
        labels,
        on=on,
        requests={"memory": r.choice(("1Gi", "2Gi", "3Gi"))},
        owner=("StatefulSet", r.choice("ab")) if r.randrange(3) else None,
        ports=(ContainerPort(80),) if not r.randrange(6) else (),
    )
    return asks(r, made)


def crowd(r: Random) -> Crowd:
    world = World()
    for name in NODES:
        labels = {"kubernetes.io/hostname": name}
        allocatable = {"cpu": "4", "memory": r.choice(("2Gi", "4Gi", "6Gi")), "pods": r.choice((2, 110))}
        world.nodes[name] = build.node(name, labels, zone=r.choice(("z1", "z2")), allocatable=allocatable)
    for one in NODES:
        for other in NODES:
            if one < other:
                world.delays[one, other] = world.delays[other, one] = r.choice((1.0, 5.0, 25.0, 30.0))
    for number in range(r.randint(1, 3)):
        world.put_pod(pod(r, f"lost-{number}", "n1"))
    for number in range(r.randint(0, 3)):
        world.put_pod(pod(r, f"other-{number}", r.choice(NODES[1:])))
    kept = {
        name: {"memory": r.choice((1, 2, 3, 4)) * 2**30, "pods": r.choice((1, 2, 3))} for name in NODES[1:]
    }
    lost = ("n1",) if r.randrange(4) else ("n1", "n2")
    return Crowd(world, policy(r), lost, None if not r.randrange(3) else kept)
