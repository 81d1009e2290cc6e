"""Makes room for a pod: promises it the node, and takes those of lower priority away.

Each step can be done again: a nomination, a condition and a deletion that are there already are no error, so a try
after a lost answer does nothing twice. A victim that is gone, or another pod under its name, is as good as taken away.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from tenacity.wait import wait_base

from engine.binder.pool import STOP_SECONDS, WORKERS, ImmediatePool, ThreadedPool
from engine.cluster.backoff import request_retrying
from engine.cluster.errors import ApiError, ClusterError
from engine.cluster.protocol import Cluster
from engine.model.devices import ResourceClaim
from engine.model.objects import Condition, PodKey

log = logging.getLogger(__name__)

ATTEMPTS: Final = 5
_GONE: Final = (404, 409)
"""The pod is gone, or another one has its name."""


@dataclass(frozen=True, slots=True)
class RoomWanted:
    """A decision to carry out.

    Attributes:
        pod: Whom the node is promised to; nobody, where only promises are taken back.
        node: Which.
        victims: Who has to go.
        superseded: Whose promise of the node is taken back.
        scheduler: The scheduler's name, as victims are told.
        idle: Claims whose devices are where the pod cannot go, and that nobody else uses: they give them back.
        at: When it was decided; without a time Kubernetes' disruption controller takes a victim's condition for one
            of long ago, and takes it back.
    """

    pod: PodKey | None
    node: str
    victims: tuple[PodKey, ...] = ()
    superseded: tuple[PodKey, ...] = ()
    scheduler: str = ""
    at: datetime | None = None
    idle: tuple[ResourceClaim, ...] = ()


@dataclass(frozen=True, slots=True)
class RoomResult:
    """What came of it.

    Attributes:
        wanted: What was to be done.
        deleted: The victims whose deletion was asked for, and granted.
        failed: Those that stay, each with why.
        message: Why nothing else went on, "" where all went well.
    """

    wanted: RoomWanted
    deleted: tuple[PodKey, ...] = ()
    failed: tuple[tuple[PodKey, str], ...] = ()
    message: str = ""


OnRoom = Callable[[RoomResult], object]


class Clearer:
    """Carries out one decision after another; one serves many threads.

    Args:
        cluster: Where.
        attempts: Tries for each request.
        stop: Set it to end waits at once.
        sleep: Between tries; the default wakes up when ``stop`` is set.
        wait: Between tries where the server doesn't say.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        attempts: int = ATTEMPTS,
        stop: threading.Event | None = None,
        sleep: Callable[[float], None] | None = None,
        wait: wait_base | None = None,
    ) -> None:
        self._cluster = cluster
        self.stopping = stop or threading.Event()
        self._retrying = request_retrying(self.stopping, attempts=attempts, wait=wait, sleep=sleep)

    def clear(self, wanted: RoomWanted) -> RoomResult:
        """Do it. Never raises for what a cluster answers; what could not be done is in the result."""
        for key in wanted.superseded:
            self._try(self._cluster.nominate, key, "")
        for claim in wanted.idle:
            # One of extended resources is made anew, for another node may need another one.
            anew = claim.of_extended_resources
            undo = self._cluster.delete_resource_claim if anew else self._cluster.release_resource_claim
            failure = self._try(undo, claim)
            if failure:
                log.warning("the devices of resourceclaim %s stay where they are: %s", claim.name, failure)
        if wanted.pod is None:
            return RoomResult(wanted)
        # The promise first: another instance that takes over meanwhile finds out whom the room is for.
        failure = self._try(self._cluster.nominate, wanted.pod, wanted.node)
        if failure is not None:
            why = failure or "the pod that it was for is gone"
            return RoomResult(wanted, failed=tuple((key, why) for key in wanted.victims), message=why)
        deleted, failed = [], []
        condition = Condition(
            "DisruptionTarget",
            "True",
            "PreemptionByScheduler",
            f"{wanted.scheduler}: preempting to accommodate a higher priority pod",
            wanted.at,
        )
        for key in wanted.victims:
            failure = self._try(self._cluster.patch_pod_condition, key, condition)
            if failure is None:
                failure = self._try(self._cluster.delete_pod, key)
            if failure is None:
                deleted.append(key)
            elif failure:
                failed.append((key, failure))
        return RoomResult(wanted, tuple(deleted), tuple(failed))

    def _try(self, call: Callable[..., object], *arguments: object) -> str | None:
        """Why it failed, None where it did not, "" where the pod is not there any more."""
        if self.stopping.is_set():
            return "shutting down"
        try:
            self._retrying(call, *arguments)
        except ApiError as error:
            if error.status in _GONE:
                return ""
            return str(error)
        except ClusterError as error:
            return str(error)
        return None


class RoomExecutor(Protocol):
    """Carries out decisions to make room; each result goes to a callback, exactly once, if it is not stopped before."""

    def submit(self, wanted: RoomWanted) -> None:
        """Have it carried out."""
        ...

    def stop(self, timeout: float = STOP_SECONDS) -> int:
        """Take nothing more and let what is under way end; how much was not begun."""
        ...


class ImmediateClearer(ImmediatePool[RoomWanted, RoomResult]):
    """Makes room in `submit` itself, for the simulated cluster."""

    def __init__(self, clearer: Clearer, on_result: OnRoom) -> None:
        super().__init__(clearer.clear, on_result, clearer.stopping)


class ThreadedClearer(ThreadedPool[RoomWanted, RoomResult]):
    """Makes room in threads, each decision in one of them.

    Args:
        clearer: What each of them calls.
        on_result: Called from the thread with each result.
        workers: Threads.
    """

    def __init__(self, clearer: Clearer, on_result: OnRoom, *, workers: int = WORKERS) -> None:
        super().__init__(clearer.clear, _failed, on_result, clearer.stopping, "clearer", workers)


def _failed(wanted: RoomWanted, error: Exception) -> RoomResult:
    why = f"internal error: {error!r}"
    return RoomResult(wanted, failed=tuple((key, why) for key in wanted.victims), message=why)
