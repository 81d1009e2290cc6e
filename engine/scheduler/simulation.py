"""The scheduler on the simulated cluster: one thread, virtual time, the same decisions every run."""

from __future__ import annotations

from collections import deque
from typing import Final

from engine.binder import Binder, Clearer, ImmediateBinder, ImmediateClearer, ImmediateRecorder
from engine.binder.errands import ImmediateRunner, Runner
from engine.cluster.reflector import Reflector
from engine.cluster.simulated import SimulatedCluster
from engine.compile import Plan
from engine.delay import DelayMap
from engine.placement import Placer
from engine.scheduler.inbox import DelaysChanged, Message, PlanChanged
from engine.scheduler.metrics import UNMEASURED, Metrics
from engine.scheduler.queue import SchedulingQueue
from engine.scheduler.scheduler import Scheduler
from engine.scheduler.telling import Observer
from engine.scheduler.watched import WATCHED
from engine.settings import Settings
from engine.state.cache import Cache

_BATCH: Final = 64


class Simulation:
    """Drives a simulated cluster and a scheduler on it, in turn.

    Args:
        cluster: The cluster; its clock is the time of both.
        plan: The policies.
        delays: Round-trip times.
        settings: The scheduler's.
        observer: Sees every decision, with the reasons for the nodes that were not chosen.
        metrics: Takes counts and durations.
    """

    def __init__(
        self,
        cluster: SimulatedCluster,
        plan: Plan,
        delays: DelayMap | None,
        settings: Settings,
        observer: Observer | None = None,
        metrics: Metrics = UNMEASURED,
    ) -> None:
        self._cluster = cluster
        self._inbox: deque[Message] = deque()
        self.cache = Cache(plan.annotations)
        self.placer = Placer(self.cache, plan, delays, settings.seed)
        queue = SchedulingQueue(settings.queue.backoff_initial, settings.queue.backoff_max)
        binder = ImmediateBinder(Binder(cluster, clock=cluster.clock), self._inbox.append)
        self.scheduler = Scheduler(
            self.cache,
            self.placer,
            queue,
            binder,
            ImmediateRecorder(cluster),
            cluster.clock,
            settings.schedulers,
            observer,
            metrics,
            clearer=ImmediateClearer(Clearer(cluster), self._inbox.append),
            volume_timeout=settings.binder.volume_timeout,
            errands=ImmediateRunner(Runner(cluster), self._inbox.append),
            reserve=settings.reserve,
            seed=settings.seed,
        )
        self._reflectors = [Reflector(cluster, kind, self._inbox.append, cluster.clock) for kind in WATCHED]

    def swap_plan(self, plan: Plan) -> None:
        """Other policies, from this moment of virtual time."""
        self._inbox.append(PlanChanged(plan))

    def swap_delays(self, delays: DelayMap) -> None:
        """Other delays, from this moment of virtual time."""
        self._inbox.append(DelaysChanged(delays))

    def settle(self) -> None:
        """Schedule until nothing more happens at this moment."""
        busy = True
        while busy:
            busy = False
            for reflector in self._reflectors:
                busy |= reflector.step()
            while self._inbox:
                self.scheduler.handle(self._inbox.popleft())
                busy = True
            busy |= self.scheduler.run_pass(_BATCH) > 0
            busy |= bool(self._inbox)  # errands that it sent have ended at once

    def next_time(self) -> float | None:
        """When something is due: in the cluster, or in the scheduler's queue."""
        times = [time for time in (self._cluster.next_time(), self.scheduler.next_due()) if time is not None]
        return min(times, default=None)

    def step(self, until: float) -> bool:
        """Go to the next moment when something is due, if that is not after ``until``, and settle there.

        Returns:
            Whether there was one.
        """
        due = self.next_time()
        if due is None or due > until:
            return False
        self._cluster.run_until(max(due, self._cluster.clock.now()))
        self.settle()
        return True

    def run_until(self, until: float) -> None:
        """Let everything happen that is due until then, and leave the clock there."""
        self.settle()
        while self.step(until):
            pass
        self._cluster.run_until(until)
        self.settle()

    def quiet(self) -> bool:
        """Whether nothing will change by itself: every pod has found its place, or waits for something from outside."""
        return not self.scheduler.queue.restless and self._cluster.next_time() is None
