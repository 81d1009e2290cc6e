"""The prototype's table made again for ours, beside its figures: ``python -m tests.benchmarks.prototype_table``.

Each world runs as a simulated cluster with the prototype's policies, a reserve for the loss of any one node, and
healing. Times are those of the processor. The columns:

- ms a pod: one decision, in the median; with all: what a pod costs with the reserve that follows it, its placeholders,
  and the simulated cluster;
- limited placed: pods with a limit that are on a node within it;
- dropped: of the nodes within reach of a limited pod, the share that is not looked at;
- reserve: what placeholders hold, as a share of the memory that pods use;
- too small: limited pods with a backup that would not all fit into what is held if their node were lost, by the proof,
  for every node, or as many as it says; without: those that no backup is kept for (could: and that would fit with the
  others if one were);
- lost, back: the node with the most limited pods is killed, and so many are back within their limits; after: how long
  after the loss counts as one.

5% of the nodes become 15 ms slower, to and from everywhere:

- broken: limits that do not hold any more; movable: those of pods that another node would take, beside the others that
  need one, too; still broken: limits that do not hold in the end;
- moved: pods; needless: of those the ones whose limit held; nowhere: pods without a node in the end;
- same files: what a look costs where the files were written again, and are the same; same map: what it costs to take
  in the same delays again, and who moves for it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import numpy as np

from engine.delay import DelayFileSource
from engine.healing import Loss, Verdict, check
from engine.model.objects import PodKey
from engine.placement import Decision
from engine.scheduler.metrics import Unmeasured
from tests.benchmarks.edge_clusters import NODE_GRACE, SAY_SECONDS, EdgeCluster, aligned, said, say
from tests.engine.build import NOW

SIZES = (10, 50, 200, 400, 1000, 10_000)
LOSSES = 10_000
_SLOW_SHARE = 0.05
_SLOW_MS = 15.0
_SETTLE = 60.0
_REACH_PODS = 300
_FILE_NODES = 1000
"""Matrices of more nodes are not written to a file: 10,000 would be 2.5 GB."""


PROTOTYPE: Final[Mapping[int, tuple[str, str, str, str, str, str]]] = {
    10: ("0.18 / 0.03", "19 / 20 of 20", "34%", "34 / 8%", "2 / 9", "1 of 5 / 1 of 4"),
    50: ("0.25 / 0.05", "all", "41%", "9 / 6.7%", "23 / 31", "3 of 5 / 5 of 7"),
    200: ("1.2 (worst 304) / 0.14", "all", "65%", "6.9 / 3.4%", "101 / 30", "3 of 7 / 5 of 7"),
    400: (
        "5.2 (worst 4,450) / 0.22",
        "798 / 800 of 800",
        "68%",
        "4.6 / 3.4%",
        "200 / 68",
        "4 of 8 / 7 of 10",
    ),
    1000: ("hangs / 0.53", "– / all", "–", "– / 1.9%", "– / 912 of 2,000", "– / 12 of 13"),
}
"""ms a pod, limited pods placed, dropped, reserve, behind too small a reserve, back: its default clustering / its
filter without."""
SLOWDOWN: Final[Mapping[int, tuple[str, str, str, str, str]]] = {
    200: ("7", "86", "32", "", "20 s"),
    1000: ("158", "", "", "80", "hours"),
}
"""Limits broken, pods moved, nowhere, still broken; and the same matrix again."""
_PLACING: Final = (
    "nodes",
    "whose",
    "ms a pod",
    "with all",
    "limited placed",
    "dropped",
    "reserve",
    "too small",
    "without (could)",
    "lost, back",
    "after",
)
_SLOW: Final = (
    "nodes",
    "whose",
    "broken",
    "movable",
    "moved",
    "needless",
    "nowhere",
    "still broken",
    "same files",
    "same map",
)
_NAME: Final = re.compile(r"\b(?:edge|cloud)-\d+\b")


class Stopped(Unmeasured):
    """What decisions took."""

    def __init__(self, size: int) -> None:
        self.milliseconds: list[float] = []
        self._size = size
        self._started = self._said = time.monotonic()

    def decided(self, decision: Decision, seconds: float) -> None:
        """Keep it."""
        self.milliseconds.append(seconds * 1000)
        now = time.monotonic()
        if now - self._said > SAY_SECONDS:
            self._said = now
            done = len(self.milliseconds)
            say(f"{self._size:,} nodes, {done:,} decisions, {now - self._started:.0f} s")


@dataclass
class Row:
    """Ours, of one size."""

    size: int
    pods: int = 0
    limited: int = 0
    placed: int = 0
    asked: float = 0.0
    decision_ms: float = 0.0
    worst_ms: float = 0.0
    whole_ms: float = 0.0
    dropped: float = 0.0
    reserve: float = 0.0
    placeholders: int = 0
    proven: int = 0
    too_small: int = 0
    uncovered: int = 0
    coverable: int = 0
    lost: int = 0
    lost_covered: int = 0
    back: int = 0
    back_covered: int = 0
    back_seconds: float = 0.0
    broken: int = 0
    movable: int = 0
    moved: int = 0
    needless: int = 0
    still_broken: int = 0
    nowhere: int = 0
    file_ms: float | None = None
    map_ms: float = 0.0
    map_moves: int = 0
    seconds: float = 0.0
    reasons: dict[str, str] = field(default_factory=dict)
    """Why pods that could not be covered are not, by workload."""


def measure(size: int, seed: int, losses: int = LOSSES) -> Row:
    """Run one world; so many losses are proven, all where there are no more nodes."""
    began = time.monotonic()
    stopped = Stopped(size)
    world = EdgeCluster(size, seed, metrics=stopped)
    row = Row(size, pods=len(world.pods), limited=len(world.limits))
    row.dropped = dropped(world)
    place(world, row, stopped)
    look_at_reserve(world, row, losses, seed)
    same_delays(world, row)
    slow_down(world, row, seed)
    kill(world, row)
    row.seconds = time.monotonic() - began
    said()
    return row


def dropped(world: EdgeCluster) -> float:
    """Share of the nodes within reach of a limited pod that the scheduler would not look at, on the empty cluster."""
    cache, placer = world.simulation.cache, world.simulation.placer
    reached = looked_at = 0
    free = world.free({})
    for name in list(world.limits)[:_REACH_PODS]:
        placed = cache.put_pod(world.pods[name])
        looked_at += placer.place(placed, NOW).feasible
        cache.remove_pod(placed.key)
        reached += int(np.count_nonzero(world.legal(name, free)))
    return 1 - looked_at / max(reached, 1)


def place(world: EdgeCluster, row: Row, stopped: Stopped) -> None:
    """All pods come."""
    start = time.process_time()
    world.make_pods()
    world.run(1.0, f"{row.size:,} nodes, placing {row.pods:,} pods")
    row.whole_ms = (time.process_time() - start) * 1000 / row.pods
    row.decision_ms = statistics.median(stopped.milliseconds)
    row.worst_ms = max(stopped.milliseconds)
    world.run(_SETTLE, f"{row.size:,} nodes, the reserve is made smaller")
    places = world.places()
    row.placed = sum(world.within(name, places[name]) for name in world.limits if name in places)
    used = sum(world.memory[name] for name in places)
    row.asked = used / sum(int(world.allocatable(name)) for name in world.nodes)


def look_at_reserve(world: EdgeCluster, row: Row, losses: int, seed: int) -> None:
    """What is kept, and whether it is enough for every loss, or for so many of them."""
    reserve, places = world.reserve, world.places()
    used = sum(world.memory[name] for name in places)
    held = sum(amounts.get("memory", 0) for amounts in world.held().values())
    row.reserve, row.placeholders = held / used, len(world.placeholders())
    row.uncovered = len(reserve.uncovered)
    started = said_at = time.monotonic()
    nodes = list(world.index)
    proven = nodes if len(nodes) <= losses else Random(seed).sample(nodes, losses)
    row.proven = len(proven)
    for number, report in enumerate(world.proofs(proven)):
        if report.verdict is not Verdict.HOLDS:
            row.too_small += len(report.unplaced)
        if time.monotonic() - said_at > SAY_SECONDS:
            said_at = time.monotonic()
            say(f"{row.size:,} nodes, {number:,} losses proven, {said_at - started:.0f} s")
    for key, why in reserve.uncovered.items():
        row.reasons[world.workload(key)] = why
        row.coverable += coverable(world, key)


def coverable(world: EdgeCluster, key: PodKey) -> bool:
    """Whether a pod without a backup would fit, with all that are lost with it and have one, into all that is free."""
    pod = world.simulation.cache.pod(key)
    assert pod is not None
    wanted = world.reserve.backups.keys() | {key}
    loss = Loss("node", pod.node, (pod.node,))
    [report] = check(
        world.simulation.cache,
        world.simulation.placer,
        lambda one: one.key in wanted,
        {},
        [loss],
        world.now,
        placeholders=world.placeholders(),
        free_too=True,
    )
    return report.verdict is not Verdict.FAILS


def kill(world: EdgeCluster, row: Row) -> None:
    """The node with the most limited pods falls silent."""
    before = world.places()
    backups = {world.workload(key) for key in world.reserve.backups}
    by_node: dict[str, list[str]] = {}
    for name in world.limits:
        if name in before:
            by_node.setdefault(before[name], []).append(name)
    victim = max(sorted(by_node), key=lambda node: len(by_node[node]))
    lost = by_node[victim]
    row.lost, row.lost_covered = len(lost), sum(name in backups for name in lost)
    world.cluster.fail_node(victim)
    world.run(NODE_GRACE, f"{row.size:,} nodes, {victim} is lost")
    since = world.now
    while True:
        places = world.places()
        back = [
            name for name in lost if places.get(name, victim) != victim and world.within(name, places[name])
        ]
        if len(back) == len(lost) or world.now - since >= _SETTLE:
            break
        world.run(0.25)
    row.back_seconds = world.now - since
    row.back, row.back_covered = len(back), sum(name in backups for name in back)


def slow_down(world: EdgeCluster, row: Row, seed: int) -> None:
    """Some nodes become slower."""
    rng = np.random.default_rng((row.size, seed, 1))
    chosen = rng.choice(row.size, max(round(_SLOW_SHARE * row.size), 1), replace=False)
    slower = world.geography.slower.copy()
    slower[chosen] += _SLOW_MS
    before = world.places()
    world.change(slower)
    broken = set(world.broken(before))
    row.broken = len(broken)
    world.run(_SETTLE, f"{row.size:,} nodes, {len(chosen)} are slower")
    after = world.places()
    moved = {name for name in before if after.get(name) != before[name]}
    row.moved, row.needless = len(moved), len(moved - broken)
    row.nowhere = len(before.keys() - after.keys())
    left = set(world.broken(after))
    row.still_broken = len(left)
    row.movable = len((broken & moved) - left) + sum(could_move(world, name, after, moved) for name in left)


def could_move(world: EdgeCluster, name: str, places: Mapping[str, str], moved: set[str]) -> bool:
    """Whether another node would take a pod, as it is or once one of those that moved there goes elsewhere."""
    free = world.free(places)
    if world.legal(name, free).any():
        return True
    for other in sorted(moved):
        there, elsewhere = world.index[places[other]], world.legal(other, free)
        elsewhere[there] = False
        freed = free.copy()
        freed[there] += world.memory[other]
        if elsewhere.any() and world.legal(name, freed)[there]:
            return True
    return False


def same_delays(world: EdgeCluster, row: Row) -> None:
    """What it costs where delays are read again and are the same."""
    before = world.places()
    world.run(1.0)  # the proof has taken nodes away and given them back
    start = time.process_time()
    world.change(world.geography.slower)
    world.simulation.settle()
    row.map_ms = (time.process_time() - start) * 1000
    world.run(_SETTLE)
    after = world.places()
    row.map_moves = sum(after.get(name) != node for name, node in before.items())
    if row.size > _FILE_NODES:
        return
    with tempfile.TemporaryDirectory() as folder:
        matrix, metadata = Path(folder, "matrix.txt"), Path(folder, "metadata.json")
        np.savetxt(matrix, world.geography.matrix())
        metadata.write_text(json.dumps(world.index))
        source = DelayFileSource([matrix, metadata], glance=0.0)
        source.open(0.0)
        os.utime(matrix)
        start = time.process_time()
        assert source.refresh(1.0) is None, "the same delays count as others"
        row.file_ms = (time.process_time() - start) * 1000


def show(rows: Sequence[Row]) -> None:
    """The tables: ours, the prototype's figures below."""
    placing: list[list[str]] = []
    slow: list[list[str]] = []
    for row in rows:
        ours = f"{row.back:,} of {row.lost:,}"
        if row.lost_covered != row.lost:
            ours += f" (covered: {row.back_covered:,} of {row.lost_covered:,})"
        placing.append(
            [
                f"{row.size:,}",
                "ours",
                f"{row.decision_ms:.2f} (worst {row.worst_ms:.1f})",
                f"{row.whole_ms:.1f}",
                f"{row.placed:,} of {row.limited:,}",
                f"{row.dropped:.0%}",
                f"{row.reserve:.1%}",
                f"{row.too_small:,}" + (f" ({row.proven:,} losses)" if row.proven < row.size else ""),
                f"{row.uncovered:,} ({row.coverable:,})",
                ours,
                f"{row.back_seconds:.2f} s",
            ]
        )
        slow.append(
            [
                f"{row.size:,}",
                "ours",
                f"{row.broken:,}",
                f"{row.movable:,}",
                f"{row.moved:,}",
                f"{row.needless:,}",
                f"{row.nowhere:,}",
                f"{row.still_broken:,}",
                "–" if row.file_ms is None else f"{row.file_ms:.1f} ms",
                f"{row.map_ms:.1f} ms, {row.map_moves} moves",
            ]
        )
        if row.size in PROTOTYPE:
            theirs, slower = PROTOTYPE[row.size], SLOWDOWN.get(row.size, ("", "", "", "", ""))
            ms, placed, dropped, kept, small, back = theirs
            placing.append(["", "prototype", ms, "", placed, dropped, kept, small, "", back, ""])
            broken, moved, nowhere, still, again = slower
            if broken:
                slow.append(["", "prototype", broken, "", moved, "", nowhere, still, again, ""])
    print(aligned(_PLACING, placing))
    print()
    print(aligned(_SLOW, slow))
    print()
    for row in rows:
        print(
            f"{row.size:,} nodes: {row.asked:.0%} of all memory is asked for; the reserve is held by "
            f"{row.placeholders:,} placeholders; measured in {row.seconds:,.0f} s"
        )
        reasons = Counter(_NAME.sub("…", why) for why in row.reasons.values())
        for why, count in reasons.most_common():
            print(f"  {count:,} limited pods have no backup: {why}")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--nodes",
        type=lambda text: [int(one) for one in text.split(",")],
        default=SIZES,
        metavar="N,N,…",
        help="sizes of the worlds",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--losses",
        type=int,
        default=LOSSES,
        help="how many losses are proven, of nodes drawn where there are more",
    )
    given = parser.parse_args()
    show([measure(size, given.seed, given.losses) for size in given.nodes])


if __name__ == "__main__":
    main()
