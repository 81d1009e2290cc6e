"""Runs errands of the reserve and of healing: a few requests in an order in which each may be the last.

Every step can be done again: what is gone is as good as deleted, a name that is taken by what we made is as good as
created. So an errand that a kill cut short is simply sent again by whoever finds its beginning in the cluster.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, cast

from tenacity.wait import wait_base

from engine.binder.anew import anew
from engine.binder.pool import STOP_SECONDS, ImmediatePool, ThreadedPool
from engine.cluster.backoff import is_transient, request_retrying
from engine.cluster.errors import ApiError, ClusterError
from engine.cluster.protocol import Cluster
from engine.model.objects import Condition, Pod, PodKey
from engine.model.placeholder import OF, PLACEHOLDER, PRIORITY, PRIORITY_CLASS, RECREATES

ATTEMPTS: Final = 5
WORKERS: Final = 8
"""Threads: as many as bind. All pods of a lost node leave at once, and each is brought back by an answered request."""
_GONE: Final = (404, 409)
_ENDED: Final = ("Failed", "Succeeded")
_CLASS_SAYS: Final = (
    "Pods that only hold room, which is kept for the loss of a node. Anything may take their place."
)


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a pod, disruption budgets unasked; ``grace_seconds`` None for its own."""

    pod: PodKey
    grace_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Evict:
    """Evict a pod; a disruption budget that forbids it ends the errand."""

    pod: PodKey


@dataclass(frozen=True, slots=True)
class Tell:
    """Set a condition of a pod that is about to leave; none is set where the pod is gone."""

    pod: PodKey
    condition: Condition


@dataclass(frozen=True, slots=True)
class Create:
    """Make a pod."""

    manifest: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Record:
    """Make a placeholder that carries the manifest of a pod, so that this can be made anew whatever happens."""

    pod: PodKey
    placeholder: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Remake:
    """Make the pod anew that a placeholder carries."""

    placeholder: PodKey


@dataclass(frozen=True, slots=True)
class Promise:
    """Promise a node to a waiting pod in its status, so that whoever comes after us knows for whom it was freed."""

    pod: PodKey
    node: str


Step = Delete | Evict | Tell | Create | Record | Remake | Promise


@dataclass(frozen=True, slots=True)
class Errand:
    """Steps in order; the first that fails is the last.

    Attributes:
        subject: Whose: what its sender knows it by.
        steps: What is to be done.
    """

    subject: object
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class ErrandResult:
    """What came of it.

    Attributes:
        errand: Which.
        done: How many steps were done.
        created: The pods that were made.
        status: Of the answer that ended it, 0 where there was none.
        message: Why it ended early, "" where it did not.
    """

    errand: Errand
    done: int
    created: tuple[Pod, ...] = ()
    status: int = 0
    message: str = ""


OnErrand = Callable[[ErrandResult], object]


