"""The cluster as it is once all moves under way are over: what reserves are planned on meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from engine.healing.plan import Move
from engine.healing.trial import Trial, replacement
from engine.model.objects import PodKey
from engine.model.placeholder import OF
from engine.state.cache import Cache
from engine.state.pods import PlacedPod


@contextmanager
def expected(
    cache: Cache, moves: Collection[Move], waiting: Iterable[PlacedPod], but: PodKey | None = None
) -> Iterator[None]:
    """Within the block, room that is promised to a replacement is taken, and who moves is on its way out.

    Such a pod holds its room until it is gone, but where that is meant for somebody. Nothing is changed where nothing
    moves.

    Args:
        cache: What is changed, and is as it was at the end of the block.
        moves: Those whose replacement is not on its node yet.
        waiting: The placeholders that carry a pod which is being made anew: it takes their room, not more.
        but: A pod that is not taken to be where it is promised a place.
    """
    if not moves:
        yield
        return
    nominations = cache.nominations
    with Trial(cache) as trial:
        promised: dict[str, None] = {}
        moving = set()
        for move in moves:
            moving.add(move.pod.uid)
            promised[move.target] = None
            leaves = cache.pod(move.pod)
            if move.helps is not None:
                promised[move.source] = None
            if leaves is not None and move.helps is not None:
                trial.lift(leaves)
            elif leaves is not None and leaves.counts:
                trial.leave(leaves)
        for one in waiting:
            if (one.pod.metadata.annotations or {}).get(OF) in moving:
                trial.lift(one)
        for node in promised:
            slot = cache.columns.slot(node)
            if slot is not None:
                for pod in list(nominations.on(node)):
                    if pod.key != but:
                        trial.expect(replacement(pod), slot)
        yield
