"""What reaches the scheduler: one queue for all, so that one thread owns all state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.binder import BindResult, RoomResult
from engine.binder.errands import ErrandResult
from engine.cluster.reflector import Deleted, Update, Upserted
from engine.compile import Plan
from engine.delay import DelayMap


@dataclass(frozen=True, slots=True)
class PlanChanged:
    """Decide by this plan from now on."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class DelaysChanged:
    """Decide by these delays from now on."""

    delays: DelayMap


@dataclass(frozen=True, slots=True)
class ContactsTold:
    """Which nodes others reach.

    Attributes:
        contacts: Seconds since each was reached, as of now; None where nobody can know.
        counts_s: For how many seconds a contact counts.
    """

    contacts: Mapping[str, float] | None
    counts_s: float


Message = Update | BindResult | RoomResult | ErrandResult | PlanChanged | DelaysChanged | ContactsTold


def about(message: Message) -> str:
    """What a message is about, in a word or two."""
    match message:
        case Upserted(item) | Deleted(item):
            return f"{type(item).__name__} {item.metadata.namespace}/{item.metadata.name}"
        case RoomResult():
            return f"room for {message.wanted.pod}"
        case ErrandResult():
            return f"an errand for {message.errand.subject}"
        case BindResult():
            return f"the binding of {message.assignment.pod}"
    return type(message).__name__