class Runner:
    """Runs one errand after another; one serves many threads.

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
        self._classed = False

        def worth_trying(error: BaseException) -> bool:
            return (is_transient(error) and not _forbidden_by_budget(error)) or _lacks_class(error)

        self._retrying = request_retrying(
            self.stopping, attempts=attempts, retry=worth_trying, wait=wait, sleep=sleep
        )

    def run(self, errand: Errand) -> ErrandResult:
        """Run it. Never raises for what a cluster answers; what could not be done is in the result."""
        created: list[Pod] = []
        for done, step in enumerate(errand.steps):
            if self.stopping.is_set():
                return ErrandResult(errand, done, tuple(created), message="shutting down")
            try:
                pod = self._do(step)
            except ApiError as error:
                return ErrandResult(errand, done, tuple(created), error.status, str(error))
            except ClusterError as error:
                return ErrandResult(errand, done, tuple(created), message=str(error))
            if pod is not None:
                created.append(pod)
        return ErrandResult(errand, len(errand.steps), tuple(created))

    def _do(self, step: Step) -> Pod | None:
        cluster = self._cluster
        match step:
            case Delete(pod, grace):
                self._unless_gone(cluster.delete_pod, pod, grace)
            case Evict(pod):
                self._unless_gone(cluster.evict, pod)
            case Tell(pod, condition):
                self._unless_gone(cluster.patch_pod_condition, pod, condition)
            case Promise(pod, node):
                self._unless_gone(cluster.nominate, pod, node)
            case Create(manifest):
                return self._create(manifest, {})
            case Record(pod, manifest):
                found = self._retrying(cluster.get_manifest, pod.namespace, pod.name)
                if found is None or _uid(found) != pod.uid:
                    raise ApiError(404, "NotFound", f"pod {pod} is gone, it cannot be made anew")
                carried = json.dumps(anew(found), sort_keys=True)
                return self._create(manifest, {RECREATES: carried, OF: pod.uid})
            case Remake(placeholder):
                return self._remake(placeholder)
        return None

    def _remake(self, placeholder: PodKey) -> Pod | None:
        holder = self._retrying(self._cluster.get_manifest, placeholder.namespace, placeholder.name)
        if holder is None or _uid(holder) != placeholder.uid:
            return None
        carried = _annotations(holder)
        made = self._create(json.loads(carried.get(RECREATES, "")), {})
        if made.metadata.uid == carried.get(OF):
            # It has ended, so that no watch shows it any more, and its name is still taken.
            raise ApiError(409, "AlreadyExists", f"pod {made.key} is not gone yet")
        return made

    def _create(self, manifest: Mapping[str, object], annotations: Mapping[str, str]) -> Pod:
        metadata = cast("Mapping[str, object]", manifest["metadata"])
        if annotations:
            metadata = {**metadata, "annotations": {**_annotations(manifest), **annotations}}
            manifest = {**manifest, "metadata": metadata}
        spec = cast("Mapping[str, object]", manifest["spec"])
        create = (
            self._create_classed
            if spec.get("priorityClassName") == PRIORITY_CLASS
            else self._cluster.create_pod
        )
        try:
            return self._retrying(create, manifest)
        except ApiError as error:
            if error.status != 409:
                raise
            # The answer to an earlier try was lost, or a run before this one got so far.
            found = self._cluster.get_pod(str(metadata.get("namespace", "")), str(metadata["name"]))
            if (
                found is None
            ):  # it is gone since, or what is taken is another name: that of the priority class
                raise
        if spec.get("priorityClassName") == PRIORITY_CLASS:
            self._holds(found, manifest)
        return found

    def _holds(self, found: Pod, manifest: Mapping[str, object]) -> None:
        """See to it that whoever has a placeholder's name is that placeholder, and holds the room.

        Raises:
            ApiError: It is not. One that has ended, which no watch shows, is deleted, so that the next try may make it.
        """
        metadata = cast("Mapping[str, Mapping[str, str]]", manifest["metadata"])
        if (found.metadata.labels or {}).get(PLACEHOLDER) != metadata["labels"][PLACEHOLDER]:
            raise ApiError(409, "AlreadyExists", f"pod {found.key} is none of ours; delete it or rename it")
        if found.status.phase in _ENDED:
            self._unless_gone(self._cluster.delete_pod, found.key, 0)
            why = found.status.reason or found.status.phase
            raise ApiError(409, "AlreadyExists", f"its node ended placeholder {found.key}: {why}")

    def _create_classed(self, manifest: Mapping[str, object]) -> Pod:
        """Make a placeholder, and before that its priority class where that was not seen yet, or has gone since."""
        if not self._classed:
            self._cluster.ensure_priority_class(PRIORITY_CLASS, PRIORITY, _CLASS_SAYS)
            self._classed = True
        try:
            return self._cluster.create_pod(manifest)
        except ApiError as error:
            if _lacks_class(error):
                self._classed = False
            raise

    def _unless_gone(self, call: Callable[..., object], *arguments: object) -> None:
        try:
            self._retrying(call, *arguments)
        except ApiError as error:
            if error.status not in _GONE:
                raise


def _forbidden_by_budget(error: BaseException) -> bool:
    """Whether an eviction is refused by a disruption budget: the status is one of overload, trying again is no use.

    The server's own overload comes with a time to wait.
    """
    return isinstance(error, ApiError) and error.status == 429 and "disruption budget" in error.message


def _lacks_class(error: BaseException) -> bool:
    """Whether a pod is refused as its priority class is not there; one that was made just now is found a little later.

    Source: the admission plugin Priority, which looks classes up in a cache that follows the cluster by a watch.
    """
    return (
        isinstance(error, ApiError) and error.status == 403 and "no PriorityClass with name" in error.message
    )


def _uid(manifest: Mapping[str, object]) -> str:
    metadata = manifest.get("metadata")
    return str(metadata.get("uid", "")) if isinstance(metadata, Mapping) else ""


def _annotations(manifest: Mapping[str, object]) -> dict[str, str]:
    metadata = manifest.get("metadata")
    found = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    return dict(found) if isinstance(found, Mapping) else {}


class ErrandExecutor(Protocol):
    """Runs errands; each result goes to a callback, exactly once, if it is not stopped before."""

    def submit(self, errand: Errand) -> None:
        """Have it run."""
        ...

    def stop(self, timeout: float = STOP_SECONDS) -> int:
        """Take nothing more and let what is under way end; how many were not begun."""
        ...


class ImmediateRunner(ImmediatePool[Errand, ErrandResult]):
    """Runs errands in `submit` itself, for the simulated cluster."""

    def __init__(self, runner: Runner, on_result: OnErrand) -> None:
        super().__init__(runner.run, on_result, runner.stopping)


class ThreadedRunner(ThreadedPool[Errand, ErrandResult]):
    """Runs errands in threads, each errand in one of them.

    Args:
        runner: What each of them calls.
        on_result: Called from the thread with each result.
        workers: Threads.
    """

    def __init__(self, runner: Runner, on_result: OnErrand, *, workers: int = WORKERS) -> None:
        super().__init__(runner.run, _failed, on_result, runner.stopping, "errands", workers)


def _failed(errand: Errand, error: Exception) -> ErrandResult:
    return ErrandResult(errand, 0, message=f"internal error: {error!r}")
