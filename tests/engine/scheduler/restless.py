"""An hour of a random edge: nodes fail and return, delays drift, nodes are cordoned, workloads grow and shrink.

``python -m tests.engine.scheduler.restless --worlds 1000`` lives through that many; the tests through a few of them.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import numpy as np
from numpy.typing import NDArray

from engine.delay import DelayMap
from engine.healing.pace import AWAY_AT_LEAST_S
from tests.engine.scheduler.scenes import World, delays, deployment, node, spec, stateful

POLICY = """
rule near-source for pods where pod.labels has "delay_*" {
  for each label "delay_{from}" as limit in ms {
    require node.delay(from) <= limit
    prefer low node.delay(from) weight 2
  }
}
rule apart for pods where pod.labels["app"] in ["app-1", "app-2"] {
  at most 2 per node
}
reserve backup for pods where pod.labels has "delay_*" {
  survive loss of 1 node
  at most 30% of requested memory
}
heal node-loss on node lost for 10s {
  move pods
  at most 20 moves per 1min
  hold when 55% of zone is lost
}
heal emptying on node draining for 30s {
  move pods
  at most 5 moves per 1min
}
heal drift on broken near-source for 60s {
  move pods improving by 10%
  at most 5 moves per 1min
}
heal room on pod unschedulable for 30s {
  relocate at most 2 pods
}
"""
_MOVE = re.compile(r"heal (\S+) .*; it moves from (\S+) to ([^\s,]+)")
_CALM_S = 1200.0
"""Nothing happens in the last part of the hour, so that everything must come to rest."""
_REST_S = 600.0
"""And nothing moves in the last part of that."""


@dataclass
class Life:
    """What came of a world.

    Attributes:
        moves: (seconds since the start, heal, workload, from, to).
        faults: What must not be, one sentence each.
        happened: How often what happened.
    """

    moves: list[tuple[float, str, str, str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)


class _Edge:
    """A random world, and what may happen to it."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.names = [f"n{number}" for number in range(random.randint(5, 12))]
        self.down: set[str] = set()
        self.cordoned: set[str] = set()
        ends = [*self.names, "gateway"]
        points = np.array([[random.random(), random.random()] for _ in ends]) * 40.0
        self.base: NDArray[np.float64] = np.hypot(*(points[:, None] - points[None, :]).T).round(1)
        nodes = [
            node(
                name,
                zone=f"z{at % 3}",
                cpu=str(random.choice([2, 4, 8])),
                memory=f"{random.choice([4, 8])}Gi",
            )
            for at, name in enumerate(self.names)
        ]
        self.world = World(POLICY, nodes, self._drifted(0.0))
        self.apps = random.randint(2, 5)
        for number in range(self.apps):
            origin = random.choice(ends)
            limits = {origin: str(random.randint(8, 35))} if random.random() < 0.7 else {}
            wanted = spec(f"{random.randint(2, 12)}00m", f"{random.randint(2, 12) * 100}Mi")
            make: Callable[..., object] = stateful if number == 0 else deployment
            replicas = random.randint(1, 5)
            self.world.cluster.apply(
                make(f"app-{number}", replicas, limits)  # type: ignore[arg-type]
                if number == 0
                else deployment(f"app-{number}", replicas, limits, wanted)
            )

    def _drifted(self, share: float) -> DelayMap:
        matrix = self.base * np.array(
            [
                [1.0 + share * self.random.random() for _ in range(len(self.base))]
                for _ in range(len(self.base))
            ]
        )
        matrix = np.maximum(matrix, matrix.T)
        np.fill_diagonal(matrix, 0.0)
        return delays([*self.names, "gateway"], matrix)

    def happens(self) -> str:
        """One thing."""
        random, cluster = self.random, self.world.cluster
        what = random.choice(
            ["fail", "recover", "drift", "drift", "slow", "cordon", "uncordon", "scale", "site"]
        )
        up = [name for name in self.names if name not in self.down]
        match what:
            case "fail" if len(up) > 2:
                name = random.choice(up)
                self.down.add(name)
                cluster.fail_node(name, cut=random.random() < 0.3)
            case "recover" if self.down:
                name = random.choice(sorted(self.down))
                self.down.remove(name)
                cluster.recover_node(name)
            case "drift":
                self.world.swap_delays(self._drifted(random.choice([0.0, 0.1, 0.5])))
            case "slow":
                at = random.randrange(len(self.names))
                self.base[at, :] += 15.0
                self.base[:, at] += 15.0
                self.world.swap_delays(self._drifted(0.0))
            case "cordon" if len(self.cordoned) < 2:
                name = random.choice(self.names)
                self.cordoned.add(name)
                cluster.cordon(name)
            case "uncordon" if self.cordoned:
                name = random.choice(sorted(self.cordoned))
                self.cordoned.remove(name)
                cluster.cordon(name, False)
            case "scale":
                number = random.randrange(1, self.apps)
                cluster.scale("Deployment", "default", f"app-{number}", random.randint(0, 6))
            case "site":
                zone = random.randrange(3)
                for at, name in enumerate(self.names):
                    if at % 3 == zone and name not in self.down:
                        self.down.add(name)
                        cluster.fail_node(name, cut=True)
            case _:
                return "nothing"
        return what


