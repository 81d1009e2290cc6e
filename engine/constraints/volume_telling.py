"""Which values decided about a pod's volumes on one node: for whoever explains a decision, never for deciding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.constraints.nodes import term_matches
from engine.constraints.protocol import Slots
from engine.constraints.telling_claims import VolumeElsewhere, VolumeInUse, VolumeLacking, VolumeLimit
from engine.constraints.volume_demand import Demand, Terms, places_of, size_of, terms_of, wanting
from engine.constraints.volume_matching import VolumeMatching
from engine.constraints.volume_pools import NONE
from engine.model.objects import Requirement
from engine.model.selectors import selector_of
from engine.model.shape import Disk
from engine.model.storage import (
    AVAILABLE,
    NO_PROVISIONER,
    ClaimName,
    ClaimUse,
    PersistentVolumeClaim,
    StorageClass,
)
from engine.state.attachments import Handle
from engine.state.columns import Columns
from engine.state.volumes import Volumes

_NANOS: Final = 10**9
_LARGEST: Final = 2**62
Sizes = NDArray[np.int64]

_OPERATORS: Final = {"Exists": "present", "DoesNotExist": "absent"}


def in_use(
    volumes: Volumes, disks: Iterable[Disk], alone: Iterable[ClaimName], slot: int
) -> list[VolumeInUse]:
    """Disks that are taken on the node, and claims that another pod has anywhere."""
    taken = [
        VolumeInUse("/".join(part for part in disk.identity if part), claim=False)
        for disk in disks
        if any(at == slot and not (disk.shared and read) for at, read in volumes.disks(disk.identity))
    ]
    return taken + [VolumeInUse(str(name), claim=True) for name in alone if volumes.used(name)]


def over_limit(volumes: Volumes, mounted: Iterable[tuple[Handle, int]], slot: int) -> list[VolumeLimit]:
    """Drivers of which the node takes no more."""
    attachments = volumes.attachments
    more: dict[str, int] = {}
    for handle, number in mounted:
        new = 0 if slot in attachments.slots(handle) else number
        more[handle.driver] = more.get(handle.driver, 0) + new
    found = (
        VolumeLimit(driver, new, int(attachments.counts(driver)[slot]), int(attachments.limits(driver)[slot]))
        for driver, new in more.items()
        if new
    )
    return [one for one in found if one.gap > 0]


def out_of_zone(
    volumes: Volumes, columns: Columns, uses: tuple[ClaimUse, ...], slot: int
) -> list[VolumeElsewhere]:
    """Volumes whose labels say that they are in another zone or region."""
    labels = columns.labels.of(slot)
    found = []
    for name, owner in uses:
        claim = volumes.claim(name)
        volume = None if claim is None or owner is not None else volumes.volume(claim.spec.volume_name)
        if claim is None or volume is None:
            continue
        for place in places_of(volume):
            here = labels.get(place.label, labels.get(place.instead))
            if here not in place.values:
                wanted = f"{place.label} in [{', '.join(sorted(place.values))}]"
                shown = f"{place.label}={here}" if here is not None else f"no {place.label}"
                found.append(
                    VolumeElsewhere(str(name), volume.metadata.name, claim.storage_class, wanted, shown)
                )
    return found


class VolumeRoom:
    """What could be had of a storage class, for all nodes at once: there may be as many volumes as nodes.

    Args:
        matching: Knows which nodes reach what.
    """

    def __init__(self, matching: VolumeMatching) -> None:
        self.matching = matching
        self.volumes, self.columns = matching.cache.volumes, matching.cache.columns
        self._kept: dict[tuple[str, bool], Sizes] = {}
        self._moment: tuple[int, ...] = ()

    def free(self, storage_class: str, slot: int) -> int | None:
        """The size in bytes of the largest volume that nobody has and the node reaches; None where there is none."""
        return self._at((storage_class, True), slot)

    def makeable(self, storage_class: str, slot: int) -> int | None:
        """The size in bytes of the largest that could be made there, as drivers say; None where they say nothing."""
        return self._at((storage_class, False), slot)

    def _at(self, key: tuple[str, bool], slot: int) -> int | None:
        volumes, columns = self.volumes, self.columns
        moment = (volumes.version, volumes.capacity_version, columns.node_changes.version, columns.capacity)
        if moment != self._moment:
            self._moment = moment
            self._kept.clear()
        sizes = self._kept.get(key)
        if sizes is None:
            sizes = self._kept[key] = np.full(columns.capacity, -1, dtype=np.int64)
            for slots, size in self._free(key[0]) if key[1] else self._makeable(key[0]):
                sizes[slots] = np.maximum(sizes[slots], min(size // _NANOS, _LARGEST))
        size = int(sizes[slot])
        return None if size < 0 else size

    def _free(self, storage_class: str) -> Iterator[tuple[Slots, int]]:
        for name, one in self.volumes.volumes_of_class(storage_class).items():
            taken = one.spec.claim_ref is not None or self.volumes.given(name)
            if one.status.phase == AVAILABLE and not taken:
                size = size_of((one.spec.capacity or {}).get("storage"))
                yield self.matching.reached(terms_of(one)), size

    def _makeable(self, storage_class: str) -> Iterator[tuple[Slots, int]]:
        for one in self.volumes.capacities(storage_class):
            most = one.capacity if one.maximum_volume_size is None else one.maximum_volume_size
            if most is not None and one.node_topology is not None:
                yield self.matching.selected(selector_of(one.node_topology)), size_of(most)


def not_to_be_had(
    room: VolumeRoom, uses: tuple[ClaimUse, ...], demand: Demand, slot: int
) -> list[VolumeElsewhere | VolumeLacking]:
    """Claims whose volumes the node does not reach, and claims that get none there."""
    volumes, columns, found = room.volumes, room.columns, room.matching.find(demand)
    told: list[VolumeElsewhere | VolumeLacking] = []
    for name, _ in uses:
        claim = volumes.claim(name)
        if claim is None or not claim.bound:
            continue
        bound_to = claim.spec.volume_name
        volume = volumes.volume(bound_to)
        if volume is None:
            told.append(VolumeElsewhere(str(name), bound_to, claim.storage_class, None))
            continue
        terms = terms_of(volume)
        if terms is not None and not reaches(columns, terms, slot):
            wanted, here = terms_text(terms), labels_text(columns, terms, slot)
            told.append(VolumeElsewhere(str(name), bound_to, claim.storage_class, wanted, here))
    for position, claim in enumerate(wanting(volumes, uses)):
        node = demand.wanted[position].selected
        if node is not None and columns.slot(node) != slot:
            told.append(_lacking(claim, "other-node", None, node))
        elif found.chosen and found.chosen[position][slot] == NONE:
            lacking = _unmade(room, claim, slot)
            if lacking is not None:
                told.append(lacking)
    return told


def _unmade(room: VolumeRoom, claim: PersistentVolumeClaim, slot: int) -> VolumeLacking | None:
    """Why a claim that finds no volume on a node does not get one made there, None where it does."""
    of = room.volumes.storage_class(claim.storage_class)
    if of is None or of.provisioner in ("", NO_PROVISIONER):
        return _lacking(claim, "no-volume", room.free(claim.storage_class, slot))
    allowed = list(_allowed(of))
    if of.allowed_topologies and not any(
        all(_at(room.columns, slot, one.key) in (one.values or ()) for one in term) for term in allowed
    ):
        text = " or ".join(" and ".join(_requirement_text(one) for one in term) for term in allowed)
        return _lacking(claim, "topology", None, text or "no node is")
    if claim.size is None or not room.volumes.tracks_capacity(of.provisioner):
        return None
    most = room.makeable(of.metadata.name, slot)
    # In whole bytes, as it is shown.
    return (
        _lacking(claim, "capacity", most)
        if most is None or most < -(-size_of(claim.size) // _NANOS)
        else None
    )


def _allowed(of: StorageClass) -> Iterator[tuple[Requirement, ...]]:
    for term in of.allowed_topologies or ():
        if term.match_label_expressions:
            yield tuple(Requirement(one.key, "In", one.values) for one in term.match_label_expressions)


def _lacking(
    claim: PersistentVolumeClaim, why: str, available: int | None = None, detail: str = ""
) -> VolumeLacking:
    requested = None if claim.size is None else size_of(claim.size) // _NANOS
    return VolumeLacking(str(claim.name), claim.storage_class, requested, why, available, detail)


def reaches(columns: Columns, terms: Terms, slot: int) -> bool:
    """Whether one of the terms holds for the node in a slot."""
    where = np.array([slot])
    return any(bool(term_matches(term, columns, where)[0]) for term in terms)


def terms_text(terms: Terms) -> str:
    """The terms for people; nothing that asks for nothing holds anywhere."""
    texts = []
    for term in terms:
        parts = [
            _requirement_text(one) for one in (*(term.match_expressions or ()), *(term.match_fields or ()))
        ]
        if parts:
            texts.append(" and ".join(parts))
    return " or ".join(texts) or "what no node has"


def labels_text(columns: Columns, terms: Terms, slot: int) -> str:
    """What a node has of the labels that the terms ask for."""
    keys = dict.fromkeys(one.key for term in terms for one in term.match_expressions or ())
    named = any(term.match_fields for term in terms)
    parts = [f"the name {columns.names[slot]}"] if named else []
    for key in keys:
        value = _at(columns, slot, key)
        parts.append(f"no {key}" if value is None else f"{key}={value}")
    return ", ".join(parts) or "nothing of that"


def _at(columns: Columns, slot: int, key: str) -> str | None:
    return columns.labels.of(slot).get(key)


def _requirement_text(one: Requirement) -> str:
    values = ", ".join(one.values or ())
    match one.operator:
        case "In":
            return f"{one.key} in [{values}]"
        case "NotIn":
            return f"{one.key} not in [{values}]"
        case "Gt" | "Lt":
            return f"{one.key} {'>' if one.operator == 'Gt' else '<'} {values}"
        case _:
            return f"{one.key} {_OPERATORS.get(one.operator, one.operator)}"
