"""How long delay files take: ``python -m tests.benchmarks.bench_delays``.

Prints one line a case, in milliseconds: reading the file the first time, a glance at it while nothing has changed, a
reading of it that finds the same contents, one row of the map for the first time, and the same row again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from engine.delay import DelayFileSource, DelayMap


def write_matrix(folder: Path, size: int) -> list[Path]:
    """Whole milliseconds of random points, as the prototype's measurements."""
    points = np.random.default_rng(size).uniform(0, 100, (size, 2))
    matrix = np.round(np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1)), 1)
    np.savetxt(folder / "matrix.txt", matrix, fmt="%.1f")
    (folder / "matrix.json").write_text(json.dumps({f"node-{row}": row for row in range(size)}))
    return [folder / "matrix.txt"]


def write_table(folder: Path, rows: int) -> list[Path]:
    """Ten origins that see a tenth of that many nodes each."""
    nodes = rows // 10
    values = np.random.default_rng(rows).uniform(0, 100, rows).round(2).tolist()
    with (folder / "table.csv").open("w") as table:
        table.write("from,to,ms\n")
        table.writelines(
            f"node-{row // nodes},node-{row % nodes},{value}\n" for row, value in enumerate(values)
        )
    return [folder / "table.csv"]


def milliseconds(function: Callable[[], object]) -> float:
    """How long the function takes."""
    start = time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1000


def measure(name: str, paths: list[Path]) -> None:
    """One line."""
    source = DelayFileSource(paths, period=60, glance=5)
    first = milliseconds(lambda: source.open(0.0))
    glance = milliseconds(lambda: source.refresh(5.0))
    same = milliseconds(lambda: source.refresh(60.0))
    delays: DelayMap | None = source.current
    assert delays is not None
    row = milliseconds(lambda: delays.row("node-1"))
    again = milliseconds(lambda: delays.row("node-1"))
    print(f"{name:>22} {first:10.0f} {glance:10.3f} {same:10.1f} {row:10.3f} {again:10.4f}")


def main() -> None:
    """Measure all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave the 5,000² matrix out")
    quick = parser.parse_args().quick
    print(f"{'':>22} {'first':>10} {'glance':>10} {'same':>10} {'row':>10} {'row again':>10}")
    for size in (1_000,) if quick else (1_000, 5_000):
        with tempfile.TemporaryDirectory() as folder:
            measure(f"matrix {size:,}²", write_matrix(Path(folder), size))
    with tempfile.TemporaryDirectory() as folder:
        measure("table 1,000,000 rows", write_table(Path(folder), 1_000_000))


if __name__ == "__main__":
    main()
