from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from engine.binder import Assignment, Binder, BindResult, ImmediateBinder, Outcome, ThreadedBinder
from engine.binder.executors import BindingExecutor
from engine.cluster.errors import ApiError, ClusterError
from engine.model.objects import PodKey
from tests.engine.cluster.double import ScriptedCluster


def task(number: int) -> Assignment:
    return Assignment(PodKey("default", f"web-{number}", f"uid-{number}"), "edge-1")


class Gate(ScriptedCluster):
    """A cluster whose bindings wait until the test lets them through."""

    def __init__(self) -> None:
        super().__init__()
        self.began: queue.SimpleQueue[PodKey] = queue.SimpleQueue()
        self.open = threading.Event()
        self.bound: list[PodKey] = []
        self.error: ClusterError | None = None

    def bind(self, pod: PodKey, node: str) -> None:
        self.began.put(pod)
        assert self.open.wait(10)
        if self.error is not None:
            raise self.error
        self.bound.append(pod)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    with ExitStack() as stack:
        stack.callback(gate.open.set)  # no thread outlives its test
        yield gate


class Results:
    """A callback that a test can wait on."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[BindResult] = queue.SimpleQueue()

    def __call__(self, result: BindResult) -> None:
        self.queue.put(result)

    def take(self, count: int) -> list[BindResult]:
        return [self.queue.get(timeout=5) for _ in range(count)]


def test_bindings_run_at_once_up_to_the_number_of_workers(gate: Gate) -> None:
    results = Results()
    executor = ThreadedBinder(Binder(gate), results, workers=3)
    for number in range(5):
        executor.submit(task(number))
    assert {gate.began.get(timeout=5) for _ in range(3)} == {task(number).pod for number in range(3)}
    assert gate.began.empty()
    assert executor.pending == 5
    assert not executor.wait_idle(0)
    gate.open.set()
    assert {result.assignment for result in results.take(5)} == {task(number) for number in range(5)}
    assert executor.wait_idle(5)
    assert executor.pending == 0
    assert executor.stop() == ()
    assert results.queue.empty()


def test_submitting_waits_for_room(gate: Gate) -> None:
    results = Results()
    executor = ThreadedBinder(Binder(gate), results, workers=1, capacity=2)
    executor.submit(task(0))
    executor.submit(task(1))
    submitted = threading.Event()

    def third() -> None:
        executor.submit(task(2))
        submitted.set()

    thread = threading.Thread(target=third)
    thread.start()
    assert gate.began.get(timeout=5) == task(0).pod
    assert not submitted.is_set()
    gate.open.set()
    assert submitted.wait(5)
    assert len(results.take(3)) == 3
    thread.join()
    executor.stop()


def test_stopping_lets_what_is_under_way_end_and_gives_the_rest_back(gate: Gate) -> None:
    results = Results()
    executor = ThreadedBinder(Binder(gate), results, workers=2)
    for number in range(5):
        executor.submit(task(number))
    under_way = {gate.began.get(timeout=5) for _ in range(2)}
    stopping = threading.Thread(target=lambda: left.extend(executor.stop(10.0)))
    left: list[BindResult] = []
    stopping.start()
    assert executor._binder.stopping.wait(5)
    gate.open.set()
    stopping.join(5)
    done = results.take(2)
    assert {result.assignment.pod for result in done} == under_way
    assert {result.outcome for result in done} == {Outcome.BOUND}
    assert {result.assignment for result in left} == {task(2), task(3), task(4)}
    assert {(result.outcome, result.attempts) for result in left} == {(Outcome.STOPPED, 0)}
    assert len(gate.bound) == 2


def test_stopping_does_not_wait_longer_than_told(gate: Gate) -> None:
    results = Results()
    executor = ThreadedBinder(Binder(gate), results, workers=1)
    executor.submit(task(0))
    gate.began.get(timeout=5)
    (left,) = executor.stop(0.0)
    assert (left.assignment, left.outcome) == (task(0), Outcome.STOPPED)
    assert "may have landed" in left.message
    gate.open.set()
    for thread in executor._threads:
        thread.join(5)
    assert results.queue.empty()  # told once, not twice


def test_a_wait_between_attempts_ends_at_once_when_stopping(gate: Gate) -> None:
    results = Results()
    gate.error = ApiError(429, "TooManyRequests", "much later", 25.0)
    gate.open.set()
    executor = ThreadedBinder(Binder(gate), results, workers=1)
    executor.submit(task(0))
    gate.began.get(timeout=5)
    assert executor.stop(5.0) == ()
    assert [result.outcome for result in results.take(1)] == [Outcome.STOPPED]


@pytest.mark.parametrize("kind", ["threads", "at once"])
def test_after_stopping_nothing_is_bound_and_each_still_gets_its_result(gate: Gate, kind: str) -> None:
    results = Results()
    binder = Binder(gate)
    executor: BindingExecutor = (
        ThreadedBinder(binder, results, workers=1) if kind == "threads" else ImmediateBinder(binder, results)
    )
    assert executor.stop() == ()
    executor.submit(task(1))
    assert executor.stop() == ()
    assert [result.outcome for result in results.take(1)] == [Outcome.STOPPED]
    assert gate.began.empty()


def test_a_submit_that_waits_for_room_is_let_go_by_stopping(gate: Gate) -> None:
    results = Results()
    executor = ThreadedBinder(Binder(gate), results, workers=1, capacity=2)
    executor.submit(task(0))
    executor.submit(task(1))
    gate.began.get(timeout=5)
    thread = threading.Thread(target=executor.submit, args=(task(2),))
    thread.start()
    left = executor.stop(0.0)
    thread.join(5)
    assert not thread.is_alive()
    assert {result.assignment for result in [*left, *results.take(1)]} == {task(0), task(1), task(2)}


def test_a_fault_of_ours_costs_neither_the_pod_its_result_nor_us_a_worker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    results = Results()
    cluster = ScriptedCluster(bind=[ZeroDivisionError("a fault"), None])
    executor = ThreadedBinder(Binder(cluster), results, workers=1)
    with caplog.at_level(logging.ERROR):
        executor.submit(task(0))
        executor.submit(task(1))
        first, second = results.take(2)
    assert (first.outcome, second.outcome) == (Outcome.GAVE_UP, Outcome.BOUND)
    assert "a fault" in first.message
    assert "binding default/web-0 to edge-1 failed unexpectedly" in caplog.text
    executor.stop()


def test_a_callback_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    told: queue.SimpleQueue[BindResult] = queue.SimpleQueue()

    def callback(result: BindResult) -> None:
        if result.assignment == task(0):
            raise ValueError("nobody home")
        told.put(result)

    executor = ThreadedBinder(Binder(ScriptedCluster(bind=[None, None])), callback, workers=1)
    with caplog.at_level(logging.ERROR):
        executor.submit(task(0))
        executor.submit(task(1))
        assert told.get(timeout=5).assignment == task(1)
    assert "the result of binding default/web-0 could not be delivered" in caplog.text
    executor.stop()


def test_many_bindings_each_get_exactly_one_result() -> None:
    results = Results()
    count = 500
    cluster = ScriptedCluster(bind=[None] * count)
    executor = ThreadedBinder(Binder(cluster), results, workers=8, capacity=16)
    for number in range(count):
        executor.submit(task(number))
    got = results.take(count)
    assert {result.assignment for result in got} == {task(number) for number in range(count)}
    assert executor.wait_idle(5)
    executor.stop()
    assert results.queue.empty()


def test_at_once() -> None:
    results: list[BindResult] = []
    executor = ImmediateBinder(Binder(ScriptedCluster(bind=[None])), results.append)
    executor.submit(task(0))
    assert [result.outcome for result in results] == [Outcome.BOUND]
    assert executor.pending == 0
    assert executor.wait_idle(0)
