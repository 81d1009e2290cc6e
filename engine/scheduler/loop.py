"""The scheduler on a real cluster: threads that watch, bind and write, and one that decides.

::

    reflector (pods) ──┐                                   ┌──▶ binder threads ──▶ bindings
    reflector (nodes) ─┼──▶ inbox ──▶ the deciding thread ─┤
    policies, delays ──┘      ▲                            └──▶ recorder threads ──▶ events, conditions
                              └────────── results ◀────────────────┘

Where there is an election, all of it runs from the start, but only the leader decides.
"""

from __future__ import annotations

import logging
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

from engine.binder import Binder, Clearer, EventRecorder, ThreadedBinder, ThreadedClearer
from engine.binder.errands import Runner, ThreadedRunner
from engine.binder.executors import CAPACITY
from engine.binder.recorder import Repeats
from engine.clock import Clock
from engine.cluster.api import ApiCluster
from engine.cluster.leader import Elector, Standing
from engine.cluster.protocol import ResourceKind
from engine.cluster.reflector import Deleted, Reflector, Synced, Update, Upserted
from engine.compile import Plan
from engine.delay import DelayMap, DelaySource, NodeAddresses
from engine.model.objects import Node
from engine.placement import Placer
from engine.scheduler.garbage import FullCollections
from engine.scheduler.inbox import ContactsTold, DelaysChanged, Message, PlanChanged
from engine.scheduler.metrics import UNMEASURED, Metrics
from engine.scheduler.policies import PolicySource
from engine.scheduler.queue import SchedulingQueue
from engine.scheduler.scheduler import Scheduler
from engine.scheduler.watched import WATCHED
from engine.settings import Settings
from engine.state.cache import Cache

log = logging.getLogger(__name__)

_BATCH: Final = 16
"""Pods that are placed between two looks into the inbox."""
_REFRESH_SECONDS: Final = 1.0
_IDLE_SECONDS: Final = 1.0
_COUNT_SECONDS: Final = 1.0
"""How often the queue is counted for whoever measures."""
_RELEASE_SECONDS: Final = 0.4
"""The most that giving back the lease may take of the grace."""
_CONTACTS_SECONDS: Final = 5.0
"""How often it is told which nodes others reach: ages are carried on in between."""
_PERIODS: Final = 2
"""For how many periods of the probes a contact counts."""
_SWITCH_SECONDS: Final = 0.0005
"""How long a thread may compute while another wants to: a binder that has its answer must not wait for long."""


