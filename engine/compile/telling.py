"""Which facts of a node made a condition fail: for whoever explains a decision."""

from __future__ import annotations

import math

import numpy as np

from engine.compile.conditions import Context, NodeNumbers, build, label_key
from engine.compile.origins import Origin
from engine.constraints.telling import DelayBeyond, Mismatch, Value, amount_text
from grammar.policy import (
    And,
    BoundName,
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

_OPPOSITE = {
    Operator.EQ: "!=",
    Operator.NE: "==",
    Operator.LT: ">=",
    Operator.LE: ">",
    Operator.GT: "<=",
    Operator.GE: "<",
}
_UNITS = {Kind.CPU: "millicores", Kind.BYTES: "bytes", Kind.PERCENT: "percent", Kind.DURATION: "ms"}

Found = str | float | bool | None


class FactsOf:
    """Tells for single nodes what about them makes a condition fail.

    Args:
        condition: Of a statement about nodes.
        context: What it is judged in.
        forbid: Whether it must not hold.
    """

    __slots__ = ("_condition", "_context", "_forbid")

    def __init__(self, condition: Condition, context: Context, forbid: bool = False) -> None:
        self._condition, self._context, self._forbid = condition, context, forbid

    def __call__(self, slot: int) -> tuple[Value, ...]:
        """The comparisons that are not as they would have to be; of alternatives all."""
        return tuple(dict.fromkeys(self._unmet(self._condition, slot, not self._forbid)))

    def _unmet(self, condition: Condition, slot: int, wanted: bool) -> list[Value]:
        verdict = build(condition, self._context).judge(np.array([slot]))
        if (verdict.yes if wanted else verdict.no)[0]:
            return []
        match condition:
            case And(parts) | Or(parts):
                return [value for part in parts for value in self._unmet(part, slot, wanted)]
            case Not(inner):
                return self._unmet(inner, slot, not wanted)
            case Compare():
                return [self._compared(condition, slot, wanted)]
            case Member():
                choices = ", ".join(_written(choice) for choice in condition.choices)
                return [
                    self._mismatch(condition.operand, slot, f"{'in' if wanted else 'not in'} [{choices}]")
                ]
            case Has():
                name = f"{condition.subject.value}.{condition.mapping}"
                return [Mismatch(f'{name} has "{condition.pattern}"', not wanted, str(wanted).lower())]
            case Truth():
                fact = condition.fact
                return [Mismatch(f"{fact.subject.value}.{fact.path}", not wanted, str(wanted).lower())]

    def _compared(self, condition: Compare, slot: int, wanted: bool) -> Value:
        left, operator, right = condition.left, condition.operator, condition.right
        text = operator.value if wanted else _OPPOSITE[operator]
        limit = self._found(right, slot)
        if isinstance(left, Delay) and text in ("<", "<=") and isinstance(limit, (int, float)):
            return beyond(self._context.origin(left), slot, float(limit))
        if isinstance(right, (Literal, BoundName)):
            shown = _written(right) if isinstance(right, Literal) else f"{self._context.limit:g}ms"
        else:
            shown = f"{_name(right, self._context)} ({_text(limit, _kind(right))})"
        return self._mismatch(left, slot, f"{text} {shown}")

    def _mismatch(self, operand: Operand, slot: int, wanted: str) -> Mismatch:
        unit = _UNITS.get(_kind(operand), "")
        return Mismatch(_name(operand, self._context), self._found(operand, slot), wanted, unit)

    def _found(self, operand: Operand, slot: int) -> Found:
        """The value of an operand for the node in a slot; None where it is absent or unknown."""
        context = self._context
        match operand:
            case Literal():
                return operand.value
            case BoundName():
                return context.limit
            case FactRef(subject=Subject.POD, path="age"):
                return max(0.0, context.moment.now - context.subject.created) * 1000
            case FactRef(subject=Subject.POD):
                return context.subject.value(operand)
            case FactRef(path="name"):
                return context.columns.names[slot]
            case FactRef(path="labels" | "zone" | "region"):
                return context.columns.labels.of(slot).get(label_key(operand))
            case FactRef() | Delay():
                return _number(float(NodeNumbers(operand, context).numbers(np.array([slot]))[0]))


def beyond(origin: Origin, slot: int, limit_ms: float) -> DelayBeyond:
    """The delay of the node in a slot beside a limit, and how it is known."""
    heard = origin.heard(slot)
    return DelayBeyond(origin.name, _number(heard.ms), limit_ms, heard.error_ms, heard.age_s)


def _number(found: Found) -> float | None:
    return float(found) if isinstance(found, (int, float)) and not math.isnan(found) else None


def _kind(operand: Operand) -> Kind:
    return Kind.DURATION if isinstance(operand, Delay) else operand.kind


def _name(operand: Operand, context: Context) -> str:
    match operand:
        case Delay():
            return f"node.delay({context.origin(operand).name})"
        case FactRef(key=None):
            return f"{operand.subject.value}.{operand.path}"
        case FactRef(path="labels" | "annotations"):
            return f'{operand.subject.value}.{operand.path}["{operand.key}"]'
        case FactRef():
            return f"{operand.subject.value}.{operand.path}.{operand.key}"
        case BoundName():
            return operand.name
        case Literal():
            return _written(operand)


def _written(literal: Literal) -> str:
    return literal.text or _text(literal.value, literal.kind)


def _text(found: Found, kind: Kind) -> str:
    return "unknown" if found is None else amount_text(found, _UNITS.get(kind, ""))
