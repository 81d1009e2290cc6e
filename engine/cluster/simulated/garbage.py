"""What clears up: dependents of deleted workloads, and pods of nodes that no longer exist.

Sources: ``pkg/controller/garbagecollector``, ``pkg/controller/podgc``.
"""

from __future__ import annotations

from functools import partial

from engine.cluster.simulated.agenda import Agenda
from engine.cluster.simulated.options import Options
from engine.cluster.simulated.registry import PodRegistry
from engine.cluster.simulated.store import Store
from engine.manifests.objects import Workload
from engine.model.objects import Node, Pod


class GarbageCollection:
    """Both collectors.

    Args:
        store: The objects.
        agenda: Where what is to come is kept.
        registry: Deletes pods.
        options: The quarantine.
    """

    def __init__(self, store: Store, agenda: Agenda, registry: PodRegistry, options: Options) -> None:
        self._store = store
        self._agenda = agenda
        self._registry = registry
        self._options = options
        store.workload_listeners.append(self._workload_changed)
        store.node_listeners.append(self._node_changed)
        store.pod_listeners.append(self._pod_changed)

    def _workload_changed(self, old: Workload | None, new: Workload | None) -> None:
        if new is None:
            assert old is not None
            self._agenda.soon(partial(self._collect, old.metadata.uid))

    def _collect(self, uid: str) -> None:
        for workload in self._store.workloads_of_owner(uid):
            self._store.remove_workload((workload.kind, workload.metadata.namespace, workload.metadata.name))
        for pod in self._store.pods_of_owner(uid):
            self._registry.delete((pod.metadata.namespace, pod.metadata.name))

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if new is None:
            assert old is not None
            self._agenda.after(self._options.orphan_quarantine, partial(self._collect_orphans, old.name))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if new is not None and (old is None or not old.spec.node_name):
            node = new.spec.node_name
            if node and node not in self._store.nodes:
                self._agenda.after(self._options.orphan_quarantine, partial(self._collect_orphans, node))

    def _collect_orphans(self, node: str) -> None:
        if node not in self._store.nodes:
            for pod in self._store.pods_of_node(node):
                self._registry.delete((pod.metadata.namespace, pod.metadata.name), grace=0)
