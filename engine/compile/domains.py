"""Statements about failure domains: spread, at most, at least, together; hard as filters and soft as scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.constraints.citation import Citation
from engine.constraints.protocol import MAX_SCORE, Depends, Mask, Normalization, Slots, Vector
from engine.constraints.telling import DomainCount, Value
from engine.state.census import Census
from engine.state.columns import Columns
from engine.state.counted import Counted
from engine.state.labels import LabelColumn, Where
from grammar.policy import Bound, Domain

_COUNTED: Final = "the pods that the rule counts"


class Domains:
    """The domains of one kind, numbered: by the codes of a label, or each node for itself."""

    def __init__(self, domain: Domain, columns: Columns, census: Census) -> None:
        self.domain = domain
        self.columns = columns
        self.census = census
        self._column: LabelColumn | None = columns.labels.column(domain.label) if domain.label else None

    def counts(self) -> NDArray[np.int64]:
        """Pods of the census by domain."""
        if self._column is None:
            return self.census.slots()
        return self.census.by_domain(self._column.key).refresh()

    def spread_out(self, verdicts: Mask, where: Where) -> Mask:
        """Verdicts by domain, looked up for nodes; False where a node is in no domain."""
        if self._column is None:
            mask: Mask = verdicts[where]
            return mask
        return self._column.table(where, np.append(verdicts, False))

    def of(self, where: Where, values: NDArray[np.int64]) -> Vector:
        """Numbers by domain, looked up for nodes; NaN where a node is in no domain."""
        if self._column is None:
            return values[where].astype(np.float64)
        table: Vector = np.append(values.astype(np.float64), np.nan)
        found: Vector = table[self._column.codes[where]]
        return found

    def present(self, eligible: Mask) -> Mask:
        """Which domains have an eligible node."""
        if self._column is None:
            return eligible
        codes = self._column.codes[eligible]
        return np.bincount(codes[codes >= 0], minlength=len(self._column.values)) > 0

    def absent(self, slots: Slots) -> int:
        """How many of the slots are in no domain."""
        return 0 if self._column is None else int(np.count_nonzero(self._column.codes[slots] < 0))

    def told(self, slot: int, *, least: int | None = None, most: int | None = None) -> DomainCount:
        """What the domain of a slot holds, and how many it should."""
        counts = self.counts()
        if self._column is None:
            return DomainCount("node", self.columns.names[slot], _COUNTED, int(counts[slot]), least, most)
        code = int(self._column.codes[slot])
        value, pods = (self._column.values[code], int(counts[code])) if code >= 0 else (None, 0)
        return DomainCount(self._column.key, value, _COUNTED, pods, least, most)

    def in_one(self, slots: Slots) -> Mask:
        """Which of the slots are in a domain."""
        return np.ones(len(slots), dtype=np.bool_) if self._column is None else self._column.present(slots)

    def lacking(self) -> str:
        """What a node in no domain lacks."""
        return f'node(s) without the label "{self.domain.label}"'


class AtMost:
    """``at most N per DOMAIN``: the pod itself counts where it is one of those counted.

    A pod that is not counted itself is kept only off the domains that hold more than N already.
    """

    depends = Depends.CENSUS
    eased_by_leaving = True

    def __init__(self, citation: Citation, domains: Domains, number: int, counted: bool) -> None:
        self.name = citation.rule
        self.citation = citation
        self._domains, self._number, self._self = domains, number, int(counted)

    def verdicts(self) -> Mask:
        """By domain."""
        mask: Mask = self._domains.counts() + self._self <= self._number
        return mask

    def passes_among(self, eligible: Mask, version: int) -> Mask:  # noqa: ARG002
        """True where the domain has room for one more."""
        return self._domains.spread_out(self.verdicts(), slice(None))

    def counted(self) -> Iterable[Counted]:
        """The pods that the rule counts."""
        return (self._domains.census,)

    def reasons(self, refused: Slots) -> Counter[str]:
        """Full domains, and nodes in none."""
        full = f"node(s) whose {self._domains.domain.name} already has {self._number} such pod(s), the most allowed"
        if not self._self:
            full = f"node(s) whose {self._domains.domain.name} has more than {self._number} such pod(s)"
        return _reasons(self._domains, refused, full, self.citation)

    def values(self, slot: int) -> tuple[Value, ...]:
        """The domain's pods."""
        return (self._domains.told(slot, most=self._number - self._self),)


