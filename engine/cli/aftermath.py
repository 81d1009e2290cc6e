"""What healing and reserves came to in a simulation: who moved and why, what was held, what is kept, what is broken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from engine.cli.placements import Placements, Row
from engine.cli.reserve_report import many
from engine.cli.reserve_view import CPU, MEMORY, Planned, ReserveView, view
from engine.cli.timeline import KEEPS, Entry
from engine.constraints.telling import shown
from engine.healing.breaches import Breaches
from engine.healing.placeholders import label_of
from engine.healing.plan import Held, Move, Plan, Stay
from engine.model.objects import Pod, PodKey
from engine.model.placeholder import holds_for
from engine.scheduler.simulation import Simulation
from grammar.policy import Heal, Rule

_BURST_SECONDS: Final = 2.0
"""What is kept differs several times while pods come; only what it is after that is told."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A pod that was moved.

    Attributes:
        time: Seconds since the start.
        left: Whether it has left its node, or is terminating; if not, it was asked to, and was not let go.
        successor: The pod that took its place on the target, if that was seen.
    """

    time: float
    move: Move
    left: bool
    successor: Row | None


@dataclass(slots=True)
class Hold:
    """Silent nodes that were left alone.

    Attributes:
        since: Seconds since the start.
        until: When that was over; None where it lasts.
        pods: Those that would have moved from there.
    """

    held: Held
    since: float
    until: float | None = None
    pods: set[PodKey] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Broken:
    """A pod that breaks a rule where it is at the end.

    Attributes:
        unmeasured: Whether nothing is known but that a delay is not measured.
        why: A clause for people: ``32 ms from edge-1, 25 ms allowed``.
    """

    pod: PodKey
    node: str
    rule: Rule
    unmeasured: bool
    why: str


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What is to be told of a simulation that has ended.

    Attributes:
        moves: By time.
        holds: By the time at which they began.
        stays: Pods that something is wrong with at the end, and that stay; without those of held nodes.
        reserves: Each with its plan and what placeholders hold, at the end; without those that select no pod.
        broken: By pod.
    """

    moves: tuple[Moved, ...] = ()
    holds: tuple[Hold, ...] = ()
    stays: tuple[Stay, ...] = ()
    reserves: tuple[ReserveView, ...] = ()
    broken: tuple[Broken, ...] = ()

    def since(self, time: float) -> Aftermath:
        """Without the moves before that time, and the holds that were over."""
        moves = tuple(one for one in self.moves if one.time >= time)
        holds = tuple(one for one in self.holds if one.until is None or one.until >= time)
        return replace(self, moves=moves, holds=holds)


