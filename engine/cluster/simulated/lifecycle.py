"""The node lifecycle controller: taints by condition, silent nodes, and how fast their pods are evicted.

A node that falls silent becomes Ready Unknown after the grace period and is tainted unreachable: NoSchedule at once,
NoExecute at the pace of its zone, so that a zone that is lost as a whole is not emptied in a rush.

Source: ``pkg/controller/nodelifecycle``. Unlike there, evictions that have begun are not called off when the last zone
goes dark, and the rates are looked at on each change instead of every five seconds. Heartbeats are not simulated: a
node that is up is heard.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from msgspec.structs import replace

from engine.clock import utc
from engine.cluster.protocol import ClusterEvent, EventType
from engine.cluster.simulated.admission import NOT_READY, UNREACHABLE, UNSCHEDULABLE, with_condition
from engine.cluster.simulated.agenda import Agenda, Appointment
from engine.cluster.simulated.kubelet import Kubelets
from engine.cluster.simulated.options import Options
from engine.cluster.simulated.store import Store, ended
from engine.model.objects import Condition, Node, NodeStatus, Taint

ZONE: Final = "topology.kubernetes.io/zone"
REGION: Final = "topology.kubernetes.io/region"

_BY_CONDITION: Final = (
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
)
_OURS: Final = frozenset((NOT_READY, UNREACHABLE, UNSCHEDULABLE, *(key for _, key in _BY_CONDITION)))
_SILENT: Final = "Kubelet stopped posting node status."


def ready_status(node: Node) -> str:
    """The status of the node's Ready condition."""
    for condition in node.status.conditions or ():
        if condition.type == "Ready":
            return condition.status
    return "Unknown"


