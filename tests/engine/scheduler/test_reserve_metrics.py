"""What metrics say of a reserve is what is kept, also after it was made smaller and nothing else happened."""

from __future__ import annotations

import numpy as np
import pytest

from engine.cluster.errors import ApiError
from engine.scheduler.metrics import Unmeasured
from engine.scheduler.simulation import Simulation
from engine.settings import Settings
from tests.engine.scheduler.scenes import RESERVE, RULES, World, delays, deployment, node, spec


class Notes(Unmeasured):
    """Writes down what it is told of reserves (an `engine.scheduler.metrics.Metrics`)."""

    def __init__(self) -> None:
        self.reserves: list[tuple[str, int, int, int]] = []
        self.held = -1

    def reserved(self, reserve: str, covered: int, uncovered: int, memory: int, held: int) -> None:
        self.reserves.append((reserve, covered, uncovered, memory))
        self.held = held


class Measured(World):
    """A world whose scheduler tells its metrics to `notes`."""

    notes: Notes

    def _begin(self) -> Simulation:
        self.notes = Notes()
        return Simulation(self.cluster, self.plan, self.map, Settings(), metrics=self.notes)


def world() -> Measured:
    """Twelve nodes, each pod may be on some of them, and pods of many sizes."""
    r = np.random.default_rng(7)
    names = [f"e{number}" for number in range(12)]
    ends = [*names, "gateway"]
    ms = r.uniform(2.0, 30.0, (13, 13))
    made = Measured(RULES + RESERVE, [node(name) for name in names], delays(ends, (ms + ms.T) / 2))
    for number in range(24):
        limits = {"gateway": str(r.choice([14, 18, 22, 28]))}
        memory = f"{int(r.choice([512, 1024, 1536, 2048]))}Mi"
        made.cluster.apply(deployment(f"app-{number}", 1, limits, spec("200m", memory)))
    return made


def test_what_is_kept_is_told_once_it_was_made_smaller() -> None:
    made = world()
    made.run(4)
    upkeep = made.simulation.scheduler.upkeep
    assert upkeep is not None
    [reserve] = upkeep.reserving.reserves
    first = made.notes.reserves[-1]
    assert first == ("backup", 24, 0, reserve.plan.kept_memory)
    now = made.cluster.clock.now() + 6
    for _ in range(20):
        upkeep.reserving.tend(now, True, ())
        # Nothing but the plan has changed: the placeholders that follow it are neither made nor deleted yet.
        assert made.notes.reserves[-1] == ("backup", 24, 0, reserve.plan.kept_memory)
        if reserve.plan.kept_memory < first[3]:
            break
    else:
        pytest.fail("it was not made smaller")


def test_in_the_end_it_is_what_is_held() -> None:
    made = world()
    made.run(4)
    first = made.notes.reserves[-1]
    made.run(60)
    last = made.notes.reserves[-1]
    assert last[:3] == first[:3]
    assert sum(made.placeholders().values()) == last[3] < first[3]
    assert made.notes.held == last[3]


def test_where_no_placeholder_is_let_in_nothing_is_told_to_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    made = world()

    def refuse(*_: object) -> None:
        raise ApiError(403, "Forbidden", "exceeded quota")

    monkeypatch.setattr(made.cluster, "create_pod", refuse)
    made.run(10)
    assert made.notes.reserves[-1][3] > 0
    assert made.notes.held == 0
