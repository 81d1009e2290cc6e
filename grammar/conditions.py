"""Checks conditions: only like is compared with like, every unit is there, every bare name is bound."""

from __future__ import annotations

from grammar import policy, tree
from grammar.diagnostic import Diagnostic
from grammar.facts import FACT, FACTS, RESOURCES, Takes
from grammar.paths import NODE_SET, Paths, Report, Scope, dotted
from grammar.policy import Kind, Operator, Subject
from grammar.span import Span
from grammar.units import any_kind, kind_of_unit, literal, name_of, unit_of

_Placed = policy.FactRef | policy.Delay | policy.BoundName


_DELAY_LABELS = (
    'a label is a text; the delays in labels are read by `for each label "delay_{from}" as limit in ms {`'
)


class Conditions:
    """Checks conditions and operands, and reports what is wrong with them."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._paths = Paths(report)

    # ---- conditions

    def condition(self, node: tree.Condition, scope: Scope) -> policy.Condition | None:
        """The checked condition; None where something in it is wrong, which is then reported."""
        match node:
            case tree.And() | tree.Or():
                parts = [self.condition(part, scope) for part in node.conditions]
                good = tuple(part for part in parts if part is not None)
                if len(good) < len(parts):
                    return None
                return (
                    policy.And(good, node.span) if isinstance(node, tree.And) else policy.Or(good, node.span)
                )
            case tree.Not():
                inner = self.condition(node.condition, scope)
                return None if inner is None else policy.Not(inner, node.span)
            case tree.Compare():
                return self._compare(node, scope)
            case tree.Member():
                return self._member(node, scope)
            case tree.Has():
                return self._has(node, scope)
            case tree.Bare():
                return self._bare(node, scope)

    def _compare(self, node: tree.Compare, scope: Scope) -> policy.Condition | None:
        left = self._side(node.left, scope)
        right = self._side(node.right, scope)
        fixed = [isinstance(side, tree.Literal) for side in (left, right)]
        if all(fixed):
            self._error(
                "P311",
                "neither side asks anything",
                node.span,
                "both are fixed values",
                'compare a fact, such as `node.zone` or `pod.labels["app"]`',
            )
            return None
        if left is None or right is None:
            return None
        first: policy.Operand | None
        second: policy.Operand | None
        if isinstance(left, tree.Literal):
            assert not isinstance(right, tree.Literal)
            first, second = self._value(left, right), right
        elif isinstance(right, tree.Literal):
            first, second = left, self._value(right, left)
        else:
            first, second = left, right
            if kind_of(left) is not kind_of(right):
                self._error(
                    "P301",
                    f"{name_of(kind_of(left))} is never {name_of(kind_of(right))}",
                    node.span,
                    "these cannot be compared",
                    _DELAY_LABELS if {kind_of(left), kind_of(right)} == {Kind.TEXT, Kind.DURATION} else "",
                )
                return None
        if first is None or second is None:
            return None
        operator = Operator(node.operator)
        kind = kind_of(first)
        if kind in (Kind.TEXT, Kind.TRUTH) and operator not in (Operator.EQ, Operator.NE):
            what = "texts have no order" if kind is Kind.TEXT else "`true` and `false` have no order"
            self._error(
                "P304",
                what,
                node.operator_span,
                "only `==` and `!=` compare them",
                "use `==`, `!=` or `in`; for a number, ask a fact that is one"
                if kind is Kind.TEXT
                else "ask for the fact itself, or for `not` it",
            )
            return None
        if node.or_unmeasured and not any(isinstance(side, policy.Delay) for side in (first, second)):
            self._error(
                "P310",
                "`or unmeasured` without a delay",
                node.span,
                "nothing here is measured",
                "take `or unmeasured` out, or compare `node.delay(…)`",
            )
            return None
        return policy.Compare(first, operator, second, node.or_unmeasured, node.span)

    def _member(self, node: tree.Member, scope: Scope) -> policy.Condition | None:
        operand = self._side(node.operand, scope)
        if isinstance(operand, tree.Literal):
            self._error(
                "P311",
                "a fixed value is asked for",
                operand.span,
                "this is no fact",
                'write the fact first: `pod.labels["app"] in ["a", "b"]`',
            )
            return None
        if operand is None:
            return None
        choices = tuple(self._value(choice, operand) for choice in node.choices)
        good = tuple(choice for choice in choices if choice is not None)
        return policy.Member(operand, good, node.span) if len(good) == len(choices) else None

    def _has(self, node: tree.Has, scope: Scope) -> policy.Condition | None:
        operand = node.operand
        name = dotted(operand) if isinstance(operand, tree.Path) else ""
        fact = FACT.get((Subject(operand.subject), name)) if isinstance(operand, tree.Path) else None
        plain = isinstance(operand, tree.Path) and operand.key is None and operand.argument is None
        if not isinstance(operand, tree.Path) or fact is None or fact.takes is not Takes.KEY or not plain:
            if isinstance(operand, tree.Path) and fact is None:
                self._paths.resolve(operand, scope)
                return None
            help_ = 'write `pod.labels has "KEY"`, with `*` for anything; for a value, `==` or `in`'
            self._error("P309", "`has` asks for a key", operand.span, "this has no keys", help_)
            return None
        if not self._paths.allowed(operand, fact, scope):
            return None
        if not node.pattern.value:
            self._error(
                "P309",
                "`has` asks for a key",
                node.pattern.span,
                "this is empty",
                'write the key: `has "app"`',
            )
            return None
        return policy.Has(fact.subject, name, node.pattern.value, node.span)

    def _bare(self, node: tree.Bare, scope: Scope) -> policy.Condition | None:
        operand = self._side(node.operand, scope)
        if operand is None:
            return None
        if isinstance(operand, policy.FactRef) and operand.kind is Kind.TRUTH:
            return policy.Truth(operand, node.span)
        kind = "a fixed value" if isinstance(operand, tree.Literal) else name_of(kind_of(operand))
        help_ = "compare it: `==`, `<=`, `in`, …"
        if isinstance(operand, tree.Literal):
            help_ = (
                'compare a fact with it: `node.zone == "a"`; for several values, `node.zone in ["a", "b"]`'
            )
        elif kind_of(operand) is not Kind.TEXT and not isinstance(operand, policy.BoundName):
            help_ = f"compare it: `<=`, `>`, …; to rank nodes by it, `prefer high {shown(operand)[1:-1]} weight N`"
        if isinstance(operand, policy.FactRef) and operand.path in ("labels", "annotations"):
            subject = operand.subject.value
            help_ = f'compare it, or ask whether it is there: `{subject}.{operand.path} has "{operand.key}"`'
        self._error("P306", "expected a condition", node.span, f"this is {kind}", help_)
        return None

    # ---- operands

    def quantity(self, operand: tree.Operand, scope: Scope) -> policy.FactRef | policy.Delay | None:
        """What ``prefer low|high`` ranks by: a number of the node."""
        checked = self._side(operand, scope)
        if checked is None:
            return None
        reason = ""
        if isinstance(checked, policy.BoundName) or (
            isinstance(checked, policy.FactRef) and checked.subject is Subject.POD
        ):
            reason = "it is the same for every node"
        elif not isinstance(checked, policy.Delay | policy.FactRef):
            reason = "it is a fixed value"
        elif isinstance(checked, policy.FactRef) and checked.kind in (Kind.TEXT, Kind.TRUTH):
            reason = f"it is {'a text' if checked.kind is Kind.TEXT else 'true or false'}"
        else:
            return checked
        self._error(
            "P308",
            "this ranks no nodes",
            operand.span,
            reason,
            "rank by a number of the node (`node.delay(…)`, `node.free.memory`, `node.pods`, …), or write "
            "`prefer CONDITION weight N`",
        )
        return None

    def label_of(self, operand: tree.Operand) -> str | None:
        """The key of the node label that a domain is made of."""
        if isinstance(operand, tree.Path) and operand.subject == "node":
            checked = self._paths.resolve(operand, NODE_SET)
            if isinstance(checked, policy.FactRef) and checked.path == "labels":
                return checked.key
            if checked is None:
                return None
            if isinstance(checked, policy.FactRef) and checked.path in ("zone", "region", "name"):
                name = "node" if checked.path == "name" else checked.path
                self._error(
                    "P408",
                    "a domain is made of a label",
                    operand.span,
                    "this is a fact",
                    f"the domain `{name}` is there already: use it by that name",
                )
                return None
        self._error(
            "P408",
            "a domain is made of a label of nodes",
            operand.span,
            "this is none",
            'write `domain NAME = node.labels["KEY"]`',
        )
        return None

    def _side(self, operand: tree.Operand, scope: Scope) -> _Placed | tree.Literal | None:
        """An operand, but literals as they are: what they mean depends on the other side."""
        if isinstance(operand, tree.Path):
            return self._paths.resolve(operand, scope)
        if not isinstance(operand, tree.Word):
            return operand
        if operand.text == scope.limit or scope.guess:
            return policy.BoundName(operand.text, Kind.DURATION, operand.span)
        if operand.text == scope.variable:
            self._error(
                "P206",
                f"`{operand.text}` has no value of its own",
                operand.span,
                "a name to measure from",
                f"write `node.delay({operand.text})`",
            )
            return None
        help_ = f'a text stands in quotes: `"{operand.text}"`'
        if operand.text in ("True", "TRUE", "False", "FALSE"):
            help_ = f"write `{operand.text.lower()}`"
        elif (known := next((f for f in FACTS if f.path == operand.text), None)) is not None:
            help_ = f"say whose it is: `{known.shown}`; {help_}"
        elif scope.limit is not None:
            help_ = f"this block binds `{scope.limit}`; {help_}"
        self._error("P206", f"nothing is called `{operand.text}` here", operand.span, "a bare name", help_)
        return None

    def _value(self, value: tree.Literal, other: _Placed) -> policy.Literal | None:
        """A fixed value that is compared with a fact."""
        kind = kind_of(other)
        if isinstance(value, tree.Number):
            if kind in (Kind.TEXT, Kind.TRUTH):
                found = kind_of_unit(unit_of(value.text)) or Kind.COUNT
                help_ = (
                    f'write it as a text: `"{value.text}"`'
                    if kind is Kind.TEXT
                    else "write `true` or `false`"
                )
                if kind is Kind.TEXT and found is Kind.DURATION:
                    help_ = _DELAY_LABELS
                self._error(
                    "P301",
                    f"{shown(other)} is {name_of(kind)}, not {name_of(found)}",
                    value.span,
                    f"expected {name_of(kind)}",
                    help_,
                )
                return None
            return self.number(value, kind)
        raw: str | bool = value.value
        found = Kind.TEXT if isinstance(value, tree.Text) else Kind.TRUTH
        if found is kind:
            text = f'"{raw}"' if isinstance(value, tree.Text) else str(raw).lower()
            return policy.Literal(raw, kind, text, value.span)
        help_ = ""
        if isinstance(raw, str) and raw[:1].isdigit() and kind is not Kind.TRUTH:
            help_ = f"write it without quotes: `{raw}`"
        elif found is Kind.TRUTH and kind is Kind.TEXT:
            help_ = f'write it as a text: `"{str(raw).lower()}"`'
        self._error(
            "P301",
            f"{shown(other)} is {name_of(kind)}, not {name_of(found)}",
            value.span,
            f"expected {name_of(kind)}",
            help_,
        )
        return None

    def number(self, number: tree.Number, kind: Kind | None) -> policy.Literal | None:
        """A number of a kind, or, where nothing asks for one, of the kind that its unit has."""
        checked = any_kind(number) if kind is None else literal(number, kind)
        if isinstance(checked, Diagnostic):
            self._report(checked)
            return None
        return checked

    def resource(self, word: tree.Word) -> None:
        """Reports a name that is no resource."""
        self._paths.resource(word)

    def _error(self, code: str, message: str, span: Span, label: str, help_: str = "") -> None:
        self._report(Diagnostic(code, message, span, label, help_))


def kind_of(operand: policy.Operand) -> Kind:
    """The kind of an operand."""
    return Kind.DURATION if isinstance(operand, policy.Delay) else operand.kind


def shown(operand: policy.Operand) -> str:
    """An operand as a sentence cites it."""
    match operand:
        case policy.Delay():
            return f"`node.delay({operand.origin if operand.bound else chr(34) + operand.origin + chr(34)})`"
        case policy.Literal():
            return f"`{operand.text}`"
        case policy.BoundName():
            return f"`{operand.name}`"
    key = ""
    if operand.key is not None:
        plain = f".{operand.key}" if operand.key in RESOURCES else f'."{operand.key}"'
        key = f'["{operand.key}"]' if FACT[operand.subject, operand.path].takes is Takes.KEY else plain
    return f"`{operand.subject.value}.{operand.path}{key}`"
