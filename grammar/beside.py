"""What a policy says that one cluster, as it is now, cannot meet: warnings about a policy beside an inventory.

Nothing is concluded from what an inventory does not tell, see `grammar.presence`. A condition is faulted only where no
node of the cluster meets it, or where it names what is all but spelt as something that is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from grammar import policy
from grammar.delays_beside import delay_warnings
from grammar.diagnostic import Diagnostic, Note, sort_key
from grammar.domains_beside import domain_warnings
from grammar.files import Result
from grammar.inventory import Inventory
from grammar.near_misses import keys_here, names_here, near_key, near_name, values_here
from grammar.policy import Operator, Subject
from grammar.presence import holds, label_key
from grammar.render import many
from grammar.satisfiable import atoms, effect, flat, glob_within, impossible
from grammar.span import Span
from grammar.suggest import listed

_NAME: Final = "a node's name"
"""Stands beside the keys of labels; no label has such a key."""


def beside(result: Result, inventory: Inventory) -> Result:
    """The result with what the cluster cannot meet among its diagnostics; a policy with errors is not compared."""
    if result.policy is None or not inventory.nodes:
        return result
    found = [
        *_Conditions(result.policy, inventory).warnings(),
        *domain_warnings(result.policy, inventory),
        *delay_warnings(result.policy, inventory),
    ]
    return replace(result, diagnostics=tuple(sorted((*result.diagnostics, *found), key=sort_key)))


class _Conditions:
    """The warnings about what is asked of nodes."""

    def __init__(self, checked: policy.CheckedPolicy, inventory: Inventory) -> None:
        self._policy, self._inventory = checked, inventory
        self._nodes = inventory.nodes
        self._names = dict.fromkeys(node.name for node in inventory.nodes)
        self._keys: set[str] = {domain.label for domain in checked.domains if domain.label}
        self._values: set[tuple[str, object]] = set()
        for condition in self._all():
            self._mention(condition)

    def _all(self) -> Iterator[policy.Condition]:
        yield from (nodes.condition for nodes in self._policy.node_sets)
        for rule in self._policy.rules:
            for statement in flat(rule.statements):
                if isinstance(statement, policy.Require | policy.Prefer):
                    yield statement.condition

    def _mention(self, condition: policy.Condition) -> None:
        """Remember the keys and values that the policy knows: none of them is a typo of another."""
        for atom in atoms(condition):
            if isinstance(atom, policy.Has) and atom.subject is Subject.NODE:
                self._keys.add(atom.pattern)
            for key, _, values in _asked(atom):
                self._keys.add(key)
                self._values |= {(key, value.value) for value in values}
            self._values |= {(_NAME, value.value) for value in _called(atom)}

    def warnings(self) -> Iterator[Diagnostic]:
        for nodes in self._policy.node_sets:
            yield from self._condition(nodes.condition, nodes.condition)
        for rule in self._policy.rules:
            alone = []
            for statement in flat(rule.statements):
                match statement:
                    case policy.Require():
                        alone += [*self._condition(statement.condition, effect(statement))]
                    case policy.Prefer(avoid=False):
                        alone += [*self._condition(statement.condition, statement.condition)]
                    case policy.Prefer():
                        alone += [*self._typos(statement.condition)]
            yield from alone or self._together(rule)

    def _condition(self, written: policy.Condition, asked: policy.Condition) -> Iterator[Diagnostic]:
        if impossible(asked):
            return  # told without a cluster
        if not self._met_nowhere(asked):
            yield from self._typos(written)
            return
        if asked is not written:
            yield Diagnostic(
                "P703",
                "no node here is left by this",
                written.span,
                f"holds for all of {many(len(self._nodes), 'node')}",
                "forbid less, or look for a wrong value",
            )
            return
        parts = written.conditions if isinstance(written, policy.And) else ()
        alone = [part for part in parts if self._met_nowhere(part)]
        for part in alone:
            yield from self._condition(part, part)
        blamed = [] if alone else [*self._blamed(written)]
        yield from blamed
        if not alone and not blamed:
            yield Diagnostic(
                "P703",
                "no node here meets this",
                written.span,
                f"met by none of {many(len(self._nodes), 'node')}",
                self._remedy(written),
                tuple(self._count(part, part.span) for part in parts),
            )

    def _remedy(self, condition: policy.Condition) -> str:
        if isinstance(condition, policy.And):
            return "each part may be met, but no node meets all: look for a wrong value"
        keys = [key for key, *_ in _asked(condition)]
        lacking = sum(not all(key in node.labels for key in keys) for node in self._nodes)
        if not isinstance(condition, policy.Compare) or not _differs(condition) or not lacking:
            return "look for a wrong value"
        return (
            f"{many(lacking, 'node')} without the label would meet `not … ==`: "
            "what is compared with something absent is false"
        )

    def _together(self, rule: policy.Rule) -> Iterator[Diagnostic]:
        """The requirements of a rule of which each is met by some node."""
        required = [one for one in rule.statements if isinstance(one, policy.Require)]
        if len(required) < 2:
            return
        effects = tuple(effect(one) for one in required)
        if impossible(*effects) or not self._met_nowhere(policy.And(effects)):
            return
        excluding = [
            self._count(asked, one.span)
            for asked, one in zip(effects, required, strict=True)
            if any(holds(asked, node) is False for node in self._nodes)
        ]
        yield Diagnostic(
            "P703",
            "no node here meets all requirements of this rule",
            excluding[-1].span,
            excluding[-1].message,
            "a rule asks for all of its requirements at once",
            tuple(excluding[:-1]),
        )

    def _met_nowhere(self, condition: policy.Condition) -> bool:
        return all(holds(condition, node) is False for node in self._nodes)

    def _count(self, condition: policy.Condition, span: Span) -> Note:
        met = [holds(condition, node) for node in self._nodes]
        if None in met:
            return Note(span, "asked for as well")
        return Note(span, f"met by {met.count(True)} of {many(len(met), 'node')}")

    # ---- what is missing

    def _blamed(self, condition: policy.Condition) -> Iterator[Diagnostic]:
        """Of what no node meets the parts that ask for a label or value that is not there."""
        match condition:
            case policy.And() | policy.Or():
                for part in condition.conditions:
                    if self._met_nowhere(part):
                        yield from self._blamed(part)
            case policy.Has(subject=Subject.NODE):
                yield self._no_key(condition.pattern, condition.span)
            case policy.Member() | policy.Compare():
                for key, span, values in _asked(condition):
                    if key not in self._inventory.values:
                        yield self._no_key(key, span)
                    elif values and not _differs(condition):
                        yield self._no_value(key, values)
                values = _called(condition)
                if values and not _differs(condition):
                    yield self._no_name(values)

    def _typos(self, condition: policy.Condition) -> Iterator[Diagnostic]:
        """What is all but spelt as something that is there, and that the policy says nothing of."""
        here = self._inventory.values
        for atom in atoms(condition):
            match atom:
                case policy.Has(subject=Subject.NODE, pattern=key) if "*" not in key:
                    if self._mistyped_key(key):
                        yield self._no_key(key, atom.span)
            for key, span, values in _asked(atom):
                if self._mistyped_key(key):
                    yield self._no_key(key, span)
                for value in values if key in here else ():
                    near = None if value.value in here[key] else near_name(str(value.value), here[key])
                    if near is not None and (key, near) not in self._values:
                        yield self._no_value(key, [value])
            called = [value for value in _called(atom) if str(value.value) not in self._names]
            for value in called:
                near = near_name(str(value.value), self._names)
                if near is not None and (_NAME, near) not in self._values:
                    yield self._no_name([value])

    def _mistyped_key(self, key: str) -> bool:
        here = self._inventory.values
        near = None if key in here else near_key(key, here)
        return near is not None and near not in self._keys

    def _no_key(self, pattern: str, span: Span) -> Diagnostic:
        here = self._inventory.values
        what = "a label" if "*" in pattern else "the label"
        return Diagnostic(
            "P701",
            f"no node here has {what} `{pattern}`",
            span,
            f"on none of {many(len(self._nodes), 'node')}",
            keys_here(pattern, [key for key in here if not glob_within(key, pattern)]),
        )

    def _no_name(self, values: list[policy.Literal]) -> Diagnostic:
        return Diagnostic(
            "P702",
            f"no node here is called {listed([str(value.value) for value in values])}",
            _over(values),
            "no node's name",
            names_here(str(values[0].value), {"nodes": self._names}),
        )

    def _no_value(self, key: str, values: list[policy.Literal]) -> Diagnostic:
        named = listed([str(value.value) for value in values])
        return Diagnostic(
            "P702",
            f"no node here has {named} as its label `{key}`",
            _over(values),
            f"on none of {many(len(self._nodes), 'node')}",
            values_here(str(values[0].value), self._inventory.values[key]),
        )


def _asked(atom: policy.Condition) -> Iterator[tuple[str, Span, list[policy.Literal]]]:
    """The labels of nodes that a comparison asks for: key, place, and the values that it names."""
    match atom:
        case policy.Compare():
            for operand, other in ((atom.left, atom.right), (atom.right, atom.left)):
                key = label_key(operand)
                if key is not None:
                    yield key, operand.span, [other] if isinstance(other, policy.Literal) else []
        case policy.Member():
            key = label_key(atom.operand)
            if key is not None:
                yield key, atom.operand.span, [*atom.choices]


def _called(atom: policy.Condition) -> list[policy.Literal]:
    """The names that a comparison compares a node's with."""
    match atom:
        case policy.Compare():
            sides = ((atom.left, atom.right), (atom.right, atom.left))
            return [one for fact, one in sides if _is_name(fact) and isinstance(one, policy.Literal)]
        case policy.Member():
            return [*atom.choices] if _is_name(atom.operand) else []
        case _:
            return []


def _differs(atom: policy.Compare | policy.Member) -> bool:
    return isinstance(atom, policy.Compare) and atom.operator is not Operator.EQ


def _is_name(operand: policy.Operand) -> bool:
    return isinstance(operand, policy.FactRef) and operand.subject is Subject.NODE and operand.path == "name"


def _over(values: list[policy.Literal]) -> Span:
    first, last = values[0].span, values[-1].span
    return replace(first, end_line=last.end_line, end_column=last.end_column)
