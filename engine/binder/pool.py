"""Threads that carry out one piece of work after another, and deliver what came of each exactly once."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

log = logging.getLogger(__name__)

WORKERS: Final = 4
STOP_SECONDS: Final = 2.0

Work = TypeVar("Work")
Result = TypeVar("Result")


class ThreadedPool(Generic[Work, Result]):
    """Whoever submits never waits: there is little of this work, and each piece has a thread to itself.

    Args:
        do: Carries out a piece of work; does not raise for what a cluster answers.
        failed: What is told where it raised all the same, which is a fault of ours.
        on_result: Called from the thread with each result.
        stopping: Set to end waits of ``do`` at once.
        name: Of the threads.
        workers: Threads.
    """

    def __init__(
        self,
        do: Callable[[Work], Result],
        failed: Callable[[Work, Exception], Result],
        on_result: Callable[[Result], object],
        stopping: threading.Event,
        name: str,
        workers: int = WORKERS,
    ) -> None:
        self._do = do
        self._failed = failed
        self._on_result = on_result
        self._stopping = stopping
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Work) -> None:
        """Queue it."""
        self._queue.put(work)

    def stop(self, timeout: float = STOP_SECONDS) -> int:
        """End within ``timeout`` seconds; waits between tries end at once. How much was not begun."""
        self._stopping.set()
        left = 0
        while True:
            try:
                left += self._queue.get_nowait() is not None
            except queue.Empty:
                break
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(timeout / len(self._threads))
        return left

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            try:
                result = self._do(work)
            except Exception as error:  # a fault of ours must not end the thread, nor cost anybody the result
                log.exception("%s failed unexpectedly", work)
                result = self._failed(work, error)
            try:
                self._on_result(result)
            except Exception:
                log.exception("the result of %s could not be delivered", work)


class ImmediatePool(Generic[Work, Result]):
    """Carries work out in `submit` itself, for the simulated cluster.

    Args:
        do: As for `ThreadedPool`.
        on_result: Likewise.
        stopping: Likewise.
    """

    def __init__(
        self,
        do: Callable[[Work], Result],
        on_result: Callable[[Result], object],
        stopping: threading.Event,
    ) -> None:
        self._do = do
        self._on_result = on_result
        self._stopping = stopping

    def submit(self, work: Work) -> None:
        """Do it and tell the result."""
        self._on_result(self._do(work))

    def stop(self, timeout: float = STOP_SECONDS) -> int:  # noqa: ARG002  (as the other's)
        """Nothing is ever left over."""
        self._stopping.set()
        return 0
