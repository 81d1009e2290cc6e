"""Jobs: pods until enough of them have succeeded, or too many have failed.

A pod that somebody else deletes is a failed one from that moment on, wherever it was and whatever becomes of it: it
counts towards the limit, and its replacement is made only when the wait after a failure is over. Measured on 1.36: 10 s
after the first pod was deleted, 20 s after the second. Jobs with a podFailurePolicy or a podReplacementPolicy, which
can wait until the pod has ended, are treated like all others.

Source: ``pkg/controller/job``.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Final

from engine.cluster.simulated.controllers.base import Controller, Surroundings, active
from engine.cluster.simulated.store import WorkloadName
from engine.manifests.objects import Job, Workload
from engine.model.objects import Pod

_BACKOFF: Final = 10.0
_MOST: Final = 600.0
"""Seconds from a failure to the next try: doubling from the first to the last."""


class _Tally:
    """What has become of a Job's pods. What was counted stays counted when the pod is gone."""

    __slots__ = ("active", "counted", "failed", "free_at", "in_a_row", "succeeded")

    def __init__(self) -> None:
        self.active: set[str] = set()
        self.counted: set[str] = set()
        self.succeeded = 0
        self.failed = 0
        self.in_a_row = 0
        self.free_at = 0.0
        """When the next pod may be made."""

    def count(self, pods: list[Pod], now: float) -> None:
        """Count the pods, by uid, that have ended, are asked to leave, or are gone."""
        succeeded = {pod.metadata.uid for pod in pods if pod.status.phase == "Succeeded"} - self.counted
        present = {pod.metadata.uid for pod in pods if active(pod)}
        left = {pod.metadata.uid for pod in pods if not active(pod)} | (self.active - present)
        failed = left - succeeded - self.counted
        self.active = present
        self.counted |= succeeded | failed
        self.succeeded += len(succeeded)
        self.failed += len(failed)
        if failed:
            self.in_a_row += len(failed)
            self.free_at = now + min(_MOST, _BACKOFF * 2 ** (self.in_a_row - 1))
        elif succeeded:
            self.in_a_row, self.free_at = 0, 0.0


class Jobs(Controller):
    """Keeps as many pods active as may run at a time, until the Job is done."""

    kind: ClassVar[str] = "Job"

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._tallies: dict[str, _Tally] = {}
        """By uid."""

    def sync(self, workload: Workload) -> None:
        """Count what has ended; make or delete pods accordingly."""
        assert isinstance(workload, Job)
        spec, uid = workload.spec, workload.metadata.uid
        pods = self.store.pods_of_owner(uid)
        running = [pod for pod in pods if active(pod)]
        tally = self._tallies.setdefault(uid, _Tally())
        tally.count(pods, self.agenda.now)
        wanted = 0 if spec.suspend or tally.failed > spec.backoff_limit else _parallel(spec.parallelism)
        completions = spec.completions
        if completions is None and spec.parallelism is None:
            completions = 1
        if completions is not None:
            wanted = min(wanted, completions - tally.succeeded)
        elif tally.succeeded:
            wanted = min(wanted, len(running))  # A work queue is empty once any of its workers says so.
        for pod in running[max(0, wanted) :]:
            tally.counted.add(pod.metadata.uid)  # What is not wanted any more has not failed.
            self.delete(pod)
        missing = wanted - len(running)
        if missing <= 0:
            return
        if tally.free_at > self.agenda.now:
            name: WorkloadName = (workload.kind, workload.metadata.namespace, workload.metadata.name)
            self.agenda.at(tally.free_at, partial(self.enqueue, name))
            return
        for _ in range(missing):
            if self.create(workload, spec.template) is None:
                return


def _parallel(parallelism: int | None) -> int:
    return 1 if parallelism is None else parallelism
