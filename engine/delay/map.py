"""Round-trip times between named endpoints, as rows of milliseconds.

Representations that stand behind one class: a dense matrix, where every pair is measured; a sparse table in compressed
rows (CSR), where few origins see many nodes: 100,000 names never become 100,000² cells; and such a table with estimates
for the rest (`engine.delay.estimates`).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Milliseconds = NDArray[np.float64]

MAX_MS = 600_000.0
"""Ten minutes: a longer round trip is a mistake of units (microseconds, most likely), not a measurement."""

_CACHE_BYTES = 64 * 2**20
"""What the expanded rows of a sparse map may take: 80 origins at 100,000 names."""


class Rows(Protocol):
    """Where a map's numbers are; endpoints are positions."""

    def row(self, origin: int) -> Milliseconds:
        """See `DelayMap.row`."""
        ...

    def errors(self, origin: int) -> Milliseconds | None:  # noqa: ARG002  (for who estimates)
        """See `DelayMap.errors`."""
        return None

    def cell(self, origin: int, target: int) -> float:
        """One entry of a row, NaN where there is none."""
        ...

    def measured(self) -> NDArray[np.bool_]:
        """See `DelayMap.measured`."""
        ...

    def want(self, origin: int, target: int) -> None:  # noqa: ARG002  (for who can measure)
        """See `DelayMap.want`."""
        return


