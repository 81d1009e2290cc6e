"""The taint eviction controller: deletes the pods of a node that don't put up with its NoExecute taints for longer.

Source: ``pkg/controller/tainteviction``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from engine.clock import utc
from engine.cluster.protocol import ClusterEvent, EventType
from engine.cluster.simulated.admission import full_spec, with_condition
from engine.cluster.simulated.agenda import Agenda, Appointment
from engine.cluster.simulated.registry import PodRegistry
from engine.cluster.simulated.selection import tolerates
from engine.cluster.simulated.store import PodName, Store, ended
from engine.model.objects import Condition, Node, Pod, Taint


class TaintEviction:
    """The controller.

    Args:
        store: The objects.
        agenda: Where deadlines are kept.
        registry: Deletes pods.
        post: Records an event.
    """

    def __init__(
        self, store: Store, agenda: Agenda, registry: PodRegistry, post: Callable[[ClusterEvent], None]
    ) -> None:
        self._store = store
        self._agenda = agenda
        self._registry = registry
        self._post = post
        self._due: dict[str, tuple[float, Appointment]] = {}
        """By the pod's uid: since when its clock runs, and when it ends."""
        store.node_listeners.append(self._node_changed)
        store.pod_listeners.append(self._pod_changed)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if new is None:
            return
        taints = _no_execute(new)
        if taints != (_no_execute(old) if old is not None else ()):
            for pod in self._store.pods_of_node(new.name):
                self._consider(pod, taints)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if new is None:
            assert old is not None
            if self._due:
                self._forget(old.metadata.uid)
        elif new.spec.node_name and (old is None or not old.spec.node_name):
            node = self._store.nodes.get(new.spec.node_name)
            if node is not None and node.spec.taints and (taints := _no_execute(node)):
                self._consider(new, taints)

    def _consider(self, pod: Pod, taints: tuple[Taint, ...]) -> None:
        uid = pod.metadata.uid
        if not taints:
            self._forget(uid)
            return
        if ended(pod) or pod.metadata.deletion_timestamp is not None:
            return
        tolerations = full_spec(pod.spec).tolerations or ()
        used = [
            toleration for toleration in tolerations if any(tolerates(toleration, taint) for taint in taints)
        ]
        start = self._due[uid][0] if uid in self._due else self._agenda.now
        if all(any(tolerates(toleration, taint) for toleration in used) for taint in taints):
            limits = [t.toleration_seconds for t in used if t.toleration_seconds is not None]
            if not limits:
                self._forget(uid)
                return
            end = start + max(0, min(limits))
        else:
            end = self._agenda.now
        self._forget(uid)
        name = (pod.metadata.namespace, pod.metadata.name)
        self._due[uid] = (start, self._agenda.at(end, partial(self._evict, name, uid)))

    def _forget(self, uid: str) -> None:
        due = self._due.pop(uid, None)
        if due is not None:
            due[1].cancel()

    def _evict(self, name: PodName, uid: str) -> None:
        self._due.pop(uid, None)
        pod = self._store.pods[name]
        now = utc(self._agenda.now)
        message = f"Marking for deletion Pod {pod.key}"
        self._post(ClusterEvent(pod.key, EventType.NORMAL, "TaintManagerEviction", "", message, now))
        disrupted = Condition(
            "DisruptionTarget",
            "True",
            "DeletionByTaintManager",
            "Taint manager: deleting due to NoExecute taint",
            now,
        )
        self._store.put_pod(replace(pod, status=with_condition(pod.status, disrupted)))
        self._registry.delete(name)


def _no_execute(node: Node) -> tuple[Taint, ...]:
    return tuple(taint for taint in node.spec.taints or () if taint.effect == "NoExecute")
