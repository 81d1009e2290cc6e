"""The proof that what is kept is enough, from the snapshot alone: it knows nothing of how the reserve was planned.

For every single loss: do all covered pods that it takes fit at the same time into what is kept, each under its own
rules? Every filter of the placer is asked, on the cluster as it is right after the loss. What else is free counts
only where the caller says so: it may be gone by the time of the loss, and what is kept may not.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.constraints.protocol import Slots
from engine.healing.losses import Loss, Supposed
from engine.healing.rules import Amounts, Rules, asked
from engine.healing.search import STEPS, Found, Order, Search
from engine.model.objects import PodKey
from engine.placement.placer import Placer
from engine.state.cache import Cache
from engine.state.pods import PlacedPod

Kept = Mapping[str, Mapping[str, int]]
"""Node → resource → how much of it is kept, in the units of the columns; ``pods`` is how many pods it is kept for."""

_STAYS_WITH_ITS_NODE = ("DaemonSet", "Node")


class Verdict(enum.Enum):
    """What is known of a loss."""

    HOLDS = "holds"
    FAILS = "fails"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A pod that would be without a node, and why."""

    pod: PodKey
    reason: str


@dataclass(frozen=True, slots=True)
class LossReport:
    """What a loss would do.

    Attributes:
        loss: The loss.
        verdict: Whether all covered pods find a place: HOLDS with the places as the witness; FAILS where there is no
            such arrangement; UNKNOWN where none was found within the bound.
        places: Where the pods would go, in an order in which it can be done: all, or as many as were found to fit.
        unplaced: The others.
        steps: How many placements were tried.
    """

    loss: Loss
    verdict: Verdict
    places: tuple[tuple[PodKey, str], ...]
    unplaced: tuple[Unplaced, ...]
    steps: int


def moves(pod: PlacedPod) -> bool:
    """Whether the pod could run elsewhere at all: one of a DaemonSet, or the kubelet's own, is its node's."""
    return pod.shape.owner is None or pod.shape.owner.kind not in _STAYS_WITH_ITS_NODE


def check(
    cache: Cache,
    placer: Placer,
    covered: Callable[[PlacedPod], bool],
    kept: Kept,
    losses: Iterable[Loss],
    now: float,
    *,
    placeholders: Collection[PlacedPod] = (),
    free_too: bool = False,
    hints: Mapping[PodKey, str] | None = None,
    steps: int = STEPS,
) -> Iterator[LossReport]:
    """Decide for each loss, one after the other.

    The cache is changed while a loss is looked at, and is as it was whenever this yields.

    Args:
        cache: The snapshot.
        placer: Decides on that cache by the plan and the delays to prove it for.
        covered: Which pods are to be covered. Those that are on no known node or on their way out are not asked
            about, nor those that `moves` denies.
        kept: What is kept where.
        losses: The losses to survive.
        now: Seconds since the epoch.
        placeholders: The pods of the cache that hold what is kept, if any do: their room is free to those they keep
            it for.
        free_too: Whether what is free beside counts as well.
        hints: Nodes to try first, such as the plan's own. They make it faster, and prove nothing: all is asked anew.
        steps: The bound of each search.

    Yields:
        A report for each loss, in order.
    """
    rules = Rules(cache, placer, now)
    holding = set(placeholders)
    for loss in losses:
        with Supposed(cache, loss.nodes, holding) as after:
            pods = [pod for pod in after.victims if pod not in holding and moves(pod) and covered(pod)]
            room = None if free_too else _room(cache, kept)
            found = Search(rules, pods, after.lost, room, _hinted(cache, hints), steps).run()
            report = _report(cache, rules, loss, found, after, room)
        yield report


def _hinted(cache: Cache, hints: Mapping[PodKey, str] | None) -> Order | None:
    if hints is None:
        return None
    columns = cache.columns

    def order(pod: PlacedPod, slots: Slots) -> NDArray[np.float64]:
        free = (columns.allocatable["memory"] - columns.used["memory"])[slots].astype(np.float64)
        hinted = columns.slot(hints.get(pod.key, ""))
        if hinted is not None:
            free[slots == hinted] = -np.inf
        return free

    return order


def _room(cache: Cache, kept: Kept) -> Amounts:
    room: Amounts = {}
    for node, amounts in kept.items():
        slot = cache.columns.slot(node)
        if slot is None:
            continue
        for resource, value in amounts.items():
            column = room.setdefault(resource, np.zeros(cache.columns.capacity, dtype=np.int64))
            column[slot] = value
    return room


def _report(
    cache: Cache, rules: Rules, loss: Loss, found: Found, after: Supposed, room: Amounts | None
) -> LossReport:
    places = list(found.places)
    unplaced: list[Unplaced] = []
    # What is left may still find a place of its own; why it does not is asked with all others where they would be.
    for pod, slot in places:
        cache.lower(pod, slot)
        _take(room, pod, slot)
    try:
        for pod in found.left:
            mask = rules.legal(pod) & ~after.lost
            if room is not None:
                for resource, value in asked(pod).items():
                    mask &= (room[resource] >= value) if resource in room else False
            slots = np.flatnonzero(mask)
            if len(slots):
                places.append((pod, int(slots[0])))
                cache.lower(pod, int(slots[0]))
                _take(room, pod, int(slots[0]))
            else:
                unplaced.append(Unplaced(pod.key, rules.why_not(pod, after.lost, room)))
    finally:
        for pod, _ in places:
            if pod.slot >= 0:
                cache.lift(pod)
    names = cache.columns.names
    if not unplaced:
        verdict = Verdict.HOLDS
    elif found.exhausted or found.hopeless:
        verdict = Verdict.FAILS
    else:
        verdict = Verdict.UNKNOWN
    witness = tuple((pod.key, names[slot]) for pod, slot in places)
    return LossReport(loss, verdict, witness, tuple(unplaced), found.steps)


def _take(room: Amounts | None, pod: PlacedPod, slot: int) -> None:
    if room is not None:
        for resource, value in asked(pod).items():
            room[resource][slot] -= value
