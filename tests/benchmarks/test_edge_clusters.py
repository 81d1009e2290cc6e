"""The prototype's worlds run as clusters, small ones: what the benchmarks are to reach holds there."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks import bench_drift, bench_loss, prototype_table
from tests.benchmarks.edge_clusters import EdgeCluster
from tests.benchmarks.edge_worlds import edge_world


@pytest.fixture(scope="module", params=[10, 50])
def row(request: pytest.FixtureRequest) -> prototype_table.Row:
    return prototype_table.measure(request.param, 1)


def test_all_limited_pods_are_placed_and_no_node_within_reach_is_dropped(row: prototype_table.Row) -> None:
    assert (row.placed, row.dropped) == (row.limited, 0)


def test_every_limited_pod_that_can_be_covered_is_and_has_room(row: prototype_table.Row) -> None:
    assert (row.too_small, row.coverable, row.proven) == (0, 0, row.size)
    assert set(row.reasons.values()) == {
        why for why in row.reasons.values() if "is not ready, so no delay can be measured from it" in why
    }, "near the very node that they run on"


def test_all_covered_pods_of_a_lost_node_are_back_at_once(row: prototype_table.Row) -> None:
    assert row.lost_covered > 0
    assert (row.back_covered, row.back_seconds) == (row.lost_covered, 0)


def test_exactly_those_that_are_too_far_move_where_they_can(row: prototype_table.Row) -> None:
    assert row.broken > 0
    assert (row.moved, row.needless, row.nowhere) == (row.movable, 0, 0)
    assert row.still_broken == row.broken - row.movable


def test_the_same_delays_again_move_nobody(row: prototype_table.Row) -> None:
    assert row.map_moves == 0


def test_the_table_has_the_prototypes_figures_below_ours(
    row: prototype_table.Row, capsys: pytest.CaptureFixture[str]
) -> None:
    prototype_table.show([row])
    ours, theirs = [
        line for line in capsys.readouterr().out.splitlines() if "ours" in line or "prototype" in line
    ][:2]
    assert f"{row.placed} of {row.limited}" in ours
    assert prototype_table.PROTOTYPE[row.size][0] in theirs


def test_each_loss_in_turn() -> None:
    row = bench_loss.measure(10, 2)
    assert (row.losses, row.proven) == (10, 10)
    assert row.covered > 0
    assert (row.covered_back, row.strays) == (row.covered, 0)


def test_drifting_delays() -> None:
    row = bench_drift.Hour(20, 1).run(1200)
    assert row.broken > 0
    assert (row.too_long, row.needless, row.to_and_fro, row.without) == (0, 0, 0, 0)


def test_a_world_is_the_same_as_a_cluster_and_as_a_cache() -> None:
    cluster, world = EdgeCluster(10, 3), edge_world(10, 3)
    for name in cluster.nodes:
        slot = world.cache.columns.slot(name)
        assert slot is not None
        assert cluster.allocatable(name) == world.cache.columns.allocatable["memory"][slot]
    asked = {one.key.name: one.requests["memory"] for one in world.cache.pods()}
    assert asked == {name: memory for name, memory in cluster.memory.items() if name in asked}


def test_a_row_of_delays_is_what_the_page_says() -> None:
    geography = EdgeCluster(20, 1).geography
    matrix = geography.matrix()
    assert (matrix == matrix.T).all()
    assert (np.diagonal(matrix) == 0).all()
    for origin, target in ((0, 7), (3, 19), (12, 11)):
        kilometres = float(np.hypot(*(geography.points[origin] - geography.points[target])))
        access = float(geography.access[origin] + geography.access[target])
        assert matrix[origin, target] == round(kilometres / 100 * 1.5 + access)
