"""Statements that another statement of the same rule implies, so that taking them out changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from grammar import policy
from grammar.diagnostic import Diagnostic, Note
from grammar.policy import Bound
from grammar.satisfiable import implies, impossible


def redundant(body: tuple[policy.Statement, ...], outer: list[policy.Require]) -> Iterator[Diagnostic]:
    """The statements of a body that others of it, or requirements around it, imply. Each is named once."""
    for index, statement in enumerate(body):
        for place, other in enumerate((*outer, *body)):
            if place == index + len(outer) or not _implied(statement, other, place < index + len(outer)):
                continue
            yield Diagnostic(
                "P422",
                "this changes nothing",
                statement.span,
                "follows from the other",
                "take it out; what remains asks for as much",
                (Note(other.span, "asks for as much, or more"),),
            )
            break


def _implied(statement: policy.Statement, by: policy.Statement, earlier: bool) -> bool:
    """Whether a statement follows from another one. Of two that say the same, the later follows."""
    match statement, by:
        case policy.Require(), policy.Require():
            wanted, given = _effect(statement), _effect(by)
            if impossible(given) or not implies(given, wanted):
                return False
            return earlier or not implies(wanted, given)
        case policy.Cardinality(weight=None), policy.Cardinality(weight=None):
            same = statement.domain == by.domain and statement.of == by.of and statement.bound is by.bound
            if not same:
                return False
            if statement.number == by.number:
                return earlier
            return (by.number < statement.number) is (by.bound is Bound.AT_MOST)
        case policy.Spread(), policy.Cardinality(weight=None, of=None, bound=Bound.AT_MOST):
            # No domain has more than N pods, so none has N more than another; where N is 1, every domain that may
            # still take the pod has none yet, and a preference finds them all alike.
            most = by.number if statement.weight is None else 1
            return statement.domain == by.domain and by.number == most and (most <= statement.skew)
        case policy.Spread(weight=None), policy.Spread(weight=None):
            return earlier and statement == by
        case policy.Together(weight=None), policy.Together(weight=None):
            return earlier and statement == by
        case policy.Try(), policy.Try():
            return earlier and statement == by
    return False


def _effect(statement: policy.Require) -> policy.Condition:
    return policy.Not(statement.condition) if statement.forbid else statement.condition
