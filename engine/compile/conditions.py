"""A condition over nodes as a column, in three-valued logic.

A delay that nobody has measured makes a comparison neither true nor false: `require` and `forbid` both refuse such a
node. Everything else is two-valued; an absent label makes a comparison false.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.compile.origins import Origin, Origins
from engine.compile.subject import Moment, PodSubject, Value, compare
from engine.constraints.protocol import Depends, Mask
from engine.model.pattern import fits
from engine.model.well_known import REGION, ZONE
from engine.state.columns import PODS, Columns
from engine.state.labels import LabelColumn, Where
from grammar.policy import (
    And,
    BoundName,
    Compare,
    Condition,
    Delay,
    FactRef,
    Has,
    Literal,
    Member,
    Not,
    Operand,
    Operator,
    Or,
    Subject,
    Truth,
)


@dataclass(frozen=True, slots=True)
class Context:
    """What a condition is judged in.

    Attributes:
        subject: The pod; its age is taken anew at each moment.
        bound_name: What the variable of the enclosing ``for each label`` stands for.
        limit: The value of that label, milliseconds.
    """

    columns: Columns
    origins: Origins
    moment: Moment
    subject: PodSubject
    bound_name: str = ""
    limit: float = 0.0

    def origin(self, delay: Delay) -> Origin:
        """The origin that a delay is measured from."""
        name = self.bound_name if delay.bound else delay.origin
        shape = self.subject.shape
        return self.origins.origin(
            name, shape.namespace, shape.owner is not None and shape.owner.name == name
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a condition is true and where it is false; where it is neither, nobody knows."""

    yes: Mask
    no: Mask


class Judge(Protocol):
    """A condition that is ready to be asked about nodes."""

    @property
    def depends(self) -> Depends:
        """What the verdict changes with."""
        ...

    def judge(self, where: Where) -> Verdict:
        """The verdict, as long as ``where``."""
        ...


def build(condition: Condition, context: Context) -> Judge:
    """Makes a condition ready; what asks of the pod alone becomes a constant."""
    match condition:
        case And(parts):
            return _All([build(part, context) for part in parts])
        case Or(parts):
            return _Not(_All([_Not(build(part, context)) for part in parts]))
        case Not(inner):
            return _Not(build(inner, context))
        case Has():
            return _has(condition, context)
        case Truth():
            return _Mask(_flag(condition.fact, context))
        case Compare():
            return _compare(condition, context)
        case Member():
            choices = [Compare(condition.operand, Operator.EQ, choice) for choice in condition.choices]
            return build(choices[0] if len(choices) == 1 else Or(tuple(choices)), context)


class _All:
    def __init__(self, parts: list[Judge]) -> None:
        self._parts = parts
        self.depends = Depends(0)
        for part in parts:
            self.depends |= part.depends

    def judge(self, where: Where) -> Verdict:
        first, *others = (part.judge(where) for part in self._parts)
        yes, no = first.yes, first.no
        for other in others:
            yes, no = yes & other.yes, no | other.no
        return Verdict(yes, no)


class _Not:
    def __init__(self, inner: Judge) -> None:
        self._inner = inner
        self.depends = inner.depends

    def judge(self, where: Where) -> Verdict:
        verdict = self._inner.judge(where)
        return Verdict(verdict.no, verdict.yes)


# Operands: a column of numbers, a column of label codes, or a constant


class _Numbers(Protocol):
    depends: Depends

    def numbers(self, where: Where) -> NDArray[np.float64]: ...


