"""Where backups may be by the rules, worked out when somebody asks, and after a change only for what changed.

A change of a node says at once something of few backups: those of pods that run there, those that lie there, and those
whose delays are measured from there. All others only have, perhaps, a place more or less than before, which is looked
up the next time that a place is sought for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.constraints.protocol import Mask, Slots
from engine.healing.bearing import Bearing
from engine.healing.ledger import Backup
from engine.healing.losses import Membership
from engine.healing.reserve_check import moves
from engine.healing.rules import Rules, asked
from engine.model.objects import PodKey
from engine.state.pods import PlacedPod

_MANY: Final = 8
"""Of more than so many-th of all nodes, it is as well to ask about all."""


class Legality:
    """What the rules say of backups, and of whom a node's change says something.

    Args:
        rules: The rules, and the cache.
        domain: What pods are lost with.
        covered: Which pods are to be covered.

    Attributes:
        popular: How many backups may be on each slot, as far as that was looked up. Shape (capacity,).
    """

    __slots__ = ("_bearing", "_cache", "_columns", "_covered", "_domain", "_rules", "_terms_seen", "popular")

    def __init__(self, rules: Rules, domain: Membership, covered: Callable[[PlacedPod], bool]) -> None:
        self._rules = rules
        self._cache = rules.cache
        self._columns = rules.cache.columns
        self._domain = domain
        self._covered = covered
        self._bearing = Bearing()
        self._terms_seen = rules.cache.tallies.newest
        self.popular: NDArray[np.float64] = np.zeros(self._columns.capacity)

    def wants(self, pod: PlacedPod) -> bool:
        """Whether the pod is to have a backup."""
        return pod.counts and moves(pod) and self._covered(pod)

    def backup(self, pod: PlacedPod, loss: str) -> Backup:
        """A backup for a pod, which lies nowhere yet, and where it may be."""
        lost = self._domain.slots(loss)
        origins = self._origins(pod)
        self._bearing.put(pod.key, (pod.slot, *origins))
        fixed = self._fixed(pod, lost, origins)
        backup = Backup(pod.key, pod.shape.priority, loss, asked(pod), fixed)
        if not fixed:
            mask = self._rules.bearable(pod, np.arange(self._columns.capacity))
            mask[lost] = False
            backup.legal = mask
            backup.seen = self._now()
            self._grow()
            self.popular += mask
        return backup

    def drop(self, backup: Backup) -> None:
        """A backup lies nowhere any more, and looks for no place."""
        if not backup.fixed:
            self.popular[: backup.capacity] -= backup.legal

    def forget(self, key: PodKey) -> None:
        """A pod has no backup any more."""
        self._bearing.forget(key)

    def bearing_on(self, slots: Iterable[int]) -> Iterator[PodKey]:
        """The pods that run on these nodes, or whose delays are measured from there."""
        return self._bearing.on(slots)

    def newly_meant(self, backups: Iterable[Backup]) -> list[PodKey]:
        """The pods that a term of affinity may mean which some pod was the first to hold since this was asked last."""
        tallies = self._cache.tallies
        seen, self._terms_seen = self._terms_seen, tallies.newest
        if seen == tallies.newest:
            return []
        pods = (self._cache.pod(one.key) for one in backups)
        return [one.key for one in pods if one is not None and any(tallies.held_since(one.shape, seen))]

    def of(self, backup: Backup) -> Mask:
        """Where a backup, whose rules look at no other pods, may be now. Shape (capacity,)."""
        now = self._now()
        if backup.seen == now and backup.capacity == self._columns.capacity:
            return backup.legal
        pod = self._cache.pod(backup.key)
        if pod is None or backup.seen is None:
            return backup.legal  # it is about to be dropped
        changed = self._columns.node_changes.since(backup.seen[0])
        before = backup.legal
        if (
            changed is None
            or len(changed) * _MANY > self._columns.size
            or backup.capacity != self._columns.capacity
            or (backup.seen[1] != now[1] and self._rules.placer.requirements(pod, self._rules.now).origins)
        ):
            mask = self._rules.bearable(pod, np.arange(self._columns.capacity))
        else:
            mask = before.copy()
            if changed:
                where = np.array(changed, dtype=np.int64)
                mask[where] = self._rules.bearable(pod, where)
        mask[self._domain.slots(backup.loss)] = False
        self._grow()
        self.popular[: len(before)] -= before
        self.popular += mask
        backup.legal = mask
        backup.seen = now
        return mask

    def stands(self, backup: Backup, pod: PlacedPod, loss: str | None) -> bool:
        """Whether a backup, whose rules look at no other pods, may stay where it is, for all that nodes and delays say.

        Args:
            backup: It lies somewhere.
            pod: For whom.
            loss: What the pod would be lost with now.
        """
        if loss != backup.loss or not self.wants(pod) or asked(pod) != backup.asked:
            return False
        lost = self._domain.slots(loss)
        origins = self._origins(pod)
        return (
            self._bearing.of(pod.key) == (pod.slot, *origins)
            and not self._fixed(pod, lost, origins)
            and backup.slot not in lost
            and bool(self._rules.bearable(pod, np.array([backup.slot]))[0])
        )

    # Inside

    def _fixed(self, pod: PlacedPod, lost: Slots, origins: tuple[int, ...]) -> bool:
        """Whether it is placed together with others: its rules look at other pods, or measure from what is lost."""
        return bool(np.isin(origins, lost).any()) or not self._rules.only_room_matters(pod)

    def _origins(self, pod: PlacedPod) -> tuple[int, ...]:
        """The nodes that its delays are measured from."""
        requirements = self._rules.placer.requirements(pod, self._rules.now)
        slots = (self._columns.slot(one.name) for one in (*requirements.origins, *requirements.needed))
        return tuple(dict.fromkeys(slot for slot in slots if slot is not None))

    def _now(self) -> tuple[int, str]:
        return self._columns.node_changes.version, self._rules.placer.delay_map.version

    def _grow(self) -> None:
        more = self._columns.capacity - len(self.popular)
        if more:
            self.popular = np.append(self.popular, np.zeros(more))
