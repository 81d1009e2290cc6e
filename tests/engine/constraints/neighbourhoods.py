"""Random small clusters whose pods ask much of each other. Few names and few values, so that they meet often.

Templates of pods and nodes are drawn from pools that are made once, simplest first: drawing each field of each anew
would take hypothesis ten times as long as everything that is tested.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import TypeVar

from hypothesis import strategies as st
from msgspec.structs import replace

from engine.model.objects import (
    Affinity,
    Container,
    ContainerImage,
    Identity,
    LabelSelector,
    Node,
    NodeAffinity,
    NodeSelector,
    NodeSelectorTerm,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    OwnerReference,
    Pod,
    PodAffinity,
    PodAffinityTerm,
    PodSpec,
    ReplicaSet,
    ReplicationController,
    ReplicationControllerSpec,
    Requirement,
    SelectingSpec,
    Service,
    ServiceSpec,
    StatefulSet,
    Taint,
    Toleration,
    TopologySpreadConstraint,
    WeightedPodAffinityTerm,
)
from engine.state.memberships import Grouping
from tests.engine.naive.world import World

NODES = ("n1", "n2", "n3", "n4", "n5", "n6")
HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
KEYS = (HOSTNAME, ZONE, "rack")
NAMESPACES = ("default", "other", "third")
NOW = datetime.fromtimestamp(1_700_000_000, UTC)
MEBI = 2**20
IMAGES = ("web", "web:2", "registry:5000/db")

Made = TypeVar("Made")


def pool(make: Callable[[Random], Made], size: int) -> list[Made]:
    return sorted((make(Random(number)) for number in range(size)), key=lambda one: len(repr(one)))


def _node(random: Random) -> Node:
    labels = {HOSTNAME: "(its name)"} if random.random() < 0.85 else {}
    if random.random() < 0.85:
        labels[ZONE] = random.choice(("z1", "z2", "z3"))
    if random.random() < 0.5:
        labels["rack"] = random.choice(("1", "2"))
    taints = (Taint("k", "", "NoSchedule"),) if random.random() < 0.2 else None
    images = random.sample(("web:latest", "web:2", "registry:5000/db:latest"), random.randrange(4))
    return Node(
        ObjectMeta(labels=labels or None),
        NodeSpec(taints=taints),
        NodeStatus(
            {"cpu": "4", "memory": "8Gi", "pods": random.choice((110, 110, 2))},
            images=tuple(ContainerImage((image,), len(image) * 50 * MEBI) for image in images) or None,
        ),
    )


def _selector(random: Random) -> LabelSelector | None:
    kind = random.randrange(8)
    if kind == 0:
        return None
    if kind == 1:
        return LabelSelector()
    if kind < 6:
        return LabelSelector(
            random.choice(
                ({"app": "a"}, {"app": "a"}, {"app": "b"}, {"tier": "a"}, {"app": "a", "tier": "b"})
            )
        )
    requirements = [
        Requirement(
            random.choice(("app", "tier")),
            random.choice(("In", "In", "NotIn", "NotIn", "Exists", "DoesNotExist", "Strange")),
            random.choice((None, ("a",), ("b",), ("a", "b"))),
        )
        for _ in range(random.choice((1, 1, 2)))
    ]
    return LabelSelector(None, tuple(requirements))


def _term(random: Random) -> PodAffinityTerm:
    not_default = Requirement("kubernetes.io/metadata.name", "NotIn", ("default", "third"))
    return PodAffinityTerm(
        _selector(random),
        tuple(random.sample(NAMESPACES, random.randrange(3))) if random.random() < 0.4 else None,
        random.choice((*KEYS, *KEYS, *KEYS, "nowhere")),
        random.choice(
            (
                None,
                None,
                None,
                LabelSelector(),
                LabelSelector({"team": "x"}),
                LabelSelector(None, (not_default,)),
            )
        ),
    )


def _pod_affinity(random: Random) -> PodAffinity | None:
    if random.random() < 0.5:
        return None
    return PodAffinity(
        tuple(_term(random) for _ in range(random.choice((0, 1, 1, 2)))),
        tuple(
            WeightedPodAffinityTerm(random.choice((1, 7, 100)), _term(random))
            for _ in range(random.choice((0, 0, 1, 2)))
        ),
    )


def _constraint(random: Random) -> TopologySpreadConstraint:
    return TopologySpreadConstraint(
        random.choice((1, 1, 2)),
        random.choice(KEYS),
        random.choice(("DoNotSchedule", "ScheduleAnyway")),
        _selector(random),
        random.choice((None, None, 1, 2, 4)),
        random.choice((None, "Honor", "Ignore")),
        random.choice((None, "Honor", "Ignore")),
        random.choice((None, None, ("tier",), ("absent", "app"))),
    )


def _spec(random: Random) -> PodSpec:
    near, apart = _pod_affinity(random), _pod_affinity(random)
    to_nodes = None
    if random.random() < 0.25:
        zones = random.choice((("z1",), ("z1", "z2")))
        to_nodes = NodeAffinity(NodeSelector((NodeSelectorTerm((Requirement(ZONE, "In", zones),)),)))
    constraints = tuple(_constraint(random) for _ in range(random.choice((0, 0, 1, 1, 2, 3))))
    return PodSpec(
        affinity=Affinity(to_nodes, near, apart) if near or apart or to_nodes else None,
        topology_spread_constraints=constraints or None,
        tolerations=random.choice((None, (Toleration("k", "Exists"),))),
        containers=(Container(name="main", image=random.choice(IMAGES)),),
    )


def _template(random: Random) -> Pod:
    labels = {key: random.choice(("a", "a", "b")) for key in ("app", "tier") if random.random() < 0.75}
    owner = random.choice(
        (
            None,
            None,
            None,
            OwnerReference("ReplicaSet", "made", "o", True, "apps/v1"),
            OwnerReference("StatefulSet", "made", "o", True, "apps/v1"),
            OwnerReference("ReplicationController", "made", "o", True, "v1"),
            OwnerReference("Job", "made", "o", True, "batch/v1"),
        )
    )
    metadata = ObjectMeta(
        namespace=random.choice(("default", "default", "other", "third")),
        labels=labels or None,
        owner_references=(owner,) if owner else (),
    )
    return Pod(metadata, _spec(random))


def _grouping(random: Random) -> Grouping:
    labels = random.choice((None, {}, {"app": "a"}, {"app": "a"}, {"app": "b"}, {"tier": "a"}))
    metadata = Identity(name="made", namespace=random.choice(NAMESPACES[:2]))
    kind = random.randrange(6)
    if kind == 0:
        return ReplicationController(metadata, ReplicationControllerSpec(labels))
    if kind == 1:
        return ReplicaSet(metadata, SelectingSpec(_selector(random)))
    if kind == 2:
        return StatefulSet(metadata, SelectingSpec(_selector(random)))
    return Service(replace(metadata, name=random.choice(("s1", "s2"))), ServiceSpec(labels))


_NODES = pool(_node, 60)
_TEMPLATES = pool(_template, 600)
_GROUPINGS = pool(_grouping, 60)

groupings: st.SearchStrategy[Grouping] = st.sampled_from(_GROUPINGS)
templates: st.SearchStrategy[Pod] = st.sampled_from(_TEMPLATES)
namespace_labels: st.SearchStrategy[dict[str, str]] = st.sampled_from(({}, {"team": "x"}, {"team": "y"}))


def node(template: Node, name: str) -> Node:
    labels = dict(template.metadata.labels or {})
    if HOSTNAME in labels:
        labels[HOSTNAME] = name
    return replace(template, metadata=replace(template.metadata, name=name, labels=labels or None))


def nodes(name: str) -> st.SearchStrategy[Node]:
    return st.sampled_from(_NODES).map(lambda template: node(template, name))


def named(pod: Pod, name: str) -> Pod:
    return replace(pod, metadata=replace(pod.metadata, name=name, uid=f"uid-{name}"))


def on_node(pod: Pod, name: str) -> Pod:
    return replace(pod, spec=replace(pod.spec, node_name=name))


def terminated(pod: Pod) -> Pod:
    return replace(pod, metadata=replace(pod.metadata, deletion_timestamp=NOW))


def labelled(pod: Pod, labels: dict[str, str]) -> Pod:
    return replace(pod, metadata=replace(pod.metadata, labels=labels))


def pods(name: str) -> st.SearchStrategy[Pod]:
    return templates.map(lambda template: named(template, name))


@st.composite
def running(draw: st.DrawFn, name: str, on: tuple[str, ...] = (*NODES, "unknown")) -> Pod:
    pod = on_node(named(draw(templates), name), draw(st.sampled_from(on)))
    return terminated(pod) if draw(st.integers(0, 4)) == 0 else pod


@st.composite
def worlds(draw: st.DrawFn) -> World:
    present = NODES[: draw(st.integers(1, len(NODES)))]
    world = World(nodes={name: draw(nodes(name)) for name in present})
    for name in NAMESPACES[: draw(st.integers(0, 3))]:
        world.namespaces[name] = draw(namespace_labels)
    for grouping in draw(st.lists(groupings, max_size=3)):
        put_grouping(world, grouping)
    for number in range(draw(st.integers(0, 8))):
        world.put_pod(draw(running(f"old-{number}")))
    return world


def put_grouping(world: World, item: Grouping) -> None:
    """Add it, or replace the one of its kind and name."""
    remove_grouping(world, item)
    world.groupings.append(item)


def remove_grouping(world: World, item: Grouping) -> None:
    def identity(one: Grouping) -> tuple[str, str, str]:
        return type(one).__name__, one.metadata.namespace, one.metadata.name

    world.groupings[:] = [one for one in world.groupings if identity(one) != identity(item)]
