"""Disruption budgets: whether an eviction leaves enough healthy pods.

Sources: ``pkg/registry/core/pod/storage/eviction.go``, ``pkg/controller/disruption``.
"""

from __future__ import annotations

from engine.cluster.errors import ApiError
from engine.cluster.simulated.controllers.base import pod_ready, share
from engine.cluster.simulated.store import Store, controller_of, ended
from engine.manifests.objects import DaemonSet, Job, PodDisruptionBudget
from engine.model.objects import Pod, PodKey


class Budgets:
    """The budgets of the cluster, worked out when an eviction asks.

    Args:
        store: The objects.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

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
        labels = pod.metadata.labels or {}
        budgets = [
            budget
            for budget in self._store.budgets.values()
            if budget.metadata.namespace == key.namespace and budget.spec.selector.matches(labels)
        ]
        if len(budgets) > 1:
            why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
            raise ApiError(500, "InternalError", why)
        if budgets and not self._allows(budgets[0], pod):
            why = "Cannot evict pod as it would violate the pod's disruption budget."
            raise ApiError(429, "TooManyRequests", why)

    def _allows(self, budget: PodDisruptionBudget, pod: Pod) -> bool:
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
        if not pod_ready(pod):
            return healthy >= needed > 0
        return healthy > needed

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
