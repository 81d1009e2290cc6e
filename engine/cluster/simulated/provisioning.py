"""What becomes of claims: volumes are bound to them, made for them, freed and taken away after them.

Every provisioner that a class names is there and works, unless an annotation says that it fails. Sources:
``pkg/controller/volume/persistentvolume`` and ``…/ephemeral``, and the external provisioner's protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
from msgspec.structs import replace

from engine.cluster.simulated.agenda import Agenda
from engine.cluster.simulated.options import Options
from engine.cluster.simulated.storage import StorageRegistry
from engine.cluster.simulated.store import Store
from engine.model.objects import (
    NodeSelector,
    NodeSelectorTerm,
    ObjectMeta,
    OwnerReference,
    Pod,
    Requirement,
    Struct,
)
from engine.model.quantity import QuantityError, parse
from engine.model.selectors import selector_of
from engine.model.storage import (
    AVAILABLE,
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    FILESYSTEM,
    LOST,
    NO_PROVISIONER,
    SELECTED_NODE,
    ClaimName,
    ClaimSpec,
    ClaimStatus,
    CsiSource,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    StorageObject,
    VolumeNodeAffinity,
    VolumeSpec,
    VolumeStatus,
)

FAILS: Final = "simulated.berth/provisioning-fails"
"""Annotation of a claim or of its class: how often making its volume fails before it works, or ``always``."""
TOPOLOGY_KEY: Final = "simulated.berth/topology-key"
"""Annotation of a class: the node label within whose value its volumes can be reached. Everywhere without it."""


class _Template(Struct, frozen=True):
    spec: ClaimSpec = ClaimSpec()


class _Ephemeral(Struct, frozen=True):
    volume_claim_template: _Template = _Template()


class VolumeControllers:
    """The controllers and the provisioner.

    Args:
        store: The objects.
        registry: Writes claims and volumes.
        agenda: Where what is to come is kept.
        options: How long it takes to make a volume.
        note: Takes an object and what is to say about it.
    """

    def __init__(
        self,
        store: Store,
        registry: StorageRegistry,
        agenda: Agenda,
        options: Options,
        note: Callable[[str, str], None],
    ) -> None:
        self._store = store
        self._registry = registry
        self._agenda = agenda
        self._options = options
        self._note = note
        self._queued: set[ClaimName | str] = set()
        self._making: set[str] = set()
        self._failed: dict[str, int] = {}
        store.storage_listeners.append(self._changed)
        store.pod_listeners.append(self._pod_changed)

    # What happened

    def _changed(self, old: StorageObject | None, new: StorageObject | None) -> None:
        item = new or old
        match item:
            case PersistentVolumeClaim():
                self._enqueue(item.name)
                if new is None and item.spec.volume_name:
                    self._enqueue(item.spec.volume_name)
            case PersistentVolume():
                self._enqueue(item.metadata.name)
                reference = item.spec.claim_ref
                if reference is not None:
                    self._enqueue(ClaimName(reference.namespace, reference.name))
                elif new is not None:
                    self._enqueue_waiting()
            case StorageClass():
                self._enqueue_waiting()
            case _:
                pass

    def _enqueue_waiting(self) -> None:
        """Claims that had no volume may have one now."""
        for claim in self._registry.claims():
            if not claim.spec.volume_name:
                self._enqueue(claim.name)

    def _enqueue(self, name: ClaimName | str) -> None:
        if name not in self._queued:
            self._queued.add(name)
            self._agenda.soon(partial(self._sync, name))

    def _sync(self, name: ClaimName | str) -> None:
        self._queued.discard(name)
        if isinstance(name, str):
            self._sync_volume(name)
        else:
            self._sync_claim(name)

    # Volumes

    def _sync_volume(self, name: str) -> None:
        volume = self._registry.volume(name)
        if volume is None:
            return
        reference = volume.spec.claim_ref
        if reference is None:
            if volume.status.phase != AVAILABLE:
                self._registry.put(replace(volume, status=VolumeStatus(AVAILABLE)))
            return
        if not reference.uid:
            return  # Reserved by hand; it waits for its claim.
        claim = self._registry.claim(ClaimName(reference.namespace, reference.name))
        if claim is not None and claim.metadata.uid == reference.uid:
            return
        if volume.spec.persistent_volume_reclaim_policy == "Delete":
            self._store.remove_storage_of(volume)
        elif volume.status.phase != "Released":
            self._registry.put(replace(volume, status=VolumeStatus("Released")))

    # Claims

    def _sync_claim(self, name: ClaimName) -> None:
        claim = self._registry.claim(name)
        if claim is None:
            for volume in self._registry.volumes():
                reference = volume.spec.claim_ref
                if reference is not None and (reference.namespace, reference.name) == name:
                    self._enqueue(volume.metadata.name)
            return
        if claim.spec.volume_name:
            self._sync_named(claim)
            return
        reserved = [
            one for one in self._registry.volumes() if one.is_for(claim) and _large_enough(one, claim)
        ]
        if reserved:
            self._bind(claim, reserved[0])
            return
        of = self._registry.storage_class(claim.storage_class)
        if of is not None and of.delayed and claim.selected_node is None:
            return  # The scheduler chooses a volume, or a node.
        if claim.selected_node is None:
            free = sorted(
                (one for one in self._registry.volumes() if _fits(one, claim)),
                key=lambda one: (_size(one), one.metadata.name),
            )
            if free:
                self._bind(claim, free[0])
                return
        if of is not None:
            self._provision(claim, of)

    def _sync_named(self, claim: PersistentVolumeClaim) -> None:
        volume = self._registry.volume(claim.spec.volume_name)
        if volume is None:
            if claim.bound and claim.status.phase != LOST:
                self._registry.put(replace(claim, status=ClaimStatus(LOST)))
        elif volume.spec.claim_ref is None or volume.is_for(claim):
            self._bind(claim, volume)
        elif claim.bound and claim.status.phase != LOST:
            self._registry.put(replace(claim, status=ClaimStatus(LOST)))

    def _bind(self, claim: PersistentVolumeClaim, volume: PersistentVolume) -> None:
        """Bind both to each other; where they are already, nothing happens."""
        notes = dict(volume.metadata.annotations or {})
        if not volume.is_for(claim):
            notes[BOUND_BY_CONTROLLER] = "yes"
        reference = ObjectReference(claim.metadata.namespace, claim.metadata.name, claim.metadata.uid)
        bound = replace(
            volume,
            metadata=replace(volume.metadata, annotations=notes or None),
            spec=replace(volume.spec, claim_ref=reference),
            status=VolumeStatus("Bound"),
        )
        if bound != volume:
            self._registry.put(bound)
        notes = {**(claim.metadata.annotations or {}), BIND_COMPLETED: "yes"}
        settled = replace(
            claim,
            metadata=replace(claim.metadata, annotations=notes),
            spec=replace(claim.spec, volume_name=volume.metadata.name),
            status=ClaimStatus("Bound"),
        )
        if settled != claim:
            self._registry.put(settled)

    # Making volumes

    def _provision(self, claim: PersistentVolumeClaim, of: StorageClass) -> None:
        if of.provisioner in ("", NO_PROVISIONER):
            self._note(
                f"PersistentVolumeClaim {claim.name}",
                f"stays pending, as no volume does and the class {of.metadata.name} makes none",
            )
        elif claim.metadata.uid not in self._making:
            self._making.add(claim.metadata.uid)
            self._agenda.after(
                self._options.provisioning, partial(self._make, claim.name, claim.metadata.uid)
            )

    def _make(self, name: ClaimName, uid: str) -> None:
        self._making.discard(uid)
        claim = self._registry.claim(name)
        if claim is None or claim.metadata.uid != uid or claim.spec.volume_name:
            return
        of = self._registry.storage_class(claim.storage_class)
        node = claim.selected_node
        if of is None or (of.delayed and node is None):
            return
        if self._fails(claim, of):
            self._refuse(claim)
            return
        self._failed.pop(uid, None)
        volume = f"pvc-{uid}"
        notes = claim.spec
        self._registry.apply(
            PersistentVolume(
                ObjectMeta(name=volume),
                VolumeSpec(
                    capacity={"storage": claim.size or "0"},
                    access_modes=notes.access_modes,
                    claim_ref=ObjectReference(claim.metadata.namespace, claim.metadata.name, uid),
                    storage_class_name=of.metadata.name,
                    volume_mode=notes.volume_mode,
                    node_affinity=self._reached_from(of, node),
                    csi=CsiSource(of.provisioner, volume),
                    persistent_volume_reclaim_policy=of.reclaim_policy,
                ),
                VolumeStatus("Pending"),
            )
        )

    def _reached_from(self, of: StorageClass, name: str | None) -> VolumeNodeAffinity | None:
        key = (of.metadata.annotations or {}).get(TOPOLOGY_KEY)
        node = self._store.nodes.get(name or "")
        value = (node.metadata.labels or {}).get(key) if node is not None and key is not None else None
        if key is None or value is None:
            return None
        term = NodeSelectorTerm((Requirement(key, "In", (value,)),))
        return VolumeNodeAffinity(NodeSelector((term,)))

    def _fails(self, claim: PersistentVolumeClaim, of: StorageClass) -> bool:
        said = {**(of.metadata.annotations or {}), **(claim.metadata.annotations or {})}.get(FAILS, "0")
        if said == "always":
            return True
        failed = self._failed.get(claim.metadata.uid, 0)
        self._failed[claim.metadata.uid] = failed + 1
        return said.isdecimal() and failed < int(said)

    def _refuse(self, claim: PersistentVolumeClaim) -> None:
        """Give the claim back to the scheduler, or try again where no scheduler was asked."""
        notes = dict(claim.metadata.annotations or {})
        if notes.pop(SELECTED_NODE, None) is not None:
            self._registry.put(replace(claim, metadata=replace(claim.metadata, annotations=notes or None)))
        elif (of := self._registry.storage_class(claim.storage_class)) is not None:
            self._provision(claim, of)

    # Claims that are made for one pod

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        assert pod is not None
        if not any(volume.ephemeral is not None for volume in pod.spec.volumes or ()):
            return
        if new is None:
            self._agenda.soon(partial(self._collect, pod))
        elif old is None:
            self._agenda.soon(partial(self._claim_for, pod))

    def _claim_for(self, pod: Pod) -> None:
        key = pod.key
        if (key.namespace, key.name) not in self._store.pods:
            return
        for volume in pod.spec.volumes or ():
            name = ClaimName(key.namespace, f"{key.name}-{volume.name}")
            if volume.ephemeral is None or self._registry.claim(name) is not None:
                continue
            try:
                template = msgspec.convert(volume.ephemeral, _Ephemeral).volume_claim_template
            except msgspec.ValidationError as error:
                self._note(f"Pod {key}", f"gets no claim for its volume {volume.name}: {error}")
                continue
            owner = OwnerReference("Pod", key.name, key.uid, controller=True)
            metadata = ObjectMeta(name=name.name, namespace=name.namespace, owner_references=(owner,))
            self._registry.apply(PersistentVolumeClaim(metadata, template.spec))

    def _collect(self, pod: Pod) -> None:
        for volume in pod.spec.volumes or ():
            claim = self._registry.claim(
                ClaimName(pod.metadata.namespace, f"{pod.metadata.name}-{volume.name}")
            )
            if claim is not None and any(
                owner.uid == pod.metadata.uid for owner in claim.metadata.owner_references
            ):
                self._store.remove_storage_of(claim)


def _size(volume: PersistentVolume) -> int:
    return _bytes((volume.spec.capacity or {}).get("storage"))


def _bytes(quantity: str | int | float | None) -> int:
    try:
        return 0 if quantity is None else parse(quantity)
    except QuantityError:
        return 0


def _large_enough(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    return _size(volume) >= _bytes(claim.size) and (volume.spec.volume_mode or FILESYSTEM) == (
        claim.spec.volume_mode or FILESYSTEM
    )


def _fits(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Whether a free volume does for a claim that waits for no pod."""
    return (
        volume.spec.claim_ref is None
        and volume.status.phase == AVAILABLE
        and volume.storage_class == claim.storage_class
        and _large_enough(volume, claim)
        and set(claim.spec.access_modes or ()) <= set(volume.spec.access_modes or ())
        and (
            claim.spec.selector is None
            or selector_of(claim.spec.selector).matches(volume.metadata.labels or {})
        )
    )