class AtMostOnNode:
    """`AtMost` over single nodes: what happens elsewhere changes nothing, so it is kept up slot by slot."""

    depends = Depends.USAGE
    eased_by_leaving = True

    def __init__(self, citation: Citation, domains: Domains, number: int, counted: bool) -> None:
        self.name = citation.rule
        self.citation = citation
        self._inner = AtMost(citation, domains, number, counted)
        self._census, self._number, self._self = domains.census, number, int(counted)

    def passes(self, where: Where) -> Mask:
        """True where the node has room for one more."""
        mask: Mask = self._census.slots()[where] + self._self <= self._number
        return mask

    def reasons(self, refused: Slots) -> Counter[str]:
        """Full nodes."""
        return self._inner.reasons(refused)

    def values(self, slot: int) -> tuple[Value, ...]:
        """The node's pods."""
        return self._inner.values(slot)


class AtLeast:
    """``at least N per DOMAIN``: only where so many are, the pod itself counting where it is one of them."""

    depends = Depends.CENSUS

    def __init__(self, citation: Citation, domains: Domains, number: int, counted: bool) -> None:
        self.name = citation.rule
        self.citation = citation
        self._domains, self._number, self._self = domains, number, int(counted)

    def verdicts(self) -> Mask:
        """By domain."""
        mask: Mask = self._domains.counts() + self._self >= self._number
        return mask

    def passes_among(self, eligible: Mask, version: int) -> Mask:  # noqa: ARG002
        """True where the domain has enough."""
        return self._domains.spread_out(self.verdicts(), slice(None))

    def counted(self) -> Iterable[Counted]:
        """The pods that the rule counts."""
        return (self._domains.census,)

    def curable(self, refused: Slots) -> Mask:
        """Nowhere: fewer pods are never more."""
        return np.zeros(len(refused), dtype=np.bool_)

    def reasons(self, refused: Slots) -> Counter[str]:
        """Domains with too few, and nodes in none."""
        few = f"node(s) whose {self._domains.domain.name} has fewer than {self._number} such pod(s)"
        return _reasons(self._domains, refused, few, self.citation)

    def values(self, slot: int) -> tuple[Value, ...]:
        """The domain's pods."""
        return (self._domains.told(slot, least=self._number - self._self),)


class Together:
    """``together per DOMAIN``: where the others are; anywhere in a domain while there are none."""

    depends = Depends.CENSUS

    def __init__(self, citation: Citation, domains: Domains) -> None:
        self.name = citation.rule
        self.citation = citation
        self._domains = domains

    def verdicts(self) -> Mask:
        """By domain."""
        occupied: Mask = self._domains.counts() > 0
        return occupied if occupied.any() else ~occupied

    def passes_among(self, eligible: Mask, version: int) -> Mask:  # noqa: ARG002
        """True where the others are."""
        return self._domains.spread_out(self.verdicts(), slice(None))

    def counted(self) -> Iterable[Counted]:
        """The pods that the rule counts."""
        return (self._domains.census,)

    def curable(self, refused: Slots) -> Mask:
        """Nowhere: the others are not brought here by taking pods away."""
        return np.zeros(len(refused), dtype=np.bool_)

    def reasons(self, refused: Slots) -> Counter[str]:
        """Other domains, and nodes in none."""
        apart = f"node(s) in another {self._domains.domain.name} than the other pods of the rule"
        return _reasons(self._domains, refused, apart, self.citation)

    def values(self, slot: int) -> tuple[Value, ...]:
        """That the domain has none of the pods."""
        return (self._domains.told(slot, least=1),)


