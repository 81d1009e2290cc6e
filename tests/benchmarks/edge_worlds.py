"""Edges as the prototype was measured on: points on a map, delays by distance, pods near random edge nodes.

Points in 4,000 × 2,500 km; a round trip is the distance at 100 km per ms, times 1.5, and the access delays of both
ends (cloud 0.3…1 ms, edge 0.5…6 ms), in whole milliseconds. 30% of the nodes are a cloud with 16…32 GiB, the others
have 4…8 GiB. Three pods a node of 0.5…3 GiB, two thirds of them with one limit of 10…60 ms to a random edge node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.compile import compile_policy
from engine.compile.plan import Plan
from engine.delay.map import DelayMap, Rows, digest
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


@dataclass(frozen=True)
class Geography(Rows):
    """Where the nodes are. Delays are worked out row by row: of 10,000 nodes they would be 800 MB.

    Attributes:
        names: The nodes; those of the cloud come first.
        cloud: How many those are.
        points: Shape (nodes, 2), kilometres.
        access: Shape (nodes,), milliseconds.
        slower: Shape (nodes,), milliseconds more to and from each than at first.
    """

    names: tuple[str, ...]
    cloud: int
    points: NDArray[np.float64]
    access: NDArray[np.float64]
    slower: NDArray[np.float64]

    @classmethod
    def random(cls, rng: np.random.Generator, size: int) -> Geography:
        """One of so many nodes, 30% of them a cloud."""
        cloud = round(0.3 * size)
        names = [f"cloud-{number}" for number in range(cloud)]
        names += [f"edge-{number}" for number in range(size - cloud)]
        points = rng.uniform((0, 0), (4000, 2500), (size, 2))
        access = rng.uniform(0.5, 6, size)
        access[:cloud] = rng.uniform(0.3, 1, cloud)
        return cls(tuple(names), cloud, points, access, np.zeros(size))

    @property
    def edges(self) -> list[str]:
        return list(self.names[self.cloud :])

    def row(self, origin: int) -> NDArray[np.float64]:
        distance = np.hypot(*(self.points - self.points[origin]).T)
        row: NDArray[np.float64] = np.round(distance / 100 * 1.5 + self.access + self.access[origin])
        row += self.slower + self.slower[origin]
        row[origin] = 0
        row.flags.writeable = False
        return row

    def cell(self, origin: int, target: int) -> float:
        return float(self.row(origin)[target])

    def measured(self) -> NDArray[np.bool_]:
        return np.ones(len(self.names), dtype=np.bool_)

    def matrix(self) -> NDArray[np.float64]:
        return np.stack([self.row(origin) for origin in range(len(self.names))])

    def delays(self) -> DelayMap:
        parts = (self.points, self.access, self.slower)
        return DelayMap(self.names, self, digest(self.names, *parts))


def edge_world(size: int, seed: int, zones: int = 0) -> EdgeWorld:
    """A world of so many nodes.

    Args:
        size: Nodes.
        seed: The same gives the same.
        zones: Vertical stripes of the map that are zones, 0 for none.
    """
    rng = np.random.default_rng((size, seed))
    geography = Geography.random(rng, size)
    store = Cache()
    for made in made_nodes(rng, geography, zones):
        store.put_node(made)
    placer = Placer(store, plan(), geography.delays(), seed)
    unplaced: list[str] = []
    for number in range(3 * size):
        placed = store.put_pod(made_pod(rng, f"pod-{number}", geography.edges))
        decision = placer.place(placed, NOW)
        if decision.node is None:
            unplaced.append(placed.key.name)
        else:
            store.assume(placed.key, decision.node)
    return EdgeWorld(store, placer, unplaced)


def made_nodes(rng: np.random.Generator, geography: Geography, zones: int = 0) -> Iterator[Node]:
    """The nodes of a geography."""
    for number, name in enumerate(geography.names):
        in_cloud = number < geography.cloud
        low, high = (16, 32) if in_cloud else (4, 8)
        yield made_node(name, int(rng.integers(low * 1024, high * 1024 + 1)), in_cloud, zones)


def made_node(name: str, mebibytes: int, cloud: bool, zones: int) -> Node:
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
