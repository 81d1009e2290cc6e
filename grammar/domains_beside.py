"""Domains that a cluster does not have, or too few of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from grammar import policy
from grammar.diagnostic import Diagnostic, Note
from grammar.inventory import Inventory
from grammar.near_misses import keys_here, values_here
from grammar.render import many
from grammar.span import Span

_PLACES = 3


@dataclass(frozen=True, slots=True)
class _Use:
    """Where a domain is used, and what comes of it where there is none."""

    domain: policy.Domain
    span: Span
    without: str


def domain_warnings(checked: policy.CheckedPolicy, inventory: Inventory) -> Iterator[Diagnostic]:
    """The warnings about all domains that a policy uses."""
    used: dict[str, list[_Use]] = {}
    for use in _uses(checked):
        used.setdefault(use.domain.label or "", []).append(use)
    for label, uses in used.items():
        if label and label not in inventory.values:
            yield _missing(label, uses, inventory)
    for rule in checked.rules:
        for statement in rule.statements:
            if isinstance(statement, policy.Spread):
                yield from _spread(statement, inventory)
    for reserve in checked.reserves:
        yield from _reserve(reserve, inventory)


def _uses(checked: policy.CheckedPolicy) -> Iterator[_Use]:
    for rule in checked.rules:
        for statement in rule.statements:
            if isinstance(statement, policy.Spread | policy.Cardinality | policy.Together):
                ranks = statement.weight is not None
                without = "all nodes are alike to this" if ranks else "no node meets this"
                yield _Use(statement.domain, statement.span, without)
    for reserve in checked.reserves:
        yield _Use(reserve.domain, reserve.span, "no pod can be covered")
    for heal in checked.heals:
        if heal.hold_domain is not None:
            yield _Use(heal.hold_domain, heal.span, "nothing is ever held")


def _missing(label: str, uses: list[_Use], inventory: Inventory) -> Diagnostic:
    """One warning for a domain, where it is declared if it is, else where it is used first."""
    declared = next((use.domain.span for use in uses if use.domain.span.line), None)
    others = uses if declared is not None else uses[1:]
    on_none = f"on none of {many(len(inventory.nodes), 'node')}"
    return Diagnostic(
        "P701",
        f"no node here has the label `{label}`, so there is no {uses[0].domain.name}",
        declared or uses[0].span,
        on_none if declared is not None else f"{on_none}, so {uses[0].without}",
        keys_here(label, inventory.values),
        tuple(Note(use.span, f"so {use.without}") for use in others[:_PLACES]),
    )


def _here(domain: policy.Domain, inventory: Inventory) -> dict[str, int]:
    """The domains that there are, and how many nodes each has."""
    if domain.label is None:
        return {node.name: 1 for node in inventory.nodes}
    return dict(inventory.values.get(domain.label, {}))


def _spread(statement: policy.Spread, inventory: Inventory) -> Iterator[Diagnostic]:
    here = _here(statement.domain, inventory)
    name = statement.domain.name
    least = statement.domains or 0
    if not here:
        return
    if least > len(here):
        each = many(statement.skew, "pod")
        yield Diagnostic(
            "P704",
            f"this waits for {least} domains of `{name}`, and there {_are(len(here))} here",
            statement.span,
            f"each takes {each} until there are {least}, the rest waits",
            _told(statement.domain, here),
        )
    elif len(here) == 1:
        yield Diagnostic(
            "P704",
            f"there is only one {name} here",
            statement.span,
            "nothing to spread over",
            f"{_told(statement.domain, here)}; spread over a smaller domain, or give nodes their labels",
        )


def _reserve(reserve: policy.Reserve, inventory: Inventory) -> Iterator[Diagnostic]:
    here = _here(reserve.domain, inventory)
    # A node outside of all domains is in no loss, so it may be a place for who is lost.
    if len(here) != 1 or sum(here.values()) < len(inventory.nodes):
        return
    name = reserve.domain.name
    yield Diagnostic(
        "P704",
        f"there is only one {name} here, and nothing is left once it is lost",
        reserve.span,
        "no pod can be covered",
        f"{_told(reserve.domain, here)}; "
        + (
            "one node has no second"
            if name == "node"
            else "survive the loss of a smaller domain, such as `node`"
        ),
    )


def _are(number: int) -> str:
    return "is 1" if number == 1 else f"are {number}"


def _told(domain: policy.Domain, here: dict[str, int]) -> str:
    if domain.label is None:
        return f"the node is `{next(iter(here))}`" if len(here) == 1 else many(len(here), "node")
    if len(here) == 1:
        [(value, number)] = here.items()
        return f"`{value}` has {many(number, 'node')}"
    return values_here("", here)
