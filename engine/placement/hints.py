"""What could help a pod that no node takes: which events are worth looking at it again, and which are not.

A node takes the pod only once the constraint that was the first to refuse it lets it pass. So for each node the
first refusal says what to wait for: a change of the node, a pod that leaves it, or a change of some count.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from engine.compile.origins import Origin
from engine.constraints.protocol import Depends, counted
from engine.state.counted import Counted

if TYPE_CHECKING:
    from engine.placement.decision import Refusals

Bits = NDArray[np.uint8]

_ROOM: Final = ("NodeResourcesFit", "NodePorts")
"""Of these it is known that a pod which comes to a node never helps."""


@dataclass(frozen=True, slots=True, eq=False)
class Hint:
    """What could help the pods of one group.

    Attributes:
        group: Equal for pods that ask for the same: what helps none of them helps no other.
        cpu: Millicores that a node must have free, or held by pods of lower priority.
        memory: Bytes, likewise.
        usage: One bit a slot: where a pod that leaves the node could help.
        any_usage: Whether there a pod that comes could help as well.
        by_pods: Which of CENSUS and DELAY any pod anywhere could change; what is in ``counted`` is left out.
        counted: Whose change helps.
    """

    group: Hashable
    cpu: int
    memory: int
    usage: Bits
    any_usage: bool
    by_pods: Depends
    counted: tuple[Counted, ...]


def hint(
    group: Hashable, requests: tuple[int, int], refused: Sequence[Refusals], origins: Iterable[Origin]
) -> Hint:
    """The hint for a pod that these refusals kept from every node, one for each stage that was tried."""
    usage = np.zeros(0, dtype=np.bool_)
    any_usage = False
    by_pods = Depends(0)
    whose: dict[Counted, None] = {}
    for refusals in refused:
        codes = refusals.codes
        verdicts = np.zeros(len(refusals.filters) + 1, dtype=np.bool_)
        for code, constraint in enumerate(refusals.filters, 1):
            verdicts[code] = bool(constraint.depends & Depends.USAGE)
        # Slots without a node have code 0; every other one was refused by something.
        found = verdicts[codes]
        usage = _either(usage, found)
        for constraint, _ in refusals.by_filter():
            if constraint.depends & Depends.USAGE and constraint.name not in _ROOM:
                any_usage = True
            if constraint.depends & Depends.CENSUS:
                told = counted(constraint)
                if told is None:
                    by_pods |= Depends.CENSUS
                else:
                    whose.update(dict.fromkeys(told))
            if constraint.depends & Depends.DELAY:
                for origin in origins:
                    where = origin.counted()
                    if where is not None:
                        whose[where] = None
    return Hint(group, *requests, np.packbits(usage), any_usage, by_pods, tuple(whose))


def _either(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.bool_]:
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    both = longer.copy()
    both[: len(shorter)] |= shorter
    return both
