from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tenacity.wait import wait_fixed

from engine.binder import Assignment, Binder, Outcome
from engine.binder.binding import ATTEMPTS
from engine.cluster.errors import ApiError, ClusterError, ConfigurationError, Unreachable
from engine.model.objects import ObjectMeta, Pod, PodKey, PodSpec
from tests.engine.cluster.double import ManualClock, ScriptedCluster, Step

KEY = PodKey("default", "web-1", "uid-1")
TASK = Assignment(KEY, "edge-1")
DONE: Step = None


def pod(node: str = "", uid: str = "uid-1", *, deleting: bool = False) -> Pod:
    when = datetime(2031, 1, 1, tzinfo=UTC) if deleting else None
    return Pod(
        ObjectMeta(name="web-1", namespace="default", uid=uid, deletion_timestamp=when),
        PodSpec(node_name=node),
    )


def refused(status: int, retry_after: float | None = None) -> ApiError:
    return ApiError(status, "Reason", "the server's words", retry_after)


CONFLICT = refused(409)
SILENCE = Unreachable("https://edge:6443: no answer within 30 s")


class Bench:
    def __init__(self, bind: list[Step], get_pod: list[Step] | None = None, **options: Any) -> None:
        self.cluster = ScriptedCluster(bind=bind, get_pod=get_pod or [])
        self.clock = ManualClock()
        self.stop = threading.Event()
        self.binder = Binder(
            self.cluster, stop=self.stop, sleep=self.clock.sleep, clock=self.clock, **options
        )


Row = tuple[list[Step], list[Step], Outcome, str, int]
"""What bind and get_pod answer in turn, and then the outcome, words of the message, and the requests to bind."""

TABLE: dict[str, Row] = {
    "2xx": ([DONE], [], Outcome.BOUND, "", 1),
    "409, on our node: an earlier try landed": ([CONFLICT], [pod("edge-1")], Outcome.BOUND, "had landed", 1),
    "409, on our node, and already being deleted": (
        [CONFLICT],
        [pod("edge-1", deleting=True)],
        Outcome.BOUND,
        "had landed",
        1,
    ),
    "409, on another node": ([CONFLICT], [pod("edge-2")], Outcome.LOST, "bound to edge-2", 1),
    "409, being deleted": ([CONFLICT], [pod(deleting=True)], Outcome.DROPPED, "is being deleted", 1),
    "409, another uid": ([CONFLICT], [pod(uid="uid-2")], Outcome.DROPPED, "another of its name", 1),
    "409, another uid on our node": ([CONFLICT], [pod("edge-1", "uid-2")], Outcome.DROPPED, "another of", 1),
    "409, gone since": ([CONFLICT], [None], Outcome.DROPPED, "is gone", 1),
    "409, still unbound (gated)": ([CONFLICT], [pod()], Outcome.REQUEUE, "the server's words", 1),
    "409, and we may not look": ([CONFLICT], [refused(403)], Outcome.REFUSED, "403", 1),
    "409, and looking fails once": (
        [CONFLICT, CONFLICT],
        [SILENCE, pod("edge-1")],
        Outcome.BOUND,
        "landed",
        2,
    ),
    "409, and looking is refused for overload": (
        [CONFLICT, CONFLICT],
        [refused(503), pod("edge-2")],
        Outcome.LOST,
        "edge-2",
        2,
    ),
    "404": ([refused(404)], [], Outcome.DROPPED, "is gone", 1),
    "400": ([refused(400)], [], Outcome.REFUSED, "400 Reason: the server's words", 1),
    "401": ([refused(401)], [], Outcome.REFUSED, "401", 1),
    "403": ([refused(403)], [], Outcome.REFUSED, "403", 1),
    "422": ([refused(422)], [], Outcome.REFUSED, "422", 1),
    "302, a proxy": ([refused(302)], [], Outcome.REFUSED, "302", 1),
    "429 then done": ([refused(429), DONE], [], Outcome.BOUND, "after 2 attempts", 2),
    "500 then done": ([refused(500), DONE], [], Outcome.BOUND, "after 2 attempts", 2),
    "502 then done": ([refused(502), DONE], [], Outcome.BOUND, "after 2 attempts", 2),
    "503 then done": ([refused(503), DONE], [], Outcome.BOUND, "after 2 attempts", 2),
    "504 then done": ([refused(504), DONE], [], Outcome.BOUND, "after 2 attempts", 2),
    "503 then gone": ([refused(503), refused(404)], [], Outcome.DROPPED, "is gone", 2),
    "silence, and it had landed": ([SILENCE, CONFLICT], [pod("edge-1")], Outcome.BOUND, "had landed", 2),
    "silence, and it had not": ([SILENCE, DONE], [], Outcome.BOUND, "after 2 attempts", 2),
    "silence, and another was faster": ([SILENCE, CONFLICT], [pod("edge-2")], Outcome.LOST, "edge-2", 2),
    "silence, and deleted meanwhile": ([SILENCE, refused(404)], [], Outcome.DROPPED, "is gone", 2),
    "504 that had landed": ([refused(504), CONFLICT], [pod("edge-1")], Outcome.BOUND, "had landed", 2),
    "silence for ever": ([SILENCE] * 5, [], Outcome.GAVE_UP, "5 attempts: https://edge:6443: no answer", 5),
    "overload for ever": ([refused(503)] * 5, [], Outcome.GAVE_UP, "5 attempts: 503", 5),
    "no way to connect": (
        [ConfigurationError("another certificate")] * 5,
        [],
        Outcome.GAVE_UP,
        "another certificate",
        5,
    ),
}


