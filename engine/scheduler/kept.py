"""One reserve of the policy in force: its plan, what was told of it, and how much work is left to make it smaller."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from engine.healing import Reserve, improve
from engine.healing.placeholders import label_of
from engine.model.objects import PodKey
from engine.state.pods import PlacedPod
from grammar import policy

log = logging.getLogger(__name__)

_RENEW_SECONDS: Final = 1.0
"""How often it is looked whether backups may still be where they lie, for all that other pods say; while any do."""
_LOSSES: Final = 8
"""Of so many losses at most, each time."""
_CALM_SECONDS: Final = 5.0
"""Nothing is made smaller before this much time without changes."""
_TRIES: Final = 8
"""The slice of the optimiser's work at a time: some tens of milliseconds at 1,000 nodes."""
_MOVES: Final = 400
"""Backups that may lie elsewhere after all slices since the last change, as each may cost a placeholder."""
_IN_VAIN: Final = 6
"""Slices without success after which it rests until something changes."""


@dataclass(frozen=True, slots=True)
class Uncovered:
    """A covered pod without a place that is kept for it."""

    reserve: policy.Reserve
    pod: PodKey
    why: str


class Kept:
    """One reserve of the policy in force.

    Attributes:
        rule: What the policy says.
        covers: Whom.
        plan: Where how much is kept.
        label: What its placeholders are labelled.
        told: Who is known to be uncovered, and why.
        growing: Whether the plan is not made for all pods yet that were there when the policy came into force.
    """

    def __init__(self, rule: policy.Reserve, covers: Callable[[PlacedPod], bool], plan: Reserve) -> None:
        self.rule = rule
        self.covers = covers
        self.plan = plan
        self.label = label_of(rule.name)
        self.told: dict[PodKey, str] = {}
        self.growing = True
        self._moves_left = _MOVES
        self._in_vain = 0
        self._calm_since = 0.0
        self._renewed_at = 0.0
        self._pods_moved = False

    @property
    def renews_at(self) -> float | None:
        """When backups are due to be looked at again; None where no other pod came or went since they were."""
        return self._renewed_at + _RENEW_SECONDS if self._pods_moved or self.plan.doubted else None

    @property
    def improves_at(self) -> float | None:
        """When the next slice of making it smaller is due; None where there is nothing to hope for."""
        if self._in_vain >= _IN_VAIN or self._moves_left <= 0 or not self.plan.backups:
            return None
        return self._calm_since + _CALM_SECONDS

    def grown(self) -> None:
        """Look whether the plan is made for all pods by now."""
        if self.growing and not self.plan.behind:
            self.growing = False
            covered, uncovered = len(self.plan.backups), len(self.plan.uncovered)
            log.info("reserve %s: %d pods are covered, %d are not", self.rule.name, covered, uncovered)

    def stirred(self, now: float) -> None:
        """Something changed: what could not be made smaller before perhaps can be now."""
        self._calm_since, self._in_vain, self._moves_left = now, 0, _MOVES

    def pods_moved(self) -> None:
        """Pods came or went, covered or not: rules may look at them."""
        self._pods_moved = True

    def renew(self, now: float) -> bool:
        """See, if it is time to, whether backups may still be where they lie. Whether any are elsewhere now."""
        due = self.renews_at
        if due is None or now < due or self.plan.behind:
            return False
        self._renewed_at = now
        if self._pods_moved:
            self._pods_moved = False
            self.plan.doubt()
        return any(self.plan.renew(now) for _ in range(_LOSSES) if self.plan.doubted)

    def improve(self, now: float, random: Random) -> bool:
        """A slice of the work, if it is time for one. Whether backups lie elsewhere now."""
        due = self.improves_at
        if due is None or now < due or self.plan.behind:
            return False
        found = improve(self.plan, _TRIES, self._moves_left, random)
        self._moves_left -= found.moved
        self._in_vain = 0 if found.after < found.before else self._in_vain + 1
        if self.improves_at is None:
            log.debug("reserve %s keeps %d bytes of memory", self.rule.name, found.after)
        return found.moved > 0
