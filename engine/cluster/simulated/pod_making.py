"""Pods made from JSON and read back as JSON, and the priority classes that they name, as a client of the API sees them.

Source: ``pkg/registry/core/pod/strategy.go`` and ``k8s.io/apiserver/pkg/registry/rest/create.go``: what of a new
object is the server's to say.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from engine.cluster.errors import ApiError, other_value
from engine.cluster.simulated.refusals import bad_request, forbidden, invalid
from engine.cluster.simulated.registry import PodRegistry
from engine.cluster.simulated.store import Store
from engine.manifests.decode import without_nulls
from engine.manifests.kinds import ManifestPod
from engine.manifests.objects import PriorityClass
from engine.model.objects import ObjectMeta, Pod, PodStatus


class PodMaking:
    """Makes pods of manifests.

    Args:
        store: The objects.
        registry: Creates pods.
    """

    def __init__(self, store: Store, registry: PodRegistry) -> None:
        self._store = store
        self._registry = registry

    def manifest(self, namespace: str, name: str) -> dict[str, object] | None:
        """The pod as JSON, as far as it is kept; None where there is none."""
        pod = self._store.pods.get((namespace, name))
        if pod is None:
            return None
        fields = msgspec.json.decode(msgspec.json.encode(pod), type=dict[str, object])
        return {"apiVersion": "v1", "kind": "Pod", **fields}

    def create(self, manifest: Mapping[str, object]) -> Pod:
        """Create the pod of a manifest; what the server decides of a new pod is not taken from it.

        Raises:
            ApiError: 400 and 422 where it is no pod, 500 where it has a version, 409 where the name is taken, 403 where
                its class is not there or the simulation leaves out the pods of its scheduler.
        """
        kind = (manifest.get("apiVersion", "v1"), manifest.get("kind", "Pod"))
        if kind != ("v1", "Pod"):
            raise bad_request(f"the object is {kind[0]} {kind[1]}, and not a v1 Pod")
        try:
            read = msgspec.convert(without_nulls({"metadata": {}, **manifest}), ManifestPod)
        except msgspec.ValidationError as error:
            raise bad_request(f"Pod in version v1 cannot be handled as a Pod: {error}") from None
        metadata, spec = read.metadata, read.spec
        if metadata.resource_version:
            # The real one calls its client's mistake an error of its own.
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        if spec.node_name and spec.scheduling_gates:
            why = "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"
            raise invalid("Pod", metadata.name, why)
        metadata = ObjectMeta(
            name=metadata.name,
            namespace=metadata.namespace,
            labels=metadata.labels,
            annotations=metadata.annotations,
            owner_references=metadata.owner_references,
        )
        made = self._registry.create(Pod(metadata, spec, PodStatus()))
        if made is None:
            raise forbidden(
                "pods", metadata.name, f"pods of the scheduler {spec.scheduler_name} are left out"
            )
        return made

    def ensure_priority_class(self, name: str, value: int) -> None:
        """See to it that the class is there, one that preempts nothing and is nobody's default.

        Raises:
            ApiError: 409 where it is there with another value.
        """
        found = self._store.priority_classes.get(name)
        if found is None:
            metadata = replace(ObjectMeta(name=name), uid=self._store.new_uid("PriorityClass", "", name))
            self._store.priority_classes[name] = PriorityClass(metadata, value, False, "Never")
        elif found.value != value:
            raise other_value(name, found.value, value)
