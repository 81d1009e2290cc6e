"""Keys and values that Kubernetes lets no object have (``k8s.io/apimachinery/pkg/util/validation``)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from grammar import policy
from grammar.diagnostic import Diagnostic
from grammar.policy import Operator
from grammar.satisfiable import atoms
from grammar.span import Span

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
DNS_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
DNS_SUBDOMAIN = re.compile(rf"{DNS_LABEL.pattern}(?:\.{DNS_LABEL.pattern})*")
_MILLISECONDS = re.compile(r"\d{1,6}(\.\d{1,6})?", re.ASCII)
MAX_DELAY_MS = 600_000
"""The longest round trip that there is, ten minutes; what measures and what places take no longer one."""
_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?)?")


def possible_key(pattern: str, annotation: bool = False) -> bool:
    """Whether an object can have a key that fits the pattern, in which ``*`` stands for any run of characters.

    A qualified name: an optional DNS subdomain and ``/``, then at most 63 letters, digits, ``-``, ``_`` and ``.``
    with a letter or digit at both ends. The subdomain of an annotation's key may have capitals.
    """
    key = pattern.replace("*", "x")
    prefix, slash, name = key.rpartition("/")
    if slash and not DNS_SUBDOMAIN.fullmatch(prefix.lower() if annotation else prefix):
        return False
    fixed = pattern.replace("*", "").rpartition("/")
    return bool(_NAME.fullmatch(name)) and len(fixed[2]) <= 63 and len(fixed[0]) <= 253


def possible_value(value: str) -> bool:
    """Whether a label can have the value: at most 63 characters as in a key's name, or none at all."""
    return len(value) <= 63 and _VALUE.fullmatch(value) is not None


def milliseconds(value: str) -> float | None:
    """The delay that a label's value is: a plain number of ms, of at most ten minutes; None where it is none."""
    found = float(value) if _MILLISECONDS.fullmatch(value) else MAX_DELAY_MS + 1
    return found if found <= MAX_DELAY_MS else None


def impossible_labels(checked: policy.CheckedPolicy) -> Iterator[Diagnostic]:
    """Warnings about every key and value in the policy that no label or annotation can have."""
    for domain in checked.domains:
        if domain.label is not None:
            yield from key_warning(domain.label, domain.span)
    for nodes in checked.node_sets:
        yield from _condition(nodes.condition)
    for rule in checked.rules:
        if rule.condition is not None:
            yield from _condition(rule.condition)
        yield from _body(rule.statements)
    for reserve in checked.reserves:
        if reserve.condition is not None:
            yield from _condition(reserve.condition)


def _body(body: tuple[policy.Statement, ...]) -> Iterator[Diagnostic]:
    for statement in body:
        match statement:
            case policy.Require() | policy.Prefer():
                yield from _condition(statement.condition)
            case policy.Cardinality() if statement.of is not None:
                yield from _condition(statement.of)
            case policy.ForEachLabel():
                yield from key_warning(f"{statement.prefix}*{statement.suffix}", statement.span)
                yield from _body(statement.body)


def _condition(condition: policy.Condition) -> Iterator[Diagnostic]:
    for atom in atoms(condition):
        match atom:
            case policy.Has():
                yield from key_warning(atom.pattern, atom.span, atom.mapping == "annotations")
            case policy.Compare(operator=Operator.EQ | Operator.NE):
                yield from _fact(atom.left)
                yield from _fact(atom.right)
                yield from _values(atom.left, atom.right)
                yield from _values(atom.right, atom.left)
            case policy.Member():
                yield from _fact(atom.operand)
                yield from _values(atom.operand, *atom.choices)


def _fact(operand: policy.Operand) -> Iterator[Diagnostic]:
    if isinstance(operand, policy.FactRef) and operand.path in ("labels", "annotations"):
        yield from key_warning(operand.key or "", operand.span, operand.path == "annotations")


def key_warning(pattern: str, span: Span, annotation: bool = False) -> Iterator[Diagnostic]:
    """A warning about a key that nothing can have, in which ``*`` stands for any run of characters."""
    if possible_key(pattern, annotation):
        return
    help_ = (
        "a key is letters, digits, `-`, `_` and `.`, at most 63, with an optional `example.com/` before it"
    )
    if pattern.startswith("."):
        help_ = "`*` alone stands for anything; there are no regular expressions"
    yield Diagnostic(
        "P428", f"nothing can have the key `{pattern}`", span, "Kubernetes does not allow it", help_
    )


def _values(operand: policy.Operand, *values: policy.Operand) -> Iterator[Diagnostic]:
    if not isinstance(operand, policy.FactRef) or operand.path not in ("labels", "zone", "region"):
        return
    for value in values:
        if isinstance(value, policy.Literal):
            yield from value_warning(str(value.value), value.span)


def value_warning(value: str, span: Span) -> Iterator[Diagnostic]:
    """A warning about a value that no label can have."""
    if possible_value(value):
        return
    help_ = "a value is at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends"
    if "*" in value:
        help_ = "values are compared as a whole: `*` stands for anything only in the key that `has` asks for"
    yield Diagnostic(
        "P428", f"no label can have the value `{value}`", span, "Kubernetes does not allow it", help_
    )