class NodeNumbers:
    """A numeric fact of nodes as a column, in the canonical unit of its kind; NaN where nobody knows it."""

    def __init__(self, fact: FactRef | Delay, context: Context) -> None:
        self._columns = context.columns
        self._moment = context.moment
        self._origin = context.origin(fact) if isinstance(fact, Delay) else None
        self._path = "" if isinstance(fact, Delay) else fact.path
        self._resource = "" if isinstance(fact, Delay) else fact.key or ""
        self.depends = _DEPENDS.get(self._path, Depends.NODE | Depends.USAGE)

    def numbers(self, where: Where) -> NDArray[np.float64]:
        """The column's entries."""
        columns, resource = self._columns, self._resource
        if self._origin is not None:
            return self._origin.vector()[where]
        match self._path:
            case "age":
                age: NDArray[np.float64] = np.maximum(self._moment.now - columns.created[where], 0.0) * 1000
                return age
            case "pods":
                return columns.used[PODS][where].astype(np.float64)
            case "allocatable":
                return columns.resource(columns.allocatable, resource)[where].astype(np.float64)
            case "free":
                free = (
                    columns.resource(columns.allocatable, resource)[where]
                    - columns.resource(columns.used, resource)[where]
                )
                return free.astype(np.float64)
            case "used":
                capacity = columns.resource(columns.allocatable, resource)[where]
                used = columns.resource(columns.used, resource)[where]
                # A node without any of the resource has none of it left.
                share: NDArray[np.float64] = np.where(
                    capacity > 0, 100.0 * used / np.maximum(capacity, 1), 100.0
                )
                return share
            case _:
                raise NotImplementedError(f"node.{self._path}")


_DEPENDS = {
    "": Depends.NODE | Depends.DELAY,
    "age": Depends.NODE | Depends.TIME,
    "pods": Depends.USAGE,
    "allocatable": Depends.NODE,
}


class _Constant:
    def __init__(self, value: Value, context: Context) -> None:
        self.value = value
        self.depends = Depends(0)
        self._columns = context.columns

    def numbers(self, where: Where) -> NDArray[np.float64]:
        number = float(self.value) if isinstance(self.value, (int, float)) else np.nan
        return np.full(len(self._columns.alive[where]), number)


class _PodAge:
    depends = Depends.TIME

    def __init__(self, context: Context) -> None:
        self._context = context

    def numbers(self, where: Where) -> NDArray[np.float64]:
        context = self._context
        age = max(0.0, context.moment.now - context.subject.created) * 1000
        return np.full(len(context.columns.alive[where]), age)


class _Text:
    """A text fact of nodes: a label's column, or the names."""

    depends = Depends.NODE

    def __init__(self, column: LabelColumn) -> None:
        self.column = column


class _Names:
    depends = Depends.NODE

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def equals(self, name: str, where: Where) -> Mask:
        mask = np.zeros(self.columns.capacity, dtype=np.bool_)
        slot = self.columns.slot(name)
        if slot is not None:
            mask[slot] = True
        return mask[where]

    def strings(self, where: Where) -> NDArray[np.str_]:
        return np.array([*self.columns.names, *([""] * (self.columns.capacity - self.columns.size))])[where]


_Side = NodeNumbers | _Constant | _PodAge | _Text | _Names


def _side(operand: Operand, context: Context) -> _Side:
    match operand:
        case Literal():
            return _Constant(operand.value, context)
        case BoundName():
            return _Constant(context.limit, context)
        case Delay():
            return NodeNumbers(operand, context)
        case FactRef(subject=Subject.POD, path="age"):
            return _PodAge(context)
        case FactRef(subject=Subject.POD):
            return _Constant(context.subject.value(operand), context)
        case FactRef(path="name"):
            return _Names(context.columns)
        case FactRef(path="labels" | "zone" | "region"):
            return _Text(context.columns.labels.column(label_key(operand)))
        case FactRef():
            return NodeNumbers(operand, context)


def label_key(fact: FactRef) -> str:
    """The label behind a text fact of a node."""
    return {"zone": ZONE, "region": REGION}.get(fact.path) or fact.key or ""


class _Mask:
    """Two-valued: a function of ``where`` that gives a mask."""

    def __init__(self, source: _MaskSource) -> None:
        self._source = source
        self.depends = source.depends

    def judge(self, where: Where) -> Verdict:
        yes = self._source.mask(where)
        return Verdict(yes, ~yes)


class _MaskSource(Protocol):
    depends: Depends

    def mask(self, where: Where) -> Mask: ...


class _Fixed:
    depends = Depends(0)

    def __init__(self, value: bool, columns: Columns) -> None:
        self._value = value
        self._columns = columns

    def mask(self, where: Where) -> Mask:
        return np.full(len(self._columns.alive[where]), self._value)


class _Ready:
    depends = Depends.NODE

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def mask(self, where: Where) -> Mask:
        mask: Mask = self._columns.ready[where]
        return mask


def _flag(fact: FactRef, context: Context) -> _MaskSource:
    if fact.subject is Subject.POD:
        return _Fixed(bool(context.subject.value(fact)), context.columns)
    return _Ready(context.columns)


