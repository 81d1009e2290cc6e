"""When everything is looked through for cycles: not while pods wait, and not never."""

from __future__ import annotations

import pytest

from engine.scheduler import garbage
from engine.scheduler.garbage import FullCollections


class Collector:
    """Python's, as far as it is used; a collection takes a second where it is slow."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []
        self.threshold = (700, 10, 10)
        self.middle = 0
        self.takes = 0.0

    def monotonic(self) -> float:
        return self.now

    def get_threshold(self) -> tuple[int, int, int]:
        return self.threshold

    def set_threshold(self, *values: int) -> None:
        first, second, third = values
        self.threshold = (first, second, third)

    def get_count(self) -> tuple[int, int, int]:
        return (0, 0, self.middle)

    def freeze(self) -> None:
        self.calls.append("freeze")

    def unfreeze(self) -> None:
        self.calls.append("unfreeze")

    def collect(self) -> None:
        self.calls.append("collect")
        self.now += self.takes
        self.middle = 0


@pytest.fixture
def python(monkeypatch: pytest.MonkeyPatch) -> Collector:
    made = Collector()
    monkeypatch.setattr(garbage, "gc", made)
    return made


@pytest.fixture
def full(python: Collector) -> FullCollections:
    made = FullCollections(python)  # type: ignore[arg-type]
    made.begin()
    python.calls.clear()
    return made


def test_what_is_there_at_the_start_is_left_out_and_all_is_as_before_at_the_end(python: Collector) -> None:
    made = FullCollections(python)  # type: ignore[arg-type]
    made.pause(idle=True)
    assert python.calls == []
    made.begin()
    assert python.calls == ["freeze"]
    assert python.threshold[:2] == (700, 10)
    assert python.threshold[2] > 10**6
    made.end()
    made.end()
    assert python.threshold == (700, 10, 10)
    assert python.calls == ["freeze", "unfreeze"]


@pytest.mark.parametrize(
    ("idle", "middle", "calls"),
    [
        (True, 19, []),
        (True, 20, ["collect"]),
        (False, 299, []),
        (False, 300, ["collect"]),
    ],
    ids=["hardly anything", "idle", "busy", "busy for long"],
)
def test_when(full: FullCollections, python: Collector, idle: bool, middle: int, calls: list[str]) -> None:
    python.middle = middle
    full.pause(idle)
    assert python.calls == calls


def test_not_again_at_once(full: FullCollections, python: Collector) -> None:
    for at in (0.0, 1.0, 9.9, 10.0):
        python.now, python.middle = at, 50
        full.pause(idle=True)
    assert python.calls == ["collect", "collect"]


def test_what_took_long_is_left_out_from_then_on(full: FullCollections, python: Collector) -> None:
    python.middle, python.takes = 50, 1.0
    full.pause(idle=True)
    assert python.calls == ["collect", "freeze"]


def test_what_was_left_out_is_looked_through_once_something_large_was_discarded(
    full: FullCollections, python: Collector
) -> None:
    full.discarded()
    python.middle = 300
    full.pause(idle=False)
    assert python.calls == ["collect"]
    python.now, python.middle = 20.0, 50
    full.pause(idle=True)
    assert python.calls == ["collect", "unfreeze", "collect", "freeze"]
    python.now, python.middle = 40.0, 50
    full.pause(idle=True)
    assert python.calls[4:] == ["collect"]
