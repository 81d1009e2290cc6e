"""A plan while it is made: the moves so far, as tried on the cache, and what may still be moved."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from engine.constraints.protocol import Mask
from engine.healing.places import Place, Places
from engine.healing.plan import Held, Move, Plan, Stay
from engine.healing.reserve_check import moves
from engine.healing.situation import Situation
from engine.healing.trial import Trial, replacement
from engine.model.objects import PodKey
from engine.state.cache import Cache
from engine.state.pods import Phase, PlacedPod
from grammar.policy import Heal


class Draft:
    """Collects what is to be done and what is not.

    Args:
        cache: The pods and nodes.
        places: Where pods may go, at the moment of the plan.
        situation: How things stand.
        trial: What has been tried so far, and is in force on the cache.

    Attributes:
        banned: The slots that nobody moves to, because their nodes are silent. Shape (capacity,).
        moved: The pods that move.
        leaving: Those that are evicted, in order: budgets count them.
    """

    __slots__ = (
        "_due",
        "_held",
        "_moves",
        "_placeholders",
        "_promised",
        "_stays",
        "banned",
        "cache",
        "leaving",
        "moved",
        "now",
        "places",
        "situation",
        "trial",
    )

    def __init__(self, cache: Cache, places: Places, situation: Situation, trial: Trial) -> None:
        columns = cache.columns
        self.cache = cache
        self.places = places
        self.now = places.now
        self.situation = situation
        self.trial = trial
        self.banned: Mask = columns.alive & ~columns.ready
        self.moved: set[PodKey] = set()
        self.leaving: list[PlacedPod] = []
        self._moves: list[Move] = []
        self._stays: list[Stay] = []
        self._held: list[Held] = []
        self._due: float | None = None
        self._placeholders = frozenset(situation.placeholders)
        self._promised = False

    def plan(self) -> Plan:
        """What it has come to."""
        stays = tuple(one for one in self._stays if one.pod not in self.moved)
        return Plan(tuple(self._moves), stays, tuple(self._held), self._due)

    def later(self, when: float | None) -> None:
        """Something may be due then."""
        if when is not None and when > self.now and (self._due is None or when < self._due):
            self._due = when

    def held(self, held: Held) -> None:
        """Silent nodes are left alone."""
        self._held.append(held)

    def stay(self, pod: PlacedPod, heal: Heal, reason: str, why: str) -> None:
        """Something is wrong with the pod, and it stays."""
        self._stays.append(Stay(pod.key, pod.node, heal, reason, why))

    def unhelped(self, stay: Stay) -> None:
        """A pod without a node is not helped."""
        self._stays.append(stay)

    def move(self, move: Move, pod: PlacedPod, disrupts: bool) -> None:
        """The pod moves. The trial must have it where it goes.

        Args:
            move: The move.
            pod: The pod.
            disrupts: Whether it ran, so that disruption budgets count it.
        """
        self._moves.append(move)
        self.moved.add(move.pod)
        if disrupts:
            self.leaving.append(pod)

    def begin(self) -> None:
        """Count pods with a nomination as placed, before the first pod is moved: what is promised to them is taken."""
        if self._promised:
            return
        self._promised = True
        nominations = self.cache.nominations
        for node in sorted(nominations.nodes()):
            slot = self.cache.columns.slot(node)
            if slot is not None:
                for pod in sorted(nominations.on(node), key=lambda one: one.key):
                    self.trial.expect(replacement(pod), slot)

    def holding(self, slot: int) -> list[PlacedPod]:
        """The placeholders on a node, as they are in the trial."""
        if not self._placeholders:
            return []
        on = self.cache.pods_on(self.cache.columns.names[slot])
        return [one for one in on if one in self._placeholders and one.slot == slot]

    def movable(self, pod: PlacedPod) -> bool:
        """Whether the pod could be moved at all, and has not been in this plan."""
        return (
            pod.phase is Phase.BOUND
            and pod.key not in self.moved
            and moves(pod)
            and self.situation.ours(pod)
            and pod not in self._placeholders
        )

    def allowance(self, heal: Heal) -> int | None:
        """How many more moves the rule allows beside those of this plan; None without a limit."""
        allowed = self.situation.pace.allowance(heal, self.now)
        if allowed is None:
            return None
        return max(allowed - sum(1 for one in self._moves if one.heal == heal), 0)

    def rated(self, pod: PlacedPod, heal: Heal) -> None:
        """The pod stays for now, as the rule has moved as many as it allows."""
        per = (heal.per_ms or 0.0) / 1000
        frees = self.situation.pace.frees_at(heal, self.now)
        # Where this plan itself uses the rate up, more is allowed once what it moves is that long ago.
        self.later(frees if frees is not None else self.now + per)
        self.stay(pod, heal, "rate", f"heal {heal.name} allows {heal.moves} moves per {told_s(per)}")

    def protected(self, pods: Iterable[PlacedPod]) -> bool:
        """Whether a disruption budget forbids evicting these after all that this plan evicts."""
        wanted = list(pods)
        verdicts = self.cache.budgets.protected([*self.leaving, *wanted], evicted=True)
        return any(verdicts[len(self.leaving) :])

    def guarded(self, pod: PlacedPod, heal: Heal, what: str) -> None:
        """The pod stays, as a disruption budget protects it."""
        self.stay(pod, heal, "budget", f"{what}, and a disruption budget allows no more evictions")

    def without(self, nodes: Iterable[str]) -> Mask:
        """The banned slots, and those of further nodes."""
        slots = [slot for name in nodes if (slot := self.cache.columns.slot(name)) is not None]
        if not slots:
            return self.banned
        mask = self.banned.copy()
        mask[np.array(slots, dtype=np.int64)] = True
        return mask

    def name(self, place: Place) -> str:
        """The node's name."""
        return self.cache.columns.names[place.slot]


def told_lasting(state: str, seconds: float) -> str:
    """That something has been so for a while, or is by now: ``has been lost for 12s``, ``is lost``."""
    return f"has been {state} for {told_s(seconds)}" if seconds >= 1 else f"is {state}"


def told_s(seconds: float) -> str:
    """A duration for people: ``12s``, ``5min``, ``3h``."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.3g}s" if seconds < 10 else f"{seconds:.0f}s"
