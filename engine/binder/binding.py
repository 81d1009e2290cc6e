"""One binding, with retries, until its outcome is known.

A binding that was answered with silence may have landed. It is safe to try again, for the API server refuses (409) a
pod that has a node already, whichever it is; after such a refusal the pod itself is read to learn which case it is.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from tenacity import RetryCallState
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from engine.binder.devices import DevicePreparation, PreparedDevices
from engine.binder.volumes import Prepared, VolumePreparation
from engine.clock import Clock, SystemClock
from engine.cluster.backoff import is_transient, request_retrying
from engine.cluster.errors import ApiError, ClusterError
from engine.cluster.protocol import Cluster
from engine.model.device_uses import DeviceBindings
from engine.model.devices import ResourceClaim
from engine.model.objects import PodKey
from engine.model.storage import PersistentVolume, PersistentVolumeClaim, VolumeBindings

ATTEMPTS = 5
DEADLINE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Assignment:
    """A decision to carry out: this pod to this node.

    Attributes:
        volumes: What its claims have to get first: then only that is written, and the pod is not bound yet.
        devices: What its claims of devices have to get first; the pod is bound after that, unless their drivers have
            to make them ready: then it is not bound yet either.
    """

    pod: PodKey
    node: str
    volumes: VolumeBindings | None = None
    devices: DeviceBindings | None = None


class Outcome(enum.Enum):
    """What became of an assignment, and what the scheduler has to do."""

    BOUND = "bound"
    """It is on our node."""
    LOST = "lost"
    """Another node has it: forget it."""
    DROPPED = "dropped"
    """The pod is deleted, being deleted, or another one of its name is there: forget it."""
    REQUEUE = "requeue"
    """It is still unbound, and the server would not bind it now: forget the node and queue the pod again."""
    REFUSED = "refused"
    """The server will not have it so (400, 401, 403, 422): tell in an event, queue again."""
    GAVE_UP = "gave up"
    """No answer or overload until the tries ran out. It may have landed: the watch tells; else queue again."""
    PREPARED = "prepared"
    """What its claims need is written; it can be bound when the cluster, or a driver, has made that come about."""
    NO_VOLUMES = "no volumes"
    """Its claims do not get what was decided: tell in an event, queue again."""
    NO_DEVICES = "no devices"
    """Its claims of devices do not get what was decided: tell in an event, queue again."""
    STOPPED = "stopped"
    """We are shutting down. Whoever comes next finds the pod as it is."""


@dataclass(frozen=True, slots=True)
class BindResult:
    """How one assignment ended.

    Attributes:
        assignment: Which.
        outcome: How.
        message: A sentence for people; "" where it is bound at the first try.
        attempts: How many requests to bind were sent.
        storage: Volumes and claims as the cluster had them last, where any were written or read.
        devices: Claims of devices, likewise.
    """

    assignment: Assignment
    outcome: Outcome
    message: str = ""
    attempts: int = 1
    storage: tuple[PersistentVolume | PersistentVolumeClaim, ...] = ()
    devices: tuple[ResourceClaim, ...] = ()


@dataclass(slots=True)
class _Progress:
    """What one call of `Binder.bind` has done so far."""

    assignment: Assignment
    started: float
    attempts: int = 0
    last: ClusterError | None = field(default=None)
    prepared: Prepared = field(default_factory=Prepared)
    devices: PreparedDevices = field(default_factory=PreparedDevices)


class _Stopping(Exception):
    """A wait ended because we are shutting down."""


class _stop_after_deadline(stop_base):  # noqa: N801  (as tenacity names its stops)
    """Stops where the next wait would end beyond the deadline, by the injected clock."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds

    def __call__(self, retry_state: RetryCallState) -> bool:
        progress: _Progress = retry_state.args[0]
        spent = self._clock.monotonic() - progress.started
        return spent + retry_state.upcoming_sleep > self._seconds


