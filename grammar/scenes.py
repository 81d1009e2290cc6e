"""Checks the policy's own tests: what each makes, what it does, and whether what it expects can be told at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from grammar import policy, tree
from grammar.conditions import Conditions
from grammar.diagnostic import Diagnostic, Note
from grammar.facts import RESOURCES, resource_kind
from grammar.labels import (
    DNS_LABEL,
    DNS_SUBDOMAIN,
    MAX_DELAY_MS,
    key_warning,
    possible_key,
    value_warning,
)
from grammar.policy import Kind
from grammar.policy_tests import After, Expect, LoseNode, SceneNode, ScenePod, Test, TestStep
from grammar.span import Span
from grammar.suggest import did_you_mean, listed
from grammar.symbols import Symbols

Report = Callable[[Diagnostic], None]


@dataclass(slots=True)
class _Said:
    """What is said of a node or pod, each thing once, in the order of its lines."""

    labels: dict[str, str] = field(default_factory=dict)
    delays: dict[str, float] = field(default_factory=dict)
    amounts: dict[str, str] = field(default_factory=dict)
    namespace: str = "default"


@dataclass(slots=True)
class _Story:
    """A test as far as it has been told: what it has made, where, and what it says of pods right now."""

    made: dict[str, dict[str, Span]] = field(default_factory=lambda: {"node": {}, "pod": {}})
    later: dict[str, dict[str, Span]] = field(default_factory=lambda: {"node": {}, "pod": {}})
    lost: dict[str, Span] = field(default_factory=dict)
    expected: dict[str, tree.Expect] = field(default_factory=dict)


class Tests:
    """Checks tests against the declared names, and reports what is wrong with them.

    ``warnings`` are told apart: they must not keep the policy from being looked at as a whole.
    """

    __test__ = False  # for pytest, which takes it for one of its own

    def __init__(self, symbols: Symbols, conditions: Conditions, report: Report) -> None:
        self._symbols, self._conditions, self._report = symbols, conditions, report
        self._first: dict[str, Span] = {}
        self.warnings: list[Diagnostic] = []

    def test(self, node: tree.Test) -> Test:
        """The checked test; where something is wrong with it, without that."""
        text = node.text.value if node.text is not None else ""
        if node.text is not None and text in self._first:
            self._error(
                "P601",
                f"two tests are called `{text}`",
                node.text.span,
                "the second one",
                "say in each what it shows: a failure is told by the name of its test",
                (Note(self._first[text], "the first one"),),
            )
        elif node.text is not None:
            self._first[text] = node.text.span
        story = _Story()
        for step in node.steps:
            if isinstance(step, tree.Scene):
                story.later[step.kind].setdefault(step.name.text, step.name.span)
        checked = tuple(each for step in node.steps for each in self._step(step, story))
        if node.whole:
            self._asserts(node, text)
        return Test(text, checked, node.span)

    def _asserts(self, node: tree.Test, text: str) -> None:
        """Whether the test, of which every line is known, expects anything, and that at its end."""
        last = max(
            (place for place, step in enumerate(node.steps) if isinstance(step, tree.Expect)), default=None
        )
        if last is None:
            self._error(
                "P605",
                f"test `{text}` expects nothing",
                node.span,
                "passes whatever happens",
                "write where a pod is to be: `expect POD on NODE`, or `expect POD pending`",
            )
        elif last + 1 < len(node.steps):
            self._idle(
                "nothing is expected after this",
                node.steps[last + 1].span,
                "is not looked at",
                "take it out, or write what is expected then",
            )

    # ---- steps

    def _step(self, step: tree.TestStep, story: _Story) -> Iterator[TestStep]:
        if not isinstance(step, tree.Expect):
            story.expected.clear()
        match step:
            case tree.Scene(kind="node"):
                said = self._scene(step, story)
                labels, delays = tuple(said.labels.items()), tuple(said.delays.items())
                yield SceneNode(step.name.text, labels, delays, tuple(said.amounts.items()), step.span)
            case tree.Scene():
                said = self._scene(step, story)
                labels, amounts = tuple(said.labels.items()), tuple(said.amounts.items())
                yield ScenePod(step.name.text, said.namespace, labels, amounts, step.span)
            case tree.After():
                duration = self._conditions.number(step.duration, Kind.DURATION)
                if duration is not None:
                    self._passes(float(duration.value), step)
                    yield After(float(duration.value), step.span)
            case tree.Lose():
                if self._known("node", step.node, story):
                    self._loses(step.node, story)
                    yield LoseNode(step.node.text, step.span)
            case tree.Expect():
                yield from self._expect(step, story)

    def _passes(self, ms: float, step: tree.After) -> None:
        if not ms:
            self._idle("no time passes", step.span, "nothing happens", "take it out, or write such as `30s`")

    def _loses(self, node: tree.Word, story: _Story) -> None:
        first = story.lost.setdefault(node.text, node.span)
        if first != node.span:
            self._idle(
                f"node `{node.text}` is lost already",
                node.span,
                "the second time",
                "keep one of them: nothing brings a node back",
                (Note(first, "lost here"),),
            )

    def _expect(self, step: tree.Expect, story: _Story) -> Iterator[Expect]:
        right = self._known("pod", step.pod, story)
        if step.node is not None:
            right = self._known("node", step.node, story) and right
        if step.because is not None:
            right = self._reason(step.because, step) and right
        before = story.expected.setdefault(step.pod.text, step)
        if before is not step and before.node != step.node:
            self._error(
                "P608",
                f"pod `{step.pod.text}` cannot be in two places",
                step.span,
                "no time has passed",
                "take one of them out, or write `after 30s` between them",
                (Note(before.span, "expected elsewhere"),),
            )
        elif before is not step and before.because == step.because:
            self._idle(
                "this is expected already",
                step.span,
                "the second time",
                "keep one of them, or write `after 30s` between them",
                (Note(before.span, "expected here"),),
            )
        if right:
            node = step.node.text if step.node is not None else None
            because = step.because.text if step.because is not None else None
            yield Expect(step.pod.text, node, because, step.span)

    def _reason(self, word: tree.Word, step: tree.Expect) -> bool:
        found = self._symbols.reason(word)
        if found == "heal" and step.node is None:
            self._error(
                "P609",
                f"heal `{word.text}` keeps no pod pending",
                word.span,
                "refuses no node",
                "write the rule that refuses the nodes; a heal is the reason for where a pod was moved to",
            )
            return False
        return found is not None

    def _known(self, kind: str, word: tree.Word, story: _Story) -> bool:
        """Whether the test has made a node or pod of that name by now."""
        made = story.made[kind]
        if word.text in made:
            return True
        below = story.later[kind].get(word.text)
        if below is not None:
            self._error(
                "P603",
                f"there is no {kind} `{word.text}` yet",
                word.span,
                "not made so far",
                "make it before: the lines of a test are taken in their order",
                (Note(below, "made here"),),
            )
            return False
        others = f"the {kind}s so far are" if len(made) > 1 else f"the only {kind} so far is"
        help_ = did_you_mean(word.text, made, others) or f"make it before: `{kind} {word.text} {{ … }}`"
        self._error("P603", f"this test has no {kind} `{word.text}`", word.span, "not made", help_)
        return False

    # ---- nodes and pods

    def _scene(self, node: tree.Scene, story: _Story) -> _Said:
        name = node.name
        self._named(name, f"a {node.kind}", DNS_SUBDOMAIN, 253)
        first = story.made[node.kind].setdefault(name.text, name.span)
        if first != name.span:
            self._error(
                "P602",
                f"two {node.kind}s are called `{name.text}`",
                name.span,
                "the second one",
                f"give each {node.kind} of a test a name of its own"
                + (", whatever its namespace" if node.kind == "pod" else ""),
                (Note(first, "the first one"),),
            )
        said, seen = _Said(), dict[tuple[str, str], Span]()
        for each in node.attributes:
            key = policy.BUILTIN_LABELS.get(each.kind) or (each.key.text if each.key is not None else "")
            kind = "label" if each.kind in policy.BUILTIN_LABELS else each.kind
            before = seen.setdefault((kind, key), each.span)
            if before != each.span:
                self._error(
                    "P606",
                    f"{_thing(kind, key)} of {node.kind} `{name.text}` is given twice",
                    each.span,
                    "the second time",
                    "keep one of them",
                    (Note(before, "the first time"),),
                )
            else:
                self._attribute(each, key, node, said)
        return said

    def _attribute(self, each: tree.Attribute, key: str, node: tree.Scene, said: _Said) -> None:
        if isinstance(each.value, tree.Number):
            if each.kind == "delay":
                self._delay(each.value, key, each, node, said)
            else:
                self._amount(each.value, key, each, said)
        elif each.kind == "namespace":
            word = tree.Word(each.value.value, each.value.span)
            if self._named(word, "a namespace", DNS_LABEL, 63):
                said.namespace = word.text
        else:
            if each.key is not None:
                self.warnings += key_warning(key, each.key.span)
            self.warnings += value_warning(each.value.value, each.value.span)
            said.labels[key] = each.value.value

    def _delay(
        self, number: tree.Number, to: str, each: tree.Attribute, node: tree.Scene, said: _Said
    ) -> None:
        delay = self._conditions.number(number, Kind.DURATION)
        if delay is None:
            return
        if float(delay.value) > MAX_DELAY_MS:
            self._error(
                "P305",
                f"`{number.text}` is too long for a round trip",
                number.span,
                f"at most {MAX_DELAY_MS // 60_000}min",
                "leave the line out where the delay is not measured",
            )
            return
        said.delays[to] = float(delay.value)
        if to == node.name.text:
            self._idle(
                "a node is 0 ms from itself",
                each.span,
                "says nothing",
                "take it out, or name another node, a workload or a zone",
            )

    def _amount(self, number: tree.Number, resource: str, each: tree.Attribute, said: _Said) -> None:
        """An amount, as Kubernetes writes it: the language's units are its suffixes."""
        if resource not in RESOURCES and not ("/" in resource and possible_key(resource)):
            span = each.key.span if each.key is not None else each.span
            self._error(
                "P307",
                f"no such resource: `{resource}`",
                span,
                "not a resource",
                f'write {listed(RESOURCES)}, or an extended resource by its full name: `"nvidia.com/gpu"`',
            )
            return
        amount = self._conditions.number(number, resource_kind(resource))
        if amount is None:
            return
        if amount.kind is not Kind.COUNT:
            said.amounts[resource] = amount.text
        elif int(amount.value) < 0:
            self._error("P305", "an amount is never negative", number.span, "below zero", "")
        else:
            said.amounts[resource] = str(amount.value)

    def _named(self, word: tree.Word, what: str, form: re.Pattern[str], most: int) -> bool:
        if len(word.text) <= most and form.fullmatch(word.text):
            return True
        dots = " and `.`" if form is DNS_SUBDOMAIN else ""
        meant = word.text.lower().replace("_", "-")
        help_ = f"write `{meant}`: there are only small letters, digits, `-`{dots}"
        if len(meant) > most or not form.fullmatch(meant):
            help_ = (
                f"write small letters, digits, `-`{dots}, at most {most}, with a letter or digit at both ends"
            )
        self._error(
            "P607", f"{what} cannot be called `{word.text}`", word.span, "Kubernetes does not allow it", help_
        )
        return False

    # ---- common

    def _idle(self, message: str, span: Span, label: str, help_: str, related: tuple[Note, ...] = ()) -> None:
        self.warnings.append(Diagnostic("P435", message, span, label, help_, related))

    def _error(
        self, code: str, message: str, span: Span, label: str, help_: str, related: tuple[Note, ...] = ()
    ) -> None:
        self._report(Diagnostic(code, message, span, label, help_, related))


def _thing(kind: str, key: str) -> str:
    match kind:
        case "namespace":
            return "the namespace"
        case "amount":
            return f"the {key}" if key in RESOURCES else f"the `{key}`"
        case "delay":
            return f"the delay to `{key}`"
        case _:
            return f"the label `{key}`"
