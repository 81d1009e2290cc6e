"""What decided about volumes and devices, as values; the counterpart of `engine.constraints.telling` for claims.

These constraints are shared by pods whose claims are alike, so they are asked on behalf of a pod, whose claims are
named.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from engine.constraints.amounts import shown

if TYPE_CHECKING:
    from engine.constraints.telling import Value
    from engine.state.pods import PlacedPod


@dataclass(frozen=True, slots=True)
class VolumeElsewhere:
    """A claim's volume, which the node does not reach.

    Attributes:
        claim: Its namespace and name.
        volume: The persistent volume.
        storage_class: Of the claim; "" where it has none.
        wanted: What the volume wants of a node; None where there is no such volume.
        found: What the node has instead, by label.
    """

    kind: ClassVar = "volume"
    claim: str
    volume: str
    storage_class: str
    wanted: str | None
    found: str = ""

    @property
    def gap(self) -> float:
        """Nothing about the node helps where there is no volume."""
        return math.inf if self.wanted is None else 1.0

    def __str__(self) -> str:
        if self.wanted is None:
            return f"claim {self.claim}: its volume {self.volume} does not exist"
        return f"claim {self.claim}: volume {self.volume} wants {self.wanted}; here {self.found}"


@dataclass(frozen=True, slots=True)
class VolumeLacking:
    """A claim without a volume, which can get none on the node.

    Attributes:
        claim: Its namespace and name.
        storage_class: Of the claim; "" where it has none.
        requested_bytes: What it asks for; None for any size.
        why: ``no-volume`` (none is free that would do, and none can be made), ``topology`` (none may be made there),
            ``capacity`` (there is too little room) or ``other-node`` (it is being made for another node).
        available_bytes: The largest free volume of the class that the node reaches, or with ``capacity`` the most that
            the driver says it can make there; None where there is none, or nobody says.
        detail: The class's topology, or the other node; else "".
    """

    kind: ClassVar = "claim"
    claim: str
    storage_class: str
    requested_bytes: int | None
    why: str
    available_bytes: int | None = None
    detail: str = ""

    @property
    def gap(self) -> float:
        """What lacks, as a share of what is asked for, where room lacks."""
        if self.why != "capacity" or not self.requested_bytes:
            return 1.0
        return (self.requested_bytes - (self.available_bytes or 0)) / self.requested_bytes

    def __str__(self) -> str:
        size = "any size" if self.requested_bytes is None else shown("memory", self.requested_bytes)
        asked = f"claim {self.claim} of class {self.storage_class or '(none)'}: {size} requested"
        largest = "none" if self.available_bytes is None else shown("memory", self.available_bytes)
        match self.why:
            case "topology":
                return f"{asked}, and volumes are made only where {self.detail}"
            case "capacity":
                return f"{asked}, room for {largest} here"
            case "other-node":
                return f"{asked}, and its volume is being made for {self.detail}"
            case _:
                if self.available_bytes is None:
                    return f"{asked}, no volume is free here, and the class makes none"
                told = f"{asked}, the largest that is free here has {largest}"
                if self.available_bytes >= (self.requested_bytes or 0):
                    told += " (but not its access modes, volume mode or labels, or another claim takes it)"
                return f"{told}, and the class makes none"


@dataclass(frozen=True, slots=True)
class VolumeLimit:
    """A CSI driver of which the node takes no more volumes.

    Attributes:
        driver: The driver.
        requested: How many the pod would add.
        attached: How many are there.
        limit: How many the node takes.
    """

    kind: ClassVar = "volume-limit"
    driver: str
    requested: int
    attached: int
    limit: int

    @property
    def gap(self) -> float:
        """How many are too many."""
        return float(self.attached + self.requested - self.limit)

    def __str__(self) -> str:
        return f"volumes of {self.driver}: {self.requested} more, {self.attached} of {self.limit} there"


@dataclass(frozen=True, slots=True)
class VolumeInUse:
    """A claim that only one pod may use, or a disk that the pod names, which another pod has.

    Attributes:
        volume: The claim's namespace and name; or what names the disk.
        claim: Whether it is a claim.
    """

    kind: ClassVar = "in-use"
    gap: ClassVar = 1.0
    volume: str
    claim: bool

    def __str__(self) -> str:
        if self.claim:
            return f"claim {self.volume} is ReadWriteOncePod, and another pod uses it"
        return f"disk {self.volume} is in use on the node"


@dataclass(frozen=True, slots=True)
class DevicesElsewhere:
    """A claim that has its devices already, which the node does not reach.

    Attributes:
        claim: Its namespace and name.
        devices: Those, as ``driver/pool/device``.
        wanted: What they want of a node.
    """

    kind: ClassVar = "devices"
    gap: ClassVar = 1.0
    claim: str
    devices: tuple[str, ...]
    wanted: str

    def __str__(self) -> str:
        names = ", ".join(self.devices)
        return f"claim {self.claim} has {names or 'its devices'}, which want {self.wanted}"


@dataclass(frozen=True, slots=True)
class DevicesLacking:
    """One way to fulfil a request for devices, which the node cannot.

    Attributes:
        claim: Its namespace and name.
        request: As results have it: the request, or ``request/alternative``.
        device_class: The class.
        requested: How many; None for all that are meant.
        seen: How many devices the node reaches.
        meant: How many of those the class and the request mean.
        free: How many of those can be given to the claim: nobody has all of them, no taint keeps it off, and their
            amounts suffice. Where that is enough, constraints, shared amounts or other requests are in the way.
    """

    kind: ClassVar = "device-request"
    claim: str
    request: str
    device_class: str
    requested: int | None
    seen: int
    meant: int
    free: int

    @property
    def gap(self) -> float:
        """How many lack."""
        return float(max((self.meant or 1) if self.requested is None else self.requested, 0) - self.free)

    def __str__(self) -> str:
        number = "all" if self.requested is None else f"{self.requested}"
        told = f"claim {self.claim}, request {self.request}: {number} of class {self.device_class} requested"
        told += f", {self.free} free of {self.meant} that match ({self.seen} on the node)"
        enough = self.meant > 0 if self.requested is None else self.free >= self.requested
        if enough and (self.requested is not None or self.free == self.meant):
            told += "; together with what else is asked for, they do not do"
        return told


ClaimValue = VolumeElsewhere | VolumeLacking | VolumeLimit | VolumeInUse | DevicesElsewhere | DevicesLacking


@runtime_checkable
class TellingOfPod(Protocol):
    """A constraint that tells which values decided about one pod of those that share it."""

    def values_of(self, slot: int, pod: PlacedPod) -> tuple[Value, ...]:
        """Why it refuses the pod the node in a slot, which it does; not asked about others."""
        ...
