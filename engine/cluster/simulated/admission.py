"""What the API server fills in or refuses before a pod or a node exists.

Sources: ``pkg/apis/core/v1/defaults.go``, the admission plugins DefaultTolerationSeconds, Priority and
TaintNodesByCondition, and the kubelet's registration of its node.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from engine.cluster.simulated.refusals import bad_request, forbidden, invalid
from engine.durations import DurationError, seconds
from engine.manifests.objects import FullPodSpec, PriorityClass, TimedToleration
from engine.model.objects import (
    Condition,
    Container,
    Node,
    NodeStatus,
    Pod,
    PodSpec,
    PodStatus,
    ResourceRequirements,
    Toleration,
)
from engine.model.pod_terms import with_label_keys
from engine.model.requests import RequestError, pod_requests

NOT_READY: Final = "node.kubernetes.io/not-ready"
UNREACHABLE: Final = "node.kubernetes.io/unreachable"
UNSCHEDULABLE: Final = "node.kubernetes.io/unschedulable"
HOSTNAME: Final = "kubernetes.io/hostname"

MIRROR: Final = "kubernetes.io/config.mirror"
"""Annotation of a pod that a kubelet tells of: one that it has from a file."""
RUNS_FOR: Final = "simulated.berth/runs-for"
"""Annotation of a pod: how long it runs before it succeeds, as a duration. Only with a restart policy but Always."""
FAILS_AFTER: Final = "simulated.berth/fails-after"
"""Annotation of a pod: how long it runs before it fails. With the restart policy Always it starts again."""

MAX_PODS: Final = 110
"""Pods that a kubelet takes unless told otherwise."""

SYSTEM_CLASSES: Final[Mapping[str, int]] = {
    "system-cluster-critical": 2_000_000_000,
    "system-node-critical": 2_000_001_000,
}


def full_spec(spec: PodSpec) -> FullPodSpec:
    """The spec with the fields that only a cluster reads, at their defaults where it has none of them."""
    if isinstance(spec, FullPodSpec):
        return spec
    fields = msgspec.structs.asdict(spec)
    tolerations = spec.tolerations
    fields["tolerations"] = None if tolerations is None else tuple(_timed(t) for t in tolerations)
    return FullPodSpec(**fields)


def _timed(toleration: Toleration) -> TimedToleration:
    if isinstance(toleration, TimedToleration):
        return toleration
    return TimedToleration(**msgspec.structs.asdict(toleration))


class PodAdmission:
    """Admits pods.

    Args:
        classes: The priority classes by name; read at each admission.
        toleration_seconds: For how long pods tolerate not-ready and unreachable nodes by default.
    """

    def __init__(self, classes: Mapping[str, PriorityClass], toleration_seconds: int) -> None:
        self._classes = classes
        self._defaults = tuple(
            TimedToleration(
                key=key, operator="Exists", effect="NoExecute", toleration_seconds=toleration_seconds
            )
            for key in (NOT_READY, UNREACHABLE)
        )

    def admit(self, pod: Pod) -> Pod:
        """The pod as it is stored.

        Raises:
            ApiError: 400 for a quantity that is none, 422 without a name or containers or for a bad duration, 403 for
                an unknown priority class or a priority that isn't its.
        """
        metadata, spec = pod.metadata, full_spec(pod.spec)
        if not metadata.name:
            raise invalid("Pod", "", "metadata.name: Required value: name or generateName is required")
        if not spec.containers:
            raise invalid("Pod", metadata.name, "spec.containers: Required value")
        try:
            pod_requests(pod)
        except RequestError as error:
            raise bad_request(f"Pod in version v1 cannot be handled as a Pod: {error}") from None
        for key in (RUNS_FOR, FAILS_AFTER):
            value = (metadata.annotations or {}).get(key)
            try:
                seconds(value or "0s")
            except DurationError as error:
                raise invalid("Pod", metadata.name, f"metadata.annotations[{key}]: {error}") from None
        priority, policy = self._priority(metadata.name, spec)
        spec = replace(
            spec,
            affinity=with_label_keys(spec, metadata.labels or {}).affinity,
            containers=tuple(_with_requests(container) for container in spec.containers),
            init_containers=_all_with_requests(spec.init_containers),
            resources=_requests_from_limits(spec.resources),
            tolerations=self._tolerations(spec.tolerations),
            priority=priority,
            preemption_policy=policy,
        )
        status = pod.status
        if spec.scheduling_gates and not spec.node_name and pod.condition("PodScheduled") is None:
            gated = Condition(
                "PodScheduled",
                "False",
                "SchedulingGated",
                "Scheduling is blocked due to non-empty scheduling gates",
            )
            status = replace(status, conditions=(*(status.conditions or ()), gated))
        if not metadata.namespace:
            metadata = replace(metadata, namespace="default")
        return Pod(metadata, spec, status)

    def _priority(self, pod: str, spec: FullPodSpec) -> tuple[int, str]:
        """The Priority plugin: a class decides, and a priority that is given must be the one it decides on."""
        name = spec.priority_class_name
        policy = spec.preemption_policy
        if name in SYSTEM_CLASSES:
            priority, class_policy = SYSTEM_CLASSES[name], "PreemptLowerPriority"
        elif name:
            found = self._classes.get(name)
            if found is None:
                if spec.priority is not None:
                    # A pod that was dumped from a cluster carries what its class, which is not here, decided.
                    return spec.priority, policy or "PreemptLowerPriority"
                raise forbidden("pods", pod, f"no PriorityClass with name {name} was found")
            priority, class_policy = found.value, found.preemption_policy
        else:
            defaults = (found for found in self._classes.values() if found.global_default)
            default = min(defaults, key=lambda found: found.value, default=None)
            priority = default.value if default else 0
            class_policy = default.preemption_policy if default else "PreemptLowerPriority"
        if spec.priority is not None and spec.priority != priority:
            why = f"the integer value of priority ({spec.priority}) must not be provided in pod spec; "
            raise forbidden(
                "pods", pod, why + f"priority admission controller computed {priority} from its class"
            )
        return priority, policy or class_policy

    def _tolerations(self, tolerations: tuple[TimedToleration, ...] | None) -> tuple[TimedToleration, ...]:
        given = tolerations or ()
        missing = tuple(
            default
            for default in self._defaults
            if not any(t.key in ("", default.key) and t.effect in ("", "NoExecute") for t in given)
        )
        return given + missing


def _requests_from_limits(resources: ResourceRequirements | None) -> ResourceRequirements | None:
    if resources is None or not resources.limits:
        return resources
    missing = {
        name: amount for name, amount in resources.limits.items() if name not in (resources.requests or {})
    }
    return replace(resources, requests={**(resources.requests or {}), **missing}) if missing else resources


def _with_requests(container: Container) -> Container:
    resources = _requests_from_limits(container.resources)
    return container if resources is container.resources else replace(container, resources=resources)


def _all_with_requests(containers: tuple[Container, ...] | None) -> tuple[Container, ...] | None:
    return tuple(_with_requests(container) for container in containers) if containers else containers


def registered(node: Node) -> Node:
    """The node as its kubelet registers it: the host's name as a label, room for pods, and a Ready condition."""
    metadata, status = node.metadata, node.status
    if not metadata.name:
        raise invalid("Node", "", "metadata.name: Required value: name or generateName is required")
    labels = metadata.labels or {}
    if HOSTNAME not in labels:
        metadata = replace(metadata, labels={**labels, HOSTNAME: metadata.name})
    allocatable = status.allocatable
    if allocatable and "pods" not in allocatable:
        allocatable = {**allocatable, "pods": str(MAX_PODS)}
    conditions = status.conditions
    if not any(condition.type == "Ready" for condition in conditions or ()):
        ready = Condition("Ready", "True", "KubeletReady", "kubelet is posting ready status")
        conditions = (*(conditions or ()), ready)
    return Node(metadata, node.spec, NodeStatus(allocatable, conditions))


def with_condition(status: PodStatus, condition: Condition) -> PodStatus:
    """The status with one condition set; the time of its last transition moves only with its status."""
    present = status.conditions or ()
    for position, old in enumerate(present):
        if old.type == condition.type:
            if old.status == condition.status:
                condition = replace(condition, last_transition_time=old.last_transition_time)
            if old == condition:
                return status
            return replace(status, conditions=(*present[:position], condition, *present[position + 1 :]))
    return replace(status, conditions=(*present, condition))
