"""How long plans of moves take: ``python -m tests.benchmarks.bench_healing``.

Edges as the prototype was measured on (three pods a node, two thirds of them with a delay limit). One line a size:

- 100 pods of lost nodes, by the rules and to their backups: the first plan, and the same again;
- a look for broken rules: the first, one where nothing changed, one after the same delays were measured again, and
  one after all delays changed;
- room for 10 pods that wait.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np
from msgspec.structs import replace

from engine.delay.map import DelayMap
from engine.healing import Reserve
from engine.healing.plan import Plan
from engine.healing.planner import Planner
from engine.healing.situation import Situation
from engine.model.objects import Condition, OwnerReference, Pod, PodKey
from engine.placement import Placer
from engine.state.cache import Cache
from grammar.policy import Heal, Trigger
from tests.benchmarks import edge_worlds
from tests.benchmarks.edge_worlds import EdgeWorld, limited, made_pod
from tests.engine.build import NOW, node, pod

SIZES = (1_000, 20_000)
LOST = Heal("loss", Trigger.NODE_LOST, None, 10_000.0)
DRIFT = Heal("drift", Trigger.BROKEN, "within-delay", 60_000.0)
ROOM = Heal("room", Trigger.POD_UNSCHEDULABLE, None, 5_000.0, relocate=2)


def owned(one: Pod, on: str = "") -> Pod:
    owner = OwnerReference("ReplicaSet", f"of-{one.metadata.name}", uid="o", controller=True)
    metadata = replace(
        one.metadata,
        owner_references=(owner,),
        creation_timestamp=datetime.fromtimestamp(NOW - 3600, UTC),
    )
    return replace(one, metadata=metadata, spec=replace(one.spec, node_name=on))


def world(size: int, seed: int) -> tuple[EdgeWorld, list[str], np.ndarray]:
    """A world whose pods are placed within their limits, near where they are measured from, without the placer.

    Of 20,000 nodes the placer would take minutes for 60,000 pods; delays are measured among 2,000 nodes at most.
    """
    rng = np.random.default_rng((size, seed))
    cloud = round(0.3 * size)
    names = [f"cloud-{n}" for n in range(cloud)] + [f"edge-{n}" for n in range(size - cloud)]
    measured = min(size, 2_000)
    chosen = np.sort(rng.choice(np.arange(size), measured, replace=False))
    points = rng.uniform((0, 0), (4000, 2500), (measured, 2))
    access = np.where(chosen < cloud, rng.uniform(0.3, 1, measured), rng.uniform(0.5, 6, measured))
    matrix = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1)) / 100 * 1.5
    matrix = np.round(matrix + access[:, None] + access[None])
    np.fill_diagonal(matrix, 0)
    store = Cache()
    free: dict[int, int] = {}
    for number, name in enumerate(names):
        low, high = (16, 32) if number < cloud else (4, 8)
        mebibytes = int(rng.integers(low * 1024, high * 1024 + 1))
        free[number] = mebibytes * 2**20
        labels = {"kubernetes.io/role": "cloud" if number < cloud else "edge"}
        room: dict[str, str | int | float] = {"cpu": "64", "memory": f"{mebibytes}Mi", "pods": "110"}
        store.put_node(node(name, labels, allocatable=room, ready=True))
    known = [names[int(n)] for n in chosen]
    placer = Placer(store, edge_worlds.plan(), DelayMap.from_matrix(known, matrix), seed)
    edges = [name for name in known if name.startswith("edge")]
    position = {name: index for index, name in enumerate(known)}
    unplaced: list[str] = []
    for number in range(3 * size):
        one = made_pod(rng, f"pod-{number}", edges)
        memory = int(str((one.spec.containers or ())[0].resources.requests["memory"])[:-2]) * 2**20  # type: ignore[union-attr,index]
        label = next(iter(one.metadata.labels or {}), "")
        if label:
            limit = float((one.metadata.labels or {})[label])
            row = matrix[position[label.removeprefix("delay_")]]
            near = chosen[row <= limit]
            near = near[near >= cloud]
        else:
            near = np.arange(cloud)
        near = near[rng.permutation(len(near))[:50]]
        slot = next((int(n) for n in near if free[int(n)] >= memory), None)
        if slot is None:
            unplaced.append(one.metadata.name)
            continue
        free[slot] -= memory
        store.put_pod(owned(one, names[slot]))
    return EdgeWorld(store, placer, unplaced), known, matrix


def timed(function: Callable[[], Plan]) -> tuple[float, Plan]:
    """Milliseconds, and what came of it."""
    start = time.perf_counter()
    plan = function()
    return (time.perf_counter() - start) * 1000, plan


def lose(made: EdgeWorld, pods: int) -> list[str]:
    """Let edge nodes fall silent until so many pods are lost."""
    lost: list[str] = []
    count = 0
    for name in sorted(made.cache.columns.node_names()):
        on = len(list(made.cache.pods_on(name)))
        if name.startswith("edge") and on:
            lost.append(name)
            count += on
        if count >= pods:
            break
    for name in lost:
        silence(made, name, True)
    return lost


def silence(made: EdgeWorld, name: str, silent: bool) -> None:
    one = made.cache.node(name)
    assert one is not None
    when = datetime.fromtimestamp(NOW - 20, UTC)
    condition = Condition("Ready", "Unknown" if silent else "True", "", "", when)
    made.cache.put_node(replace(one, status=replace(one.status, conditions=(condition,))))


def backups(made: EdgeWorld) -> dict[PodKey, str]:
    """Of limited pods, as the reserve has them."""
    reserve = Reserve(made.cache, made.placer, limited)
    reserve.put_all(list(made.cache.pods()), NOW)
    return reserve.places()


def lost_pods(made: EdgeWorld, with_backups: bool) -> None:
    """Two lines: without backups and with them."""
    planner = Planner(made.cache, made.placer, [LOST])
    places = backups(made) if with_backups else {}
    lost = lose(made, 100)
    for label, situation in (("by the rules", Situation()), ("to backups", Situation(backups=places))):
        if label == "to backups" and not places:
            continue
        first, plan = timed(lambda: planner.plan(NOW, situation))  # noqa: B023
        again, _ = timed(lambda: planner.plan(NOW, situation))  # noqa: B023
        told = f"{len(plan.moves)} moves ({sum(one.backup for one in plan.moves)} to backups), {len(plan.stays)} stay"
        print(f"  lost, {label:<14} {first:>9.1f} ms, again {again:>8.1f} ms   {told}", flush=True)
    for name in lost:
        silence(made, name, False)


def drift(made: EdgeWorld, names: Sequence[str], matrix: np.ndarray, seed: int) -> None:
    """A line."""
    planner = Planner(made.cache, made.placer, [DRIFT])
    times = [timed(lambda: planner.plan(NOW, Situation()))[0] for _ in range(2)]
    made.placer.swap_delays(DelayMap.from_matrix(list(names), matrix))
    times.append(timed(lambda: planner.plan(NOW, Situation()))[0])
    rng = np.random.default_rng(seed)
    slower = matrix * rng.uniform(0.9, 1.1, matrix.shape)
    made.placer.swap_delays(DelayMap.from_matrix(list(names), (slower + slower.T) / 2))
    times.append(timed(lambda: planner.plan(NOW, Situation()))[0])
    took, plan = timed(lambda: planner.plan(NOW + 60, Situation()))
    first, unchanged, equal, moved = times
    print(
        f"  drift, first look {first:.1f} ms, nothing changed {unchanged:.3f} ms, same delays again {equal:.3f} ms,"
    )
    print(
        f"         all delays changed {moved:.1f} ms, the plan {took:.1f} ms for {len(plan.moves)} moves",
        flush=True,
    )
    made.placer.swap_delays(DelayMap.from_matrix(list(names), matrix))


def room(made: EdgeWorld, names: Sequence[str], seed: int) -> None:
    """A line."""
    planner = Planner(made.cache, made.placer, [ROOM])
    rng = np.random.default_rng(seed)
    edges = [name for name in names if name.startswith("edge")]
    waiting: dict[PodKey, float] = {}
    for number in range(5_000):
        if len(waiting) == 10:
            break
        asked = {"memory": f"{int(rng.integers(2, 5))}Gi"}
        limits = {f"delay_{edges[int(rng.integers(len(edges)))]}": str(int(rng.integers(6, 10)))}
        one = made.cache.put_pod(owned(pod(f"wait-{number}", limits, requests=asked)))
        if made.placer.place(one, NOW).node is None:
            waiting[one.key] = NOW - 10
        else:
            made.cache.remove_pod(one.key)
    took, plan = timed(lambda: planner.plan(NOW, Situation(waiting=waiting)))
    again, _ = timed(lambda: planner.plan(NOW, Situation(waiting=waiting)))
    helped = len({one.helps for one in plan.moves})
    told = f"{helped} of {len(waiting)} are helped by {len(plan.moves)} moves"
    print(f"  room               {took:>9.1f} ms, again {again:>8.1f} ms   {told}", flush=True)
    for key in waiting:
        made.cache.remove_pod(key)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="nodes")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for size in given.sizes:
        made, names, matrix = world(size, given.seed)
        print(f"{size:,} nodes, {len(made.cache):,} pods", flush=True)
        lost_pods(made, with_backups=size <= 2_000)
        drift(made, names, matrix, given.seed)
        room(made, names, given.seed)


if __name__ == "__main__":
    main()
