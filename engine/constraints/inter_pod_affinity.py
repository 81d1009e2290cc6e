"""Which nodes a pod may, must or would rather run on by what runs near them.

Source: kube-scheduler's plugin InterPodAffinity. "Near" is within the nodes of one value of a term's topology key.
Pods on their way out still count, for they may take a while to leave.

What a term of the pod means is counted by a tally; what terms of placed pods mean for the pod is found once, when the
pod's shape and the term first meet. So a decision costs a look at the domains of the few terms that matter, and one
lookup of each node's domain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.constraints.protocol import Depends, Mask, Normalization, Slots, Vector
from engine.constraints.telling import DomainCount, Value
from engine.model.pod_terms import PodSelection, PodTerm
from engine.model.selectors import Anchor
from engine.model.shape import Shape
from engine.state.cache import Cache
from engine.state.columns import Columns
from engine.state.counted import Counted
from engine.state.counts import Counts
from engine.state.labels import LabelColumn, Where
from engine.state.tallies import HeldTerm

_EVERYWHERE: Final = slice(None)
_SAME: Final[Vector] = np.zeros(1)


@dataclass(frozen=True, slots=True)
class Meeting:
    """The pods that meet all of some selections at once: what a tally counts."""

    pods: tuple[PodSelection, ...]

    @property
    def namespaces(self) -> frozenset[str] | None:
        """The only namespaces that matter, None where those are chosen by their labels."""
        named = [one.namespaces for one in self.pods if not one.anywhere]
        return frozenset.intersection(*named) if named else None

    @property
    def anchors(self) -> tuple[Anchor, ...] | None:
        """Labels of which all that meet them have one; those of the selection with the fewest."""
        found = [one.selector.anchors for one in self.pods]
        return min((one for one in found if one is not None), key=len, default=None)

    @property
    def leaving(self) -> bool:
        """Pods on their way out count."""
        return True

    def counts(self, shape: Shape, namespace_labels: Mapping[str, str]) -> bool:
        """Whether pods of the shape meet them."""
        return all(one.matches(shape.namespace, namespace_labels, shape.labels) for one in self.pods)


class TermsAgainst:
    """The terms that placed pods hold and that mean pods of a shape.

    Args:
        shape: The pods that are meant.
        cache: Where pods are placed.
        scored: Whether those that count in scores, or required anti-affinity.
    """

    __slots__ = ("_cache", "_ended", "_labels_seen", "_scored", "_seen", "_shape", "_terms")

    def __init__(self, shape: Shape, cache: Cache, scored: bool) -> None:
        self._shape = shape
        self._cache = cache
        self._scored = scored
        self._terms: list[HeldTerm] = []
        self._seen = 0
        self._ended = 0
        self._labels_seen = -1

    def refresh(self) -> list[HeldTerm]:
        """Those of now. Looks only at terms that are new since it was asked last."""
        namespaces, tallies = self._cache.namespaces, self._cache.tallies
        if namespaces.version != self._labels_seen:
            self._labels_seen = namespaces.version
            self._terms = []
            self._seen = 0
        if tallies.ended != self._ended:
            self._ended = tallies.ended
            self._terms = [held for held in self._terms if held.holders]
        if tallies.newest != self._seen:
            namespace, labels = self._shape.namespace, self._shape.labels
            of_namespace = namespaces.labels(namespace)
            for held in tallies.held_since(self._shape, self._seen):
                if held.scored is self._scored and held.term.pods.matches(namespace, of_namespace, labels):
                    self._terms.append(held)
            self._seen = tallies.newest
        return self._terms


class InterPodAffinity:
    """Keeps a pod to the pods that it must be near, and off those that it or they must not be near."""

    name = "InterPodAffinity"
    citation = None
    depends = Depends.CENSUS | Depends.NODE

    def __init__(self, shape: Shape, cache: Cache) -> None:
        self._shape = shape
        self._cache = cache
        near, apart = shape.terms.near, shape.terms.apart
        self._near = cache.tallies.tally(Meeting(tuple(term.pods for term in near))) if near else None
        self._near_columns = _columns(near, cache.columns)
        self._apart = [
            (cache.tallies.tally(Meeting((term.pods,))), cache.columns.labels.column(term.topology_key))
            for term in apart
        ]
        self._against = TermsAgainst(shape, cache, scored=False)

    def passes_among(self, eligible: Mask, version: int) -> Mask | None:  # noqa: ARG002
        """True where no term is violated."""
        mask: Mask | None = None
        for part in self._parts(_EVERYWHERE):
            mask = part if mask is None else mask & part
        return mask

    def _parts(self, where: Where) -> Iterator[Mask]:
        if self._near is not None:
            yield self._near_passes(where)
        yield from self._apart_passes(where)
        yield from self._against_passes(where)

    def _near_passes(self, where: Where) -> Mask:
        """Where some pod meets all terms, near by each of them."""
        assert self._near is not None
        found = [self._near.by_domain(column.key) for column in self._near_columns]
        if any(counts.any() for counts in found):
            masks = [
                column.table(where, np.append(counts > 0, False))
                for column, counts in zip(self._near_columns, found, strict=True)
            ]
        elif self._meets_itself():
            # The first of its kind: it would wait for itself for ever.
            masks = [column.present(where) for column in self._near_columns]
        else:
            masks = [np.zeros_like(self._cache.columns.alive[where])]
        return np.logical_and.reduce(masks) if len(masks) > 1 else masks[0]

    def _meets_itself(self) -> bool:
        shape = self._shape
        labels = self._cache.namespaces.labels(shape.namespace)
        return all(term.pods.matches(shape.namespace, labels, shape.labels) for term in shape.terms.near)

    def _apart_passes(self, where: Where) -> Iterator[Mask]:
        """Where no pod meets an anti-affinity term; nodes without the label are near to nobody."""
        for tally, column in self._apart:
            if tally.total:
                yield column.table(where, np.append(tally.by_domain(column.key) == 0, True))

    def _against_passes(self, where: Where) -> Iterator[Mask]:
        """Where no pod holds an anti-affinity term that means this one."""
        for held in self._against.refresh():
            yield held.column.table(where, np.append(held.by_domain() == 0, True))

    @property
    def eased_by_leaving(self) -> bool:
        """True for anti-affinity; who wants company may lose it."""
        return self._near is None

    def counted(self) -> Iterable[Counted]:
        """The pods that its terms mean, and those that hold terms against it."""
        if self._near is not None:
            yield self._near
        for tally, _ in self._apart:
            yield tally
        yield from self._against.refresh()

    def curable(self, refused: Slots) -> Mask:
        """True where the pods that it must be near are there, and others are in the way."""
        return np.ones(len(refused), dtype=np.bool_) if self._near is None else self._near_passes(refused)

    def reasons(self, refused: Slots) -> Counter[str]:
        """Which kind of term was the first to be violated."""
        left = np.ones(len(refused), dtype=np.bool_)
        reasons: Counter[str] = Counter()
        for sentence, masks in (
            (
                "node(s) didn't match pod affinity rules",
                [self._near_passes(refused)] if self._near is not None else [],
            ),
            ("node(s) didn't match pod anti-affinity rules", self._apart_passes(refused)),
            ("node(s) didn't satisfy existing pods anti-affinity rules", self._against_passes(refused)),
        ):
            before = np.count_nonzero(left)
            for mask in masks:
                left &= mask
            reasons[sentence] = int(before - np.count_nonzero(left))
        return +reasons

    def values(self, slot: int) -> tuple[Value, ...]:
        """The terms that are violated, with the pods of the node's domain."""
        where = np.array([slot])
        found: list[Value] = []
        if self._near is not None and not self._near_passes(where)[0]:
            for column in self._near_columns:
                counts = self._near.by_domain(column.key)
                # Where the pod may be the first of its kind, nodes without the label are all that is refused.
                if column.codes[slot] < 0 or not counts[column.codes[slot]]:
                    found.append(_told(column, counts, slot, "the pods of its affinity", least=1))
        for tally, column in self._apart:
            counts = tally.by_domain(column.key)
            if column.codes[slot] >= 0 and counts[column.codes[slot]]:
                found.append(_told(column, counts, slot, "the pods of its anti-affinity", most=0))
        for held in self._against.refresh():
            counts = held.by_domain()
            if held.column.codes[slot] >= 0 and counts[held.column.codes[slot]]:
                found.append(_told(held.column, counts, slot, "pods whose anti-affinity means it", most=0))
        return tuple(found)


