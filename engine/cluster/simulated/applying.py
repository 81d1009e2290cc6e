"""What ``kubectl apply`` comes to: create the object, or change the one of its name.

An object that is there keeps its uid, its status and what the cluster added to it.
"""

from __future__ import annotations

from msgspec.structs import replace

from engine.clock import utc
from engine.cluster.simulated.admission import registered
from engine.cluster.simulated.agenda import Agenda
from engine.cluster.simulated.devices import DeviceRegistry
from engine.cluster.simulated.kubelet import Kubelets
from engine.cluster.simulated.lifecycle import NodeLifecycle, ready_status
from engine.cluster.simulated.refusals import already_exists, invalid
from engine.cluster.simulated.registry import PodRegistry
from engine.cluster.simulated.shown import shown
from engine.cluster.simulated.storage import StorageRegistry
from engine.cluster.simulated.store import Store, WorkloadName
from engine.manifests.kinds import Object
from engine.manifests.objects import (
    DaemonSet,
    Deployment,
    Job,
    Namespace,
    PodDisruptionBudget,
    PriorityClass,
    ReplicaSet,
    Service,
    StatefulSet,
    Workload,
)
from engine.model.devices import DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice
from engine.model.objects import Node, Pod


class Applying:
    """Applies objects.

    Args:
        store: The objects.
        agenda: Tells the time of a write.
        registry: Creates pods.
        lifecycle: Taints nodes by their conditions.
        kubelets: Told of nodes that come silent.
        storage: Writes claims, volumes and what is of them.
        devices: Writes devices and claims of them.
    """

    def __init__(
        self,
        store: Store,
        agenda: Agenda,
        registry: PodRegistry,
        lifecycle: NodeLifecycle,
        kubelets: Kubelets,
        storage: StorageRegistry,
        devices: DeviceRegistry,
    ) -> None:
        self._store = store
        self._agenda = agenda
        self._registry = registry
        self._lifecycle = lifecycle
        self._kubelets = kubelets
        self._storage = storage
        self._devices = devices

    def apply(self, item: Object) -> None:
        """Create the object, or change the one of its name to it, as ``kubectl apply`` does.

        Raises:
            ApiError: The API server would refuse it.
        """
        match item:
            case Pod():
                self._apply_pod(item)
            case Node():
                self._apply_node(item)
            case Namespace():
                self._store.put_shown(shown(item))
            case Service():
                metadata = replace(item.metadata, namespace=item.metadata.namespace or "default")
                self._store.put_shown(shown(replace(item, metadata=metadata)))
            case PriorityClass():
                self._store.priority_classes[item.metadata.name] = item
            case PodDisruptionBudget():
                self._apply_budget(item)
            case Deployment() | ReplicaSet() | StatefulSet() | DaemonSet() | Job():
                self._apply_workload(item)
            case DeviceClass() | ResourceSlice() | ResourceClaim() | ResourceClaimTemplate():
                self._devices.apply(item)
            case _:
                self._storage.apply(item)

    def add_node(self, node: Node) -> None:
        """A node joins: it is heard unless its own Ready condition says that it is not.

        Raises:
            ApiError: 409 where the name is taken.
        """
        node = registered(node)
        if node.name in self._store.nodes:
            raise already_exists("nodes", node.name)
        metadata = replace(
            node.metadata,
            namespace="",
            uid=node.metadata.uid or self._store.new_uid("Node", "", node.name),
            creation_timestamp=node.metadata.creation_timestamp or utc(self._agenda.now),
        )
        node = self._lifecycle.admitted(replace(node, metadata=metadata))
        if ready_status(node) != "True":
            self._kubelets.stop(node.name)
        self._store.put_node(node)

    def _apply_pod(self, pod: Pod) -> None:
        metadata = pod.metadata
        old = self._store.pods.get((metadata.namespace or "default", metadata.name))
        if old is None:
            self._registry.create(pod)
            return
        if self._registry.admitted(pod).spec.containers != old.spec.containers:
            raise invalid("Pod", metadata.name, "spec: Forbidden: pod updates may not change its containers")
        labels = {**(old.metadata.labels or {}), **(metadata.labels or {})}
        annotations = {**(old.metadata.annotations or {}), **(metadata.annotations or {})}
        changed = replace(old.metadata, labels=labels or None, annotations=annotations or None)
        if changed != old.metadata:
            self._store.put_pod(replace(old, metadata=changed))

    def _apply_budget(self, budget: PodDisruptionBudget) -> None:
        metadata = replace(budget.metadata, namespace=budget.metadata.namespace or "default")
        self._store.put_budget(replace(budget, metadata=metadata))

    def _apply_node(self, node: Node) -> None:
        old = self._store.nodes.get(node.metadata.name)
        if old is None:
            self.add_node(node)
            return
        node = registered(node)
        labels = {**(old.metadata.labels or {}), **(node.metadata.labels or {})}
        status = replace(old.status, allocatable=node.status.allocatable or old.status.allocatable)
        kept = tuple(taint for taint in old.spec.taints or () if taint.effect == "NoExecute")
        taints = (*(node.spec.taints or ()), *(t for t in kept if t not in (node.spec.taints or ())))
        self._lifecycle.rewrite(
            Node(replace(old.metadata, labels=labels), replace(node.spec, taints=taints or None), status)
        )

    def _apply_workload(self, workload: Workload) -> None:
        metadata = replace(workload.metadata, namespace=workload.metadata.namespace or "default")
        name: WorkloadName = (workload.kind, metadata.namespace, metadata.name)
        old = self._store.workloads.get(name)
        if old is not None:
            metadata = replace(
                metadata, uid=old.metadata.uid, creation_timestamp=old.metadata.creation_timestamp
            )
        else:
            metadata = replace(
                metadata,
                uid=metadata.uid or self._store.new_uid(*name),
                creation_timestamp=metadata.creation_timestamp or utc(self._agenda.now),
            )
        self._store.put_workload(replace(workload, metadata=metadata))
