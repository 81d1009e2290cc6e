"""Random small clusters and policies. Few names and few values, so that they meet often."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from hypothesis import strategies as st

from engine.model.objects import (
    Affinity,
    Container,
    ContainerPort,
    ContainerStatus,
    Node,
    NodeAffinity,
    NodeSelector,
    NodeSelectorTerm,
    ObjectMeta,
    OwnerReference,
    Pod,
    PodSpec,
    PodStatus,
    PreferredTerm,
    Requirement,
    ResourceRequirements,
    Taint,
    Toleration,
)
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
from tests.engine import build
from tests.engine.naive.world import World

NODES = ("n-1", "n_2", "n.3", "n4", "n5")
ZONES = ("z1", "z2")
WORKLOADS = ("web", "n4", "z2", "db")
NAMESPACES = ("default", "other")
GPU = "example.com/gpu"
NOW = build.NOW
MS = (0.0, 0.3, 1.0, 5.0, 25.0, 26.0)


def maybe(values: st.SearchStrategy[str]) -> st.SearchStrategy[str | None]:
    return st.none() | values


@st.composite
def taints(draw: st.DrawFn) -> Taint:
    return Taint(
        draw(st.sampled_from(("a", "b"))),
        draw(st.sampled_from(("", "x"))),
        draw(st.sampled_from(("NoSchedule", "NoExecute", "PreferNoSchedule", "PreferNoSchedule"))),
    )


@st.composite
def tolerations(draw: st.DrawFn) -> Toleration:
    return Toleration(
        draw(st.sampled_from(("", "a", "b", "node.kubernetes.io/unschedulable"))),
        draw(st.sampled_from(("", "Equal", "Exists", "Gt"))),
        draw(st.sampled_from(("", "x"))),
        draw(st.sampled_from(("", "NoSchedule", "NoExecute", "PreferNoSchedule"))),
    )


@st.composite
def nodes(draw: st.DrawFn, name: str) -> Node:
    labels = {
        key: value
        for key, values in (("role", ("edge", "cloud")), ("rack", ("1", "2", "10", "x")), (build.ZONE, ZONES))
        if (value := draw(maybe(st.sampled_from(values)))) is not None
    }
    allocatable: dict[str, str | int | float] = {
        "cpu": draw(st.sampled_from(("2", "500m", "1", "2", "4", "0"))),
        "memory": draw(st.sampled_from(("1Gi", "500M", "2147483648", "1.5Gi", "4Gi", "0"))),
        "pods": draw(st.sampled_from((2, 110, 110, 110))),
    }
    if draw(st.booleans()):
        allocatable[GPU] = draw(st.sampled_from(("0", "1", "2")))
    return build.node(
        name,
        labels,
        allocatable=allocatable,
        taints=draw(st.just(()) | st.just(()) | st.lists(taints(), max_size=3)),
        cordoned=draw(st.integers(0, 9)) == 0,
        ready=draw(st.sampled_from((None, True, True, False))),
        created=draw(st.sampled_from((0.0, NOW - 60, NOW + 5))),
    )


def amounts() -> st.SearchStrategy[dict[str, str | int | float]]:
    return st.fixed_dictionaries(
        {},
        optional={
            "cpu": st.sampled_from(("100m", "0.25", "0.5", "0")),
            "memory": st.sampled_from(("64Mi", "100M", "256Mi", 1000)),
            GPU: st.sampled_from(("0", "0", "1")),
        },
    )


_OVERHEAD: st.SearchStrategy[dict[str, str | int | float]] = st.just({"cpu": "10m"})


@st.composite
def containers(draw: st.DrawFn, name: str, policy: str | None = None) -> Container:
    ports = [
        ContainerPort(
            draw(st.sampled_from((0, 80, 80, 81))),
            draw(st.sampled_from(("", "0.0.0.0", "10.0.0.1", "10.0.0.2"))),
            draw(st.sampled_from(("", "TCP", "UDP"))),
        )
        for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2))))
    ]
    return Container(
        name=name,
        resources=ResourceRequirements(requests=draw(amounts())),
        ports=tuple(ports),
        restart_policy=policy,
    )


@st.composite
def terms(draw: st.DrawFn) -> NodeSelectorTerm:
    expressions = [
        Requirement(
            draw(st.sampled_from(("role", "rack", "nowhere"))),
            draw(st.sampled_from(("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Strange"))),
            tuple(draw(st.lists(st.sampled_from(("edge", "1", "2", "9", "+1", "x")), max_size=2))),
        )
        for _ in range(draw(st.integers(0, 2)))
    ]
    fields = [
        Requirement(
            draw(st.sampled_from(("metadata.name", "metadata.name", "metadata.uid"))),
            draw(st.sampled_from(("In", "NotIn", "Exists"))),
            tuple(draw(st.lists(st.sampled_from(NODES), min_size=1, max_size=2))),
        )
        for _ in range(draw(st.sampled_from((0, 0, 0, 1))))
    ]
    return NodeSelectorTerm(tuple(expressions), tuple(fields))


@st.composite
def affinities(draw: st.DrawFn) -> Affinity:
    required = draw(st.none() | st.lists(terms(), max_size=2))
    preferred = draw(
        st.lists(st.builds(PreferredTerm, st.sampled_from((0, 1, 50, 100)), terms()), max_size=2)
    )
    return Affinity(
        NodeAffinity(None if required is None else NodeSelector(tuple(required)), tuple(preferred) or None)
    )


@st.composite
def specs(draw: st.DrawFn) -> PodSpec:
    inits = [
        draw(containers(f"init-{number}", draw(st.sampled_from((None, "Always")))))
        for number in range(draw(st.sampled_from((0, 0, 1, 3))))
    ]
    return PodSpec(
        priority=draw(st.sampled_from((None, 0, 10))),
        node_selector=draw(st.sampled_from((None, None, None, {"role": "edge"}))),
        affinity=draw(st.none() | st.none() | affinities()),
        tolerations=tuple(draw(st.just([]) | st.lists(tolerations(), max_size=3))),
        containers=tuple(draw(containers(f"main-{n}")) for n in range(draw(st.integers(1, 2)))),
        init_containers=tuple(inits),
        overhead=draw(st.none() | _OVERHEAD),
        resources=draw(st.none() | st.builds(ResourceRequirements, requests=amounts())),
    )


@st.composite
def pod_labels(draw: st.DrawFn) -> dict[str, str]:
    labels = draw(
        st.fixed_dictionaries(
            {}, optional={"app": st.sampled_from(("a", "b")), "zone": st.sampled_from(ZONES)}
        )
    )
    for origin in draw(st.lists(st.sampled_from((*(*NODES, *WORKLOADS, "z1") * 2, "nobody")), max_size=2)):
        labels[f"delay_{origin}"] = draw(st.sampled_from((*("0", "0.5", "5", "25", "600000") * 4, "fast")))
    return labels


@st.composite
def pods(draw: st.DrawFn, name: str, on: tuple[str, ...] = ()) -> Pod:
    """A pod; on one of the nodes ``on``, where there are any."""
    owned = draw(maybe(st.sampled_from(WORKLOADS)))
    owner = (OwnerReference("StatefulSet", owned, "o", True),) if owned else ()
    statuses: tuple[ContainerStatus, ...] = ()
    spec = draw(specs())
    if on:
        spec = with_node(spec, draw(st.sampled_from(on)))
        statuses = (
            ContainerStatus(
                "main-0",
                draw(st.sampled_from((0, 0, 3))),
                draw(st.none() | amounts()),
                draw(st.none() | st.builds(ResourceRequirements, requests=amounts())),
            ),
        )
    return Pod(
        ObjectMeta(
            name=name,
            namespace=draw(st.sampled_from(NAMESPACES)) if owned else "default",
            uid=f"uid-{name}",
            labels=draw(pod_labels()),
            annotations=draw(st.none() | st.just({"tier": "1", "noise": name})),
            owner_references=owner,
            creation_timestamp=datetime.fromtimestamp(NOW - draw(st.sampled_from((0, 30, 90))), UTC),
            deletion_timestamp=datetime.fromtimestamp(NOW, UTC)
            if on and draw(st.integers(0, 4)) == 0
            else None,
        ),
        spec,
        PodStatus(container_statuses=statuses),
    )


def with_node(spec: PodSpec, node: str) -> PodSpec:
    return msgspec.structs.replace(spec, node_name=node)


@st.composite
def delays(draw: st.DrawFn) -> dict[tuple[str, str], float]:
    """Symmetric, some pairs unmeasured."""
    found: dict[tuple[str, str], float] = {}
    for position, one in enumerate(NODES):
        for other in NODES[position + 1 :]:
            milliseconds = draw(st.none() | st.sampled_from(MS))
            if milliseconds is not None:
                found[one, other] = found[other, one] = milliseconds
    return found


@st.composite
def worlds(draw: st.DrawFn) -> World:
    present = draw(st.lists(st.sampled_from(NODES), unique=True, min_size=1))
    world = World(nodes={name: draw(nodes(name)) for name in present}, delays=draw(delays()))
    for number in range(draw(st.integers(0, 6))):
        world.put_pod(draw(pods(draw(st.sampled_from((f"old-{number}", "web"))), (*present, "unknown"))))
    return world


# Policies

_DOMAINS = (*BUILTIN_DOMAINS[:2], Domain("rack", "rack"))
_ORIGINS = st.sampled_from((*NODES, *WORKLOADS, "z1"))


def node_fact(path: str, kind: Kind, key: str | None = None) -> FactRef:
    return FactRef(Subject.NODE, path, kind, key)


def pod_fact(path: str, kind: Kind, key: str | None = None) -> FactRef:
    return FactRef(Subject.POD, path, kind, key)


_EQUALITY = st.sampled_from((Operator.EQ, Operator.NE))
_OPERATORS = st.sampled_from(tuple(Operator))
_TEXTS = st.sampled_from(("edge", "cloud", "1", "z1", "z2", "n-1", "n4", "a"))


def literal(value: str | float, kind: Kind) -> Literal:
    return Literal(value, kind)


def numbers(facts: tuple[tuple[FactRef, tuple[float, ...]], ...]) -> st.SearchStrategy[Condition]:
    return st.one_of(
        *(
            st.builds(
                Compare, st.just(fact), _OPERATORS, st.sampled_from([literal(v, fact.kind) for v in values])
            )
            for fact, values in facts
        )
    )


_NODE_TEXT = st.sampled_from(
    (
        node_fact("labels", Kind.TEXT, "role"),
        node_fact("labels", Kind.TEXT, "rack"),
        node_fact("zone", Kind.TEXT),
        node_fact("name", Kind.TEXT),
    )
)
_POD_TEXT = st.sampled_from(
    (
        pod_fact("labels", Kind.TEXT, "app"),
        pod_fact("labels", Kind.TEXT, "zone"),
        pod_fact("annotations", Kind.TEXT, "tier"),
        pod_fact("namespace", Kind.TEXT),
        pod_fact("name", Kind.TEXT),
        pod_fact("owner.name", Kind.TEXT),
        pod_fact("owner.kind", Kind.TEXT),
    )
)
_TEXT_LITERALS = st.builds(Literal, _TEXTS, st.just(Kind.TEXT))
_POD_NUMBERS = numbers(
    (
        (pod_fact("priority", Kind.COUNT), (0, 10)),
        (pod_fact("requests", Kind.CPU, "cpu"), (0, 100, 250)),
        (pod_fact("restarts", Kind.COUNT), (0, 2)),
        (pod_fact("age", Kind.DURATION), (31_000, 60_000)),
    )
)
_POD_SIMPLE: st.SearchStrategy[Condition] = st.one_of(
    st.builds(Compare, _POD_TEXT, _EQUALITY, _TEXT_LITERALS),
    st.builds(Member, _POD_TEXT, st.lists(_TEXT_LITERALS, min_size=1, max_size=2).map(tuple)),
    st.builds(Has, st.just(Subject.POD), st.just("labels"), st.sampled_from(("app", "delay_*", "*"))),
    st.builds(Has, st.just(Subject.POD), st.just("annotations"), st.sampled_from(("tier", "t*"))),
    _POD_NUMBERS,
)
_NODE_SIMPLE: st.SearchStrategy[Condition] = st.one_of(
    st.builds(Compare, _NODE_TEXT, _EQUALITY, _TEXT_LITERALS | _POD_TEXT | _NODE_TEXT),
    st.builds(Member, _NODE_TEXT, st.lists(_TEXT_LITERALS, min_size=1, max_size=2).map(tuple)),
    st.builds(Has, st.just(Subject.NODE), st.just("labels"), st.sampled_from(("role", "r*", "nowhere"))),
    st.just(Truth(node_fact("ready", Kind.TRUTH))),
    numbers(
        (
            (node_fact("free", Kind.CPU, "cpu"), (0, 500, 1000)),
            (node_fact("free", Kind.COUNT, GPU), (0, 1)),
            (node_fact("used", Kind.PERCENT, "memory"), (10, 50)),
            (node_fact("allocatable", Kind.BYTES, "memory"), (0, 500_000_000)),
            (node_fact("pods", Kind.COUNT), (0, 1, 2)),
            (node_fact("age", Kind.DURATION), (0, 61_000)),
        )
    ),
    st.builds(
        Compare,
        st.builds(Delay, _ORIGINS),
        _OPERATORS,
        st.sampled_from([literal(v, Kind.DURATION) for v in MS]),
        st.booleans(),
    ),
)


def compound(simple: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    pairs = st.tuples(simple, simple | st.builds(Not, simple))
    return simple | simple | st.builds(Not, simple) | st.builds(And, pairs) | st.builds(Or, pairs)


POD_CONDITIONS = compound(_POD_SIMPLE)
NODE_CONDITIONS = compound(_NODE_SIMPLE | _NODE_SIMPLE | _POD_SIMPLE)
_WEIGHTS = st.sampled_from((1, 3))
_SOFT = st.none() | _WEIGHTS

_BOUND = Delay("from", bound=True)
_NEAR = Require(Compare(_BOUND, Operator.LE, BoundName("limit")))
_FOR_EACH: st.SearchStrategy[Statement] = st.builds(
    ForEachLabel,
    st.just("delay_"),
    st.just("from"),
    st.just(""),
    st.just("limit"),
    st.sampled_from(((_NEAR,), (_NEAR, PreferScaled(_BOUND, 3, True)), (PreferScaled(_BOUND, 1, True),))),
)
_STATEMENTS: st.SearchStrategy[Statement] = st.one_of(
    _FOR_EACH,
    st.builds(Require, NODE_CONDITIONS, st.booleans()),
    st.builds(Prefer, NODE_CONDITIONS, _WEIGHTS, st.booleans()),
    st.builds(
        PreferScaled,
        st.builds(Delay, _ORIGINS)
        | st.sampled_from(
            (
                node_fact("free", Kind.BYTES, "memory"),
                node_fact("used", Kind.PERCENT, "cpu"),
                node_fact("age", Kind.DURATION),
                node_fact("pods", Kind.COUNT),
            )
        ),
        _WEIGHTS,
        st.booleans(),
    ),
    st.builds(Spread, st.sampled_from(_DOMAINS), st.integers(1, 2), st.none() | st.just(2), _SOFT),
    st.builds(Spread, st.just(_DOMAINS[1]), st.just(1), st.none(), st.none()),
    st.builds(
        Cardinality,
        st.sampled_from(Bound),
        st.integers(0, 2),
        st.sampled_from(_DOMAINS),
        st.none() | POD_CONDITIONS,
        _SOFT,
    ),
    st.builds(Together, st.sampled_from(_DOMAINS), _SOFT),
)
_RULES = ("first", "second", "third")
_SETS = ("one", "two", "three")


@st.composite
def tries(draw: st.DrawFn) -> Try:
    steps = [Step(draw(st.sampled_from(_SETS)))]
    for _ in range(draw(st.integers(1, 2))):
        waived = draw(st.lists(st.sampled_from(_RULES), max_size=1))
        steps.append(
            Step(draw(st.sampled_from(_SETS)), draw(st.sampled_from((0.0, 0.0, 5000.0))), tuple(waived))
        )
    return Try(tuple(steps))


@st.composite
def policies(draw: st.DrawFn) -> CheckedPolicy:
    rules = []
    for name in _RULES[: draw(st.sampled_from((0, 1, 2, 2, 3)))]:
        statements = draw(st.lists(_STATEMENTS, min_size=1, max_size=2))
        if draw(st.integers(0, 2)) == 0:
            statements.append(draw(tries()))
        rules.append(Rule(name, draw(st.none() | st.none() | POD_CONDITIONS), tuple(statements)))
    return CheckedPolicy(
        node_sets=tuple(NodeSet(name, draw(NODE_SETS)) for name in _SETS), rules=tuple(rules)
    )


NODE_SETS = compound(_NODE_SIMPLE)
