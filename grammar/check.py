"""Syntax trees to the checked policy: names over all files, then each declaration, then what they mean together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from grammar import policy, tree
from grammar.analysis import analyse
from grammar.blocks import Blocks
from grammar.conditions import Conditions
from grammar.diagnostic import Diagnostic
from grammar.healing import heal_errors
from grammar.paths import HEADER, NODE_SET
from grammar.policy_tests import Test
from grammar.scenes import Tests
from grammar.statements import Statements, counts_the_rule
from grammar.symbols import Symbols


class _Checker:
    def __init__(self, files: tuple[tree.File, ...]) -> None:
        self._files = files
        self.diagnostics: list[Diagnostic] = []
        self._symbols = Symbols(files, self._report)
        self._conditions = Conditions(self._report)
        self._statements = Statements(self._symbols, self._conditions, self._report)
        self._blocks = Blocks(self._symbols, self._conditions, self._report)
        self._tests = Tests(self._symbols, self._conditions, self._report)

    def run(self, whole_files: bool) -> policy.CheckedPolicy | None:
        """The policy; None where there is an error."""
        node_sets: list[policy.NodeSet] = []
        rules: list[policy.Rule] = []
        complete: list[policy.Rule] = []
        reserves: list[policy.Reserve] = []
        heals: list[policy.Heal] = []
        tests: list[Test] = []
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
                case tree.Block(kind="reserve"):
                    before = len(self.diagnostics)
                    reserve = self._blocks.reserve(declaration)
                    if reserve is not None and declaration.whole and len(self.diagnostics) == before:
                        reserves.append(reserve)
                case tree.Block(kind="heal"):
                    before = len(self.diagnostics)
                    heal = self._blocks.heal(declaration)
                    if heal is not None and declaration.whole and len(self.diagnostics) == before:
                        heals.append(heal)
                case tree.Test():
                    tests.append(self._tests.test(declaration))
        domains = tuple(self._symbols.checked_domains())
        for error in heal_errors(heals, complete):
            self._report(error)
        clean = whole_files and not self.diagnostics
        checked = policy.CheckedPolicy(
            tuple(node_sets),
            domains,
            tuple(rules if clean else complete),
            tuple(reserves),
            tuple(heals),
            tuple(tests),
        )
        self.diagnostics += analyse(checked, self._symbols.used if clean else None)
        self.diagnostics += self._tests.warnings
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