def live(seed: int) -> Life:
    """An hour of the world of that seed."""
    edge, life = _Edge(seed), Life()
    world, start = edge.world, edge.world.cluster.clock.now()
    while world.cluster.clock.now() - start < 3600.0 - _CALM_S:
        world.run(edge.random.choice([5.0, 20.0, 60.0, 180.0]))
        life.happened[edge.happens()] += 1
    world.run(max(0.0, start + 3600.0 - world.cluster.clock.now()))
    _judge(world, start, life)
    return life


def _judge(world: World, start: float, life: Life) -> None:
    left: dict[tuple[str, str], float] = {}
    for event in world.cluster.events:
        if event.reason != "Moving":
            continue
        found = _MOVE.match(event.message)
        assert found is not None, event.message
        heal, source, target = found.groups()
        at = event.time.timestamp() - start
        workload = re.sub(r"(-[a-z0-9]+){2}$|-\d+$", "", str(event.regarding).split("/")[1])
        life.moves.append((at, heal, workload, source, target))
        if heal != "node-loss":
            before = left.get((workload, target))
            if before is not None and at - before < AWAY_AT_LEAST_S:
                life.faults.append(
                    f"{at:.0f}s: {workload} goes back to {target}, left {at - before:.0f}s before"
                )
        left[workload, source] = at
        if at > 3600.0 - _REST_S:
            life.faults.append(f"{at:.0f}s: {workload} still moves from {source} to {target}: heal {heal}")
    counted = Counter(
        (pod.metadata.namespace, pod.metadata.name)
        for pod in world.cluster.pods()
        if pod.status.phase not in ("Failed", "Succeeded")
    )
    life.faults += [f"{name} is there {number} times" for name, number in counted.items() if number > 1]
    if not world.held_as_planned():
        life.faults.append("placeholders are not what the plans say")


def main() -> int:
    """Live through many worlds and tell of what must not be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    arguments = parser.parse_args()
    moves: Counter[str] = Counter()
    happened: Counter[str] = Counter()
    bad = 0
    for seed in range(arguments.first, arguments.first + arguments.worlds):
        life = live(seed)
        moves.update(move[1] for move in life.moves)
        happened += life.happened
        for fault in life.faults:
            print(f"seed {seed}: {fault}")
        bad += bool(life.faults)
        if sys.stderr.isatty():
            print(f"\r{seed + 1 - arguments.first}/{arguments.worlds}", end="", file=sys.stderr)
    print(f"{arguments.worlds} worlds, {bad} with faults; moves {dict(moves)}; happened {dict(happened)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
