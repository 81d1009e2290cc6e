"""Pods whose node affinity names their nodes, as those of a DaemonSet do.

Source: kube-scheduler's plugin NodeAffinity (PreFilter): the nodes that are not named are left out before any filter
is asked, and are told of in words of their own.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from engine.constraints.protocol import Depends, Mask, Slots
from engine.model.objects import NodeSelectorTerm
from engine.model.shape import Shape
from engine.state.columns import Columns
from engine.state.labels import Where


class NamedNodes:
    """Keeps a pod to the nodes that its required affinity names in each of its terms."""

    name = "NodeAffinity"
    citation = None
    depends = Depends.NODE

    def __init__(self, names: frozenset[str], columns: Columns) -> None:
        self._names = names
        self._columns = columns

    @staticmethod
    def names(shape: Shape) -> frozenset[str]:
        """The names; none where a term names none, or contradicts itself as all others do."""
        every: frozenset[str] = frozenset()
        for term in shape.required or ():
            names = _names(term)
            if names is None:
                return frozenset()
            every |= names
        return every

    def passes(self, where: Where) -> Mask:
        """True on the named nodes."""
        mask = np.zeros(self._columns.capacity, dtype=np.bool_)
        for name in self._names:
            slot = self._columns.slot(name)
            if slot is not None:
                mask[slot] = True
        return mask[where]

    def reasons(self, refused: Slots) -> Counter[str]:
        """One sentence for all."""
        return Counter({"node(s) didn't satisfy plugin(s) [NodeAffinity]": len(refused)})


def _names(term: NodeSelectorTerm) -> frozenset[str] | None:
    """What all requirements of a term name; None where none names any."""
    found: frozenset[str] | None = None
    for requirement in term.match_fields or ():
        if requirement.key == "metadata.name" and requirement.operator == "In":
            names = frozenset(requirement.values or ())
            found = names if found is None else found & names
    return found