class _Zone:
    """The nodes of a zone that wait for their NoExecute taint, and the pace at which they get it."""

    __slots__ = ("free_at", "timer", "unready", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[str] = deque()
        self.unready: set[str] = set()
        self.free_at = 0.0
        self.timer: Appointment | None = None


class NodeLifecycle:
    """The controller.

    Args:
        store: The objects.
        agenda: Where what is to come is kept.
        kubelets: Told of nodes that fall silent and come back.
        options: Grace period and rates.
        post: Records an event.
    """

    def __init__(
        self,
        store: Store,
        agenda: Agenda,
        kubelets: Kubelets,
        options: Options,
        post: Callable[[ClusterEvent], None],
    ) -> None:
        self._store = store
        self._agenda = agenda
        self._kubelets = kubelets
        self._options = options
        self._post = post
        self._grace: dict[str, Appointment] = {}
        self._zones: dict[tuple[str, str], _Zone] = {}
        self._sizes: dict[tuple[str, str], int] = {}
        store.node_listeners.append(self._node_changed)

    # What happens to nodes

    def fail(self, name: str) -> None:
        """The node falls silent."""
        if self._kubelets.is_down(name):
            return
        self._kubelets.stop(name)
        self._grace[name] = self._agenda.after(self._options.node_grace, partial(self._lost, name))

    def recover(self, name: str, restarted: bool) -> None:
        """The node is heard again; ``restarted`` where its containers have to start anew."""
        timer = self._grace.pop(name, None)
        if timer is not None:
            timer.cancel()
        node = self._store.nodes[name]
        if ready_status(node) != "True":
            self._write(replace(node, status=self._heard(node)))
        self._kubelets.resume(name, restarted)

    def _heard(self, node: Node) -> NodeStatus:
        """The status that the kubelet posts when it is back: ready, and what was unknown is well."""
        now = utc(self._agenda.now)
        conditions = tuple(
            replace(condition, status="False", reason="", message="", last_transition_time=now)
            if condition.status == "Unknown" and condition.type != "Ready"
            else condition
            for condition in node.status.conditions or ()
        )
        ready = Condition("Ready", "True", "KubeletReady", "kubelet is posting ready status", now)
        return _with(replace(node.status, conditions=conditions), ready)

    def admitted(self, node: Node) -> Node:
        """A node as it is stored when it registers: with the taints that its conditions ask for."""
        keep = tuple(taint for taint in node.spec.taints or () if taint.key not in _OURS)
        return replace(node, spec=replace(node.spec, taints=(*keep, *self._wanted(node)) or None))

    def rewrite(self, node: Node) -> None:
        """Store the node with the taints that its conditions ask for."""
        self._write(node)

    def _lost(self, name: str) -> None:
        """The grace period is over."""
        self._grace.pop(name, None)
        node = self._store.nodes[name]
        now = utc(self._agenda.now)
        conditions = tuple(
            replace(
                c, status="Unknown", reason="NodeStatusUnknown", message=_SILENT, last_transition_time=now
            )
            if c.status != "Unknown"
            else c
            for c in node.status.conditions or ()
        )
        self._post(
            ClusterEvent(
                name, EventType.NORMAL, "NodeNotReady", "", f"Node {name} status is now: NodeNotReady", now
            )
        )
        self._write(replace(node, status=replace(node.status, conditions=conditions)))
        for pod in self._store.pods_of_node(name):
            if not ended(pod) and (ready := pod.condition("Ready")) is not None and ready.status == "True":
                unready = Condition("Ready", "False", "NodeNotReady", last_transition_time=now)
                self._store.put_pod(replace(pod, status=with_condition(pod.status, unready)))

    # Taints

    def _write(self, node: Node) -> None:
        taints = self._wanted(node)
        present = node.spec.taints or ()
        keep = tuple(
            taint
            for taint in present
            if taint.key not in _OURS
            or taint in taints
            or (taint.effect == "NoExecute" and self._earned(node, taint))
        )
        missing = tuple(taint for taint in taints if taint not in keep)
        self._store.put_node(replace(node, spec=replace(node.spec, taints=(*keep, *missing) or None)))

    @staticmethod
    def _wanted(node: Node) -> tuple[Taint, ...]:
        """The NoSchedule taints that the node's conditions and its cordon ask for."""
        keys = []
        ready = ready_status(node)
        if ready != "True":
            keys.append(NOT_READY if ready == "False" else UNREACHABLE)
        statuses = {condition.type: condition.status for condition in node.status.conditions or ()}
        keys.extend(key for type_, key in _BY_CONDITION if statuses.get(type_) == "True")
        if node.spec.unschedulable:
            keys.append(UNSCHEDULABLE)
        return tuple(Taint(key=key, effect="NoSchedule") for key in keys)

    @staticmethod
    def _earned(node: Node, taint: Taint) -> bool:
        """Whether the NoExecute taint still says how the node is."""
        return taint.key == {"False": NOT_READY, "Unknown": UNREACHABLE}.get(ready_status(node))

    # Evictions, paced by zone

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        was = None if old is None else (self._zone_of(old), ready_status(old) == "True")
        now = None if new is None else (self._zone_of(new), ready_status(new) == "True")
        name = (new or old).name  # type: ignore[union-attr]
        if new is None:
            timer = self._grace.pop(name, None)
            if timer is not None:
                timer.cancel()
        if was == now:
            return
        if was is not None:
            self._sizes[was[0]] -= 1
            zone = self._zones[was[0]]
            zone.unready.discard(name)
            if name in zone.waiting:
                zone.waiting.remove(name)
        if now is not None:
            self._sizes[now[0]] = self._sizes.get(now[0], 0) + 1
            zone = self._zones.setdefault(now[0], _Zone())
            if not now[1]:
                zone.unready.add(name)
                zone.waiting.append(name)
        for key in {key[0]: None for key in (was, now) if key is not None}:
            self._pace(key)
        if was is not None and now is not None and now[1]:
            # A zone that comes back may end the standstill of all the others.
            for key in self._zones:
                self._pace(key)

    @staticmethod
    def _zone_of(node: Node) -> tuple[str, str]:
        labels = node.metadata.labels or {}
        return labels.get(REGION, ""), labels.get(ZONE, "")

    def _rate(self, key: tuple[str, str]) -> float:
        """Nodes a second that may be tainted NoExecute in the zone, by how much of it, and of all, is unhealthy."""
        options = self._options
        if all(self._gone_dark(other) for other in self._zones if self._sizes[other]):
            return 0.0  # Nothing answers anywhere: more likely it is us who are cut off.
        unready, size = len(self._zones[key].unready), self._sizes[key]
        if self._gone_dark(key) or unready <= 2 or unready / size < options.unhealthy_zone:
            return options.eviction_rate
        return options.secondary_eviction_rate if size > options.large_zone else 0.0

    def _gone_dark(self, key: tuple[str, str]) -> bool:
        return len(self._zones[key].unready) == self._sizes[key]

    def _pace(self, key: tuple[str, str]) -> None:
        """Make the appointment for the next node of the zone."""
        zone = self._zones[key]
        if zone.timer is not None:
            zone.timer.cancel()
            zone.timer = None
        if zone.waiting and self._rate(key) > 0:
            zone.timer = self._agenda.at(zone.free_at, partial(self._taint_next, key))

    def _taint_next(self, key: tuple[str, str]) -> None:
        zone, rate = self._zones[key], self._rate(key)
        zone.timer = None
        if not zone.waiting or rate <= 0:
            return
        node = self._store.nodes[zone.waiting.popleft()]
        zone.free_at = self._agenda.now + 1 / rate
        self._pace(key)
        taint = Taint(key=NOT_READY if ready_status(node) == "False" else UNREACHABLE, effect="NoExecute")
        if taint not in (node.spec.taints or ()):
            self._write(replace(node, spec=replace(node.spec, taints=(*(node.spec.taints or ()), taint))))


def _with(status: NodeStatus, condition: Condition) -> NodeStatus:
    """The status with one condition set."""
    present = status.conditions or ()
    if any(old.type == condition.type for old in present):
        conditions = tuple(condition if old.type == condition.type else old for old in present)
    else:
        conditions = (*present, condition)
    return replace(status, conditions=conditions)
