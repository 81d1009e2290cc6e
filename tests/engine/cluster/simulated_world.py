"""Builders for tests on the simulated cluster, and a stand-in for a scheduler."""

from __future__ import annotations

from typing import Any

from engine.cluster.protocol import ResourceKind
from engine.cluster.simulated import Options, SimulatedCluster
from engine.cluster.simulated.selection import affinity_holds, untolerated
from engine.cluster.simulated.store import ended
from engine.manifests.objects import FullPodSpec, LabelSelector, PodTemplate
from engine.model.objects import (
    Container,
    Node,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    Pod,
    ResourceRequirements,
    Taint,
)


def node(name: str, *, zone: str = "", taints: tuple[Taint, ...] = (), **amounts: str) -> Node:
    labels = {"topology.kubernetes.io/zone": zone} if zone else {}
    allocatable: dict[str, str | int | float] = {"cpu": "4", "memory": "8Gi", "pods": "110", **amounts}
    return Node(
        ObjectMeta(name=name, labels=labels),
        NodeSpec(taints=taints or None),
        NodeStatus(allocatable=allocatable),
    )


def spec(cpu: str = "100m", **fields: Any) -> FullPodSpec:
    return FullPodSpec(containers=(Container("main", ResourceRequirements(requests={"cpu": cpu})),), **fields)


def pod(name: str, cpu: str = "100m", annotations: dict[str, str] | None = None, **fields: Any) -> Pod:
    return Pod(ObjectMeta(name=name, namespace="default", annotations=annotations), spec(cpu, **fields))


def template(app: str = "a", annotations: dict[str, str] | None = None, **fields: Any) -> PodTemplate:
    return PodTemplate(ObjectMeta(labels={"app": app}, annotations=annotations), spec(**fields))


SELECTOR = LabelSelector({"app": "a"})


class World:
    """A cluster, and whoever binds its pods: to the first node that takes them, as often as time moves.

    Args:
        nodes: How many nodes, named n1, n2, …
        binding: Whether anybody binds.
        options: As `Options` takes them.
    """

    def __init__(self, nodes: int = 3, *, binding: bool = True, **options: Any) -> None:
        self.cluster = SimulatedCluster(Options(**options))
        self.binding = binding
        for number in range(1, nodes + 1):
            self.cluster.add_node(node(f"n{number}"))

    @property
    def time(self) -> float:
        """Seconds since the start."""
        return self.cluster.clock.monotonic()

    def run(self, until: float) -> None:
        """Let time pass until so many seconds after the start."""
        end = self.cluster.clock.start + until
        self._bind()
        while (due := self.cluster.next_time()) is not None and due <= end:
            self.cluster.run_until(due)
            self._bind()
        self.cluster.run_until(end)

    def pods(self, owner: str | None = None) -> list[Pod]:
        """All pods that have not ended, or those of a workload or a bare pod of that name, by name."""
        found = [pod for pod in self.cluster.pods() if not ended(pod)]
        if owner is not None:
            found = [p for p in found if p.metadata.name == owner or p.metadata.name.startswith(f"{owner}-")]
        return sorted(found, key=lambda p: p.metadata.name)

    def names(self, owner: str | None = None) -> list[str]:
        return [pod.metadata.name for pod in self.pods(owner)]

    def get(self, name: str) -> Pod:
        found = self.cluster.get_pod("default", name)
        assert found is not None
        return found

    def node(self, name: str) -> Node:
        return next(node for node in self.cluster.nodes() if node.name == name)

    def taints(self, name: str) -> set[str]:
        return {f"{taint.key}:{taint.effect}" for taint in self.node(name).spec.taints or ()}

    def _bind(self) -> None:
        if not self.binding:
            return
        nodes = [n for n in self.cluster.list(ResourceKind.NODES).items if isinstance(n, Node)]
        for waiting in self.cluster.list(ResourceKind.PODS).items:
            assert isinstance(waiting, Pod)
            if waiting.spec.node_name or waiting.metadata.deletion_timestamp or waiting.spec.scheduling_gates:
                continue
            for candidate in nodes:
                effects = ("NoSchedule", "NoExecute")
                tainted = untolerated(candidate.spec.taints, waiting.spec.tolerations, effects)
                if tainted is None and affinity_holds(waiting.spec, candidate):
                    self.cluster.bind(waiting.key, candidate.name)
                    break
