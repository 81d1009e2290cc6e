"""How evenly pods of a kind are spread over the values of node labels.

Source: kube-scheduler's plugin PodTopologySpread. Pods on their way out don't count.

Only some nodes count, and which depends on the pod: those that have the labels of all its constraints, and that its
node affinity (unless told otherwise) and its tolerations (only if told so) admit. So the pods are counted by slot
once for all who ask, and by domain for each constraint of each shape.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Final

import numpy as np

from engine.constraints.nodes import NodeAffinity, TaintToleration
from engine.constraints.protocol import Depends, Filter, Mask, Normalization, Slots, Vector
from engine.constraints.telling import DomainCount, Value
from engine.model.pod_terms import Spread
from engine.model.selectors import NOTHING, Anchor, Selector
from engine.model.shape import Shape
from engine.model.well_known import HOSTNAME, ZONE
from engine.state.cache import Cache
from engine.state.columns import Columns
from engine.state.counted import Counted
from engine.state.counts import Counts, DomainCounts
from engine.state.labels import LabelColumn, Where
from engine.state.tallies import Tally

_EVERYWHERE: Final = slice(None)
_SAME: Final[Vector] = np.zeros(1)

DEFAULTS: Final = (Spread(HOSTNAME, 3, NOTHING, 0), Spread(ZONE, 5, NOTHING, 0))
"""The soft constraints of pods that have none and that belong together with others, but for what is counted."""


@dataclass(frozen=True, slots=True)
class Peers:
    """Pods of one namespace with some labels: what a tally counts."""

    namespace: str
    selector: Selector

    @property
    def namespaces(self) -> frozenset[str]:
        """The one."""
        return frozenset((self.namespace,))

    @property
    def anchors(self) -> tuple[Anchor, ...] | None:
        """Labels of which all of them have one."""
        return self.selector.anchors

    @property
    def leaving(self) -> bool:
        """Pods on their way out don't count."""
        return False

    def counts(self, shape: Shape, namespace_labels: Mapping[str, str]) -> bool:  # noqa: ARG002
        """Whether pods of the shape are among them."""
        return self.selector.matches(shape.labels)


class _CountedNodes:
    """Which nodes count, kept up with the nodes. Another array after every change."""

    def __init__(self, columns: Columns, keys: Iterable[str], filters: Sequence[Filter]) -> None:
        self._columns = columns
        self._labels = [columns.labels.column(key) for key in keys]
        self._filters = filters
        self._mask: Mask = np.zeros(0, dtype=np.bool_)
        self._seen = -1

    def refresh(self) -> Mask:
        """True where the node counts; shape (capacity,)."""
        columns = self._columns
        version = columns.node_changes.version
        if version == self._seen:
            return self._mask
        changed = columns.node_changes.since(self._seen)
        if changed is None or len(changed) > len(columns) // 4 or len(self._mask) != columns.capacity:
            self._mask = self._ask(_EVERYWHERE)
        else:
            mask = self._mask.copy()
            where = np.array(changed, dtype=np.int64)
            mask[where] = self._ask(where)
            self._mask = mask
        self._seen = version
        return self._mask

    def _ask(self, where: Where) -> Mask:
        mask: Mask = self._columns.alive[where].copy()
        for column in self._labels:
            mask &= column.present(where)
        for constraint in self._filters:
            mask &= constraint.passes(where)
        return mask


class _Counted:
    """One constraint with its counts."""

    def __init__(self, spread: Spread, shape: Shape, cache: Cache, keys: Iterable[str]) -> None:
        columns = cache.columns
        self.spread = spread
        self.column: LabelColumn = columns.labels.column(spread.topology_key)
        filters: list[Filter] = []
        if spread.honor_affinity and NodeAffinity.applies(shape):
            filters.append(NodeAffinity(shape, columns))
        if spread.honor_taints:
            filters.append(TaintToleration(shape, columns))
        self.tally: Tally | None = None
        if not spread.counted.nothing:
            self.tally = cache.tallies.tally(Peers(shape.namespace, spread.counted))
        self._nodes = _CountedNodes(columns, keys, filters)
        self._domains = DomainCounts(self.column)
        self._within: Mask | None = None
        self._present: Mask = np.zeros(0, dtype=np.bool_)

    def by_domain(self) -> Counts:
        """The pods on nodes that count, by the codes of the topology key; not to be kept."""
        if self.tally is None:
            return np.zeros(len(self.column.values), dtype=np.int64)
        return self._domains.refresh(self.tally, self._nodes.refresh())

    def present(self) -> Mask:
        """Which domains have a node that counts."""
        within = self._nodes.refresh()
        if within is not self._within:
            codes = self.column.codes[within]
            self._present = np.bincount(codes[codes >= 0], minlength=len(self.column.values)) > 0
            self._within = within
        return self._present

    def most(self) -> int:
        """How many pods a domain may hold that is to take one more."""
        counts, present, spread = self.by_domain(), self.present(), self.spread
        among = counts[present]
        lowest = int(among.min()) if len(among) and len(among) >= spread.min_domains else 0
        return spread.max_skew + lowest - spread.itself

    def verdicts(self) -> Mask:
        """By domain: whether one more pod keeps within the skew."""
        verdicts: Mask = self.by_domain() <= self.most()
        return verdicts

    def told(self, slot: int) -> DomainCount:
        """What the domain of a slot holds and may hold."""
        code = int(self.column.codes[slot])
        value = self.column.values[code] if code >= 0 else None
        pods = int(self.by_domain()[code]) if code >= 0 else 0
        return DomainCount(self.column.key, value, "the pods that are spread", pods, most=self.most())