@pytest.mark.parametrize(
    ("bind", "get_pod", "outcome", "words", "attempts"), TABLE.values(), ids=TABLE.keys()
)
def test_each_row_of_the_table(
    bind: list[Step], get_pod: list[Step], outcome: Outcome, words: str, attempts: int
) -> None:
    bench = Bench(bind, get_pod)
    result = bench.binder.bind(TASK)
    assert (result.outcome, result.attempts) == (outcome, attempts)
    assert words in result.message
    assert result.assignment is TASK
    assert bench.cluster.left() == {}
    assert bench.cluster.called("bind") == [(KEY, "edge-1")] * attempts
    assert len(bench.clock.slept) == attempts - 1


def test_the_default_number_of_attempts_is_the_tables() -> None:
    assert ATTEMPTS == 5


@pytest.mark.parametrize("status", [429, 503])
def test_the_server_says_when_to_come_again(status: int) -> None:
    bench = Bench([refused(status, 3.0), refused(status, 0.5), DONE])
    assert bench.binder.bind(TASK).outcome is Outcome.BOUND
    assert bench.clock.slept == [3.0, 0.5]


def test_a_server_that_asks_for_more_than_the_deadline_is_not_waited_for() -> None:
    bench = Bench([refused(429, 45.0)], deadline=30.0)
    result = bench.binder.bind(TASK)
    assert (result.outcome, bench.clock.slept) == (Outcome.GAVE_UP, [])


def test_the_deadline_ends_the_attempts() -> None:
    bench = Bench([refused(503)] * 4, deadline=30.0, attempts=100, wait=wait_fixed(9.0))
    assert bench.binder.bind(TASK).outcome is Outcome.GAVE_UP
    assert bench.clock.slept == [9.0] * 3


def test_the_deadline_is_each_assignments_own() -> None:
    bench = Bench([DONE, refused(503), DONE], deadline=30.0, wait=wait_fixed(9.0))
    bench.binder.bind(TASK)
    bench.clock.time += 100.0
    assert bench.binder.bind(TASK).outcome is Outcome.BOUND


def test_the_jitter_is_full_and_grows() -> None:
    pauses: list[list[float]] = []
    for _ in range(60):
        bench = Bench([SILENCE] * 5)
        bench.binder.bind(TASK)
        pauses.append(bench.clock.slept)
    for number, column in enumerate(zip(*pauses, strict=True)):
        assert max(column) <= 0.1 * 2**number
        assert max(column) > 0.04 * 2**number
        assert min(column) < 0.06 * 2**number


