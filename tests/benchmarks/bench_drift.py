"""How long hard limits stay broken over an hour of drifting delays: ``python -m tests.benchmarks.bench_drift``.

The prototype's worlds as simulated clusters. Every minute other delays are read: now and then a node becomes slower by
5…30 ms, to and from everywhere, and is so for a while. To reach: no limit is broken for longer than the heal's duration
and one period where there is a legal place.

A pod has a legal place as long as a node is within its limit with room for it (placeholders give way), other than those
that it was moved from so lately that it is not to go back.

- broken: limits that came to be broken; healed: by a move; passed: by themselves;
- longest: for which one was broken while there was a legal place; too long: those for longer than the bound;
- nowhere to go: limits that were broken at some second while there was no legal place;
- moves: of pods; needless: of those the ones whose limit held; to and fro: those that went back to a node that the pod
  had been moved from within the hold-off; without a node: pods in the end.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from engine.healing.pace import away_s
from tests.benchmarks.edge_clusters import EdgeCluster, aligned, policies, said, say

SIZES = (50, 200)
AFTER = 30.0
PERIOD = 60.0
HOUR = 3600.0
_STEP = 1.0
_BEGINS = 0.01
"""How likely a node is to become slower in a period."""
_ENDS = 0.1
"""How likely a slower one is to be as before."""


@dataclass
class Row:
    """What came of one world."""

    size: int
    broken: int = 0
    healed: int = 0
    passed: int = 0
    longest: float = 0.0
    too_long: int = 0
    nowhere: int = 0
    moves: int = 0
    needless: int = 0
    to_and_fro: int = 0
    without: int = 0


class Hour:
    """A world whose delays drift, looked at every second."""

    def __init__(self, size: int, seed: int) -> None:
        plan = policies(AFTER)
        [heal] = [one for one in plan.policy.heals if one.broken is not None]
        self._away = away_s(heal)
        self._rng = np.random.default_rng((size, seed, 2))
        self._world = EdgeCluster(size, seed, plan)
        self._world.make_pods()
        self._world.run(PERIOD)
        self._matrix = self._world.geography.matrix()
        self._places = self._world.places()
        self._broken: set[str] = set()
        self._since: dict[str, float] = {}
        self._left: dict[tuple[str, str], float] = {}
        self.row = Row(size)

    def run(self, seconds: float) -> Row:
        """So long."""
        world = self._world
        start, swap = world.now, world.now
        while world.now - start < seconds:
            if world.now >= swap:
                self._drift()
                swap += PERIOD
                say(f"{self.row.size:,} nodes, {world.now - start:,.0f} of {seconds:,.0f} virtual seconds")
            self._look()
            world.run(_STEP)
        self._look()
        self.row.without = len(world.pods) - len(self._places)
        said()
        return self.row

    def _drift(self) -> None:
        slower = self._world.geography.slower
        begins = self._rng.random(len(slower)) < _BEGINS
        ends = self._rng.random(len(slower)) < _ENDS
        more = np.round(self._rng.uniform(5, 30, len(slower)))
        self._world.change(np.where(slower > 0, np.where(ends, 0.0, slower), np.where(begins, more, 0.0)))
        self._matrix = self._world.geography.matrix()

    def _look(self) -> None:
        world, row, now = self._world, self.row, self._world.now
        places = world.places()
        moved = {name for name, node in places.items() if self._places.get(name, node) != node}
        for name in moved:
            row.moves += 1
            row.needless += name not in self._broken
            row.to_and_fro += self._left.get((name, places[name]), -np.inf) + self._away > now
            self._left[name, self._places[name]] = now
        self._places = {**self._places, **places}
        broken = {
            name
            for name, (origin, limit) in world.limits.items()
            if self._matrix[world.index[origin], world.index[self._places[name]]] > limit
        }
        row.broken += len(broken - self._broken)
        row.healed += len((self._broken - broken) & moved)
        row.passed += len(self._broken - broken - moved)
        free = world.free(self._places) if broken else np.zeros(0)
        for name in list(self._since):
            if name not in broken:
                self._ended(name, now)
        for name in broken:
            if self._legal(name, free, now):
                self._since.setdefault(name, now)
            else:
                row.nowhere += name not in self._broken or name in self._since
                self._ended(name, now)
        self._broken = broken

    def _ended(self, name: str, now: float) -> None:
        since = self._since.pop(name, None)
        if since is not None:
            self.row.longest = max(self.row.longest, now - since)
            self.row.too_long += now - since > AFTER + PERIOD

    def _legal(self, name: str, free: np.ndarray, now: float) -> bool:
        world = self._world
        origin, limit = world.limits[name]
        mask = (self._matrix[world.index[origin]] <= limit) & (free >= world.memory[name])
        nodes = (world.geography.names[number] for number in np.flatnonzero(mask).tolist())
        return any(self._left.get((name, node), -np.inf) + self._away <= now for node in nodes)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="nodes")
    parser.add_argument("--seconds", type=float, default=HOUR, help="virtual time")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    lines = []
    for size in given.sizes:
        row = Hour(size, given.seed).run(given.seconds)
        lines.append(
            [
                f"{row.size:,}",
                f"{row.broken:,}",
                f"{row.healed:,}",
                f"{row.passed:,}",
                f"{row.longest:.0f} s of {AFTER + PERIOD:.0f}",
                f"{row.too_long:,}",
                f"{row.nowhere:,}",
                f"{row.moves:,}",
                f"{row.needless:,}",
                f"{row.to_and_fro:,}",
                f"{row.without:,}",
            ]
        )
    header = ("nodes", "broken", "healed", "passed", "longest", "too long", "nowhere to go", "moves", "needless",
              "to and fro", "without a node")  # fmt: skip
    print(aligned(header, lines))


if __name__ == "__main__":
    main()
