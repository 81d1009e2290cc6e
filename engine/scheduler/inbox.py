"""What reaches the scheduler: one queue for all, so that one thread owns all state."""

from __future__ import annotations

from dataclasses import dataclass

from engine.binder import BindResult, RoomResult
from engine.cluster.reflector import Update
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
