"""What a plan of moves is made from, beside the cache."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from engine.healing.pace import Pace
from engine.model.objects import PodKey
from engine.state.pods import PlacedPod


def _every(_: PlacedPod) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Situation:
    """How things stand.

    Attributes:
        backups: The node that each covered pod's backup lies on.
        placeholders: The pods that hold the reserve: room that a covered pod may take.
        waiting: Pods of ours that no node takes, and since when, seconds since the epoch.
        contacts: Node → seconds since another node's probe reached it; None where nobody can know.
        contact_s: For how long a contact counts: two periods of the probes.
        pace: What was moved before.
        ours: Whether a pod is ours to schedule; no other is ever moved.
    """

    backups: Mapping[PodKey, str] = field(default_factory=dict)
    placeholders: Collection[PlacedPod] = ()
    waiting: Mapping[PodKey, float] = field(default_factory=dict)
    contacts: Mapping[str, float] | None = None
    contact_s: float = 120.0
    pace: Pace = field(default_factory=Pace)
    ours: Callable[[PlacedPod], bool] = _every
