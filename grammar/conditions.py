"""Checks conditions: every name in them is known, every unit there, and only like is compared with like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from grammar import policy, tree
from grammar.diagnostic import Diagnostic, Note
from grammar.facts import FACT, FACTS, RESOURCES, Fact, Takes, resource_kind
from grammar.policy import Kind, Operator, Subject
from grammar.span import Span
from grammar.suggest import did_you_mean, listed
from grammar.units import any_kind, kind_of_unit, literal, name_of, unit_of

Report = Callable[[Diagnostic], None]
_Placed = policy.FactRef | policy.Delay | policy.BoundName

_ELSEWHERE = {
    "latency": "node.delay(from)", "rtt": "node.delay(from)", "ping": "node.delay(from)",
    "hostname": "node.name", "uid": "pod.name", "role": 'node.labels["kubernetes.io/role"]',
    "app": 'pod.labels["app"]', "capacity": "node.allocatable.cpu", "available": "node.free.cpu",
    "request": "pod.requests.cpu", "limits": "pod.requests.cpu", "ns": "pod.namespace", "kind": "pod.owner.kind",
}  # fmt: skip
"""What people look for under other names."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a condition stands, and so what it may ask.

    ``variable`` and ``limit`` are what an enclosing ``for each`` binds; where its header did not parse, ``guess`` is
    true and any bare name passes. ``counted_by`` is the statement that counts the pods which this condition chooses.
    """

    nodes: bool
    pods: bool
    what: str
    variable: str | None = None
    limit: str | None = None
    guess: bool = False
    counted_by: Span | None = None


NODE_SET = Scope(nodes=True, pods=False, what="a set of nodes")
HEADER = Scope(nodes=False, pods=True, what="the choice of pods")
BODY = Scope(nodes=True, pods=True, what="a statement")


class Conditions:
    """Checks conditions and operands, and reports what is wrong with them."""

    def __init__(self, report: Report) -> None:
        self._report = report

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
        name = _dotted(operand) if isinstance(operand, tree.Path) else ""
        fact = FACT.get((Subject(operand.subject), name)) if isinstance(operand, tree.Path) else None
        plain = isinstance(operand, tree.Path) and operand.key is None and operand.argument is None
        if not isinstance(operand, tree.Path) or fact is None or fact.takes is not Takes.KEY or not plain:
            if isinstance(operand, tree.Path) and fact is None:
                self._path(operand, scope)
                return None
            help_ = 'write `pod.labels has "KEY"`, with `*` for anything; for a value, `==` or `in`'
            self._error("P309", "`has` asks for a key", operand.span, "this has no keys", help_)
            return None
        if not self._allowed(operand, fact, scope):
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
            checked = self._path(operand, NODE_SET)
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
            return self._path(operand, scope)
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
        if word.text not in RESOURCES:
            self._error(
                "P307",
                f"no such resource: `{word.text}`",
                word.span,
                "not a resource",
                did_you_mean(word.text, RESOURCES, "write"),
            )

    # ---- paths

    def _path(self, path: tree.Path, scope: Scope) -> policy.FactRef | policy.Delay | None:
        subject = Subject(path.subject)
        name = _dotted(path)
        fact = FACT.get((subject, name))
        head = path.segments[0]
        first = head.text if isinstance(head, tree.Word) else ""
        if fact is None and (subject, first) in FACT:
            fact = FACT[subject, first]
            if fact.takes is not Takes.RESOURCE or len(path.segments) > 2:
                self._wrong_shape(path, fact)
                return None
        if fact is None:
            self._unknown(path, subject, name)
            return None
        if not self._allowed(path, fact, scope):
            return None
        match fact.takes:
            case Takes.ORIGIN:
                return self._delay(path, fact, scope)
            case Takes.RESOURCE:
                return self._resource(path, fact)
            case Takes.KEY:
                if path.key is None or not path.key.value or path.argument is not None:
                    self._wrong_shape(path, fact)
                    return None
                return policy.FactRef(subject, name, Kind.TEXT, path.key.value, path.span)
            case Takes.NOTHING:
                if path.key is not None or path.argument is not None:
                    self._wrong_shape(path, fact)
                    return None
                assert fact.kind is not None
                return policy.FactRef(subject, name, fact.kind, None, path.span)

    def _resource(self, path: tree.Path, fact: Fact) -> policy.FactRef | None:
        if len(path.segments) != 2 or path.key is not None or path.argument is not None:
            self._wrong_shape(path, fact)
            return None
        segment = path.segments[1]
        resource = segment.text if isinstance(segment, tree.Word) else segment.value
        quoted = isinstance(segment, tree.Text)
        if not resource or (not quoted and resource not in RESOURCES):
            known = did_you_mean(resource, RESOURCES, "") if len(resource) > 3 else ""
            full = f'`{fact.subject.value}.{fact.path}."nvidia.com/gpu"`'
            help_ = f"write {listed(RESOURCES)}, or an extended resource by its full name: {full}"
            self._error(
                "P307",
                f"no such resource: `{resource}`",
                segment.span,
                "not a resource",
                known if known.startswith("did") else help_,
            )
            return None
        return policy.FactRef(
            fact.subject, fact.path, fact.kind or resource_kind(resource), resource, path.span
        )

    def _delay(self, path: tree.Path, fact: Fact, scope: Scope) -> policy.Delay | None:
        argument = path.argument
        if argument is None or path.key is not None:
            self._wrong_shape(path, fact)
            return None
        if isinstance(argument, tree.Text):
            if not argument.value:
                self._wrong_shape(path, fact)
                return None
            return policy.Delay(argument.value, False, path.span)
        if argument.text == scope.variable or scope.guess:
            return policy.Delay(argument.text, True, path.span)
        help_ = f'the name of a node, workload or zone stands in quotes: `node.delay("{argument.text}")`'
        if scope.variable is not None:
            help_ = f"did you mean `{scope.variable}`? {help_}"
        self._error("P206", f"nothing is called `{argument.text}` here", argument.span, "a bare name", help_)
        return None

    def _allowed(self, path: tree.Path, fact: Fact, scope: Scope) -> bool:
        asked = path.span
        if fact.takes is Takes.ORIGIN and not scope.pods:
            self._error(
                "P401",
                f"{scope.what} cannot ask for a delay",
                asked,
                "depends on the pod",
                "what a delay is measured from may be a workload of the pod's namespace: use it in a rule",
            )
        elif fact.subject is Subject.POD and not scope.pods:
            self._error(
                "P401",
                f"{scope.what} cannot ask about a pod",
                asked,
                "a fact of the pod",
                "a set has the same nodes for every pod: compare pod and node in a rule",
            )
        elif fact.subject is Subject.NODE and not scope.nodes:
            self._error(
                "P402",
                f"{scope.what} cannot ask about a node",
                asked,
                "a fact of the node",
                "which pods are meant is settled before any node is: use `require` in a rule",
            )
        elif scope.counted_by is not None and fact.changing:
            why = (
                "a count over the cluster would change without any event, while the pods stay where they are"
            )
            self._report(
                Diagnostic(
                    "P403",
                    f"pods cannot be counted by `{fact.shown}`",
                    asked,
                    "changes while the pod runs",
                    f"{why}: choose them by what is fixed, such as a label",
                    (Note(scope.counted_by, "counted here"),),
                )
            )
        else:
            return True
        return False

    def _wrong_shape(self, path: tree.Path, fact: Fact) -> None:
        subject = fact.subject.value
        examples = {
            Takes.NOTHING: f"`{subject}.{fact.path}`",
            Takes.KEY: f'`{subject}.{fact.path}["KEY"]`',
            Takes.RESOURCE: f"`{subject}.{fact.path}.cpu`",
            Takes.ORIGIN: '`node.delay(from)` in a `for each`, or `node.delay("a-name")`',
        }
        wanted = {
            Takes.NOTHING: "takes nothing",
            Takes.KEY: "takes a key",
            Takes.RESOURCE: "takes a resource",
            Takes.ORIGIN: "takes a name to measure from",
        }
        example = examples[fact.takes]
        if fact.takes is Takes.KEY and len(path.segments) == 2:
            rest = path.segments[1]
            key = rest.text if isinstance(rest, tree.Word) else rest.value
            example = f'`{subject}.{fact.path}["{key}"]`'
        elif fact.takes is Takes.RESOURCE and path.key is not None and len(path.segments) == 1:
            key = path.key.value
            example = f"`{subject}.{fact.path}.{key if key in RESOURCES else chr(34) + key + chr(34)}`"
        self._error(
            "P307",
            f"`{subject}.{fact.path}` {wanted[fact.takes]}",
            path.span,
            "not like this",
            f"write {example}",
        )

    def _unknown(self, path: tree.Path, subject: Subject, name: str) -> None:
        first = path.segments[0]
        word = first.text if isinstance(first, tree.Word) else first.value
        who = subject.value
        known = sorted({fact.path for fact in FACTS if fact.subject is subject})
        other = Subject.POD if subject is Subject.NODE else Subject.NODE
        if word in RESOURCES:
            amounts = [f"{fact.subject.value}.{fact.path}.{word}" for fact in FACTS
                       if fact.takes is Takes.RESOURCE and fact.subject is subject]  # fmt: skip
            help_ = f"write {listed(amounts)}"
        elif (other, name) in FACT or (other, word) in FACT:
            help_ = f"a {other.value} has it: `{other.value}.{name}`"
        elif word in _ELSEWHERE and _ELSEWHERE[word].startswith(who):
            help_ = f"write `{_ELSEWHERE[word]}`"
        else:
            help_ = did_you_mean(name, known, f"a {who} has")
            if help_.startswith("did"):
                help_ = help_.replace("`", f"`{who}.", 1)
        self._error("P203", f"no such fact: `{who}.{name}`", path.span, f"a {who} has no such fact", help_)

    def _error(self, code: str, message: str, span: Span, label: str, help_: str = "") -> None:
        self._report(Diagnostic(code, message, span, label, help_))


def _dotted(path: tree.Path) -> str:
    return ".".join(part.text if isinstance(part, tree.Word) else f'"{part.value}"' for part in path.segments)


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
