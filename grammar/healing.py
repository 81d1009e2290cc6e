"""What heals mean beside each other and beside the rules, once every one of them is right by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from grammar import policy
from grammar.diagnostic import Diagnostic, Note
from grammar.policy import Trigger
from grammar.satisfiable import implies, impossible, operands

MOST_COMPARED = 64
"""Where more reserves stand beside each other, they are not compared pair by pair, so that lint stays quick."""


def heal_errors(heals: Sequence[policy.Heal], rules: Sequence[policy.Rule]) -> Iterator[Diagnostic]:
    """Heals that no event can reach: of a rule that cannot break, or beside another heal of the same event.

    Args:
        heals: All that are right.
        rules: Those of which every statement is known.
    """
    known = {rule.name: rule for rule in rules}
    first: dict[tuple[Trigger, str | None], policy.Heal] = {}
    for heal in heals:
        other = first.setdefault((heal.trigger, heal.broken), heal)
        rule = known.get(heal.broken or "")
        if other is not heal:
            event = heal.trigger.value + (f" {heal.broken}" if heal.broken else "")
            yield Diagnostic(
                "P507",
                f"two heals on `{event}`",
                heal.span,
                "the second one",
                "make one of them: an event has one answer",
                (Note(other.span, f"heal `{other.name}` answers it"),),
            )
        elif rule is not None and not any(_binds(statement) for statement in rule.statements):
            yield Diagnostic(
                "P506",
                f"rule `{rule.name}` cannot be broken",
                heal.span,
                "never happens",
                "name a rule that requires something; what it only prefers may be missed",
                (Note(rule.span, "has preferences only" if rule.statements else "says nothing"),),
            )


def healing_warnings(checked: policy.CheckedPolicy, all_known: bool) -> Iterator[Diagnostic]:
    """What reserves, heals and ``prefer current`` can hardly mean together.

    Args:
        checked: What of the set is right.
        all_known: Whether nothing of the set is missing from it.
    """
    for heal in checked.heals:
        if heal.hold_domain is not None and heal.hold_domain.label is None:
            yield Diagnostic(
                "P432",
                "this holds whenever a node is lost",
                heal.span,
                "moves nothing, ever",
                "each node is a `node` of its own, and all of it is lost with it: "
                "write `hold when … of zone is lost`, or of another domain of several nodes",
            )
    yield from _without_measure(checked)
    yield from _within_others(checked.reserves)
    if not all_known:
        return
    if not any(heal.trigger is Trigger.NODE_LOST for heal in checked.heals):
        for reserve in checked.reserves:
            yield Diagnostic(
                "P431",
                f"nothing moves to reserve `{reserve.name}`",
                reserve.span,
                "room is kept, and no heal uses it",
                "write `heal NAME on node lost for 10s {` and `move pods`; without it, pods stay on a lost node until "
                "Kubernetes evicts them: after five minutes, unless their tolerations say otherwise",
            )
    yield from _never_current(checked)


def _never_current(checked: policy.CheckedPolicy) -> Iterator[Diagnostic]:
    """Preferences for the present node where no heal ever chooses between pods."""
    if any(_chooses(heal, checked) for heal in checked.heals):
        return
    label, remedy = (
        (
            "no heal chooses which pods move",
            "it decides which of several pods move: on `pod unschedulable`, and on `broken RULE` of a rule about other "
            "pods (`spread`, `at most`, …); where a node is lost or cordoned, or a delay too long, those must move",
        )
        if checked.heals
        else (
            "no heal looks at placed pods again",
            "take it out, or write a `heal`: a pod that is placed for the first time is on no node",
        )
    )
    for rule in checked.rules:
        for statement in rule.statements:
            if isinstance(statement, policy.PreferCurrent):
                yield Diagnostic("P429", "this never counts", statement.span, label, remedy)


def _chooses(heal: policy.Heal, checked: policy.CheckedPolicy) -> bool:
    """Whether it may find several pods of which not all have to move."""
    if heal.trigger is Trigger.BROKEN:
        broken = (rule for rule in checked.rules if rule.name == heal.broken)
        return any(_of_pods(statement, checked) for rule in broken for statement in rule.statements)
    return heal.trigger is Trigger.POD_UNSCHEDULABLE


def _of_pods(statement: policy.Statement, checked: policy.CheckedPolicy) -> bool:
    """Whether other pods may break what it requires, and mend it by going."""
    match statement:
        case policy.Spread() | policy.Cardinality() | policy.Together():
            return statement.weight is None
        case policy.Require():
            return _of_use(statement.condition)
        case policy.Try():
            return any(_of_use(checked.node_set(step.nodes).condition) for step in statement.steps)
        case policy.ForEachLabel():
            return any(_of_pods(inner, checked) for inner in statement.body)
    return False


def _of_use(condition: policy.Condition) -> bool:
    """Whether what runs on a node bears on it."""
    facts = (one for one in operands(condition) if isinstance(one, policy.FactRef))
    return any(one.subject is policy.Subject.NODE and one.path in ("free", "used", "pods") for one in facts)


def _without_measure(checked: policy.CheckedPolicy) -> Iterator[Diagnostic]:
    """Improvements asked of rules that ask for no delay."""
    known = {rule.name: rule for rule in checked.rules}
    for heal in checked.heals:
        rule = known.get(heal.broken or "") if heal.improving else None
        if rule is not None and not any(_measures(statement) for statement in rule.statements):
            yield Diagnostic(
                "P434",
                f"`improving by {heal.improving:g}%` means nothing for rule `{rule.name}`",
                heal.span,
                "delays are better by a share, all else is met or not",
                "write `move pods` alone, or name a rule that requires a delay",
                (Note(rule.span, "requires no delay"),),
            )


def _measures(statement: policy.Statement) -> bool:
    """Whether a delay is part of what it requires."""
    match statement:
        case policy.Require():
            return any(isinstance(operand, policy.Delay) for operand in operands(statement.condition))
        case policy.ForEachLabel():
            return any(_measures(inner) for inner in statement.body)
    return False


def _within_others(reserves: Sequence[policy.Reserve]) -> Iterator[Diagnostic]:
    """Reserves all of whose pods another one covers, for the same losses. Of two that cover the same, the later."""
    if len(reserves) > MOST_COMPARED:
        return
    for index, reserve in enumerate(reserves):
        if reserve.condition is not None and impossible(reserve.condition):
            continue
        for place, other in enumerate(reserves):
            same = place != index and other.domain == reserve.domain and _covers(other, reserve)
            if same and (place < index or not _covers(reserve, other)):
                yield Diagnostic(
                    "P433",
                    f"all pods of reserve `{reserve.name}` are covered already",
                    reserve.span,
                    "keeps room for them once more",
                    "take it out, or choose other pods, or another domain",
                    (Note(other.span, f"reserve `{other.name}` covers them"),),
                )
                break


def _covers(one: policy.Reserve, other: policy.Reserve) -> bool:
    if one.condition is None:
        return True
    return other.condition is not None and implies(other.condition, one.condition)


def _binds(statement: policy.Statement) -> bool:
    """Whether a node can fail it."""
    match statement:
        case policy.Require() | policy.Try():
            return True
        case policy.Spread() | policy.Cardinality() | policy.Together():
            return statement.weight is None
        case policy.ForEachLabel():
            return any(_binds(inner) for inner in statement.body)
    return False
