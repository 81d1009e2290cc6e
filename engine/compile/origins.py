"""``node.delay(from)`` as a column: round-trip milliseconds from a node, a workload or a zone to every slot.

``from`` is a node's name; else a workload of the pod's namespace, of whose placed pods the nearest counts; else a
zone, of whose nodes the nearest counts. A node that is not ready is no reference: nobody is at home there.

A pod may be measured from its own workload, to be near its siblings. The first of them has nobody to be near, so every
node is 0 ms away for it; else it would wait for itself for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.delay.map import DelayMap, Milliseconds
from engine.model.well_known import ZONE
from engine.state.changes import ChangeLog
from engine.state.columns import Columns
from engine.state.counted import Counted
from engine.state.workloads import Workloads
from engine.suggest import suggestion

Slots = NDArray[np.int64]

_FEW: Final = 256
"""Of more changed delays than that, readers look at all."""

AgesOf = Callable[[str], Milliseconds | None]
"""Seconds since each value of an endpoint's row of the delay map was measured, as `DelaySource.ages` has them."""


@dataclass(frozen=True, slots=True)
class Heard:
    """How a delay is known.

    Attributes:
        ms: What counts: of an estimate, with its error added; NaN where nobody has measured.
        error_ms: How much of it is an estimate's error; 0 where it was measured.
        age_s: Seconds since it was measured, None where nobody knows.
    """

    ms: float
    error_ms: float = 0.0
    age_s: float | None = None

    def __str__(self) -> str:
        if not self.error_ms:
            return f"{self.ms:g}ms"
        return f"about {self.ms - self.error_ms:.3g}ms ± {self.error_ms:.2g} (estimated)"


class Origins:
    """All origins on one set of columns; the delay map can be swapped.

    Attributes:
        ages: Who knows how old the map's values are, for whoever explains; None where nobody does.
    """

    def __init__(self, columns: Columns, workloads: Workloads, delays: DelayMap | None = None) -> None:
        self.ages: AgesOf | None = None
        self.columns = columns
        self.workloads = workloads
        self.delays = delays if delays is not None else DelayMap.empty()
        self._origins: dict[tuple[str, str, bool], Origin] = {}
        self._rows: dict[str, _Row] = {}
        self._positions: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._positions_seen = -1

    def swap(self, delays: DelayMap) -> None:
        """Use other delays from now on."""
        self.delays = delays
        self._rows.clear()
        self._positions_seen = -1

    def clear(self) -> None:
        """Forget the origins that a former plan asked for."""
        self._origins.clear()
        self._rows.clear()

    def origin(self, name: str, namespace: str, own: bool = False) -> Origin:
        """The origin of that name, as a pod of the namespace means it.

        Args:
            name: A node, a workload or a zone.
            namespace: The pod's.
            own: Whether the pod's own workload has that name.
        """
        key = (namespace, name, own)
        origin = self._origins.get(key)
        if origin is None:
            if len(self._origins) > 4096:
                self.clear()
            origin = self._origins[key] = Origin(self, name, namespace, own)
        return origin

    def names(self, namespace: str) -> list[str]:
        """All that a pod of the namespace can name."""
        zone = self.columns.labels.column(ZONE)
        zones = (zone.values[code] for code in np.unique(zone.codes).tolist() if code >= 0)
        return [*self.columns.node_names(), *self.workloads.names(namespace), *zones]

    def row(self, node: str, slot: int) -> Milliseconds:
        """Round trips from one node to every slot, by the slots of now; NaN where nobody has measured."""
        columns = self.columns
        version = columns.node_changes.version
        kept = self._rows.get(node)
        if kept is not None and kept.nodes == version:
            return kept.values
        measured = self.delays.row(node)
        changed = None
        if kept is not None and len(kept.values) == columns.capacity:
            changed = columns.node_changes.since(kept.nodes)
        if kept is None or changed is None:
            if len(self._rows) > 1024:
                self._rows.clear()
            kept = self._rows[node] = _Row(np.full(columns.capacity, np.nan), version)
            where = np.arange(columns.capacity)
        else:
            where = np.array(changed, dtype=np.int64)
        kept.nodes = version
        if measured is None:
            kept.values[where] = np.nan  # another node may be where this one was
        else:
            positions = self._slot_positions()[where]
            kept.values[where] = np.where(positions >= 0, measured[positions], np.nan)
        kept.values[slot] = 0.0
        return kept.values

    def _slot_positions(self) -> NDArray[np.int64]:
        """For each slot the position of its node in the delay map, -1 where it is not there."""
        columns = self.columns
        seen, self._positions_seen = self._positions_seen, columns.node_changes.version
        changed: Iterable[int] | None = columns.node_changes.since(seen)
        if changed is None or len(self._positions) != columns.capacity:
            self._positions = np.full(columns.capacity, -1, dtype=np.int64)
            changed = range(columns.size)
        for slot in changed:
            name = columns.names[slot]
            position = self.delays.index(name) if name else None
            self._positions[slot] = -1 if position is None else position
        return self._positions


@dataclass(slots=True)
class _Row:
    """Round trips from one node, by slot.

    Attributes:
        values: Shape (capacity,).
        nodes: The version of the nodes that it is of.
    """

    values: Milliseconds
    nodes: int