class InterPodAffinityScore:
    """Nearer to more of the pods that it would rather be with, or that would rather be with it, is better.

    Required affinity of placed pods towards this one counts, too.
    """

    name = "InterPodAffinity"
    citation = None
    depends = Depends.CENSUS | Depends.NODE
    normalization = Normalization.SPAN
    weight = 2.0

    def __init__(self, shape: Shape, cache: Cache) -> None:
        columns = cache.columns
        self._own = [
            (
                one.weight,
                cache.tallies.tally(Meeting((one.term.pods,))),
                columns.labels.column(one.term.topology_key),
            )
            for one in shape.terms.preferred
        ]
        self._against = TermsAgainst(shape, cache, scored=True)
        self._columns = columns

    def raw(self, where: Where) -> Vector:
        """The weights of all terms, each for every pod near by that they are about, added up."""
        sums: dict[LabelColumn, Counts] = {}
        for weight, tally, column in self._own:
            if tally.total:
                _add(sums, column, weight * tally.by_domain(column.key))
        for held in self._against.refresh():
            _add(sums, held.column, held.by_domain())
        scores: Vector | None = None
        for column, counts in sums.items():
            if counts.any():
                part: Vector = np.append(counts, 0).astype(np.float64).take(column.codes[where], mode="wrap")
                scores = part if scores is None else scores + part
        return _SAME if scores is None else scores


def _told(
    column: LabelColumn,
    counts: Counts,
    slot: int,
    counted: str,
    *,
    least: int | None = None,
    most: int | None = None,
) -> DomainCount:
    code = int(column.codes[slot])
    value, pods = (column.values[code], int(counts[code])) if code >= 0 else (None, 0)
    return DomainCount(column.key, value, counted, pods, least, most)


def _add(sums: dict[LabelColumn, Counts], column: LabelColumn, counts: Counts) -> None:
    before = sums.get(column)
    sums[column] = counts if before is None else before + counts


def _columns(terms: Iterable[PodTerm], columns: Columns) -> list[LabelColumn]:
    """The columns of the terms' topology keys, each once."""
    return [columns.labels.column(key) for key in dict.fromkeys(term.topology_key for term in terms)]
