"""Random small clusters that an API server takes, in which every constraint both holds and fails often."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from msgspec.structs import replace

from engine.model.objects import (
    Affinity,
    Container,
    ContainerImage,
    ContainerPort,
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
    PreferredTerm,
    ReplicaSet,
    Requirement,
    ResourceRequirements,
    SelectingSpec,
    Service,
    ServiceSpec,
    StatefulSet,
    Taint,
    Toleration,
    TopologySpreadConstraint,
    WeightedPodAffinityTerm,
)
from tests.controlplane.api import Object
from tests.integration.generated_devices import Devices
from tests.integration.generated_storage import Storage

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
NAMESPACES = ("differ-a", "differ-b", "differ-c")
IMAGES = ("registry.example/web:1", "registry.example/db:latest", "registry.example/tool:2")
MEBI = 2**20

Made = TypeVar("Made")


@dataclass
class Generated:
    """What a cluster starts with, and the pods that are to be placed in it, one after the other."""

    seed: int
    nodes: list[Node] = field(default_factory=list)
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    services: list[Service] = field(default_factory=list)
    makers: list[ReplicaSet | StatefulSet] = field(default_factory=list)
    running: list[Pod] = field(default_factory=list)
    leaving: set[str] = field(default_factory=set)
    pending: list[Pod] = field(default_factory=list)
    storage: Storage = field(init=False)
    devices: Devices = field(init=False)
    more: dict[str, Object] = field(default_factory=dict)
    """What the specs of pods have besides, by the pod's name: their volumes and claims."""
    claims: bool = True
    """Whether anything is there that pods could claim."""

    def collections(self) -> set[str]:
        """Where volumes, claims and devices are made."""
        own = [item for items in self.storage.to_own.values() for item in items]
        own += [item for items in self.devices.to_own.values() for item in items.values()]
        return {item.path for item in (*self.storage.made, *self.devices.made, *own)}


def generate(seed: int) -> Generated:
    """The cluster of a seed."""
    random = Random(seed)
    cluster = Generated(seed)
    cluster.namespaces = {name: random.choice(({}, {"team": "x"}, {"team": "y"})) for name in NAMESPACES}
    cluster.nodes = [node(random, f"n{seed}-{number}") for number in range(random.randint(2, 8))]
    for name in ("s1", "s2"):
        if random.random() < 0.4:
            selector = random.choice(({"app": "a"}, {"app": "b"}, {"tier": "a"}))
            cluster.services.append(Service(Identity(name, NAMESPACES[0]), ServiceSpec(selector)))
    for kind in (ReplicaSet, StatefulSet):
        if random.random() < 0.5:
            counted = SelectingSpec(LabelSelector({"app": random.choice("ab")}))
            cluster.makers.append(kind(Identity("made", NAMESPACES[0]), counted))
    names = [node.name for node in cluster.nodes]
    for number in range(random.randint(0, 12)):
        made = pod(random, f"old-{seed}-{number}", 0.5, names)
        on = random.choice(names)
        cluster.running.append(replace(made, spec=replace(made.spec, node_name=on)))
        if random.random() < 0.15:
            cluster.leaving.add(made.metadata.name)
    cluster.pending = [
        pod(random, f"new-{seed}-{number}", 0.8, names) for number in range(random.randint(3, 7))
    ]
    add_claims(Random(f"claims {seed}"), cluster)
    return cluster


def add_claims(random: Random, cluster: Generated) -> None:
    """Storage and devices, for some of the pods there are, and for more that ask for little else."""
    seed, names = cluster.seed, [node.name for node in cluster.nodes]
    storage = cluster.storage = Storage(random, seed, cluster.nodes)
    devices = cluster.devices = Devices(random, seed, cluster.nodes)
    cluster.more = {one.metadata.name: {} for one in (*cluster.running, *cluster.pending)}
    cluster.claims = random.random() < 0.8
    if not cluster.claims:
        return
    storage.surroundings()
    devices.surroundings()
    for old in cluster.running:
        volumes = storage.for_running(old.metadata.namespace, old.spec.node_name)
        cluster.more[old.metadata.name] = {"volumes": volumes} if volumes else {}
    rich = len(cluster.pending)
    cluster.pending += [modest(pod(random, f"own-{seed}-{number}", 0.12, names)) for number in range(3)]
    for number, asked in enumerate(cluster.pending):
        more = cluster.more.setdefault(asked.metadata.name, {})
        (wants,) = random.choices(
            ("nothing", "volumes", "devices", "both"), (6, 1, 1, 0) if number < rich else (0, 10, 9, 1)
        )
        name, space = asked.metadata.name, asked.metadata.namespace
        if wants in ("volumes", "both"):
            more["volumes"] = storage.for_pending(name, space)
        if wants in ("devices", "both"):
            more["resourceClaims"] = devices.for_pending(name, space, number == len(cluster.pending) - 1)


