"""Who is back after the loss of each node in turn: ``python -m tests.benchmarks.bench_loss``.

The prototype's worlds as simulated clusters. One node after the other falls silent, is lost, and comes back later;
before each loss the proof is asked whether the covered pods have room. To reach: all of those that it says do are back
within their delay, always.

- losses: nodes that were lost; proven: losses for which the proof held just before;
- covered: pods with a limit and a backup that ran on them; back: those that had a node within their limit soon after;
- others: pods with a limit but without a backup; back: those that got a node within their limit all the same;
- slowest: the longest that a covered pod waited, counted from when its node counted as lost;
- strays: pods of other nodes that moved although nothing was wrong with them.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from engine.healing import Verdict
from tests.benchmarks.edge_clusters import NODE_GRACE, EdgeCluster, aligned, policies, said, say

SIZES = (10, 50, 200)
AFTER = 10.0
_PATIENCE = 10.0
_STEP = 0.25
_CALM = 30.0
"""Virtual seconds between losses: the reserve follows the pods where they are now."""


@dataclass
class Row:
    """What came of one world."""

    size: int
    losses: int = 0
    proven: int = 0
    covered: int = 0
    covered_back: int = 0
    others: int = 0
    others_back: int = 0
    slowest: float = 0.0
    strays: int = 0


def measure(size: int, seed: int, most: int | None = None) -> Row:
    """Lose each node in turn, or only so many of them."""
    world = EdgeCluster(size, seed, policies(AFTER))
    world.make_pods()
    world.run(1.0, f"{size:,} nodes, placing")
    world.run(_CALM)
    row = Row(size)
    for number, node in enumerate(list(world.index)[:most]):
        say(f"{size:,} nodes, {number:,} lost so far")
        lose(world, node, row)
    said()
    return row


def lose(world: EdgeCluster, node: str, row: Row) -> None:
    """One loss, until the node is back and all is calm again."""
    before = world.places()
    backed = {world.workload(key) for key in world.reserve.backups}
    lost = {name for name in world.limits if before.get(name) == node}
    [report] = world.proofs([node])
    row.losses += 1
    row.proven += report.verdict is Verdict.HOLDS
    world.run(1.0)  # the proof took the node away and gave it back
    world.cluster.fail_node(node)
    world.run(NODE_GRACE + AFTER)
    since = world.now
    back: set[str] = set()
    while True:
        places = world.places()
        now = {name for name in lost if places.get(name, node) != node and world.within(name, places[name])}
        if (now - back) & backed:
            row.slowest = max(row.slowest, world.now - since)
        back = now
        if back == lost or world.now - since >= _PATIENCE:
            break
        world.run(_STEP)
    row.covered += len(lost & backed)
    row.covered_back += len(back & backed)
    row.others += len(lost - backed)
    row.others_back += len(back - backed)
    row.strays += sum(places.get(name) != there for name, there in before.items() if there != node)
    world.cluster.recover_node(node)
    world.run(_CALM)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="nodes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most", type=int, help="lose only so many nodes of each world")
    given = parser.parse_args()
    lines = []
    for size in given.sizes:
        row = measure(size, given.seed, given.most)
        lines.append(
            [
                f"{row.size:,}",
                f"{row.losses:,}",
                f"{row.proven:,}",
                f"{row.covered:,}",
                f"{row.covered_back:,}",
                f"{row.others:,}",
                f"{row.others_back:,}",
                f"{row.slowest:.2f} s",
                f"{row.strays:,}",
            ]
        )
    header = (
        "nodes",
        "losses",
        "proven",
        "covered",
        "back",
        "others",
        "of those back",
        "slowest",
        "strays",
    )
    print(aligned(header, lines))


if __name__ == "__main__":
    main()