def test_shutting_down_in_the_middle_of_a_wait() -> None:
    bench = Bench([SILENCE, DONE])
    bench.clock.on_sleep = bench.stop.set
    result = bench.binder.bind(TASK)
    assert (result.outcome, result.attempts) == (Outcome.STOPPED, 1)
    assert "shutting down after 1 attempts, of which the last: https://edge" in result.message
    assert bench.cluster.left() == {"bind": [DONE]}


def test_shutting_down_during_a_request_that_fails() -> None:
    def fail() -> None:
        bench.stop.set()
        raise SILENCE

    bench = Bench([fail])
    assert bench.binder.bind(TASK).outcome is Outcome.STOPPED
    assert bench.clock.slept == []


def test_shutting_down_during_a_request_that_succeeds() -> None:
    bench = Bench([])
    bench.cluster._scripts["bind"] = [bench.stop.set]
    assert bench.binder.bind(TASK).outcome is Outcome.BOUND


def test_shutting_down_while_a_conflict_is_looked_into_still_finds_out() -> None:
    bench = Bench([], [pod("edge-1")])

    def conflict() -> None:
        bench.stop.set()
        raise CONFLICT

    bench.cluster._scripts["bind"] = [conflict]
    assert bench.binder.bind(TASK).outcome is Outcome.BOUND


def test_nothing_is_sent_after_shutting_down() -> None:
    bench = Bench([])
    bench.stop.set()
    result = bench.binder.bind(TASK)
    assert (result.outcome, result.attempts) == (Outcome.STOPPED, 0)
    assert result.message == "shutting down, nothing was sent"


def test_a_real_wait_ends_when_told_to() -> None:
    asked = threading.Event()

    def overload() -> None:
        asked.set()
        raise refused(429, 25.0)

    binder = Binder(ScriptedCluster(bind=[overload]))
    results = []
    thread = threading.Thread(target=lambda: results.append(binder.bind(TASK)))
    thread.start()
    assert asked.wait(5)
    binder.stopping.set()
    thread.join(5)
    assert [result.outcome for result in results] == [Outcome.STOPPED]


def test_a_fault_of_ours_is_not_taken_for_an_answer() -> None:
    bench = Bench([ZeroDivisionError("a fault")])
    with pytest.raises(ZeroDivisionError):
        bench.binder.bind(TASK)


class Server:
    """A pod as the API server keeps it, behind a network that loses answers."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        self.node = ""
        self.bindings = 0

    def bind(self, key: PodKey, node: str) -> None:
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "request lost":
            raise SILENCE
        if fault == "overload":
            raise refused(503)
        if fault == "rival":
            self.node = self.node or "edge-2"
        if self.node:
            raise CONFLICT
        self.node = node
        self.bindings += 1
        if fault == "answer lost":
            raise SILENCE

    def get_pod(self, namespace: str, name: str) -> Pod:
        fault = self.faults.pop(0) if self.faults else ""
        if fault in ("request lost", "answer lost"):
            raise SILENCE
        return pod(self.node)


FAULTS = st.sampled_from(["", "request lost", "answer lost", "overload", "rival"])


@settings(deadline=None)
@given(st.lists(FAULTS, max_size=8))
def test_whatever_is_lost_the_outcome_is_true_and_nothing_is_bound_twice(faults: list[str]) -> None:
    server = Server(list(faults))
    clock = ManualClock()
    binder = Binder(server, sleep=clock.sleep, clock=clock)  # type: ignore[arg-type]  # two of its methods are called
    result = binder.bind(TASK)
    assert server.bindings <= 1
    match result.outcome:
        case Outcome.BOUND:
            assert server.node == "edge-1"
        case Outcome.LOST:
            assert server.node == "edge-2"
        case _:
            assert result.outcome is Outcome.GAVE_UP
            assert len(faults) >= 5
    assert result.attempts <= 5


ANY_ERROR: list[ClusterError] = [*(refused(status) for status in range(300, 600)), SILENCE]


def test_no_answer_of_a_cluster_is_raised() -> None:
    for error in ANY_ERROR:
        bench = Bench([error] * 5, [pod()])
        assert bench.binder.bind(TASK).outcome is not Outcome.BOUND