class Origin:
    """One ``from``: what it stands for is worked out anew whenever something that it depends on changed.

    A change of a node changes its own entry, which readers look at anyway; everything, only where the node is one of
    those that are measured from.
    """

    __slots__ = (
        "_among",
        "_changes",
        "_first",
        "_missing",
        "_near",
        "_of",
        "_origins",
        "_own",
        "_seen",
        "_unknown",
        "_vector",
        "name",
        "namespace",
    )

    def __init__(self, origins: Origins, name: str, namespace: str, own: bool) -> None:
        self.name = name
        self.namespace = namespace
        self._origins = origins
        self._own = own
        self._seen: tuple[str, int, int | None] | None = None
        self._of: tuple[int, ...] = ()
        self._changes = ChangeLog(2 * _FEW)
        self._vector: Milliseconds = np.zeros(0)
        self._missing: str | None = None
        self._unknown = False
        self._among: tuple[object, ...] = ()
        self._near = ""
        self._first = False

    def changes(self) -> ChangeLog:
        """The slots whose delay is another, beside those whose node is; up to now."""
        self._refresh()
        return self._changes

    @property
    def moves(self) -> bool:
        """Whether where it is depends on where pods are."""
        return self._origins.columns.slot(self.name) is None

    def counted(self) -> Counted | None:
        """The pods of the workload that it is measured from, where it is one."""
        return self._origins.workloads.get(self.namespace, self.name) if self.moves else None

    def vector(self) -> Milliseconds:
        """Round trip from here to every slot; NaN where nobody has measured, or where there is no "here"."""
        self._refresh()
        return self._vector

    def heard(self, slot: int) -> Heard:
        """How the round trip to a slot is known: for whoever explains a decision."""
        origins, columns = self._origins, self._origins.columns
        value = float(self.vector()[slot])
        target = origins.delays.index(columns.names[slot])
        for source in self._slots():
            if source == slot or target is None or not columns.ready[source]:
                continue
            name = columns.names[source]
            if origins.row(name, source)[slot] != value:
                continue
            errors = origins.delays.errors(name)
            ages = None if origins.ages is None else origins.ages(name)
            age = np.nan if ages is None else float(ages[target])
            return Heard(
                value, 0.0 if errors is None else float(errors[target]), None if np.isnan(age) else age
            )
        return Heard(value)

    def want(self, slot: int) -> None:
        """Have the round trip to a slot measured, where the source can: from who is nearest, as far as is known."""
        origins, columns = self._origins, self._origins.columns
        here = [source for source in self._slots() if source != slot and columns.ready[source]]
        if here:
            values = [origins.row(columns.names[source], source)[slot] for source in here]
            nearest = here[int(np.argsort(values)[0])]  # NaN last
            origins.delays.want(columns.names[nearest], columns.names[slot])

    def missing(self) -> str | None:
        """Why there is no "here" at the moment, None where there is one."""
        self._refresh()
        if not self._unknown:
            return self._missing
        # Among many names that takes long, and who decides asks for each pod.
        among = (self._origins.columns.node_changes.version, *self._origins.workloads.names(self.namespace))
        if self._among != among:
            self._among, self._near = among, suggestion(self.name, self._origins.names(self.namespace))
        return f"no node, workload of namespace {self.namespace} or zone is named {self.name}{self._near}"

    def _refresh(self) -> None:
        origins = self._origins
        workload = origins.workloads.get(self.namespace, self.name)
        columns = origins.columns
        nodes = columns.node_changes.version
        seen = (origins.delays.version, nodes, workload.version if workload is not None else None)
        if seen == self._seen:
            return
        before, self._seen = self._seen, seen
        self._missing = None
        self._unknown = False
        self._first = False
        slots = self._slots()
        ready = tuple(slot for slot in slots if columns.ready[slot])
        if slots and not ready:
            self._missing = f"{self.name} is not ready, so no delay can be measured from it"
        same = before is not None and before[0] == seen[0] and len(self._vector) == columns.capacity
        of, self._of = self._of, ready
        if same and ready and ready == of:
            assert before is not None
            changed = columns.node_changes.since(before[1])
            # Who is measured from may be another node in the same slot.
            if changed is not None and not set(ready).intersection(changed):
                where = np.array(changed, dtype=np.int64)
                self._vector[where] = self._measured(ready, where)
                return
        vector = self._measured(ready, np.arange(columns.capacity))
        if len(self._vector) == len(vector):
            other = np.flatnonzero((vector != self._vector) & ~(np.isnan(vector) & np.isnan(self._vector)))
            if len(other) > _FEW:
                self._changes.invalidate()
            else:
                for slot in other.tolist():
                    self._changes.touch(slot)
        else:
            self._changes.invalidate()
        self._vector = vector

    def _measured(self, ready: Sequence[int], where: Slots) -> Milliseconds:
        """The round trips from the nearest of these slots, to some."""
        columns = self._origins.columns
        vector: Milliseconds | None = None
        for slot in ready:
            row = self._origins.row(columns.names[slot], slot)[where]
            vector = row if vector is None else np.fmin(vector, row)
        return np.full(len(where), 0.0 if self._first else np.nan) if vector is None else vector

    def _slots(self) -> list[int]:
        columns = self._origins.columns
        slot = columns.slot(self.name)
        if slot is not None:
            return [slot]
        workload = self._origins.workloads.get(self.namespace, self.name)
        if workload is not None:
            if not workload.slots and self._own:
                self._first = True
            elif not workload.slots:
                self._missing = f"workload {self.namespace}/{self.name} has no placed pod yet"
            return list(workload.slots)
        zone = columns.labels.column(ZONE)
        in_zone = np.flatnonzero(zone.equals(self.name, columns.everywhere))
        self._unknown = not len(in_zone)
        return in_zone.tolist()
