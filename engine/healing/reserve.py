"""The reserve: where to keep how much, so that every single loss of a domain can be survived.

One reserve is shared by all losses: on each node what the worst of them asks of it is kept. A backup place obeys the
rules of the pod that it is for. Each new pod gets the place where what is kept grows least; places laid down before
stay, until `engine.healing.improvement` finds better ones. Finding the least is NP-hard already without rules: one
loss alone is bin packing.

Pods that other pods bear on only by the room they take are placed by sums. Those whose rules look at other pods
(spread, affinity, a port, a delay from a workload, …) are placed all together for each loss, by the search that the
proof uses, on the cluster as it is right after it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.constraints.protocol import Mask, Slots
from engine.healing.headroom import Headroom
from engine.healing.ledger import MEMORY, Backup, Ledger
from engine.healing.losses import Membership
from engine.healing.reserve_check import moves
from engine.healing.rules import Rules, asked
from engine.healing.shortage import beyond, shortage
from engine.healing.together import Places, arrange
from engine.model.objects import PodKey
from engine.placement.placer import Placer
from engine.state.cache import Cache
from engine.state.pods import PlacedPod

_STEPS: Final = 2_000
"""The bound of a search for backups that are laid down together: some 200 ms."""
_STEPS_AT_ONCE: Final = 100
"""The same where a pod that just came waits for it; `Reserve.retry` looks longer."""


class Reserve:
    """Backups of covered pods on one cache, kept up as pods come and go.

    Args:
        cache: The pods and nodes.
        placer: Decides on that cache; its rules are those of the backups.
        covered: Which pods are to be covered.
        label: The label that tells the domain's members apart, None where each node is one.
        at_most: The most that may be kept, as a share of the memory that all pods on nodes ask for; None for no limit.
        placeholders: The pods that hold what is kept at the moment: their room counts as free.

    Attributes:
        backups: Those that have a place.
        uncovered: Those that have none, and why.
    """

    def __init__(
        self,
        cache: Cache,
        placer: Placer,
        covered: Callable[[PlacedPod], bool],
        label: str | None = None,
        at_most: float | None = None,
        placeholders: Collection[PlacedPod] = (),
    ) -> None:
        self._cache = cache
        self._columns = cache.columns
        self._rules = Rules(cache, placer, 0.0)
        self._covered = covered
        self._domain = Membership(cache.columns, label)
        self._headroom = Headroom(cache.columns, at_most, placeholders)
        self.ledger = Ledger(cache.columns.capacity)
        self.backups: dict[PodKey, Backup] = {}
        self.uncovered: dict[PodKey, str] = {}
        self._nodes_seen = -1
        self._popular: NDArray[np.float64] = np.zeros(cache.columns.capacity)
        self._members: dict[str, set[PodKey]] = {}
        self._loss_of: dict[PodKey, str] = {}
        self._patience = _STEPS_AT_ONCE

    # Asking

    def kept(self) -> dict[str, dict[str, int]]:
        """What is to be kept: node → resource → amount, as `engine.healing.check` reads it."""
        ledger = self.ledger
        ledger.settle()
        return {
            self._columns.names[slot]: {
                resource: int(value)
                for resource, value in zip(ledger.resources, ledger.kept[:, slot], strict=True)
                if value
            }
            for slot in np.flatnonzero(ledger.kept.any(axis=0)).tolist()
        }

    @property
    def kept_memory(self) -> int:
        """Bytes kept in all."""
        self.ledger.settle()
        return int(self.ledger.kept[MEMORY].sum())

    @property
    def cost(self) -> float:
        """What is made small: bytes of memory kept, with a little for cpu."""
        self.ledger.settle()
        return float(self._headroom.weights(self.ledger) @ self.ledger.kept.sum(axis=1))

    @property
    def requested_memory(self) -> int:
        """Bytes that pods on nodes ask for, placeholders aside."""
        return self._headroom.requested()

    def places(self) -> dict[PodKey, str]:
        """The node that each pod's backup lies on."""
        return {key: self._columns.names[one.slot] for key, one in self.backups.items()}

    def backup(self, key: PodKey) -> str | None:
        """The node that a pod's backup lies on, None where it has none."""
        found = self.backups.get(key)
        return None if found is None else self._columns.names[found.slot]

    # What happens

    def put_all(self, pods: Iterable[PlacedPod], now: float) -> None:
        """Take in many pods at once: the more important first, then those with fewer places, then the larger."""
        self._begin(now)
        self._put_all(pods)

    def put(self, pod: PlacedPod, now: float) -> None:
        """A pod came to its node, or changed."""
        self._begin(now)
        self._put_all((pod,))

    def drop(self, key: PodKey, now: float) -> None:
        """A pod is gone from its node."""
        self._begin(now)
        loss = self._forget(key)
        if loss is not None and any(self.backups[one].fixed for one in self._of(loss)):
            self._arrange(loss)

    def hold(self, placeholders: Collection[PlacedPod], now: float) -> None:
        """Other pods hold what is kept from now on."""
        self._headroom.placeholders = set(placeholders)
        self._headroom.refresh(self.ledger, anew=True)
        self._begin(now)

    def retry(self, now: float) -> int:
        """Look again at the pods that are not covered. Returns how many more are now."""
        self._begin(now)
        before = len(self.uncovered)
        self._patience = _STEPS
        self._put_all([pod for key in list(self.uncovered) if (pod := self._cache.pod(key)) is not None])
        self._patience = _STEPS_AT_ONCE
        return before - len(self.uncovered)

    def follow(self, now: float) -> None:
        """Bring all up to now where nothing of the covered pods changed, but perhaps of nodes and other pods."""
        self._begin(now)

    def revise(self, now: float) -> None:
        """Ask the rules again about every pod; a backup stays where it is as long as they let it.

        For when nodes or delays changed; and from time to time, as rules that look at other pods may come to say
        something else with any of them.
        """
        self._nodes_seen = -1
        self._begin(now)

    # For whoever makes it smaller

    def loose(self) -> Iterator[Backup]:
        """The backups that may lie elsewhere, as far as other pods are concerned."""
        return (backup for backup in self.backups.values() if not backup.fixed)

    def best(
        self, backup: Backup, banned: Mask | None = None, noise: NDArray[np.float64] | None = None
    ) -> int | None:
        """Where a backup that lies nowhere adds least to what is kept; None where it fits nowhere.

        Args:
            backup: The backup.
            banned: Slots that are not to be used.
            noise: What to multiply costs with.
        """
        found = self._costs(backup)
        if found is None:
            return None
        slots, costs = found
        if banned is not None:
            allowed = ~banned[slots]
            slots, costs = slots[allowed], costs[allowed]
        if not len(slots):
            return None
        if noise is not None:
            costs = costs * noise[slots]
        return int(slots[np.argmin(costs)])

    # Inside

    def _costs(self, backup: Backup, legal: Mask | None = None) -> tuple[Slots, NDArray[np.float64]] | None:
        """The slots that a backup fits into, with what it costs there: by the byte, equals by fractions of one."""
        ledger = self.ledger
        ledger.settle()
        need = ledger.load(backup.loss)
        need += backup.amount[:, None]
        mask = (backup.legal if legal is None else legal) & (need <= self._headroom.free).all(axis=0)
        slots = np.flatnonzero(mask)
        if not len(slots):
            return None
        growth = need[:, slots] - ledger.kept[:, slots]
        spare = -growth[MEMORY]
        np.maximum(growth, 0, out=growth)
        if self._headroom.limit is not None:
            within = growth[MEMORY] <= max(self._headroom.limit - float(ledger.kept[MEMORY].sum()), 0)
            slots, growth, spare = slots[within], growth[:, within], spare[within]
            if not len(slots):
                return None
        costs: NDArray[np.float64] = self._headroom.weights(self.ledger) @ growth
        # Of equals the tightest; where something new has to be kept, where most other pods could share it.
        costs += np.where(
            spare >= 0, spare / 2.0**45, 0.5 - self._popular[slots] / (4.0 + 2 * self._popular.max())
        )
        return slots, costs

    def _begin(self, now: float) -> None:
        """Bring all up to now: what changed of nodes, and of what is free on them."""
        self._rules.now = now
        columns = self._columns
        if self.ledger.capacity < columns.capacity:
            more = columns.capacity - self.ledger.capacity
            self.ledger.grow(columns.capacity)
            self._popular = np.append(self._popular, np.zeros(more))
        changed = columns.node_changes.since(self._nodes_seen) if self._nodes_seen >= 0 else None
        self._headroom.refresh(self.ledger, anew=changed is None or bool(changed))
        if changed is None or changed:
            self._nodes_seen = columns.node_changes.version
            before = {key: backup.slot for key, backup in self.backups.items()}
            known = [*self._loss_of, *(key for key in self.uncovered if key not in self._loss_of)]
            pods = [pod for key in known if (pod := self._cache.pod(key)) is not None]
            for key in known:
                self._forget(key)
            self._put_all(pods, before)
        self._make_fit()
        self._trim()

    def _put_all(self, pods: Iterable[PlacedPod], before: Mapping[PodKey, int] | None = None) -> None:
        """Lay backups down, each where it was before, if it may be there."""
        fresh: list[Backup] = []
        entangled: dict[str, None] = {}
        for pod in pods:
            backup = self._take_in(pod)
            if backup is not None and not backup.fixed:
                fresh.append(backup)
            elif backup is not None:
                entangled[backup.loss] = None
        for loss in entangled:
            self._arrange(loss)
        if len(fresh) > 1:
            places = {backup.key: int(np.count_nonzero(backup.legal)) for backup in fresh}
            fresh.sort(key=lambda one: (-one.priority, places[one.key], -one.asked.get("memory", 0), one.key))
        moving: list[Backup] = []
        for backup in fresh:
            slot = -1 if before is None else before.get(backup.key, -1)
            if slot >= 0 and backup.legal[slot]:
                self.backups[backup.key] = backup
                self.ledger.put(backup, slot)
            else:
                moving.append(backup)
        for backup in moving:
            self._lay(backup)

    def _make_fit(self) -> None:
        """Take up backups where more is kept than there is, the least important first, and lay them down again."""
        self.ledger.settle()
        short = np.flatnonzero((self.ledger.kept > np.maximum(self._headroom.free, 0)).any(axis=0))
        if not len(short):
            return
        taken: list[Backup] = []
        again: dict[str, None] = {}
        by_slot: dict[int, list[Backup]] = {int(slot): [] for slot in short}
        for backup in self.backups.values():
            if backup.slot in by_slot:
                by_slot[backup.slot].append(backup)
        for slot, backups in by_slot.items():
            backups.sort(key=lambda one: (one.priority, -one.asked.get("memory", 0), one.key))
            for backup in backups:
                if (self.ledger.kept[:, slot] <= np.maximum(self._headroom.free[:, slot], 0)).all():
                    break
                self.ledger.take(backup)
                self.ledger.settle()
                if backup.fixed:
                    again[backup.loss] = None
                else:
                    del self.backups[backup.key]
                    taken.append(backup)
        for loss in again:
            self._arrange(loss)
        for backup in taken:
            self._lay(backup)

    def _trim(self) -> None:
        """Give up backups while more is kept than the limit allows, which falls as pods go: least important first."""
        ledger = self.ledger
        while self._headroom.limit is not None and self.kept_memory > self._headroom.limit:
            peaks = {slot: ledger.peaks(slot) for slot in np.flatnonzero(ledger.kept[MEMORY]).tolist()}
            victim = min(
                (one for one in self.backups.values() if one.loss in peaks.get(one.slot, ())),
                key=lambda one: (one.priority, one.fixed, -one.asked.get("memory", 0), one.key),
            )
            # Those whose rules look at each other were let pass beside each other: they go together.
            group = [self.backups[key] for key in sorted(self._of(victim.loss))] if victim.fixed else [victim]
            for backup in group:
                if backup.fixed is victim.fixed:
                    ledger.take(backup)
                    del self.backups[backup.key]
                    if not backup.fixed:
                        self._popular[: backup.capacity] -= backup.legal
                    self.uncovered[backup.key] = beyond(backup, self._headroom)

    def _take_in(self, pod: PlacedPod) -> Backup | None:
        """A backup for a pod, which lies nowhere yet; None where it is not to have one, or cannot."""
        self._forget(pod.key)
        if not pod.counts or pod in self._headroom.placeholders or not moves(pod) or not self._covered(pod):
            return None
        loss = self._domain.of(pod)
        if loss is None:
            self.uncovered[pod.key] = f'its node {pod.node} has no label "{self._domain.label}"'
            return None
        self._members.setdefault(loss, set()).add(pod.key)
        self._loss_of[pod.key] = loss
        lost = self._domain.slots(loss)
        requirements = self._rules.placer.requirements(pod, self._rules.now)
        names = {self._columns.names[slot] for slot in lost}
        by_lost = any(one.name in names for one in (*requirements.origins, *requirements.needed))
        fixed = by_lost or not self._rules.only_room_matters(pod)
        backup = Backup(pod.key, pod.shape.priority, loss, asked(pod), fixed)
        before = len(self.ledger.resources)
        backup.amount = self.ledger.amount(backup.asked)
        if len(self.ledger.resources) != before:
            self._pad()
        if fixed:
            self.backups[pod.key] = backup
            return backup
        mask: Mask = np.zeros(self._columns.capacity, dtype=np.bool_)
        everywhere = np.arange(self._columns.capacity)
        for evaluation in self._rules.evaluations(pod):
            mask |= evaluation.bearable(everywhere)
        mask[lost] = False
        backup.legal = mask
        self._popular += mask
        return backup

    def _pad(self) -> None:
        """A resource is new: every amount gets its row."""
        for one in self.backups.values():
            one.amount = self.ledger.amount(one.asked)
        self._headroom.refresh(self.ledger, anew=True)

    def _lay(self, backup: Backup) -> None:
        slot = self.best(backup)
        if slot is None and not self._make_way(backup):
            self.uncovered[backup.key] = shortage(backup, self.ledger, self._headroom)
            self._popular[: backup.capacity] -= backup.legal
            return
        self.uncovered.pop(backup.key, None)
        self.backups[backup.key] = backup
        if slot is not None:
            self.ledger.put(backup, slot)

    def _make_way(self, backup: Backup) -> bool:
        """Lay a backup down by laying others of its loss elsewhere: only those take room that it may not take, too."""
        fits = (self._headroom.free >= backup.amount[:, None]).all(axis=0) & backup.legal
        others = [one for key in sorted(self._of(backup.loss)) if not (one := self.backups[key]).fixed]
        if not others or not fits.any():
            return False
        old = {one: self.ledger.take(one) for one in others}
        places, why = self._together(backup.loss, [*others, backup], self._patience)
        for one, slot in places:
            self.ledger.put(one, slot)
        limit = self._headroom.limit
        if not why and (limit is None or self.kept_memory <= limit):
            return True
        for one, _ in places:
            self.ledger.take(one)
        for one, slot in old.items():
            self.ledger.put(one, slot)
        return False

    def _together(self, loss: str, backups: list[Backup], steps: int) -> tuple[Places, dict[PodKey, str]]:
        load = self.ledger.load(loss)
        room = {
            resource: np.maximum(free, 0) - load[row]
            for row, (resource, free) in enumerate(
                zip(self.ledger.resources, self._headroom.free, strict=True)
            )
        }

        def costs(backup: Backup) -> NDArray[np.float64]:
            everywhere = np.full(self._columns.capacity, np.inf)
            found = self._costs(backup, self._columns.alive)
            if found is not None:
                everywhere[found[0]] = found[1]
            return everywhere

        lost = [self._columns.names[slot] for slot in self._domain.slots(loss)]
        found = arrange(self._rules, lost, backups, room, costs, self._headroom.placeholders, steps)
        # To find that out, nodes were taken for lost and given back.
        self._nodes_seen = self._columns.node_changes.version
        return found

    def _arrange(self, loss: str) -> None:
        """Lay down, all together, the backups of a loss whose rules look at other pods."""
        entangled = [one for key in sorted(self._of(loss)) if (one := self.backups[key]).fixed]
        for backup in entangled:
            if backup.slot >= 0:
                self.ledger.take(backup)
        places, why = self._together(loss, entangled, _STEPS)
        within = True
        for backup, slot in places:
            # What comes after one that is left out was let pass beside it, and may not be without it.
            self.ledger.put(backup, slot)
            within = within and (self._headroom.limit is None or self.kept_memory <= self._headroom.limit)
            if within:
                self.uncovered.pop(backup.key, None)
            else:
                self.ledger.take(backup)
                why[backup.key] = beyond(backup, self._headroom)
        for key, reason in why.items():
            del self.backups[key]
            self.uncovered[key] = reason

    def _forget(self, key: PodKey) -> str | None:
        """Take a pod's backup up, and all that is known of it. Returns the loss that it was for."""
        self.uncovered.pop(key, None)
        backup = self.backups.pop(key, None)
        if backup is not None:
            if not backup.fixed:
                self._popular[: backup.capacity] -= backup.legal
            if backup.slot >= 0:
                self.ledger.take(backup)
        loss = self._loss_of.pop(key, None)
        if loss is not None:
            self._members[loss].discard(key)
            if not self._members[loss]:
                del self._members[loss]
        return loss

    def _of(self, loss: str) -> list[PodKey]:
        return [key for key in self._members.get(loss, ()) if key in self.backups]
