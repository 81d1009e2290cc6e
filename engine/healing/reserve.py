"""The reserve: where to keep how much, so that every single loss of a domain can be survived.

One reserve is shared by all losses: on each node what the worst of them asks of it is kept. A backup place obeys the
rules of the pod that it is for. Each new pod gets the place where what is kept grows least; places laid down before
stay, until `engine.healing.improvement` finds better ones. To find the least is NP-hard: one loss alone is bin packing.

Pods that other pods bear on only by the room they take are placed by sums. Those whose rules look at other pods
(spread, affinity, a port, a delay from a workload, …) are placed all together for each loss, by the search that the
proof uses, on the cluster as it is right after it.

A change of nodes or delays has some of the pods asked about again: a few at a time, if so many are not to hold up
whoever waits. Other pods have the losses looked through again whose backups' rules look at pods, one at a time. Until
that is done a backup may lie where the rules would no longer have it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.healing.backlog import Backlog
from engine.healing.costs import Costs
from engine.healing.groups import Groups
from engine.healing.headroom import Headroom
from engine.healing.ledger import MEMORY, Backup, Ledger
from engine.healing.legality import Legality
from engine.healing.losses import Membership
from engine.healing.rules import Rules
from engine.healing.shortage import beyond, shortage
from engine.healing.together import Places, arrange, stand
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
        at_once: How many pods are asked about at a time, each at `follow`, where many came at once, or nodes or delays
            changed; None for all.

    Attributes:
        backups: Those that have a place.
        uncovered: Those that have none, and why.
        ledger: What lies where.
        costs: What that costs, and what it would.
        doubted: The losses that `renew` has yet to look at.
    """

    def __init__(
        self,
        cache: Cache,
        placer: Placer,
        covered: Callable[[PlacedPod], bool],
        label: str | None = None,
        at_most: float | None = None,
        placeholders: Collection[PlacedPod] = (),
        at_once: int | None = None,
    ) -> None:
        self._cache = cache
        self._columns = cache.columns
        self._rules = Rules(cache, placer, 0.0)
        self._domain = Membership(cache.columns, label)
        self._legality = Legality(self._rules, self._domain, covered)
        self._headroom = Headroom(cache.columns, at_most, placeholders)
        self.ledger = Ledger(cache.columns.capacity)
        self.costs = Costs(self.ledger, self._headroom, self._legality)
        self.backups: dict[PodKey, Backup] = {}
        self.uncovered: dict[PodKey, str] = {}
        self._nodes_seen = -1
        self._groups = Groups()
        self._patience = _STEPS_AT_ONCE
        self._at_once = at_once
        self._backlog = Backlog()
        self.doubted: dict[str, None] = {}

    # Asking

    @property
    def behind(self) -> int:
        """How many pods are still to be asked about; `follow` goes on with them."""
        return len(self._backlog)

    def kept(self) -> dict[str, dict[str, int]]:
        """What is to be kept: node → resource → amount, as `engine.healing.check` reads it."""
        return self.ledger.by_node(self._columns.names)

    @property
    def kept_memory(self) -> int:
        """Bytes kept in all."""
        self.ledger.settle()
        return int(self.ledger.kept[MEMORY].sum())

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
        if self._at_once is None:
            self._begin(now)
            self._put_all(pods)
            return
        many = sorted(pods, key=lambda one: (-one.shape.priority, -one.requests.get("memory", 0), one.key))
        self._backlog.add(pod.key for pod in many)
        self._backlog.changed(None)
        self._begin(now)

    def put(self, pod: PlacedPod, now: float) -> None:
        """A pod came to its node, or changed."""
        self._begin(now)
        self._backlog.done(pod.key)
        self._put_all((pod,))

    def drop(self, key: PodKey, now: float) -> None:
        """A pod is gone from its node."""
        self._begin(now)
        self._backlog.done(key)
        loss = self._forget(key)
        if loss is not None and self._entangled(loss):
            self._arrange(loss)

    def hold(self, placeholders: Collection[PlacedPod], now: float) -> None:
        """Other pods hold what is kept from now on."""
        self._headroom.placeholders = set(placeholders)
        self._headroom.refresh(self.ledger, anew=True)
        self._begin(now)

    def retry(self, now: float) -> int:
        """Look again at the pods that are not covered. Returns how many more are now."""
        self._begin(now)
        before, self._patience = len(self.uncovered), _STEPS
        self._put_all([pod for key in [*self.uncovered] if (pod := self._cache.pod(key)) is not None])
        self._patience = _STEPS_AT_ONCE
        return before - len(self.uncovered)

    def follow(self, now: float) -> None:
        """Bring all up to now where nothing of the covered pods changed, but perhaps of nodes and other pods."""
        self._begin(now)

    def revise(self, now: float) -> None:
        """Delays changed: ask the rules again about every pod; a backup stays where it is while they let it."""
        self._mark_all()
        self._begin(now)

    def doubt(self) -> None:
        """Other pods came or went, to whom rules of covered pods may look, or nodes: `renew` is to go through all."""
        self.doubted.update((backup.loss, None) for backup in self.backups.values() if backup.fixed)
        self._backlog.add(self._legality.newly_meant(self.loose()))

    def renew(self, now: float) -> bool:
        """See whether backups of the next loss in doubt may still be where they lie. Whether any are elsewhere now."""
        self._begin(now)
        loss = next(iter(self.doubted), None)
        if loss is None or self.behind:
            return False
        del self.doubted[loss]
        entangled = self._entangled(loss)
        stands = stand(self._rules, self._domain.nodes(loss), entangled, self._headroom.placeholders)
        self._nodes_seen = self._columns.node_changes.version
        if not stands:
            self._backlog.add(backup.key for backup in entangled)
            self._begin(now)
        return not stands

    # For whoever makes it smaller

    def loose(self) -> Iterator[Backup]:
        """The backups that may lie elsewhere, as far as other pods are concerned."""
        return (backup for backup in self.backups.values() if not backup.fixed)

    # Inside

    def _begin(self, now: float) -> None:
        """Bring all up to now: what changed of nodes, and of what is free on them."""
        self._rules.now = now
        columns = self._columns
        self.ledger.grow(columns.capacity)
        changed = columns.node_changes.since(self._nodes_seen)
        self._nodes_seen = columns.node_changes.version
        self._headroom.refresh(self.ledger)
        if changed is None:
            self._mark_all()
        elif changed:
            self._mark(changed)
        self._ask_again()
        self._make_fit()
        self._trim()

    def _mark_all(self) -> None:
        """Everybody is to be asked about again."""
        self._backlog.add((*self._groups.pods, *self.uncovered))
        self._backlog.changed(None)

    def _mark(self, changed: Collection[int]) -> None:
        """Nodes changed: who runs or lies there, is measured from there, or may hope for room there is asked again."""
        self._backlog.add(self._legality.bearing_on(changed))
        self._backlog.add(backup.key for slot in changed for backup in self.ledger.on(slot))
        self._backlog.add(self.uncovered)
        self._backlog.changed(changed)
        self.doubt()

    def _ask_again(self) -> None:
        """Ask about some of those that are to be; a backup stays where it was, if it may be there."""
        before: dict[PodKey, int] = {}
        pods: list[PlacedPod] = []
        slots = self._backlog.slots
        bearing = None if slots is None else set(self._legality.bearing_on(slots))
        for key in self._backlog.first(self._at_once):
            if key not in self._backlog or self._needless(key, slots, bearing):
                self._backlog.done(key)
                continue
            backup = self.backups.get(key)
            together = self._entangled(backup.loss) if backup is not None and backup.fixed else ()
            for one in [each.key for each in together] or [key]:
                self._backlog.done(one)
                if one in self.backups:
                    before[one] = self.backups[one].slot
                self._forget(one)
                if (pod := self._cache.pod(one)) is not None:
                    pods.append(pod)
            if together and self._at_once is not None:
                break  # to lay down a whole loss is enough for once
        if pods:
            self._put_all(pods, before)

    def _needless(self, key: PodKey, slots: Iterable[int] | None, bearing: Collection[PodKey] | None) -> bool:
        """Whether all that changed says nothing of a pod's backup: it may stay, or there is still none.

        Args:
            key: The pod.
            slots: What changed, None where more than nodes did.
            bearing: Those that changed nodes say more of than that there is or is not a place; None where more than
                nodes changed.
        """
        pod = self._cache.pod(key)
        if pod is None:
            return False
        backup = self.backups.get(key)
        if backup is not None:
            return not backup.fixed and self._legality.stands(backup, pod, self._domain.of(pod))
        if key not in self.uncovered or key not in self._groups:
            return False
        if slots is None or bearing is None or key in bearing:
            return False
        return not self._rules.bearable(pod, np.array(sorted(slots), dtype=np.int64)).any()

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
            places = {one.key: int(np.count_nonzero(self._legality.of(one))) for one in fresh}
            fresh.sort(key=lambda one: (-one.priority, places[one.key], -one.asked.get("memory", 0), one.key))
        moving: list[Backup] = []
        for backup in fresh:
            slot = -1 if before is None else before.get(backup.key, -1)
            if slot >= 0 and self._legality.of(backup)[slot]:
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
        for slot in short.tolist():
            backups = self.ledger.on(slot)
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
            for backup in self._entangled(victim.loss) if victim.fixed else [victim]:
                ledger.take(backup)
                del self.backups[backup.key]
                self._legality.drop(backup)
                self.uncovered[backup.key] = beyond(backup, self._headroom)

    def _take_in(self, pod: PlacedPod) -> Backup | None:
        """A backup for a pod, which lies nowhere yet; None where it is not to have one, or cannot."""
        self._forget(pod.key)
        if pod in self._headroom.placeholders or not self._legality.wants(pod):
            return None
        loss = self._domain.of(pod)
        if loss is None:
            self.uncovered[pod.key] = f'its node {pod.node} has no label "{self._domain.label}"'
            return None
        self._groups.put(pod.key, loss)
        backup = self._legality.backup(pod, loss)
        before = len(self.ledger.resources)
        backup.amount = self.ledger.amount(backup.asked)
        if len(self.ledger.resources) != before:
            self._pad()
        if backup.fixed:
            self.backups[pod.key] = backup
        return backup

    def _pad(self) -> None:
        """A resource is new: every amount gets its row."""
        for one in self.backups.values():
            one.amount = self.ledger.amount(one.asked)
        self._headroom.refresh(self.ledger, anew=True)

    def _lay(self, backup: Backup) -> None:
        slot = self.costs.best(backup)
        if slot is None and not self._make_way(backup):
            self.uncovered[backup.key] = shortage(backup, self.ledger, self._headroom)
            self._legality.drop(backup)
            return
        self.uncovered.pop(backup.key, None)
        self.backups[backup.key] = backup
        if slot is not None:
            self.ledger.put(backup, slot)

    def _make_way(self, backup: Backup) -> bool:
        """Lay a backup down by laying others of its loss elsewhere: only those take room that it may not take, too."""
        fits = (self._headroom.free >= backup.amount[:, None]).all(axis=0) & self._legality.of(backup)
        others = [one for one in self._of(backup.loss) if not one.fixed]
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
        def costs(backup: Backup) -> NDArray[np.float64]:
            everywhere = np.full(self._columns.capacity, np.inf)
            found = self.costs.of(backup, self._columns.alive)
            if found is not None:
                everywhere[found[0]] = found[1]
            return everywhere

        lost, room = self._domain.nodes(loss), self.ledger.room(loss, self._headroom.free)
        found = arrange(self._rules, lost, backups, room, costs, self._headroom.placeholders, steps)
        # To find that out, nodes were taken for lost and given back.
        self._nodes_seen = self._columns.node_changes.version
        return found

    def _arrange(self, loss: str) -> None:
        """Lay down, all together, the backups of a loss whose rules look at other pods."""
        entangled = self._entangled(loss)
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
            self._legality.drop(backup)
            if backup.slot >= 0:
                self.ledger.take(backup)
        self._legality.forget(key)
        return self._groups.forget(key)

    def _of(self, loss: str) -> list[Backup]:
        return [self.backups[key] for key in self._groups.of(loss) if key in self.backups]

    def _entangled(self, loss: str) -> list[Backup]:
        """Those of a loss whose rules look at other pods."""
        return [one for one in self._of(loss) if one.fixed]
