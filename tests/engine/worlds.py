"""Random small clusters and policies. Few names and few values, so that they meet often.

Everything comes from a `random.Random`, for Hypothesis would take a hundred times as long to draw a cluster: a test
draws the seed, and what happens to the cluster.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import TypeVar

import msgspec

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
from tests.engine import build
from tests.engine.naive.world import World

T = TypeVar("T")
Amounts = dict[str, str | int | float]

NODES = ("n-1", "n_2", "n.3", "n4", "n5")
ZONES = ("z1", "z2")
WORKLOADS = ("web", "n4", "z2", "db")
NAMESPACES = ("default", "other")
GPU = "example.com/gpu"
NOW = build.NOW
MS = (0.0, 0.3, 1.0, 5.0, 25.0, 26.0)


def some(r: Random, make: Callable[[Random], T], most: int, least: int = 0) -> tuple[T, ...]:
    return tuple(make(r) for _ in range(r.randint(least, most)))


def rarely(r: Random, one_in: int) -> bool:
    return r.randrange(one_in) == 0


def taint(r: Random) -> Taint:
    effects = ("NoSchedule", "NoExecute", "PreferNoSchedule", "PreferNoSchedule")
    return Taint(r.choice("ab"), r.choice(("", "x")), r.choice(effects))


def toleration(r: Random) -> Toleration:
    return Toleration(
        r.choice(("", "a", "b", "node.kubernetes.io/unschedulable")),
        r.choice(("", "Equal", "Exists", "Gt")),
        r.choice(("", "x")),
        r.choice(("", "NoSchedule", "NoExecute", "PreferNoSchedule")),
    )


def node(r: Random, name: str) -> Node:
    values = {"role": ("edge", "cloud"), "rack": ("1", "2", "10", "x"), build.ZONE: ZONES}
    labels = {key: r.choice(of) for key, of in values.items() if not rarely(r, 4)}
    allocatable: Amounts = {
        "cpu": r.choice(("2", "500m", "1", "2", "4", "0")),
        "memory": r.choice(("1Gi", "500M", "2147483648", "1.5Gi", "4Gi", "0")),
        "pods": r.choice((2, 110, 110, 110)),
    }
    if rarely(r, 2):
        allocatable[GPU] = r.choice(("0", "1", "2"))
    return build.node(
        name,
        labels,
        allocatable=allocatable,
        taints=some(r, taint, 3) if rarely(r, 3) else (),
        cordoned=rarely(r, 10),
        ready=r.choice((None, True, True, True, False)),
        created=r.choice((0.0, NOW - 60, NOW + 5)),
    )


def amounts(r: Random) -> Amounts:
    values: dict[str, tuple[str | int, ...]] = {
        "cpu": ("100m", "0.25", "0.5", "0"),
        "memory": ("64Mi", "100M", "256Mi", 1000),
        GPU: ("0", "0", "1"),
    }
    return {name: r.choice(of) for name, of in values.items() if rarely(r, 2)}


def container(r: Random, name: str, policy: str | None = None) -> Container:
    def port(r: Random) -> ContainerPort:
        address = r.choice(("", "0.0.0.0", "10.0.0.1", "10.0.0.2"))
        return ContainerPort(r.choice((0, 80, 80, 81)), address, r.choice(("", "TCP", "UDP")))

    ports = some(r, port, 2) if rarely(r, 3) else ()
    return Container(name, ResourceRequirements(requests=amounts(r)), ports, policy)


def term(r: Random) -> NodeSelectorTerm:
    def expression(r: Random) -> Requirement:
        operators = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Strange")
        values = tuple(r.choice(("edge", "1", "2", "9", "+1", "x")) for _ in range(r.randint(0, 2)))
        return Requirement(r.choice(("role", "rack", "nowhere")), r.choice(operators), values)

    def field(r: Random) -> Requirement:
        keys = ("metadata.name", "metadata.name", "metadata.uid")
        return Requirement(
            r.choice(keys),
            r.choice(("In", "NotIn", "Exists")),
            tuple(r.choices(NODES, k=r.choice((1, 1, 2)))),
        )

    return NodeSelectorTerm(some(r, expression, 2), some(r, field, 1) if rarely(r, 3) else ())


def affinity(r: Random) -> Affinity:
    required = NodeSelector(some(r, term, 2)) if rarely(r, 2) else None
    preferred = some(r, lambda r: PreferredTerm(r.choice((0, 1, 50, 100)), term(r)), 2)
    return Affinity(NodeAffinity(required, preferred or None))


def spec(r: Random) -> PodSpec:
    inits = r.choice((0, 0, 1, 3))
    return PodSpec(
        priority=r.choice((None, 0, 10)),
        node_selector=r.choice((None, None, None, {"role": "edge"})),
        affinity=affinity(r) if rarely(r, 3) else None,
        tolerations=some(r, toleration, 3) if rarely(r, 2) else (),
        containers=tuple(container(r, f"main-{n}") for n in range(r.randint(1, 2))),
        init_containers=tuple(container(r, f"init-{n}", r.choice((None, "Always"))) for n in range(inits)),
        overhead={"cpu": "10m"} if rarely(r, 4) else None,
        resources=ResourceRequirements(requests=amounts(r)) if rarely(r, 4) else None,
    )


def pod_labels(r: Random) -> dict[str, str]:
    values = {"app": ("a", "b"), "zone": ZONES}
    labels = {key: r.choice(of) for key, of in values.items() if rarely(r, 2)}
    for _ in range(r.randint(0, 2)):
        origin = "nobody" if rarely(r, 20) else r.choice((*NODES, *WORKLOADS, "z1"))
        labels[f"delay_{origin}"] = "fast" if rarely(r, 20) else r.choice(("0", "0.5", "5", "25", "600000"))
    return labels


def pod(r: Random, name: str, on: tuple[str, ...] = ()) -> Pod:
    """A pod; on one of the nodes ``on``, where there are any."""
    owner = (OwnerReference("StatefulSet", r.choice(WORKLOADS), "o", True),) if rarely(r, 2) else ()
    asked = spec(r)
    statuses: tuple[ContainerStatus, ...] = ()
    if on:
        asked = msgspec.structs.replace(asked, node_name=r.choice(on))
        allocated = amounts(r) if rarely(r, 2) else None
        actual = ResourceRequirements(requests=amounts(r)) if rarely(r, 2) else None
        statuses = (ContainerStatus("main-0", r.choice((0, 0, 3)), allocated, actual),)
    return Pod(
        ObjectMeta(
            name=name,
            namespace=r.choice(NAMESPACES) if owner else "default",
            uid=f"uid-{name}",
            labels=pod_labels(r),
            annotations={"tier": "1", "noise": name} if rarely(r, 2) else None,
            owner_references=owner,
            creation_timestamp=datetime.fromtimestamp(NOW - r.choice((0, 30, 90)), UTC),
            deletion_timestamp=datetime.fromtimestamp(NOW, UTC) if on and rarely(r, 5) else None,
        ),
        asked,
        PodStatus(container_statuses=statuses),
    )


def delays(r: Random) -> dict[tuple[str, str], float]:
    """Symmetric, some pairs unmeasured."""
    found: dict[tuple[str, str], float] = {}
    for position, one in enumerate(NODES):
        for other in NODES[position + 1 :]:
            if not rarely(r, 4):
                found[one, other] = found[other, one] = r.choice(MS)
    return found


def world(r: Random) -> World:
    present = tuple(r.sample(NODES, r.randint(1, len(NODES))))
    made = World(nodes={name: node(r, name) for name in present}, delays=delays(r))
    for number in range(r.randint(0, 6)):
        made.put_pod(pod(r, r.choice((f"old-{number}", "web")), (*present, *present, "unknown")))
    return made
