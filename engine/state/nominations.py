"""Which pending pods have a node promised, for room is being made there: by node and by pod.

A nomination is ours from the moment of the decision; what the API server says of it later wins once it changes.
"""

from __future__ import annotations

from collections.abc import Collection

from engine.model.objects import PodKey
from engine.state.changes import ChangeLog
from engine.state.columns import Columns
from engine.state.pods import PlacedPod


class Nominations:
    """Nominated pods. A node need not be known.

    Attributes:
        dropped: The slots where a nomination was taken back, or kept, so that others may have the room.
    """

    __slots__ = ("_by_node", "_columns", "_node_of", "dropped")

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._by_node: dict[str, dict[PodKey, PlacedPod]] = {}
        self._node_of: dict[PodKey, str] = {}
        self.dropped = ChangeLog()

    def __len__(self) -> int:
        """How many pods are nominated."""
        return len(self._node_of)

    def node_of(self, key: PodKey) -> str:
        """The node that a pod is nominated for, "" where there is none."""
        return self._node_of.get(key, "")

    def nodes(self) -> Collection[str]:
        """The nodes that some pod is nominated for."""
        return self._by_node.keys()

    def on(self, node: str) -> Collection[PlacedPod]:
        """The pods that are nominated for a node."""
        return self._by_node.get(node, {}).values()

    def yielding(self, pod: PlacedPod, node: str) -> list[PlacedPod]:
        """The pods nominated for a node that a pod must leave room for: others of no lower priority."""
        priority = pod.shape.priority
        return [one for one in self.on(node) if one.shape.priority >= priority and one.key != pod.key]

    def put(self, pod: PlacedPod, node: str) -> None:
        """Nominate the pod for a node, instead of what it was nominated for; "" for none."""
        before = self._node_of.get(pod.key, "")
        if before == node:
            return
        if before:
            self._drop(pod.key, before)
        if node:
            self._node_of[pod.key] = node
            self._by_node.setdefault(node, {})[pod.key] = pod

    def drop(self, key: PodKey) -> None:
        """The pod is nominated no longer."""
        node = self._node_of.get(key)
        if node is not None:
            self._drop(key, node)

    def _drop(self, key: PodKey, node: str) -> None:
        del self._node_of[key]
        pods = self._by_node[node]
        del pods[key]
        if not pods:
            del self._by_node[node]
        slot = self._columns.slot(node)
        if slot is not None:
            self.dropped.touch(slot)
