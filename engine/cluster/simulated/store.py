"""What etcd is to the API server: the objects, their versions, watch histories, and indexes that are kept with them.

Objects are frozen, so that reading is handing out references; nothing is ever copied. Whoever wants to know of
changes adds a listener, which is called at each write and must only make a note of what to do.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from hashlib import blake2b
from typing import TypeVar, cast

from msgspec.structs import replace

from engine.cluster.protocol import Change, ResourceKind
from engine.cluster.simulated.history import History
from engine.cluster.simulated.shown import KIND, Shown, shown
from engine.manifests.objects import PodDisruptionBudget, PriorityClass, ReplicaSet, StatefulSet, Workload
from engine.model.objects import Node, ObjectMeta, OwnerReference, Pod
from engine.model.storage import StorageObject

PodName = tuple[str, str]
"""A pod's namespace and name."""
WorkloadName = tuple[str, str, str]
"""A workload's kind, namespace and name."""

PodListener = Callable[[Pod | None, Pod | None], None]
"""Called with the pod before (None: it is new) and after (None: it is gone)."""
NodeListener = Callable[[Node | None, Node | None], None]
StorageListener = Callable[[StorageObject | None, StorageObject | None], None]
BudgetListener = Callable[[PodDisruptionBudget], None]
WorkloadListener = Callable[[Workload | None, Workload | None], None]

_Name = TypeVar("_Name", PodName, WorkloadName)


def ended(pod: Pod) -> bool:
    """Whether the pod has run to its end, so that lists and watches leave it out."""
    return pod.status.phase in ("Succeeded", "Failed")


def controller_of(metadata: ObjectMeta) -> OwnerReference | None:
    """The owner that looks after the object."""
    for owner in metadata.owner_references:
        if owner.controller:
            return owner
    return None


