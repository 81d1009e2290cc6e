"""DaemonSets: a pod on each node that may have one, pinned there by a node affinity that a scheduler honours.

Source: ``pkg/controller/daemon`` (NodeShouldRunDaemonPod, ReplaceDaemonSetPodNodeNameNodeAffinity).
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Final

from msgspec.structs import replace

from engine.cluster.simulated.controllers.base import (
    REVISION_LABEL,
    Controller,
    Surroundings,
    active,
    counts,
    labelled,
    pod_ready,
    share,
    template_hash,
)
from engine.cluster.simulated.selection import affinity_holds, untolerated
from engine.cluster.simulated.store import WorkloadName, controller_of, ended
from engine.manifests.objects import DaemonSet, PodTemplate, TimedToleration, Workload
from engine.model.objects import (
    Affinity,
    Node,
    NodeAffinity,
    NodeSelector,
    NodeSelectorTerm,
    Pod,
    Requirement,
)

_TOLERATED: Final = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
_RETRY: Final = 1.0
"""Seconds before a failed pod is made again (the first of the real controller's growing delays)."""


class DaemonSets(Controller):
    """Looks at pairs of a DaemonSet and a node, so that a node that joins costs one look for each set."""

    kind: ClassVar[str] = "DaemonSet"

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._targets: dict[tuple[str, str], dict[str, None]] = {}
        """Names of pods by the set's uid and the node that each is for."""
        self._pairs: set[tuple[WorkloadName, str]] = set()
        self._sets: dict[WorkloadName, None] = {}
        self._rolling: set[WorkloadName] = set()
        """Sets that may have pods of an old template."""
        self.store.node_listeners.append(self._node_changed)

    def sync(self, workload: Workload) -> None:
        """Look at all nodes, and take the next step of a rollout."""
        assert isinstance(workload, DaemonSet)
        name = (workload.kind, workload.metadata.namespace, workload.metadata.name)
        for node in [*self.store.nodes]:
            self._sync_pair(name, node)
        if name in self._rolling and workload.spec.update_strategy.type == "RollingUpdate":
            self._roll(name, workload)

    def _roll(self, name: WorkloadName, workload: DaemonSet) -> None:
        """Delete pods of the old template, as many at a time as may be unavailable."""
        revision = template_hash(workload.spec.template)
        pods = self.store.pods_of_owner(workload.metadata.uid)
        old = [
            pod for pod in pods if active(pod) and (pod.metadata.labels or {}).get(REVISION_LABEL) != revision
        ]
        if not old:
            self._rolling.discard(name)
            return
        rolling = workload.spec.update_strategy.rolling_update
        room = max(1, share(rolling.max_unavailable if rolling else None, len(pods), default=1, up=True))
        room -= sum(1 for pod in pods if not (active(pod) and pod_ready(pod)) and pod not in old)
        for pod in old:
            if not pod_ready(pod):
                self.delete(pod)
            elif room > 0:
                room -= 1
                self.delete(pod)

    def _workload_changed(self, old: Workload | None, new: Workload | None) -> None:
        super()._workload_changed(old, new)
        workload = new or old
        if isinstance(workload, DaemonSet):
            name = (workload.kind, workload.metadata.namespace, workload.metadata.name)
            if new is None:
                self._sets.pop(name, None)
                self._rolling.discard(name)
            else:
                self._sets[name] = None
                if isinstance(old, DaemonSet) and old.spec.template != workload.spec.template:
                    self._rolling.add(name)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if old is not None and new is not None:
            same = old.metadata.labels == new.metadata.labels and old.spec.taints == new.spec.taints
            if same:
                return
        node = new or old
        assert node is not None
        for name in self._sets:
            self._enqueue_pair(name, node.name)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        assert pod is not None
        owner = controller_of(pod.metadata)
        if owner is None or owner.kind != self.kind:
            return
        target = _target(pod)
        if target is None:
            return
        if old is None:
            self._targets.setdefault((owner.uid, target), {})[pod.metadata.name] = None
        elif new is None:
            self._targets.get((owner.uid, target), {}).pop(pod.metadata.name, None)
        elif not counts(old, new):
            return
        name = (owner.kind, pod.metadata.namespace, owner.name)
        if name in self._rolling:
            self.enqueue(name)
        elif old is None or new is None or active(old) != active(new):
            self._enqueue_pair(name, target)

    def _enqueue_pair(self, name: WorkloadName, node: str) -> None:
        if (name, node) not in self._pairs:
            self._pairs.add((name, node))
            self.agenda.soon(partial(self._run_pair, name, node))

    def _run_pair(self, name: WorkloadName, node: str) -> None:
        self._pairs.discard((name, node))
        self._sync_pair(name, node)

    def _sync_pair(self, name: WorkloadName, node_name: str) -> None:
        workload = self.store.workloads.get(name)
        if not isinstance(workload, DaemonSet):
            return
        node = self.store.nodes.get(node_name)
        made = self._targets.get((workload.metadata.uid, node_name), {})
        pods = [self.store.pods[(workload.metadata.namespace, pod)] for pod in made]
        template = _tolerant(workload.spec.template)
        should_run, may_stay = _wanted(template, node)
        serving = [pod for pod in pods if active(pod)]
        if should_run and not pods:
            revision = {REVISION_LABEL: template_hash(workload.spec.template)}
            self.create(workload, labelled(_pinned(template, node_name), revision))
        for pod in pods:
            if ended(pod) and should_run and pod.metadata.deletion_timestamp is None:
                self.agenda.after(_RETRY, partial(self._replace, pod))
        for pod in serving[1 if may_stay else 0 :]:
            self.delete(pod)

    def _replace(self, pod: Pod) -> None:
        """Delete a pod that failed, which lets another be made."""
        name = (pod.metadata.namespace, pod.metadata.name)
        present = self.store.pods.get(name)
        if present is not None and present.metadata.uid == pod.metadata.uid:
            self.delete(present)


def _target(pod: Pod) -> str | None:
    """The node that the pod is on or pinned to."""
    if pod.spec.affinity is not None and (affinity := pod.spec.affinity.node_affinity) is not None:
        required = affinity.required_during_scheduling_ignored_during_execution
        for term in required.node_selector_terms if required is not None else ():
            for field in term.match_fields or ():
                if field.key == "metadata.name" and field.operator == "In" and field.values:
                    return field.values[0]
    return pod.spec.node_name or None


def _wanted(template: PodTemplate, node: Node | None) -> tuple[bool, bool]:
    """Whether the node should have a pod, and whether one that is there may stay."""
    spec = template.spec
    if node is None or (spec.node_name and spec.node_name != node.name) or not affinity_holds(spec, node):
        return False, False
    if untolerated(node.spec.taints, spec.tolerations, ("NoSchedule", "NoExecute")) is None:
        return True, True
    return False, untolerated(node.spec.taints, spec.tolerations, ("NoExecute",)) is None


def _tolerant(template: PodTemplate) -> PodTemplate:
    """The template with the tolerations that every daemon pod gets."""
    spec = template.spec
    keys = (*_TOLERATED, ("node.kubernetes.io/network-unavailable", "NoSchedule"))
    extra = tuple(
        TimedToleration(key=key, operator="Exists", effect=effect)
        for key, effect in (keys if spec.host_network else _TOLERATED)
    )
    return replace(template, spec=replace(spec, tolerations=(*(spec.tolerations or ()), *extra)))


def _pinned(template: PodTemplate, node: str) -> PodTemplate:
    """The template with a required node affinity to one node, in place of any other that it had."""
    affinity = template.spec.affinity or Affinity()
    term = NodeSelectorTerm(match_fields=(Requirement("metadata.name", "In", (node,)),))
    node_affinity = replace(
        affinity.node_affinity or NodeAffinity(),
        required_during_scheduling_ignored_during_execution=NodeSelector((term,)),
    )
    return replace(
        template, spec=replace(template.spec, affinity=replace(affinity, node_affinity=node_affinity))
    )
