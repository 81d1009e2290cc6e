"""What is kept in reserve, and what that costs: ``python -m tests.benchmarks.bench_reserve``.

``--optimum`` compares with the least that is possible, by OR-Tools CP-SAT, where that is proven within a minute. Else
worlds as the prototype was measured on, one line a size:

- share of the memory that pods ask for which is kept: as pods came one by one, and after the optimiser;
- limited pods without a backup, though together with all that have one they would fit (to reach: none); and those
  that cannot be covered, most of them near the very node that they run on;
- whether the proof holds for the loss of every node, and how long it takes;
- what a pod that comes or goes costs, in milliseconds; to reach: 5.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from random import Random

import numpy as np

from engine.healing import Loss, Reserve, Verdict, check, improve, losses_of
from engine.model.objects import PodKey
from tests.benchmarks.edge_worlds import EdgeWorld, edge_world, limited, made_pod
from tests.engine.build import NOW

SIZES = (10, 50, 200, 400, 1000)
ANY = 10**9


def timed(function: Callable[[], object]) -> float:
    """Milliseconds that the function takes."""
    start = time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1000


def holds(world: EdgeWorld, reserve: Reserve, losses: Sequence[Loss]) -> int:
    """For how many losses the proof holds."""
    reports = check(
        world.cache,
        world.placer,
        lambda one: one.key in reserve.backups,
        reserve.kept(),
        losses,
        NOW,
        hints=reserve.places(),
    )
    return sum(report.verdict is Verdict.HOLDS for report in reports)


def coverable(world: EdgeWorld, reserve: Reserve, key: PodKey) -> bool:
    """Whether a pod without a backup would fit with all that have one into all that is free after the loss."""
    pod = world.cache.pod(key)
    assert pod is not None
    wanted = reserve.backups.keys() | {key}
    loss = Loss("node", pod.node, (pod.node,))
    [report] = check(world.cache, world.placer, lambda one: one.key in wanted, {}, [loss], NOW, free_too=True)
    return report.verdict is not Verdict.FAILS


def worlds(sizes: Sequence[int], seed: int) -> None:
    """A line for each size."""
    print(
        f"{'nodes':>6} {'limited':>8} {'placed':>7} {'kept':>7} {'better':>7} {'optimiser':>10} {'uncovered':>10} "
        f"{'coverable':>10} {'proof':>11} {'proof s':>8} {'put ms':>7} {'worst':>6} {'drop ms':>8} {'worst':>6}"
    )
    for size in sizes:
        world = edge_world(size, seed)
        reserve = Reserve(world.cache, world.placer, limited)
        for pod in list(world.cache.pods()):
            reserve.put(pod, NOW)
        asked = reserve.requested_memory
        first = reserve.kept_memory / asked
        optimiser = timed(lambda: improve(reserve, 2000, ANY, Random(seed)))  # noqa: B023
        reserve.retry(NOW)
        better = reserve.kept_memory / asked
        missed = sum(coverable(world, reserve, key) for key in list(reserve.uncovered))
        reserve.put_all([], NOW)
        losses = losses_of(world.cache, "node", None)
        start = time.perf_counter()
        proven = holds(world, reserve, losses)
        took = time.perf_counter() - start
        reserve.put_all([], NOW)
        puts, drops = churn(world, reserve, 200, seed)
        limits = len(reserve.backups) + len(reserve.uncovered)
        assert holds(world, reserve, losses) == size, "the proof fails after pods came and went"
        print(
            f"{size:>6,} {limits:>8,} {'all' if not world.unplaced else -len(world.unplaced):>7} {first:>7.1%} "
            f"{better:>7.1%} {optimiser / 1000:>8.1f} s {len(reserve.uncovered):>10} {missed:>10} "
            f"{proven:>5}/{size:<5} {took:>8.2f} {statistics.median(puts):>7.2f} {max(puts):>6.1f} "
            f"{statistics.median(drops):>8.2f} {max(drops):>6.1f}",
            flush=True,
        )


def churn(world: EdgeWorld, reserve: Reserve, turns: int, seed: int) -> tuple[list[float], list[float]]:
    """Pods come, and others go. Milliseconds of each change."""
    rng = np.random.default_rng(seed)
    edges = [name for name in world.cache.columns.node_names() if name.startswith("edge")]
    keys = [pod.key for pod in world.cache.pods()]
    puts: list[float] = []
    drops: list[float] = []
    for turn in range(turns):
        gone = keys.pop(int(rng.integers(len(keys))))
        world.cache.remove_pod(gone)
        drops.append(timed(lambda: reserve.drop(gone, NOW)))  # noqa: B023
        pod = world.cache.put_pod(made_pod(rng, f"new-{turn}", edges))
        decision = world.placer.place(pod, NOW)
        if decision.node is not None:
            world.cache.assume(pod.key, decision.node)
            puts.append(timed(lambda: reserve.put(pod, NOW)))  # noqa: B023
            keys.append(pod.key)
    return puts, drops


def optima(seconds: float) -> None:
    """A line for each instance, beside the least that is possible."""
    from tests.benchmarks.reserve_optimum import optimum

    print(
        f"{'nodes':>6} {'seed':>5} {'greedy':>8} {'improved':>9} {'least':>8} {'proven':>7} {'above':>7} {'s':>5}"
    )
    for size in (20, 30, 40, 50):
        for seed in range(4):
            world = edge_world(size, seed)
            reserve = Reserve(world.cache, world.placer, limited)
            reserve.put_all(list(world.cache.pods()), NOW)
            greedy = reserve.kept_memory
            took = timed(lambda: improve(reserve, 3000, ANY, Random(seed)))  # noqa: B023
            least = optimum(reserve, world.cache.columns, seconds)
            gib = 2**30
            print(
                f"{size:>6} {seed:>5} {greedy / gib:>8.2f} {reserve.kept_memory / gib:>9.2f} "
                f"{least.least / gib:>8.2f} {'yes' if least.proven else 'no':>7} "
                f"{reserve.kept_memory / least.least - 1:>7.1%} {took / 1000:>5.1f}",
                flush=True,
            )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--optimum", type=float, metavar="SECONDS", help="compare with the least, each for so long"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="nodes")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if given.optimum:
        optima(given.optimum)
    else:
        worlds(given.sizes, given.seed)


if __name__ == "__main__":
    main()
