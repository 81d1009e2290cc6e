"""Keeps the last measurements of each direction, and gives their percentile: one spike moves nobody.

A direction's value is the nearest-rank percentile of its last *window* measurements, leaving out those that are too
old. With rank r = ⌈percentile / 100 · window⌉, fewer than window − r + 1 spikes in a row are not seen, and a rise that
lasts is seen after as many measurements; a fall after r. The default, the median of three, therefore ignores one spike
either way and follows a change at the second measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.delay.map import Milliseconds

_SHIFT = 32
_SAME_SECONDS = 0.5
"""Who tells ages tells one measurement with another moment each time, by as much as its answers differ in speed."""
_SPARE_NAMES = 1024
"""Names of endpoints that nothing is known about any more; beyond as many, and as many as are used, they go."""


@dataclass(frozen=True, slots=True)
class Smoothed:
    """All directions that have a value, in the order of `Smoother`'s names.

    Attributes:
        names: Endpoints, each with a direction from it or to it.
        origins: Shape (m,), positions in names.
        targets: Shape (m,), likewise.
        milliseconds: Shape (m,).
        moments: Shape (m,), when each was measured last.
    """

    names: tuple[str, ...]
    origins: NDArray[np.int64]
    targets: NDArray[np.int64]
    milliseconds: Milliseconds
    moments: NDArray[np.float64]


class Smoother:
    """The measurements of all directions, one row each; a row's columns are the last, the one before, and so on.

    Args:
        window: How many measurements of a direction count.
        percentile: Above 0, up to 100.
        max_age: Seconds after which a measurement counts no more.
    """

    def __init__(self, window: int, percentile: float, max_age: float) -> None:
        if window < 1 or not 0 < percentile <= 100:
            raise ValueError("a window has one measurement or more, and a percentile is above 0, up to 100")
        self._window = window
        self._max_age = max_age
        self._index: dict[str, int] = {}
        self._keys = np.empty(0, dtype=np.int64)
        self._values = np.empty((0, window))
        self._moments = np.empty((0, window))
        # The rank among as many measurements as there are; the tolerance keeps 60% of 5 at 3.
        counts = np.arange(window + 1)
        self._ranks = np.maximum(np.ceil(percentile / 100 * counts - 1e-9).astype(np.int64) - 1, 0)

    def add(
        self,
        origins: Sequence[str],
        targets: Sequence[str],
        milliseconds: Sequence[float] | Milliseconds,
        moments: Sequence[float] | NDArray[np.float64],
    ) -> None:
        """Take in one round of measurements; one that is known already (the same moment) counts once.

        Where a direction stands there twice, the larger value counts.

        Args:
            origins: m names.
            targets: m names.
            milliseconds: m round trips.
            moments: When each was measured, seconds.
        """
        if not len(origins):
            return
        index = self._index
        left = np.array([index.setdefault(name, len(index)) for name in origins], dtype=np.int64)
        right = np.array([index.setdefault(name, len(index)) for name in targets], dtype=np.int64)
        value, moment = np.asarray(milliseconds, dtype=np.float64), np.asarray(moments, dtype=np.float64)
        keys = (left << _SHIFT) | right
        order = np.lexsort((-value, keys))
        first = np.flatnonzero(np.diff(keys[order], prepend=-1))
        chosen = order[first]
        keys, value, moment = keys[chosen], value[chosen], moment[chosen]
        rows = self._rows_of(keys)
        fresh = ~(moment <= self._moments[rows, 0] + _SAME_SECONDS)  # NaN, where there is none yet, is fresh
        rows, value, moment = rows[fresh], value[fresh], moment[fresh]
        for kept, new in ((self._values, value), (self._moments, moment)):
            kept[rows, 1:] = kept[rows, :-1]
            kept[rows, 0] = new

    def smoothed(self, now: float) -> Smoothed:
        """What holds at a moment; what is too old is forgotten."""
        old = now - self._moments > self._max_age
        self._values[old] = np.nan
        self._moments[old] = np.nan
        # Ages fall from column to column, so the first is the last to go.
        alive = ~np.isnan(self._moments[:, 0])
        if not alive.all():
            self._keys, self._values, self._moments = (
                self._keys[alive],
                self._values[alive],
                self._moments[alive],
            )
        origins, targets = self._keys >> _SHIFT, self._keys & ((1 << _SHIFT) - 1)
        used, positions = np.unique(np.concatenate((origins, targets)), return_inverse=True)
        names = list(self._index)
        chosen = tuple(names[position] for position in used.tolist())
        origins, targets = positions[: len(origins)], positions[len(origins) :]
        if len(names) > 2 * len(chosen) + _SPARE_NAMES:
            # Positions keep their order, so the keys stay sorted.
            self._index = {name: position for position, name in enumerate(chosen)}
            self._keys = (origins << _SHIFT) | targets
        ordered = np.sort(self._values, axis=1)  # NaN last
        counts = self._window - np.isnan(ordered).sum(axis=1)
        values = ordered[np.arange(len(ordered)), self._ranks[counts]]
        return Smoothed(chosen, origins, targets, values, self._moments[:, 0].copy())

    def next_change(self) -> float:
        """After this moment the first of the measurements is too old; infinity where there is none."""
        moments = self._moments[~np.isnan(self._moments)]
        return float(moments.min()) + self._max_age if moments.size else float("inf")

    def _rows_of(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of sorted, different keys; those that are new get one."""
        rows = np.searchsorted(self._keys, keys)
        known = np.zeros(len(keys), dtype=np.bool_)
        inside = rows < len(self._keys)
        known[inside] = self._keys[rows[inside]] == keys[inside]
        if known.all():
            return rows
        places = rows[~known]
        self._keys = np.insert(self._keys, places, keys[~known])
        self._values = np.insert(self._values, places, np.nan, axis=0)
        self._moments = np.insert(self._moments, places, np.nan, axis=0)
        return np.searchsorted(self._keys, keys)
