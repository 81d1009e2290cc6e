"""What metrics say of a reserve is what it keeps, also after it was made smaller while nothing happened."""

from __future__ import annotations

import numpy as np

from engine.cluster.simulated import SimulatedCluster
from engine.scheduler.metrics import Unmeasured
from engine.scheduler.simulation import Simulation
from engine.settings import Settings
from tests.engine.scheduler.scenes import RESERVE, RULES, delays, deployment, gateway, node, plan


class Told(Unmeasured):
    """Writes down the bytes that are kept."""

    def __init__(self) -> None:
        self.bytes: list[int] = []

    def reserved(self, reserve: str, covered: int, uncovered: int, memory: int) -> None:
        self.bytes.append(memory)


def test_what_is_told_follows_what_is_made_smaller() -> None:
    cluster, told = SimulatedCluster(), Told()
    names = [f"n{number:02}" for number in range(16)]
    for one in (*(node(name, cpu="16", memory="64Gi") for name in names), gateway()):
        cluster.add_node(one)
    ends = [*names, "gateway"]
    matrix = np.full((17, 17), 10.0)
    np.fill_diagonal(matrix, 0.0)
    simulation = Simulation(cluster, plan(RULES + RESERVE), delays(ends, matrix), Settings(), metrics=told)
    cluster.apply(deployment("video", 64, {"gateway": "25"}))
    start = cluster.clock.now()
    simulation.run_until(start + 3)
    settled = told.bytes[-1]
    simulation.run_until(start + 120)
    upkeep = simulation.scheduler.upkeep
    assert upkeep is not None
    [kept] = upkeep.reserving.reserves
    assert kept.plan.kept_memory < settled, "it has been made smaller"
    assert told.bytes[-1] == kept.plan.kept_memory
