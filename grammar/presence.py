"""Whether a condition holds for one node or pod of a cluster, as far as its name and labels tell.

What depends on anything else (how full a node is, a delay, a pod where a node is looked at) is unknown, and so is what
depends on that, unless it comes to the same either way.
"""

from __future__ import annotations

from grammar import policy
from grammar.inventory import Node, Pod
from grammar.policy import Operator, Subject
from grammar.satisfiable import glob_within


def label_key(operand: policy.Operand) -> str | None:
    """The key of the node's label that an operand is the value of; None where it is something else."""
    if not isinstance(operand, policy.FactRef) or operand.subject is not Subject.NODE:
        return None
    return operand.key if operand.path == "labels" else policy.BUILTIN_LABELS.get(operand.path)


def holds(condition: policy.Condition, one: Node | Pod) -> bool | None:
    """Whether a node or pod meets a condition; None where that cannot be told."""
    match condition:
        case policy.Not():
            inner = holds(condition.condition, one)
            return None if inner is None else not inner
        case policy.And() | policy.Or():
            decides = isinstance(condition, policy.Or)
            verdicts = {holds(part, one) for part in condition.conditions}
            return decides if decides in verdicts else None if None in verdicts else not decides
        case policy.Has():
            if condition.mapping != "labels" or condition.subject is not _subject(one):
                return None
            return any(glob_within(key, condition.pattern) for key in one.labels)
        case policy.Member():
            known, value = _value(condition.operand, one)
            return any(value == choice.value for choice in condition.choices) if known else None
        case policy.Compare(operator=Operator.EQ | Operator.NE as operator):
            sides = (_value(condition.left, one), _value(condition.right, one))
            if (True, None) in sides:
                return False  # whatever it is compared with
            if not all(known for known, _ in sides):
                return None
            return (sides[0] == sides[1]) is (operator is Operator.EQ)
        case _:
            return None


def _subject(one: Node | Pod) -> Subject:
    return Subject.NODE if isinstance(one, Node) else Subject.POD


def _value(operand: policy.Operand, one: Node | Pod) -> tuple[bool, object]:
    """Whether it is known, and the value; None for a label that is not there."""
    if isinstance(operand, policy.Literal):
        return True, operand.value
    if not isinstance(operand, policy.FactRef) or operand.subject is not _subject(one):
        return False, None
    if operand.path == "name":
        return True, one.name
    if isinstance(one, Pod) and operand.path == "namespace":
        return True, one.namespace
    key = operand.key if operand.path == "labels" else label_key(operand)
    return key is not None, one.labels.get(key or "")