def modest(made: Pod) -> Pod:
    """The pod without requests, so that its claims decide."""
    containers = tuple(replace(one, resources=None) for one in made.spec.containers or ())
    return replace(made, spec=replace(made.spec, containers=containers, init_containers=None))


def node(random: Random, name: str) -> Node:
    labels = {}
    if random.random() < 0.9:
        labels[HOSTNAME] = name
    if random.random() < 0.9:
        labels[ZONE] = random.choice(("z1", "z2", "z3"))
    if random.random() < 0.4:
        labels["rack"] = random.choice(("1", "2"))
    taints = []
    if random.random() < 0.15:
        taints.append(
            Taint("dedicated", random.choice(("", "x")), random.choice(("NoSchedule", "NoExecute")))
        )
    if random.random() < 0.2:
        taints.append(Taint("soft", "", "PreferNoSchedule"))
    images = tuple(
        ContainerImage((image,), len(image) * 20 * MEBI) for image in IMAGES if random.random() < 0.4
    )
    allocatable: dict[str, str | int | float] = {
        "cpu": random.choice(("1", "2", "4")),
        "memory": random.choice(("1Gi", "2Gi", "8Gi")),
        "pods": random.choice(("110", "110", "110", "3")),
    }
    if random.random() < 0.4:
        allocatable["example.com/gpu"] = random.choice(("1", "2"))
    return Node(
        ObjectMeta(name=name, labels=labels or None),
        NodeSpec(unschedulable=random.random() < 0.07, taints=tuple(taints) or None),
        NodeStatus(allocatable, images=images or None),
    )


def pod(random: Random, name: str, richness: float, nodes: Sequence[str]) -> Pod:
    """A pod; the richer, the more it asks for."""

    def perhaps(chance: float, make: Callable[[Random], Made]) -> Made | None:
        return make(random) if random.random() < chance * richness else None

    labels = {key: random.choice(("a", "a", "b")) for key in ("app", "tier") if random.random() < 0.8}
    owner = perhaps(0.4, _owner)
    affinity = Affinity(
        perhaps(0.4, lambda random: _to_nodes(random, nodes)),
        perhaps(0.45, _to_pods),
        perhaps(0.45, _to_pods),
    )
    requests: dict[str, str | int | float] = {}
    if random.random() < 0.7:
        requests["cpu"] = random.choice(("100m", "300m", "700m"))
    if random.random() < 0.5:
        requests["memory"] = random.choice(("64Mi", "300Mi", "900Mi"))
    if random.random() < 0.1:
        requests["example.com/gpu"] = "1"
    limits = {
        name: value for name, value in requests.items() if "/" in name
    }  # no more and no less than requested
    port = perhaps(0.3, _port)
    main = Container(
        name="main",
        image=random.choice(IMAGES),
        resources=ResourceRequirements(requests, limits or None) if requests else None,
        ports=(port,) if port else None,
    )
    return Pod(
        ObjectMeta(
            name=name,
            namespace=random.choice((NAMESPACES[0], *NAMESPACES)),
            labels=labels or None,
            owner_references=(owner,) if owner else (),
        ),
        PodSpec(
            containers=(main,),
            init_containers=perhaps(0.3, _initial),
            node_selector=perhaps(0.15, lambda random: {"rack": random.choice("12")}),
            affinity=affinity if affinity != Affinity() else None,
            tolerations=perhaps(0.3, _tolerations),
            topology_spread_constraints=perhaps(0.7, _spreads),
        ),
    )


def _owner(random: Random) -> OwnerReference:
    kind = random.choice(("ReplicaSet", "StatefulSet"))
    return OwnerReference(kind, "made", "00000000-0000-0000-0000-000000000001", True, "apps/v1")


def _tolerations(random: Random) -> tuple[Toleration, ...]:
    return (
        random.choice(
            (
                Toleration("dedicated", "Exists"),
                Toleration("dedicated", "Equal", "x", "NoSchedule"),
                Toleration("", "Exists"),
            )
        ),
    )


