"""What a pod asks for and this version cannot honour: such a pod waits, for a wrong place would be worse."""

from __future__ import annotations

from collections import Counter

import numpy as np

from engine.constraints.protocol import Depends, Mask, Slots
from engine.model.shape import Shape
from engine.state.columns import Columns
from engine.state.labels import Where


class Unsupported:
    """Refuses every node to a pod whose spec uses a field that is not honoured yet."""

    name = "Unsupported"
    citation = None
    depends = Depends.NODE

    def __init__(self, shape: Shape, columns: Columns) -> None:
        self._fields = shape.unsupported
        self._columns = columns

    def passes(self, where: Where) -> Mask:
        """True nowhere."""
        return np.zeros_like(self._columns.alive[where])

    def reasons(self, refused: Slots) -> Counter[str]:
        """Names the fields."""
        fields = ", ".join(self._fields)
        return Counter({f"node(s) not considered: this scheduler does not honour {fields} yet": len(refused)})
