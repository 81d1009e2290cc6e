"""The snapshot: one NumPy column a fact, one slot a node, updated in place for what changed.

A node keeps its slot while it exists; a freed slot is used again. Slots carry no order that a decision could depend
on. Two logs tell readers what changed: ``node_changes`` for what a node is (labels, taints, allocatable, …), which
is rare, and ``usage_changes`` for what runs on it, which every bind changes for one slot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.model.objects import Node, Taint
from engine.model.quantity import QuantityError, amount, parse
from engine.model.shape import HostPort
from engine.state.changes import ChangeLog
from engine.state.images import Images
from engine.state.labels import Labels, grown

PODS: Final = "pods"
ALWAYS: Final = ("cpu", "memory", "ephemeral-storage", PODS)
"""Resources that have columns from the start; others get theirs when first seen."""

SCORED: Final = ("cpu", "memory")
"""Resources that the stock scores look at."""

Pair = NDArray[np.int64]
"""Shape (2, capacity): cpu and memory above each other, so that both are worked on at once."""

_FIRST_CAPACITY: Final = 64


class NodeError(ValueError):
    """A node that cannot be read. Says which field of which node."""


class Columns:
    """The columns of all nodes.

    Attributes:
        size: Slots handed out so far; entries at and beyond it mean nothing.
        alive: Whether the slot holds a node.
        names: The node's name by slot, "" for a free slot.
        hashes: A 64-bit hash of the node's name, for breaking ties independently of slots.
        allocatable: By resource; millicores of cpu, whole units of others. 0 where a node has none.
        used: Sum of the requests of the pods on the node, same units; ``pods`` counts them.
        scoring_used: Like ``used`` for cpu and memory, absent requests counting their default.
        allocatable_pair: The entries of ``allocatable`` for `SCORED`, the same memory; the next two likewise.
        unschedulable: Whether the node is cordoned.
        ready: Whether its Ready condition is True.
        created: Seconds since the epoch.
        taint_ids: Index into ``taint_sets``.
        labels: The nodes' labels.
        images: The container images that they hold; their changes are in no log.
        ports: Host ports in use: protocol and number → slot → addresses with how many pods hold each.
    """

    def __init__(self) -> None:
        capacity = _FIRST_CAPACITY
        self.size = 0
        self.alive: NDArray[np.bool_] = np.zeros(capacity, dtype=np.bool_)
        self.names: list[str] = []
        self.hashes: NDArray[np.uint64] = np.zeros(capacity, dtype=np.uint64)
        self.allocatable = {resource: np.zeros(capacity, dtype=np.int64) for resource in ALWAYS}
        self.used = {resource: np.zeros(capacity, dtype=np.int64) for resource in ALWAYS}
        self.scoring_used = {resource: np.zeros(capacity, dtype=np.int64) for resource in SCORED}
        self._pair_up()
        self.unschedulable: NDArray[np.bool_] = np.zeros(capacity, dtype=np.bool_)
        self.ready: NDArray[np.bool_] = np.zeros(capacity, dtype=np.bool_)
        self.created: NDArray[np.float64] = np.zeros(capacity, dtype=np.float64)
        self.taint_ids: NDArray[np.int32] = np.zeros(capacity, dtype=np.int32)
        self.taint_sets: list[tuple[Taint, ...]] = [()]
        self.labels = Labels(capacity)
        self.images = Images()
        self.ports: dict[tuple[str, int], dict[int, dict[str, int]]] = {}
        self.node_changes = ChangeLog()
        self.usage_changes = ChangeLog()
        self._taint_id: dict[tuple[Taint, ...], int] = {(): 0}
        self._slot_of: dict[str, int] = {}
        self._free: list[int] = []

    def __len__(self) -> int:
        """How many nodes there are."""
        return len(self._slot_of)

    @property
    def capacity(self) -> int:
        """Length of every column."""
        return len(self.alive)

    @property
    def everywhere(self) -> slice:
        """All slots, as an index."""
        return slice(0, self.size)

    def slot(self, name: str) -> int | None:
        """The slot of a node, None where there is no such node."""
        return self._slot_of.get(name)

    def node_names(self) -> Iterable[str]:
        """The names of all nodes."""
        return self._slot_of.keys()

    def put_node(self, node: Node) -> int:
        """Add a node, or take over what changed of it. Returns its slot.

        Raises:
            NodeError: An allocatable quantity cannot be read; the columns are unchanged.
        """
        allocatable = _allocatable(node)
        slot = self._slot_of.get(node.name)
        if slot is None:
            slot = self._take_slot(node.name)
        for resource in allocatable.keys() - self.allocatable.keys():
            self._add_resource(resource)
        for resource, column in self.allocatable.items():
            column[slot] = allocatable.get(resource, 0)
        created = node.metadata.creation_timestamp
        self.created[slot] = created.timestamp() if created else 0.0
        self.unschedulable[slot] = node.spec.unschedulable
        self.ready[slot] = node.ready
        self.taint_ids[slot] = self._intern_taints(node.spec.taints or ())
        self.labels.set(slot, node.metadata.labels or {})
        self.images.set(slot, node.status.images or ())
        self.node_changes.touch(slot)
        return slot

    def remove_node(self, name: str) -> None:
        """Take a node away; its pods must have been released before.

        Raises:
            KeyError: There is no such node.
        """
        slot = self._slot_of.pop(name)
        self.alive[slot] = False
        self.names[slot] = ""
        self.labels.clear(slot)
        self.images.set(slot, ())
        self._free.append(slot)
        self.node_changes.touch(slot)

    def hold(
        self, slot: int, requests: Mapping[str, int], scoring: tuple[int, int], ports: tuple[HostPort, ...]
    ) -> None:
        """Count a pod as running in the slot."""
        self._account(slot, requests, scoring, 1)
        for protocol, port, address in ports:
            held = self.ports.setdefault((protocol, port), {}).setdefault(slot, {})
            held[address] = held.get(address, 0) + 1

    def release(
        self, slot: int, requests: Mapping[str, int], scoring: tuple[int, int], ports: tuple[HostPort, ...]
    ) -> None:
        """Undo `hold`."""
        self._account(slot, requests, scoring, -1)
        for protocol, port, address in ports:
            slots = self.ports[protocol, port]
            held = slots[slot]
            held[address] -= 1
            if not held[address]:
                del held[address]
                if not held:
                    del slots[slot]
                    if not slots:
                        del self.ports[protocol, port]

    def resource(self, columns: Mapping[str, NDArray[np.int64]], resource: str) -> NDArray[np.int64]:
        """A column of ``allocatable`` or ``used``; zeros where no node and no pod knows the resource."""
        column = columns.get(resource)
        return column if column is not None else np.zeros(self.capacity, dtype=np.int64)

    def _account(self, slot: int, requests: Mapping[str, int], scoring: tuple[int, int], sign: int) -> None:
        for resource, value in requests.items():
            column = self.used.get(resource)
            if column is None:
                column = self._add_resource(resource)
            column[slot] += sign * value
        self.used[PODS][slot] += sign
        self.scoring_used["cpu"][slot] += sign * scoring[0]
        self.scoring_used["memory"][slot] += sign * scoring[1]
        self.usage_changes.touch(slot)

    def _add_resource(self, resource: str) -> NDArray[np.int64]:
        self.allocatable.setdefault(resource, np.zeros(self.capacity, dtype=np.int64))
        return self.used.setdefault(resource, np.zeros(self.capacity, dtype=np.int64))

    def _intern_taints(self, taints: tuple[Taint, ...]) -> int:
        identity = self._taint_id.get(taints)
        if identity is None:
            identity = self._taint_id[taints] = len(self.taint_sets)
            self.taint_sets.append(taints)
        return identity

    def _take_slot(self, name: str) -> int:
        if self._free:
            slot = self._free.pop()
            self.names[slot] = name
        else:
            slot = self.size
            if slot == self.capacity:
                self._grow(2 * self.capacity)
            self.names.append(name)
            self.size += 1
        self._slot_of[name] = slot
        self.alive[slot] = True
        self.hashes[slot] = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())
        return slot

    def _grow(self, capacity: int) -> None:
        self.alive = grown(self.alive, capacity, False)
        self.hashes = grown(self.hashes, capacity, 0)
        self.unschedulable = grown(self.unschedulable, capacity, False)
        self.ready = grown(self.ready, capacity, False)
        self.created = grown(self.created, capacity, 0.0)
        self.taint_ids = grown(self.taint_ids, capacity, 0)
        for columns in (self.allocatable, self.used, self.scoring_used):
            for resource in columns:
                columns[resource] = grown(columns[resource], capacity, 0)
        self._pair_up()
        self.labels.grow(capacity)

    def _pair_up(self) -> None:
        """Lay cpu and memory of each kind out in one array, of which their columns are rows."""
        self.allocatable_pair = _paired(self.allocatable)
        self.used_pair = _paired(self.used)
        self.scoring_pair = _paired(self.scoring_used)


def _paired(columns: dict[str, NDArray[np.int64]]) -> Pair:
    pair = np.stack([columns[resource] for resource in SCORED])
    columns.update(zip(SCORED, pair, strict=True))
    return pair


def _allocatable(node: Node) -> dict[str, int]:
    amounts: dict[str, int] = {}
    for resource, text in (node.status.allocatable or {}).items():
        try:
            amounts[resource] = amount(resource, parse(text))
        except QuantityError as error:
            raise NodeError(f"node {node.name}: status.allocatable.{resource}: {error}") from None
    return amounts
