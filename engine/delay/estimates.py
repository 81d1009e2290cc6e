"""Round trips that nobody has measured, estimated from network coordinates, with the error that they may have.

An estimate is the distance of two places. How far it may be from the truth is not what a place says about itself alone:
wherever a node has measurements, they are compared with what its place would have said. The larger of both is the
node's relative error, and an estimate between two nodes may be wrong by twice the sum of theirs.

The value in a map's row is the estimate and its error together, so that a hard limit that looks at nothing but the
row is granted only where it holds even if the estimate is as wrong as it may be.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.delay.map import MAX_MS, DelayMap, Milliseconds, Rows, SparseRows, digest
from engine.probe.vivaldi import DIMENSIONS, Coordinate

_LEAST_MS: Final = 0.5
"""No estimate is better than this, however well the measurements fit: clocks and queues."""
_LEAST_ERROR: Final = 0.1
_CAUTION: Final = 2.0
"""By how much more than the errors that were seen an estimate may be wrong. Of 12,000 estimates on four networks of 120
nodes with detours of 10%, seven were wrong by more without it, three with 1.5, and none with 2."""
_CACHE_BYTES: Final = 32 * 2**20


class Wishes(Protocol):
    """Hears what is to be measured."""

    def ask(self, origin: str) -> None:
        """Somebody looks at this row."""
        ...

    def want(self, origin: str, target: str) -> None:
        """Somebody has to know this pair."""
        ...


@dataclass(frozen=True, slots=True)
class Places:
    """The coordinates of a map's n endpoints; NaN throughout for one that has none.

    Attributes:
        vectors: Shape (n, dimensions), ms.
        heights: Shape (n,), ms.
        adjustments: Shape (n,), ms.
        errors: Shape (n,), relative.
    """

    vectors: NDArray[np.float64]
    heights: Milliseconds
    adjustments: Milliseconds
    errors: NDArray[np.float64]

    @classmethod
    def of(cls, names: Sequence[str], coordinates: Mapping[str, Coordinate]) -> Places:
        """Those of the endpoints that have one."""
        table = np.full((len(names), DIMENSIONS + 3), np.nan)
        for position, name in enumerate(names):
            place = coordinates.get(name)
            if place is not None and place.sound:
                table[position] = (*place.vector, place.height, place.adjustment, place.error)
        return cls(
            table[:, :DIMENSIONS], table[:, DIMENSIONS], table[:, DIMENSIONS + 1], table[:, DIMENSIONS + 2]
        )

    def row(self, origin: int) -> Milliseconds:
        """Estimates from one endpoint to all, shape (n,), as `engine.probe.vivaldi.Coordinate.estimate` has them."""
        whole = np.arange(len(self.heights))
        return self.between(np.full_like(whole, origin), whole)

    def between(self, origins: NDArray[np.int64], targets: NDArray[np.int64]) -> Milliseconds:
        """Estimates of m pairs, shape (m,)."""
        apart = np.sqrt(((self.vectors[origins] - self.vectors[targets]) ** 2).sum(axis=1))
        distance = apart + self.heights[origins] + self.heights[targets]
        adjusted = distance + self.adjustments[origins] + self.adjustments[targets]
        estimates: Milliseconds = np.where(adjusted > 0, adjusted, distance)
        return estimates


def with_estimates(
    names: Sequence[str],
    origins: NDArray[np.int64],
    targets: NDArray[np.int64],
    milliseconds: Milliseconds,
    coordinates: Mapping[str, Coordinate],
    wishes: Wishes | None = None,
) -> DelayMap:
    """The map of what was measured and, elsewhere, of what coordinates say.

    Args:
        names: n different names.
        origins: Shape (m,), positions in names.
        targets: Shape (m,), likewise.
        milliseconds: Shape (m,), measured.
        coordinates: By name; an endpoint without one has no estimates, and one without any measurement none either:
            nothing says that it can be reached.
        wishes: Told what somebody looks at or has to know, by any thread.
    """
    places = Places.of(names, coordinates)
    errors = _errors(places, origins, targets, milliseconds, len(names))
    own = origins != targets
    sparse = SparseRows(len(names), origins[own], targets[own], milliseconds[own])
    rows = _Estimated(sparse, places, errors, tuple(names), wishes)
    kept = (places.vectors, places.heights, places.adjustments, errors)
    version = digest(names, origins, targets, milliseconds, *kept)
    return DelayMap(names, rows, version)


def _errors(
    places: Places,
    origins: NDArray[np.int64],
    targets: NDArray[np.int64],
    milliseconds: Milliseconds,
    size: int,
) -> NDArray[np.float64]:
    """Each endpoint's relative error, shape (n,); NaN where it has no place or no measurement."""
    estimates = places.between(origins, targets)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Only what was longer than estimated can make a limit be granted wrongly.
        short = np.maximum(milliseconds - estimates - _LEAST_MS, 0.0) / estimates
    found = np.full(size, -np.inf)
    known = ~np.isnan(short)
    for ends in (origins, targets):
        np.maximum.at(found, ends[known], short[known])
    return np.where(np.isneginf(found), np.nan, np.maximum(np.fmax(found, places.errors), _LEAST_ERROR))


class _Estimated(Rows):
    """Measured entries of a sparse table over estimated ones."""

    __slots__ = ("_cache", "_errors", "_lock", "_measured", "_names", "_places", "_room", "_wishes")

    def __init__(
        self,
        measured: SparseRows,
        places: Places,
        errors: NDArray[np.float64],
        names: tuple[str, ...],
        wishes: Wishes | None,
    ) -> None:
        self._measured = measured
        self._places = places
        self._errors = errors
        self._names = names
        self._wishes = wishes
        self._cache: dict[int, tuple[Milliseconds, Milliseconds]] = {}
        self._room = max(8, _CACHE_BYTES // max(16 * len(names), 1))
        self._lock = threading.Lock()

    def row(self, origin: int) -> Milliseconds:
        if self._wishes is not None:
            self._wishes.ask(self._names[origin])
        return self._both(origin)[0]

    def errors(self, origin: int) -> Milliseconds:
        return self._both(origin)[1]

    def cell(self, origin: int, target: int) -> float:
        value = self._measured.cell(origin, target)
        return value if value == value else float(self._both(origin)[0][target])

    def measured(self) -> NDArray[np.bool_]:
        return self._measured.measured()

    def want(self, origin: int, target: int) -> None:
        if self._wishes is not None:
            self._wishes.want(self._names[origin], self._names[target])

    def _both(self, origin: int) -> tuple[Milliseconds, Milliseconds]:
        cached = self._cache.get(origin)
        if cached is not None:
            return cached
        measured = self._measured.row(origin)
        estimates = self._places.row(origin)
        errors = estimates * _CAUTION * (self._errors + self._errors[origin]) + _LEAST_MS
        # NaN comes through from either side: without a place, or out of touch.
        values = np.minimum(estimates + errors, MAX_MS)
        known = ~np.isnan(measured)
        values[known] = measured[known]
        errors[known] = 0.0
        for made in (values, errors):
            made.flags.writeable = False
        with self._lock:
            while len(self._cache) >= self._room:
                del self._cache[next(iter(self._cache))]
            self._cache[origin] = (values, errors)
        return values, errors
