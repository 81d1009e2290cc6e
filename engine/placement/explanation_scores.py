"""The scores behind a choice, part by part, and what made the chosen node the one."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from engine.compile.requirements import Requirements
from engine.constraints.protocol import Score, Slots, Vector, normalize
from engine.placement.decision import Decision
from engine.placement.evaluation import Evaluation, totals
from engine.state.columns import Columns

Numbers = tuple[float | None, float, float]
"""Of one score for one node: raw (None where nobody knows it), normalised, weight."""


class Why(enum.Enum):
    """What made the chosen node the one."""

    NOWHERE = "no-node"
    """No node takes the pod."""
    NOMINATED = "nominated"
    """Others made room for it there, and the node was promised to it."""
    ONLY = "only-node"
    """No other node fits."""
    SCORE = "score"
    """Its score is the highest."""
    STOCK = "stock-scores"
    """The policies' scores left it level with others, and the stock scheduler's are highest here."""
    HASH = "hash"
    """It is level with others in all scores; a hash of the pod and the node decides, which spreads pods evenly."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The nodes that fit, the chosen one first, then by rank.

    Attributes:
        slots: The nodes.
        totals: By position in ``slots``.
        parts: By position in ``slots``, then by score.
        tie_parts: The stock scores of the slots that the policies' scores leave level at the top.
        tie_totals: Their sums.
    """

    why: Why = Why.NOWHERE
    slots: tuple[int, ...] = ()
    totals: tuple[float, ...] = ()
    parts: tuple[tuple[Numbers, ...], ...] = ()
    tie_parts: dict[int, tuple[Numbers, ...]] = field(default_factory=dict)
    tie_totals: dict[int, float] = field(default_factory=dict)


def chosen(
    columns: Columns,
    requirements: Requirements,
    evaluation: Evaluation,
    decision: Decision,
    nominated: str = "",
) -> Choice:
    """The choice among the nodes that fit."""
    if decision.node is None or decision.refusals is None:
        return Choice()
    feasible = np.flatnonzero(decision.refusals.feasible)
    # Sorted by the sums that decided, so that rounding shows nothing that was not so.
    deciding = evaluation.totals(feasible)
    best = feasible[deciding == deciding.max()]
    level = requirements.ranks and len(best) > 1
    stock = totals(requirements.stock, best) if level else np.zeros(len(best))
    tied = best[stock == stock.max()]
    if nominated == decision.node:
        why = Why.NOMINATED
    elif len(feasible) == 1:
        why = Why.ONLY
    elif len(best) == 1:
        why = Why.SCORE
    else:
        why = Why.STOCK if len(tied) == 1 else Why.HASH
    second = dict(zip(best.tolist(), stock.tolist(), strict=True))
    winner = columns.slot(decision.node)
    rank = sorted(
        range(len(feasible)),
        key=lambda row: (
            feasible[row] != winner,
            -deciding[row],
            -second.get(int(feasible[row]), 0.0),
            columns.names[feasible[row]],
        ),
    )
    parts = _numbers(requirements.ranks or requirements.stock, feasible)
    tie_parts = _numbers(requirements.stock, best) if level else []
    return Choice(
        why,
        tuple(int(feasible[row]) for row in rank),
        tuple(float(deciding[row]) for row in rank),
        tuple(parts[row] for row in rank),
        dict(zip(best.tolist(), tie_parts, strict=True)) if level else {},
        second if level else {},
    )


def _numbers(scores: Sequence[Score], slots: Slots) -> list[tuple[Numbers, ...]]:
    """By slot, then by score."""
    columns: list[list[Numbers]] = []
    for score in scores:
        raw: Vector = score.raw(slots)
        normalised = normalize(raw, score.normalization)
        known = [
            None if unknown else value for value, unknown in zip(raw.tolist(), np.isnan(raw), strict=True)
        ]
        column = [
            (value, scaled, score.weight) for value, scaled in zip(known, normalised.tolist(), strict=True)
        ]
        columns.append(column * len(slots) if len(column) == 1 else column)
    return list(zip(*columns, strict=True)) if columns else [()] * len(slots)
