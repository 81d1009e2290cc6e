"""Checks the statements of rules."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from grammar import policy, tree
from grammar.conditions import Conditions
from grammar.diagnostic import Diagnostic, Note
from grammar.paths import BODY, HEADER, Scope
from grammar.policy import Bound, Kind
from grammar.span import Span
from grammar.symbols import Symbols
from grammar.units import Bounds, whole

WEIGHT = Bounds(1, 100, "a weight")
SKEW = Bounds(1, 10_000, "a skew")
DOMAINS = Bounds(1, 10_000, "a number of domains")
PODS = Bounds(0, 1_000_000, "a number of pods")

_PATTERN = re.compile(r"([^{}]*)\{([A-Za-z_](?:[\w-]*\w)?)\}([^{}]*)")


def counts_the_rule(body: tuple[tree.Statement, ...]) -> Span | None:
    """The first statement that counts the pods which the rule itself selects."""
    for statement in body:
        own = isinstance(statement, tree.Cardinality) and statement.counted is None
        if own or isinstance(statement, tree.Spread | tree.Together):
            return statement.span
    return None


class Statements:
    """Checks statements against the declared names, and reports what is wrong with them."""

    def __init__(
        self, symbols: Symbols, conditions: Conditions, report: Callable[[Diagnostic], None]
    ) -> None:
        self._symbols, self._conditions, self._report = symbols, conditions, report

    def body(self, body: tuple[tree.Statement, ...], rule: str) -> tuple[policy.Statement, ...]:
        """The statements of a rule that are right."""
        return self._all(body, rule, BODY)

    def _all(self, body: tuple[tree.Statement, ...], rule: str, scope: Scope) -> tuple[policy.Statement, ...]:
        checked = (self._statement(statement, rule, scope) for statement in body)
        return tuple(statement for statement in checked if statement is not None)

    def _statement(self, node: tree.Statement, rule: str, scope: Scope) -> policy.Statement | None:
        repeated = scope is not BODY and not scope.guess
        if repeated and not isinstance(node, tree.Require | tree.Prefer | tree.PreferScaled):
            self._report(
                Diagnostic(
                    "P405",
                    "`for each` cannot repeat this",
                    node.span,
                    "says the same for every label",
                    "put it in the rule, outside the block",
                )
            )
            return None
        match node:
            case tree.Require():
                condition = self._conditions.condition(node.condition, scope)
                return None if condition is None else policy.Require(condition, node.forbid, node.span)
            case tree.Prefer():
                condition = self._conditions.condition(node.condition, scope)
                weight = self._number(node.weight, WEIGHT)
                if condition is None or weight is None:
                    return None
                return policy.Prefer(condition, weight, node.avoid, node.span)
            case tree.PreferScaled():
                quantity = self._conditions.quantity(node.quantity, scope)
                weight = self._number(node.weight, WEIGHT)
                if quantity is None or weight is None:
                    return None
                return policy.PreferScaled(quantity, weight, node.low, node.span)
            case tree.PreferCurrent():
                weight = self._number(node.weight, WEIGHT)
                return None if weight is None else policy.PreferCurrent(weight, node.span)
            case tree.ForEach():
                return self._for_each(node, rule)
            case tree.Spread():
                return self._spread(node)
            case tree.Cardinality():
                return self._cardinality(node)
            case tree.Together():
                domain = self._symbols.domain(node.domain)
                weight = self._optional(node.weight, WEIGHT)
                return None if domain is None else policy.Together(domain, weight, node.span)
            case tree.Try():
                return self._try(node, rule)

    # ---- single statements

    def _for_each(self, node: tree.ForEach, rule: str) -> policy.Statement | None:
        if node.pattern is None or node.limit is None:
            self._all(node.body, rule, replace(BODY, guess=True))
            return None
        match = _PATTERN.fullmatch(node.pattern.value)
        problem = ""
        if match is None:
            problem = "has to have one name in braces"
        elif not match[1] and not match[3]:
            problem = "fits every label of a pod"
        elif match[2] == node.limit.text:
            problem = f"binds `{match[2]}`, and so does `as {node.limit.text}`"
        if match is None or problem:
            self._report(
                Diagnostic(
                    "P404",
                    f"the pattern {problem}",
                    node.pattern.span,
                    "",
                    'write what is fixed, and a name in braces for the rest: `"delay_{from}"`',
                )
            )
            self._all(node.body, rule, replace(BODY, guess=True))
            return None
        prefix, variable, suffix = match.groups()
        scope = replace(BODY, variable=variable, limit=node.limit.text)
        body = self._all(node.body, rule, scope)
        return policy.ForEachLabel(prefix, variable, suffix, node.limit.text, body, node.span)

    def _spread(self, node: tree.Spread) -> policy.Statement | None:
        domain = self._symbols.domain(node.domain)
        weight = self._optional(node.weight, WEIGHT)
        values: dict[str, int | None] = {}
        first: dict[str, Span] = {}
        for option in node.options:
            if option.name in first:
                self._report(
                    Diagnostic(
                        "P409",
                        f"`{option.name}` is there twice",
                        option.span,
                        "the second time",
                        "keep one of them",
                        (Note(first[option.name], "the first time"),),
                    )
                )
                continue
            first[option.name] = option.span
            values[option.name] = self._number(option.number, SKEW if option.name == "skew" else DOMAINS)
        for name, span in first.items() if node.weight is not None else ():
            self._report(
                Diagnostic(
                    "P410",
                    f"a soft spread has no `{name}`",
                    span,
                    "only a hard spread has it",
                    "take it out, or write `spread over …` without `prefer` and `weight`",
                )
            )
        skew = values.get("skew", 1)
        if domain is None or skew is None:
            return None
        return policy.Spread(domain, skew, values.get("domains"), weight, node.span)

    def _cardinality(self, node: tree.Cardinality) -> policy.Statement | None:
        domain = self._symbols.domain(node.domain)
        weight = self._optional(node.weight, WEIGHT)
        bound = Bound(node.bound)
        bounds = PODS if bound is Bound.AT_MOST else replace(PODS, least=1)
        number = self._number(node.number, bounds)
        counted: policy.Condition | None = None
        if node.counted is not None:
            scope = replace(HEADER, what="a count of pods", counted_by=node.span)
            counted = self._conditions.condition(node.counted, scope)
            if counted is None:
                return None
        elif number == 0:
            self._report(
                Diagnostic(
                    "P407",
                    "no pod of the rule could be placed",
                    node.number.span,
                    "the pod itself counts",
                    "write at least 1, or say which other pods count: `at most 0 per … of pods where …`",
                )
            )
            return None
        if domain is None or number is None:
            return None
        return policy.Cardinality(bound, number, domain, counted, weight, node.span)

    def _try(self, node: tree.Try, rule: str) -> policy.Statement | None:
        steps: list[policy.Step] = []
        for step in node.steps:
            known = self._symbols.node_set(step.nodes)
            after = self._conditions.number(step.after, Kind.DURATION) if step.after is not None else None
            waiving = self._waiving(step, rule)
            if known:
                delay = float(after.value) if after is not None else 0.0
                steps.append(policy.Step(step.nodes.text, delay, waiving, step.span))
        return policy.Try(tuple(steps), node.span) if len(steps) == len(node.steps) else None

    def _waiving(self, step: tree.Step, rule: str) -> tuple[str, ...]:
        first: dict[str, Span] = {}
        for word in step.waiving:
            if word.text == rule:
                self._report(
                    Diagnostic(
                        "P406",
                        f"`{rule}` waives itself",
                        word.span,
                        "this very rule",
                        "put the requirements that may be waived in a rule of their own, and name that one",
                    )
                )
            elif word.text in first:
                self._report(
                    Diagnostic(
                        "P409",
                        f"`{word.text}` is waived twice",
                        word.span,
                        "the second time",
                        "keep one of them",
                        (Note(first[word.text], "the first time"),),
                    )
                )
            elif self._symbols.rule(word):
                first[word.text] = word.span
        return tuple(first)

    # ---- numbers

    def _number(self, number: tree.Number, bounds: Bounds) -> int | None:
        checked = whole(number, bounds)
        if isinstance(checked, Diagnostic):
            self._report(checked)
            return None
        return checked

    def _optional(self, number: tree.Number | None, bounds: Bounds) -> int | None:
        return None if number is None else self._number(number, bounds)
