"""StatefulSets: pods with a number each, made and unmade one after another.

Source: ``pkg/controller/statefulset/stateful_set_control.go``.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec.structs import replace

from engine.cluster.simulated.controllers.base import (
    REVISION_LABEL,
    Controller,
    labelled,
    pod_ready,
    template_hash,
)
from engine.cluster.simulated.store import ended
from engine.manifests.objects import FullPodSpec, StatefulSet, Workload
from engine.model.objects import ClaimReference, Pod, Volume
from engine.model.storage import ClaimName

_POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
_INDEX_LABEL = "apps.kubernetes.io/pod-index"


class StatefulSets(Controller):
    """Keeps pods 0 … n-1."""

    kind: ClassVar[str] = "StatefulSet"

    def sync(self, workload: Workload) -> None:
        """From the lowest number up, make or replace what is missing; then from the highest down, delete."""
        assert isinstance(workload, StatefulSet)
        spec = workload.spec
        in_order = spec.pod_management_policy == "OrderedReady"
        revision = f"{workload.metadata.name}-{template_hash(spec.template)}"
        pods = self._by_ordinal(workload)
        for ordinal in range(spec.replicas):
            pod = pods.get(ordinal)
            if pod is not None and ended(pod) and pod.metadata.deletion_timestamp is None:
                self.delete(pod)  # What has ended is gone at once, and makes room for another of its name.
                pod = None
            if pod is None:
                pod = self._make(workload, ordinal, revision)
                if pod is None:
                    return
                pods[ordinal] = pod
            if in_order and (pod.metadata.deletion_timestamp is not None or not pod_ready(pod)):
                return
        for ordinal in sorted((o for o in pods if o >= spec.replicas), reverse=True):
            pod = pods[ordinal]
            if pod.metadata.deletion_timestamp is None:
                self.delete(pod)
            if in_order:
                return
        if spec.update_strategy.type == "RollingUpdate":
            self._update(pods, spec.replicas, revision)

    def _update(self, pods: dict[int, Pod], replicas: int, revision: str) -> None:
        """Replace the highest pod of an old revision, once all above it serve."""
        for ordinal in range(replicas - 1, -1, -1):
            pod = pods[ordinal]
            if pod.metadata.deletion_timestamp is not None:
                return
            if (pod.metadata.labels or {}).get(REVISION_LABEL) != revision:
                self.delete(pod)
                return
            if not pod_ready(pod):
                return

    def _by_ordinal(self, workload: StatefulSet) -> dict[int, Pod]:
        pods = {}
        for pod in self.store.pods_of_owner(workload.metadata.uid):
            base, _, ordinal = pod.metadata.name.rpartition("-")
            if base == workload.metadata.name and ordinal.isdigit():
                pods[int(ordinal)] = pod
        return pods

    def _make(self, workload: StatefulSet, ordinal: int, revision: str) -> Pod | None:
        name = f"{workload.metadata.name}-{ordinal}"
        labels = {_POD_NAME_LABEL: name, _INDEX_LABEL: str(ordinal), REVISION_LABEL: revision}
        template = labelled(workload.spec.template, labels)
        if workload.spec.volume_claim_templates:
            template = replace(template, spec=self._with_claims(workload, ordinal, template.spec))
        return self.create(workload, template, name)

    def _with_claims(self, workload: StatefulSet, ordinal: int, spec: FullPodSpec) -> FullPodSpec:
        """The pod's spec with its own claims, which are made where they are not there yet, and outlive the pod."""
        metadata = workload.metadata
        volumes = {volume.name: volume for volume in spec.volumes or ()}
        for claim in workload.spec.volume_claim_templates or ():
            volume = claim.metadata.name
            name = ClaimName(metadata.namespace, f"{volume}-{metadata.name}-{ordinal}")
            if self.storage.claim(name) is None:
                own = replace(claim.metadata, name=name.name, namespace=name.namespace)
                self.storage.apply(replace(claim, metadata=own))
            volumes[volume] = Volume(name=volume, persistent_volume_claim=ClaimReference(name.name))
        return replace(spec, volumes=tuple(volumes.values()))
