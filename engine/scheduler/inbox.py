"""What reaches the scheduler: one queue for all, so that one thread owns all state."""

from __future__ import annotations

from dataclasses import dataclass

from engine.binder import BindResult, RoomResult
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


Message = Update | BindResult | RoomResult | PlanChanged | DelaysChanged


def about(message: Message) -> str:
    """What a message is about, in a word or two."""
    match message:
        case Upserted(item) | Deleted(item):
            return f"{type(item).__name__} {item.metadata.namespace}/{item.metadata.name}"
        case RoomResult():
            return f"room for {message.wanted.pod}"
        case BindResult():
            return f"the binding of {message.assignment.pod}"
    return type(message).__name__
