"""ReplicaSets: so many pods of one template, which ones is all the same.

Source: ``pkg/controller/replicaset``.
"""

from __future__ import annotations

from typing import ClassVar

from engine.cluster.simulated.controllers.base import Controller, active, pod_ready
from engine.manifests.objects import ReplicaSet, Workload
from engine.model.objects import Pod


class ReplicaSets(Controller):
    """Keeps the number of active pods at what is wanted."""

    kind: ClassVar[str] = "ReplicaSet"

    def sync(self, workload: Workload) -> None:
        """Make missing pods, delete surplus ones: first those that serve least."""
        assert isinstance(workload, ReplicaSet)
        pods = [pod for pod in self.store.pods_of_owner(workload.metadata.uid) if active(pod)]
        surplus = len(pods) - workload.spec.replicas
        for _ in range(-surplus):
            if self.create(workload, workload.spec.template) is None:
                break
        if surplus > 0:
            # Of equal ones the youngest goes: the index is in the order of creation.
            ranked = sorted(enumerate(pods), key=lambda entry: (*_usefulness(entry[1]), -entry[0]))
            for _, pod in ranked[:surplus]:
                self.delete(pod)


def _usefulness(pod: Pod) -> tuple[bool, int, bool]:
    """What serves least sorts first (``ActivePods`` in ``pkg/controller/controller_utils.go``)."""
    phase = {"Pending": 0, "Unknown": 1, "Running": 2}.get(pod.status.phase, 0)
    return bool(pod.spec.node_name), phase, pod_ready(pod)
