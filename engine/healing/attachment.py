"""What pods lose by leaving their nodes, where a rule says ``prefer current``.

A preference never keeps a pod where a requirement refuses it, or on a node that is lost or being emptied, nor another
pod from getting room. So it has no say in whether pods move, only in which of several do (`engine.healing.drift`,
`engine.healing.unschedulable`).
"""

from __future__ import annotations

from math import inf
from typing import Final

import numpy as np

from engine.compile.current import PreferCurrent
from engine.constraints.protocol import MAX_SCORE
from engine.healing.draft import Draft
from engine.healing.trial import replacement
from engine.model.objects import PodKey
from engine.state.pods import PlacedPod

_ASKED: Final = 1_000
"""How many pods of one plan are weighed; of more of them it is not known what they lose."""


class Attachment:
    """Weighs the nodes that pods are on against the best others, for one plan.

    Args:
        draft: The plan so far.
    """

    __slots__ = ("_asked", "_draft", "_said", "_says")

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._says = bool(draft.places.placer.plan.sticky)
        self._said: dict[PodKey, float] = {}
        self._asked = 0

    def says(self, pod: PlacedPod) -> bool:
        """Whether a rule of the pod says ``prefer current``."""
        return self._points(pod) > 0

    def loss(self, pod: PlacedPod, waited_ms: float = 0.0) -> float:
        """By how many points all preferences together rate the pod's node above the best other; 0 where they do not.

        As the placer would score the pod if it were asked where it goes, the node that it is on being one of those
        that take it. Of a pod that no rule says ``prefer current`` of, it is 0. Infinite where no other node takes it,
        or where too many were asked about already.

        Args:
            pod: It must be on a node.
            waited_ms: Which stages of its fallbacks are open.
        """
        points = self._points(pod)
        if not points:
            return 0.0
        if self._asked >= _ASKED:
            return inf
        self._asked += 1
        draft, slot = self._draft, pod.slot
        banned = draft.without((pod.node,))
        mark = draft.trial.mark()
        draft.trial.lift(pod)
        try:
            # The copy is on no node, so that pods of one shape share all vectors; its node's points are added here.
            for _, evaluation in draft.places.stages(replacement(pod), waited_ms):
                others = evaluation.feasible()
                others = others[~banned[others]]
                if len(others):
                    slots = np.union1d(others, [slot])
                    scores = evaluation.totals(slots)
                    stays = slots == slot
                    return max(round(points + float(scores[stays][0] - scores[~stays].max()), 6), 0.0)
        finally:
            draft.trial.back_to(mark)
        return inf

    def _points(self, pod: PlacedPod) -> float:
        """What ``prefer current`` alone gives the pod's node."""
        if not self._says:
            return 0.0
        points = self._said.get(pod.key)
        if points is None:
            ranks = self._draft.places.placer.requirements(replacement(pod), self._draft.now).ranks
            points = MAX_SCORE * sum(one.weight for one in ranks if isinstance(one, PreferCurrent))
            self._said[pod.key] = points
        return points
