"""Which nodes a pod's volumes let it run on.

Sources: kube-scheduler's plugins VolumeRestrictions, NodeVolumeLimits, VolumeBinding and VolumeZone.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from engine.constraints.protocol import Depends, Filter, Mask, Slots
from engine.constraints.telling import Value
from engine.constraints.volume_demand import ZONE_LABELS, Demand, wanting
from engine.constraints.volume_matching import VolumeMatching
from engine.constraints.volume_telling import VolumeRoom, in_use, not_to_be_had, out_of_zone, over_limit
from engine.model.shape import Disk, Shape
from engine.model.storage import (
    ClaimName,
    ClaimUse,
    PersistentVolume,
    PersistentVolumeClaim,
    VolumeBindings,
)
from engine.state.cache import Cache
from engine.state.labels import Where
from engine.state.pods import PlacedPod


class VolumeRestrictions:
    """Keeps a pod off disks that another pod of the node writes, and off claims that only one pod may use."""

    name = "VolumeRestrictions"
    citation = None
    depends = Depends.USAGE | Depends.CENSUS | Depends.VOLUMES

    def __init__(self, disks: tuple[Disk, ...], alone: tuple[ClaimName, ...], cache: Cache) -> None:
        self._disks = disks
        self._alone = alone
        self._columns = cache.columns
        self._volumes = cache.volumes

    def passes(self, where: Where) -> Mask:
        """True where nothing is in another pod's way."""
        if self._in_use():
            return np.zeros_like(self._columns.alive[where])
        return ~self._taken()[where]

    def reasons(self, refused: Slots) -> Counter[str]:
        """A disk, else the claim."""
        disks = int(np.count_nonzero(self._taken()[refused]))
        reasons = Counter({"node(s) had no available disk": disks}) if disks else Counter[str]()
        if len(refused) > disks:
            reasons[
                "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use "
                "by another pod"
            ] = len(refused) - disks
        return reasons

    def values_of(self, slot: int, pod: PlacedPod) -> tuple[Value, ...]:  # noqa: ARG002  (the protocol's)
        """What is in use."""
        return tuple(in_use(self._volumes, self._disks, self._alone, slot))

    def _in_use(self) -> bool:
        return any(self._volumes.used(claim) for claim in self._alone)

    def _taken(self) -> Mask:
        mask = np.zeros(self._columns.capacity, dtype=np.bool_)
        for disk in self._disks:
            for slot, read in self._volumes.disks(disk.identity):
                if not (disk.shared and read):
                    mask[slot] = True
        return mask


class NodeVolumeLimits:
    """Keeps a pod off nodes that take no more volumes of a CSI driver. One that is on the node already is no more."""

    name = "NodeVolumeLimits"
    citation = None
    depends = Depends.USAGE | Depends.VOLUMES

    def __init__(self, demand: Demand, cache: Cache) -> None:
        self._mounted = demand.mounted
        self._columns = cache.columns
        self._volumes = cache.volumes
        self._attachments = cache.volumes.attachments

    def passes(self, where: Where) -> Mask:
        """True where the limit of no driver would be exceeded."""
        mask = np.ones_like(self._columns.alive[where])
        for driver in dict.fromkeys(handle.driver for handle, _ in self._mounted):
            more = np.zeros(self._columns.capacity, dtype=np.int64)
            for handle, number in self._mounted:
                if handle.driver == driver:
                    more += number
                    more[list(self._attachments.slots(handle))] -= number
            limits, counts = self._attachments.limits(driver)[where], self._attachments.counts(driver)[where]
            new = more[where]
            mask &= (new == 0) | (counts + new <= limits)
        return mask

    def reasons(self, refused: Slots) -> Counter[str]:
        """One sentence for all."""
        return Counter({"node(s) exceed max volume count": len(refused)})

    def values_of(self, slot: int, pod: PlacedPod) -> tuple[Value, ...]:  # noqa: ARG002  (the protocol's)
        """The drivers of which there would be too many."""
        return tuple(over_limit(self._volumes, self._mounted, slot))


