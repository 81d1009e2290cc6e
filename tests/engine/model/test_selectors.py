"""Selectors: what they select, and that each meaning has one form."""

from __future__ import annotations

import pytest

from engine.model.objects import LabelSelector, Requirement
from engine.model.selectors import EVERYTHING, NOTHING, equal, selector_of, selector_of_labels


def expression(key: str, operator: str, *values: str) -> LabelSelector:
    return LabelSelector(None, (Requirement(key, operator, values or None),))


A, B, NONE = {"k": "a"}, {"k": "b"}, {"other": "a"}
SELECTORS = {
    "a label": (LabelSelector({"k": "a"}), (True, False, False)),
    "two labels": (LabelSelector({"k": "a", "l": "b"}), (False, False, False)),
    "In": (expression("k", "In", "a", "c"), (True, False, False)),
    "NotIn holds where the key is absent": (expression("k", "NotIn", "a"), (False, True, True)),
    "Exists": (expression("k", "Exists"), (True, True, False)),
    "DoesNotExist": (expression("k", "DoesNotExist"), (False, False, True)),
    "empty": (LabelSelector(), (True, True, True)),
    "absent": (None, (False, False, False)),
    "In without values": (expression("k", "In"), (False, False, False)),
    "Exists with values": (expression("k", "Exists", "a"), (False, False, False)),
    "an operator that there is not": (expression("k", "Gt", "1"), (False, False, False)),
    "both kinds": (
        LabelSelector({"k": "a"}, (Requirement("k", "NotIn", ("a",)),)),
        (False, False, False),
    ),
}


@pytest.mark.parametrize(("written", "expected"), SELECTORS.values(), ids=SELECTORS)
def test_selects(written: LabelSelector | None, expected: tuple[bool, ...]) -> None:
    selector = selector_of(written)
    assert tuple(selector.matches(labels) for labels in (A, B, NONE)) == expected


SAME = {
    "order of labels": (LabelSelector({"a": "1", "b": "2"}), LabelSelector({"b": "2", "a": "1"})),
    "a label and In": (LabelSelector({"a": "1"}), expression("a", "In", "1")),
    "order of values": (expression("a", "In", "1", "2"), expression("a", "In", "2", "1", "2")),
    "twice the same": (
        LabelSelector({"a": "1"}, (Requirement("a", "In", ("1",)),)),
        LabelSelector({"a": "1"}),
    ),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_one_form(one: LabelSelector, other: LabelSelector) -> None:
    assert selector_of(one) == selector_of(other)
    assert hash(selector_of(one)) == hash(selector_of(other))


def test_more_expressions() -> None:
    assert selector_of(LabelSelector({"a": "1"})).also(equal({"b": "2"})) == selector_of(
        LabelSelector({"b": "2", "a": "1"})
    )
    assert NOTHING.also(equal({"b": "2"})) == NOTHING
    assert NOTHING.nothing
    assert EVERYTHING.everything


def test_plain_labels() -> None:
    assert selector_of_labels(None) == NOTHING
    assert selector_of_labels({}) == EVERYTHING
    assert selector_of_labels({"a": "1"}) == selector_of(LabelSelector({"a": "1"}))
