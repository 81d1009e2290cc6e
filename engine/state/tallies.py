"""Counts of placed pods that bind and event keep up, by node and by the values of a node's label.

::

    a pod comes or goes ──▶ the record of its shape ──▶ each tally that counts the shape: by_slot, log
                                                    └─▶ each term that the shape holds:   by_slot, log
    a constraint asks  ──▶ DomainCounts.refresh: replays the log, or recounts where nodes changed

Whether a shape is counted is worked out once, when the two first meet. Tallies are held by those who ask for them and
end with them; terms by the pods that hold them.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Final, Generic, Protocol, TypeVar

from engine.model.pod_terms import PodTerm
from engine.model.selectors import Anchor
from engine.model.shape import Shape
from engine.state.anchors import Anchored
from engine.state.columns import Columns
from engine.state.counts import Counts, DomainCounts, SlotCounts
from engine.state.namespaces import Namespaces

_ATTRACTION: Final = 1
"""What a pod's required affinity counts in the score of the pods that it wants near (hardPodAffinityWeight)."""


class Selection(Protocol):
    """Which pods a tally counts. Equal selections share one tally, so it has to have a hash."""

    @property
    def namespaces(self) -> frozenset[str] | None:
        """The only namespaces whose pods may be counted; None where the namespaces' labels decide."""
        ...

    @property
    def anchors(self) -> tuple[Anchor, ...] | None:
        """Labels of one key of which every pod that is counted has one; None where there are none such."""
        ...

    @property
    def leaving(self) -> bool:
        """Whether pods on their way out count."""
        ...

    def counts(self, shape: Shape, namespace_labels: Mapping[str, str]) -> bool:
        """Whether pods of the shape are counted."""
        ...


class Tally(SlotCounts):
    """The placed pods of a selection; see `Tallies.tally`."""

    __slots__ = ("_domains", "selection")

    def __init__(self, columns: Columns, selection: Selection) -> None:
        super().__init__(columns)
        self.selection = selection
        self._domains: dict[str, DomainCounts] = {}

    def by_domain(self, label: str) -> Counts:
        """The counts by the codes of a label's values, of all nodes; not to be kept."""
        domain = self._domains.get(label)
        if domain is None:
            domain = self._domains[label] = DomainCounts(self.columns.labels.column(label))
        return domain.refresh(self)


class HeldTerm(SlotCounts):
    """A term that placed pods hold, and how many of them, or the sum of their weights, by slot.

    Attributes:
        term: What they hold.
        scored: Whether it counts in scores, or is required anti-affinity.
        column: The label that is the term's topology key.
        serial: Higher for a term that was first held later.
        holders: How many shapes hold it; at 0 the term is over, and a new one takes its place.
    """

    __slots__ = ("_domains", "column", "holders", "scored", "serial", "term")

    def __init__(self, columns: Columns, term: PodTerm, scored: bool, serial: int) -> None:
        super().__init__(columns)
        self.term = term
        self.scored = scored
        self.serial = serial
        self.holders = 0
        self.column = columns.labels.column(term.topology_key)
        self._domains = DomainCounts(self.column)

    def by_domain(self) -> Counts:
        """The same by the codes of the topology key's values; not to be kept."""
        return self._domains.refresh(self)


Item = TypeVar("Item")


class _Weakly(Generic[Item]):
    """A list that holds nobody back: who is gone is left out, and cleared away now and then."""

    __slots__ = ("_next", "_references")

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._references = [weakref.ref(item) for item in items]
        self._next = 2 * len(self._references) + 8

    def append(self, item: Item) -> None:
        if len(self._references) >= self._next:
            self._references = [one for one in self._references if one() is not None]
            self._next = 2 * len(self._references) + 8
        self._references.append(weakref.ref(item))

    def __iter__(self) -> Iterator[Item]:
        for reference in self._references:
            item = reference()
            if item is not None:
                yield item


