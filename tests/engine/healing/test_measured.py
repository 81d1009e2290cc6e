"""The prototype's worlds: whatever can be covered is, what cannot is named, and it is proven for every node."""

from __future__ import annotations

from random import Random

import pytest

from engine.healing import Loss, Reserve, check, improve, losses_of
from tests.benchmarks.bench_reserve import churn, coverable, holds
from tests.benchmarks.edge_worlds import EdgeWorld, edge_world, limited
from tests.benchmarks.reserve_optimum import optimum
from tests.engine.build import NOW, ZONE

ANY = 10**9


def reserved(world: EdgeWorld, label: str | None = None, at_most: float | None = None) -> Reserve:
    reserve = Reserve(world.cache, world.placer, limited, label, at_most)
    for pod in list(world.cache.pods()):
        reserve.put(pod, NOW)
    return reserve


@pytest.mark.parametrize("size", [10, 50])
def test_no_limited_pod_is_behind_a_reserve_too_small_for_it(size: int) -> None:
    world = edge_world(size, 1)
    reserve = reserved(world)
    improve(reserve, 200, ANY, Random(1))
    reserve.retry(NOW)
    assert reserve.backups.keys() | reserve.uncovered.keys() == {pod.key for pod in world.limited()}
    assert [key.name for key in list(reserve.uncovered) if coverable(world, reserve, key)] == []
    reserve.put_all([], NOW)
    assert holds(world, reserve, losses_of(world.cache, "node", None)) == size
    churn(world, reserve, 20, 1)
    assert holds(world, reserve, losses_of(world.cache, "node", None)) == size


def test_at_most_a_tenth_is_kept_and_the_rest_is_named() -> None:
    world = edge_world(20, 1)
    reserve = reserved(world, at_most=0.1)
    assert reserve.kept_memory <= 0.1 * reserve.requested_memory
    over = [reason for reason in reserve.uncovered.values() if "would exceed the limit" in reason]
    assert over
    assert all("10% of what is requested" in reason for reason in over)
    assert holds(world, reserve, losses_of(world.cache, "node", None)) == 20


def test_whole_zones_are_survived() -> None:
    world = edge_world(50, 1, zones=5)
    reserve = reserved(world, ZONE)
    losses = losses_of(world.cache, "zone", ZONE)
    assert len(losses) == 5
    assert holds(world, reserve, losses) == 5


def test_two_nodes_lost_at_once_are_both_noticed() -> None:
    world = edge_world(10, 1)
    first, second = sorted({pod.node for pod in world.limited()})[:2]
    [report] = check(
        world.cache, world.placer, limited, {}, [Loss("node", "both", (first, second))], NOW, free_too=True
    )
    asked = {key for key, _ in report.places} | {one.pod for one in report.unplaced}
    assert asked == {pod.key for pod in world.limited() if pod.node in (first, second)}
    assert not {first, second} & {node for _, node in report.places}


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_kept_is_near_the_least(seed: int) -> None:
    world = edge_world(20, seed)
    reserve = reserved(world)
    improve(reserve, 1500, ANY, Random(1))
    least = optimum(reserve, world.cache.columns, 60)
    assert least.proven
    assert least.least <= reserve.kept_memory <= 1.1 * least.least
