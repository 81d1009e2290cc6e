"""Deployments: a ReplicaSet for each template, and the walk from the old ones to the new.

Source: ``pkg/controller/deployment`` (rolling.go, recreate.go).
"""

from __future__ import annotations

from typing import ClassVar

from msgspec.structs import replace

from engine.cluster.simulated.controllers.base import (
    Controller,
    active,
    counts,
    labelled,
    pod_ready,
    share,
    template_hash,
)
from engine.cluster.simulated.store import controller_of
from engine.manifests.objects import (
    Deployment,
    LabelSelector,
    ReplicaSet,
    ReplicaSetSpec,
    RollingUpdate,
    Workload,
)
from engine.model.objects import Pod

HASH_LABEL = "pod-template-hash"


class Deployments(Controller):
    """Scales ReplicaSets."""

    kind: ClassVar[str] = "Deployment"

    def sync(self, workload: Workload) -> None:
        """Take the next step of a rollout; without one, keep the ReplicaSet at the number wanted."""
        assert isinstance(workload, Deployment)
        owned = self.store.workloads_of_owner(workload.metadata.uid)
        sets = [one for one in owned if isinstance(one, ReplicaSet)]
        digest = template_hash(workload.spec.template)
        current = next((one for one in sets if (one.metadata.labels or {}).get(HASH_LABEL) == digest), None)
        if current is None:
            if workload.spec.paused and sets:
                return
            current = self._new_set(workload, digest)
        others = [one for one in sets if one.metadata.uid != current.metadata.uid]
        old = [one for one in others if one.spec.replicas > 0]
        recreate = workload.spec.strategy.type == "Recreate"
        if workload.spec.paused and old:
            return
        if recreate:
            for one in old:
                self._scale(one, 0)
        if old and not recreate:
            self._roll(workload, current, old)
        elif not recreate or not any(self.store.pods_of_owner(one.metadata.uid) for one in others):
            self._scale(current, workload.spec.replicas)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        """A pod counts for the Deployment that its ReplicaSet belongs to, and only while that is rolling out."""
        pod = new or old
        assert pod is not None
        owner = controller_of(pod.metadata)
        if (
            owner is None
            or owner.kind != "ReplicaSet"
            or (old is not None and new is not None and not counts(old, new))
        ):
            return
        one = self.store.workloads.get(("ReplicaSet", pod.metadata.namespace, owner.name))
        above = controller_of(one.metadata) if one is not None else None
        if above is not None and len(self.store.workloads_of_owner(above.uid)) > 1:
            self.enqueue((self.kind, pod.metadata.namespace, above.name))

    def _new_set(self, deployment: Deployment, digest: str) -> ReplicaSet:
        """The ReplicaSet of the present template, still without pods."""
        spec = deployment.spec
        label = {HASH_LABEL: digest}
        selector = LabelSelector(
            {**(spec.selector.match_labels or {}), **label}, spec.selector.match_expressions
        )
        template = labelled(spec.template, label)
        metadata = self.new_metadata(deployment, f"{deployment.metadata.name}-{digest}", template)
        made = self.store.put_workload(ReplicaSet(metadata, ReplicaSetSpec(selector, template, replicas=0)))
        assert isinstance(made, ReplicaSet)
        return made

    def _scale(self, one: ReplicaSet, replicas: int) -> None:
        if one.spec.replicas != replicas:
            self.store.put_workload(replace(one, spec=replace(one.spec, replicas=replicas)))

    def _available(self, one: ReplicaSet) -> int:
        return sum(1 for pod in self.store.pods_of_owner(one.metadata.uid) if active(pod) and pod_ready(pod))

    def _roll(self, deployment: Deployment, current: ReplicaSet, old: list[ReplicaSet]) -> None:
        """One step: as many new pods as the surge allows, then as few old ones as availability allows."""
        wanted = deployment.spec.replicas
        surge, unavailable = _bounds(deployment.spec.strategy.rolling_update, wanted)
        total = current.spec.replicas + sum(one.spec.replicas for one in old)
        new = current.spec.replicas
        if new > wanted:
            new = wanted
        elif total < wanted + surge:
            new = min(wanted, new + wanted + surge - total)
        available = self._available(current)
        total += new - current.spec.replicas
        self._scale(current, new)
        # Old pods that don't serve can go at once; of the others, only as many as leave enough that do.
        sizes = [one.spec.replicas for one in old]
        serving = [self._available(one) for one in old]
        spare = total - (wanted - unavailable) - (new - available)
        for position in range(len(old)):
            step = min(sizes[position] - serving[position], max(0, spare))
            sizes[position] -= step
            spare -= step
        surplus = available + sum(serving) - (wanted - unavailable)
        for position, one in enumerate(old):
            step = min(sizes[position], max(0, surplus))
            surplus -= step
            self._scale(one, sizes[position] - step)


def _bounds(rolling: RollingUpdate | None, replicas: int) -> tuple[int, int]:
    """Surge (rounded up) and unavailability (rounded down) in pods; never both none."""
    rolling = rolling or RollingUpdate()
    surge = share(rolling.max_surge, replicas, default="25%", up=True)
    unavailable = share(rolling.max_unavailable, replicas, default="25%", up=False)
    return surge, unavailable if surge or unavailable else 1