class _Record:
    """A shape of which pods are placed.

    Attributes:
        slots: How many of its pods are on each slot.
        leaving: How many of those are on their way out.
        tallies: Those that count it.
        terms: What it holds, with the weight.
    """

    __slots__ = ("leaving", "shape", "slots", "tallies", "terms")

    def __init__(self, shape: Shape, tallies: Iterable[Tally], terms: list[tuple[HeldTerm, int]]) -> None:
        self.shape = shape
        self.slots: dict[int, int] = {}
        self.leaving: dict[int, int] = {}
        self.tallies = _Weakly(tallies)
        self.terms = terms

    def add_to(self, tally: Tally, sign: int) -> None:
        """Count all its pods in a tally, or (-1) no longer."""
        for slot, number in self.slots.items():
            counted = number if tally.selection.leaving else number - self.leaving.get(slot, 0)
            if counted:
                tally.add(slot, sign * counted)


class _Placed:
    """The shapes of one namespace of which pods are placed, and those with some label."""

    __slots__ = ("_by_label", "all")

    def __init__(self) -> None:
        self.all: dict[Shape, _Record] = {}
        self._by_label: dict[Anchor, dict[Shape, _Record]] = {}

    def add(self, record: _Record) -> None:
        self.all[record.shape] = record
        for pair in record.shape.labels.items():
            self._by_label.setdefault(pair, {})[record.shape] = record

    def remove(self, shape: Shape) -> None:
        del self.all[shape]
        for pair in shape.labels.items():
            records = self._by_label[pair]
            del records[shape]
            if not records:
                del self._by_label[pair]

    def with_one_of(self, anchors: tuple[Anchor, ...] | None) -> Iterator[_Record]:
        if anchors is None:
            yield from self.all.values()
        for anchor in anchors or ():
            yield from self._by_label.get(anchor, {}).values()