class DelayMap:
    """Immutable round-trip times between named endpoints.

    Endpoints are mostly nodes; a name may also stand for something that is no node. A round trip is symmetric: the
    larger of the two directions where both are known, the known one where only one is, NaN where neither is. An
    endpoint is 0 ms from itself, whatever a file says.

    Attributes:
        names: All endpoints, in the order of the rows' entries.
        version: A hash of what the map was made from; equal versions hold equal delays.
        warnings: What was odd about the source, but no error; one sentence each.
    """

    __slots__ = ("_index", "_lines", "_rows", "_source", "names", "version", "warnings")

    def __init__(
        self,
        names: Sequence[str],
        rows: Rows,
        version: str,
        *,
        warnings: Sequence[str] = (),
        source: str = "",
        lines: Sequence[int] = (),
    ) -> None:
        self.names = tuple(names)
        self.version = version
        self.warnings = tuple(warnings)
        self._rows = rows
        self._index = {name: position for position, name in enumerate(self.names)}
        self._source = source
        self._lines = tuple(lines)
        if len(self._index) != len(self.names):
            raise ValueError("endpoints must have different names")

    @classmethod
    def from_matrix(
        cls,
        names: Sequence[str],
        matrix: ArrayLike,
        *,
        version: str | None = None,
        source: str = "",
        lines: Sequence[int] = (),
    ) -> DelayMap:
        """A map of a dense matrix, ``matrix[i, j]`` being the milliseconds from ``names[i]`` to ``names[j]``.

        Args:
            names: n different names.
            matrix: Shape (n, n), milliseconds, 0 … `MAX_MS`, NaN where a direction is not measured.
            version: A hash of the source; that of the cells, if None.
            source: The file that names the endpoints, for messages.
            lines: The line of each name in that file.

        Raises:
            ValueError: The shape does not fit, or a value is out of range.
        """
        given = np.asarray(matrix, dtype=np.float64)
        if given.shape != (len(names), len(names)):
            raise ValueError(
                f"{len(names)} names need a matrix of that many rows and columns, not {given.shape}"
            )
        _check_range(given)
        if version is None:
            version = digest(names, given)
        warnings = _diagonal_warnings(names, np.diagonal(given), source)
        return cls(names, _Dense(given), version, warnings=warnings, source=source, lines=lines)

    @classmethod
    def from_table(
        cls,
        names: Sequence[str],
        origins: ArrayLike,
        targets: ArrayLike,
        milliseconds: ArrayLike,
        *,
        version: str | None = None,
        source: str = "",
        lines: Sequence[int] = (),
    ) -> DelayMap:
        """A map of m measured directions; nothing of size n² is made.

        Where a direction stands there twice, the larger counts.

        Args:
            names: n different names.
            origins: Shape (m,), positions in ``names``.
            targets: Shape (m,), likewise.
            milliseconds: Shape (m,), 0 … `MAX_MS`.
            version: A hash of the source; that of the arrays, if None.
            source: The file that names the endpoints, for messages.
            lines: The line where each name first stands in that file.

        Raises:
            ValueError: The shapes do not fit, or a value is out of range.
        """
        left = np.asarray(origins, dtype=np.int64)
        right = np.asarray(targets, dtype=np.int64)
        value = np.asarray(milliseconds, dtype=np.float64)
        if not left.shape == right.shape == value.shape or left.ndim != 1:
            raise ValueError("origins, targets and milliseconds must be vectors of one length")
        if np.isnan(value).any():
            raise ValueError("a measured direction cannot be NaN; leave it out")
        _check_range(value)
        if left.size and not 0 <= min(left.min(), right.min()) <= max(left.max(), right.max()) < len(names):
            raise ValueError("an origin or target is no position in names")
        if version is None:
            version = digest(names, left, right, value)
        own = left == right
        warnings = _diagonal_warnings([names[position] for position in left[own]], value[own], source)
        rows = SparseRows(len(names), left[~own], right[~own], value[~own])
        return cls(names, rows, version, warnings=warnings, source=source, lines=lines)

    @classmethod
    def from_pairs(cls, pairs: Iterable[tuple[str, str, float]], *, names: Iterable[str] = ()) -> DelayMap:
        """A map of ``(from, to, milliseconds)``; for tests, scenarios and probes.

        Args:
            pairs: The measured directions.
            names: Endpoints that come first, in this order, measured or not.

        Raises:
            ValueError: A value is out of range.
        """
        index: dict[str, int] = {}
        for name in names:
            index.setdefault(name, len(index))
        triples = [
            (index.setdefault(origin, len(index)), index.setdefault(target, len(index)), value)
            for origin, target, value in pairs
        ]
        return cls.from_table(
            list(index),
            [origin for origin, _, _ in triples],
            [target for _, target, _ in triples],
            [value for _, _, value in triples],
        )

    @classmethod
    def empty(cls) -> DelayMap:
        """The map that knows nobody."""
        return cls.from_pairs(())

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"DelayMap({len(self.names)} endpoints, version {self.version[:12]})"

    def index(self, name: str) -> int | None:
        """The position of an endpoint in every row, None where the map does not know it."""
        return self._index.get(name)

    def row(self, origin: str) -> Milliseconds | None:
        """Round trips from ``origin`` to every name.

        Returns:
            Shape (len(names),), milliseconds, NaN where unmeasured, read-only and shared: the same row may be handed
            out again. None where the map does not know ``origin``. What is estimated stands there with its error
            added: a limit that it meets is met unless the estimate is worse than it says.
        """
        position = self._index.get(origin)
        return None if position is None else self._rows.row(position)

    def errors(self, origin: str) -> Milliseconds | None:
        """How much of each value of the row is an estimate's error.

        Returns:
            Shape (len(names),), milliseconds, read-only: 0 where the value was measured, NaN where there is none. None
            where the whole row was measured, or the map does not know ``origin``.
        """
        position = self._index.get(origin)
        return None if position is None else self._rows.errors(position)

    def between(self, origin: str, target: str) -> float | None:
        """The round trip between two endpoints as `row` has it, None where one is unknown or nobody has measured it."""
        left, right = self._index.get(origin), self._index.get(target)
        if left is None or right is None:
            return None
        value = self._rows.cell(left, right)
        return None if np.isnan(value) else value

    def measured(self) -> NDArray[np.bool_]:
        """Which endpoints have a round trip to any other: shape (len(names),)."""
        return self._rows.measured()

    def want(self, origin: str, target: str) -> None:
        """Have a round trip measured that must be known, where the source can: a later map has it then."""
        left, right = self._index.get(origin), self._index.get(target)
        if left is not None and right is not None:
            self._rows.want(left, right)

    def place(self, name: str) -> str:
        """Where the name stands, as ``file:line``; "" where the map comes from no file."""
        position = self._index.get(name)
        if position is None or not self._lines:
            return self._source
        return f"{self._source}:{self._lines[position]}"


