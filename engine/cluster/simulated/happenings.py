"""What happens in a scenario, and how it is done to a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.cluster.errors import ApiError
from engine.cluster.simulated.lifecycle import REGION, ZONE
from engine.manifests.kinds import Object
from engine.model.objects import Node, Taint

if TYPE_CHECKING:
    from engine.cluster.simulated.cluster import SimulatedCluster
    from engine.cluster.simulated.scenario import Delays


@dataclass(frozen=True, slots=True)
class Target:
    """Which nodes: those of the names, or those that have all the labels when it happens."""

    names: tuple[str, ...] = ()
    labels: Mapping[str, str] | None = None

    def resolve(self, cluster: SimulatedCluster) -> tuple[str, ...]:
        """The names of the nodes that are meant now."""
        if self.labels is None:
            return self.names
        wanted = self.labels.items()
        return tuple(node.name for node in cluster.nodes() if wanted <= (node.metadata.labels or {}).items())

    def __str__(self) -> str:
        if self.labels is None:
            return ", ".join(self.names)
        short = {ZONE: "zone", REGION: "region"}
        return "nodes with " + ", ".join(
            f"{short.get(key, key)} {value}" for key, value in self.labels.items()
        )


@dataclass(frozen=True, slots=True)
class NodeAction:
    """Something that happens to nodes: fail, cut, recover, cordon, uncordon, drain or remove."""

    action: str
    target: Target

    def run(self, cluster: SimulatedCluster) -> None:
        """Do it to each node."""
        do: Mapping[str, Callable[[str], None]] = {
            "fail": cluster.fail_node,
            "cut": lambda name: cluster.fail_node(name, cut=True),
            "recover": cluster.recover_node,
            "cordon": cluster.cordon,
            "uncordon": lambda name: cluster.cordon(name, False),
            "drain": cluster.drain,
            "remove": cluster.remove_node,
        }
        _each(cluster, self.target, do[self.action])

    def __str__(self) -> str:
        return f"node-{self.action} {self.target}"


@dataclass(frozen=True, slots=True)
class NodeLabels:
    """Labels of nodes change; None takes one away."""

    target: Target
    labels: Mapping[str, str | None]

    def run(self, cluster: SimulatedCluster) -> None:
        """Do it to each node."""
        _each(cluster, self.target, lambda name: cluster.label_node(name, self.labels))

    def __str__(self) -> str:
        return f"node-label {self.target}: {', '.join(f'{k}={v}' if v else f'{k}-' for k, v in self.labels.items())}"


@dataclass(frozen=True, slots=True)
class NodeTaints:
    """Taints of nodes change."""

    target: Target
    add: tuple[Taint, ...]
    remove: tuple[str, ...]

    def run(self, cluster: SimulatedCluster) -> None:
        """Do it to each node."""
        _each(cluster, self.target, lambda name: cluster.taint_node(name, self.add, self.remove))

    def __str__(self) -> str:
        added = [f"{taint.key}={taint.value}:{taint.effect}" for taint in self.add]
        return f"node-taint {self.target}: {', '.join([*added, *(f'{key}-' for key in self.remove)])}"


@dataclass(frozen=True, slots=True)
class Apply:
    """Objects are created or changed: nodes that join, manifests, pods."""

    action: str
    objects: tuple[Object, ...]

    def run(self, cluster: SimulatedCluster) -> None:
        """Apply each."""
        for item in self.objects:
            name = f"{item.metadata.namespace}/{item.metadata.name}".lstrip("/")
            _tried(cluster, name, lambda item=item: cluster.apply(item))  # type: ignore[misc]

    def __str__(self) -> str:
        names = [item.metadata.name for item in self.objects]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        return f"{self.action} {', '.join(names[:5])}{more}"


@dataclass(frozen=True, slots=True)
class Delete:
    """A pod or a workload is deleted."""

    kind: str
    namespace: str
    name: str

    def run(self, cluster: SimulatedCluster) -> None:
        """Delete it."""
        cluster.delete(self.kind, self.namespace, self.name)

    def __str__(self) -> str:
        return f"delete {self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Scale:
    """A workload wants another number of pods."""

    kind: str
    namespace: str
    name: str
    replicas: int

    def run(self, cluster: SimulatedCluster) -> None:
        """Scale it."""
        cluster.scale(self.kind, self.namespace, self.name, self.replicas)

    def __str__(self) -> str:
        return f"scale {self.kind} {self.namespace}/{self.name} to {self.replicas}"


@dataclass(frozen=True, slots=True)
class SwapDelays:
    """Other delays take the place of those before. The cluster knows none: whoever runs the scenario is told."""

    delays: Delays

    def run(self, cluster: SimulatedCluster) -> None:
        """Nothing happens to the cluster."""

    def __str__(self) -> str:
        return f"delays {self.delays}"


Action = NodeAction | NodeLabels | NodeTaints | Apply | Delete | Scale | SwapDelays


@dataclass(frozen=True, slots=True)
class Happening:
    """An action at a time.

    Attributes:
        at: Seconds since the start.
        action: What happens.
        place: ``file:line``.
    """

    at: float
    action: Action
    place: str

    def run(self, cluster: SimulatedCluster) -> None:
        """Do it; what the cluster refuses becomes a note."""
        _tried(cluster, self.place, lambda: self.action.run(cluster), str(self.action))


def joined(action: Action) -> tuple[str, ...]:
    """The names of nodes that are there once it has happened."""
    if isinstance(action, Apply):
        return tuple(item.name for item in action.objects if isinstance(item, Node))
    return ()


def _each(cluster: SimulatedCluster, target: Target, do: Callable[[str], None]) -> None:
    names = target.resolve(cluster)
    if not names:
        cluster.note(str(target), "there are none when something should happen to them")
    for name in names:
        _tried(cluster, f"Node {name}", lambda name=name: do(name))  # type: ignore[misc]


def _tried(cluster: SimulatedCluster, regarding: str, do: Callable[[], None], what: str = "") -> None:
    try:
        do()
    except ApiError as refusal:
        cluster.note(regarding, f"{what}: {refusal.message}" if what else refusal.message)
