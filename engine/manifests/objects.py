"""Objects that only manifests hold: workloads and their templates, namespaces and priority classes.

Pods and nodes are those of ``engine.model``. A pod of a manifest has a `FullPodSpec`, which also knows the fields
that no scheduler reads but that admission and the kubelet act on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from engine.model.objects import ObjectMeta, PodSpec, Requirement, Struct, Toleration
from engine.model.storage import PersistentVolumeClaim


class TimedToleration(Toleration, frozen=True):
    """A toleration as the taint eviction controller reads it: None seconds means for ever."""

    toleration_seconds: int | None = None


class FullPodSpec(PodSpec, frozen=True):
    """A pod's spec with what admission and the kubelet read as well."""

    tolerations: tuple[TimedToleration, ...] | None = None
    priority_class_name: str = ""
    restart_policy: str = "Always"
    termination_grace_period_seconds: int = 30
    service_account_name: str = ""


class LabelSelector(Struct, frozen=True):
    """metav1.LabelSelector: all labels and all expressions must hold."""

    match_labels: dict[str, str] | None = None
    match_expressions: tuple[Requirement, ...] | None = None

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels satisfy the selector; an empty selector matches everything."""
        if any(labels.get(key) != value for key, value in (self.match_labels or {}).items()):
            return False
        return all(requirement_holds(requirement, labels) for requirement in self.match_expressions or ())


def requirement_holds(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    """One expression of a label or node selector; a negative operator holds where the key is absent.

    Source: ``k8s.io/apimachinery/pkg/labels`` (Requirement.Matches).
    """
    value = labels.get(requirement.key)
    values = requirement.values or ()
    match requirement.operator:
        case "In":
            return value is not None and value in values
        case "NotIn":
            return value is None or value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            try:
                actual, bound = int(value or ""), int(values[0])
            except (ValueError, IndexError):
                return False
            return actual > bound if requirement.operator == "Gt" else actual < bound
    return False


class PodTemplate(Struct, frozen=True):
    """What the pods of a workload look like."""

    metadata: ObjectMeta = ObjectMeta()
    spec: FullPodSpec = FullPodSpec()


class RollingUpdate(Struct, frozen=True):
    """How far a rollout may stray from the wanted number: counts, or percentages as text."""

    max_surge: int | str | None = None
    max_unavailable: int | str | None = None


class UpdateStrategy(Struct, frozen=True):
    """How a change of the template reaches the pods."""

    type: str = "RollingUpdate"
    rolling_update: RollingUpdate | None = None


class DeploymentSpec(Struct, frozen=True):
    """apps/v1 DeploymentSpec."""

    selector: LabelSelector = LabelSelector()
    template: PodTemplate = PodTemplate()
    replicas: int = 1
    strategy: UpdateStrategy = UpdateStrategy()
    paused: bool = False


class Deployment(Struct, frozen=True):
    """apps/v1 Deployment."""

    kind: ClassVar[str] = "Deployment"
    metadata: ObjectMeta
    spec: DeploymentSpec = DeploymentSpec()


class ReplicaSetSpec(Struct, frozen=True):
    """apps/v1 ReplicaSetSpec."""

    selector: LabelSelector = LabelSelector()
    template: PodTemplate = PodTemplate()
    replicas: int = 1


class ReplicaSet(Struct, frozen=True):
    """apps/v1 ReplicaSet."""

    kind: ClassVar[str] = "ReplicaSet"
    metadata: ObjectMeta
    spec: ReplicaSetSpec = ReplicaSetSpec()


class StatefulSetSpec(Struct, frozen=True):
    """apps/v1 StatefulSetSpec."""

    selector: LabelSelector = LabelSelector()
    template: PodTemplate = PodTemplate()
    replicas: int = 1
    pod_management_policy: str = "OrderedReady"
    update_strategy: UpdateStrategy = UpdateStrategy()
    volume_claim_templates: tuple[PersistentVolumeClaim, ...] | None = None


class StatefulSet(Struct, frozen=True):
    """apps/v1 StatefulSet."""

    kind: ClassVar[str] = "StatefulSet"
    metadata: ObjectMeta
    spec: StatefulSetSpec = StatefulSetSpec()


class DaemonSetSpec(Struct, frozen=True):
    """apps/v1 DaemonSetSpec."""

    selector: LabelSelector = LabelSelector()
    template: PodTemplate = PodTemplate()
    update_strategy: UpdateStrategy = UpdateStrategy()


class DaemonSet(Struct, frozen=True):
    """apps/v1 DaemonSet."""

    kind: ClassVar[str] = "DaemonSet"
    metadata: ObjectMeta
    spec: DaemonSetSpec = DaemonSetSpec()


class JobSpec(Struct, frozen=True):
    """batch/v1 JobSpec. Neither parallelism nor completions: one pod, once."""

    template: PodTemplate = PodTemplate()
    parallelism: int | None = None
    completions: int | None = None
    backoff_limit: int = 6
    completion_mode: str = "NonIndexed"
    suspend: bool = False


class Job(Struct, frozen=True):
    """batch/v1 Job."""

    kind: ClassVar[str] = "Job"
    metadata: ObjectMeta
    spec: JobSpec = JobSpec()


class Namespace(Struct, frozen=True):
    """core/v1 Namespace."""

    kind: ClassVar[str] = "Namespace"
    metadata: ObjectMeta


class ServiceSpec(Struct, frozen=True):
    """core/v1 ServiceSpec, as far as it says which pods belong together."""

    selector: dict[str, str] | None = None


class Service(Struct, frozen=True):
    """core/v1 Service."""

    kind: ClassVar[str] = "Service"
    metadata: ObjectMeta
    spec: ServiceSpec = ServiceSpec()


class PriorityClass(Struct, frozen=True):
    """scheduling.k8s.io/v1 PriorityClass."""

    kind: ClassVar[str] = "PriorityClass"
    metadata: ObjectMeta
    value: int = 0
    global_default: bool = False
    preemption_policy: str = "PreemptLowerPriority"


class BudgetSpec(Struct, frozen=True):
    """policy/v1 PodDisruptionBudgetSpec; counts, or percentages as text."""

    selector: LabelSelector = LabelSelector()
    min_available: int | str | None = None
    max_unavailable: int | str | None = None


class PodDisruptionBudget(Struct, frozen=True):
    """policy/v1 PodDisruptionBudget."""

    kind: ClassVar[str] = "PodDisruptionBudget"
    metadata: ObjectMeta
    spec: BudgetSpec = BudgetSpec()


Workload = Deployment | ReplicaSet | StatefulSet | DaemonSet | Job
