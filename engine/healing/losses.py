"""What may be lost together, and the cluster as it is right after: asked of the cache itself, and undone at the end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Final

import msgspec
import numpy as np

from engine.constraints.protocol import Mask, Slots
from engine.model.objects import Condition, Node, Taint
from engine.state.cache import Cache
from engine.state.columns import Columns
from engine.state.pods import PlacedPod

_UNREACHABLE: Final = (
    Taint("node.kubernetes.io/unreachable", "", "NoSchedule"),
    Taint("node.kubernetes.io/unreachable", "", "NoExecute"),
)


@dataclass(frozen=True, slots=True)
class Loss:
    """Nodes that are lost at once.

    Attributes:
        domain: ``node``, ``zone`` or what the policy calls it.
        value: Which of that domain.
        nodes: Their names, sorted.
    """

    domain: str
    value: str
    nodes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.domain} {self.value}"


def losses_of(cache: Cache, domain: str, label: str | None) -> list[Loss]:
    """Every single loss of a domain, by its value. A node without the label is in no domain, and in no loss.

    Args:
        cache: Where the nodes are.
        domain: What the domain is called.
        label: The label whose value tells the domains apart; None where each node is one.
    """
    if label is None:
        return [Loss(domain, name, (name,)) for name in sorted(cache.columns.node_names())]
    members: dict[str, list[str]] = {}
    for node in cache.nodes():
        value = (node.metadata.labels or {}).get(label)
        if value is not None:
            members.setdefault(value, []).append(node.name)
    return [Loss(domain, value, tuple(sorted(members[value]))) for value in sorted(members)]


class Membership:
    """Which of a domain a pod would be lost with, by its value.

    Args:
        columns: The nodes.
        label: The label that tells the domain's members apart, None where each node is one.
    """

    __slots__ = ("_columns", "label")

    def __init__(self, columns: Columns, label: str | None) -> None:
        self._columns = columns
        self.label = label

    def of(self, pod: PlacedPod) -> str | None:
        """What takes a placed pod with it; None where its node is in no domain."""
        return pod.node if self.label is None else self._columns.labels.of(pod.slot).get(self.label)

    def slots(self, value: str) -> Slots:
        """The slots that are lost with it."""
        columns = self._columns
        if self.label is None:
            slot = columns.slot(value)
            return np.array([] if slot is None else [slot], dtype=np.int64)
        return np.flatnonzero(columns.labels.column(self.label).equals(value, columns.everywhere))

    def nodes(self, value: str) -> list[str]:
        """The names of the nodes that are lost with it."""
        return [self._columns.names[slot] for slot in self.slots(value)]


def as_lost(node: Node) -> Node:
    """The node as the control plane shows it once nobody has heard of it: not ready, and tainted as unreachable."""
    others = [one for one in node.status.conditions or () if one.type != "Ready"]
    return Node(
        node.metadata,
        msgspec.structs.replace(node.spec, taints=(*(node.spec.taints or ()), *_UNREACHABLE)),
        msgspec.structs.replace(
            node.status, conditions=(*others, Condition("Ready", "Unknown", "NodeStatusUnknown"))
        ),
    )


class Supposed:
    """Takes nodes as lost, until the end of a ``with`` block: they are unreachable, and their pods are nowhere.

    All is done as if it had happened, logs of changes included, and then done back, so whoever keeps vectors by those
    logs may read within the block and after it.

    Args:
        cache: What is changed.
        nodes: The names of those lost; unknown ones are passed over.
        away: Pods on other nodes that are taken away as well.

    Attributes:
        lost: Which slots are lost.
        victims: The pods that ran there, by name. Those on their way out are not among them.
    """

    __slots__ = ("_away", "_before", "_cache", "_lifted", "_nodes", "lost", "victims")

    def __init__(self, cache: Cache, nodes: Iterable[str], away: Iterable[PlacedPod] = ()) -> None:
        self._cache = cache
        self._nodes = tuple(nodes)
        self._away = tuple(away)
        self._before: list[Node] = []
        self._lifted: list[tuple[PlacedPod, int]] = []
        self.lost: Mask = np.zeros(0, dtype=np.bool_)
        self.victims: list[PlacedPod] = []

    def __enter__(self) -> Supposed:
        cache = self._cache
        self.lost = np.zeros(cache.columns.capacity, dtype=np.bool_)
        try:
            for name in self._nodes:
                node, slot = cache.node(name), cache.columns.slot(name)
                if node is None or slot is None:
                    continue
                self.lost[slot] = True
                for pod in list(cache.pods_on(name)):
                    if pod.counts:
                        self.victims.append(pod)
                    self._lift(pod)
                self._before.append(node)
                cache.put_node(as_lost(node))
            for pod in self._away:
                self._lift(pod)
        except BaseException:
            self._undo()
            raise
        self.victims.sort(key=lambda pod: pod.key)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._undo()

    def _lift(self, pod: PlacedPod) -> None:
        if pod.slot >= 0:
            self._lifted.append((pod, pod.slot))
            self._cache.lift(pod)

    def _undo(self) -> None:
        for node in self._before:
            self._cache.put_node(node)
        for pod, slot in self._lifted:
            self._cache.lower(pod, slot)
        self._before.clear()
        self._lifted.clear()
