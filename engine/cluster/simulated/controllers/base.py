"""What every workload controller shares: a queue of workloads to look at, and how a pod is made from a template."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import ClassVar, Final

import msgspec
from msgspec.structs import replace

from engine.clock import utc
from engine.cluster.errors import ApiError
from engine.cluster.simulated.agenda import Agenda
from engine.cluster.simulated.registry import PodRegistry, suffix
from engine.cluster.simulated.storage import StorageRegistry
from engine.cluster.simulated.store import Store, WorkloadName, controller_of, ended
from engine.manifests.objects import PodTemplate, Workload
from engine.model.objects import ObjectMeta, OwnerReference, Pod
from engine.model.shape import workload as made_by

REVISION_LABEL: Final = "controller-revision-hash"
"""Label of a pod of a StatefulSet or DaemonSet: the template that it was made from."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a controller works with."""

    store: Store
    agenda: Agenda
    registry: PodRegistry
    storage: StorageRegistry
    note: Callable[[str, str], None]
    """Takes an object and what is to say about it."""


def pod_ready(pod: Pod) -> bool:
    """Whether the pod's Ready condition is True."""
    ready = pod.condition("Ready")
    return ready is not None and ready.status == "True"


def active(pod: Pod) -> bool:
    """Whether the pod counts towards what its workload wants: neither ended nor being deleted."""
    return not ended(pod) and pod.metadata.deletion_timestamp is None


def counts(old: Pod, new: Pod) -> bool:
    """Whether a change of a pod can matter to its workload; a binding, for one, does not."""
    if old.status is new.status and old.metadata.deletion_timestamp == new.metadata.deletion_timestamp:
        return False
    return active(old) != active(new) or pod_ready(old) != pod_ready(new)


def reference(workload: Workload) -> OwnerReference:
    """The reference by which what the workload makes names it."""
    metadata = workload.metadata
    return OwnerReference(kind=workload.kind, name=metadata.name, uid=metadata.uid, controller=True)


def template_hash(template: PodTemplate) -> str:
    """Ten letters that tell one template from another."""
    digest = blake2b(msgspec.json.encode(template, order="deterministic"), digest_size=16).digest()
    return suffix(digest, 10)


class Controller:
    """Looks at one workload at a time, whenever it or a pod of it has changed in a way that counts.

    Workloads that have to be looked at are queued once however much happened, as in client-go's work queue.
    """

    kind: ClassVar[str]

    def __init__(self, surroundings: Surroundings) -> None:
        self.store = surroundings.store
        self.agenda = surroundings.agenda
        self.registry = surroundings.registry
        self.storage = surroundings.storage
        self.note = surroundings.note
        self._queued: set[WorkloadName] = set()
        self.store.workload_listeners.append(self._workload_changed)
        self.store.pod_listeners.append(self._pod_changed)

    def sync(self, workload: Workload) -> None:
        """Bring what is closer to what is wanted."""
        raise NotImplementedError

    def enqueue(self, name: WorkloadName) -> None:
        """Look at the workload now, after what is already due."""
        if name not in self._queued:
            self._queued.add(name)
            self.agenda.soon(partial(self._run, name))

    def _run(self, name: WorkloadName) -> None:
        self._queued.discard(name)
        workload = self.store.workloads.get(name)
        if workload is not None:
            self.sync(workload)

    def _workload_changed(self, old: Workload | None, new: Workload | None) -> None:  # noqa: ARG002
        if new is not None and new.kind == self.kind:
            self.enqueue((new.kind, new.metadata.namespace, new.metadata.name))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        assert pod is not None
        if not pod.metadata.owner_references:
            return
        owner = controller_of(pod.metadata)
        if owner is None or owner.kind != self.kind:
            return
        if old is not None and new is not None and not counts(old, new):
            return
        self.enqueue((owner.kind, pod.metadata.namespace, owner.name))

    # Making and unmaking pods

    def create(self, workload: Workload, template: PodTemplate, name: str | None = None) -> Pod | None:
        """Make a pod from the template, with a generated name unless one is given.

        Returns:
            None where such pods are left out, or are refused, which a note tells.
        """
        owner = workload.metadata
        if name is None:
            name = f"{owner.name}-{suffix(self.store.draw(f'pod of {owner.uid}'))}"
            while (owner.namespace, name) in self.store.pods:
                name = f"{owner.name}-{suffix(self.store.draw(f'pod of {owner.uid}'))}"
        metadata = ObjectMeta(
            name=name,
            namespace=owner.namespace,
            labels=template.metadata.labels,
            annotations=template.metadata.annotations,
            owner_references=(reference(workload),),
        )
        pod = Pod(metadata, template.spec)
        try:
            return self.registry.create(pod)
        except ApiError as refusal:
            kind, made = made_by(pod) or (workload.kind, owner.name)
            self.note(f"{kind} {owner.namespace}/{made}", f"its pods are refused: {refusal.message}")
            return None

    def delete(self, pod: Pod) -> None:
        """Delete a pod that is not wanted any more."""
        self.registry.delete((pod.metadata.namespace, pod.metadata.name))

    def new_metadata(self, owner: Workload, name: str, template: PodTemplate) -> ObjectMeta:
        """The metadata of a workload that another makes."""
        namespace = owner.metadata.namespace
        return ObjectMeta(
            name=name,
            namespace=namespace,
            uid=self.store.new_uid("ReplicaSet", namespace, name),
            labels=template.metadata.labels,
            owner_references=(reference(owner),),
            creation_timestamp=utc(self.agenda.now),
        )


def labelled(template: PodTemplate, labels: dict[str, str]) -> PodTemplate:
    """The template with more labels."""
    metadata = template.metadata
    return replace(template, metadata=replace(metadata, labels={**(metadata.labels or {}), **labels}))


def share(bound: int | str | None, of: int, *, default: int | str, up: bool) -> int:
    """A bound in pods: a count as it is, a percentage of ``of`` rounded up or down."""
    bound = default if bound is None else bound
    if isinstance(bound, int):
        return bound
    percent = int(bound.rstrip("%"))
    return -(-percent * of // 100) if up else percent * of // 100
