"""One statement of a rule → one filter or one score."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from engine.compile.conditions import Context, NodeNumbers, build
from engine.compile.current import PreferCurrent
from engine.compile.domains import (
    AtMostOnNode,
    Domains,
    PreferSpread,
    PreferVerdict,
    Spread,
    Together,
    cardinality,
)
from engine.compile.nodes import Prefer, PreferQuantity, Require, WithinDelay
from engine.compile.origins import Origin
from engine.compile.subject import chosen, own_facts
from engine.compile.telling import FactsOf
from engine.constraints.citation import Citation
from engine.constraints.protocol import Filter, GlobalFilter, Score
from engine.state.census import Census
from grammar import policy as language
from grammar.policy import (
    And,
    Bound,
    BoundName,
    Cardinality,
    Compare,
    Condition,
    Delay,
    ForEachLabel,
    Literal,
    Member,
    Not,
    Operator,
    Or,
    PreferScaled,
    Statement,
    Try,
)

Censuses = Callable[[Condition | None], Census]


@dataclass(slots=True)
class Parts:
    """What the statements of all rules of a pod come to, in order."""

    filters: list[Filter | GlobalFilter] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)
    needed: list[Origin] = field(default_factory=list)


def add_statement(
    statement: Statement,
    citation: Citation,
    selects: Condition | None,
    context: Context,
    censuses: Censuses,
    parts: Parts,
) -> None:
    """Turn one statement into its filter or score.

    Args:
        statement: Neither ``for each label`` (unrolled before) nor ``try`` (which orders the others).
        citation: The statement's place.
        selects: The condition of its rule: the pods that it selects, and counts where it counts.
        context: What its conditions are judged in.
        censuses: Gives the counts of the pods that a condition selects.
        parts: Where the result goes.
    """
    match statement:
        case language.Require(condition, forbid):
            parts.filters.append(_require(condition, forbid, citation, context))
            delays = list(delays_of(condition))
            parts.origins += [context.origin(delay) for delay, _ in delays]
            parts.needed += [context.origin(delay) for delay, or_unmeasured in delays if not or_unmeasured]
        case language.Prefer(condition, weight, avoid):
            parts.scores.append(Prefer(citation, build(condition, context), weight, avoid))
            parts.origins += [context.origin(delay) for delay, _ in delays_of(condition)]
        case PreferScaled(quantity):
            parts.scores.append(PreferQuantity(citation, NodeNumbers(quantity, context), statement))
            if isinstance(quantity, Delay):
                parts.origins.append(context.origin(quantity))
        case language.PreferCurrent(weight):
            parts.scores.append(PreferCurrent(citation, context.subject.node, context.columns, weight))
        case language.Spread(domain, skew, least, weight):
            domains = Domains(domain, context.columns, censuses(selects))
            if weight is None:
                parts.filters.append(Spread(citation, domains, skew, least))
            else:
                parts.scores.append(PreferSpread(citation, domains, weight))
        case Cardinality():
            _cardinality(statement, citation, selects, context, censuses, parts)
        case language.Together(domain, weight):
            domains = Domains(domain, context.columns, censuses(selects))
            together = Together(citation, domains)
            if weight is None:
                parts.filters.append(together)
            else:
                parts.scores.append(PreferVerdict(citation, domains, together, weight))
        case ForEachLabel() | Try():
            raise NotImplementedError(f"{type(statement).__name__} is no single filter or score")


def _require(condition: Condition, forbid: bool, citation: Citation, context: Context) -> Require:
    judge = build(condition, context)
    match condition:
        case Compare(
            Delay() as delay, Operator.LE | Operator.LT, (BoundName() | Literal()) as limit, False
        ) if not forbid:
            value = context.limit if isinstance(limit, BoundName) else float(limit.value)
            return WithinDelay(citation, judge, context.origin(delay), value)
        case _:
            return Require(citation, judge, forbid, FactsOf(condition, context, forbid))


def _cardinality(
    statement: Cardinality,
    citation: Citation,
    selects: Condition | None,
    context: Context,
    censuses: Censuses,
    parts: Parts,
) -> None:
    counted = statement.of is None or chosen(statement.of, context.subject)
    condition = selects if statement.of is None else statement.of
    domains = Domains(statement.domain, context.columns, censuses(condition))
    hard = cardinality(citation, domains, statement.bound, statement.number, counted)
    if statement.weight is not None:
        parts.scores.append(PreferVerdict(citation, domains, hard, statement.weight))
    elif (
        statement.bound is Bound.AT_MOST
        and statement.domain.label is None
        and "age" not in own_facts(condition)
    ):
        parts.filters.append(AtMostOnNode(citation, domains, statement.number, counted))
    else:
        parts.filters.append(hard)


def selections_of(statement: Statement) -> Iterator[Condition]:
    """The conditions within a statement that say which pods it counts."""
    match statement:
        case Cardinality(of=counted) if counted is not None:
            yield counted
        case ForEachLabel(body=body):
            for inner in body:
                yield from selections_of(inner)
        case _:
            return


def conditions_of(statement: Statement) -> Iterator[Condition]:
    """All conditions within a statement."""
    match statement:
        case language.Require(condition) | language.Prefer(condition):
            yield condition
        case Cardinality():
            yield from selections_of(statement)
        case ForEachLabel(body=body):
            for inner in body:
                yield from conditions_of(inner)
        case _:
            return


def delays_of(condition: Condition) -> Iterator[tuple[Delay, bool]]:
    """The delays that a condition asks for, each with whether the comparison may do without it."""
    match condition:
        case And(conditions) | Or(conditions):
            for part in conditions:
                yield from delays_of(part)
        case Not(inner):
            yield from delays_of(inner)
        case Compare(left, _, right, or_unmeasured):
            for operand in (left, right):
                if isinstance(operand, Delay):
                    yield operand, or_unmeasured
        case Member(operand=Delay() as delay):
            yield delay, False
        case _:
            return
