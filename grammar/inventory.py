"""What there is in a cluster, as far as a policy can be compared with it. Whoever knows a cluster fills it in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from grammar.policy import BUILTIN_LABELS

ZONE = BUILTIN_LABELS["zone"]
"""The label of a node's zone."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node. One that is not ready is here all the same, but no delay can be measured from it."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    ready: bool = True


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that the policy places."""

    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inventory:
    """A cluster at a moment.

    Attributes:
        pods: Those that the policy places; it says nothing of others.
        workloads: Namespace and name of each workload that has pods, whoever places these.
        delays: The round trips in ms that are known from a node to others, by their names; None where nobody was asked
            for delays at all.
        values: Of each label that nodes have, its values, and how many nodes have each. Made of the nodes.
        places: The nodes of each zone, and each node by its own name, which comes first. Made of the nodes.
        programs: The names of the workloads, in whichever namespace.
    """

    nodes: tuple[Node, ...]
    pods: tuple[Pod, ...] = ()
    workloads: frozenset[tuple[str, str]] = frozenset()
    delays: Callable[[str], Mapping[str, float]] | None = None
    values: Mapping[str, Mapping[str, int]] = field(init=False)
    places: Mapping[str, Sequence[Node]] = field(init=False)
    programs: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        values: dict[str, dict[str, int]] = {}
        zones: dict[str, list[Node]] = {}
        for node in self.nodes:
            for key, value in node.labels.items():
                counts = values.setdefault(key, {})
                counts[value] = counts.get(value, 0) + 1
            if ZONE in node.labels:
                zones.setdefault(node.labels[ZONE], []).append(node)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "places", {**zones, **{node.name: [node] for node in self.nodes}})
        object.__setattr__(self, "programs", frozenset(name for _, name in self.workloads))

    def origins(self, name: str) -> Sequence[Node] | None:
        """The nodes that a delay from a node or zone of that name is measured from; none where there is no such.

        None where that cannot be told: a workload is where its pods are, and whose a name is depends on the pod's
        namespace; from a node that is not ready nothing is measured for the moment.
        """
        found = self.places.get(name, ())
        ours = len(found) == 1 and found[0].name == name
        if not ours and name in self.programs:
            return None
        return found if all(node.ready for node in found) else None
