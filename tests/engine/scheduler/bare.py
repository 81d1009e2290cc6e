"""A scheduler by itself: no cluster, no threads; bindings are told at once, and time moves by hand."""

from __future__ import annotations

from engine.binder import Assignment, BindResult, Outcome
from engine.cluster.protocol import ClusterEvent, ResourceKind
from engine.cluster.reflector import Synced
from engine.compile import Plan, compile_policy
from engine.delay.map import DelayMap
from engine.model.objects import Condition, PodKey
from engine.placement import Placer
from engine.scheduler.inbox import Message
from engine.scheduler.queue import SchedulingQueue
from engine.scheduler.scheduler import Scheduler
from engine.scheduler.watched import WATCHED
from engine.state.cache import Cache
from grammar.policy import CheckedPolicy

OURS = "custom-scheduler"


class Time:
    def __init__(self, now: float) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class Bindings:
    """Takes assignments; whoever drives the scheduler answers."""

    def __init__(self) -> None:
        self.submitted: list[Assignment] = []

    @property
    def pending(self) -> int:
        return len(self.submitted)

    def submit(self, assignment: Assignment) -> None:
        self.submitted.append(assignment)

    def wait_idle(self, timeout: float) -> bool:
        return not self.submitted

    def stop(self, timeout: float = 0.0) -> tuple[BindResult, ...]:
        return ()


class Told:
    """Keeps what would be written."""

    def __init__(self) -> None:
        self.events: list[ClusterEvent] = []

    def event(self, event: ClusterEvent) -> None:
        self.events.append(event)

    def condition(self, pod: PodKey, condition: Condition) -> None:
        pass

    def stop(self, timeout: float = 0.0) -> int:
        return 0


class Bare:
    """The scheduler with its parts at hand."""

    def __init__(
        self,
        policy: CheckedPolicy | None = None,
        delays: DelayMap | None = None,
        now: float = 1_700_000_000.0,
    ) -> None:
        self.plan: Plan = compile_policy(policy or CheckedPolicy((), ()))
        self.clock = Time(now)
        self.cache = Cache(self.plan.annotations)
        self.placer = Placer(self.cache, self.plan, delays)
        self.queue = SchedulingQueue()
        self.bindings, self.told = Bindings(), Told()
        self.scheduler = Scheduler(
            self.cache, self.placer, self.queue, self.bindings, self.told, self.clock, [OURS]
        )
        for kind in WATCHED:
            self.handle(Synced(ResourceKind(kind), 0))

    def handle(self, *messages: Message) -> None:
        for message in messages:
            self.scheduler.handle(message)

    def run(self, outcome: Outcome = Outcome.BOUND) -> list[str]:
        """Place whoever can be tried now; the names of those that were given a node, in order."""
        placed: list[str] = []
        while self.scheduler.run_pass(16):
            while self.bindings.submitted:
                assignment = self.bindings.submitted.pop(0)
                placed.append(assignment.pod.name)
                self.handle(BindResult(assignment, outcome))
        return placed

    def later(self, seconds: float) -> list[str]:
        self.clock.time += seconds
        return self.run()

    def tried(self, name: str) -> int:
        """How often the pod found no node, which each time is told."""
        return sum(
            event.reason == "FailedScheduling"
            and isinstance(event.regarding, PodKey)
            and event.regarding.name == name
            for event in self.told.events
        )