class PodTopologySpread:
    """Keeps a pod off domains that would hold too many more than the emptiest."""

    name = "PodTopologySpread"
    citation = None
    depends = Depends.CENSUS | Depends.NODE

    def __init__(self, shape: Shape, cache: Cache) -> None:
        keys = [spread.topology_key for spread in shape.spreads.hard]
        self._counted = [_Counted(spread, shape, cache, keys) for spread in shape.spreads.hard]

    @staticmethod
    def applies(shape: Shape) -> bool:
        """Whether the pod has hard constraints."""
        return bool(shape.spreads.hard)

    def passes_among(self, eligible: Mask, version: int) -> Mask:  # noqa: ARG002
        """True where every constraint holds."""
        masks = [self._passes(one, _EVERYWHERE) for one in self._counted]
        return np.logical_and.reduce(masks) if len(masks) > 1 else masks[0]

    @staticmethod
    def _passes(counted: _Counted, where: Where) -> Mask:
        return counted.column.table(where, np.append(counted.verdicts(), False))

    def counted(self) -> Iterable[Counted]:
        """The pods of each constraint."""
        return [one.tally for one in self._counted if one.tally is not None]

    def curable(self, refused: Slots) -> Mask:
        """True where the first constraint that fails has too many pods, and does not lack the label."""
        mask = np.ones(len(refused), dtype=np.bool_)
        left = mask.copy()
        for counted in self._counted:
            failed = left & ~self._passes(counted, refused)
            mask &= ~failed | counted.column.present(refused)
            left &= ~failed
        return mask

    def reasons(self, refused: Slots) -> Counter[str]:
        """Whether the first constraint that fails lacks the label, or has too many pods."""
        sentence = "node(s) didn't match pod topology spread constraints"
        reasons: Counter[str] = Counter()
        left = refused
        for counted in self._counted:
            passes = self._passes(counted, left)
            absent = ~counted.column.present(left)
            reasons[f"{sentence} (missing required label)"] += int(np.count_nonzero(absent))
            reasons[sentence] += int(np.count_nonzero(~passes & ~absent))
            left = left[passes]
        return +reasons

    def values(self, slot: int) -> tuple[Value, ...]:
        """The constraints that don't hold, with the pods of the node's domain."""
        where = np.array([slot])
        return tuple(counted.told(slot) for counted in self._counted if not self._passes(counted, where)[0])


class PodTopologySpreadScore:
    """Fewer pods of the kind in the node's domains are better; a domain counts more, the more of them there are.

    Pods without constraints of their own are spread softly over hosts and zones, among those that belong together by
    services and by what made them.
    """

    name = "PodTopologySpread"
    citation = None
    depends = Depends.CENSUS | Depends.NODE
    normalization = Normalization.FEWEST
    weight = 2.0

    def __init__(self, shape: Shape, cache: Cache) -> None:
        self._shape = shape
        self._cache = cache
        self._default = shape.spreads.default
        self._version = -1
        self._selector = NOTHING
        self._counted: list[_Counted] = []
        if not self._default:
            keys = [spread.topology_key for spread in shape.spreads.soft]
            self._counted = [_Counted(spread, shape, cache, keys) for spread in shape.spreads.soft]

    @staticmethod
    def applies(shape: Shape) -> bool:
        """Whether the pod has soft constraints, or may get the default ones."""
        return shape.spreads.default or bool(shape.spreads.soft)

    def raw(self, where: Where) -> Vector:
        """The counts, weighed; NaN where a node lacks the label of one of the pod's own constraints."""
        if self._default:
            self._refresh_default()
        if not self._counted:
            return _SAME
        codes = [one.column.codes[where] for one in self._counted]
        lacking = [bool(len(one)) and bool(one.min() < 0) for one in codes]
        known: Mask | None = None
        if not self._default and any(lacking):
            known = np.logical_and.reduce([one >= 0 for one in codes])
        score: Vector = np.zeros(len(codes[0]))
        for counted, found, lacks in zip(self._counted, codes, lacking, strict=True):
            score += self._score(counted, found, known, where, lacks)
        score += 0.5
        np.floor(score, out=score)
        if known is not None:
            score[~known] = np.nan
        return score

    @staticmethod
    def _score(counted: _Counted, codes: Slots, known: Mask | None, where: Where, lacks: bool) -> Vector:
        """One constraint's part; nothing where the label is absent, which it is somewhere if ``lacks``."""
        extra = counted.spread.max_skew - 1
        if counted.spread.topology_key == HOSTNAME:
            size = len(codes) if known is None else int(np.count_nonzero(known))
            part: Vector = np.full(len(codes), float(extra))
            if counted.tally is not None and counted.tally.total:
                part += counted.tally.slots()[where] * log(size + 2)
            if lacks:
                part[codes < 0] = 0.0
            return part
        present = codes if known is None else codes[known]
        domains = np.count_nonzero(np.bincount(present + 1 if lacks else present))
        table = np.append(counted.by_domain() * log(domains + 2) + extra, 0.0)
        looked_up: Vector = table.take(codes, mode="wrap")
        return looked_up

    def _refresh_default(self) -> None:
        memberships, shape = self._cache.memberships, self._shape
        version = memberships.version(shape.namespace)
        if version == self._version:
            return
        self._version = version
        selector = memberships.selector(shape)
        if selector == self._selector:
            return
        self._selector = selector
        self._counted = []
        if not selector.nothing:
            for default in DEFAULTS:
                spread = Spread(default.topology_key, default.max_skew, selector, 1)
                self._counted.append(_Counted(spread, shape, self._cache, ()))
