"""The least memory that can be kept, by OR-Tools CP-SAT: what the reserve is measured against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ortools.sat.python import cp_model

from engine.healing.ledger import MEMORY, Backup
from engine.healing.reserve import Reserve
from engine.state.columns import Columns

MI = 2**20


@dataclass(frozen=True)
class Optimum:
    """Bytes: the least that was found, and what is proven that no less can do."""

    least: int
    bound: int

    @property
    def proven(self) -> bool:
        return self.least == self.bound


def optimum(reserve: Reserve, columns: Columns, seconds: float) -> Optimum:
    """The least memory for the backups that a reserve has, each where its rules let it be.

    All amounts must be whole MiB. Only memory is looked at: the worlds have plenty of the rest.

    Raises:
        RuntimeError: No answer was found in that time.
    """
    model = cp_model.CpModel()
    backups = list(reserve.backups.values())
    free = (columns.allocatable["memory"] - columns.used["memory"]) // MI
    by_loss: dict[str, list[Backup]] = {}
    for backup in backups:
        by_loss.setdefault(backup.loss, []).append(backup)
    kept = {
        slot: model.new_int_var(0, max(int(free[slot]), 0), f"kept {slot}") for slot in range(columns.size)
    }
    for members in by_loss.values():
        asked: dict[int, list[cp_model.LinearExprT]] = {}
        for backup in members:
            here = []
            for slot in np.flatnonzero(backup.legal).tolist():
                placed = model.new_bool_var("")
                model.add_hint(placed, backup.slot == slot)
                here.append(placed)
                asked.setdefault(slot, []).append(backup.asked.get("memory", 0) // MI * placed)
            model.add_exactly_one(here)
        for slot, amounts in asked.items():
            model.add(sum(amounts) <= kept[slot])
    reserve.ledger.settle()
    for slot, variable in kept.items():
        model.add_hint(variable, int(reserve.ledger.kept[MEMORY, slot]) // MI)
    model.minimize(sum(kept.values()))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = 2
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        raise RuntimeError(f"no answer in {seconds:g} s: {solver.status_name(status)}")
    return Optimum(round(solver.objective_value) * MI, round(solver.best_objective_bound) * MI)
