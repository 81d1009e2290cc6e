"""Nodes that are promised to pods of no lower priority: others may go there only as far as there is room for both.

Source: kube-scheduler's RunFilterPluginsWithNominatedPods.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from engine.compile.origins import Origin
from engine.constraints.protocol import Depends, Mask, Slots
from engine.constraints.resources import NodeResourcesFit
from engine.constraints.telling import RoomPromised, Value
from engine.placement.evaluation import Evaluation
from engine.placement.preemption import among, held_by, refusal
from engine.state.cache import Cache
from engine.state.labels import Where
from engine.state.pods import PlacedPod
from engine.state.supposition import Supposition


class Promised:
    """Refuses nodes that could take the pod, were it not for pods of no lower priority that they are promised to.

    Attributes:
        slots: Why each, supposing that those pods were there.
        pods: Those pods, by slot.
    """

    name = "NominatedPods"
    citation = None
    depends = Depends.USAGE

    def __init__(self, slots: Mapping[int, Counter[str]], pods: Mapping[int, Sequence[PlacedPod]]) -> None:
        self.slots, self.pods = slots, pods

    def passes(self, where: Where) -> Mask:
        """True where nothing is promised."""
        refused = np.array(list(self.slots), dtype=np.int64)
        slots = np.arange(where.start, where.stop) if isinstance(where, slice) else where
        return ~np.isin(slots, refused)

    def reasons(self, refused: Slots) -> Counter[str]:
        """What would be lacking."""
        reasons: Counter[str] = Counter()
        for slot in refused.tolist():
            reasons.update(self.slots[slot])
        return reasons

    def values(self, slot: int) -> tuple[Value, ...]:
        """Whom the node is promised to."""
        return tuple(RoomPromised(str(one.key), one.shape.priority) for one in self.pods[slot])


def unpromised(
    cache: Cache, pod: PlacedPod, evaluation: Evaluation, feasible: Slots, needed: Sequence[Origin]
) -> tuple[Slots, Promised | None]:
    """The feasible slots without those that are promised to others, and the others; None where there are none.

    Args:
        cache: The pods and nodes.
        pod: Whom a node is looked for.
        evaluation: Its vectors, refreshed.
        feasible: The slots that nothing refuses, ascending.
        needed: The origins of delays without which there is no place for it.
    """
    nominations, columns = cache.nominations, cache.columns
    if not nominations or not len(feasible):
        return feasible, None
    fit = next((one for one in evaluation.filters if isinstance(one, NodeResourcesFit)), None)
    # Where nothing but requests matters, which is mostly so, adding up is enough.
    by_sum = fit is not None and evaluation.room_alone() is None
    refused: dict[int, Counter[str]] = {}
    others: dict[int, Sequence[PlacedPod]] = {}
    for node in nominations.nodes():
        slot = columns.slot(node)
        if slot is None or not among(slot, feasible):
            continue
        yielding = nominations.yielding(pod, node)
        if not yielding:
            continue
        why: Counter[str] | None
        if fit is not None and by_sum and not any(one.shape.terms for one in yielding):
            why = fit.short_beside(slot, held_by(yielding)) or None
        else:
            with Supposition(cache, slot) as world:
                why = refusal(world, evaluation, slot, yielding, needed)
        if why is not None:
            refused[slot], others[slot] = why, yielding
    if refused:
        feasible = feasible[~np.isin(feasible, list(refused))]
    return feasible, Promised(refused, others) if refused else None
