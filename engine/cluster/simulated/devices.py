"""Devices in the simulated cluster: the API server's rules for claims of them, and the controller that makes claims.

A claim is made for each pod that names a template, and is gone with it; a claim that no pod uses any more gives its
devices back.

Sources: ``pkg/registry/resource/resourceclaim``, ``pkg/controller/resourceclaim``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from msgspec.structs import replace

from engine.clock import utc
from engine.cluster.protocol import ResourceKind
from engine.cluster.simulated.agenda import Agenda
from engine.cluster.simulated.refusals import conflict, invalid, not_found, wrong_uid
from engine.cluster.simulated.registry import suffix
from engine.cluster.simulated.shown import KIND
from engine.cluster.simulated.store import Store, ended
from engine.model.devices import (
    DEVICES,
    MOST_USERS,
    Allocation,
    Consumer,
    DeviceObject,
    ResourceClaim,
    ResourceClaimStatus,
    ResourceClaimTemplate,
)
from engine.model.objects import ObjectMeta, OwnerReference, Pod, PodClaimStatus, PodKey
from engine.model.storage import ClaimName

DEVICE_KINDS: Final = {type_.__name__: kind for type_, kind in KIND.items() if type_ in DEVICES}
"""Kinds of devices by the name that manifests have for them."""


class DeviceRegistry:
    """Reads and writes devices and claims of them as the API server does.

    Args:
        store: Where they are kept.
        agenda: Tells the time of a write.
    """

    def __init__(self, store: Store, agenda: Agenda) -> None:
        self._store = store
        self._agenda = agenda
        self.templates: dict[ClaimName, ResourceClaimTemplate] = {}

    def claim(self, name: ClaimName) -> ResourceClaim | None:
        """The claim, None where there is none."""
        found = self._store.shown[ResourceKind.DEVICE_CLAIMS].get(name)
        return found if isinstance(found, ResourceClaim) else None

    def claims(self) -> list[ResourceClaim]:
        """All claims, oldest first."""
        found = self._store.shown[ResourceKind.DEVICE_CLAIMS].values()
        return [one for one in found if isinstance(one, ResourceClaim)]

    def apply(self, item: DeviceObject | ResourceClaimTemplate) -> None:
        """Create the object, or change the one of its name to it; what a claim has stays."""
        if isinstance(item, ResourceClaimTemplate):
            metadata = replace(item.metadata, namespace=item.metadata.namespace or "default")
            self.templates[ClaimName(metadata.namespace, metadata.name)] = replace(item, metadata=metadata)
            return
        kind = KIND[type(item)]
        namespace = (item.metadata.namespace or "default") if isinstance(item, ResourceClaim) else ""
        name = item.metadata.name
        old = self._store.shown[kind].get((namespace, name))
        metadata = replace(item.metadata, namespace=namespace, resource_version="")
        if old is None:
            metadata = replace(
                metadata,
                uid=metadata.uid or self._store.new_uid(type(item).__name__, namespace, name),
                creation_timestamp=metadata.creation_timestamp or utc(self._agenda.now),
            )
        else:
            created = getattr(old.metadata, "creation_timestamp", None)
            metadata = replace(metadata, uid=old.metadata.uid, creation_timestamp=created)
        item = replace(item, metadata=metadata)
        if isinstance(item, ResourceClaim) and isinstance(old, ResourceClaim):
            if item.spec != old.spec:
                raise invalid("ResourceClaim", name, "spec: Invalid value: field is immutable")
            item = replace(item, status=old.status)
        self._store.put_shown(item)

    def put(self, claim: ResourceClaim) -> ResourceClaim:
        """Replace the claim; as it is then."""
        self._store.put_shown(replace(claim, metadata=replace(claim.metadata, resource_version="")))
        return self._present(claim.name)

    def delete(self, kind: ResourceKind, namespace: str, name: str) -> None:
        """Delete the object at once, whoever uses it.

        Raises:
            ApiError: 404 where there is none.
        """
        if (namespace, name) not in self._store.shown[kind]:
            raise not_found(kind.value, name)
        self._store.remove_shown(kind, (namespace, name))

    def reserve(self, claim: ResourceClaim, pod: PodKey, allocation: Allocation | None) -> ResourceClaim:
        """Let the pod use the claim.

        Raises:
            ApiError: As `engine.cluster.protocol.Cluster.reserve_resource_claim` has it.
        """
        current = self._current(claim)
        users = current.status.reserved_for or ()
        if not current.reserved(pod):
            users = (*users, Consumer("pods", pod.name, pod.uid))
        if len(users) > MOST_USERS:
            raise invalid("ResourceClaim", claim.metadata.name, f"status.reservedFor: Too many: {len(users)}")
        if allocation is not None and current.allocation is not None:
            raise invalid(
                "ResourceClaim", claim.metadata.name, "status.allocation: Invalid value: field is immutable"
            )
        if allocation is not None:
            allocation = replace(allocation, allocation_timestamp=utc(int(self._agenda.now)))
        status = replace(current.status, allocation=allocation or current.allocation, reserved_for=users)
        if status.allocation is None:
            raise invalid(
                "ResourceClaim", claim.metadata.name, "status.reservedFor: Forbidden: not allocated"
            )
        return self.put(replace(current, status=status))

    def create(self, claim: ResourceClaim) -> ResourceClaim:
        """Create the claim.

        Raises:
            ApiError: 409 where one of its name is there.
        """
        if self.claim(claim.name) is not None:
            raise conflict("resourceclaims", claim.metadata.name, "the object already exists")
        self.apply(claim)
        return self._present(claim.name)

    def discard(self, claim: ResourceClaim) -> None:
        """Delete the claim, whatever it has.

        Raises:
            ApiError: 404 where there is none; 409 where it is no longer as given.
        """
        self.delete(ResourceKind.DEVICE_CLAIMS, *self._current(claim).name)

    def release(self, claim: ResourceClaim) -> ResourceClaim:
        """Take the claim's devices away, and its pods.

        Raises:
            ApiError: As `engine.cluster.protocol.Cluster.release_resource_claim` has it.
        """
        return self.put(replace(self._current(claim), status=ResourceClaimStatus()))

    def _present(self, name: ClaimName) -> ResourceClaim:
        found = self.claim(name)
        if found is None:
            raise not_found("resourceclaims", name.name)
        return found

    def _current(self, given: ResourceClaim) -> ResourceClaim:
        """The claim as it is, where it still is as given."""
        found = self._present(given.name)
        if found.metadata.uid != given.metadata.uid:
            raise wrong_uid("resourceclaims", given.metadata.name, given.metadata.uid, found.metadata.uid)
        if given.metadata.resource_version not in ("", found.metadata.resource_version):
            why = "the object has been modified; please apply your changes to the latest version"
            raise conflict("resourceclaims", given.metadata.name, why)
        return found


class ClaimController:
    """Makes claims from templates, and takes back what no pod uses.

    Args:
        store: The pods.
        registry: The claims.
        agenda: Where what is to come is kept.
        note: Takes an object and what is to say about it.
    """

    def __init__(
        self, store: Store, registry: DeviceRegistry, agenda: Agenda, note: Callable[[str, str], None]
    ) -> None:
        self._store = store
        self._registry = registry
        self._agenda = agenda
        self._note = note
        store.pod_listeners.append(self._pod_changed)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        assert pod is not None
        if not pod.spec.resource_claims:
            return
        if old is None:
            self._agenda.soon(partial(self._make, pod.key))
        elif new is None or (ended(new) and not ended(old)):
            self._agenda.soon(partial(self._take_back, pod.key, new is None))

    def _make(self, key: PodKey) -> None:
        pod = self._store.pods.get((key.namespace, key.name))
        if pod is None or pod.metadata.uid != key.uid:
            return
        made = []
        for reference in pod.spec.resource_claims or ():
            if reference.resource_claim_template_name is None:
                continue
            template = self._registry.templates.get(
                ClaimName(key.namespace, reference.resource_claim_template_name)
            )
            if template is None:
                self._note(
                    f"Pod {key}",
                    f"there is no ResourceClaimTemplate {reference.resource_claim_template_name}",
                )
                continue
            name = f"{key.name}-{reference.name}-{suffix(self._store.draw(f'claim of {key.uid}'))}"
            owner = OwnerReference("Pod", key.name, key.uid, True, "v1")
            metadata = ObjectMeta(
                name=name,
                namespace=key.namespace,
                labels=template.spec.metadata.labels,
                annotations=template.spec.metadata.annotations,
                owner_references=(owner,),
            )
            self._registry.apply(ResourceClaim(metadata, template.spec.spec))
            made.append(PodClaimStatus(reference.name, name))
        if made:
            status = replace(pod.status, resource_claim_statuses=tuple(made))
            self._store.put_pod(replace(pod, status=status))

    def _take_back(self, key: PodKey, gone: bool) -> None:
        for claim in self._registry.claims():
            if claim.metadata.namespace != key.namespace:
                continue
            if gone and any(owner.uid == key.uid for owner in claim.metadata.owner_references):
                self._registry.delete(ResourceKind.DEVICE_CLAIMS, *claim.name)
            elif claim.reserved(key):
                left = tuple(one for one in claim.status.reserved_for or () if one.uid != key.uid)
                status = replace(claim.status, reserved_for=left) if left else ResourceClaimStatus()
                self._registry.put(replace(claim, status=status))
