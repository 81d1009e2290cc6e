from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engine.binder import EventRecorder, ImmediateRecorder, Recorder
from engine.binder.recorder import PAUSE_SECONDS, REPEAT_SECONDS, ConditionChange, Repeats, Write
from engine.cluster.errors import ApiError, ClusterError, Unreachable
from engine.cluster.protocol import ClusterEvent, EventType
from engine.model.objects import Condition, PodKey
from tests.engine.cluster.double import ManualClock, ScriptedCluster

MOMENT = datetime(2031, 1, 1, tzinfo=UTC)
KEY = PodKey("default", "web-0", "uid-0")
CONDITION = Condition("PodScheduled", "False", "Unschedulable", "0/3 nodes")


def event(number: int = 0, message: str = "0/3 nodes", seconds: float = 0.0) -> ClusterEvent:
    key = PodKey("default", f"web-{number}", f"uid-{number}")
    time = MOMENT + timedelta(seconds=seconds)
    return ClusterEvent(key, EventType.WARNING, "FailedScheduling", "Scheduling", message, time)


class Sink(ScriptedCluster):
    """A cluster that takes what is written, after raising what is to be raised first."""

    def __init__(self, *errors: BaseException) -> None:
        super().__init__()
        self.errors = list(errors)
        self.got: queue.SimpleQueue[Write] = queue.SimpleQueue()
        self.tried: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.open = threading.Event()
        self.open.set()

    def post_event(self, event: ClusterEvent) -> None:
        self._take(event)

    def patch_pod_condition(self, pod: PodKey, condition: Condition) -> None:
        self._take(ConditionChange(pod, condition))

    def _take(self, write: Write) -> None:
        self.tried.put(None)
        assert self.open.wait(10)
        if self.errors:
            raise self.errors.pop(0)
        self.got.put(write)

    def take(self, count: int) -> list[Write]:
        return [self.got.get(timeout=5) for _ in range(count)]


class Pauses:
    """Tells whether nothing is being bound, and when it was asked."""

    def __init__(self) -> None:
        self.idle = threading.Event()
        self.asked = threading.Semaphore(0)

    def __call__(self, timeout: float) -> bool:
        self.asked.release()
        return self.idle.wait(timeout)


