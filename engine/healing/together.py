"""Lays down all together backups that are lost together, on the cluster as it is right after that."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import numpy as np
from numpy.typing import NDArray

from engine.constraints.protocol import Slots
from engine.healing.ledger import Backup
from engine.healing.losses import Supposed
from engine.healing.rules import Amounts, Rules, asked
from engine.healing.search import Search
from engine.model.objects import PodKey
from engine.state.pods import PlacedPod

Places = tuple[tuple[Backup, int], ...]


def arrange(
    rules: Rules,
    lost: Iterable[str],
    backups: Iterable[Backup],
    room: Amounts,
    costs: Callable[[Backup], NDArray[np.float64]],
    placeholders: Collection[PlacedPod],
    steps: int,
) -> tuple[Places, dict[PodKey, str]]:
    """Where each goes, in an order in which the rules let each pass; and of those that go nowhere, why.

    Args:
        rules: The rules, and the cache, which is as it was in the end.
        lost: The nodes that are lost.
        backups: Those to lay down, of pods that run there.
        room: What they may take of each slot.
        costs: What a backup costs in each slot, for which are tried first. Shape (capacity,).
        placeholders: Pods that give way.
        steps: The bound of the search.
    """
    by_key = {backup.key: backup for backup in backups}
    cache = rules.cache

    def order(pod: PlacedPod, slots: Slots) -> NDArray[np.float64]:
        return costs(by_key[pod.key])[slots]

    with Supposed(cache, lost, placeholders) as after:
        pods = [pod for pod in after.victims if pod.key in by_key]
        found = Search(rules, pods, after.lost, room, order, steps).run()
        left = {resource: column.copy() for resource, column in room.items()}
        for pod, slot in found.places:
            cache.lower(pod, slot)
            for resource, value in asked(pod).items():
                left[resource][slot] -= value
        try:
            why = {pod.key: rules.why_not(pod, after.lost, left) for pod in found.left}
        finally:
            for pod, _ in found.places:
                cache.lift(pod)
    return tuple((by_key[pod.key], slot) for pod, slot in found.places), why


def stand(
    rules: Rules, lost: Iterable[str], backups: Iterable[Backup], placeholders: Collection[PlacedPod]
) -> bool:
    """Whether backups that were laid down together may still be where they lie, in one order or another.

    Args:
        rules: The rules, and the cache, which is as it was in the end.
        lost: The nodes that are lost.
        backups: Those of pods that run there.
        placeholders: Pods that give way.
    """
    by_key = {backup.key: backup for backup in backups}
    cache = rules.cache
    with Supposed(cache, lost, placeholders) as after:
        left = [pod for pod in after.victims if pod.key in by_key]
        placed: list[PlacedPod] = []
        try:
            before = len(left) + 1
            while len(left) < before:
                before = len(left)
                for pod in list(left):
                    slot = by_key[pod.key].slot
                    if not after.lost[slot] and rules.legal(pod)[slot]:
                        cache.lower(pod, slot)
                        placed.append(pod)
                        left.remove(pod)
        finally:
            for pod in placed:
                cache.lift(pod)
    return len(placed) == len(by_key)
