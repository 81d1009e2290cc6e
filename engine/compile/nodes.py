"""Statements about nodes: require, forbid, node sets, prefer and avoid."""

from __future__ import annotations

from collections import Counter

import numpy as np

from engine.compile.conditions import Judge, NodeNumbers
from engine.compile.origins import Origin
from engine.compile.telling import FactsOf, beyond
from engine.constraints.citation import Citation
from engine.constraints.protocol import MAX_SCORE, Depends, Mask, Normalization, Slots, Vector
from engine.constraints.telling import Value
from engine.state.labels import Where
from grammar.policy import PreferScaled


class Require:
    """``require CONDITION``, or ``forbid``: what nobody knows passes neither."""

    def __init__(self, citation: Citation, judge: Judge, forbid: bool, facts: FactsOf | None = None) -> None:
        self.name = citation.rule
        self.citation = citation
        self.depends = judge.depends | Depends.NODE
        self._judge, self._forbid, self._facts = judge, forbid, facts

    def passes(self, where: Where) -> Mask:
        """True where the condition is true (false, for ``forbid``)."""
        verdict = self._judge.judge(where)
        return verdict.no if self._forbid else verdict.yes

    def reasons(self, refused: Slots) -> Counter[str]:
        """The statement's own words; nodes that nobody has measured apart."""
        verdict = self._judge.judge(refused)
        unknown = int(np.count_nonzero(~verdict.yes & ~verdict.no))
        words = self.citation.text or ("a forbid" if self._forbid else "a require")
        reasons = Counter(
            {
                f"node(s) where a delay is not measured ({self.citation})": unknown,
                f"node(s) refused by `{words}` ({self.citation})": len(refused) - unknown,
            }
        )
        return +reasons

    def values(self, slot: int) -> tuple[Value, ...]:
        """The facts that are not as the statement wants them."""
        return self._facts(slot) if self._facts is not None else ()


class WithinDelay(Require):
    """The commonest requirement: a round trip to one origin within a limit. Tells how far off the nearest is."""

    def __init__(self, citation: Citation, judge: Judge, origin: Origin, limit_ms: float) -> None:
        super().__init__(citation, judge, False)
        self.origin, self.limit_ms = origin, limit_ms

    def reasons(self, refused: Slots) -> Counter[str]:
        """Beyond the limit, with the nearest of those; and not measured."""
        delays = self.origin.vector()[refused]
        unmeasured = int(np.count_nonzero(np.isnan(delays)))
        reasons: Counter[str] = Counter()
        if unmeasured:
            reasons[f"node(s) without a measured delay to {self.origin.name} ({self.citation})"] = unmeasured
        if unmeasured < len(refused):
            nearest = self.origin.heard(int(refused[np.nanargmin(delays)]))
            sentence = (
                f"node(s) not within {self.limit_ms:g}ms of {self.origin.name}, the nearest at {nearest}"
            )
            reasons[f"{sentence} ({self.citation})"] = len(refused) - unmeasured
        return reasons

    def values(self, slot: int) -> tuple[Value, ...]:
        """The node's delay beside the limit."""
        return (beyond(self.origin, slot, self.limit_ms),)


class InNodeSet:
    """One step of a ``try``: only the nodes of that set."""

    def __init__(self, citation: Citation, judge: Judge, set_name: str, facts: FactsOf | None = None) -> None:
        self.name = citation.rule
        self.citation = citation
        self.depends = judge.depends | Depends.NODE
        self.set_name = set_name
        self._judge, self._facts = judge, facts

    def passes(self, where: Where) -> Mask:
        """True in the set."""
        return self._judge.judge(where).yes

    def reasons(self, refused: Slots) -> Counter[str]:
        """One sentence for all."""
        return Counter(
            {f"node(s) outside {self.set_name}, which is tried now ({self.citation})": len(refused)}
        )

    def values(self, slot: int) -> tuple[Value, ...]:
        """The facts that keep the node out of the set."""
        return self._facts(slot) if self._facts is not None else ()


class Prefer:
    """``prefer CONDITION`` scores 100 where it is true, ``avoid`` where it is false; what nobody knows scores 0."""

    normalization = Normalization.NONE

    def __init__(self, citation: Citation, judge: Judge, weight: int, avoid: bool) -> None:
        self.name = citation.rule
        self.citation = citation
        self.weight = float(weight)
        self.depends = judge.depends | Depends.NODE
        self._judge, self._avoid = judge, avoid

    def raw(self, where: Where) -> Vector:
        """0 or 100."""
        verdict = self._judge.judge(where)
        scores: Vector = (verdict.no if self._avoid else verdict.yes).astype(np.float64) * MAX_SCORE
        return scores


class PreferQuantity:
    """``prefer low|high QUANTITY``: linear between the extremes of the feasible nodes."""

    def __init__(self, citation: Citation, numbers: NodeNumbers, statement: PreferScaled) -> None:
        self.name = citation.rule
        self.citation = citation
        self.weight = float(statement.weight)
        self.normalization = Normalization.LOW if statement.low else Normalization.HIGH
        self.depends = numbers.depends
        self._numbers = numbers

    def raw(self, where: Where) -> Vector:
        """The quantity."""
        return self._numbers.numbers(where)