class _Dense(Rows):
    """Every pair in memory, symmetric, so that a row is a view."""

    __slots__ = ("_cells",)

    def __init__(self, given: Milliseconds) -> None:
        # fmax prefers the known direction to NaN; adding 0.0 turns -0.0 into 0.0.
        cells = np.fmax(given, given.T)
        cells += 0.0
        np.fill_diagonal(cells, 0.0)
        cells.flags.writeable = False
        self._cells = cells

    def row(self, origin: int) -> Milliseconds:
        row: Milliseconds = self._cells[origin]
        return row

    def cell(self, origin: int, target: int) -> float:
        return float(self._cells[origin, target])

    def measured(self) -> NDArray[np.bool_]:
        # Its own zero is always there.
        known: NDArray[np.bool_] = np.count_nonzero(~np.isnan(self._cells), axis=1) > 1
        return known


class SparseRows(Rows):
    """Compressed rows: the neighbours of i are ``_targets[_starts[i]:_starts[i + 1]]``, ascending."""

    __slots__ = ("_cache", "_lock", "_room", "_size", "_starts", "_targets", "_values")

    def __init__(
        self, size: int, origins: NDArray[np.int64], targets: NDArray[np.int64], values: Milliseconds
    ) -> None:
        # Each direction once in both rows; then the larger of what fell on one cell.
        key = np.concatenate((origins * size + targets, targets * size + origins))
        value = np.concatenate((values, values)) + 0.0
        order = np.argsort(key, kind="stable")
        key, value = key[order], value[order]
        first = np.flatnonzero(np.diff(key, prepend=-1))
        if first.size:
            key, value = key[first], np.maximum.reduceat(value, first)
        self._size = size
        self._starts = np.searchsorted(key, np.arange(size + 1, dtype=np.int64) * size)
        self._targets = (key % max(size, 1)).astype(np.int32)
        self._values = value
        self._cache: dict[int, Milliseconds] = {}
        self._room = max(8, _CACHE_BYTES // max(8 * size, 1))
        self._lock = threading.Lock()

    def row(self, origin: int) -> Milliseconds:
        """See `DelayMap.row`."""
        cached = self._cache.get(origin)
        if cached is not None:
            return cached
        start, end = self._starts[origin], self._starts[origin + 1]
        row = np.full(self._size, np.nan)
        row[self._targets[start:end]] = self._values[start:end]
        row[origin] = 0.0
        row.flags.writeable = False
        with self._lock:
            while len(self._cache) >= self._room:
                del self._cache[next(iter(self._cache))]
            self._cache[origin] = row
        return row

    def cell(self, origin: int, target: int) -> float:
        """One entry of a row."""
        if origin == target:
            return 0.0
        start, end = int(self._starts[origin]), int(self._starts[origin + 1])
        found = start + int(np.searchsorted(self._targets[start:end], target))
        return float(self._values[found]) if found < end and self._targets[found] == target else float("nan")

    def measured(self) -> NDArray[np.bool_]:
        """See `DelayMap.measured`."""
        known: NDArray[np.bool_] = np.diff(self._starts) > 0
        return known


def _check_range(values: Milliseconds) -> None:
    with np.errstate(invalid="ignore"):
        if bool(((values < 0) | (values > MAX_MS)).any()):
            raise ValueError(f"a round trip is 0 … {MAX_MS:.0f} ms")


def digest(names: Sequence[str], *arrays: NDArray[np.int64] | Milliseconds) -> str:
    """A map's version, by what it is made of."""
    whole = hashlib.blake2b("\0".join(names).encode(), digest_size=16)
    for array in arrays:
        whole.update(np.ascontiguousarray(array).data)
    return whole.hexdigest()


def _diagonal_warnings(names: Sequence[str], values: Milliseconds, source: str) -> list[str]:
    """``values`` are what the ``names`` are given as from themselves."""
    odd = [
        f"{name} is given as {value:g} ms from itself"
        for name, value in zip(names, values.tolist(), strict=True)
        if value > 0.0
    ]
    if not odd:
        return []
    more = f" (and {len(odd) - 1} more)" if len(odd) > 1 else ""
    return [f"{source + ': ' if source else ''}{odd[0]}{more}; 0 is used, write 0 or leave it out"]
