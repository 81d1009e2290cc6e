"""What is known of storage, what we assume of it, and which pods use what.

A volume that a decision gives to a claim is assumed at once, so that no second pod is given it, and so is the node
for which a claim's volume is to be made. An assumption lasts until the cluster says the same, or until it is taken
back with the pod's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeVar

from engine.model.migrated import DRIVERS, handle_of
from engine.model.objects import PodKey
from engine.model.shape import Disk
from engine.model.storage import (
    ClaimName,
    ClaimUse,
    CSIDriver,
    CSINode,
    CSIStorageCapacity,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    StorageObject,
    VolumeAttachment,
    VolumeBindings,
)
from engine.state.attachments import Attachments, Handle
from engine.state.columns import Columns

_KEPT: Final = 8192
"""Changes of volumes that are remembered."""

Item = TypeVar(
    "Item",
    PersistentVolumeClaim,
    PersistentVolume,
    StorageClass,
    CSINode,
    CSIDriver,
    CSIStorageCapacity,
    VolumeAttachment,
)


class Volumes:
    """Storage as last seen, with what we assume.

    Args:
        columns: The nodes.

    Attributes:
        version: Grows with everything that can change where volumes are found.
        capacity_version: Grows with every change of what drivers say of free room.
        unknown: What is not known yet, so that no pod with claims can be placed; "" where all is.
        attachments: CSI volumes by node.
    """

    def __init__(self, columns: Columns) -> None:
        self.version = 0
        self.capacity_version = 0
        self.unknown = ""
        self.attachments = Attachments(columns, self.handle, self.attached_handle)
        self._changed: list[str] = []
        self._changed_base = 0
        self._claims: dict[ClaimName, PersistentVolumeClaim] = {}
        self._volumes: dict[str, PersistentVolume] = {}
        self._by_class: dict[str, dict[str, PersistentVolume]] = {}
        self._reserved: dict[ClaimName, set[str]] = {}
        self._naming: dict[str, set[ClaimName]] = {}
        self._classes: dict[str, StorageClass] = {}
        self._drivers: dict[str, CSIDriver] = {}
        self._capacities: dict[str, dict[ClaimName, CSIStorageCapacity]] = {}
        self._given: dict[str, tuple[PersistentVolumeClaim, set[PodKey]]] = {}
        self._given_to: dict[ClaimName, str] = {}
        self._made: dict[ClaimName, tuple[str, set[PodKey]]] = {}
        self._holders: dict[PodKey, VolumeBindings] = {}
        self._users: dict[ClaimName, Counter[int]] = {}
        self._pods_users: dict[ClaimName, int] = {}
        self._disks: dict[tuple[str, ...], dict[int, Counter[bool]]] = {}

    # Reading

    def claim(self, name: ClaimName) -> PersistentVolumeClaim | None:
        """The claim, None where it is not known."""
        return self._claims.get(name)

    def volume(self, name: str) -> PersistentVolume | None:
        """The volume, None where it is not known."""
        return self._volumes.get(name)

    def naming(self, volume: str) -> Iterable[ClaimName]:
        """The claims that name a volume as theirs."""
        return self._naming.get(volume, ())

    def storage_class(self, name: str) -> StorageClass | None:
        """The class, None where it is not known."""
        return self._classes.get(name)

    def volumes_of_class(self, name: str) -> Mapping[str, PersistentVolume]:
        """The volumes of a class, by name."""
        return self._by_class.get(name, {})

    def tracks_capacity(self, driver: str) -> bool:
        """Whether a driver wants volumes made only where it says that there is room."""
        found = self._drivers.get(driver)
        return found is not None and bool(found.spec.storage_capacity)

    def capacities(self, storage_class: str) -> Iterator[CSIStorageCapacity]:
        """What is left of a class, by part of the cluster."""
        return iter(self._capacities.get(storage_class, {}).values())

    @property
    def changes(self) -> int:
        """Grows with everything that can make a volume free, or no longer."""
        return self._changed_base + len(self._changed)

    def changed_since(self, changes: int) -> list[str] | None:
        """The volumes of the changes after that number, each once; None where one has to start over, as after -1."""
        start = changes - self._changed_base
        return list(dict.fromkeys(self._changed[start:])) if start >= 0 else None

    def _note(self, volume: str) -> None:
        self._changed.append(volume)
        if len(self._changed) > _KEPT:
            del self._changed[: _KEPT // 2]
            self._changed_base += _KEPT // 2

    def given(self, volume: str) -> bool:
        """Whether we assume that the volume is a claim's."""
        return volume in self._given

    def reserved(self, claim: PersistentVolumeClaim) -> list[str]:
        """The volumes that are this claim's, by what the cluster says and by what we assume, in no order."""
        found = {name for name in self._reserved.get(claim.name, ()) if self._volumes[name].is_for(claim)}
        assumed = self._given_to.get(claim.name)
        if assumed is not None and self._given[assumed][0].metadata.uid == claim.metadata.uid:
            found.add(assumed)
        return list(found)

    def selected_node(self, claim: PersistentVolumeClaim) -> str | None:
        """The node for which the claim's volume is being made, by what the cluster says or by what we assume."""
        assumed = self._made.get(claim.name)
        return assumed[0] if assumed is not None else claim.selected_node

    def used(self, claim: ClaimName) -> bool:
        """Whether a placed pod uses the claim, one that was not made for the pod alone."""
        return self._pods_users.get(claim, 0) > 0

    def disks(self, identity: tuple[str, ...]) -> Iterator[tuple[int, bool]]:
        """Where a disk is in use, and whether all there only read it."""
        for slot, uses in self._disks.get(identity, {}).items():
            yield slot, not uses[False]

    def handle(self, name: ClaimName) -> Handle | None:
        """The CSI volume of a claim; before it has one, that of its class's provisioner. None for other volumes."""
        claim = self._claims.get(name)
        if claim is None:
            return None
        volume = self._volumes.get(claim.spec.volume_name)
        if volume is not None:
            csi, old = volume.spec.csi, volume.spec.in_tree
            if csi is None and old is not None:
                migrated = handle_of(old, volume.metadata.labels)
                return Handle(*migrated) if migrated is not None and migrated[1] else None
            return Handle(csi.driver, csi.volume_handle) if csi and csi.driver and csi.volume_handle else None
        found = self._classes.get(claim.storage_class)
        if found is None:
            return None
        driver = DRIVERS.get(found.provisioner, found.provisioner)
        # No volume of a driver is called like this.
        return Handle(driver, f"\0{name}") if driver else None

    def attached_handle(self, volume: str, driver: str) -> Handle | None:
        """The handle of an attached volume."""
        found = self._volumes.get(volume)
        return Handle(driver, found.spec.csi.volume_handle) if found is not None and found.spec.csi else None

    # What the cluster says

    def put(self, item: StorageObject) -> bool:
        """Take over an object; one that is older than what is known is not taken.

        Returns:
            Whether anything changed.
        """
        match item:
            case PersistentVolumeClaim():
                if not _news(self._claims.get(item.name), item):
                    return False
                self._remove_claim(item.name)
                self._claims[item.name] = item
                if item.spec.volume_name:
                    self._naming.setdefault(item.spec.volume_name, set()).add(item.name)
                assumed = self._made.get(item.name)
                if assumed is not None and (item.spec.volume_name or item.selected_node == assumed[0]):
                    del self._made[item.name]
                self._touch_claim(item.name)
            case PersistentVolume():
                if not _news(self._volumes.get(item.metadata.name), item):
                    return False
                self._put_volume(item)
            case StorageClass():
                if not _news(self._classes.get(item.metadata.name), item):
                    return False
                self._classes[item.metadata.name] = item
                self.attachments.touch_all()
            case CSINode():
                self.attachments.put_csi_node(item)
            case CSIDriver():
                self._drivers[item.metadata.name] = item
                self.capacity_version += 1
            case CSIStorageCapacity():
                of_class = self._capacities.setdefault(item.storage_class_name, {})
                of_class[ClaimName(item.metadata.namespace, item.metadata.name)] = item
                self.capacity_version += 1
            case VolumeAttachment():
                self.attachments.put_attachment(item)
        self.version += 1
        return True

    def remove(self, item: StorageObject) -> None:
        """Forget an object that is gone."""
        name = item.metadata.name
        match item:
            case PersistentVolumeClaim():
                self._remove_claim(item.name)
                self._touch_claim(item.name)
            case PersistentVolume():
                self._remove_volume(name)
            case StorageClass():
                self._classes.pop(name, None)
                self.attachments.touch_all()
            case CSINode():
                self.attachments.remove_csi_node(name)
            case CSIDriver():
                self._drivers.pop(name, None)
                self.capacity_version += 1
            case CSIStorageCapacity():
                of_class = self._capacities.get(item.storage_class_name, {})
                of_class.pop(ClaimName(item.metadata.namespace, name), None)
                self.capacity_version += 1
                if not of_class:
                    self._capacities.pop(item.storage_class_name, None)
            case VolumeAttachment():
                self.attachments.remove_attachment(item)
        self.version += 1

    def _remove_claim(self, name: ClaimName) -> None:
        known = self._claims.pop(name, None)
        if known is not None and known.spec.volume_name:
            naming = self._naming[known.spec.volume_name]
            naming.discard(name)
            if not naming:
                del self._naming[known.spec.volume_name]

    def _put_volume(self, item: PersistentVolume) -> None:
        name = item.metadata.name
        self._remove_volume(name, gone=False)
        self._volumes[name] = item
        self._by_class.setdefault(item.storage_class, {})[name] = item
        reference = item.spec.claim_ref
        if reference is not None:
            claim = ClaimName(reference.namespace, reference.name)
            self._reserved.setdefault(claim, set()).add(name)
            assumed = self._given.get(name)
            if assumed is not None and item.is_for(assumed[0]) and reference.uid:
                self._take_back_volume(name)
        self._touch_volume(name)
        self._note(name)

    def _remove_volume(self, name: str, gone: bool = True) -> None:
        known = self._volumes.pop(name, None)
        if known is None:
            return
        of_class = self._by_class[known.storage_class]
        del of_class[name]
        if not of_class:
            del self._by_class[known.storage_class]
        reference = known.spec.claim_ref
        if reference is not None:
            claim = ClaimName(reference.namespace, reference.name)
            self._reserved[claim].discard(name)
            if not self._reserved[claim]:
                del self._reserved[claim]
        if gone:
            self._take_back_volume(name)
            self._touch_volume(name)
            self._note(name)

    def _touch_volume(self, name: str) -> None:
        for claim in self._naming.get(name, ()):
            self._touch_claim(claim)
        self.attachments.touch_volume(name)

    def _touch_claim(self, name: ClaimName) -> None:
        self.attachments.touch(self._users.get(name, ()))

    # What pods use

    def use(
        self,
        claims: tuple[ClaimUse, ...],
        disks: tuple[Disk, ...],
        slot: int,
        number: int,
        inline: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """A pod came to a slot (1) or left it (-1)."""
        for handle in inline:
            self.attachments.use(Handle(*handle), slot, number)
        for claim, owner in claims:
            _count(self._users, claim, slot, number)
            if owner is None:
                users = self._pods_users.get(claim, 0) + number
                if users:
                    self._pods_users[claim] = users
                else:
                    del self._pods_users[claim]
            self.attachments.use(claim, slot, number)
        for disk in disks:
            slots = self._disks.setdefault(disk.identity, {})
            _count(slots, slot, disk.shared, number)
            if not slots:
                del self._disks[disk.identity]

    # What we assume

    def assume(self, pod: PodKey, bindings: VolumeBindings) -> None:
        """Count volumes as given, and claims as being provided for, as a pod's bindings have it."""
        self._holders[pod] = bindings
        for volume, claim in bindings.given:
            _, holders = self._given.setdefault(volume.metadata.name, (claim, set()))
            holders.add(pod)
            self._given_to[claim.name] = volume.metadata.name
            self._note(volume.metadata.name)
        for claim in bindings.made:
            _, holders = self._made.setdefault(claim.name, (bindings.node, set()))
            holders.add(pod)
        self.version += 1

    def forget(self, pod: PodKey) -> None:
        """Take back what was assumed for a pod, and no other pod holds; nothing where nothing was."""
        bindings = self._holders.pop(pod, None)
        if bindings is None:
            return
        for volume, _ in bindings.given:
            assumed = self._given.get(volume.metadata.name)
            if assumed is not None:
                assumed[1].discard(pod)
                if not assumed[1]:
                    self._take_back_volume(volume.metadata.name)
        for claim in bindings.made:
            selected = self._made.get(claim.name)
            if selected is not None:
                selected[1].discard(pod)
                if not selected[1]:
                    del self._made[claim.name]
        self.version += 1

    def _take_back_volume(self, name: str) -> None:
        assumed = self._given.pop(name, None)
        self._note(name)
        if assumed is not None and self._given_to.get(assumed[0].name) == name:
            del self._given_to[assumed[0].name]

    @property
    def assumed(self) -> int:
        """How many volumes and claims we assume something of."""
        return len(self._given) + len(self._made)


_Key = TypeVar("_Key")
_Counted = TypeVar("_Counted")


def _count(index: dict[_Key, Counter[_Counted]], key: _Key, counted: _Counted, number: int) -> None:
    counts = index.setdefault(key, Counter())
    counts[counted] += number
    if not counts[counted]:
        del counts[counted]
        if not counts:
            del index[key]


def _news(known: Item | None, item: Item) -> bool:
    """Whether an object is not older than what is known, and says anything else. Versions of one server grow."""
    if known is None:
        return True
    before, after = known.metadata.resource_version, item.metadata.resource_version
    if before == after:
        return known != item
    return not (before.isdecimal() and after.isdecimal() and int(after) < int(before))
