"""``prefer current``: a pod that is looked at again had better stay where it is.

Whoever looks again takes the pod off its node (`engine.state.cache.Cache.lift`) and asks where it would go. Healing
asks which of several pods would lose most by leaving (`engine.healing.attachment`).
"""

from __future__ import annotations

import numpy as np

from engine.constraints.citation import Citation
from engine.constraints.protocol import MAX_SCORE, Depends, Normalization, Vector
from engine.state.columns import Columns
from engine.state.labels import Where


class PreferCurrent:
    """``prefer current`` scores 100 on the node that the pod was taken off; one that has had none finds all alike."""

    normalization = Normalization.NONE
    depends = Depends.NODE

    def __init__(self, citation: Citation, node: str, columns: Columns, weight: int) -> None:
        self.name = citation.rule
        self.citation = citation
        self.weight = float(weight)
        self._node, self._columns = node, columns

    def raw(self, where: Where) -> Vector:
        """0 or 100."""
        scores = np.zeros(self._columns.capacity)
        slot = self._columns.slot(self._node) if self._node else None
        if slot is not None:
            scores[slot] = MAX_SCORE
        return scores[where]
