"""What there is: nodes, pods, delays, as plain objects. Every answer is worked out anew."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.model.objects import Node, Pod, PodKey
from engine.state.memberships import Grouping

ZONE = "topology.kubernetes.io/zone"


@dataclass
class World:
    """``assumed`` are our own bindings that the watch has not told of; ``delays`` holds both directions.

    ``left`` are the nodes of pods that are nowhere only as long as somebody asks where they would go.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    pods: dict[PodKey, Pod] = field(default_factory=dict)
    assumed: dict[PodKey, str] = field(default_factory=dict)
    left: dict[PodKey, str] = field(default_factory=dict)
    delays: dict[tuple[str, str], float] = field(default_factory=dict)
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    groupings: list[Grouping] = field(default_factory=list)

    def namespace_labels(self, name: str) -> dict[str, str]:
        """Every namespace carries its name."""
        return {"kubernetes.io/metadata.name": name, **self.namespaces.get(name, {})}

    def put_pod(self, pod: Pod) -> None:
        self.pods[pod.key] = pod
        if pod.spec.node_name or pod.metadata.deletion_timestamp:
            self.assumed.pop(pod.key, None)

    def remove_pod(self, key: PodKey) -> None:
        self.pods.pop(key, None)
        self.assumed.pop(key, None)

    def node_of(self, pod: Pod) -> str:
        return pod.spec.node_name or self.assumed.get(pod.key, "")

    def holding(self, node: str) -> list[Pod]:
        """The pods that take room on a node."""
        return [pod for pod in self.pods.values() if self.node_of(pod) == node]

    def counted(self) -> list[Pod]:
        """The pods that count where pods are counted: on a node that exists, not terminating."""
        return [
            pod
            for pod in self.pods.values()
            if self.node_of(pod) in self.nodes and pod.metadata.deletion_timestamp is None
        ]

    def queued(self, pod: Pod) -> bool:
        return not self.node_of(pod) and pod.metadata.deletion_timestamp is None

    def references(self, origin: str, namespace: str) -> list[str] | None:
        """The nodes that a delay is measured from; None where there is no such place at the moment."""
        if origin in self.nodes:
            found = [origin]
        elif any(
            pod.metadata.namespace == namespace and workload_name(pod) == origin for pod in self.pods.values()
        ):
            found = [
                self.node_of(pod)
                for pod in self.counted()
                if pod.metadata.namespace == namespace and workload_name(pod) == origin
            ]
        else:
            found = [
                name for name, node in self.nodes.items() if (node.metadata.labels or {}).get(ZONE) == origin
            ]
        return [name for name in found if is_ready(self.nodes[name])] or None

    def first_of(self, origin: str, pod: Pod) -> bool:
        """Whether the pod is to be near its own workload, of which no pod is anywhere yet."""
        made = any(reference.controller for reference in pod.metadata.owner_references)
        namespace = pod.metadata.namespace
        return (
            made
            and origin not in self.nodes
            and workload_name(pod) == origin
            and not any(
                p.metadata.namespace == namespace and workload_name(p) == origin for p in self.counted()
            )
        )

    def delay(self, node: str, origin: str, pod: Pod) -> float | None:
        """Round trip to the nearest reference, None where nobody has measured any."""
        if self.first_of(origin, pod):
            return 0.0
        namespace = pod.metadata.namespace
        known = [
            0.0 if reference == node else self.delays.get((reference, node))
            for reference in self.references(origin, namespace) or []
        ]
        return min((value for value in known if value is not None), default=None)


def is_ready(node: Node) -> bool:
    conditions = node.status.conditions or ()
    return not conditions or any(c.type == "Ready" and c.status == "True" for c in conditions)


def owner(pod: Pod) -> tuple[str, str]:
    """Kind and name of the workload that made the pod; a bare pod is its own."""
    for reference in pod.metadata.owner_references:
        if reference.controller:
            template = (pod.metadata.labels or {}).get("pod-template-hash")
            if reference.kind == "ReplicaSet" and template and reference.name.endswith(f"-{template}"):
                stem = reference.name.removesuffix(f"-{template}")
                if stem:
                    return "Deployment", stem
            return reference.kind, reference.name
    return "Pod", pod.metadata.name


def workload_name(pod: Pod) -> str:
    return owner(pod)[1]


def restarts(pod: Pod) -> int:
    return sum(status.restart_count for status in pod.status.container_statuses or ())
