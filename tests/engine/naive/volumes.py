"""Where volumes let a pod go: one node after another, one claim after another, as the rules are told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from engine.model.objects import LabelSelector, Node, NodeSelectorTerm, Pod, Requirement
from engine.model.storage import (
    CSIDriver,
    CSINode,
    CSIStorageCapacity,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    StorageObject,
    VolumeAttachment,
)

ZONES = (
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
)
UNITS = {"Gi": 2**30, "Mi": 2**20, "": 1}


@dataclass
class Storage:
    """All objects, by kind and name; no indexes."""

    objects: list[StorageObject] = field(default_factory=list)

    def put(self, item: StorageObject) -> None:
        self.remove(item)
        self.objects.append(item)

    def remove(self, item: StorageObject) -> None:
        self.objects = [one for one in self.objects if not same(one, item)]

    def claim(self, namespace: str, name: str) -> PersistentVolumeClaim | None:
        for one in self.objects:
            if isinstance(one, PersistentVolumeClaim) and one.name == (namespace, name):
                return one
        return None

    def volume(self, name: str) -> PersistentVolume | None:
        return next((one for one in self.volumes() if one.metadata.name == name), None)

    def volumes(self) -> list[PersistentVolume]:
        return [one for one in self.objects if isinstance(one, PersistentVolume)]

    def of_class(self, name: str) -> StorageClass | None:
        for one in self.objects:
            if isinstance(one, StorageClass) and one.metadata.name == name:
                return one
        return None


def same(one: StorageObject, other: StorageObject) -> bool:
    return (
        type(one) is type(other)
        and one.metadata.name == other.metadata.name
        and one.metadata.namespace == other.metadata.namespace
    )


def size(quantity: str | int | float | None) -> Fraction:
    text = str(quantity or "0")
    unit = text[-2:] if text[-2:] in UNITS else ""
    return Fraction(text[: len(text) - len(unit)]) * UNITS[unit]


def uses(pod: Pod) -> list[tuple[str, bool]]:
    """Names of claims, and whether each is made for the pod alone."""
    found = []
    for volume in pod.spec.volumes or ():
        if volume.persistent_volume_claim is not None:
            found.append((volume.persistent_volume_claim.claim_name, False))
        elif volume.ephemeral is not None:
            found.append((f"{pod.metadata.name}-{volume.name}", True))
    return list(dict.fromkeys(found))


def trouble(storage: Storage, pod: Pod) -> bool:
    """Whether no node at all will do."""
    for name, own in uses(pod):
        claim = storage.claim(pod.metadata.namespace, name)
        if claim is None or claim.status.phase == "Lost" or claim.metadata.deletion_timestamp is not None:
            return True
        if own and not any(
            owner.controller and owner.uid == pod.metadata.uid for owner in claim.metadata.owner_references
        ):
            return True
        if not claim.bound:
            of = storage.of_class(claim.storage_class)
            if of is None or of.volume_binding_mode != "WaitForFirstConsumer" or claim.spec.volume_name:
                return True
        elif not own and storage.volume(claim.spec.volume_name) is None:
            return True
    return False


def refusals(storage: Storage, placed: Iterable[Pod], pod: Pod, node: Node) -> list[str]:
    """The plugins that refuse the node, of a pod without `trouble`, in their order."""
    others = [other for other in placed if other.spec.node_name]
    here = [other for other in others if other.spec.node_name == node.name]
    found = []
    if in_use(storage, others, pod):
        found.append("VolumeRestrictions")
    if too_many(storage, here, pod, node):
        found.append("NodeVolumeLimits")
    if match(storage, pod, node) is None:
        found.append("VolumeBinding")
    if elsewhere(storage, pod, node):
        found.append("VolumeZone")
    return found


def in_use(storage: Storage, others: Iterable[Pod], pod: Pod) -> bool:
    for name, own in uses(pod):
        claim = storage.claim(pod.metadata.namespace, name)
        if own or claim is None or "ReadWriteOncePod" not in (claim.spec.access_modes or ()):
            continue
        for other in others:
            if other.metadata.namespace == pod.metadata.namespace and (name, False) in uses(other):
                return True
    return False


def handle(storage: Storage, namespace: str, name: str) -> tuple[str, str] | None:
    claim = storage.claim(namespace, name)
    if claim is None:
        return None
    volume = storage.volume(claim.spec.volume_name)
    if volume is not None:
        return (volume.spec.csi.driver, volume.spec.csi.volume_handle) if volume.spec.csi else None
    of = storage.of_class(claim.storage_class)
    return (of.provisioner, f"claim {namespace}/{name}") if of is not None else None


def too_many(storage: Storage, here: Iterable[Pod], pod: Pod, node: Node) -> bool:
    new = {handle(storage, pod.metadata.namespace, name) for name, _ in uses(pod)}
    there = {handle(storage, other.metadata.namespace, name) for other in here for name, _ in uses(other)}
    for one in storage.objects:
        if isinstance(one, VolumeAttachment) and one.spec.node_name == node.name:
            volume = storage.volume(one.spec.source.persistent_volume_name or "")
            if volume is not None and volume.spec.csi is not None:
                there.add((one.spec.attacher, volume.spec.csi.volume_handle))
    for one in storage.objects:
        if isinstance(one, CSINode) and one.metadata.name == node.name:
            for driver in one.spec.drivers or ():
                if driver.allocatable is None or driver.allocatable.count is None:
                    continue
                added = [h for h in new - there if h is not None and h[0] == driver.name]
                all_ = [h for h in there if h is not None and h[0] == driver.name]
                if added and len(added) + len(all_) > driver.allocatable.count:
                    return True
    return False


def elsewhere(storage: Storage, pod: Pod, node: Node) -> bool:
    labels = node.metadata.labels or {}
    if not any(label in labels for label in ZONES):
        return False
    for name, own in uses(pod):
        claim = storage.claim(pod.metadata.namespace, name)
        volume = storage.volume(claim.spec.volume_name) if claim is not None and not own else None
        if volume is None:
            continue
        for label in ZONES:
            if label not in (volume.metadata.labels or {}):
                continue
            value = labels.get(label, labels.get(label.replace("failure-domain.beta.kub", "topology.kub")))
            if value not in (volume.metadata.labels or {})[label].split("__"):
                return True
    return False


def holds(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    if requirement.operator == "In":
        return value in (requirement.values or ())
    if requirement.operator == "NotIn":
        return value not in (requirement.values or ())
    return (value is not None) == (requirement.operator == "Exists")


def selected(selector: LabelSelector | None, labels: Mapping[str, str]) -> bool:
    if selector is None:
        return False
    return all(labels.get(key) == value for key, value in (selector.match_labels or {}).items()) and all(
        holds(one, labels) for one in selector.match_expressions or ()
    )


def reaches(volume: PersistentVolume, node: Node) -> bool:
    affinity = volume.spec.node_affinity
    if affinity is None or affinity.required is None:
        return True
    labels = node.metadata.labels or {}

    def term(one: NodeSelectorTerm) -> bool:
        return bool(one.match_expressions) and all(holds(r, labels) for r in one.match_expressions or ())

    return any(term(one) for one in affinity.required.node_selector_terms)


def match(storage: Storage, pod: Pod, node: Node) -> dict[str, str] | None:
    """For each claim without a volume the volume that it gets on the node, "" for one to be made; None for no."""
    claims = [storage.claim(pod.metadata.namespace, name) for name, _ in uses(pod)]
    wanting = []
    for claim in claims:
        assert claim is not None
        if not claim.bound:
            wanting.append(claim)
            continue
        volume = storage.volume(claim.spec.volume_name)
        if volume is None or not reaches(volume, node):
            return None
    if any(claim.selected_node not in (None, node.name) for claim in wanting):
        return None
    result: dict[str, str] = {}
    taken: set[str] = set()
    for claim in sorted(
        (one for one in wanting if one.selected_node is None), key=lambda one: size(one.size)
    ):
        found = find(storage, claim, node, taken)
        if found:
            taken.add(found)
            result[claim.metadata.name] = found
    for claim in wanting:
        if claim.metadata.name not in result:
            if not can_make(storage, claim, node):
                return None
            result[claim.metadata.name] = ""
    return result


def find(storage: Storage, claim: PersistentVolumeClaim, node: Node, taken: set[str]) -> str:
    usable = [
        volume
        for volume in storage.volumes()
        if volume.storage_class == claim.storage_class
        and volume.metadata.name not in taken
        and size((volume.spec.capacity or {})["storage"]) >= size(claim.size)
        and (volume.spec.volume_mode or "Filesystem") == (claim.spec.volume_mode or "Filesystem")
        and volume.metadata.deletion_timestamp is None
    ]
    usable.sort(key=lambda one: (size((one.spec.capacity or {})["storage"]), one.metadata.name))
    for volume in usable:
        if volume.is_for(claim):
            return volume.metadata.name if reaches(volume, node) else ""
    for volume in usable:
        if (
            volume.spec.claim_ref is None
            and volume.status.phase == "Available"
            and all(mode in (volume.spec.access_modes or ()) for mode in claim.spec.access_modes or ())
            and (claim.spec.selector is None or selected(claim.spec.selector, volume.metadata.labels or {}))
            and reaches(volume, node)
        ):
            return volume.metadata.name
    return ""


def can_make(storage: Storage, claim: PersistentVolumeClaim, node: Node) -> bool:
    of = storage.of_class(claim.storage_class)
    if of is None or of.provisioner in ("", "kubernetes.io/no-provisioner"):
        return False
    labels = node.metadata.labels or {}
    if of.allowed_topologies and not any(
        term.match_label_expressions
        and all(labels.get(one.key) in one.values for one in term.match_label_expressions)
        for term in of.allowed_topologies
    ):
        return False
    tracked = any(
        isinstance(one, CSIDriver) and one.metadata.name == of.provisioner and one.spec.storage_capacity
        for one in storage.objects
    )
    if not tracked or claim.size is None:
        return True
    for one in storage.objects:
        if isinstance(one, CSIStorageCapacity) and one.storage_class_name == of.metadata.name:
            most = one.capacity if one.maximum_volume_size is None else one.maximum_volume_size
            if most is not None and size(most) >= size(claim.size) and selected(one.node_topology, labels):
                return True
    return False
