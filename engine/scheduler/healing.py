"""Carries plans of moves out: asks pods to leave, and sees to it that their replacements get the places meant for them.

::

    plan ──▶ room at the target promised ──▶ pod asked to leave ──▶ its replacement comes ──▶ bound there
                     │                              │ refused                 │ none comes
                     └──────────── taken back ◀─────┴──────────◀──────────────┘

Nothing of this has to survive us: who is lost, who is going and who waits is in the cluster, and is planned anew.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from engine.binder.errands import Delete, Errand, ErrandExecutor, ErrandResult, Evict, Promise, Step, Tell
from engine.clock import utc
from engine.healing.pace import Pace
from engine.healing.plan import Move, Plan, Way
from engine.healing.planner import Planner
from engine.healing.situation import Situation
from engine.model.objects import Condition, PodKey
from engine.model.shape import Workload
from engine.placement import Placer
from engine.scheduler.hurry import Hurry
from engine.scheduler.metrics import Metrics
from engine.scheduler.queue import SchedulingQueue
from engine.scheduler.refusals import Refusals
from engine.scheduler.remaking import Remaking
from engine.scheduler.reserving import Reserving
from engine.scheduler.telling import Telling
from engine.state.cache import Cache
from engine.state.pods import Phase, PlacedPod
from grammar.policy import Heal, Trigger

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.25
"""Plans are not made more often than that, whatever happens; but every other one is, where something falls due."""
_AT_ONCE: Final = 500
"""Pods of which a look finds out whether they break a rule: 15 to 50 ms."""
LAPSE_SECONDS: Final = 45.0
"""How long a place stays promised to a replacement that does not come: the workload may have been made smaller."""
HEALING: Final = "Healing"
"""The reason of the condition by which a pod is told that it is to leave."""
_PROMISED: Final = "~moving"
"""What the stand-in of a replacement is called after the pod that it replaces; no pod's name has it."""


@dataclass(slots=True)
class _UnderWay:
    """A move that was begun.

    Attributes:
        move: Which.
        pod: The pod that leaves, as it was then.
        stand_in: Takes up the room at the target until the replacement is there.
        since: Seconds since the epoch.
        heir: The replacement, once it is there.
    """

    move: Move
    pod: PlacedPod
    stand_in: PlacedPod
    since: float
    heir: PodKey | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """The subject of an errand that only says why: whoever waits for a place does not wait for that."""

    pod: PodKey


