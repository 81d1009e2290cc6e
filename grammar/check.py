"""Syntax trees to the checked policy: names over all files, then each declaration, then what they mean together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from grammar import policy, tree
from grammar.analysis import analyse
from grammar.conditions import Conditions
from grammar.diagnostic import Diagnostic
from grammar.paths import HEADER, NODE_SET
from grammar.policy import Kind
from grammar.statements import Statements, counts_the_rule
from grammar.symbols import Symbols
from grammar.units import Bounds, whole

_NOT_YET = {
    "reserve": ("P901", "nothing would be held back"),
    "heal": ("P902", "nothing would be moved"),
    "test": ("P903", "nothing would be tested"),
}


class _Checker:
    def __init__(self, files: tuple[tree.File, ...]) -> None:
        self._files = files
        self.diagnostics: list[Diagnostic] = []
        self._symbols = Symbols(files, self._report)
        self._conditions = Conditions(self._report)
        self._statements = Statements(self._symbols, self._conditions, self._report)

    def run(self, whole_files: bool) -> policy.CheckedPolicy | None:
        """The policy; None where there is an error."""
        node_sets: list[policy.NodeSet] = []
        rules: list[policy.Rule] = []
        complete: list[policy.Rule] = []
        for declaration in (each for file in self._files for each in file.declarations):
            match declaration:
                case tree.NodeSet():
                    condition = self._conditions.condition(declaration.condition, NODE_SET)
                    if condition is not None:
                        node_sets.append(
                            policy.NodeSet(declaration.name.text, condition, declaration.name.span)
                        )
                case tree.Domain():
                    self._domain(declaration)
                case tree.Rule():
                    before = len(self.diagnostics)
                    rule = self._rule(declaration)
                    rules.append(rule)
                    if declaration.whole and len(self.diagnostics) == before:
                        complete.append(rule)
                case tree.Deferred():
                    self._deferred(declaration)
        domains = tuple(self._symbols.checked_domains())
        clean = whole_files and not self.diagnostics
        checked = policy.CheckedPolicy(tuple(node_sets), domains, tuple(rules if clean else complete))
        self.diagnostics += analyse(checked, self._symbols.used if clean else None)
        return checked if clean else None

    def _report(self, diagnostic: Diagnostic) -> None:
        self.diagnostics.append(diagnostic)

    def _domain(self, node: tree.Domain) -> None:
        label = self._conditions.label_of(node.value)
        if label is not None:
            self._symbols.define_domain(policy.Domain(node.name.text, label, node.name.span))

    def _rule(self, node: tree.Rule) -> policy.Rule:
        condition: policy.Condition | None = None
        if node.condition is not None:
            scope = replace(HEADER, counted_by=counts_the_rule(node.body))
            condition = self._conditions.condition(node.condition, scope)
        statements = self._statements.body(node.body, node.name.text)
        return policy.Rule(node.name.text, condition, statements, node.span)

    # ---- what waits for the engine

    def _deferred(self, node: tree.Deferred) -> None:
        code, otherwise = _NOT_YET[node.kind]
        self._report(
            Diagnostic(
                code,
                f"`{node.kind}` cannot be carried out yet",
                node.span,
                otherwise,
                "take the block out for now: a policy that asks for it does not take effect",
            )
        )
        if node.condition is not None:
            self._conditions.condition(node.condition, HEADER)
        for line in (*((node.header,) if node.header else ()), *node.body):
            self._deferred_line(line)

    def _deferred_line(self, line: tree.DeferredLine) -> None:
        match line.kind:
            case "node_lost" | "node_draining" | "pod_unschedulable" | "broken_rule":
                for name in line.names:
                    self._symbols.rule(name)
                self._conditions.number(line.numbers[0], Kind.DURATION)
            case "survive":
                self._count(line.numbers[0], "a loss")
                self._symbols.domain(line.names[0])
            case "hold_when":
                self._conditions.number(line.numbers[0], Kind.PERCENT)
                self._symbols.domain(line.names[0])
            case "reserve_limit":
                self._conditions.number(line.numbers[0], Kind.PERCENT)
                self._conditions.resource(line.names[0])
            case "move":
                for number in line.numbers:
                    self._conditions.number(number, Kind.PERCENT)
            case "move_limit":
                self._count(line.numbers[0], "a number of moves")
                self._conditions.number(line.numbers[1], Kind.DURATION)
            case "relocate":
                self._count(line.numbers[0], "a number of pods")

    def _count(self, number: tree.Number, what: str) -> None:
        checked = whole(number, Bounds(1, 1_000_000, what))
        if isinstance(checked, Diagnostic):
            self._report(checked)


def check(
    files: Iterable[tree.File], whole_files: bool
) -> tuple[policy.CheckedPolicy | None, tuple[Diagnostic, ...]]:
    """Checks a policy set.

    Args:
        files: Its syntax trees; their order does not matter.
        whole_files: Whether all of them parsed without an error. If not, there is no policy, and no conclusions are
            drawn from what seems to be missing.

    Returns:
        The policy without its sources, or None where anything is wrong, and what was found.
    """
    checker = _Checker(tuple(sorted(files, key=lambda file: file.name)))
    checked = checker.run(whole_files)
    return checked, tuple(checker.diagnostics)
