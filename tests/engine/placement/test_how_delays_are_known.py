"""Whether a delay was measured, and when, or is an estimate, is told with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from engine.compile import compile_policy
from engine.delay.estimates import with_estimates
from engine.delay.map import DelayMap, Milliseconds
from engine.model.objects import Taint
from engine.placement import Placer
from engine.placement.explanation import Explanation, explain
from engine.probe.vivaldi import DIMENSIONS, Coordinate
from engine.state.cache import Cache
from grammar.policy import CheckedPolicy, Compare, Delay, Kind, Literal, Operator, Require, Rule
from tests.engine.build import node, pod

NAMES = ("a", "b", "c")


def place(x: float) -> Coordinate:
    return Coordinate((x,) + (0.0,) * (DIMENSIONS - 1), 1.0, 0.0, 0.1)


def delays() -> DelayMap:
    """From a, b is measured (12 ms) and c estimated: 32 ms, which may be wrong by 40% and half a millisecond."""
    pairs = (np.array([0, 1]), np.array([1, 2]), np.array([12.0, 22.0]))
    return with_estimates(NAMES, *pairs, {"a": place(0), "b": place(10), "c": place(30)})


def ages(origin: str) -> Milliseconds | None:
    return np.array([np.nan, 7.0, np.nan]) if origin == "a" else None


def asked(origin: str, limit: float, known: Callable[[str], Milliseconds | None] | None) -> Explanation:
    within = Compare(Delay(origin), Operator.LE, Literal(limit, Kind.DURATION))
    policy = CheckedPolicy(rules=(Rule("near", None, (Require(within),)),))
    cache = Cache()
    for name in NAMES:
        cache.put_node(node(name, zone="z" if name == "a" else "y"))
    cache.put_pod(pod("web-1", on="a", owner=("StatefulSet", "web")))
    placer = Placer(cache, compile_policy(policy), delays(), ages=known)
    return explain(placer, cache.put_pod(pod("asked")), 0.0)


@pytest.mark.parametrize("origin", ["a", "web", "z"])
def test_an_estimate_is_told_as_one(origin: str) -> None:
    (refusal,) = asked(origin, 20, ages).nodes[-1].refusals
    (value,) = refusal.values
    assert str(value) == f"delay from {origin}: about 32ms ± 13 (estimated), limit 20ms"
    assert value.gap == pytest.approx((32 * 1.4 + 0.5 - 20) / 20), "the error counts"


@pytest.mark.parametrize(
    ("known", "text"),
    [
        pytest.param(ages, "delay from a: 12ms (measured 7s ago), limit 5ms", id="measured by somebody"),
        pytest.param(None, "delay from a: 12ms, limit 5ms", id="read from a file"),
    ],
)
def test_what_was_measured_is_told_with_its_age(
    known: Callable[[str], Milliseconds | None] | None, text: str
) -> None:
    verdict = asked("a", 5, known).node("b")
    assert verdict is not None
    assert [str(value) for value in verdict.refusals[0].values] == [text]


def test_the_message_says_so_too() -> None:
    within = Compare(Delay("a"), Operator.LE, Literal(20.0, Kind.DURATION))
    policy = CheckedPolicy(rules=(Rule("near", None, (Require(within),)),))
    cache = Cache()
    cache.put_node(node("a", taints=[Taint("k", "", "NoSchedule")]))
    cache.put_node(node("c"))
    decision = Placer(cache, compile_policy(policy), delays()).place(cache.put_pod(pod("asked")), 0.0)
    assert "not within 20ms of a, the nearest at about 32ms ± 13 (estimated) (rule near" in decision.message()
