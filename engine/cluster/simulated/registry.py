"""The API server's rules for writes to pods: creation, binding, status, deletion, eviction.

Source: ``pkg/registry/core/pod`` (strategy, storage, eviction).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from msgspec.structs import replace

from engine.clock import utc
from engine.cluster.simulated.admission import PodAdmission, full_spec, with_condition
from engine.cluster.simulated.agenda import Agenda
from engine.cluster.simulated.refusals import already_exists, conflict, invalid, not_found, wrong_uid
from engine.cluster.simulated.store import PodName, Store, ended
from engine.model.device_uses import DeviceMapping
from engine.model.objects import Condition, ContainerExtendedResource, ExtendedResourceClaim, Pod, PodKey

_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels, so that names spell no words (``k8s.io/apimachinery/pkg/util/rand``)."""


def suffix(random: bytes, length: int = 5) -> str:
    """Letters for the end of a generated name."""
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in random[:length])


class PodRegistry:
    """Writes pods as the API server does.

    Args:
        store: Where they are kept.
        agenda: Tells the time of a write.
        admission: What new pods pass.
        wanted: Whether a new pod is taken in at all; told of every one.
    """

    def __init__(
        self, store: Store, agenda: Agenda, admission: PodAdmission, wanted: Callable[[Pod], bool]
    ) -> None:
        self._store = store
        self._agenda = agenda
        self._admission = admission
        self._wanted = wanted

    def admitted(self, pod: Pod) -> Pod:
        """The pod as it would be stored, or what admission refuses."""
        return self._admission.admit(pod)

    def create(self, pod: Pod) -> Pod | None:
        """Create the pod; None where the cluster leaves such pods out.

        Raises:
            ApiError: 409 where the name is taken; what admission refuses.
        """
        pod = self._admission.admit(pod)
        metadata = pod.metadata
        name = (metadata.namespace, metadata.name)
        if name in self._store.pods:
            raise already_exists("pods", metadata.name)
        if not self._wanted(pod):
            return None
        metadata = replace(
            metadata,
            uid=metadata.uid or self._store.new_uid("Pod", *name),
            creation_timestamp=metadata.creation_timestamp or utc(self._agenda.now),
        )
        return self._store.put_pod(replace(pod, metadata=metadata))

    def bind(self, key: PodKey, node: str) -> Pod:
        """Assign the pod to a node, which need not exist.

        Raises:
            ApiError: 404, or 409 as `engine.cluster.protocol.Cluster.bind` has it.
        """
        pod = self._get(key, "pods/binding")
        if not node:
            raise invalid("Binding", key.name, "target.name: Required value")
        if pod.metadata.deletion_timestamp is not None:
            why = f"pod {key.name} is being deleted, cannot be assigned to a host"
            raise conflict("pods/binding", key.name, why)
        if pod.spec.node_name:
            why = f'pod {key.name} is already assigned to node "{pod.spec.node_name}"'
            raise conflict("pods/binding", key.name, why)
        if pod.spec.scheduling_gates:
            raise conflict("pods/binding", key.name, f"pod {key.name} has non-empty .spec.schedulingGates")
        scheduled = Condition("PodScheduled", "True", last_transition_time=utc(self._agenda.now))
        status = replace(with_condition(pod.status, scheduled), nominated_node_name="")
        return self._store.put_pod(Pod(pod.metadata, replace(pod.spec, node_name=node), status))

    def set_condition(self, key: PodKey, condition: Condition) -> None:
        """Patch one condition; a patch that changes nothing is no write.

        Raises:
            ApiError: 404, or 409 where the uid is another.
        """
        pod = self._get(key, "pods")
        if condition.last_transition_time is None:
            condition = replace(condition, last_transition_time=utc(self._agenda.now))
        status = with_condition(pod.status, condition)
        if status is not pod.status:
            self._store.put_pod(replace(pod, status=status))

    def nominate(self, key: PodKey, node: str) -> None:
        """Patch the node that is promised to the pod; a patch that changes nothing is no write.

        Raises:
            ApiError: 404, or 409 where the uid is another.
        """
        pod = self._get(key, "pods")
        if pod.status.nominated_node_name != node:
            self._store.put_pod(replace(pod, status=replace(pod.status, nominated_node_name=node)))

    def tell_extended_claim(self, key: PodKey, claim: str, mappings: Iterable[DeviceMapping]) -> None:
        """Patch the claim of the pod's extended resources.

        Raises:
            ApiError: 404, or 409 where the uid is another.
        """
        pod = self._get(key, "pods")
        told = ExtendedResourceClaim(claim, tuple(ContainerExtendedResource(*one) for one in mappings))
        self._store.put_pod(replace(pod, status=replace(pod.status, extended_resource_claim_status=told)))

    def delete(self, name: PodName, grace: float | None = None, uid: str | None = None) -> None:
        """Ask for the pod's deletion: at once where nothing runs, else its kubelet has the grace period.

        Args:
            name: Namespace and name.
            grace: Seconds; None takes the pod's own, 0 removes it without asking the kubelet.
            uid: Precondition.

        Raises:
            ApiError: 404, or 409 where the uid is another.
        """
        pod = self._store.pods.get(name)
        if pod is None:
            raise not_found("pods", name[1])
        metadata = pod.metadata
        if uid is not None and metadata.uid != uid:
            raise wrong_uid("pods", name[1], uid, metadata.uid)
        if grace is None:
            grace = full_spec(pod.spec).termination_grace_period_seconds
        if grace <= 0 or not pod.spec.node_name or ended(pod):
            self._store.remove_pod(name)
            return
        deadline = utc(self._agenda.now + grace)
        if metadata.deletion_timestamp is not None and metadata.deletion_timestamp <= deadline:
            return  # A second request can only shorten the grace period.
        self._store.put_pod(replace(pod, metadata=replace(metadata, deletion_timestamp=deadline)))

    def _get(self, key: PodKey, resource: str) -> Pod:
        pod = self._store.pods.get((key.namespace, key.name))
        if pod is None:
            raise not_found("pods", key.name)
        if key.uid and pod.metadata.uid != key.uid:
            raise wrong_uid(resource, key.name, key.uid, pod.metadata.uid)
        return pod