class Chronicle:
    """Looks at a simulation each time it has settled. In one instant at most one plan of moves is made.

    Args:
        simulation: Which.
        placements: Its decisions.
        start: The time of its start.
    """

    def __init__(self, simulation: Simulation, placements: Placements, start: float) -> None:
        self._simulation = simulation
        self._placements = placements
        self._start = start
        self._plan: Plan | None = None
        self._moves: dict[PodKey, tuple[float, Move]] = {}
        self._holds: list[Hold] = []
        self._open: dict[tuple[Heal, str], Hold] = {}
        self._kept: dict[str, list[tuple[float, str]]] = {}

    def look(self, now: float) -> None:
        """Note what is new."""
        upkeep = self._simulation.scheduler.upkeep
        if upkeep is None:
            return
        plan = upkeep.healing.plan
        if plan is not self._plan:
            self._plan = plan
            self._planned(plan, now - self._start)
        for one in self._reserves():
            self._keeps(one, now - self._start)

    def entries(self) -> list[Entry]:
        """What was kept from when on, for the timeline."""
        return [
            Entry(time, f"reserve {name}", KEEPS, message)
            for name, told in self._kept.items()
            for time, message in told
        ]

    def aftermath(self, pods: Iterable[Pod], now: float) -> Aftermath:
        """All that is to be told at the end.

        Args:
            pods: Those that are there.
            now: The time of the end.
        """
        upkeep = self._simulation.scheduler.upkeep
        if upkeep is None:
            return Aftermath(broken=tuple(self._broken(now)))
        staying = {pod.key for pod in pods if pod.metadata.deletion_timestamp is None}
        views = [view(self._simulation.cache, one) for one in self._reserves()]
        return Aftermath(
            tuple(self._moved(staying)),
            tuple(self._holds),
            tuple(one for one in upkeep.healing.plan.stays if one.reason != "held"),
            tuple(one for one in views if one.covered or one.placeholders),
            tuple(self._broken(now)),
        )

    # Inside

    def _planned(self, plan: Plan, time: float) -> None:
        for move in plan.moves:
            self._moves[move.pod] = (time, move)
        current = {(held.heal, held.subject): held for held in plan.held}
        for key in self._open.keys() - current.keys():
            self._open.pop(key).until = time
        for key, held in current.items():
            if key not in self._open:
                self._open[key] = Hold(held, time)
                self._holds.append(self._open[key])
            hold = self._open[key]
            hold.held = held if len(held.nodes) >= len(hold.held.nodes) else hold.held
            hold.pods |= {one.pod for one in plan.stays if one.reason == "held" and one.node in held.nodes}

    def _moved(self, staying: set[PodKey]) -> Iterator[Moved]:
        taken: set[PodKey] = set()
        for time, move in sorted(self._moves.values(), key=lambda each: each[0]):
            successor = self._placements.successor(move.pod, move.target, time, taken)
            if successor is not None:
                taken.add(successor.key)
            yield Moved(time, move, move.pod not in staying, successor)

    def _reserves(self) -> Iterator[Planned]:
        upkeep = self._simulation.scheduler.upkeep
        if upkeep is None:
            return
        holding = upkeep.reserving.placeholders()
        for one in upkeep.reserving.reserves:
            label = label_of(one.rule.name)
            held = tuple(pod for pod in holding if pod.counts and holds_for(pod.shape.labels) == label)
            yield Planned(one.rule, one.covers, held, one.plan)

    def _keeps(self, one: Planned, time: float) -> None:
        assert one.plan is not None
        told = self._kept.setdefault(one.rule.name, [])
        backed, pods = len(one.plan.backups), len(one.plan.backups) + len(one.plan.uncovered)
        if not told and not pods:
            return
        nodes = {pod.node for pod in one.placeholders}
        memory, cpu = (sum(pod.requests.get(name, 0) for pod in one.placeholders) for name in (MEMORY, CPU))
        room = f"{shown(MEMORY, memory)} of memory and {shown(CPU, cpu)} cpu on {many(len(nodes), 'node')}"
        message = (
            f"reserve {one.rule.name} ({one.rule.span}) keeps {room if nodes else 'nothing'}, "
            f"for {backed:,} of {many(pods, 'covered pod')}"
        )
        if told and told[-1][1] == message:
            return
        if told and time - told[-1][0] < _BURST_SECONDS:
            told.pop()
        if not told or told[-1][1] != message:
            told.append((time, message))

    def _broken(self, now: float) -> Iterator[Broken]:
        cache, placer = self._simulation.cache, self._simulation.placer
        rules = {rule.name: rule for rule in placer.plan.policy.rules}
        breaches = Breaches(cache, placer)
        for pod in sorted(cache.pods(), key=lambda one: one.key):
            if not rules or not pod.counts or pod.slot < 0 or holds_for(pod.shape.labels) is not None:
                continue
            if pod.pod.spec.scheduler_name not in self._placements.schedulers:
                continue
            for name in breaches.rules(pod, now):
                breach = breaches.of(pod, name, now) if name in rules else None
                if breach is not None:
                    yield Broken(pod.key, pod.node, rules[name], breach.unmeasured, breach.why)
