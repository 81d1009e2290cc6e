"""Queue → place → assume → bind, for one pod after another. Owns the cache; one thread at a time.

Nothing here waits, sleeps or talks to the cluster: what the cluster says comes in through `handle`, and what it is
to be told goes out through the binder and the recorder.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace

from engine.binder import BindingExecutor, BindResult, Recorder, RoomExecutor, RoomResult
from engine.binder.errands import ErrandExecutor, ErrandResult
from engine.clock import Clock
from engine.cluster.reflector import Deleted, Recovered, Synced, Trouble, Upserted
from engine.constraints.protocol import Depends
from engine.model.devices import DeviceObject
from engine.model.objects import (
    Namespace,
    Node,
    Pod,
    PodDisruptionBudget,
    ReplicaSet,
    ReplicationController,
    Service,
    StatefulSet,
)
from engine.model.requests import RequestError
from engine.model.storage import StorageObject
from engine.placement import VICTIMS_GOING, Decision, Placer, Preemption
from engine.scheduler.bindings import Bindings
from engine.scheduler.devices import PodDevices
from engine.scheduler.inbox import ContactsTold, DelaysChanged, Message, PlanChanged, about
from engine.scheduler.metrics import UNMEASURED, Metrics
from engine.scheduler.movements import Movements
from engine.scheduler.queue import QueuedPod, SchedulingQueue
from engine.scheduler.renewal import Renewal
from engine.scheduler.room import RoomMaker
from engine.scheduler.telling import Observer, Telling, unschedulable_since
from engine.scheduler.upkeep import Upkeep
from engine.scheduler.volumes import TIMEOUT_SECONDS
from engine.scheduler.watched import Watched
from engine.settings.tree import ReserveSettings
from engine.state.cache import Cache
from engine.state.columns import NodeError
from engine.state.pods import Phase, PlacedPod

log = logging.getLogger(__name__)


class Scheduler:
    """The scheduler of the pods that name it.

    Args:
        cache: What is known of the cluster.
        placer: Decides, on the same cache.
        queue: The pods that wait.
        binder: Carries decisions out; its results come back through `handle`.
        recorder: Takes events and conditions.
        clock: The time.
        names: The ``schedulerName`` values that are ours.
        observer: Sees every decision.
        metrics: Takes counts and durations.
        clearer: Makes room for pods of higher priority; without it nobody is ever taken away. Its results come back
            through `handle`.
        volume_timeout: How many seconds a pod waits for its claims to be bound.
        errands: Runs errands of reserves and of healing; without it there is neither. Its results come back through
            `handle`.
        reserve: How placeholders are made.
        seed: Of what is made better at random.

    Attributes:
        watched: How far it is in step with the cluster; before it is, nothing is decided.
    """

    def __init__(
        self,
        cache: Cache,
        placer: Placer,
        queue: SchedulingQueue,
        binder: BindingExecutor,
        recorder: Recorder,
        clock: Clock,
        names: Collection[str],
        observer: Observer | None = None,
        metrics: Metrics = UNMEASURED,
        clearer: RoomExecutor | None = None,
        volume_timeout: float = TIMEOUT_SECONDS,
        errands: ErrandExecutor | None = None,
        reserve: ReserveSettings | None = None,
        seed: int = 0,
    ) -> None:
        self._cache = cache
        self._placer = placer
        self._queue = queue
        self._telling = Telling(recorder)
        self._clock = clock
        self._names = frozenset(names)
        self._observer = observer
        self._metrics = metrics
        self.watched = Watched()
        self._movements = Movements(cache, queue, preempts=clearer is not None)
        self._devices = PodDevices(cache, queue)
        self._bindings = Bindings(
            cache,
            queue,
            binder,
            self._telling,
            metrics,
            self._movements,
            self._devices,
            clock,
            volume_timeout,
        )
        self._volumes = self._bindings.volumes
        self._renewal = Renewal(queue, cache, self._place_unless_held, self._telling, metrics)
        self._upkeep: Upkeep | None = None
        if errands is not None:
            self._upkeep = Upkeep(
                cache,
                placer,
                queue,
                errands,
                self._telling,
                metrics,
                lambda placed: self._ours(placed.pod),
                reserve or ReserveSettings(),
                self._pod_gone,
                seed,
            )
        self._room: RoomMaker | None = None
        if clearer is not None:
            self._room = RoomMaker(cache, queue, clearer, recorder, lambda placed: self._ours(placed.pod))

    @property
    def queue(self) -> SchedulingQueue:
        """The pods that wait."""
        return self._queue

    @property
    def upkeep(self) -> Upkeep | None:
        """Reserves and healing, None where there is neither."""
        return self._upkeep

    @property
    def binding(self) -> int:
        """How many bindings are under way."""
        return len(self._bindings)

    # What comes in

    def handle(self, message: Message) -> None:
        """Take in one message. Trouble with one object is logged and stops nothing else."""
        try:
            self._handle(message)
            self._movements.unpromised(self._clock.now())
        except Exception:  # a fault of ours with one object must not cost all others their scheduler
            self._metrics.erred()
            log.exception("taking in %s failed unexpectedly", about(message))

    def _handle(self, message: Message) -> None:
        now = self._clock.now()
        match message:
            case Upserted(Pod() as pod):
                self._pod(pod, now)
            case Upserted(Node() as node):
                self._node(node, now)
            case Deleted(Pod() as pod):
                self._pod_gone(pod, now)
            case Deleted(Node() as node):
                self._cache.remove_node(node.name)
                self._bindings.node_gone(node.name, now)
                self._look_again()
                self._queue.wake(Depends.CENSUS | Depends.DELAY, now)  # one node less is no place
            case Upserted(Namespace() as namespace):
                if self._cache.put_namespace(namespace.metadata.name, namespace.metadata.labels or {}):
                    self._queue.wake(Depends.CENSUS, now)
            case Deleted(Namespace() as namespace):
                self._cache.put_namespace(namespace.metadata.name, None)
            case Upserted(
                Service() | ReplicationController() | ReplicaSet() | StatefulSet() as grouping
            ):  # they rank nodes and refuse none, so that they help nobody who waits
                self._cache.put_grouping(grouping)
            case Deleted(Service() | ReplicationController() | ReplicaSet() | StatefulSet() as grouping):
                self._cache.remove_grouping(grouping)
            case Upserted(PodDisruptionBudget() as budget):
                self._cache.budgets.put(budget)
                self._look_again()
            case Deleted(PodDisruptionBudget() as budget):
                self._cache.budgets.remove(budget)
                self._look_again()
            case Upserted(item) if isinstance(item, StorageObject):
                self._volumes.put(item, now)
            case Deleted(item) if isinstance(item, StorageObject):
                self._volumes.remove(item, now)
            case Upserted(item) if isinstance(item, DeviceObject):
                self._devices.put(item, now)
            case Deleted(item) if isinstance(item, DeviceObject):
                self._devices.remove(item, now)
            case BindResult():
                self._bindings.ended(message, now)
            case ErrandResult():
                if self._upkeep is not None:
                    self._upkeep.ended(message, now)
            case ContactsTold(contacts, counts_s):
                if self._upkeep is not None:
                    self._upkeep.healing.contacts(contacts, counts_s, now)
            case RoomResult():
                if self._room is not None:
                    self._room.ended(message, now)
            case Synced(kind):
                self.watched.list(kind)
                if self._upkeep is not None:
                    self._upkeep.listed(kind, now)
                self._volumes.listed(kind, now)
                self._devices.listed(kind, now)
            case PlanChanged(plan):
                self._placer.swap_plan(plan)
                if self._upkeep is not None:
                    self._upkeep.plan_changed()
                self._metrics.plan_in_force(len(plan.policy.rules))
                self._queue.wake_all(now)
            case DelaysChanged(delays):
                if delays.version == self._placer.delay_map.version:
                    return  # read again, and the same
                self._placer.swap_delays(delays)
                if self._upkeep is not None:
                    self._upkeep.delays_changed()
                self._metrics.delays_in_force(len(delays.names))
                self._queue.wake(Depends.DELAY, now)
            case Trouble(kind, text):
                self.watched.fail(kind, text)  # which the reflector has told
                self._volumes.troubled(kind, text, now)
                self._devices.troubled(kind, text, now)
                self._metrics.watching(kind, well=False)
            case Recovered(kind):
                self.watched.recover(kind)
                self._metrics.watching(kind, well=True)

    def _pod(self, pod: Pod, now: float) -> None:
        key = pod.key
        known = self._cache.pod(key)
        shape, was_on = (known.shape, known.slot) if known is not None else (None, -1)
        devices = known.devices if known is not None else ()
        held = known.requests if known is not None else {}
        was_leaving = known is not None and known.phase is Phase.TERMINATING
        try:
            placed = self._cache.put_pod(pod)
        except RequestError as error:
            log.warning("pod %s is left out: %s", key, error, extra={"pod": str(key)})
            return
        if (
            placed.slot != was_on
            or placed.requests != held  # resized, and perhaps smaller
            or placed.shape is not shape  # other labels
            or was_leaving != (placed.phase is Phase.TERMINATING)  # no longer counted in a spread
        ):
            self._movements.moved(was_on, placed.slot, now)
        if self._upkeep is not None:
            self._upkeep.pod(placed)
        if placed.phase not in (Phase.QUEUED, Phase.ASSUMED):
            self._bindings.give_up_waiting(key)
        if placed.phase is not Phase.QUEUED or not self._ours(pod):
            self._devices.drop(key)
            self._queue.remove(key, now)
            if self._room is not None:
                self._room.drop(key)
        elif key in self._queue:
            if placed.shape is not shape or placed.devices != devices:  # perhaps its claims are made now
                self._queue.wake_pod(key, now)
        elif key not in self._bindings:
            self._queue.add(key, placed.shape.priority, now, unschedulable_since(pod))

    def _ours(self, pod: Pod) -> bool:
        return pod.spec.scheduler_name in self._names and not pod.spec.scheduling_gates

    def _pod_gone(self, pod: Pod, now: float) -> None:
        self._queue.remove(pod.key, now)
        self._devices.drop(pod.key)
        self._bindings.give_up_waiting(pod.key)
        placed = self._cache.pod(pod.key)
        was_on = placed.slot if placed is not None else -1
        self._cache.remove_pod(pod.key)
        if self._upkeep is not None:
            self._upkeep.gone(pod.key)
        if self._room is not None:
            self._room.drop(pod.key)
            self._room.left(pod.key, now)
        self._movements.moved(was_on, -1, now)

    def _node(self, node: Node, now: float) -> None:
        try:
            changed = self._cache.put_node(node)
        except NodeError as error:
            log.warning("%s; the node is left as it was known", error, extra={"node": node.name})
            return
        slot = self._cache.columns.slot(node.name)
        if changed and slot is not None:
            self._movements.node_changed(slot, now)
            self._look_again()

    def _look_again(self) -> None:
        # A node or a budget is not what it was: what was not healed before perhaps can be now.
        if self._upkeep is not None:
            self._upkeep.node_changed()

    def resume(self) -> None:
        """Go on where another instance left off: pods that it found unschedulable have been waiting since then.

        What it wrote into a pod's condition came after the pod had been queued here.
        """
        for queued in self._queue.pods():
            placed = self._cache.pod(queued.key)
            if placed is not None and queued.waiting_since is None:
                queued.waiting_since = unschedulable_since(placed.pod)

    # What goes out

    def run_pass(self, limit: int) -> int:
        """Place up to ``limit`` pods. Returns how many were tried."""
        if not self.watched.synced:
            return 0
        now = self._clock.now()
        self._bindings.expire(now)
        self._queue.advance(now)
        tried = 0
        while tried < limit and self.schedule_one():
            tried += 1
        if self._upkeep is not None:
            try:
                self._upkeep.tend(now, idle=not self._queue.active)
            except Exception:  # a fault of ours there must not stop pods from being placed
                self._metrics.erred()
                log.exception("keeping reserves and healing failed unexpectedly")
        return tried

    def renew(self) -> None:
        """With nothing else to do, bring up to date what a few waiting pods' conditions say."""
        if self.watched.synced:
            self._renewal.go_on(self._clock.now())

    def schedule_one(self) -> bool:
        """Place the next pod. False where none is active."""
        queued = self._queue.pop()
        if queued is None:
            return False
        placed = self._cache.pod(queued.key)
        if placed is None or placed.phase is not Phase.QUEUED or self._holds(placed):
            self._queue.let_go(queued, self._clock.now())
            return True
        now = self._clock.now()
        began = self._clock.monotonic()
        waited = 0.0 if queued.waiting_since is None else max(0.0, now - queued.waiting_since) * 1000
        try:
            if not self._worth_trying(placed, queued, now):
                self._queue.asleep(queued, now)
                return True
            decision = self._place(placed, now, waited)
            self._queue.only_supposed()
            self._metrics.decided(decision, self._clock.monotonic() - began)
            if self._observer is not None:
                self._observer.decided(placed, decision, now)
            if decision.node is None:
                self._unschedulable(placed, queued, decision, now)
            else:
                self._bind(placed, queued, decision, decision.node, now, began)
        except Exception as error:  # one pod's trouble never stops another's
            self._erred(placed, queued, error, now)
        return True

    def _holds(self, placed: PlacedPod) -> bool:
        """Whether something is about to be told that the pod has to wait for."""
        return self._volumes.holds(placed) or self._devices.holds(placed)

    def _bind(
        self, placed: PlacedPod, queued: QueuedPod, decision: Decision, node: str, now: float, began: float
    ) -> None:
        if self._room is not None:
            self._room.drop(queued.key)
        self._bindings.begin(placed, queued, decision, node, now, began)
        if self._upkeep is not None:
            self._upkeep.placed(placed)

    def _worth_trying(self, placed: PlacedPod, queued: QueuedPod, now: float) -> bool:
        """Whether what happened could help the pod, on a closer look."""
        causes = self._queue.causes(queued)
        if causes is None:
            return True
        preempt = (
            self._room is not None
            and not self._room.waits(placed.key)
            and placed.pod.spec.preemption_policy != "Never"
        )
        return self._placer.worth_trying(placed, now, causes, preempt)

    def _place(self, placed: PlacedPod, now: float, waited: float) -> Decision:
        if placed.devices or placed.shape.asking:
            # Had an earlier try got to write them, the claims would say so by now.
            self._cache.devices.forget(placed.key)
        room = self._room
        waits = room is not None and room.waits(placed.key)
        decision = self._placer.place(
            placed,
            now,
            waited,
            diagnose=self._observer is not None,
            preempt=room is not None and not waits,
        )
        if waits and decision.node is None:
            decision = replace(decision, preemption=Preemption(trouble=VICTIMS_GOING))
        if self._upkeep is not None and decision.node is not None:
            decision = self._upkeep.allowed(
                placed, decision, now, lambda avoid: self._placer.place(placed, now, waited, avoid=avoid)
            )
        return decision

    def _place_unless_held(self, placed: PlacedPod, now: float, waited: float) -> Decision | None:
        return None if self._holds(placed) else self._place(placed, now, waited)

    def next_due(self) -> float | None:
        """When there is something to do even if nothing comes in; seconds since the epoch."""
        times = [self._queue.next_due(), self._bindings.next_due()]
        if self._upkeep is not None and self.watched.synced:
            times.append(self._upkeep.next_due(self._clock.now()))
        return min((due for due in times if due is not None), default=None)

    def _unschedulable(self, placed: PlacedPod, queued: QueuedPod, decision: Decision, now: float) -> None:
        retry_at = None if decision.retry_ms is None else now + decision.retry_ms / 1000
        self._queue.failed(queued, now, decision.helped_by, retry_at, decision.hint)
        self._volumes.refused(placed)
        self._devices.refused(placed)
        if self._room is not None and decision.preemption is not None:
            idle = self._devices.idle(placed, decision, now)
            if idle is not None:
                self._room.idle(idle)
            self._room.begin(placed, decision.preemption, now)
        message = decision.message()
        since = now if queued.waiting_since is None else queued.waiting_since
        self._telling.unschedulable(placed.pod, message, now, since)

    def _erred(self, placed: PlacedPod, queued: QueuedPod, error: Exception, now: float) -> None:
        self._metrics.erred()
        self._queue.remove(queued.key, now)  # wherever the fault left it
        self._bindings.drop(queued.key)
        self._cache.forget(queued.key)
        log.exception("placing pod %s failed unexpectedly", placed.key, extra={"pod": str(placed.key)})
        message = f"an internal error, which the scheduler's log has in full: {error!r}"
        self._telling.erred(placed.pod, "Scheduling", message, now)
        self._queue.again(queued, now)