class Tallies:
    """All tallies and all held terms of a cache."""

    def __init__(self, columns: Columns, namespaces: Namespaces) -> None:
        self._columns = columns
        self._namespaces = namespaces
        self._placed: dict[str, _Placed] = {}
        self._tallies: weakref.WeakValueDictionary[Selection, Tally] = weakref.WeakValueDictionary()
        self._in_namespace: dict[str, Anchored[_Weakly[Tally]]] = {}
        self._anywhere: Anchored[_Weakly[Tally]] = Anchored(_Weakly)
        self._tidy_at = 256
        self._added = 0
        self._held: dict[tuple[PodTerm, bool], HeldTerm] = {}
        self._held_in: dict[str, Anchored[dict[int, HeldTerm]]] = {}
        self._held_anywhere: Anchored[dict[int, HeldTerm]] = Anchored(dict)
        self._serials = count(1)
        self.newest = 0
        """The serial of the newest term."""
        self.ended = 0
        """How many terms have ended so far."""

    def __len__(self) -> int:
        """How many tallies are kept up."""
        return len(self._tallies)

    @property
    def held(self) -> int:
        """How many terms are held."""
        return len(self._held)

    # Asking

    def tally(self, selection: Selection) -> Tally:
        """The tally of a selection, kept up for as long as somebody holds it."""
        tally = self._tallies.get(selection)
        if tally is not None:
            return tally
        tally = self._tallies[selection] = Tally(self._columns, selection)
        self._tidy()
        names, anchors = selection.namespaces, selection.anchors
        if names is None:
            scopes = [self._anywhere]
        else:
            scopes = [self._in_namespace.setdefault(name, Anchored(_Weakly)) for name in names]
        for scope in scopes:
            for group in scope.of(anchors):
                group.append(tally)
        for name in self._placed if names is None else names:
            placed = self._placed.get(name)
            if placed is None:
                continue
            labels = self._namespaces.labels(name)
            for record in placed.with_one_of(anchors):
                if selection.counts(record.shape, labels):
                    record.tallies.append(tally)
                    record.add_to(tally, 1)
        return tally

    def held_since(self, shape: Shape, serial: int) -> Iterator[HeldTerm]:
        """The terms first held after ``serial`` that may mean pods of a shape."""
        for scope in (self._held_in.get(shape.namespace), self._held_anywhere):
            for terms in scope.meaning(shape.labels) if scope is not None else ():
                for number in reversed(terms):
                    if number <= serial:
                        break
                    yield terms[number]

    # Counting

    def count(self, shape: Shape, slot: int, number: int, leaving: bool) -> None:
        """A pod came to a slot (1) or leaves it (-1)."""
        placed = self._placed.get(shape.namespace)
        if placed is None:
            placed = self._placed[shape.namespace] = _Placed()
        record = placed.all.get(shape)
        if record is None:
            record = self._record(shape)
            placed.add(record)
        _add(record.slots, slot, number)
        if leaving:
            _add(record.leaving, slot, number)
        for tally in record.tallies:
            if not leaving or tally.selection.leaving:
                tally.add(slot, number)
        for held, weight in record.terms:
            held.add(slot, number * weight)
        if not record.slots:
            placed.remove(shape)
            if not placed.all:
                del self._placed[shape.namespace]
            for held, _ in record.terms:
                self._let_go(held)

    def relabelled(self, namespace: str) -> None:
        """The labels of a namespace changed: tallies that go by them count its pods, or no longer."""
        labels = self._namespaces.labels(namespace)
        placed = self._placed.get(namespace)
        for record in placed.all.values() if placed is not None else ():
            before = set(map(id, record.tallies))
            kept = [tally for tally in record.tallies if tally.selection.namespaces is not None]
            for group in self._anywhere.meaning(record.shape.labels):
                for tally in group:
                    counted = tally.selection.counts(record.shape, labels)
                    if counted != (id(tally) in before):
                        record.add_to(tally, 1 if counted else -1)
                    if counted:
                        kept.append(tally)
            record.tallies = _Weakly(kept)

    # Inside

    def _tidy(self) -> None:
        """Clear away, now and then, what tallies that ended have left in the indexes."""
        self._added += 1
        if self._added < self._tidy_at:
            return
        self._anywhere.tidy(any)
        self._in_namespace = {name: some for name, some in self._in_namespace.items() if some.tidy(any)}
        self._added = 0
        self._tidy_at = len(self._tallies) + 256

    def _record(self, shape: Shape) -> _Record:
        labels = self._namespaces.labels(shape.namespace)
        tallies = [
            tally
            for scope in (self._in_namespace.get(shape.namespace), self._anywhere)
            if scope is not None
            for group in scope.meaning(shape.labels)
            for tally in group
            if tally.selection.counts(shape, labels)
        ]
        weights: dict[HeldTerm, int] = {}
        terms = shape.terms
        if terms:
            for term in terms.apart:
                weights[self._hold(term, scored=False)] = 1
            pulls = [(term, _ATTRACTION) for term in terms.near]
            pulls += [(weighted.term, weighted.weight) for weighted in terms.preferred]
            for term, weight in pulls:
                held = self._hold(term, scored=True)
                weights[held] = weights.get(held, 0) + weight
            for held in weights:
                held.holders += 1
        return _Record(shape, tallies, list(weights.items()))

    def _hold(self, term: PodTerm, scored: bool) -> HeldTerm:
        held = self._held.get((term, scored))
        if held is None:
            self.newest = next(self._serials)
            held = self._held[term, scored] = HeldTerm(self._columns, term, scored, self.newest)
            for scope in self._scopes(term):
                for terms in scope.of(term.pods.selector.anchors):
                    terms[held.serial] = held
        return held

    def _scopes(self, term: PodTerm) -> list[Anchored[dict[int, HeldTerm]]]:
        if term.pods.anywhere:
            return [self._held_anywhere]
        return [self._held_in.setdefault(name, Anchored(dict)) for name in term.pods.namespaces]

    def _let_go(self, held: HeldTerm) -> None:
        held.holders -= 1
        if held.holders:
            return
        self.ended += 1
        term = held.term
        anchors = term.pods.selector.anchors
        del self._held[term, held.scored]
        for scope in self._scopes(term):
            for terms in scope.of(anchors):
                del terms[held.serial]
        if term.pods.anywhere:
            self._held_anywhere.drop_empty(anchors)
        else:
            for name in term.pods.namespaces:
                if not self._held_in[name].drop_empty(anchors):
                    del self._held_in[name]


def _add(numbers: dict[int, int], slot: int, number: int) -> None:
    after = numbers.get(slot, 0) + number
    if after:
        numbers[slot] = after
    else:
        del numbers[slot]