class Binder:
    """Binds pods one at a time; one binder serves many threads.

    Args:
        cluster: Where.
        attempts: Most requests to bind that are sent for one assignment.
        deadline: Seconds within which the last attempt for an assignment begins.
        stop: Set it to end waits at once; those that wait end as STOPPED.
        sleep: Sleeps between attempts; the default wakes up when ``stop`` is set.
        clock: Measures the deadline.
        wait: Between attempts where the server doesn't say; full jitter by default.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        attempts: int = ATTEMPTS,
        deadline: float = DEADLINE_SECONDS,
        stop: threading.Event | None = None,
        sleep: Callable[[float], None] | None = None,
        clock: Clock | None = None,
        wait: wait_base | None = None,
    ) -> None:
        self._cluster = cluster
        self._preparation = VolumePreparation(cluster)
        self._devices = DevicePreparation(cluster)
        self._clock = clock or SystemClock()
        self.stopping = stop or threading.Event()
        self._retrying = request_retrying(
            self.stopping,
            attempts=attempts,
            wait=wait,
            sleep=sleep,
            also_stop=_stop_after_deadline(self._clock, deadline),
        )

    def bind(self, assignment: Assignment) -> BindResult:
        """Bind, and try again as long as that makes sense. Never raises for what a cluster answers."""
        progress = _Progress(assignment, self._clock.monotonic())
        try:
            outcome, message = self._retrying(self._attempt, progress)
        except _Stopping:
            outcome, message = Outcome.STOPPED, _so_far(progress)
        except ApiError as error:
            if not is_transient(error):
                outcome, message = Outcome.REFUSED, str(error)
            else:
                outcome, message = self._ended(error, progress)
        except ClusterError as error:
            outcome, message = self._ended(error, progress)
        storage, claims = progress.prepared.objects(), tuple(progress.devices.claims.values())
        return BindResult(assignment, outcome, message, progress.attempts, storage, claims)

    def _attempt(self, progress: _Progress) -> tuple[Outcome, str]:
        if self.stopping.is_set():
            raise _Stopping
        assignment = progress.assignment
        progress.attempts += 1
        if assignment.devices is not None:
            trouble = self._prepare_devices(assignment.devices, progress)
            if trouble is not None:
                return Outcome.NO_DEVICES, trouble
        if assignment.volumes is not None:
            return self._prepare(assignment.volumes, progress)
        if assignment.devices is not None and assignment.devices.awaited:
            return Outcome.PREPARED, ""
        try:
            self._cluster.bind(assignment.pod, assignment.node)
        except ApiError as error:
            progress.last = error
            if error.status == 404:
                return Outcome.DROPPED, f"{assignment.pod} is gone"
            if error.status == 409:
                return self._resolve(assignment, error)
            raise
        except ClusterError as error:
            progress.last = error
            raise
        return Outcome.BOUND, "" if progress.attempts == 1 else f"after {progress.attempts} attempts"

    def _prepare(self, volumes: VolumeBindings, progress: _Progress) -> tuple[Outcome, str]:
        try:
            trouble = self._preparation.write(volumes, progress.prepared)
        except ClusterError as error:
            progress.last = error
            raise
        return (Outcome.PREPARED, "") if trouble is None else (Outcome.NO_VOLUMES, trouble)

    def _prepare_devices(self, devices: DeviceBindings, progress: _Progress) -> str | None:
        try:
            return self._devices.write(devices, progress.assignment.pod, progress.devices)
        except ClusterError as error:
            progress.last = error
            raise

    def _resolve(self, assignment: Assignment, conflict: ApiError) -> tuple[Outcome, str]:
        """Which of the cases a conflict is; reading the pod is tried again with the whole attempt."""
        key, node = assignment.pod, assignment.node
        pod = self._cluster.get_pod(key.namespace, key.name)
        if pod is None:
            return Outcome.DROPPED, f"{key} is gone"
        if pod.metadata.uid != key.uid:
            return Outcome.DROPPED, f"{key} was deleted, and another of its name is there"
        if pod.spec.node_name == node:
            return Outcome.BOUND, "an earlier attempt had landed"
        if pod.spec.node_name:
            return Outcome.LOST, f"{key} is bound to {pod.spec.node_name}"
        if pod.metadata.deletion_timestamp is not None:
            return Outcome.DROPPED, f"{key} is being deleted"
        return Outcome.REQUEUE, f"{key} cannot be bound now: {conflict.message}"

    def _ended(self, error: ClusterError, progress: _Progress) -> tuple[Outcome, str]:
        if self.stopping.is_set():
            return Outcome.STOPPED, _so_far(progress)
        return Outcome.GAVE_UP, f"gave up after {progress.attempts} attempts: {error}"


def _so_far(progress: _Progress) -> str:
    if progress.last is None:
        return "shutting down, nothing was sent"
    return f"shutting down after {progress.attempts} attempts, of which the last: {progress.last}"
