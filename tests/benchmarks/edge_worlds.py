"""Edges as the prototype was measured on: points on a map, delays by distance, pods near random edge nodes.

Points in 4,000 × 2,500 km; a round trip is the distance at 100 km per ms, times 1.5, and the access delays of both
ends (cloud 0.3…1 ms, edge 0.5…6 ms), in whole milliseconds. 30% of the nodes are a cloud with 16…32 GiB, the others
have 4…8 GiB. Three pods a node of 0.5…3 GiB, two thirds of them with one limit of 10…60 ms to a random edge node.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from engine.compile import compile_policy
from engine.compile.plan import Plan
from engine.delay.map import DelayMap
from engine.model.objects import Node, Pod
from engine.placement import Placer
from engine.state.cache import Cache
from engine.state.pods import PlacedPod
from grammar import check_paths
from tests.engine.build import NOW, ZONE, node, pod

SEED_POLICY = Path(__file__).parents[2] / "policies" / "seed.policy"
MI = 2**20


@dataclass
class EdgeWorld:
    """A cluster with its pods placed as the prototype's policies say."""

    cache: Cache
    placer: Placer
    unplaced: list[str]

    def limited(self) -> list[PlacedPod]:
        return [one for one in self.cache.pods() if limited(one)]


def limited(one: PlacedPod) -> bool:
    """Whether a pod has a limit."""
    return any(key.startswith("delay_") for key in one.shape.labels)


@cache
def plan() -> Plan:
    result = check_paths([SEED_POLICY])
    assert result.policy is not None, result.diagnostics
    return compile_policy(result.policy)


def delays(rng: np.random.Generator, size: int, cloud: int) -> tuple[np.ndarray, np.ndarray]:
    """The matrix, and the points."""
    points = rng.uniform((0, 0), (4000, 2500), (size, 2))
    access = rng.uniform(0.5, 6, size)
    access[:cloud] = rng.uniform(0.3, 1, cloud)
    matrix = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1)) / 100 * 1.5
    matrix = np.round(matrix + access[:, None] + access[None])
    np.fill_diagonal(matrix, 0)
    return matrix, points


def edge_world(size: int, seed: int, zones: int = 0) -> EdgeWorld:
    """A world of so many nodes.

    Args:
        size: Nodes.
        seed: The same gives the same.
        zones: Vertical stripes of the map that are zones, 0 for none.
    """
    rng = np.random.default_rng((size, seed))
    cloud = round(0.3 * size)
    names = [f"cloud-{number}" for number in range(cloud)] + [
        f"edge-{number}" for number in range(size - cloud)
    ]
    matrix, points = delays(rng, size, cloud)
    store = Cache()
    for number, name in enumerate(names):
        low, high = (16, 32) if number < cloud else (4, 8)
        store.put_node(
            made_node(name, int(rng.integers(low * 1024, high * 1024 + 1)), number < cloud, points, zones)
        )
    placer = Placer(store, plan(), DelayMap.from_matrix(names, matrix), seed)
    unplaced: list[str] = []
    for number in range(3 * size):
        placed = store.put_pod(made_pod(rng, f"pod-{number}", names[cloud:]))
        decision = placer.place(placed, NOW)
        if decision.node is None:
            unplaced.append(placed.key.name)
        else:
            store.assume(placed.key, decision.node)
    return EdgeWorld(store, placer, unplaced)


def made_node(name: str, mebibytes: int, cloud: bool, points: np.ndarray, zones: int) -> Node:
    labels = {"kubernetes.io/role": "cloud" if cloud else "edge"}
    if zones:
        labels[ZONE] = f"z{hash_of(name) % zones}"
    allocatable: dict[str, str | int | float] = {"cpu": "64", "memory": f"{mebibytes}Mi", "pods": "110"}
    return node(name, labels, allocatable=allocatable)


def hash_of(name: str) -> int:
    return sum(map(ord, name))


def made_pod(rng: np.random.Generator, name: str, edges: list[str]) -> Pod:
    memory = f"{int(rng.integers(512, 3073))}Mi"
    labels = {}
    if rng.random() < 2 / 3:
        labels[f"delay_{edges[int(rng.integers(len(edges)))]}"] = str(int(rng.integers(10, 61)))
    return pod(name, labels, requests={"memory": memory}, created=NOW)
