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

import numpy as np
from numpy.typing import NDArray

from engine.model.pod_terms import PodTerm
from engine.model.shape import Shape
from engine.state.columns import Columns
from engine.state.labels import LabelColumn, grown
from engine.state.namespaces import Namespaces

Counts = NDArray[np.int64]

_KEPT: Final = 512
"""Changes that a log keeps; whoever is further behind recounts, which costs about as much as replaying these."""
_ATTRACTION: Final = 1
"""What a pod's required affinity counts in the score of the pods that it wants near (hardPodAffinityWeight)."""


class SlotCounts:
    """A number for each slot, with a log of what was added.

    Attributes:
        by_slot: As long as the columns, once `slots` was called.
        total: The sum.
    """

    __slots__ = ("__weakref__", "_base", "_log", "by_slot", "columns", "total")

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.by_slot: Counts = np.zeros(columns.capacity, dtype=np.int64)
        self.total = 0
        self._log: list[tuple[int, int]] = []
        self._base = 0

    @property
    def version(self) -> int:
        """Grows with every change."""
        return self._base + len(self._log)

    def since(self, version: int) -> list[tuple[int, int]] | None:
        """What was added where after ``version``; None where the reader has to recount."""
        start = version - self._base
        return self._log[start:] if start >= 0 else None

    def add(self, slot: int, number: int) -> None:
        """Count pods that came to (or left, negative) a slot."""
        if slot >= len(self.by_slot):
            self.by_slot = grown(self.by_slot, self.columns.capacity, 0)
        self.by_slot[slot] += number
        self.total += number
        self._log.append((slot, number))
        if len(self._log) > _KEPT:
            self._base += len(self._log)
            self._log.clear()

    def slots(self) -> Counts:
        """The counts by slot, as long as every other column."""
        if len(self.by_slot) < self.columns.capacity:
            self.by_slot = grown(self.by_slot, self.columns.capacity, 0)
        return self.by_slot


class DomainCounts:
    """Slot counts by the values of a node label: ``refresh(slots)[code]``, brought up to date when asked for.

    Always asked with the same slot counts, which it does not hold itself, lest they hold each other.
    """

    __slots__ = ("_counts", "_nodes_seen", "_seen", "_within", "column")

    def __init__(self, column: LabelColumn) -> None:
        self.column = column
        self._counts: Counts = np.zeros(0, dtype=np.int64)
        self._within: NDArray[np.bool_] | None = None
        self._seen = -1
        self._nodes_seen = -1

    def refresh(self, slots: SlotCounts, within: NDArray[np.bool_] | None = None) -> Counts:
        """The counts, an entry for each value of the label; not to be kept.

        Args:
            slots: What is counted.
            within: Shape (capacity,): only these slots are counted. A changed mask has to be another array.
        """
        column = self.column
        nodes = slots.columns.node_changes.version
        added = slots.since(self._seen) if self._seen >= 0 else None
        if added is None or nodes != self._nodes_seen or within is not self._within:
            self._recount(slots, within)
            self._nodes_seen = nodes
            self._within = within
        else:
            codes = column.codes
            for slot, number in added:
                code = codes[slot]
                if code >= 0 and (within is None or within[slot]):
                    self._counts[code] += number
        self._seen = slots.version
        return self._counts

    def _recount(self, slots: SlotCounts, within: NDArray[np.bool_] | None) -> None:
        by_slot, codes = slots.slots(), self.column.codes
        on = np.flatnonzero(by_slot if within is None else by_slot * within)
        on = on[codes[on] >= 0]
        counts = np.bincount(codes[on], weights=by_slot[on], minlength=len(self.column.values))
        self._counts = counts.astype(np.int64)


class Selection(Protocol):
    """Which pods a tally counts. Equal selections share one tally, so it has to have a hash."""

    @property
    def namespaces(self) -> frozenset[str] | None:
        """The only namespaces whose pods may be counted; None where the namespaces' labels decide."""
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


