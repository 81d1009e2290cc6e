"""What decided when a constraint refused a node, as values: for whoever explains a decision, never for deciding.

A constraint that can tell has a method ``values``; those that cannot are explained by their sentences alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from engine.constraints.amounts import amount_text as amount_text
from engine.constraints.amounts import shown as shown
from engine.constraints.telling_claims import ClaimValue


@dataclass(frozen=True, slots=True)
class Room:
    """A resource of which the node has too little.

    Attributes:
        resource: Its name; ``pods`` counts pods.
        requested: What the pod asks for; millicores of cpu, whole units of others, as all here.
        used: What the pods on the node ask for.
        allocatable: What the node has for pods.
    """

    kind: ClassVar = "resource"
    resource: str
    requested: int
    used: int
    allocatable: int

    @property
    def free(self) -> int:
        """What is left; negative where more is used than there is."""
        return self.allocatable - self.used

    @property
    def gap(self) -> float:
        """What lacks, as a share of what is asked for."""
        return (self.requested - self.free) / max(self.requested, 1)

    def __str__(self) -> str:
        if self.resource == "pods":
            return f"pods: {self.used} of {self.allocatable}, the most allowed"
        asked, free = shown(self.resource, self.requested), shown(self.resource, max(self.free, 0))
        return f"{self.resource}: {asked} requested, {free} free of {shown(self.resource, self.allocatable)}"


@dataclass(frozen=True, slots=True)
class DelayBeyond:
    """A round trip that is too long, or that nobody has measured.

    Attributes:
        origin: What it is measured from.
        delay_ms: What counts: of an estimate, with its error added; None where it is not measured.
        limit_ms: The most allowed.
        error_ms: How much of it is the error of an estimate; 0 where it was measured.
        age_s: Seconds since it was measured; None where nobody knows, and of an estimate.
    """

    kind: ClassVar = "delay"
    origin: str
    delay_ms: float | None
    limit_ms: float
    error_ms: float = 0.0
    age_s: float | None = None

    @property
    def gap(self) -> float:
        """How far it is beyond the limit, as a share of the limit."""
        return (
            math.inf if self.delay_ms is None else (self.delay_ms - self.limit_ms) / max(self.limit_ms, 1.0)
        )

    def __str__(self) -> str:
        if self.delay_ms is None:
            return f"delay from {self.origin}: not measured, limit {self.limit_ms:g}ms"
        if self.error_ms:
            told = f"about {self.delay_ms - self.error_ms:.3g}ms ± {self.error_ms:.2g} (estimated)"
        elif self.age_s is not None:
            told = f"{self.delay_ms:g}ms (measured {self.age_s:.0f}s ago)"
        else:
            told = f"{self.delay_ms:g}ms"
        return f"delay from {self.origin}: {told}, limit {self.limit_ms:g}ms"


@dataclass(frozen=True, slots=True)
class Untolerated:
    """A taint that the pod does not tolerate."""

    kind: ClassVar = "taint"
    gap: ClassVar = 1.0
    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return (
            f"taint {self.key}={self.value}:{self.effect}"
            if self.value
            else f"taint {self.key}:{self.effect}"
        )


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A fact of the node that is not as it should be: a label, a name, a number.

    Attributes:
        fact: Such as ``label "zone"`` or ``node.free("memory")``.
        found: None where the node does not have it, or nobody knows it.
        wanted: What it should have been, such as ``== edge`` or ``in [a, b]``.
        unit: Of a number: ``millicores``, ``bytes``, ``percent`` or ``ms``; else "".
    """

    kind: ClassVar = "fact"
    gap: ClassVar = 1.0
    fact: str
    found: str | float | bool | None
    wanted: str
    unit: str = ""

    def __str__(self) -> str:
        missing = "unknown" if self.unit else "absent"
        found = missing if self.found is None else amount_text(self.found, self.unit)
        return f"{self.fact}: {found}, wanted {self.wanted}"


@dataclass(frozen=True, slots=True)
class PortTaken:
    """A host port that another pod has."""

    kind: ClassVar = "port"
    gap: ClassVar = 1.0
    protocol: str
    port: int
    address: str

    def __str__(self) -> str:
        return f"host port {self.port}/{self.protocol} of {self.address} is taken"


@dataclass(frozen=True, slots=True)
class DomainCount:
    """How many pods the node's failure domain has, which is too many or too few.

    Attributes:
        domain: The label that makes domains; ``node`` where each node is one.
        value: The node's; None where it lacks the label, and so is in no domain.
        counted: What is counted, for people.
        pods: How many there are; 0 where the node is in no domain.
        least: At least so many must be there; None where that does not matter.
        most: At most so many may be there before the pod comes; None where that does not matter.
    """

    kind: ClassVar = "domain"
    domain: str
    value: str | None
    counted: str
    pods: int
    least: int | None = None
    most: int | None = None

    @property
    def gap(self) -> float:
        """How many pods too many or too few; infinite where the label lacks."""
        if self.value is None:
            return math.inf
        over = 0 if self.most is None else self.pods - self.most
        under = 0 if self.least is None else self.least - self.pods
        return float(max(over, under))

    def __str__(self) -> str:
        if self.value is None:
            return f"no label {self.domain}"
        wanted = f"at least {self.least}" if self.least is not None else f"at most {self.most}"
        have = "none" if self.pods == 0 else f"{self.pods}"
        wanted = "none allowed" if self.most is not None and self.most <= 0 else f"{wanted} wanted"
        return f"{self.domain} {self.value}: {have} of {self.counted}, {wanted}"


@dataclass(frozen=True, slots=True)
class RoomPromised:
    """A pod that the node is promised to, for which others made room there.

    Attributes:
        pod: Its namespace and name.
        priority: Its priority, which is not lower.
    """

    kind: ClassVar = "promise"
    gap: ClassVar = 1.0
    pod: str
    priority: int

    def __str__(self) -> str:
        return f"promised to {self.pod} of priority {self.priority}"


Value = Room | DelayBeyond | Untolerated | Mismatch | PortTaken | DomainCount | RoomPromised | ClaimValue
"""What decided. Each has its ``kind``, and its ``gap``: how far it is from what would have done, in its own measure."""


@runtime_checkable
class Telling(Protocol):
    """A constraint that tells which values decided."""

    def values(self, slot: int) -> tuple[Value, ...]:
        """Why it refuses the node in a slot, which it does; not asked about others."""
        ...