class Loop:
    """Everything that runs, from start to stop.

    Args:
        cluster: The real one.
        settings: All of them.
        plan: The policies at the start.
        delays: The delays at the start.
        policies: Where changed policies come from.
        delay_source: Where changed delays come from; None where there are none.
        clock: The time.
        elector: Says whether we may decide; None where there is only one of us.
        metrics: Takes counts and durations.
        addresses: Is told of the nodes' addresses, where the source of delays needs them.

    Attributes:
        scheduler: What decides.
        recorder: What writes events.
        turned: When the deciding thread last went round, by the monotonic clock.
        lost: Whether it ended because it is the leader no more.
    """

    def __init__(
        self,
        cluster: ApiCluster,
        settings: Settings,
        plan: Plan,
        delays: DelayMap | None,
        policies: PolicySource,
        delay_source: DelaySource | None,
        clock: Clock,
        elector: Elector | None = None,
        metrics: Metrics = UNMEASURED,
        addresses: NodeAddresses | None = None,
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._policies = policies
        self._delay_source = delay_source
        self._addresses = addresses
        self._clock = clock
        self._elector = elector
        self._metrics = metrics
        self._ending = False
        self._stop = threading.Event()
        self._inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._busy = threading.Event()
        cache = Cache(plan.annotations)
        binder = Binder(
            cluster,
            attempts=settings.binder.attempts,
            deadline=settings.binder.deadline,
            stop=self._stop,
            clock=clock,
        )
        self._binder = ThreadedBinder(binder, self._inbox.put, workers=settings.binder.workers)
        self._clearer = ThreadedClearer(
            Clearer(cluster, attempts=settings.binder.attempts, stop=self._stop), self._inbox.put
        )
        self._runner = ThreadedRunner(
            Runner(cluster, attempts=settings.binder.attempts, stop=self._stop), self._inbox.put
        )
        self.recorder = EventRecorder(
            cluster,
            capacity=settings.events.capacity,
            wait_idle=self._wait_idle,
            repeats=Repeats(settings.events.repeat),
            clock=clock,
        )
        self.scheduler = Scheduler(
            cache,
            Placer(cache, plan, delays, settings.seed),
            SchedulingQueue(settings.queue.backoff_initial, settings.queue.backoff_max),
            self._binder,
            self.recorder,
            clock,
            settings.schedulers,
            metrics=metrics,
            clearer=self._clearer,
            volume_timeout=settings.binder.volume_timeout,
            errands=self._runner,
            reserve=settings.reserve,
            seed=settings.seed,
        )
        self.turned = clock.monotonic()
        self.lost = False
        self._counted = float("-inf")
        self._garbage = FullCollections(clock)
        self._threads = [
            self._thread(f"watch-{kind.value}", Reflector(cluster, kind, self._sink(kind), clock).run)
            for kind in WATCHED
        ]
        self._threads.append(self._thread("policies", self._refresh))
        if delay_source is not None:
            # Apart, for a source that is asked over the network may keep us waiting.
            self._threads.append(
                self._thread("delays", lambda stop: self._refresh_delays(delay_source, stop))
            )
        if elector is not None:
            self._threads.append(self._thread("elector", lambda stop: elector.run(stop, self._wake)))

    @property
    def standing(self) -> Standing:
        """Whether we lead. Alone, we always do."""
        return Standing.LEADING if self._elector is None else self._elector.standing

    @property
    def ending(self) -> bool:
        """Whether `stop` was called."""
        return self._ending

    @property
    def bindings(self) -> int:
        """How many bindings wait or are under way."""
        return self._binder.pending

    def dead(self) -> list[str]:
        """Threads that ended although nobody told them to."""
        if self._ending or self.standing is Standing.LOST:
            return []
        return [thread.name for thread in self._threads if thread.ident is not None and not thread.is_alive()]

    def stop(self) -> None:
        """Begin to end: may be called from a signal handler, and more than once."""
        # No Event here: a signal that comes while its lock is held by this very thread would wait for ever.
        self._ending = True
        self._wake()

    def run(self) -> None:
        """Schedule until `stop`, or until the lease is lost; returns within the settings' grace after it."""
        sys.setswitchinterval(_SWITCH_SECONDS)
        for thread in self._threads:
            thread.start()
        synced = leading = False
        try:
            while not self._ending:
                self.turned = self._clock.monotonic()
                self._take_in()
                standing = self.standing
                if standing is Standing.LOST:
                    self.lost = True
                    break
                if not leading and standing is Standing.LEADING:
                    leading = True
                    self.scheduler.resume()
                if not synced and self.scheduler.watched.synced:
                    synced = True
                    self._garbage.begin()
                    what = "scheduling" if leading else "ready to schedule"
                    log.info("in step with the cluster; %s pods of %s", what, self._names)
                if self._may_decide() and not self.scheduler.run_pass(_BATCH):
                    self.scheduler.renew()
                self._count()
                self._garbage.pause(idle=False)
        finally:
            self._garbage.end()
            self._shut_down()

    @property
    def _names(self) -> str:
        return ", ".join(self._settings.schedulers)

    def _wake(self) -> None:
        self._inbox.put(None)

    def _may_decide(self) -> bool:
        """Whether we lead, and the binder has room: a server that does not answer must not make this thread wait."""
        return self._binder.pending + _BATCH <= CAPACITY and self.standing is Standing.LEADING

    def _count(self) -> None:
        now = self._clock.monotonic()
        if now - self._counted >= _COUNT_SECONDS:
            self._counted = now
            self._metrics.queued(self.scheduler.queue.counts())

    def _take_in(self) -> None:
        """Handle what has come in; wait for something where nothing is to be done."""
        handle = self.scheduler.handle
        try:
            message = self._inbox.get_nowait()
        except queue.Empty:
            if self._has_work():
                return
            self._busy.clear()
            self._garbage.pause(idle=True)
            try:
                message = self._inbox.get(timeout=self._patience())
            except queue.Empty:
                return
        self._busy.set()
        for _ in range(1024):
            if message is not None:
                handle(message)
                if isinstance(message, PlanChanged):
                    self._garbage.discarded()
            try:
                message = self._inbox.get_nowait()
            except queue.Empty:
                return
        if message is not None:
            handle(message)

    def _has_work(self) -> bool:
        return self.scheduler.watched.synced and self.scheduler.queue.active and self._may_decide()

    def _patience(self) -> float:
        due = self.scheduler.next_due()
        return _IDLE_SECONDS if due is None else min(_IDLE_SECONDS, max(0.0, due - self._clock.now()))

    def _wait_idle(self, timeout: float) -> bool:
        """Whether nothing is being decided or bound, waiting a while for that: then events may go out."""
        upkeep = self.scheduler.upkeep
        if upkeep is not None and upkeep.healing.hurries(self._clock.now()):
            return False
        return self._binder.wait_idle(timeout) and not self._has_work()

    def _refresh(self, stop: threading.Event) -> None:
        while not stop.wait(_REFRESH_SECONDS):
            try:
                plan = self._policies.refresh(self._clock.monotonic())
                if plan is not None:
                    self._inbox.put(PlanChanged(plan))
            except Exception:  # a fault of ours must not end the refreshing
                log.exception("reading policies again failed unexpectedly")

    def _refresh_delays(self, source: DelaySource, stop: threading.Event) -> None:
        told, tell_at = False, 0.0
        while not stop.wait(_REFRESH_SECONDS):
            was_bad, before = source.trouble is not None, source.current
            try:
                delays = source.refresh(self._clock.monotonic())
            except Exception:  # a fault of ours must not end the refreshing
                log.exception("reading delays again failed unexpectedly")
                continue
            if self._clock.monotonic() >= tell_at:
                # Of a node that falls silent it has to be known whether others still reach it.
                tell_at = self._clock.monotonic() + _CONTACTS_SECONDS
                contacts = source.contacts(self._clock.monotonic())
                if contacts is not None or told:
                    self._inbox.put(ContactsTold(contacts, _PERIODS * self._settings.delays.period))
                    told = contacts is not None
            if delays is not None:
                news = source.steady or before is None or len(before.names) != len(delays.names)
                level = logging.INFO if news else logging.DEBUG
                log.log(level, "delays changed: %d endpoints", len(delays.names))
                self._inbox.put(DelaysChanged(delays))
            if was_bad and source.trouble is None and (delays is None or not source.steady):
                log.info("the %s are good again, and say what is in force", source.name)

    def _sink(self, kind: ResourceKind) -> Callable[[Update], object]:
        """Where what a watch tells goes: to the inbox, and the nodes' addresses also to who needs them at once."""
        if kind is not ResourceKind.NODES or self._addresses is None:
            return self._inbox.put
        addresses = self._addresses

        def sink(update: Update) -> None:
            match update:
                case Upserted(Node() as node):
                    addresses.put(node.name, [one.address for one in node.status.addresses or ()])
                case Deleted(Node() as node):
                    addresses.remove(node.name)
                case Synced():
                    addresses.complete = True
            self._inbox.put(update)

        return sink

    def _thread(self, name: str, run: Callable[[threading.Event], None]) -> threading.Thread:
        return threading.Thread(target=run, args=(self._stop,), name=name, daemon=True)

    def _shut_down(self) -> None:
        """Let what is under way end, write what is to be written, and go: never longer than the grace."""
        self._stop.set()
        deadline = time.monotonic() + self._settings.shutdown_grace
        self._cluster.interrupt_watches()
        stopped = self._binder.stop(self._settings.shutdown_grace / 2)
        self._runner.stop(min(_RELEASE_SECONDS, max(0.0, deadline - time.monotonic())))
        self._clearer.stop(min(_RELEASE_SECONDS, max(0.0, deadline - time.monotonic())))
        for message in self._left():
            self.scheduler.handle(message)
        for result in stopped:
            self.scheduler.handle(result)
        if self._elector is not None:
            # Nothing is bound any more, so another may begin while our last events are written.
            self._elector.release(min(_RELEASE_SECONDS, max(0.0, deadline - time.monotonic())))
        lost = self.recorder.stop(max(0.0, deadline - time.monotonic() - 0.2))
        self._cluster.close()
        log.info("stopped; %d bindings not sent, %d events not written", len(stopped), lost)

    def _left(self) -> list[Message]:
        left: list[Message] = []
        while True:
            try:
                message = self._inbox.get_nowait()
            except queue.Empty:
                return left
            if message is not None:
                left.append(message)
