"""Who runs the binder: threads of its own for an API server, or the caller at once for the simulated cluster."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol

from engine.binder.binding import Assignment, Binder, BindResult, Outcome

log = logging.getLogger(__name__)

WORKERS = 16
CAPACITY = 1024
STOP_SECONDS = 2.0

OnResult = Callable[[BindResult], object]


class BindingExecutor(Protocol):
    """Carries out assignments; each result goes to a callback, exactly once."""

    @property
    def pending(self) -> int:
        """How many assignments are waiting or under way."""
        ...

    def submit(self, assignment: Assignment) -> None:
        """Have it carried out. May wait for room, so that decisions don't run far ahead of bindings."""
        ...

    def wait_idle(self, timeout: float) -> bool:
        """Wait until nothing is pending; whether that came true within ``timeout`` seconds."""
        ...

    def stop(self, timeout: float = STOP_SECONDS) -> tuple[BindResult, ...]:
        """Take nothing more and let what is under way end.

        Returns:
            What had not ended in time or had not begun, as STOPPED. The callback is not told of these.
        """
        ...


class ImmediateBinder:
    """Binds in `submit` itself."""

    def __init__(self, binder: Binder, on_result: OnResult) -> None:
        self._binder = binder
        self._on_result = on_result

    @property
    def pending(self) -> int:
        """Always 0."""
        return 0

    def submit(self, assignment: Assignment) -> None:
        """Bind and tell the result."""
        self._on_result(self._binder.bind(assignment))

    def wait_idle(self, timeout: float) -> bool:  # noqa: ARG002  (the protocol's)
        """Always True."""
        return True

    def stop(self, timeout: float = STOP_SECONDS) -> tuple[BindResult, ...]:  # noqa: ARG002  (the protocol's)
        """Later submits end as STOPPED; nothing is ever left over."""
        self._binder.stopping.set()
        return ()


class ThreadedBinder:
    """Binds in ``workers`` threads.

    Args:
        binder: What each of them calls.
        on_result: Called from the worker's thread with each result; a queue's ``put`` does.
        workers: Threads, each with its connection.
        capacity: Assignments that may wait; `submit` blocks beyond.
    """

    def __init__(
        self, binder: Binder, on_result: OnResult, *, workers: int = WORKERS, capacity: int = CAPACITY
    ) -> None:
        self._binder = binder
        self._on_result = on_result
        self._queue: queue.SimpleQueue[Assignment | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(capacity)
        self._lock = threading.Lock()
        self._pending: dict[int, Assignment] = {}
        self._idle = threading.Event()
        self._idle.set()
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._work, name=f"binder-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pending(self) -> int:
        """How many assignments are waiting or under way."""
        return len(self._pending)

    def submit(self, assignment: Assignment) -> None:
        """Queue it, waiting for room. After `stop` the callback gets it as STOPPED."""
        self._room.acquire()
        with self._lock:
            if not self._stopped:
                self._pending[id(assignment)] = assignment
                self._idle.clear()
                self._queue.put(assignment)
                return
        self._room.release()
        self._tell(_stopped(assignment, "shutting down, nothing was sent"))

    def wait_idle(self, timeout: float) -> bool:
        """Wait until nothing is pending."""
        return self._idle.wait(timeout)

    def stop(self, timeout: float = STOP_SECONDS) -> tuple[BindResult, ...]:
        """End within ``timeout`` seconds; waits between attempts end at once."""
        deadline = time.monotonic() + timeout
        with self._lock:
            already, self._stopped = self._stopped, True
        self._binder.stopping.set()
        left = []
        while not already:
            try:
                assignment = self._queue.get_nowait()
            except queue.Empty:
                break
            if assignment is not None and self._take(assignment):
                left.append(_stopped(assignment, "shutting down, nothing was sent"))
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            stuck = list(self._pending.values())
            self._pending.clear()  # whoever is not in here is told of by nobody else
            self._idle.set()
        left += [
            _stopped(one, f"no answer within {timeout:g} s of shutting down; it may have landed")
            for one in stuck
        ]
        return tuple(left)

    def _work(self) -> None:
        while (assignment := self._queue.get()) is not None:
            try:
                result = self._binder.bind(assignment)
            except Exception as error:  # a fault of ours must not cost the pod its result, nor us the worker
                log.exception("binding %s to %s failed unexpectedly", assignment.pod, assignment.node)
                result = BindResult(assignment, Outcome.GAVE_UP, f"internal error: {error!r}", 1)
            if self._take(assignment):
                self._tell(result)

    def _take(self, assignment: Assignment) -> bool:
        """Whether the result is ours to tell."""
        with self._lock:
            ours = self._pending.pop(id(assignment), None) is not None
            if not self._pending:
                self._idle.set()
        if ours:
            self._room.release()
        return ours

    def _tell(self, result: BindResult) -> None:
        try:
            self._on_result(result)
        except Exception:
            log.exception("the result of binding %s could not be delivered", result.assignment.pod)


def _stopped(assignment: Assignment, message: str) -> BindResult:
    return BindResult(assignment, Outcome.STOPPED, message, 0)
