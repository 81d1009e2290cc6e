"""What heals mean beside each other and beside the rules, once every one of them is right by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from grammar import policy
from grammar.diagnostic import Diagnostic, Note
from grammar.policy import Trigger


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
    if not checked.heals:
        for rule in checked.rules:
            for statement in rule.statements:
                if isinstance(statement, policy.PreferCurrent):
                    yield Diagnostic(
                        "P429",
                        "this never counts",
                        statement.span,
                        "no heal looks at placed pods again",
                        "take it out, or write a `heal`: a pod that is placed for the first time is on no node",
                    )


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
