"""What the kubelets do: take a bound pod or turn it away, start it, end it, and let go of it when it is deleted.

A pod's life on its node, one appointment at a time::

    bound ──kubelet_delay──▶ admitted ──start_up──▶ Running, Ready ──▶ Succeeded or Failed, by its annotations
      │                         │                        │
      └──▶ Failed (OutOf…)      └───── deleted ──stop────┴──▶ gone

Nothing of it happens on a node that is down. Source of the admission: ``pkg/kubelet/lifecycle/predicate.go``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from msgspec.structs import replace

from engine.clock import utc
from engine.cluster.protocol import ClusterEvent, EventType
from engine.cluster.simulated.admission import FAILS_AFTER, RUNS_FOR, full_spec, with_condition
from engine.cluster.simulated.agenda import Agenda, Appointment
from engine.cluster.simulated.options import Options
from engine.cluster.simulated.registry import PodRegistry
from engine.cluster.simulated.selection import affinity_holds, conflicts, host_ports, untolerated
from engine.cluster.simulated.store import PodName, Store, controller_of, ended
from engine.durations import seconds
from engine.model.objects import Condition, ContainerStatus, Node, Pod, PodStatus
from engine.model.quantity import amount, parse
from engine.model.requests import pod_requests

_FIRST: Final = ("pods", "cpu", "memory", "ephemeral-storage")


class Kubelets:
    """The kubelets of all nodes.

    Args:
        store: The objects.
        agenda: Where what is to come is kept.
        registry: Through which pods are removed.
        options: Times.
        post: Records an event.
    """

    def __init__(
        self,
        store: Store,
        agenda: Agenda,
        registry: PodRegistry,
        options: Options,
        post: Callable[[ClusterEvent], None],
    ) -> None:
        self._store = store
        self._agenda = agenda
        self._registry = registry
        self._options = options
        self._post = post
        self._down: set[str] = set()
        self._next: dict[str, Appointment] = {}
        """By the pod's uid."""
        self._held: dict[str, dict[str, dict[str, int]]] = {}
        """Requests by node and uid, of the pods that were admitted."""
        self._used: dict[str, dict[str, int]] = {}
        """Their sums by node."""
        store.pod_listeners.append(self._pod_changed)
        store.node_listeners.append(self._node_changed)

    # Nodes

    def is_down(self, node: str) -> bool:
        """Whether the node's kubelet is silent."""
        return node in self._down

    def stop(self, node: str) -> None:
        """The node goes silent: nothing more happens there."""
        self._down.add(node)
        for pod in self._store.pods_of_node(node):
            self._cancel(pod)

    def resume(self, node: str, restarted: bool) -> None:
        """The node is back.

        Args:
            node: Its name.
            restarted: Whether its containers have to start again, as after a crash; else they ran on.
        """
        self._down.discard(node)
        for pod in self._store.pods_of_node(node):
            if ended(pod):
                continue
            if pod.metadata.deletion_timestamp is not None:
                self._stop_later(pod)
            elif pod.status.phase != "Running":
                self._set_next(pod, self._agenda.now + self._options.kubelet_delay, self._admit)
            elif restarted:
                self._restart(pod)
            else:
                self._ready_again(pod)

    # Listeners

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if new is None:
            assert old is not None
            self._down.discard(old.name)
            self._held.pop(old.name, None)
            self._used.pop(old.name, None)
            for pod in self._store.pods_of_node(old.name):
                self._cancel(pod)
        elif old is None:
            for pod in self._store.pods_of_node(new.name):
                if not ended(pod):
                    self._take(pod)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if new is None:
            assert old is not None
            if old.spec.node_name:
                self._cancel(old)
                self._release(old)
            return
        node = new.spec.node_name
        if not node:
            return
        if ended(new):
            self._cancel(new)
            self._release(new)
        elif old is None or not old.spec.node_name:
            self._take(new)
        elif old.metadata.deletion_timestamp is None and new.metadata.deletion_timestamp is not None:
            self._stop_later(new)

    # A pod's life

    def _take(self, pod: Pod) -> None:
        """A pod has come to the node."""
        node = pod.spec.node_name
        if node not in self._store.nodes or node in self._down:
            return
        if pod.metadata.deletion_timestamp is not None:
            self._stop_later(pod)
        elif pod.status.phase == "Running":  # Running already when the simulation took it over.
            self._hold(pod, pod_requests(pod))
            self._until_end(pod)
        else:
            self._set_next(pod, self._agenda.now + self._options.kubelet_delay, self._admit)

    def _admit(self, pod: Pod) -> None:
        node = self._store.nodes[pod.spec.node_name]
        requests = pod_requests(pod)
        refusal = self._refusal(pod, node, requests)
        if refusal is not None:
            reason, message = refusal
            self._post(
                ClusterEvent(pod.key, EventType.WARNING, reason, "Admitting", message, utc(self._agenda.now))
            )
            self._store.put_pod(replace(pod, status=replace(pod.status, phase="Failed", reason=reason)))
            return
        self._hold(pod, requests)
        wait = max(0.0, self._options.start_up - self._options.kubelet_delay)
        self._set_next(pod, self._agenda.now + wait, self._start)

    def _start(self, pod: Pod) -> None:
        now = utc(self._agenda.now)
        names = {status.name: status for status in pod.status.container_statuses or ()}
        containers = tuple(
            names.get(container.name) or ContainerStatus(container.name)
            for container in pod.spec.containers or ()
        )
        status = replace(
            pod.status,
            phase="Running",
            start_time=pod.status.start_time or now,
            container_statuses=containers,
        )
        for type_ in ("PodScheduled", "Initialized", "ContainersReady", "Ready"):
            status = with_condition(status, Condition(type_, "True", last_transition_time=now))
        self._until_end(self._store.put_pod(replace(pod, status=status)))

    def _until_end(self, pod: Pod) -> None:
        """Make the appointment at which the pod's containers end, if they ever do."""
        annotations = pod.metadata.annotations or {}
        always = full_spec(pod.spec).restart_policy == "Always"
        if FAILS_AFTER in annotations:
            end = self._fail if not always else self._restart
            self._set_next(pod, self._agenda.now + seconds(annotations[FAILS_AFTER]), end)
            return
        if always:
            return
        owner = controller_of(pod.metadata)
        if RUNS_FOR in annotations:
            duration = seconds(annotations[RUNS_FOR])
        elif owner is not None and owner.kind == "Job":
            duration = self._options.job_duration
        else:
            return
        self._set_next(pod, self._agenda.now + duration, self._succeed)

    def _succeed(self, pod: Pod) -> None:
        self._end(pod, "Succeeded", "PodCompleted")

    def _fail(self, pod: Pod) -> None:
        self._end(pod, "Failed", "PodFailed")

    def _end(self, pod: Pod, phase: str, reason: str) -> None:
        status = self._not_ready(replace(pod.status, phase=phase), reason)
        self._store.put_pod(replace(pod, status=status))

    def _restart(self, pod: Pod) -> None:
        """The containers have ended and start again."""
        containers = tuple(
            replace(status, restart_count=status.restart_count + 1)
            for status in pod.status.container_statuses or ()
        )
        status = self._not_ready(replace(pod.status, container_statuses=containers), "ContainersNotReady")
        pod = self._store.put_pod(replace(pod, status=status))
        self._set_next(pod, self._agenda.now + self._options.start_up, self._start)

    def _ready_again(self, pod: Pod) -> None:
        """The kubelet reports once more that the pod runs."""
        now = utc(self._agenda.now)
        status = pod.status
        for type_ in ("ContainersReady", "Ready"):
            status = with_condition(status, Condition(type_, "True", last_transition_time=now))
        if status is not pod.status:
            pod = self._store.put_pod(replace(pod, status=status))
        self._until_end(pod)

    def _not_ready(self, status: PodStatus, reason: str) -> PodStatus:
        now = utc(self._agenda.now)
        for type_ in ("ContainersReady", "Ready"):
            status = with_condition(status, Condition(type_, "False", reason, last_transition_time=now))
        return status

    def _stop_later(self, pod: Pod) -> None:
        node = pod.spec.node_name
        if node not in self._store.nodes or node in self._down:
            self._cancel(pod)
            return
        deadline = pod.metadata.deletion_timestamp
        stop = self._agenda.now + self._options.stop
        self._set_next(pod, stop if deadline is None else min(stop, deadline.timestamp()), self._gone)

    def _gone(self, pod: Pod) -> None:
        self._store.remove_pod((pod.metadata.namespace, pod.metadata.name))

    # Appointments: the pod is looked up again when one is due, as it will have changed.

    def _set_next(self, pod: Pod, time: float, action: Callable[[Pod], None]) -> None:
        self._cancel(pod)
        name, uid = (pod.metadata.namespace, pod.metadata.name), pod.metadata.uid
        self._next[uid] = self._agenda.at(time, partial(self._run, name, uid, action))

    def _run(self, name: PodName, uid: str, action: Callable[[Pod], None]) -> None:
        self._next.pop(uid, None)
        action(self._store.pods[name])

    def _cancel(self, pod: Pod) -> None:
        appointment = self._next.pop(pod.metadata.uid, None)
        if appointment is not None:
            appointment.cancel()

    # Room

    def _refusal(self, pod: Pod, node: Node, requests: dict[str, int]) -> tuple[str, str] | None:
        """Reason and message, None where the node takes the pod."""
        used = self._used.get(node.name, {})
        allocatable = node.status.allocatable or {}
        wanted = {"pods": 1, **requests}
        order = [*(r for r in _FIRST if r in wanted), *sorted(r for r in wanted if r not in _FIRST)]
        for resource in order:
            capacity = amount(resource, parse(allocatable.get(resource, 0)))
            if wanted[resource] and used.get(resource, 0) + wanted[resource] > capacity:
                message = f"Node didn't have enough resource: {resource}, requested: {wanted[resource]}, "
                message += f"used: {used.get(resource, 0)}, capacity: {capacity}"
                return f"OutOf{resource}", message
        if not affinity_holds(pod.spec, node):
            return (
                "NodeAffinity",
                "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
            )
        wanted_ports = host_ports(pod.spec)
        if wanted_ports:
            held = self._held.get(node.name, {})
            others = (other for other in self._store.pods_of_node(node.name) if other.metadata.uid in held)
            if any(conflicts(wanted_ports, host_ports(other.spec)) for other in others):
                message = (
                    "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
                )
                return "NodePorts", message
        taint = untolerated(node.spec.taints, pod.spec.tolerations, ("NoExecute",))
        if taint is not None:
            return (
                "TaintToleration",
                f"Predicate TaintToleration failed: node(s) had untolerated taint(s) {taint.key}",
            )
        return None

    def _hold(self, pod: Pod, requests: dict[str, int]) -> None:
        node, uid = pod.spec.node_name, pod.metadata.uid
        held = self._held.setdefault(node, {})
        if uid in held:
            return
        held[uid] = wanted = {"pods": 1, **requests}
        used = self._used.setdefault(node, {})
        for resource, value in wanted.items():
            used[resource] = used.get(resource, 0) + value

    def _release(self, pod: Pod) -> None:
        held = self._held.get(pod.spec.node_name, {}).pop(pod.metadata.uid, None)
        if held is not None:
            used = self._used[pod.spec.node_name]
            for resource, value in held.items():
                used[resource] -= value
