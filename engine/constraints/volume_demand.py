"""What a pod's claims come to: where its volumes are, and what has to be found for claims that have none.

A demand names no claim where it need not, so that pods whose claims are alike have equal demands, and share what is
worked out for the first of them.

Sources: kube-scheduler's plugins VolumeRestrictions, NodeVolumeLimits, VolumeBinding and VolumeZone (what each does
before it looks at nodes, in that order).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from engine.model.migrated import terms_where_migrated
from engine.model.objects import NodeSelectorTerm, PodKey
from engine.model.quantity import QuantityError, parse
from engine.model.selectors import Selector, selector_of
from engine.model.storage import (
    FILESYSTEM,
    LOST,
    ONE_POD,
    ClaimName,
    ClaimUse,
    PersistentVolume,
    PersistentVolumeClaim,
)
from engine.model.well_known import REGION, ZONE
from engine.state.attachments import Handle
from engine.state.volumes import Volumes

Terms = tuple[NodeSelectorTerm, ...]
"""Of which one must hold."""

_OLD: Final = {
    "failure-domain.beta.kubernetes.io/zone": ZONE,
    "failure-domain.beta.kubernetes.io/region": REGION,
}
ZONE_LABELS: Final = (*_OLD, ZONE, REGION)
"""Labels of volumes that say where they are, and of nodes."""


class Place(NamedTuple):
    """A label that says where a volume is: a node must have one of the values, if it says where it is at all.

    Attributes:
        label: Of the node.
        instead: The label that counts where the node lacks that one.
    """

    label: str
    instead: str
    values: frozenset[str]


class Reach(NamedTuple):
    """Which nodes reach the volume of a bound claim.

    Attributes:
        terms: None for all of them.
        exists: Whether there is such a volume at all.
        plugin: The driver, once part of Kubernetes, which a CSI driver serves on some nodes; "" for others.
        migrated: The terms on those.
    """

    terms: Terms | None
    exists: bool = True
    plugin: str = ""
    migrated: Terms | None = None


class Mounted(NamedTuple):
    """CSI volumes that count against a node's limit.

    Attributes:
        handle: Which; "" as the volume for such as are on no node, which are only counted.
        number: How many.
    """

    handle: Handle
    number: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a claim without a volume asks for, where it waits for its first consumer.

    Attributes:
        storage_class: The class.
        size: In billionths of a byte; 0 where it asks for no storage.
        sized: Whether it asks for an amount.
        modes: The access modes that a volume must have.
        selector: Of the volume's labels; None for any.
        mode: Filesystem or Block.
        attributes: The volume attributes class.
        selected: The node for which the volume is being made, None while none is chosen.
        reserved: The volumes that are this claim's already, though it does not say so yet.
    """

    storage_class: str
    size: int = 0
    sized: bool = False
    modes: tuple[str, ...] = ()
    selector: Selector | None = None
    mode: str = FILESYSTEM
    attributes: str = ""
    selected: str | None = None
    reserved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Demand:
    """What a pod's claims come to.

    Attributes:
        trouble: Why no node will do, "" where one may.
        alone: Claims that no other pod may use at the same time.
        reaches: Of the bound claims.
        places: Of the bound claims' volumes.
        wanted: Of the others, in the order of the pod's volumes.
        mounted: CSI volumes.
    """

    trouble: str = ""
    alone: tuple[ClaimName, ...] = ()
    reaches: tuple[Reach, ...] = ()
    places: tuple[Place, ...] = ()
    wanted: tuple[Wanted, ...] = ()
    mounted: tuple[Mounted, ...] = ()


def size_of(quantity: str | int | float | None) -> int:
    """A size in billionths of a byte; 0 where there is none, or none that can be read."""
    if quantity is None:
        return 0
    try:
        return parse(quantity)
    except QuantityError:
        return 0


def demand_of(
    volumes: Volumes, uses: tuple[ClaimUse, ...], inline: tuple[tuple[str, str], ...] = ()
) -> Demand:
    """What the claims come to, and the volumes that the pod names itself, as things stand.

    Args:
        volumes: Storage.
        uses: The claims.
        inline: Driver and handle of each of the volumes.
    """
    trouble = volumes.unknown or _trouble(volumes, uses)
    if trouble:
        return Demand(trouble)
    claims = list(_claims(volumes, uses))
    bound = [claim for claim in claims if claim.bound]
    return Demand(
        alone=tuple(
            claim.name
            for claim, (_, owner) in zip(claims, uses, strict=True)
            if owner is None and ONE_POD in (claim.spec.access_modes or ())
        ),
        reaches=tuple(dict.fromkeys(_reach(volumes.volume(claim.spec.volume_name)) for claim in bound)),
        places=tuple(
            dict.fromkeys(
                place
                for claim, (_, owner) in zip(claims, uses, strict=True)
                if owner is None and (volume := volumes.volume(claim.spec.volume_name)) is not None
                for place in places_of(volume)
            )
        ),
        wanted=tuple(_wanted(volumes, claim) for claim in claims if not claim.bound),
        mounted=_mounted(volumes, uses, inline),
    )