class _HasLabel:
    depends = Depends.NODE

    def __init__(self, pattern: str, columns: Columns) -> None:
        self._pattern = pattern
        self._columns = columns

    def mask(self, where: Where) -> Mask:
        labels = self._columns.labels
        if "*" not in self._pattern:
            return labels.column(self._pattern).present(where)
        mask = np.zeros_like(self._columns.alive[where])
        for key in list(labels.keys()):
            if fits(key, self._pattern):
                mask |= labels.column(key).present(where)
        return mask


def _has(condition: Has, context: Context) -> Judge:
    if condition.subject is Subject.NODE:
        return _Mask(_HasLabel(condition.pattern, context.columns))
    shape = context.subject.shape
    mapping: Mapping[str, str] = shape.labels if condition.mapping == "labels" else shape.annotations
    found = any(fits(key, condition.pattern) for key in mapping)
    return _Mask(_Fixed(found, context.columns))


def _compare(condition: Compare, context: Context) -> Judge:
    left, right = _side(condition.left, context), _side(condition.right, context)
    if isinstance(left, _Constant) and isinstance(right, _Constant):
        return _Mask(_Fixed(compare(left.value, condition.operator, right.value), context.columns))
    if isinstance(left, (_Text, _Names)) or isinstance(right, (_Text, _Names)):
        return _Mask(_TextEquals(left, condition.operator, right, context))
    return _NumberCompare(left, condition.operator, right, condition.or_unmeasured)


class _TextEquals:
    """``==`` and ``!=`` between a text fact of nodes and a constant, or between two such facts."""

    depends = Depends.NODE

    def __init__(self, left: _Side, operator: Operator, right: _Side, context: Context) -> None:
        if isinstance(left, _Constant):
            left, right = right, left
        self._left, self._right = left, right
        self._differs = operator is Operator.NE
        self._columns = context.columns

    def mask(self, where: Where) -> Mask:
        present = self._present(self._left, where) & self._present(self._right, where)
        equal = self._equal(where)
        return present & ~equal if self._differs else present & equal

    def _present(self, side: _Side, where: Where) -> Mask:
        if isinstance(side, _Text):
            return side.column.present(where)
        there = not (isinstance(side, _Constant) and side.value is None)
        return np.full(len(self._columns.alive[where]), there)

    def _equal(self, where: Where) -> Mask:
        left, right = self._left, self._right
        if isinstance(right, _Constant):
            if right.value is None:
                return np.zeros_like(self._columns.alive[where])
            if isinstance(left, _Names):
                return left.equals(str(right.value), where)
            assert isinstance(left, _Text)
            return left.column.equals(str(right.value), where)
        equal: Mask = self._strings(left, where) == self._strings(right, where)
        return equal

    def _strings(self, side: _Side, where: Where) -> NDArray[np.str_]:
        if isinstance(side, _Names):
            return side.strings(where)
        assert isinstance(side, _Text)
        return np.array([*side.column.values, ""])[side.column.codes[where]]


class _NumberCompare:
    def __init__(
        self,
        left: NodeNumbers | _Constant | _PodAge,
        operator: Operator,
        right: NodeNumbers | _Constant | _PodAge,
        or_unmeasured: bool,
    ) -> None:
        self._left, self._operator, self._right = left, operator, right
        self._or_unmeasured = or_unmeasured
        self.depends = left.depends | right.depends

    def judge(self, where: Where) -> Verdict:
        left, right = self._left.numbers(where), self._right.numbers(where)
        yes = _NUMBERS[self._operator](left, right)
        if Depends.DELAY not in self.depends:
            # A pod's fact that is absent is NaN here, and makes every comparison false.
            absent = np.isnan(left) | np.isnan(right)
            yes &= ~absent
            return Verdict(yes, ~yes)
        unmeasured = np.isnan(left) | np.isnan(right)
        if self._or_unmeasured:
            yes |= unmeasured
            return Verdict(yes, ~yes)
        yes &= ~unmeasured
        return Verdict(yes, ~yes & ~unmeasured)


_NUMBERS = {
    Operator.EQ: np.equal,
    Operator.NE: np.not_equal,
    Operator.LT: np.less,
    Operator.LE: np.less_equal,
    Operator.GT: np.greater,
    Operator.GE: np.greater_equal,
}
