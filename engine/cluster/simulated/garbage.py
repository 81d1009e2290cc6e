"""What clears up: dependents of deleted workloads and nodes, and pods of nodes that no longer exist.

What a node owns goes at once with it, or as soon as it is made for a node that is gone by then. Mirror pods, which a
node owns too, stay until the collector of orphans takes them: a manifest seldom has the uid that their node gets here.

Sources: ``pkg/controller/garbagecollector``, ``pkg/controller/podgc``.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from engine.cluster.simulated.admission import MIRROR
from engine.cluster.simulated.agenda import Agenda
from engine.cluster.simulated.lifecycle import ready_status
from engine.cluster.simulated.options import Options
from engine.cluster.simulated.registry import PodRegistry
from engine.cluster.simulated.store import Store, controller_of
from engine.manifests.objects import Workload
from engine.model.objects import Node, Pod

_OUT_OF_SERVICE: Final = "node.kubernetes.io/out-of-service"
_ROUND_S: Final = 20.0
"""How often the collector of pods goes round."""


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
            self._agenda.soon(partial(self._collect, old.metadata.uid))
            self._agenda.after(self._options.orphan_quarantine, partial(self._collect_orphans, old.name))
        elif _is_off(new):
            self._agenda.after(_ROUND_S, partial(self._collect_terminating, new.name))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if new is not None and old is None:
            owner = controller_of(new.metadata)
            if owner is not None and owner.kind == "Node" and MIRROR not in (new.metadata.annotations or {}):
                node_now = self._store.nodes.get(owner.name)
                if node_now is None or node_now.metadata.uid != owner.uid:
                    self._agenda.soon(partial(self._collect, owner.uid))
        if new is not None and (old is None or not old.spec.node_name):
            node = new.spec.node_name
            if node and node not in self._store.nodes:
                self._agenda.after(self._options.orphan_quarantine, partial(self._collect_orphans, node))
        if new is not None and new.metadata.deletion_timestamp is not None:
            on = self._store.nodes.get(new.spec.node_name)
            if on is not None and _is_off(on):
                self._agenda.after(_ROUND_S, partial(self._collect_terminating, on.name))

    def _collect_terminating(self, name: str) -> None:
        """Take away the pods that nobody can say have ended, where people say that nothing runs there any more."""
        node = self._store.nodes.get(name)
        if node is not None and _is_off(node):
            for pod in self._store.pods_of_node(name):
                if pod.metadata.deletion_timestamp is not None:
                    self._registry.delete((pod.metadata.namespace, pod.metadata.name), grace=0)

    def _collect_orphans(self, node: str) -> None:
        if node not in self._store.nodes:
            for pod in self._store.pods_of_node(node):
                self._registry.delete((pod.metadata.namespace, pod.metadata.name), grace=0)


def _is_off(node: Node) -> bool:
    """Whether a node is not ready, and people say that it is off."""
    return ready_status(node) != "True" and any(
        taint.key == _OUT_OF_SERVICE for taint in node.spec.taints or ()
    )