class Tallies:
    """All tallies and all held terms of a cache."""

    def __init__(self, columns: Columns, namespaces: Namespaces) -> None:
        self._columns = columns
        self._namespaces = namespaces
        self._records: dict[str, dict[Shape, _Record]] = {}
        self._tallies: weakref.WeakValueDictionary[Selection, Tally] = weakref.WeakValueDictionary()
        self._in_namespace: dict[str, _Weakly[Tally]] = {}
        self._anywhere: _Weakly[Tally] = _Weakly()
        self._tidy_at = 64
        self._held: dict[tuple[PodTerm, bool], HeldTerm] = {}
        self._held_in: dict[str, dict[int, HeldTerm]] = {}
        self._held_anywhere: dict[int, HeldTerm] = {}
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
        names = selection.namespaces
        if names is None:
            self._anywhere.append(tally)
        else:
            for name in names:
                self._tallies_of(name).append(tally)
        for name in self._records if names is None else names:
            labels = self._namespaces.labels(name)
            for record in self._records.get(name, {}).values():
                if selection.counts(record.shape, labels):
                    record.tallies.append(tally)
                    record.add_to(tally, 1)
        return tally

    def held_since(self, namespace: str, serial: int) -> Iterator[HeldTerm]:
        """The terms first held after ``serial`` that may mean pods of a namespace."""
        for terms in (self._held_in.get(namespace, {}), self._held_anywhere):
            for number in reversed(terms):
                if number <= serial:
                    break
                yield terms[number]

    # Counting

    def count(self, shape: Shape, slot: int, number: int, leaving: bool) -> None:
        """A pod came to a slot (1) or leaves it (-1)."""
        records = self._records.get(shape.namespace)
        if records is None:
            records = self._records[shape.namespace] = {}
        record = records.get(shape)
        if record is None:
            record = records[shape] = self._record(shape)
        _add(record.slots, slot, number)
        if leaving:
            _add(record.leaving, slot, number)
        for tally in record.tallies:
            if not leaving or tally.selection.leaving:
                tally.add(slot, number)
        for held, weight in record.terms:
            held.add(slot, number * weight)
        if not record.slots:
            del records[shape]
            if not records:
                del self._records[shape.namespace]
            for held, _ in record.terms:
                self._let_go(held)

    def relabelled(self, namespace: str) -> None:
        """The labels of a namespace changed: tallies that go by them count its pods, or no longer."""
        labels = self._namespaces.labels(namespace)
        for record in self._records.get(namespace, {}).values():
            before = set(map(id, record.tallies))
            kept = [tally for tally in record.tallies if tally.selection.namespaces is not None]
            for tally in self._anywhere:
                counted = tally.selection.counts(record.shape, labels)
                if counted != (id(tally) in before):
                    record.add_to(tally, 1 if counted else -1)
                if counted:
                    kept.append(tally)
            record.tallies = _Weakly(kept)

    # Inside

    def _tallies_of(self, namespace: str) -> _Weakly[Tally]:
        if namespace not in self._in_namespace and len(self._in_namespace) >= self._tidy_at:
            # Namespaces come and go; what their tallies leave behind is cleared away now and then.
            self._in_namespace = {name: some for name, some in self._in_namespace.items() if any(some)}
            self._tidy_at = 2 * len(self._in_namespace) + 64
        return self._in_namespace.setdefault(namespace, _Weakly())

    def _record(self, shape: Shape) -> _Record:
        labels = self._namespaces.labels(shape.namespace)
        tallies = [
            tally
            for candidates in (self._in_namespace.get(shape.namespace, ()), self._anywhere)
            for tally in candidates
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
            if term.pods.anywhere:
                self._held_anywhere[held.serial] = held
            else:
                for name in term.pods.namespaces:
                    self._held_in.setdefault(name, {})[held.serial] = held
        return held

    def _let_go(self, held: HeldTerm) -> None:
        held.holders -= 1
        if held.holders:
            return
        self.ended += 1
        del self._held[held.term, held.scored]
        if held.term.pods.anywhere:
            del self._held_anywhere[held.serial]
        else:
            for name in held.term.pods.namespaces:
                del self._held_in[name][held.serial]
                if not self._held_in[name]:
                    del self._held_in[name]


def _add(numbers: dict[int, int], slot: int, number: int) -> None:
    after = numbers.get(slot, 0) + number
    if after:
        numbers[slot] = after
    else:
        del numbers[slot]
