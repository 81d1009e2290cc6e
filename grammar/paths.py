"""Resolves paths (``node.free.cpu``, ``pod.labels["k"]``, ``node.delay(from)``) to the facts of `grammar.facts`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from grammar import policy, tree
from grammar.diagnostic import Diagnostic, Note
from grammar.facts import FACT, FACTS, RESOURCES, Fact, Takes, resource_kind
from grammar.policy import Kind, Subject
from grammar.span import Span
from grammar.suggest import did_you_mean, listed

Report = Callable[[Diagnostic], None]

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


class Paths:
    """Resolves paths, and reports those that lead nowhere or may not be asked where they stand."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def resolve(self, path: tree.Path, scope: Scope) -> policy.FactRef | policy.Delay | None:
        """The fact that a path leads to; None, and a report, where it leads to none that may be asked here."""
        subject = Subject(path.subject)
        name = dotted(path)
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
        if not self.allowed(path, fact, scope):
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

    def allowed(self, path: tree.Path, fact: Fact, scope: Scope) -> bool:
        """Whether a fact may be asked in a scope; if not, it is reported."""
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
        labels = {
            Takes.NOTHING: "nothing follows it",
            Takes.KEY: "the key stands in brackets",
            Takes.RESOURCE: "the resource stands after a `.`",
            Takes.ORIGIN: "the name stands in parentheses",
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
            labels[fact.takes],
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

    def _error(self, code: str, message: str, span: Span, label: str, help_: str = "") -> None:
        self._report(Diagnostic(code, message, span, label, help_))


def dotted(path: tree.Path) -> str:
    """The path after its subject, as written."""
    return ".".join(part.text if isinstance(part, tree.Word) else f'"{part.value}"' for part in path.segments)
