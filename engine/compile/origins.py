"""``node.delay(from)`` as a column: round-trip milliseconds from a node, a workload or a zone to every slot.

``from`` is a node's name; else a workload of the pod's namespace, of whose placed pods the nearest counts; else a
zone, of whose nodes the nearest counts. A node that is not ready is no reference: nobody is at home there.

A pod may be measured from its own workload, to be near its siblings. The first of them has nobody to be near, so every
node is 0 ms away for it; else it would wait for itself for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.delay.map import DelayMap, Milliseconds
from engine.model.well_known import ZONE
from engine.state.columns import Columns
from engine.state.counted import Counted
from engine.state.workloads import Workloads
from engine.suggest import suggestion

Stamp = tuple[object, ...]

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
        self._rows: dict[str, tuple[Stamp, Milliseconds]] = {}
        self._positions: tuple[Stamp, NDArray[np.int64]] | None = None

    def swap(self, delays: DelayMap) -> None:
        """Use other delays from now on."""
        self.delays = delays
        self._rows.clear()
        self._positions = None

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
        stamp = (self.delays.version, self.columns.node_changes.version)
        cached = self._rows.get(node)
        if cached is not None and cached[0] == stamp:
            return cached[1]
        measured = self.delays.row(node)
        if measured is None:
            row = np.full(self.columns.capacity, np.nan)
        else:
            row = np.append(measured, np.nan)[self._slot_positions(stamp)]
        row[slot] = 0.0
        if len(self._rows) > 1024:
            self._rows.clear()
        self._rows[node] = (stamp, row)
        return row

    def _slot_positions(self, stamp: Stamp) -> NDArray[np.int64]:
        """For each slot the position of its node in the delay map, -1 where it is not there."""
        if self._positions is None or self._positions[0] != stamp:
            positions = np.full(self.columns.capacity, -1, dtype=np.int64)
            for slot, name in enumerate(self.columns.names):
                position = self.delays.index(name) if name else None
                if position is not None:
                    positions[slot] = position
            self._positions = (stamp, positions)
        return self._positions[1]


class Origin:
    """One ``from``: what it stands for is worked out anew whenever something that it depends on changed."""

    __slots__ = (
        "_first",
        "_missing",
        "_origins",
        "_own",
        "_stamp",
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
        self._stamp: Stamp | None = None
        self._vector: Milliseconds = np.zeros(0)
        self._missing: str | None = None
        self._unknown = False
        self._first = False

    def stamp(self) -> Stamp:
        """Changes whenever the vector may have."""
        origins = self._origins
        workload = origins.workloads.get(self.namespace, self.name)
        placed = workload.version if workload is not None else None
        return (origins.delays.version, origins.columns.node_changes.version, placed)

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

    def missing(self) -> str | None:
        """Why there is no "here" at the moment, None where there is one."""
        self._refresh()
        if not self._unknown:
            return self._missing
        names = suggestion(self.name, self._origins.names(self.namespace))
        return f"no node, workload of namespace {self.namespace} or zone is named {self.name}{names}"

    def _refresh(self) -> None:
        stamp = self.stamp()
        if stamp == self._stamp:
            return
        self._missing = None
        self._unknown = False
        self._first = False
        slots = self._slots()
        columns = self._origins.columns
        ready = [slot for slot in slots if columns.ready[slot]]
        if slots and not ready:
            self._missing = f"{self.name} is not ready, so no delay can be measured from it"
        vector: Milliseconds | None = None
        for slot in ready:
            row = self._origins.row(columns.names[slot], slot)
            vector = row.copy() if vector is None else np.fmin(vector, row)
        if vector is None:
            vector = np.full(columns.capacity, 0.0 if self._first else np.nan)
        self._vector = vector
        self._stamp = stamp

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
