"""How fast pods are moved, and where they do not go back to: what was carried out, by the rule that asked for it.

Kept by whoever carries moves out, and only read by the planner: planning twice uses nothing up. A restart forgets it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.healing.plan import Move
from engine.model.shape import Workload
from engine.state.pods import PlacedPod
from grammar.policy import Heal

AWAY_AT_LEAST_S: Final = 300.0
"""How long a workload does not go back to a node that it was moved from, at least."""
_AWAY_DURATIONS: Final = 10
"""The same in durations of the rule that moved it."""


def away_s(heal: Heal) -> float:
    """For how many seconds a workload that the rule moved does not go back to the node that it left."""
    return max(_AWAY_DURATIONS * heal.after_ms / 1000, AWAY_AT_LEAST_S)


class Pace:
    """Moves that were carried out, as far as they bear on later ones."""

    __slots__ = ("_left", "_times")

    def __init__(self) -> None:
        self._times: dict[Heal, list[float]] = {}
        self._left: dict[tuple[str, Workload], dict[str, float]] = {}

    def carried_out(self, move: Move, pod: PlacedPod, now: float) -> None:
        """A move has been begun: the pod was asked to leave.

        Args:
            move: The move.
            pod: The pod, of which the workload matters.
            now: Seconds since the epoch.
        """
        heal = move.heal
        if heal.per_ms is not None:
            times = self._times.setdefault(heal, [])
            times[:] = [*self._within(heal, now), now]
        left = self._left.setdefault((pod.shape.namespace, pod.workload), {})
        left[move.source] = max(left.get(move.source, 0.0), now + away_s(heal))
        self._forget(now)

    def allowance(self, heal: Heal, now: float) -> int | None:
        """How many more moves the rule allows at the moment; None without a limit."""
        if heal.moves is None:
            return None
        return max(heal.moves - sum(1 for _ in self._within(heal, now)), 0)

    def frees_at(self, heal: Heal, now: float) -> float | None:
        """When the rule allows one more than it does now, seconds since the epoch; None where nothing is used up."""
        oldest = min(self._within(heal, now), default=None)
        return None if oldest is None or heal.per_ms is None else oldest + heal.per_ms / 1000

    def left(self, pod: PlacedPod, now: float) -> list[str]:
        """The nodes that the pod's workload was moved from so lately that it does not go back, sorted."""
        nodes = self._left.get((pod.shape.namespace, pod.workload), {})
        return sorted(node for node, until in nodes.items() if until > now)

    def back_at(self, pod: PlacedPod, now: float) -> float | None:
        """When the first of those nodes may have the workload again, seconds since the epoch; None where none is."""
        nodes = self._left.get((pod.shape.namespace, pod.workload), {})
        return min((until for until in nodes.values() if until > now), default=None)

    def _within(self, heal: Heal, now: float) -> Iterator[float]:
        since = now - (heal.per_ms or 0.0) / 1000
        return (one for one in self._times.get(heal, ()) if one > since)

    def _forget(self, now: float) -> None:
        for workload in [one for one, nodes in self._left.items() if max(nodes.values()) <= now]:
            del self._left[workload]