class Spread:
    """``spread over DOMAIN``: with the pod, a domain may hold at most ``skew`` more than the emptiest.

    Domains count where some node could take the pod by all that does not depend on usage. While there are fewer of
    them than ``least_domains``, the emptiest counts as holding none. The same arithmetic as Kubernetes' topology
    spread.
    """

    # Which domains count changes with nodes and delays, too.
    depends = Depends.CENSUS | Depends.NODE | Depends.DELAY

    def __init__(
        self, citation: Citation, domains: Domains, skew: int, least_domains: int | None, counted: bool = True
    ) -> None:
        self.name = citation.rule
        self.citation = citation
        self._domains, self._skew, self._least = domains, skew, least_domains
        self._self = int(counted)
        self._present: Mask = np.zeros(0, dtype=np.bool_)
        self._version = -1

    def passes_among(self, eligible: Mask, version: int) -> Mask:
        """True where the domain may take one more."""
        counts = self._domains.counts()
        if version != self._version or len(self._present) != len(counts):
            self._present = self._domains.present(eligible)
            self._version = version
        lowest, _ = self._emptiest(counts)
        return self._domains.spread_out(counts + (self._self - lowest) <= self._skew, slice(None))

    def _emptiest(self, counts: NDArray[np.int64]) -> tuple[int, bool]:
        """What the emptiest domain counts as holding, and whether there are too few domains."""
        among = counts[self._present]
        few = self._least is not None and len(among) < self._least
        return 0 if few or not len(among) else int(among.min()), few

    def counted(self) -> Iterable[Counted]:
        """The pods that the rule counts."""
        return (self._domains.census,)

    def curable(self, refused: Slots) -> Mask:
        """Where the node is in a domain at all."""
        return self._domains.in_one(refused)

    def reasons(self, refused: Slots) -> Counter[str]:
        """Domains that are too full, and nodes in none."""
        name = self._domains.domain.name
        lowest, few = self._emptiest(self._domains.counts())
        full = f"node(s) whose {name} would hold over {self._skew} more than the emptiest {name} ({lowest})"
        if few:
            full = f"node(s) whose {name} is full while fewer than {self._least} {name}s can take the pod"
        return _reasons(self._domains, refused, full, self.citation)

    def values(self, slot: int) -> tuple[Value, ...]:
        """The domain's pods."""
        lowest, _ = self._emptiest(self._domains.counts())
        return (self._domains.told(slot, most=self._skew + lowest - self._self),)


def _reasons(domains: Domains, refused: Slots, sentence: str, citation: Citation) -> Counter[str]:
    absent = domains.absent(refused)
    reasons = Counter(
        {f"{domains.lacking()} ({citation})": absent, f"{sentence} ({citation})": len(refused) - absent}
    )
    return +reasons


class PreferSpread:
    """``prefer spread over DOMAIN``: the fewer such pods a domain has, the better."""

    depends = Depends.CENSUS
    normalization = Normalization.LOW

    def __init__(self, citation: Citation, domains: Domains, weight: int) -> None:
        self.name = citation.rule
        self.citation = citation
        self.weight = float(weight)
        self._domains = domains

    def raw(self, where: Where) -> Vector:
        """Pods in the node's domain; NaN where it is in none."""
        return self._domains.of(where, self._domains.counts())


class PreferVerdict:
    """The soft form of `AtMost`, `AtLeast` and `Together`: 100 where it would hold, else 0."""

    depends = Depends.CENSUS
    normalization = Normalization.NONE

    def __init__(
        self, citation: Citation, domains: Domains, hard: AtMost | AtLeast | Together, weight: int
    ) -> None:
        self.name = citation.rule
        self.citation = citation
        self.weight = float(weight)
        self._domains, self._hard = domains, hard

    def raw(self, where: Where) -> Vector:
        """0 or 100."""
        held: Vector = self._domains.spread_out(self._hard.verdicts(), where).astype(np.float64) * MAX_SCORE
        return held


def cardinality(
    citation: Citation, domains: Domains, bound: Bound, number: int, counted: bool
) -> AtMost | AtLeast:
    """The filter of ``at most`` or ``at least``."""
    kind = AtMost if bound is Bound.AT_MOST else AtLeast
    return kind(citation, domains, number, counted)