@pytest.fixture
def recorders() -> Iterator[list[EventRecorder]]:
    made: list[EventRecorder] = []
    yield made
    for recorder in made:
        recorder._abandon.set()
        recorder.stop(0.0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def make(recorders: list[EventRecorder], clock: ManualClock) -> Any:
    def make(cluster: Sink, **options: Any) -> EventRecorder:
        recorder = EventRecorder(cluster, **{"senders": 1, "clock": clock, "sleep": clock.sleep, **options})
        recorders.append(recorder)
        return recorder

    return make


def test_events_and_conditions_arrive_in_order(make: Any) -> None:
    sink = Sink()
    recorder = make(sink)
    recorder.event(event(0))
    recorder.condition(KEY, CONDITION)
    recorder.event(event(1))
    assert sink.take(3) == [event(0), ConditionChange(KEY, CONDITION), event(1)]
    assert recorder.drain(5)
    assert recorder.stop() == 0


def test_bindings_come_first(make: Any) -> None:
    sink, pauses = Sink(), Pauses()
    recorder = make(sink, wait_idle=pauses)
    recorder.event(event(0))
    recorder.event(event(1))
    for _ in range(2):
        assert pauses.asked.acquire(timeout=5)
    assert sink.tried.empty()
    pauses.idle.set()
    assert sink.take(2) == [event(0), event(1)]


def test_what_waited_long_goes_out_although_bindings_never_pause(make: Any, clock: ManualClock) -> None:
    sink, pauses = Sink(), Pauses()
    recorder = make(sink, wait_idle=pauses, patience=10.0)
    recorder.event(event(0))
    assert pauses.asked.acquire(timeout=5)
    clock.time += 9.0
    recorder.event(event(1))
    for _ in range(2):
        assert pauses.asked.acquire(timeout=5)
    assert sink.tried.empty()
    clock.time += 1.0
    assert sink.take(1) == [event(0)]
    assert pauses.asked.acquire(timeout=5)
    assert sink.tried.qsize() == 1  # the second has not waited that long


def test_whoever_says_at_once_that_something_is_being_bound_is_not_asked_all_the_time(make: Any) -> None:
    asked: queue.SimpleQueue[float] = queue.SimpleQueue()

    def busy(timeout: float) -> bool:
        asked.put(time.monotonic())
        return False

    make(Sink(), wait_idle=busy).event(event(0))
    times = [asked.get(timeout=5) for _ in range(4)]
    assert times[-1] - times[0] >= 3 * PAUSE_SECONDS * 0.9


def test_more_than_half_of_the_room_does_not_wait_for_a_pause(make: Any) -> None:
    sink, pauses = Sink(), Pauses()
    recorder = make(sink, wait_idle=pauses, capacity=4)
    for number in range(3):
        recorder.event(event(number))
    assert sink.take(1) == [event(0)]
    for _ in range(2):
        assert pauses.asked.acquire(timeout=5)
    assert sink.got.empty()


def test_what_has_no_room_is_counted_and_logged_not_for_each(
    make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sink = Sink()
    sink.open.clear()
    recorder = make(sink, capacity=2)
    recorder.event(event(0))
    sink.tried.get(timeout=5)
    with caplog.at_level(logging.WARNING):
        for number in range(1, 10):
            recorder.event(event(number))
    assert recorder.lost == 7
    assert [record.message for record in caplog.records] == [
        "1 events or conditions lost: the queue of 2 is full"
    ]
    sink.open.set()
    assert sink.take(3) == [event(0), event(1), event(2)]
    recorder.event(event(9))  # it was not written, so this is no repeat
    assert sink.take(1) == [event(9)]


TRANSIENT: dict[str, ClusterError] = {
    "silence": Unreachable("no answer"),
    "overload": ApiError(429, "TooManyRequests", "later", 3.0),
    "etcd away": ApiError(500, "InternalError", "etcd"),
}


@pytest.mark.parametrize("error", TRANSIENT.values(), ids=TRANSIENT.keys())
def test_what_fails_for_a_while_is_tried_again(make: Any, clock: ManualClock, error: ClusterError) -> None:
    sink = Sink(error, error)
    recorder = make(sink)
    recorder.event(event(0))
    assert sink.take(1) == [event(0)]
    assert len(clock.slept) == 2
    if isinstance(error, ApiError) and error.retry_after:
        assert clock.slept == [3.0, 3.0]
    assert recorder.stop() == 0


def test_what_fails_for_ever_is_lost_and_the_next_goes_on(
    make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sink = Sink(*[Unreachable("no answer")] * 5)
    recorder = make(sink, attempts=5)
    with caplog.at_level(logging.WARNING):
        recorder.event(event(0))
        recorder.event(event(1))
        assert sink.take(1) == [event(1)]
    assert recorder.lost == 1
    assert "event FailedScheduling about default/web-0: no answer" in caplog.text


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_is_refused_is_not_tried_again(make: Any, status: int, caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink(ApiError(status, "Reason", "the server's words"))
    recorder = make(sink)
    with caplog.at_level(logging.WARNING):
        recorder.condition(KEY, CONDITION)
        recorder.event(event(1))
        assert sink.take(1) == [event(1)]
    assert recorder.lost == 1
    assert "condition PodScheduled of default/web-0" in caplog.text
    assert "the server's words" in caplog.text
    recorder.condition(KEY, CONDITION)  # it was not set, so this is no repeat
    assert sink.take(1) == [ConditionChange(KEY, CONDITION)]


def test_a_fault_of_ours_does_not_end_the_thread(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink(ZeroDivisionError("a fault"))
    recorder = make(sink)
    with caplog.at_level(logging.ERROR):
        recorder.event(event(0))
        recorder.event(event(1))
        assert sink.take(1) == [event(1)]
    assert "failed unexpectedly" in caplog.text
    assert recorder.stop() == 1


def test_stopping_sends_what_waits_for_a_pause(make: Any) -> None:
    sink, pauses = Sink(), Pauses()
    recorder = make(sink, wait_idle=pauses)
    for number in range(20):
        recorder.event(event(number))
    assert recorder.stop(5.0) == 0
    assert len(sink.take(20)) == 20


def test_stopping_gives_up_in_time_and_says_what_is_lost(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink()
    sink.open.clear()
    recorder = make(sink)
    for number in range(4):
        recorder.event(event(number))
    sink.tried.get(timeout=5)
    with caplog.at_level(logging.WARNING):
        assert recorder.stop(0.0) == 3
    assert "3 events and conditions were not written, 3 of them for want of time" in caplog.text
    sink.open.set()


def test_stopping_ends_a_wait_between_tries(make: Any) -> None:
    sink = Sink(*[ApiError(429, "TooManyRequests", "later", 25.0)] * 5)
    recorder = EventRecorder(sink, senders=1)  # with its own sleep
    recorder.event(event(0))
    sink.tried.get(timeout=5)
    recorder.stop(0.0)
    for thread in recorder._threads:
        thread.join(5)
        assert not thread.is_alive()
    assert recorder.lost == 1


def test_after_stopping_nothing_is_taken(make: Any) -> None:
    sink = Sink()
    recorder = make(sink)
    recorder.stop()
    recorder.event(event(0))
    assert recorder.lost == 1
    assert sink.tried.empty()


def test_the_same_is_not_sent_again_for_some_minutes() -> None:
    repeats = Repeats()
    assert not repeats.is_repeat(event())
    assert repeats.is_repeat(event(seconds=REPEAT_SECONDS - 1))
    assert not repeats.is_repeat(event(seconds=REPEAT_SECONDS))
    assert repeats.is_repeat(event(seconds=REPEAT_SECONDS + 1))


DIFFERENT: dict[str, ClusterEvent] = {
    "message": event(message="1/3 nodes"),
    "pod": event(1),
    "reason": replace(event(), reason="Preempted"),
    "uid": replace(event(), regarding=KEY._replace(uid="uid-9")),
}


@pytest.mark.parametrize("other", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_what_differs_is_no_repeat(other: ClusterEvent) -> None:
    repeats = Repeats()
    repeats.is_repeat(event())
    assert not repeats.is_repeat(other)


def test_a_condition_is_a_repeat_only_of_the_last_one() -> None:
    repeats = Repeats()
    full, bound = ConditionChange(KEY, CONDITION), ConditionChange(KEY, Condition("PodScheduled", "True"))
    assert [repeats.is_repeat(write) for write in (full, full, bound, full)] == [False, True, False, False]


def test_memory_is_bounded_and_the_oldest_is_forgotten_first() -> None:
    repeats = Repeats(capacity=3)
    for number in range(3):
        repeats.is_repeat(event(number))
    repeats.is_repeat(event(0, seconds=REPEAT_SECONDS))  # sent again: the youngest now
    repeats.is_repeat(event(3))
    assert len(repeats._last) == 3
    assert repeats.is_repeat(event(0, seconds=REPEAT_SECONDS + 1))
    assert not repeats.is_repeat(event(1))


def test_an_unschedulable_pod_that_is_tried_for_ever_costs_few_events(make: Any) -> None:
    sink = Sink()
    recorder = make(sink)
    for second in range(0, 3600, 10):
        recorder.event(event(seconds=second))
    assert recorder.drain(5)
    assert sink.got.qsize() == 12


def test_at_once(caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink(ApiError(403, "Forbidden", "no"))
    recorder: Recorder = ImmediateRecorder(sink)
    with caplog.at_level(logging.WARNING):
        recorder.event(event(0))
    assert "event FailedScheduling about default/web-0: 403 Forbidden: no" in caplog.text
    recorder.event(event(0))
    recorder.event(event(0))
    recorder.condition(KEY, CONDITION)
    assert sink.take(2) == [event(0), ConditionChange(KEY, CONDITION)]
    assert recorder.stop() == 1