class Healing:
    """Moves under way, and what is planned.

    Args:
        cache: What is known of the cluster; promises are nominations there.
        placer: Whose rules hold, and whose plan says what is healed.
        queue: Who waits.
        executor: Asks pods to leave; results come back through `ended`.
        telling: Tells people.
        metrics: Takes counts.
        reserving: Where room is kept for whom.
        remaking: Makes bare pods anew.
        ours: Whether a pod is ours to schedule.

    Attributes:
        plan: The last one.
    """

    def __init__(
        self,
        cache: Cache,
        placer: Placer,
        queue: SchedulingQueue,
        executor: ErrandExecutor,
        telling: Telling,
        metrics: Metrics,
        reserving: Reserving,
        remaking: Remaking,
        ours: Callable[[PlacedPod], bool],
    ) -> None:
        self._cache = cache
        self._placer = placer
        self._queue = queue
        self._executor = executor
        self._telling = telling
        self._metrics = metrics
        self._reserving = reserving
        self._remaking = remaking
        self._ours = ours
        self._planner: Planner | None = None
        self._heals: Sequence[Heal] = ()
        self._pace = Pace()
        self._refusals = Refusals()
        self._hurry = Hurry()
        self._now = 0.0
        self._contacts: tuple[Mapping[str, float], float] | None = None
        self._contact_s = 120.0
        self._under_way: dict[PodKey, _UnderWay] = {}
        self._by_workload: dict[tuple[str, Workload], list[_UnderWay]] = {}
        self._heirs: dict[PodKey, _UnderWay] = {}
        self._stays: dict[tuple[PodKey, str], str] = {}
        self._held: dict[tuple[str, str], str] = {}
        self._recalled = False
        self._changed = True
        self._looked_at = 0.0
        self._look_at = 0.0
        self._due: float | None = None
        self.plan = Plan()

    @property
    def moves(self) -> list[Move]:
        """Those whose replacement has not come, or is not on its node yet."""
        return [one.move for one in self._under_way.values()]

    def expects(self, key: PodKey) -> bool:
        """Whether a pod takes the place of one that was moved."""
        return key in self._heirs

    def hurries(self, now: float) -> bool:
        """Whether pods of lost nodes are on their way, so that what is only said has to wait; any thread may ask."""
        return self._hurry.lasts(now, bool(self._under_way))

    # What happens

    def plan_changed(self) -> None:
        """Other policies are in force; moves under way go on."""
        self._planner = None
        self._changed = True

    def something_changed(self) -> None:
        """A node, a pod or a delay is not what it was."""
        self._changed = True

    def contacts(self, contacts: Mapping[str, float] | None, counts_s: float, now: float) -> None:
        """Seconds since each node's probe was reached by another, as of now; they count for so long."""
        self._contacts = None if contacts is None else (contacts, now)
        self._contact_s = counts_s

    def arrived(self, placed: PlacedPod) -> None:
        """A pod came that has no node: if a replacement is waited for, it gets the place that was promised to it."""
        waiting = self._by_workload.get((placed.shape.namespace, placed.workload))
        if not waiting or placed.key in self._heirs or placed.key in self._under_way:
            return
        free = [one for one in waiting if one.heir is None]
        if not free:
            return
        # A StatefulSet's pod has the name of the one before it; others any.
        found = next((one for one in free if one.pod.key.name == placed.key.name), free[0])
        nominations = self._cache.nominations
        nominations.drop(found.stand_in.key)
        nominations.put(placed, found.move.target)
        found.heir = placed.key
        self._heirs[placed.key] = found

    def placed(self, key: PodKey, node: str) -> None:
        """A pod got its node."""
        found = self._heirs.pop(key, None)
        if found is not None:
            log.info(
                "pod %s takes the place of %s on %s",
                key,
                found.pod.key,
                node,
                extra={"pod": str(key), "node": node, "heal": found.move.heal.name},
            )
            self._metrics.moved(found.move.heal.name, found.move.way.value, "placed")
            self._end(found)

    def gone(self, key: PodKey) -> None:
        """A pod is gone."""
        self._refusals.forget(key)
        found = self._heirs.pop(key, None)
        if found is not None:  # another one will come in its place
            found.heir = None
            self._cache.nominations.put(found.stand_in, found.move.target)
        self._changed = True

    def ended(self, result: ErrandResult, now: float) -> None:
        """A pod was asked to leave, or could not be."""
        move = result.errand.subject
        assert isinstance(move, Move)
        found = self._under_way.get(move.pod)
        if not result.message or found is None:
            return
        log.warning(
            "pod %s was not moved from %s: %s",
            move.pod,
            move.source,
            result.message,
            extra={"pod": str(move.pod), "node": move.source, "heal": move.heal.name},
        )
        self._metrics.moved(move.heal.name, move.way.value, "refused")
        self._refusals.refused(move.pod, now)
        self._take_back(found)

    # The work

    def tend(self, now: float, waiting: Callable[[], Mapping[PodKey, float]]) -> None:
        """Plan where something may be wrong, and begin what is planned.

        Args:
            now: Seconds since the epoch.
            waiting: Says which pods of ours no node takes, and since when.
        """
        self._remaking.tend(now)
        self._lapse(now)
        for errand in self._hurry.over(now, bool(self._under_way)):
            self._executor.submit(errand)
        if self._planner is None:
            self._heals = self._placer.plan.policy.heals
            self._planner = Planner(self._cache, self._placer, self._heals, _AT_ONCE)
            if not self._recalled:
                self._recalled = True
                self._recall()
        if not self._heals or now < self._look_at:
            return
        if not self._changed and (self._due is None or now < self._due):
            return
        self._changed = False
        self._now = now
        early = now < self._looked_at + LOOK_SECONDS
        self._looked_at = now
        self._look_at = now + LOOK_SECONDS
        rooms = any(heal.trigger is Trigger.POD_UNSCHEDULABLE for heal in self._heals)
        self.plan = plan = self._planner.plan(now, self._situation(now, waiting() if rooms else {}))
        if plan.due is not None and not early:
            self._look_at = min(self._look_at, plan.due)
        due = (plan.due, self._refusals.next_end(now), now if self._planner.behind else None)
        self._due = min((one for one in due if one is not None), default=None)
        self._tell(plan, now)
        self._begin(plan.moves, now)

    def next_due(self, now: float) -> float | None:
        """When there is something to do even if nothing comes in."""
        lapses = [one.since + LAPSE_SECONDS for one in self._under_way.values()]
        others = (self._remaking.next_due(), self._hurry.next_end)
        due = [*lapses, *(one for one in others if one is not None)]
        if self._heals or self._planner is None:
            if self._changed:
                due.append(max(now, self._look_at))
            elif self._due is not None:
                due.append(max(self._due, self._look_at))
        return min(due, default=None)

    # Inside

    def _situation(self, now: float, waiting: Mapping[PodKey, float]) -> Situation:
        contacts = None
        if self._contacts is not None:
            ages, as_of = self._contacts
            contacts = {node: age + now - as_of for node, age in ages.items()}
        return Situation(
            backups=self._reserving.backups(),
            placeholders=self._reserving.placeholders(),
            waiting=waiting,
            contacts=contacts,
            contact_s=self._contact_s,
            pace=self._pace,
            ours=self._may_move,
        )

    def _recall(self) -> None:
        """Count the moves of whoever ran before us that can still be seen: the rate of a rule outlives a kill."""
        heals = {heal.name: heal for heal in self._heals}
        for pod in self._cache.pods():
            told = pod.pod.condition("DisruptionTarget") if pod.phase is Phase.TERMINATING else None
            if told is None or told.reason != HEALING or told.last_transition_time is None:
                continue
            heal = heals.get(told.message.removeprefix("heal ").split(":")[0])
            if heal is not None:
                move = Move(pod.key, pod.node, "", Way.DELETE, heal, told.message)
                self._pace.carried_out(move, pod, told.last_transition_time.timestamp())

    def _may_move(self, pod: PlacedPod) -> bool:
        return (
            self._ours(pod)
            and pod.key not in self._under_way
            and not self._refusals.pauses(pod.key, self._now)
        )

    def _begin(self, moves: Iterable[Move], now: float) -> None:
        released: set[PodKey] = set()
        by_source: Counter[tuple[str, Heal]] = Counter()
        told: list[Errand] = []
        for move in moves:
            placed = self._cache.pod(move.pod)
            if placed is None or move.pod in self._under_way:
                continue
            stand_in = replace(
                placed,
                key=PodKey(move.pod.namespace, f"{move.pod.name}{_PROMISED}", move.pod.uid),
                phase=Phase.QUEUED,
                node="",
                slot=-1,
            )
            release = [key for key in self._reserving.in_the_way(placed, move.target) if key not in released]
            released.update(release)
            steps = tuple(self._steps(move, placed, release, now))
            self._cache.nominations.put(stand_in, move.target)
            if move.helps is not None and (helped := self._cache.pod(move.helps)) is not None:
                self._cache.nominations.put(helped, move.source)
            under_way = _UnderWay(move, placed, stand_in, now)
            self._under_way[move.pod] = under_way
            self._by_workload.setdefault((placed.shape.namespace, placed.workload), []).append(under_way)
            self._pace.carried_out(move, placed, now)
            self._telling.moving(placed.pod, move, now)
            self._metrics.moved(move.heal.name, move.way.value, "sent")
            by_source[move.source, move.heal] += 1
            log.info(
                "pod %s moves from %s to %s: %s",
                move.pod,
                move.source,
                move.target,
                move.why,
                extra={"pod": str(move.pod), "node": move.source, "heal": move.heal.name},
            )
            self._executor.submit(Errand(move, steps))
            if move.heal.trigger is Trigger.NODE_LOST:
                self._hurry.begin(now)
            if move.way is Way.DELETE and not _told_first(placed):
                errand = Errand(Told(move.pod), (_told(move, now),))
                if move.heal.per_ms is None:
                    self._hurry.say(errand)
                else:
                    told.append(errand)
        for errand in told:  # a rate is counted by them after a kill
            self._executor.submit(errand)
        for (node, heal), pods in by_source.items():
            if heal.trigger in (Trigger.NODE_LOST, Trigger.NODE_DRAINING):
                self._telling.healing(node, heal, pods, now)

    def _steps(self, move: Move, pod: PlacedPod, release: Sequence[PodKey], now: float) -> Iterable[Step]:
        if move.helps is not None:
            yield Promise(move.helps, move.source)
        for key in release:
            yield Delete(key, 0)
        if move.way is Way.EVICT:
            yield Evict(move.pod)
            return
        if move.way is Way.DELETE and not _told_first(pod):
            yield Delete(move.pod)  # it stays, terminating, and is told why later
            return
        yield _told(move, now)
        if move.way is Way.DELETE:
            yield Delete(move.pod)
            return
        if move.way is Way.RECREATE:
            yield from self._remaking.steps(move, pod)
        else:
            yield Delete(move.pod, 0)

    def _lapse(self, now: float) -> None:
        """Take back promises that nobody came for."""
        for one in [one for one in self._under_way.values() if now >= one.since + LAPSE_SECONDS]:
            self._metrics.moved(one.move.heal.name, one.move.way.value, "lapsed")
            self._take_back(one)

    def _take_back(self, one: _UnderWay) -> None:
        self._cache.nominations.drop(one.stand_in.key)
        if one.heir is not None:
            self._heirs.pop(one.heir, None)
            self._cache.nominations.drop(one.heir)
        self._end(one)

    def _end(self, one: _UnderWay) -> None:
        del self._under_way[one.move.pod]
        key = (one.pod.shape.namespace, one.pod.workload)
        self._by_workload[key].remove(one)
        if not self._by_workload[key]:
            del self._by_workload[key]
        self._changed = True

    def _tell(self, plan: Plan, now: float) -> None:
        stays = {(one.pod, one.heal.name): one.reason for one in plan.stays}
        for one in plan.stays:
            if self._stays.get((one.pod, one.heal.name)) != one.reason:
                placed = self._cache.pod(one.pod)
                if placed is not None:
                    self._telling.staying(placed.pod, one, now)
        self._stays = stays
        held = {(node, one.heal.name): one.subject for one in plan.held for node in one.nodes}
        for silent in plan.held:
            news = [node for node in silent.nodes if (node, silent.heal.name) not in self._held]
            for node in news:
                self._telling.held(node, silent, now)
            if news:
                log.warning(
                    "pods of %s stay where they are: %s",
                    silent.subject,
                    silent.why,
                    extra={"heal": silent.heal.name},
                )
        self._held = held
        reasons = Counter((one.heal.name, one.reason) for one in plan.stays)
        self._metrics.unhealed(reasons, Counter(heal for _, heal in held))


def _told_first(pod: PlacedPod) -> bool:
    """Whether it matters to the pod's controller why it left: a Job's failure policy asks for this very condition."""
    return pod.workload.kind == "Job"


def _told(move: Move, now: float) -> Tell:
    reason = f"heal {move.heal.name}: {move.why}"
    return Tell(move.pod, Condition("DisruptionTarget", "True", HEALING, reason, utc(now)))