def wanting(volumes: Volumes, uses: tuple[ClaimUse, ...]) -> list[PersistentVolumeClaim]:
    """The claims that ``wanted`` of the demand is of, in its order."""
    return [claim for claim in _claims(volumes, uses) if not claim.bound]


def _claims(volumes: Volumes, uses: tuple[ClaimUse, ...]) -> Iterator[PersistentVolumeClaim]:
    for name, _ in uses:
        claim = volumes.claim(name)
        if claim is not None:
            yield claim


def _trouble(volumes: Volumes, uses: tuple[ClaimUse, ...]) -> str:
    """What the plugins refuse before they look at nodes."""
    for name, owner in uses:
        if owner is None and volumes.claim(name) is None:
            return f'persistentvolumeclaim "{name.name}" not found'
    for name, owner in uses:
        claim = volumes.claim(name)
        if claim is None:
            return (
                f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name.name}"'
            )
        if claim.status.phase == LOST:
            return (
                f'persistentvolumeclaim "{name.name}" bound to non-existent persistentvolume '
                f'"{claim.spec.volume_name}"'
            )
        if claim.metadata.deletion_timestamp is not None:
            return f'persistentvolumeclaim "{name.name}" is being deleted'
        if owner is not None and not _made_for(claim, owner):
            return f"PVC {name} was not created for pod {owner} (pod is not owner)"
    for claim in _claims(volumes, uses):
        if not claim.bound and not _waits(volumes, claim):
            return "pod has unbound immediate PersistentVolumeClaims"
    for name, owner in uses:
        claim = volumes.claim(name)
        if owner is not None or claim is None or not claim.bound:
            continue
        if volumes.volume(claim.spec.volume_name) is None:
            return f'persistentvolume "{claim.spec.volume_name}" not found'
    return ""


def _made_for(claim: PersistentVolumeClaim, pod: PodKey) -> bool:
    return any(owner.controller and owner.uid == pod.uid for owner in claim.metadata.owner_references)


def _waits(volumes: Volumes, claim: PersistentVolumeClaim) -> bool:
    """Whether we are to find the claim's volume. One that names its volume waits for the controller that binds it."""
    found = volumes.storage_class(claim.storage_class)
    return found is not None and found.delayed and not claim.spec.volume_name


def _reach(volume: PersistentVolume | None) -> Reach:
    if volume is None:
        return Reach(None, False)
    migrated = terms_where_migrated(volume)
    if migrated is None:
        return Reach(terms_of(volume))
    plugin, terms = migrated
    return Reach(terms_of(volume), True, plugin.name, terms)


def terms_of(volume: PersistentVolume) -> Terms | None:
    """The terms of the volume's node affinity, None where every node reaches it."""
    affinity = volume.spec.node_affinity
    if affinity is None or affinity.required is None:
        return None
    return affinity.required.node_selector_terms


def places_of(volume: PersistentVolume) -> Iterator[Place]:
    """Where the labels of a volume say that it is; a label with an empty value among others is ignored, as there."""
    labels = volume.metadata.labels or {}
    for label in ZONE_LABELS:
        if label in labels:
            values = [value.strip() for value in labels[label].split("__")]
            if all(values):
                yield Place(label, _OLD.get(label, label), frozenset(values))


def _wanted(volumes: Volumes, claim: PersistentVolumeClaim) -> Wanted:
    spec = claim.spec
    return Wanted(
        storage_class=claim.storage_class,
        size=size_of(claim.size),
        sized=claim.size is not None,
        modes=tuple(sorted(set(spec.access_modes or ()))),
        selector=None if spec.selector is None else selector_of(spec.selector),
        mode=spec.volume_mode or FILESYSTEM,
        attributes=spec.volume_attributes_class_name or "",
        selected=volumes.selected_node(claim),
        reserved=tuple(sorted(volumes.reserved(claim))),
    )


def _mounted(
    volumes: Volumes, uses: tuple[ClaimUse, ...], inline: tuple[tuple[str, str], ...]
) -> tuple[Mounted, ...]:
    handles = {handle for name, _ in uses if (handle := volumes.handle(name)) is not None}
    handles |= {Handle(*one) for one in inline}
    attachments = volumes.attachments
    counted: Counter[Handle] = Counter()
    for handle in handles:
        if not attachments.limited(handle.driver):
            continue
        counted[handle if attachments.slots(handle) else Handle(handle.driver, "")] += 1
    return tuple(Mounted(handle, counted[handle]) for handle in sorted(counted))
