"""Selectors of labels, with one form for each meaning, so that equal ones are found by their hash.

Source: ``k8s.io/apimachinery/pkg/labels`` and ``metav1.LabelSelectorAsSelector``. A selector that is absent selects
nothing, an empty one everything. Negative operators hold where the key is absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from engine.model.objects import LabelSelector

Anchor = tuple[str, str]
"""A label with its value."""


class Expression(NamedTuple):
    """``key operator values``; the operator is In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels satisfy it."""
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case _:
                return value is None


@dataclass(frozen=True, slots=True)
class Selector:
    """Expressions that must all hold, sorted and each once; None selects nothing."""

    expressions: tuple[Expression, ...] | None

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether it selects what carries these labels."""
        return self.expressions is not None and all(one.holds(labels) for one in self.expressions)

    @property
    def nothing(self) -> bool:
        """Whether it selects nothing, whatever there is."""
        return self.expressions is None

    @property
    def everything(self) -> bool:
        """Whether it asks for nothing, and so selects everything."""
        return self.expressions == ()

    @property
    def anchors(self) -> tuple[Anchor, ...] | None:
        """Labels of one key of which whatever it selects has one; None where it asks for no value of any key."""
        if self.expressions is None:
            return ()
        some = [one for one in self.expressions if one.operator == "In"]
        if not some:
            return None
        fewest = min(some, key=lambda one: len(one.values))
        return tuple((fewest.key, value) for value in fewest.values)

    def also(self, expressions: Iterable[Expression]) -> Selector:
        """The selector with more expressions; one that selects nothing still does."""
        if self.expressions is None:
            return self
        return Selector(tuple(sorted({*self.expressions, *expressions})))


NOTHING: Final = Selector(None)
EVERYTHING: Final = Selector(())

_WITH_VALUES: Final = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}


def equal(labels: Mapping[str, str]) -> Iterable[Expression]:
    """One expression for each label that must be there with its value."""
    return (Expression(key, "In", (value,)) for key, value in labels.items())


def selector_of(written: LabelSelector | None) -> Selector:
    """What a selector means. One that the API server would not take (In without values) selects nothing."""
    if written is None:
        return NOTHING
    expressions = list(equal(written.match_labels or {}))
    for requirement in written.match_expressions or ():
        values = requirement.values or ()
        if _WITH_VALUES.get(requirement.operator) is not bool(values):
            return NOTHING
        expressions.append(Expression(requirement.key, requirement.operator, tuple(sorted(set(values)))))
    return EVERYTHING.also(expressions)


def selector_of_labels(labels: Mapping[str, str] | None) -> Selector:
    """What a plain map of labels means, as services have it: an absent one selects nothing."""
    return NOTHING if labels is None else EVERYTHING.also(equal(labels))
