"""Disruption budgets: whether an eviction leaves enough healthy pods.

Sources: ``pkg/registry/core/pod/storage/eviction.go``, ``pkg/controller/disruption``.
"""

from __future__ import annotations

from functools import partial

from engine.cluster.errors import ApiError
from engine.cluster.simulated.agenda import Agenda
from engine.cluster.simulated.controllers.base import pod_ready, share
from engine.cluster.simulated.store import PodName, Store, controller_of, ended
from engine.manifests.objects import DaemonSet, Job, PodDisruptionBudget, Workload
from engine.model import objects as model
from engine.model.objects import Pod, PodKey


class Budgets:
    """The budgets of the cluster: worked out when an eviction asks, and told in their status when pods change.

    Args:
        store: The objects.
        agenda: When statuses are written: after everything else that is due.
    """

    def __init__(self, store: Store, agenda: Agenda) -> None:
        self._store = store
        self._agenda = agenda
        self._queued: set[PodName] = set()
        store.budget_listeners.append(self._enqueue)
        store.pod_listeners.append(self._pod_changed)
        store.workload_listeners.append(self._workload_changed)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        for pod in (old, new) if self._store.budgets else ():
            if pod is not None:
                for budget in self._protecting(pod):
                    self._enqueue(budget)

    def _workload_changed(self, old: Workload | None, new: Workload | None) -> None:
        workload = new or old
        for budget in self._store.budgets.values():
            if workload is not None and budget.metadata.namespace == workload.metadata.namespace:
                self._enqueue(budget)

    def _enqueue(self, budget: PodDisruptionBudget) -> None:
        name = (budget.metadata.namespace, budget.metadata.name)
        if name not in self._queued:
            self._queued.add(name)
            self._agenda.soon(partial(self._tell, name))

    def _tell(self, name: PodName) -> None:
        """Write the status, as the disruption controller does."""
        self._queued.discard(name)
        budget = self._store.budgets[name]
        healthy, needed = self._health(budget)
        metadata, selector = budget.metadata, budget.spec.selector
        self._store.put_shown(
            model.PodDisruptionBudget(
                model.Identity(metadata.name, metadata.namespace, metadata.uid, "", metadata.labels),
                model.BudgetSpec(model.LabelSelector(selector.match_labels, selector.match_expressions)),
                model.BudgetStatus(disruptions_allowed=max(0, healthy - needed)),
            )
        )

    def _protecting(self, pod: Pod) -> list[PodDisruptionBudget]:
        labels = pod.metadata.labels or {}
        return [
            budget
            for budget in self._store.budgets.values()
            if budget.metadata.namespace == pod.metadata.namespace and budget.spec.selector.matches(labels)
        ]

    def check(self, key: PodKey) -> None:
        """Refuse an eviction that a budget forbids now.

        Raises:
            ApiError: 429 where it would leave too few healthy pods, 500 where several budgets protect the pod.
        """
        pod = self._store.pods.get((key.namespace, key.name))
        if not self._store.budgets or pod is None:
            return
        if ended(pod) or pod.status.phase == "Pending" or pod.metadata.deletion_timestamp is not None:
            return  # What does not serve is not missed.
        budgets = self._protecting(pod)
        if len(budgets) > 1:
            why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
            raise ApiError(500, "InternalError", why)
        if budgets and not self._allows(budgets[0], pod):
            why = "Cannot evict pod as it would violate the pod's disruption budget."
            raise ApiError(429, "TooManyRequests", why)

    def _allows(self, budget: PodDisruptionBudget, pod: Pod) -> bool:
        healthy, needed = self._health(budget)
        if not pod_ready(pod):
            return healthy >= needed > 0
        return healthy > needed

    def _health(self, budget: PodDisruptionBudget) -> tuple[int, int]:
        """How many of the budget's pods are healthy, and how many have to be."""
        spec = budget.spec
        protected = [
            other
            for other in self._store.pods.values()
            if other.metadata.namespace == budget.metadata.namespace
            and spec.selector.matches(other.metadata.labels or {})
            and not ended(other)
        ]
        healthy = sum(
            1 for other in protected if pod_ready(other) and other.metadata.deletion_timestamp is None
        )
        if spec.max_unavailable is not None:
            expected = self._expected(protected)
            needed = max(0, expected - share(spec.max_unavailable, expected, default=0, up=True))
        else:
            needed = share(spec.min_available, self._expected(protected), default=0, up=True)
        return healthy, needed

    def _expected(self, pods: list[Pod]) -> int:
        """How many pods their controllers want; a pod without a controller counts for itself."""
        expected: dict[str, int] = {}
        for pod in pods:
            owner = controller_of(pod.metadata)
            if owner is None:
                expected[pod.metadata.uid] = 1
                continue
            found = self._store.workloads.get((owner.kind, pod.metadata.namespace, owner.name))
            if found is None or isinstance(found, DaemonSet | Job):
                expected[owner.uid] = len(self._store.pods_of_owner(owner.uid))
            else:
                expected[owner.uid] = found.spec.replicas
        return sum(expected.values())
