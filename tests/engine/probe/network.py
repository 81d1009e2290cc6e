"""A network that stands still, as the edge is: nodes spread over a continent, each behind an access of its own."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from engine.probe.vivaldi import Vivaldi


@dataclass(frozen=True)
class Network:
    """Round trips between nodes that are numbers."""

    places: list[tuple[float, float]]
    access: list[float]
    detours: dict[tuple[int, int], float]

    @classmethod
    def random(cls, count: int, seed: int, detour: float = 0.1) -> Network:
        """Points in 4,000 × 2,500 km; a round trip takes 1.5 ms for 100 km, more or less by a pair's own detour."""
        draw = random.Random(seed)
        places = [(draw.uniform(0, 4000), draw.uniform(0, 2500)) for _ in range(count)]
        access = [draw.uniform(0.5, 6.0) if draw.random() < 0.85 else draw.uniform(0.3, 1.0) for _ in places]
        detours = {
            (a, b): draw.uniform(1 - detour, 1 + detour) for a in range(count) for b in range(a + 1, count)
        }
        return cls(places, access, detours)

    def __len__(self) -> int:
        return len(self.places)

    def round_trip(self, a: int, b: int) -> float:
        """Milliseconds, without jitter."""
        far = math.dist(self.places[a], self.places[b]) / 100 * 1.5
        return far * self.detours[min(a, b), max(a, b)] + self.access[a] + self.access[b]


def grown(
    network: Network,
    neighbours: int,
    rounds: int,
    seed: int,
    jitter: Callable[[random.Random, float], float] = lambda draw, value: value + draw.expovariate(1 / 0.3),
) -> tuple[list[Vivaldi], dict[tuple[int, int], float]]:
    """The nodes' places after so many rounds, in each of which a node measures one of its neighbours.

    Returns:
        The places, and the last measurement of each pair that was measured.
    """
    draw = random.Random(seed)
    count = len(network)
    nodes = [Vivaldi(random.Random(seed * 1000 + number)) for number in range(count)]
    chosen = [
        draw.sample([peer for peer in range(count) if peer != node], neighbours) for node in range(count)
    ]
    measured: dict[tuple[int, int], float] = {}
    for turn in range(rounds):
        for node in range(count):
            # Every fifth time somebody whom gossip named.
            peer = draw.choice(chosen[node]) if turn % 5 else (node + draw.randrange(1, count)) % count
            value = jitter(draw, network.round_trip(node, peer))
            nodes[node].measured(str(peer), nodes[peer].coordinate, value)
            measured[node, peer] = value
    return nodes, measured