class VolumeBinding:
    """Keeps a pod to the nodes that reach its volumes, and where those that it lacks can be found or made."""

    name = "VolumeBinding"
    citation = None
    depends = Depends.NODE | Depends.VOLUMES

    def __init__(self, demand: Demand, matching: VolumeMatching) -> None:
        self._demand = demand
        self._matching = matching
        self._room: VolumeRoom | None = None

    def passes(self, where: Where) -> Mask:
        """True where every claim has, or can get, its volume."""
        mask: Mask = ~self._matching.find(self._demand).refused[where]
        return mask

    def reasons(self, refused: Slots) -> Counter[str]:
        """A node may have several."""
        found = self._matching.find(self._demand)
        sentences = {
            "node(s) didn't match PersistentVolume's node affinity": found.out_of_reach,
            "node(s) didn't find available persistent volumes to bind": found.unmatched,
            "node(s) did not have enough free storage": found.crowded,
            "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)": found.missing,
        }
        counts = {sentence: int(np.count_nonzero(mask[refused])) for sentence, mask in sentences.items()}
        return Counter({sentence: count for sentence, count in counts.items() if count})

    def values_of(self, slot: int, pod: PlacedPod) -> tuple[Value, ...]:
        """The claims whose volumes are elsewhere, and those that get none there."""
        if self._room is None:
            self._room = VolumeRoom(self._matching)
        return tuple(not_to_be_had(self._room, pod.claims, self._demand, slot))


class VolumeZone:
    """Keeps a pod to the zones and regions of its volumes, as their labels say; a node that says none is in all."""

    name = "VolumeZone"
    citation = None
    depends = Depends.NODE | Depends.VOLUMES

    def __init__(self, demand: Demand, cache: Cache) -> None:
        self._places = demand.places
        self._columns = cache.columns
        self._volumes = cache.volumes

    def passes(self, where: Where) -> Mask:
        """True where every label agrees."""
        labels = self._columns.labels
        mask = np.ones_like(self._columns.alive[where])
        for place in self._places:
            own = labels.column(place.label)
            agrees = own.among(place.values, where)
            if place.instead != place.label:
                agrees |= ~own.present(where) & labels.column(place.instead).among(place.values, where)
            mask &= agrees
        located = np.zeros_like(mask)
        for label in ZONE_LABELS:
            located |= labels.column(label).present(where)
        verdict: Mask = mask | ~located
        return verdict

    def reasons(self, refused: Slots) -> Counter[str]:
        """One sentence for all."""
        return Counter({"node(s) had no available volume zone": len(refused)})

    def values_of(self, slot: int, pod: PlacedPod) -> tuple[Value, ...]:
        """The volumes that are elsewhere."""
        return tuple(out_of_zone(self._volumes, self._columns, pod.claims, slot))


def volume_filters(
    shape: Shape, demand: Demand | None, cache: Cache, matching: VolumeMatching
) -> list[Filter]:
    """The filters that apply to a pod, in the stock scheduler's order.

    Args:
        shape: The pod's.
        demand: None where it has neither claims nor volumes of its own that count.
        cache: The nodes and the storage.
        matching: Finds volumes.
    """
    filters: list[Filter] = []
    alone = demand.alone if demand is not None else ()
    if shape.disks or alone:
        filters.append(VolumeRestrictions(shape.disks, alone, cache))
    if demand is None:
        return filters
    if demand.mounted:
        filters.append(NodeVolumeLimits(demand, cache))
    if demand.reaches or demand.wanted:
        filters.append(VolumeBinding(demand, matching))
    if demand.places:
        filters.append(VolumeZone(demand, cache))
    return filters


def volume_bindings(
    claims: tuple[ClaimUse, ...], demand: Demand, cache: Cache, matching: VolumeMatching, slot: int
) -> VolumeBindings | None:
    """What a pod's claims get on a node that passes; None where all have their volumes."""
    if not demand.wanted:
        return None
    found = matching.find(demand)
    given: list[tuple[PersistentVolume, PersistentVolumeClaim]] = []
    made: list[PersistentVolumeClaim] = []
    for claim, chosen in zip(wanting(cache.volumes, claims), found.chosen, strict=True):
        index = int(chosen[slot])
        volume = cache.volumes.volume(found.volumes[index]) if index >= 0 else None
        if volume is not None:
            given.append((volume, claim))
        else:
            made.append(claim)
    return VolumeBindings(cache.columns.names[slot], tuple(given), tuple(made))
