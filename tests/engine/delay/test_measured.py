"""What every source that is asked does: period, ages, trouble, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engine.delay import DelayTrouble, MeasuredSource, Measurements, NotYet, SourceError, Terms


class Script:
    """Answers in turn; the last again and again."""

    def __init__(self, *answers: Measurements | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self) -> Measurements:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def one(value: float, *doubts: str) -> Measurements:
    return Measurements(["a"], ["b"], [value], (), doubts)


DOWN = SourceError("http://g/check_all: no answer within 10 s")
TERMS = Terms(period=60, max_age=150, window=1)


@pytest.fixture
def told() -> list[DelayTrouble]:
    return []


@pytest.fixture
def source(told: list[DelayTrouble]) -> Callable[..., tuple[MeasuredSource, Script]]:
    def make(*answers: Measurements | Exception, terms: Terms = TERMS) -> tuple[MeasuredSource, Script]:
        script = Script(*answers)
        return MeasuredSource(script, "delays of X", terms, on_trouble=told.append), script

    return make


Make = Callable[..., tuple[MeasuredSource, Script]]


def test_nobody_is_asked_at_the_start(source: Make) -> None:
    made, script = source(one(5))
    assert made.open(0.0) is None
    assert (script.asked, made.current, made.age(0.0)) == (0, None, None)


def test_it_is_asked_once_a_period(source: Make) -> None:
    made, script = source(one(5))
    changes = [made.refresh(float(second)) for second in range(121)]
    assert script.asked == 3
    assert [change is not None for change in changes] == [True] + [False] * 120
    assert made.current is not None
    assert made.current.between("b", "a") == 5.0


def test_a_changed_answer_is_a_new_map(source: Make) -> None:
    made, _ = source(one(5), one(6))
    first, second = made.refresh(0.0), made.refresh(60.0)
    assert first is not None
    assert second is not None
    assert (first.between("a", "b"), second.between("a", "b")) == (5.0, 6.0)


def test_a_source_that_is_away_changes_nothing_until_what_it_said_is_too_old(
    source: Make, told: list[DelayTrouble]
) -> None:
    made, script = source(one(5), DOWN)
    made.refresh(0.0)
    for second in range(1, 151):
        assert made.refresh(float(second)) is None
    assert script.asked == 3
    assert made.trouble == str(DOWN)
    assert told == [DelayTrouble(str(DOWN), partial=False, source="delays of X", steady=False)]
    late = made.refresh(151.0)
    assert late is not None
    assert late.between("a", "b") is None
    assert made.age(151.0) == 151.0
    assert made.refresh(152.0) is None


def test_it_comes_back(source: Make, told: list[DelayTrouble]) -> None:
    made, _ = source(DOWN, one(5), DOWN)
    assert made.refresh(0.0) is None
    assert made.refresh(60.0) is not None
    assert made.trouble is None
    made.refresh(120.0)
    assert len(told) == 2  # each time that it goes bad


def test_one_pair_ages_alone(source: Make) -> None:
    both = Measurements(["a", "a"], ["b", "c"], [5, 7], (), ())
    made, _ = source(both, one(5))
    for now in (0.0, 60.0, 120.0):
        made.refresh(now)
    fresh = made.refresh(160.0)
    assert fresh is not None
    assert (fresh.between("a", "b"), fresh.between("a", "c")) == (5.0, None)


def test_ages_are_those_of_the_measurements(source: Make) -> None:
    made, _ = source(Measurements(["a", "b", "a"], ["b", "a", "c"], [5, 6, 7], [10, 30, 140]))
    now_map = made.refresh(1000.0)
    assert now_map is not None
    ages = made.ages("a", 1005.0)
    assert ages is not None
    by_name = dict(zip(now_map.names, ages.tolist(), strict=True))
    assert np.isnan(by_name.pop("a"))
    assert by_name == {"b": 35.0, "c": 145.0}  # of two directions the older
    assert made.ages("stranger", 1005.0) is None


def test_what_is_too_old_when_it_is_told_never_counts(source: Make) -> None:
    made, _ = source(Measurements(["a"], ["b"], [5], [151]))
    now_map = made.refresh(1000.0)
    assert now_map is not None
    assert now_map.names == ()


def test_a_spike_is_not_seen_and_a_change_is(source: Make) -> None:
    made, _ = source(*map(one, (5, 5, 80, 5, 80, 80)), terms=Terms(period=60, max_age=300, window=3))
    seen = [made.refresh(60.0 * period) for period in range(6)]
    assert [change is not None for change in seen] == [True, False, False, False, True, False]
    assert made.current is not None
    assert made.current.between("a", "b") == 80.0


def test_doubts_are_told_when_they_change(source: Make, told: list[DelayTrouble]) -> None:
    made, _ = source(one(5, "b is silent"), one(5, "b is silent"), one(5, "c is silent"), one(5))
    for period in range(4):
        made.refresh(60.0 * period)
    assert [(trouble.message, trouble.partial) for trouble in told] == [
        ("b is silent", True),
        ("c is silent", True),
    ]
    assert (made.trouble, made.doubts) == (None, ())


def test_a_source_that_needs_to_know_the_nodes_is_asked_again_soon(
    source: Make, told: list[DelayTrouble]
) -> None:
    made, script = source(NotYet(), NotYet(), one(5))
    assert [made.refresh(now) is not None for now in (0.0, 0.5, 1.0, 2.0)] == [False, False, False, True]
    assert (script.asked, told) == (3, [])


def test_whether_somebody_answers_is_kept_apart_from_the_delay(source: Make) -> None:
    whole = Measurements(["a", "b", "c"], ["b", "a", "a"], [5, 6, 7], [10, 20, 30])
    made, _ = source(whole, Measurements(["a"], ["b"], [500], [0]), DOWN)
    assert made.contacts(0.0) is None
    made.refresh(1000.0)
    # c asks and is asked by nobody.
    assert made.contacts(1005.0) == {"b": 15.0, "a": 25.0}
    made.refresh(1060.0)
    assert made.contacts(1061.0) == {"b": 1.0, "a": 81.0}
    made.refresh(1200.0)
    assert made.contacts(1200.0) == {"b": 140.0}


def test_who_does_not_tell_when_it_measured_does_not_know_who_is_there(source: Make) -> None:
    made, _ = source(one(5), Measurements(["a"], ["b"], [5], [1]), Measurements([], [], []), one(5))
    known = []
    for now in (0.0, 60.0, 120.0, 180.0):
        made.refresh(now)
        known.append(made.contacts(now))
    assert known == [None, {"b": 1.0}, {"b": 61.0}, None]
