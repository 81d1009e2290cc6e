"""Jobs: pods until enough of them have succeeded, or too many have failed.

Source: ``pkg/controller/job``.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Final

from engine.cluster.simulated.controllers.base import Controller, Surroundings, active
from engine.cluster.simulated.store import WorkloadName
from engine.manifests.objects import Job, Workload

_BACKOFF: Final = 10.0
_MOST: Final = 600.0
"""Seconds from a failure to the next try: doubling from the first to the last."""


class Jobs(Controller):
    """Keeps as many pods active as may run at a time, until the Job is done."""

    kind: ClassVar[str] = "Job"

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._failures: dict[str, tuple[int, float]] = {}
        """By uid: failures that were seen, and when the next pod may be made."""

    def sync(self, workload: Workload) -> None:
        """Count what has ended; make or delete pods accordingly."""
        assert isinstance(workload, Job)
        spec, uid = workload.spec, workload.metadata.uid
        pods = self.store.pods_of_owner(uid)
        running = [pod for pod in pods if active(pod)]
        succeeded = sum(1 for pod in pods if pod.status.phase == "Succeeded")
        failed = sum(1 for pod in pods if pod.status.phase == "Failed")
        wanted = 0 if spec.suspend or failed > spec.backoff_limit else _parallel(spec.parallelism)
        completions = spec.completions
        if completions is None and spec.parallelism is None:
            completions = 1
        if completions is not None:
            wanted = min(wanted, completions - succeeded)
        elif succeeded:
            wanted = min(wanted, len(running))  # A work queue is empty once any of its workers says so.
        for pod in running[max(0, wanted) :]:
            self.delete(pod)
        missing = wanted - len(running)
        if missing <= 0:
            return
        free_at = self._free_at(uid, failed)
        if free_at > self.agenda.now:
            name: WorkloadName = (workload.kind, workload.metadata.namespace, workload.metadata.name)
            self.agenda.at(free_at, partial(self.enqueue, name))
            return
        for _ in range(missing):
            if self.create(workload, spec.template) is None:
                return

    def _free_at(self, uid: str, failed: int) -> float:
        seen, free_at = self._failures.get(uid, (0, 0.0))
        if failed > seen:
            free_at = self.agenda.now + min(_MOST, _BACKOFF * 2 ** (failed - 1))
            self._failures[uid] = (failed, free_at)
        return free_at


def _parallel(parallelism: int | None) -> int:
    return 1 if parallelism is None else parallelism
