"""What a policy says that it can hardly mean: warnings, found without a solver, and only where they are certain.

Everything rests on `grammar.satisfiable`, which errs towards “it can hold”. A statement that is wrong by itself is not
named again for how it goes with others.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from grammar import policy
from grammar.diagnostic import Diagnostic, Note
from grammar.healing import healing_warnings
from grammar.labels import impossible_labels
from grammar.policy import Bound, Subject
from grammar.redundant import redundant
from grammar.satisfiable import atoms, effect, implies, impossible, operands
from grammar.span import Span

MOST_COMPARED = 64
"""Where more stand beside each other, they are not compared pair by pair, so that lint stays quick."""


def analyse(checked: policy.CheckedPolicy, used: set[str] | None) -> list[Diagnostic]:
    """The warnings about a policy set.

    Args:
        checked: What of the set is right.
        used: The names that something refers to; None where that is not known for sure.
    """
    found = [*impossible_labels(checked)]
    for nodes in checked.node_sets:
        found += _nothing(nodes.condition, "node")
    sets = {nodes.name: nodes for nodes in checked.node_sets}
    rules = {rule.name: rule for rule in checked.rules}
    for rule in checked.rules:
        found += _Rule(rule, sets, rules).warnings()
    for reserve in checked.reserves:
        if reserve.condition is not None:
            found += _nothing(reserve.condition, "pod")
    found += healing_warnings(checked, used is not None)
    declarations: list[policy.NodeSet | policy.Domain] = [*checked.node_sets, *checked.domains]
    for declared in declarations:
        if used is not None and declared.name not in used:
            what = "set of nodes" if isinstance(declared, policy.NodeSet) else "domain"
            found.append(
                Diagnostic(
                    "P425",
                    f"the {what} `{declared.name}` is never used",
                    declared.span,
                    "no statement names it",
                    "take it out, or use it: " + ("`try … then …`" if what != "domain" else "`… per …`"),
                )
            )
    first = {(each.code, each.span): each for each in reversed(found)}
    return [each for each in found if first[each.code, each.span] is each]


def _nothing(condition: policy.Condition, what: str) -> Iterator[Diagnostic]:
    """The smallest parts of a condition that no node or pod can meet."""
    parts: tuple[policy.Condition, ...] = ()
    if isinstance(condition, policy.And | policy.Or):
        parts = condition.conditions
    elif isinstance(condition, policy.Not):
        parts = (condition.condition,)
    inner = [warning for part in parts for warning in _nothing(part, what)]
    if inner or not impossible(condition):
        yield from inner
        return
    related: tuple[Note, ...] = ()
    at, label = condition.span, "never holds"
    if isinstance(condition, policy.And) and len(parts) <= MOST_COMPARED:
        pair = next((pair for pair in combinations(parts, 2) if impossible(*pair)), None)
        if pair is not None:
            at, label = pair[1].span, "excludes the other"
            related = (Note(pair[0].span, "asked for as well"),)
    yield Diagnostic("P420", f"no {what} can meet this", at, label, _why(condition), related)


def _why(condition: policy.Condition) -> str:
    if isinstance(condition, policy.And):
        return 'for one or the other, write `or`, or list the values: `in ["a", "b"]`'
    return "look for a wrong value, or take it out"


class _Rule:
    """The warnings about one rule."""

    def __init__(
        self, rule: policy.Rule, sets: dict[str, policy.NodeSet], rules: dict[str, policy.Rule]
    ) -> None:
        self._rule, self._sets, self._rules = rule, sets, rules
        self._header = () if rule.condition is None else (rule.condition,)

    def warnings(self) -> Iterator[Diagnostic]:
        rule = self._rule
        header = [] if rule.condition is None else [*_nothing(rule.condition, "pod")]
        yield from header
        if not rule.statements:
            yield self._empty(rule.span, f"rule `{rule.name}`")
        if header:
            return
        required = [*self._statements(rule.statements, [])]
        for statement in rule.statements:
            if isinstance(statement, policy.ForEachLabel):
                yield from self._for_each(statement)
            elif isinstance(statement, policy.Try):
                yield from self._try(statement)
        yield from required

    def _empty(self, span: Span, what: str) -> Diagnostic:
        return Diagnostic(
            "P426",
            f"{what} says nothing",
            span,
            "no statement in its block",
            "take it out, or say what it asks",
        )

    # ---- requirements and preferences

    def _statements(
        self, body: tuple[policy.Statement, ...], outer: list[policy.Require]
    ) -> Iterator[Diagnostic]:
        """What is wrong with the statements of a body, given the requirements around it."""
        alone: dict[int, list[Diagnostic]] = {}
        for index, statement in enumerate(body):
            alone[index] = [*self._alone(statement)]
            yield from alone[index]
        sound = [statement for index, statement in enumerate(body) if not alone[index]]
        required = [statement for statement in sound if isinstance(statement, policy.Require)]
        if len(body) + len(outer) > MOST_COMPARED:
            return
        clashes = [*self._clashes(required, outer)]
        yield from clashes
        if clashes:
            return
        for statement in sound:
            if isinstance(statement, policy.Prefer):
                yield from self._never_counts(statement, [*outer, *required])
        yield from redundant(body, outer)
        yield from _cardinalities(body)
        for statement in body:
            if isinstance(statement, policy.ForEachLabel):
                yield from self._statements(statement.body, required)

    def _alone(self, statement: policy.Statement) -> Iterator[Diagnostic]:
        if isinstance(statement, policy.Cardinality) and statement.of is not None:
            yield from _nothing(statement.of, "pod")
        if not isinstance(statement, policy.Require | policy.Prefer):
            return
        nothing = [*_nothing(statement.condition, "node")]
        yield from nothing
        if nothing:
            return
        if not _asks_the_node(statement.condition):
            yield Diagnostic(
                "P427",
                "this asks nothing of the node",
                statement.condition.span,
                "the same for every node",
                "what chooses the pods belongs in the header: `rule NAME for pods where …`",
            )
        elif isinstance(statement, policy.Require) and impossible(effect(statement)):
            yield Diagnostic(
                "P420",
                "this forbids every node",
                statement.condition.span,
                "always holds",
                "look for a wrong value",
            )

    def _clashes(self, required: list[policy.Require], outer: list[policy.Require]) -> Iterator[Diagnostic]:
        clash = False
        kept: list[policy.Require] = []
        for statement in required:
            if self._rule.condition is None or not impossible(self._rule.condition, effect(statement)):
                kept.append(statement)
                continue
            clash = True
            yield Diagnostic(
                "P421",
                "no node can meet this for a pod of the rule",
                statement.span,
                "excludes the rule's own choice of pods",
                "compare with another value, or choose other pods",
                (Note(self._rule.condition.span, "the pods of the rule"),),
            )
        pairs = [(first, second) for first in outer for second in kept]
        for first, second in (*pairs, *combinations(kept, 2)):
            if impossible(effect(first), effect(second), *self._header):
                clash = True
                yield Diagnostic(
                    "P421",
                    "no node can meet both of these",
                    second.span,
                    "excludes the other",
                    "a rule asks for all of its requirements at once: join them by `or`, or make one a preference",
                    (Note(first.span, "asked for as well"),),
                )
        everything = [effect(statement) for statement in (*outer, *required)]
        if not clash and required and len(everything) > 2 and impossible(*self._header, *everything):
            yield Diagnostic(
                "P421",
                "no node can meet all requirements of this rule",
                required[-1].span,
                "the last of them",
                "a rule asks for all of its requirements at once",
            )

    def _never_counts(self, statement: policy.Prefer, required: list[policy.Require]) -> Iterator[Diagnostic]:
        for other in required:
            if impossible(statement.condition, effect(other)):
                yield Diagnostic(
                    "P429",
                    "this never counts",
                    statement.span,
                    "holds on no node that is left",
                    "take one of the two out",
                    (Note(other.span, "leaves no such node"),),
                )
                return
        if self._header and impossible(statement.condition, *self._header):
            yield Diagnostic(
                "P429",
                "this never counts",
                statement.span,
                "holds for no pod of the rule",
                "take it out, or choose other pods",
                (Note(self._header[0].span, "the pods of the rule"),),
            )

    # ---- blocks and fallbacks

    def _for_each(self, statement: policy.ForEachLabel) -> Iterator[Diagnostic]:
        if not statement.body:
            yield self._empty(statement.span, "this block")
        pattern = policy.Has(Subject.POD, "labels", f"{statement.prefix}*{statement.suffix}")
        if self._header and impossible(*self._header, pattern):
            yield Diagnostic(
                "P430",
                "no pod of this rule has such a label",
                statement.span,
                "never entered",
                "take the block out, or choose other pods",
                (Note(self._header[0].span, "the pods of the rule"),),
            )

    def _try(self, statement: policy.Try) -> Iterator[Diagnostic]:
        required = [one for one in self._rule.statements if isinstance(one, policy.Require)]
        for index, step in enumerate(statement.steps):
            condition = self._condition(step)
            if condition is None:
                continue
            before = [
                one
                for one in statement.steps[:index]
                if set(one.waiving) >= set(step.waiving) and self._condition(one)
            ]
            covered = [one for one in (self._condition(one) for one in before) if one is not None]
            if covered and implies(condition, *covered):
                again = next((one for one in before if one.nodes == step.nodes), before[-1])
                said = "the same set" if again.nodes == step.nodes else "has all of its nodes"
                yield Diagnostic(
                    "P423",
                    f"`{step.nodes}` is never reached",
                    step.span,
                    "no node here that was not tried before",
                    "name a set with other nodes, or waive a rule in it",
                    (Note(again.span, said),),
                )
                continue
            for other in required:
                if impossible(condition, effect(other), *self._header):
                    yield Diagnostic(
                        "P423",
                        f"no node of `{step.nodes}` can take a pod of this rule",
                        step.span,
                        "tried in vain",
                        "take the set out, or put the requirement in a rule of its own and waive it here",
                        (Note(other.span, "leaves no node of it"),),
                    )
                    break
            yield from self._waived(step)

    def _condition(self, step: policy.Step) -> policy.Condition | None:
        nodes = self._sets.get(step.nodes)
        return None if nodes is None or impossible(nodes.condition) else nodes.condition

    def _waived(self, step: policy.Step) -> Iterator[Diagnostic]:
        for name in step.waiving:
            waived = self._rules.get(name)
            if waived is None or waived.condition is None or not self._header or impossible(waived.condition):
                continue
            if impossible(waived.condition, *self._header):
                yield Diagnostic(
                    "P424",
                    f"`{name}` never applies to a pod of this rule",
                    step.span,
                    "waives nothing",
                    "take it out, or look for a wrong value in the choice of pods",
                    (Note(waived.condition.span, f"the pods of `{name}`"),),
                )


def _asks_the_node(condition: policy.Condition) -> bool:
    has = any(isinstance(atom, policy.Has) and atom.subject is Subject.NODE for atom in atoms(condition))
    return has or any(
        isinstance(operand, policy.Delay)
        or (isinstance(operand, policy.FactRef) and operand.subject is Subject.NODE)
        for operand in operands(condition)
    )


def _cardinalities(body: tuple[policy.Statement, ...]) -> Iterator[Diagnostic]:
    """Hard limits on one count that leave no number, and pods that are to be together and apart."""
    hard = [one for one in body if isinstance(one, policy.Cardinality) and one.weight is None]
    for first, second in combinations(hard, 2):
        same = first.domain == second.domain and first.of == second.of
        if not same or first.bound is second.bound:
            continue
        most, least = (first, second) if first.bound is Bound.AT_MOST else (second, first)
        if least.number > most.number:
            yield Diagnostic(
                "P421",
                "no domain can meet both of these",
                second.span,
                "excludes the other",
                f"the least ({least.number}) is more than the most ({most.number})",
                (Note(first.span, "asked for as well"),),
            )
    for one in hard:
        for other in body:
            apart = one.bound is Bound.AT_MOST and one.number == 1 and one.of is None
            if (
                apart
                and isinstance(other, policy.Together)
                and other.weight is None
                and other.domain == one.domain
            ):
                early, late = sorted((one.span, other.span))
                yield Diagnostic(
                    "P421",
                    "after the first pod of the rule, no other can be placed",
                    late,
                    "excludes the other",
                    "pods are either together in a domain, or at most one in each",
                    (Note(early, "asked for as well"),),
                )
