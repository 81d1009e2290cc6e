"""Whether a node has the pod's images already.

Source: kube-scheduler's plugin ImageLocality.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.constraints.protocol import MAX_SCORE, Depends, Normalization, Vector
from engine.model.shape import Shape
from engine.state.columns import Columns
from engine.state.labels import Where

_LEAST: Final = 23 * 2**20
"""Bytes below which an image counts nothing."""
_MOST: Final = 1000 * 2**20
"""Bytes for each container above which more counts no more."""
_SAME: Final[Vector] = np.zeros(1)


class ImageLocality:
    """The size of the images that the node holds, each counting less the fewer nodes hold it."""

    name = "ImageLocality"
    citation = None
    # Asked for every decision, for one node's images count by how many nodes have them.
    depends = Depends.CENSUS | Depends.NODE
    normalization = Normalization.NONE
    weight = 1.0

    def __init__(self, shape: Shape, columns: Columns) -> None:
        self._images = shape.images
        self._most = _MOST * shape.containers
        self._columns = columns
        self._stamp: tuple[object, ...] = ()
        self._scores: Vector = _SAME

    @staticmethod
    def applies(shape: Shape) -> bool:
        """Whether the pod names any image."""
        return bool(shape.images) and shape.containers > 0

    def raw(self, where: Where) -> Vector:
        """0…100, in whole numbers."""
        columns = self._columns
        found = [state for name in self._images if (state := columns.images.get(name)) is not None]
        if not found:
            return _SAME
        stamp = (len(columns), columns.capacity, *((id(state), state.version) for state in found))
        if stamp != self._stamp:
            total = np.zeros(columns.capacity)
            for state in found:
                held = state.mask(columns.capacity)
                total += held * np.floor(state.size * (len(state.slots) / len(columns)))
            clipped = np.clip(total, _LEAST, self._most)
            self._scores = np.floor(MAX_SCORE * (clipped - _LEAST) / (self._most - _LEAST))
            self._stamp = stamp
        scores: Vector = self._scores[where]
        return scores
