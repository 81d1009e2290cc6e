"""Where a pod that moves may go, and which place is best: what the placer would say, with some nodes left out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.compile.requirements import Stage
from engine.constraints.protocol import Mask, Slots
from engine.placement.decision import NO_NODE, PASSES
from engine.placement.evaluation import Evaluation, totals
from engine.placement.placer import Placer
from engine.state.cache import Cache
from engine.state.pods import PlacedPod

Accepts = Callable[[Slots], Mask]
"""Which of some slots are good enough."""


@dataclass(frozen=True, slots=True)
class Place:
    """A node for a pod.

    Attributes:
        stage: What the pod falls back to there, "" for its first choice.
    """

    slot: int
    stage: str = ""


class Places:
    """Asks one placer at one moment.

    Args:
        cache: The cache that the placer decides on.
        placer: Whose filters and scores are asked.
        now: Seconds since the epoch.
    """

    __slots__ = ("_cache", "now", "placer")

    def __init__(self, cache: Cache, placer: Placer, now: float) -> None:
        self._cache = cache
        self.placer = placer
        self.now = now

    def stages(self, pod: PlacedPod, waited_ms: float) -> list[tuple[Stage, Evaluation]]:
        """The stages that are open after so long, with their vectors of now; none where the pod must wait anyway."""
        requirements = self.placer.requirements(pod, self.now)
        if requirements.trouble is not None or any(one.missing() is not None for one in requirements.needed):
            return []
        return [
            (stage, self.placer.evaluation(pod, self.now, position))
            for position, stage in enumerate(requirements.stages)
            if stage.after_ms <= waited_ms
        ]

    def opens_in(self, pod: PlacedPod, waited_ms: float) -> float | None:
        """In how many milliseconds the next stage opens, None where none is left."""
        stages = self.placer.requirements(pod, self.now).stages
        return min((one.after_ms - waited_ms for one in stages if one.after_ms > waited_ms), default=None)

    def at(self, pod: PlacedPod, slot: int, waited_ms: float) -> Place | None:
        """The place that a slot is for the pod, by the first stage that lets it pass; None where none does."""
        for stage, evaluation in self.stages(pod, waited_ms):
            if evaluation.refusal_at(slot) == PASSES:
                return Place(slot, stage.opens)
        return None

    def best(
        self, pod: PlacedPod, banned: Mask, waited_ms: float, accepts: Accepts | None = None
    ) -> Place | None:
        """The best place of the first stage that has one; None where there is none.

        Args:
            pod: It must be nowhere.
            banned: Slots that are not to be used. Shape (capacity,).
            waited_ms: Which stages are open.
            accepts: What else must be so.
        """
        for stage, evaluation in self.stages(pod, waited_ms):
            slots = evaluation.feasible()
            slots = slots[~banned[slots]]
            if accepts is not None and len(slots):
                slots = slots[accepts(slots)]
            if len(slots):
                return Place(self._choose(pod, evaluation, slots), stage.opens)
        return None

    def any(self, pod: PlacedPod, banned: Mask, waited_ms: float) -> bool:
        """Whether there is a place at all."""
        for _, evaluation in self.stages(pod, waited_ms):
            slots = evaluation.feasible()
            if (~banned[slots]).any():
                return True
        return False

    def why_not(self, pod: PlacedPod, waited_ms: float, banned: Mask) -> str:
        """Why there is no place, for people: ``none of the 3 other nodes takes it: 2 Insufficient memory, …``."""
        requirements = self.placer.requirements(pod, self.now)
        trouble = requirements.trouble
        for origin in requirements.needed:
            trouble = trouble or origin.missing()
        if trouble is not None:
            return f"no node takes it: {trouble}"
        refusals = self.stages(pod, waited_ms)[-1][1].refusals()
        refusals.codes[banned[: len(refusals.codes)]] = NO_NODE
        reasons = ", ".join(f"{count} {reason}" for reason, count in refusals.reasons())
        if not refusals.nodes:
            return "there is no other node to go to"
        others = "the only other node does not take it"
        told = others if refusals.nodes == 1 else f"none of the {refusals.nodes} other nodes takes it"
        return f"{told}: {reasons}" if reasons else told

    def _choose(self, pod: PlacedPod, evaluation: Evaluation, slots: Slots) -> int:
        """By score, where policies rank then by the stock scores, then by a hash of names."""
        if len(slots) > 1:
            scores = evaluation.totals(slots)
            slots = slots[scores == scores.max()]
        requirements = self.placer.requirements(pod, self.now)
        if len(slots) > 1 and requirements.ranks:
            scores = totals(requirements.stock, slots, relative=True)
            slots = slots[scores == scores.max()]
        if len(slots) > 1:
            name = f"{pod.key.namespace}/{pod.key.name}".encode()
            own = np.uint64(int.from_bytes(hashlib.blake2b(name, digest_size=8).digest()))
            slots = slots[np.argsort(self._cache.columns.hashes[slots] ^ own, kind="stable")]
        return int(slots[0])
