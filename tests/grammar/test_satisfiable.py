"""“Cannot hold” is checked against every small world: whatever is called impossible holds in none of them."""

from __future__ import annotations

import operator
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grammar.policy import (
    And,
    Compare,
    Condition,
    Delay,
    FactRef,
    Has,
    Kind,
    Literal,
    Member,
    Not,
    Operand,
    Operator,
    Or,
    Subject,
    Truth,
)
from grammar.satisfiable import glob_within, implies, impossible

A = FactRef(Subject.NODE, "labels", Kind.TEXT, "a")
B = FactRef(Subject.NODE, "labels", Kind.TEXT, "b")
PODS = FactRef(Subject.NODE, "pods", Kind.COUNT)
READY = FactRef(Subject.NODE, "ready", Kind.TRUTH)
DELAY = Delay("x")

World = dict[Operand, str | int | bool | None]
WORLDS: list[World] = [
    dict(zip((A, B, PODS, READY, DELAY), values, strict=True))
    for values in product((None, "u", "v"), (None, "u", "v"), (0, 1, 2, 3), (True, False), (None, 0, 1, 2))
]
_OPS = {
    Operator.EQ: operator.eq,
    Operator.NE: operator.ne,
    Operator.LT: operator.lt,
    Operator.LE: operator.le,
    Operator.GT: operator.gt,
    Operator.GE: operator.ge,
}


def holds(condition: Condition, world: World) -> bool:
    """The meaning of conditions, naively."""
    match condition:
        case Not():
            return not holds(condition.condition, world)
        case And():
            return all(holds(part, world) for part in condition.conditions)
        case Or():
            return any(holds(part, world) for part in condition.conditions)
        case Truth():
            return world[condition.fact] is True
        case Has():
            keys = [key for key, fact in (("a", A), ("b", B)) if world[fact] is not None]
            return any(condition.pattern in ("*", key) for key in keys)
        case Member():
            value = world[condition.operand]
            return value is not None and value in [choice.value for choice in condition.choices]
        case Compare():
            left, right = (
                side.value if isinstance(side, Literal) else world[side]
                for side in (condition.left, condition.right)
            )
            if left is None or right is None:
                return condition.or_unmeasured
            return bool(_OPS[condition.operator](left, right))


texts = st.sampled_from(["u", "v", "w"]).map(lambda value: Literal(value, Kind.TEXT))
counts = st.integers(-1, 4).map(lambda value: Literal(value, Kind.COUNT))
delays = st.integers(-1, 3).map(lambda value: Literal(float(value), Kind.DURATION))
labels = st.sampled_from([A, B])
equality = st.sampled_from([Operator.EQ, Operator.NE])
order = st.sampled_from(list(Operator))
atoms: st.SearchStrategy[Condition] = st.one_of(
    st.builds(Compare, labels, equality, texts | labels),
    st.builds(Compare, texts, equality, labels),
    st.builds(Compare, st.just(PODS), order, counts),
    st.builds(Compare, counts, order, st.just(PODS)),
    st.builds(Compare, st.just(PODS), order, st.just(PODS)),
    st.builds(Compare, st.just(DELAY), order, delays, st.booleans()),
    st.builds(Member, labels, st.lists(texts, min_size=1, max_size=2).map(tuple)),
    st.builds(Has, st.just(Subject.NODE), st.just("labels"), st.sampled_from(["a", "b", "*"])),
    st.just(Truth(READY)),
)
conditions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(conditions)
def test_what_is_impossible_holds_in_no_world(condition: Condition) -> None:
    if impossible(condition):
        assert not any(holds(condition, world) for world in WORLDS)


@settings(max_examples=200, deadline=None)
@given(conditions, conditions)
def test_what_is_implied_holds_wherever_the_other_does(one: Condition, other: Condition) -> None:
    if implies(one, other):
        assert all(holds(other, world) for world in WORLDS if holds(one, world))


def compare(left: Operand, sign: str, value: str | float, or_unmeasured: bool = False) -> Condition:
    kind = Kind.TEXT if isinstance(value, str) else Kind.COUNT if left == PODS else Kind.DURATION
    return Compare(left, Operator(sign), Literal(value, kind), or_unmeasured)


IMPOSSIBLE = {
    "two values": And((compare(A, "==", "u"), compare(A, "==", "v"))),
    "a value and its absence": And((compare(A, "==", "u"), Not(Has(Subject.NODE, "labels", "a")))),
    "a key and no key like it": And(
        (Has(Subject.NODE, "labels", "ab*"), Not(Has(Subject.NODE, "labels", "a*")))
    ),
    "an empty interval": And((compare(PODS, ">", 3), compare(PODS, "<", 3))),
    "no whole number between": And((compare(PODS, ">", 1), compare(PODS, "<", 2))),
    "below zero": compare(PODS, "<", 0),
    "unequal to itself": Compare(A, Operator.NE, A),
    "measured but unmeasured": And((compare(DELAY, ">=", 0.0), Not(compare(DELAY, ">=", 0.0)))),
    "each branch": Or((compare(PODS, "<", 0), And((Truth(READY), Not(Truth(READY)))))),
    "less and more than another": And((Compare(PODS, Operator.LT, DELAY), Compare(DELAY, Operator.LE, PODS))),
}
POSSIBLE = {
    "neither equal nor unequal: absent": And((Not(compare(A, "==", "u")), Not(compare(A, "!=", "u")))),
    "neither near nor far: unmeasured": And((Not(compare(DELAY, "<", 5.0)), Not(compare(DELAY, ">=", 5.0)))),
    "unmeasured allowed": compare(DELAY, "<", 0.0, or_unmeasured=True),
    "touching intervals": And((compare(PODS, ">=", 3), compare(PODS, "<=", 3))),
    "a key, but not one like this": And(
        (Has(Subject.NODE, "labels", "a*"), Not(Has(Subject.NODE, "labels", "ab*")))
    ),
    "two labels": And((compare(A, "==", "u"), compare(B, "==", "v"))),
}


@pytest.mark.parametrize("condition", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_is_impossible(condition: Condition) -> None:
    assert impossible(condition)


@pytest.mark.parametrize("condition", POSSIBLE.values(), ids=POSSIBLE)
def test_is_possible(condition: Condition) -> None:
    assert not impossible(condition)


def test_what_grows_too_large_is_left_alone() -> None:
    wide = And(tuple(Or((compare(A, "==", f"u{i}"), compare(B, "==", f"v{i}"))) for i in range(20)))
    assert not impossible(wide)


@pytest.mark.parametrize(
    ("inner", "outer", "within"),
    [
        ("delay_a", "delay_*", True),
        ("delay_*", "delay_*", True),
        ("delay_e*", "delay_*", True),
        ("delay_*", "delay_e*", False),
        ("*", "*", True),
        ("*", "a*", False),
        ("a*b", "*b", True),
        ("ab", "a*b", True),
        ("a", "a*b", False),
        ("aXbXc", "a*b*c", True),
        ("", "*", True),
        ("a", "", False),
    ],
)
def test_patterns_within_patterns(inner: str, outer: str, within: bool) -> None:
    assert glob_within(inner, outer) is within
