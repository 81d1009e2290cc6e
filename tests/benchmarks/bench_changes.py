"""What a change of one node, or of delays, costs who decides: ``python -m tests.benchmarks.bench_changes``.

Edges as the prototype was measured on, their pods covered and their limits watched. For each change two lines, of the
reserve and of the watch for broken limits: CPU time in all until it was followed, the longest single turn (for so long
no pod is placed), and how many turns it took.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
from msgspec.structs import replace

from engine.delay.map import DelayMap
from engine.healing import Reserve
from engine.healing.planner import Planner
from engine.healing.situation import Situation
from tests.benchmarks.bench_healing import DRIFT, silence, world
from tests.benchmarks.edge_worlds import EdgeWorld, limited
from tests.engine.build import NOW

SIZES = (1_000, 10_000)
AT_ONCE = 150
WATCHED_AT_ONCE = 500


def turns(turn: Callable[[], bool]) -> list[float]:
    """Milliseconds of CPU of each turn, until one says that nothing is left."""
    took: list[float] = []
    while True:
        start = time.process_time()
        more = turn()
        took.append((time.process_time() - start) * 1000)
        if not more:
            return took


def line(what: str, took: Sequence[float], then: str = "") -> None:
    print(
        f"  {what:<34} {sum(took):>10.1f} ms in all, longest {max(took):>9.1f} ms, {len(took):>4} turns  {then}",
        flush=True,
    )


def cordon(made: EdgeWorld, name: str, cordoned: bool) -> None:
    one = made.cache.node(name)
    assert one is not None
    made.cache.put_node(replace(one, spec=replace(one.spec, unschedulable=cordoned)))


def changes(size: int, seed: int) -> None:
    """All lines of a size."""
    made, names, matrix = world(size, seed)
    reserve = Reserve(made.cache, made.placer, limited, at_once=AT_ONCE)
    planner = Planner(made.cache, made.placer, [DRIFT], WATCHED_AT_ONCE)

    def follow() -> bool:
        reserve.follow(NOW)
        return bool(reserve.behind)

    def revise() -> bool:
        if not reserve.behind:
            reserve.revise(NOW)
            return bool(reserve.behind)
        return follow()

    def look() -> bool:
        planner.plan(NOW, Situation())
        return bool(planner.behind)

    def both(what: str, first: Callable[[], bool] = follow) -> None:
        line(f"{what}: reserve", turns(first), f"{len(reserve.uncovered)} uncovered")
        line("watch", turns(look))

    def build() -> bool:
        if not reserve.behind:
            reserve.put_all(list(made.cache.pods()), NOW)
            return bool(reserve.behind)
        return follow()

    print(f"{size:,} nodes, {len(made.cache):,} pods", flush=True)
    both("the first time", build)
    busy = max(made.cache.columns.node_names(), key=lambda one: len(list(made.cache.pods_on(one))))
    both("nothing")
    cordon(made, busy, True)
    both("cordoned")
    cordon(made, busy, False)
    both("uncordoned")
    edge = next(name for name in names if name.startswith("edge"))
    silence(made, edge, True)
    both("a node falls silent")
    silence(made, edge, False)
    both("it is back")
    slower = matrix.copy()
    at = names.index(edge)
    slower[at] += 20
    slower[:, at] += 20
    slower[at, at] = 0
    made.placer.swap_delays(DelayMap.from_matrix(names, slower))
    both("the delays of one node", revise)
    rng = np.random.default_rng(seed)
    other = matrix * rng.uniform(0.98, 1.02, matrix.shape)
    np.fill_diagonal(other, 0)
    made.placer.swap_delays(DelayMap.from_matrix(names, (other + other.T) / 2))
    both("all delays", revise)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="nodes")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for size in given.sizes:
        changes(size, given.seed)


if __name__ == "__main__":
    main()