def _port(random: Random) -> ContainerPort:
    number = random.choice((8080, 8081))
    address, protocol = random.choice(("", "", "10.0.0.1", "10.0.0.2")), random.choice(("TCP", "TCP", "UDP"))
    return ContainerPort(number, address, protocol, number)


def _initial(random: Random) -> tuple[Container, ...]:
    return tuple(
        Container(
            name=f"initial-{number}",
            image=random.choice(IMAGES),
            resources=ResourceRequirements({"cpu": random.choice(("200m", "800m"))}),
            restart_policy=random.choice((None, "Always")),
        )
        for number in range(random.randint(1, 2))
    )


def _to_nodes(random: Random, nodes: Sequence[str]) -> NodeAffinity:
    if random.random() < 0.2:
        terms = [
            NodeSelectorTerm(
                (Requirement(ZONE, "Exists"),) if random.random() < 0.3 else None,
                (
                    Requirement(
                        "metadata.name", random.choice(("In", "In", "NotIn")), (random.choice(nodes),)
                    ),
                ),
            )
            for _ in range(random.randint(1, 2))
        ]
        return NodeAffinity(NodeSelector(tuple(terms)))
    zones = Requirement(ZONE, random.choice(("In", "NotIn")), random.choice((("z1",), ("z1", "z2"), ("z3",))))
    term = NodeSelectorTerm((random.choice((zones, zones, Requirement("rack", "Exists"))),))
    wanted = NodeSelectorTerm((Requirement(ZONE, "In", (random.choice(("z1", "z2")),)),))
    return NodeAffinity(
        NodeSelector((term,)) if random.random() < 0.6 else None,
        (PreferredTerm(random.choice((1, 50)), wanted),) if random.random() < 0.5 else None,
    )


def _selector(random: Random) -> LabelSelector | None:
    kind = random.random()
    if kind < 0.05:
        return None
    if kind < 0.1:
        return LabelSelector()
    if kind < 0.8:
        return LabelSelector(random.choice(({"app": "a"}, {"app": "b"}, {"tier": "a"})))
    operator = random.choice(("In", "NotIn", "Exists", "DoesNotExist"))
    values = None if operator in ("Exists", "DoesNotExist") else (random.choice("ab"),)
    return LabelSelector(None, (Requirement(random.choice(("app", "tier")), operator, values),))


def _term(random: Random) -> PodAffinityTerm:
    selector = _selector(random)
    keys = ("tier",) if selector is not None and random.random() < 0.2 else None
    if keys and selector and _mentions(selector, "tier"):
        keys = None
    matching = random.random() < 0.5
    return PodAffinityTerm(
        selector,
        tuple(random.sample(NAMESPACES, random.randint(1, 2))) if random.random() < 0.3 else None,
        random.choice((HOSTNAME, ZONE, ZONE, "rack")),
        random.choice((LabelSelector(), LabelSelector({"team": "x"}))) if random.random() < 0.3 else None,
        keys if matching else None,
        None if matching else keys,
    )


def _mentions(selector: LabelSelector, key: str) -> bool:
    return key in (selector.match_labels or {}) or any(
        requirement.key == key for requirement in selector.match_expressions or ()
    )


def _to_pods(random: Random) -> PodAffinity:
    required = tuple(_term(random) for _ in range(random.choice((0, 1, 1, 2))))
    preferred = tuple(
        WeightedPodAffinityTerm(random.choice((1, 10, 100)), _term(random))
        for _ in range(random.choice((0, 0, 1, 2)))
    )
    return PodAffinity(required or None, preferred or None)


def _spreads(random: Random) -> tuple[TopologySpreadConstraint, ...]:
    made: dict[tuple[str, str], TopologySpreadConstraint] = {}
    for _ in range(random.choice((1, 1, 2, 3))):
        key = random.choice((HOSTNAME, ZONE, ZONE, "rack"))
        when = random.choice(("DoNotSchedule", "ScheduleAnyway"))
        selector = _selector(random)
        keys = ("tier",) if selector is not None and random.random() < 0.25 else None
        if keys and selector and _mentions(selector, "tier"):
            keys = None
        made[key, when] = TopologySpreadConstraint(
            random.choice((1, 1, 2)),
            key,
            when,
            selector,
            random.choice((None, 2, 4)) if when == "DoNotSchedule" else None,
            random.choice((None, "Honor", "Ignore")),
            random.choice((None, "Honor", "Ignore")),
            keys,
        )
    return tuple(made.values())