class Store:
    """The objects of the cluster.

    Args:
        history: Events of a kind that watches can go back.
        seed: Decides uids and the random parts of names.
    """

    def __init__(self, history: int, seed: int) -> None:
        self.version = 1  # Never 0, which asks a watch for everything that is.
        self.nodes: dict[str, Node] = {}
        self.pods: dict[PodName, Pod] = {}
        self.workloads: dict[WorkloadName, Workload] = {}
        self.shown: dict[ResourceKind, dict[PodName, Shown]] = {kind: {} for kind in KIND.values()}
        self.priority_classes: dict[str, PriorityClass] = {}
        self.budgets: dict[tuple[str, str], PodDisruptionBudget] = {}
        self.histories = {kind: History(history) for kind in ResourceKind}
        self.pod_listeners: list[PodListener] = []
        self.node_listeners: list[NodeListener] = []
        self.budget_listeners: list[BudgetListener] = []
        self.workload_listeners: list[WorkloadListener] = []
        self.storage_listeners: list[StorageListener] = []
        self._pods_of_node: dict[str, dict[PodName, None]] = {}
        self._pods_of_owner: dict[str, dict[PodName, None]] = {}
        self._workloads_of_owner: dict[str, dict[WorkloadName, None]] = {}
        self._drawn: dict[str, int] = {}
        self._key = seed.to_bytes(8, "big", signed=True)

    # Names

    def draw(self, purpose: str) -> bytes:
        """Sixteen bytes that look random, the next ones for the purpose.

        Each purpose has its own sequence, so that what happens to one workload does not rename another's pods.
        """
        count = self._drawn.get(purpose, 0)
        self._drawn[purpose] = count + 1
        return blake2b(f"{purpose}#{count}".encode(), digest_size=16, key=self._key).digest()

    def new_uid(self, kind: str, namespace: str, name: str) -> str:
        """A uid for an object that is made."""
        return str(uuid.UUID(bytes=self.draw(f"{kind}/{namespace}/{name}"), version=4))

    def next_version(self) -> int:
        """The version of a write."""
        self.version += 1
        return self.version

    # Pods

    def put_pod(self, pod: Pod) -> Pod:
        """Create or replace the pod; returns it with its version."""
        metadata = pod.metadata
        name = (metadata.namespace, metadata.name)
        old = self.pods.get(name)
        version = self.next_version()
        new = replace(pod, metadata=replace(metadata, resource_version=str(version)))
        self.pods[name] = new
        node = new.spec.node_name
        if old is None:
            for owner in metadata.owner_references:
                self._pods_of_owner.setdefault(owner.uid, {})[name] = None
            if node:
                self._pods_of_node.setdefault(node, {})[name] = None
        elif node != old.spec.node_name:
            self._pods_of_node.setdefault(node, {})[name] = None
        history = self.histories[ResourceKind.PODS]
        if old is None or ended(old):
            if not ended(new):
                history.append(Change.ADDED, new, version)
        elif ended(new):
            # As the watch cache does for a field selector that no longer matches: the object as it was last
            # selected, at the version that took it out.
            last = replace(old, metadata=replace(old.metadata, resource_version=str(version)))
            history.append(Change.DELETED, last, version)
        else:
            history.append(Change.MODIFIED, new, version)
        for listener in self.pod_listeners:
            listener(old, new)
        return new

    def remove_pod(self, name: PodName) -> None:
        """Remove the pod for good."""
        old = self.pods.pop(name)
        version = self.next_version()
        for owner in old.metadata.owner_references:
            _discard(self._pods_of_owner, owner.uid, name)
        if old.spec.node_name:
            _discard(self._pods_of_node, old.spec.node_name, name)
        if not ended(old):
            last = replace(old, metadata=replace(old.metadata, resource_version=str(version)))
            self.histories[ResourceKind.PODS].append(Change.DELETED, last, version)
        for listener in self.pod_listeners:
            listener(old, None)

    def pods_of_node(self, node: str) -> list[Pod]:
        """The pods bound to the node, also those that ended, in the order of binding."""
        return [self.pods[name] for name in self._pods_of_node.get(node, ())]

    def pods_of_owner(self, uid: str) -> list[Pod]:
        """The pods that the object owns, also those that ended, oldest first."""
        return [self.pods[name] for name in self._pods_of_owner.get(uid, ())]

    # Nodes

    def put_node(self, node: Node) -> Node:
        """Create or replace the node; returns it with its version."""
        old = self.nodes.get(node.name)
        version = self.next_version()
        new = replace(node, metadata=replace(node.metadata, resource_version=str(version)))
        self.nodes[node.name] = new
        change = Change.ADDED if old is None else Change.MODIFIED
        self.histories[ResourceKind.NODES].append(change, new, version)
        for listener in self.node_listeners:
            listener(old, new)
        return new

    def remove_node(self, name: str) -> None:
        """Remove the node for good; its pods are somebody else's business."""
        old = self.nodes.pop(name)
        version = self.next_version()
        last = replace(old, metadata=replace(old.metadata, resource_version=str(version)))
        self.histories[ResourceKind.NODES].append(Change.DELETED, last, version)
        for listener in self.node_listeners:
            listener(old, None)

    # What is only shown

    def put_shown(self, item: Shown) -> None:
        """Create or replace it. What is shown already is no write."""
        kind = KIND[type(item)]
        name = (item.metadata.namespace, item.metadata.name)
        old = self.shown[kind].get(name)
        if old is not None and _unversioned(old) == item:
            return
        version = self.next_version()
        new = replace(item, metadata=replace(item.metadata, resource_version=str(version)))
        self.shown[kind][name] = new
        self.histories[kind].append(Change.ADDED if old is None else Change.MODIFIED, new, version)

    def remove_shown(self, kind: ResourceKind, name: PodName) -> None:
        """Remove it for good."""
        self._remove_shown(self.shown[kind][name])

    def _remove_shown(self, item: Shown) -> None:
        kind = KIND[type(item)]
        old = self.shown[kind].pop((item.metadata.namespace, item.metadata.name))
        version = self.next_version()
        last = replace(old, metadata=replace(old.metadata, resource_version=str(version)))
        self.histories[kind].append(Change.DELETED, last, version)

    # Storage

    def put_storage(self, item: StorageObject) -> None:
        """Create or replace it; its version is given to it here."""
        kind = KIND[type(item)]
        name = (item.metadata.namespace, item.metadata.name)
        old = self.shown[kind].get(name)
        self.put_shown(item)
        new = self.shown[kind][name]
        if new is not old:
            for listener in self.storage_listeners:
                listener(cast("StorageObject | None", old), cast(StorageObject, new))

    def remove_storage(self, kind: ResourceKind, name: PodName) -> None:
        """Remove it for good."""
        old = cast(StorageObject, self.shown[kind][name])
        self._remove_shown(old)
        for listener in self.storage_listeners:
            listener(old, None)

    def remove_storage_of(self, item: StorageObject) -> None:
        """Remove an object for good."""
        self.remove_storage(KIND[type(item)], (item.metadata.namespace, item.metadata.name))

    # Disruption budgets

    def put_budget(self, budget: PodDisruptionBudget) -> None:
        """Create or replace the budget."""
        metadata = budget.metadata
        if not metadata.uid:
            uid = self.new_uid("PodDisruptionBudget", metadata.namespace, metadata.name)
            budget = replace(budget, metadata=replace(metadata, uid=uid))
        self.budgets[metadata.namespace, metadata.name] = budget
        for listener in self.budget_listeners:
            listener(budget)

    # Workloads

    def put_workload(self, workload: Workload) -> Workload:
        """Create or replace the workload; returns it with its version."""
        metadata = workload.metadata
        name = (workload.kind, metadata.namespace, metadata.name)
        old = self.workloads.get(name)
        new = replace(workload, metadata=replace(metadata, resource_version=str(self.next_version())))
        self.workloads[name] = new
        if isinstance(new, ReplicaSet | StatefulSet):
            self.put_shown(shown(new))
        if old is None:
            for owner in metadata.owner_references:
                self._workloads_of_owner.setdefault(owner.uid, {})[name] = None
        for listener in self.workload_listeners:
            listener(old, new)
        return new

    def remove_workload(self, name: WorkloadName) -> None:
        """Remove the workload; what it owns is the garbage collector's business."""
        old = self.workloads.pop(name)
        self.next_version()
        if isinstance(old, ReplicaSet | StatefulSet):
            self._remove_shown(shown(old))
        for owner in old.metadata.owner_references:
            _discard(self._workloads_of_owner, owner.uid, name)
        for listener in self.workload_listeners:
            listener(old, None)

    def workloads_of_owner(self, uid: str) -> list[Workload]:
        """The workloads that another owns, oldest first."""
        return [self.workloads[name] for name in self._workloads_of_owner.get(uid, ())]


def _discard(index: dict[str, dict[_Name, None]], key: str, value: _Name) -> None:
    members = index.get(key)
    if members is not None:
        members.pop(value, None)
        if not members:
            del index[key]


def _unversioned(item: Shown) -> Shown:
    return replace(item, metadata=replace(item.metadata, resource_version=""))
