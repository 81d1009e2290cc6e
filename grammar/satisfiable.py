"""Whether conditions can hold together, decided without a solver and only ever wrong on the side of “they can”.

Conditions are brought into disjunctive normal form, up to `MOST_BRANCHES` conjunctions. Each conjunction narrows what
every fact may still be: texts to a set of values or all but some, numbers to an interval less some points, and whether
the fact may be absent. A conjunction with a fact that may be nothing any more cannot hold. As in the language, a
comparison with an absent fact is false, so the negation of one is true there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product

from grammar import policy
from grammar.facts import FACT
from grammar.policy import Kind, Operator, Subject

MOST_BRANCHES = 64
"""Beyond so many conjunctions nothing is concluded."""

_NEGATED = {
    Operator.EQ: Operator.NE, Operator.NE: Operator.EQ, Operator.LT: Operator.GE,
    Operator.GE: Operator.LT, Operator.GT: Operator.LE, Operator.LE: Operator.GT,
}  # fmt: skip
_MIRRORED = {
    Operator.EQ: Operator.EQ, Operator.NE: Operator.NE, Operator.LT: Operator.GT,
    Operator.GT: Operator.LT, Operator.LE: Operator.GE, Operator.GE: Operator.LE,
}  # fmt: skip
_ALIASES = {
    "zone": "topology.kubernetes.io/zone",
    "region": "topology.kubernetes.io/region",
}
_ALWAYS_THERE = {
    (Subject.NODE, "name"),
    (Subject.NODE, "ready"),
    (Subject.POD, "name"),
    (Subject.POD, "namespace"),
}

_Value = str | int | float | bool
_Term = tuple[str, ...]
_Atom = policy.Compare | policy.Member | policy.Has | policy.Truth
_Branch = tuple[tuple[_Atom, bool], ...]


def impossible(*conditions: policy.Condition) -> bool:
    """Whether no pod and no node can meet all the conditions. False also where that could not be told."""
    parts = [_branches(condition, True) for condition in conditions]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or math.prod(len(part) for part in known) > MOST_BRANCHES:
        return False
    return all(_contradicts(sum(branch, ())) for branch in product(*known))


def implies(condition: policy.Condition, *others: policy.Condition) -> bool:
    """Whether whatever meets the condition meets one of the others. False also where that could not be told."""
    return impossible(condition, *(policy.Not(other) for other in others))


def glob_within(inner: str, outer: str) -> bool:
    """Whether every key that fits the pattern ``inner`` fits ``outer``; ``*`` stands for any run of characters.

    The ``*`` of ``inner`` is matched as one more character, which no key has: what then fits, fits for any run.
    """
    at, star, back = 0, -1, 0
    position = 0
    while position < len(inner):
        if at < len(outer) and outer[at] == "*":
            star, back = at, position
            at += 1
        elif at < len(outer) and outer[at] == inner[position]:
            at, position = at + 1, position + 1
        elif star >= 0:
            back += 1
            at, position = star + 1, back
        else:
            return False
    return all(char == "*" for char in outer[at:])


def _branches(condition: policy.Condition, positive: bool) -> list[_Branch] | None:
    """The conjunctions of which one has to hold; None where they are too many."""
    match condition:
        case policy.Not():
            return _branches(condition.condition, not positive)
        case policy.And() | policy.Or():
            parts = [_branches(part, positive) for part in condition.conditions]
            known = [part for part in parts if part is not None]
            if len(known) < len(parts):
                return None
            if isinstance(condition, policy.Or) is positive:
                together = [branch for part in known for branch in part]
            elif math.prod(len(part) for part in known) > MOST_BRANCHES:
                return None
            else:
                together = [sum(branch, ()) for branch in product(*known)]
            return together if len(together) <= MOST_BRANCHES else None
        case _:
            return [((condition, positive),)]


@dataclass(slots=True)
class _Range:
    """What is left of one fact: between two bounds or in ``only``, not in ``never``, or absent."""

    absent: bool
    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    only: frozenset[_Value] | None = None
    never: set[_Value] = field(default_factory=set)
    whole: bool = False

    def narrow(self, operator: Operator, value: _Value) -> None:
        """Leaves the values for which ``fact operator value`` is true."""
        if operator is Operator.EQ:
            self.keep(frozenset((value,)))
        elif operator is Operator.NE:
            self.never.add(value)
        else:
            assert not isinstance(value, str)
            if self.whole and operator in (Operator.LT, Operator.GT):
                value += 1 if operator is Operator.GT else -1
                operator = Operator.GE if operator is Operator.GT else Operator.LE
            strict = operator in (Operator.LT, Operator.GT)
            if operator in (Operator.LT, Operator.LE) and (value, not strict) < (
                self.high,
                not self.high_open,
            ):
                self.high, self.high_open = value, strict
            if operator in (Operator.GT, Operator.GE) and (value, strict) > (self.low, self.low_open):
                self.low, self.low_open = value, strict

    def keep(self, values: frozenset[_Value]) -> None:
        """Leaves only these values."""
        self.only = values if self.only is None else self.only & values

    def empty(self) -> bool:
        """Whether nothing is left."""
        if self.absent:
            return False
        if self.only is not None:
            return not any(self._within(value) for value in self.only - self.never)
        if self.low > self.high or (self.low == self.high and (self.low_open or self.high_open)):
            return True
        return self.low == self.high and self.low in self.never

    def _within(self, value: _Value) -> bool:
        if isinstance(value, str):
            return True
        above = value >= self.low and not (value == self.low and self.low_open)
        return above and value <= self.high and not (value == self.high and self.high_open)


class _Conjunction:
    def __init__(self) -> None:
        self.ranges: dict[_Term, _Range] = {}
        self.patterns: list[tuple[Subject, str, str]] = []
        self.without: list[tuple[Subject, str, str]] = []

    def add(self, atom: _Atom, positive: bool) -> None:
        match atom:
            case policy.Has():
                where = (atom.subject, atom.mapping, atom.pattern)
                (self.patterns if positive else self.without).append(where)
                if positive and "*" not in atom.pattern:
                    ref = policy.FactRef(atom.subject, atom.mapping, Kind.TEXT, atom.pattern)
                    self._range(ref).absent = False
            case policy.Truth():
                self._range(atom.fact).keep(frozenset((positive,)))
            case policy.Member():
                self._member(atom, positive)
            case policy.Compare():
                self._compare(atom, positive)

    def _member(self, atom: policy.Member, positive: bool) -> None:
        left = self._range(atom.operand)
        values = frozenset(choice.value for choice in atom.choices)
        if positive:
            left.absent = False
            left.keep(values)
        else:
            left.never |= values

    def _compare(self, atom: policy.Compare, positive: bool) -> None:
        left, operator, right = atom.left, atom.operator, atom.right
        if isinstance(left, policy.Literal):
            left, operator, right = right, _MIRRORED[operator], left
        if not positive:
            operator = _NEGATED[operator]
        if isinstance(right, policy.Literal):
            span = self._range(left)
            value = right.value
        else:
            terms = (_term(left), _term(right))
            if terms[0] > terms[1]:
                operator = _MIRRORED[operator]
            span = self.ranges.setdefault(("difference", *min(terms), "", *max(terms)), _Range(True))
            if terms[0] == terms[1]:
                span.keep(frozenset((0,)))
            value = 0
            if positive and not atom.or_unmeasured:
                self._range(left).absent = self._range(right).absent = False
        if positive is not atom.or_unmeasured:
            # Either the comparison has to be true, or it has to be false and nothing may be unmeasured.
            span.absent = False
        span.narrow(operator, value)

    def _range(self, operand: policy.Operand) -> _Range:
        term = _term(operand)
        if term not in self.ranges:
            self.ranges[term] = _fresh(operand)
        return self.ranges[term]

    def contradicts(self) -> bool:
        if any(left.empty() for left in self.ranges.values()):
            return True
        for subject, mapping, pattern in self.without:
            for other in self.patterns:
                if other[:2] == (subject, mapping) and glob_within(other[2], pattern):
                    return True
            for term, left in self.ranges.items():
                here = term[:2] == (subject.value, mapping) and glob_within(term[2], pattern)
                if here and not left.absent:
                    return True
        return False


def _contradicts(branch: _Branch) -> bool:
    conjunction = _Conjunction()
    for atom, positive in branch:
        conjunction.add(atom, positive)
    return conjunction.contradicts()


def _term(operand: policy.Operand) -> _Term:
    """What two operands share exactly if they are always equal."""
    match operand:
        case policy.FactRef():
            if operand.subject is Subject.NODE and operand.path in _ALIASES:
                return (operand.subject.value, "labels", _ALIASES[operand.path])
            return (operand.subject.value, operand.path, operand.key or "")
        case policy.Delay():
            return ("delay", operand.origin, "bound" if operand.bound else "")
        case policy.BoundName():
            return ("bound", operand.name, "")
        case policy.Literal():
            return ("literal", repr(operand.value), operand.kind.value)


def _fresh(operand: policy.Operand) -> _Range:
    """All that a fact may be, before anything narrows it."""
    if not isinstance(operand, policy.FactRef):
        return _Range(absent=isinstance(operand, policy.Delay), low=0.0)
    fact = FACT[operand.subject, operand.path]
    left = _Range(
        absent=(operand.subject, operand.path) not in _ALWAYS_THERE, whole=operand.kind is Kind.COUNT
    )
    if operand.kind is Kind.TRUTH:
        left.only = frozenset((True, False))
    elif operand.kind is not Kind.TEXT and fact.least:
        left.low = 0.0
    return left


def atoms(condition: policy.Condition) -> Iterator[_Atom]:
    """The comparisons and questions that a condition is made of."""
    match condition:
        case policy.Not():
            yield from atoms(condition.condition)
        case policy.And() | policy.Or():
            for part in condition.conditions:
                yield from atoms(part)
        case _:
            yield condition


def operands(condition: policy.Condition) -> Iterable[policy.Operand]:
    """The operands of a condition, without those of `Has`."""
    for atom in atoms(condition):
        match atom:
            case policy.Compare():
                yield from (atom.left, atom.right)
            case policy.Member():
                yield from (atom.operand, *atom.choices)
            case policy.Truth():
                yield atom.fact


def effect(statement: policy.Require) -> policy.Condition:
    """What a node has to meet."""
    return policy.Not(statement.condition) if statement.forbid else statement.condition


def flat(body: Iterable[policy.Statement]) -> Iterator[policy.Statement]:
    """The statements, each followed by those in it."""
    for statement in body:
        yield statement
        if isinstance(statement, policy.ForEachLabel):
            yield from flat(statement.body)
