"""The log of changed slots."""

from __future__ import annotations

from engine.state.changes import ChangeLog
from tests.engine.build import Bench, node, pod


def test_each_changed_slot_once_in_order() -> None:
    log = ChangeLog()
    start = log.version
    for slot in (3, 1, 3, 2):
        log.touch(slot)
    assert log.since(start) == [3, 1, 2]
    assert log.since(log.version) == []


def test_a_reader_that_never_looked_starts_over() -> None:
    assert ChangeLog().since(-1) is None
    assert ChangeLog().since(0) == []


def test_a_reader_that_is_too_far_behind_starts_over() -> None:
    log = ChangeLog()
    start = log.version
    for number in range(20_000):
        log.touch(number % 7)
    assert log.since(start) is None
    recent = log.version
    log.touch(5)
    assert log.since(recent) == [5]
    assert log.version == start + 20_001


def test_decisions_are_right_when_the_log_has_run_over() -> None:
    bench = Bench([node(f"n{number}", allocatable={"cpu": "1", "pods": "9"}) for number in range(3)])
    asked = pod(requests={"cpu": "1"})
    assert bench.place(asked).feasible == 3
    busy = bench.cache.put_pod(pod("busy", requests={"cpu": "1"}))
    for _ in range(5000):
        bench.cache.assume(busy.key, "n1")
        bench.cache.forget(busy.key)
    bench.cache.assume(busy.key, "n0")
    assert bench.place(asked).feasible == 2
