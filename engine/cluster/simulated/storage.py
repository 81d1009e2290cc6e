"""The API server's rules for writes to claims, volumes and what says where volumes can be.

Sources: ``pkg/registry/core/persistentvolumeclaim`` and ``…/persistentvolume``, and the admission plugin
DefaultStorageClass.
"""

from __future__ import annotations

from typing import Final, TypeVar

from msgspec.structs import replace

from engine.clock import utc
from engine.cluster.protocol import ResourceKind
from engine.cluster.simulated.agenda import Agenda
from engine.cluster.simulated.refusals import conflict, not_found, wrong_uid
from engine.cluster.simulated.shown import KIND
from engine.cluster.simulated.store import Store
from engine.model.storage import (
    AVAILABLE,
    BOUND_BY_CONTROLLER,
    OLD_CLASS,
    SELECTED_NODE,
    STORAGE,
    ClaimName,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    StorageObject,
    VolumeStatus,
)

STORAGE_KINDS: Final = {type_.__name__: kind for type_, kind in KIND.items() if type_ in STORAGE}
"""Kinds of storage by the name that manifests have for them."""
DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"

Item = TypeVar("Item", PersistentVolume, PersistentVolumeClaim)


class StorageRegistry:
    """Reads and writes storage as the API server does.

    Args:
        store: Where it is kept.
        agenda: Tells the time of a write.
    """

    def __init__(self, store: Store, agenda: Agenda) -> None:
        self._store = store
        self._agenda = agenda

    # Reading

    def claim(self, name: ClaimName) -> PersistentVolumeClaim | None:
        """The claim, None where there is none."""
        found = self._store.shown[ResourceKind.CLAIMS].get(name)
        return found if isinstance(found, PersistentVolumeClaim) else None

    def volume(self, name: str) -> PersistentVolume | None:
        """The volume, None where there is none."""
        found = self._store.shown[ResourceKind.VOLUMES].get(("", name))
        return found if isinstance(found, PersistentVolume) else None

    def storage_class(self, name: str) -> StorageClass | None:
        """The class, None where there is none."""
        found = self._store.shown[ResourceKind.CLASSES].get(("", name))
        return found if isinstance(found, StorageClass) else None

    def claims(self) -> list[PersistentVolumeClaim]:
        """All claims, oldest first."""
        found = self._store.shown[ResourceKind.CLAIMS].values()
        return [one for one in found if isinstance(one, PersistentVolumeClaim)]

    def volumes(self) -> list[PersistentVolume]:
        """All volumes, oldest first."""
        found = self._store.shown[ResourceKind.VOLUMES].values()
        return [one for one in found if isinstance(one, PersistentVolume)]

    # Writing

    def apply(self, item: StorageObject) -> None:
        """Create the object, or change the one of its name to it; bindings and what was annotated stay."""
        kind = KIND[type(item)]
        namespaced = kind in (ResourceKind.CLAIMS, ResourceKind.CSI_CAPACITIES)
        namespace = (item.metadata.namespace or "default") if namespaced else ""
        name = item.metadata.name
        old = self._store.shown[kind].get((namespace, name))
        if old is None:
            uid = item.metadata.uid or self._store.new_uid(type(item).__name__, namespace, name)
            created = item.metadata.creation_timestamp or utc(self._agenda.now)
            metadata = replace(item.metadata, namespace=namespace, uid=uid, creation_timestamp=created)
        else:
            assert not isinstance(old.metadata, str)
            annotations = {
                **(getattr(old.metadata, "annotations", None) or {}),
                **(item.metadata.annotations or {}),
            }
            metadata = replace(
                item.metadata,
                namespace=namespace,
                uid=old.metadata.uid,
                creation_timestamp=getattr(old.metadata, "creation_timestamp", None),
                annotations=annotations or None,
            )
        item = replace(item, metadata=replace(metadata, resource_version=""))
        if isinstance(item, PersistentVolumeClaim):
            item = self._admitted(item)
            if isinstance(old, PersistentVolumeClaim):
                spec = replace(item.spec, volume_name=old.spec.volume_name or item.spec.volume_name)
                item = replace(item, spec=spec, status=old.status)
        if isinstance(item, PersistentVolume):
            if isinstance(old, PersistentVolume):
                spec_ = replace(item.spec, claim_ref=old.spec.claim_ref or item.spec.claim_ref)
                item = replace(item, spec=spec_, status=old.status)
            elif not item.status.phase:
                item = replace(item, status=VolumeStatus(AVAILABLE))
        self._store.put_storage(item)

    def _admitted(self, claim: PersistentVolumeClaim) -> PersistentVolumeClaim:
        """The claim with the default class where it names none at all."""
        if claim.spec.storage_class_name is not None or OLD_CLASS in (claim.metadata.annotations or {}):
            return claim
        defaults = [
            one
            for one in self._store.shown[ResourceKind.CLASSES].values()
            if isinstance(one, StorageClass) and (one.metadata.annotations or {}).get(DEFAULT_CLASS) == "true"
        ]
        if not defaults:
            return claim
        newest = max(defaults, key=lambda one: (str(one.metadata.creation_timestamp), one.metadata.name))
        return replace(claim, spec=replace(claim.spec, storage_class_name=newest.metadata.name))

    def put(self, item: Item) -> None:
        """Replace the claim or the volume."""
        self._store.put_storage(replace(item, metadata=replace(item.metadata, resource_version="")))

    def delete(self, kind: ResourceKind, namespace: str, name: str) -> None:
        """Delete the object at once, whoever uses it.

        Raises:
            ApiError: 404 where there is none.
        """
        if (namespace, name) not in self._store.shown[kind]:
            raise not_found(kind.value, name)
        self._store.remove_storage(kind, (namespace, name))

    def give_volume(self, volume: PersistentVolume, claim: PersistentVolumeClaim) -> PersistentVolume:
        """Reserve the volume for the claim.

        Raises:
            ApiError: As `engine.cluster.protocol.Cluster.give_volume` has it.
        """
        name = volume.metadata.name
        current = _current(self.volume(name), volume, "persistentvolumes")
        annotations = dict(current.metadata.annotations or {})
        if not current.is_for(claim):
            annotations[BOUND_BY_CONTROLLER] = "yes"
        reference = ObjectReference(claim.metadata.namespace, claim.metadata.name, claim.metadata.uid)
        self.put(
            replace(
                current,
                metadata=replace(current.metadata, annotations=annotations or None),
                spec=replace(current.spec, claim_ref=reference),
            )
        )
        return _present(self.volume(name), "persistentvolumes", name)

    def select_node(self, claim: PersistentVolumeClaim, node: str) -> PersistentVolumeClaim:
        """Choose the node for which the claim's volume is made.

        Raises:
            ApiError: As `engine.cluster.protocol.Cluster.select_node` has it.
        """
        current = _current(self.claim(claim.name), claim, "persistentvolumeclaims")
        annotations = {**(current.metadata.annotations or {}), SELECTED_NODE: node}
        self.put(replace(current, metadata=replace(current.metadata, annotations=annotations)))
        return _present(self.claim(claim.name), "persistentvolumeclaims", claim.metadata.name)


def _present(item: Item | None, resource: str, name: str) -> Item:
    if item is None:
        raise not_found(resource, name)
    return item


def _current(item: Item | None, given: Item, resource: str) -> Item:
    """The object as it is, where it still is as given."""
    name = given.metadata.name
    found = _present(item, resource, name)
    if found.metadata.uid != given.metadata.uid:
        raise wrong_uid(resource, name, given.metadata.uid, found.metadata.uid)
    if given.metadata.resource_version not in ("", found.metadata.resource_version):
        raise conflict(
            resource, name, "the object has been modified; please apply your changes to the latest version"
        )
    return found
