"""Nodes that are being emptied: their pods are moved ahead of time, one by one, as disruption budgets allow.

Source: ``kubectl drain`` cordons a node first (``spec.unschedulable``), and evicts what runs on it then.
"""

from __future__ import annotations

import numpy as np

from engine.healing.choice import way_out
from engine.healing.draft import Draft, told_lasting
from engine.healing.plan import Way
from engine.healing.relocation import Relocation, Victim
from engine.state.cache import Cache
from grammar.policy import Heal


class DrainingNodes:
    """Remembers since when nodes have been cordoned, which no node says itself."""

    __slots__ = ("_cache", "_seen")

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._seen: dict[str, float] = {}

    def plan(self, draft: Draft, heals: list[Heal]) -> None:
        """Add the moves of these rules, which answer to cordoned nodes."""
        columns = self._cache.columns
        slots = np.flatnonzero(columns.alive & columns.unschedulable)
        names = sorted(columns.names[slot] for slot in slots.tolist())
        self._seen = {name: self._seen.get(name, draft.now) for name in names}
        ready = [name for name in names if columns.ready[columns.slot(name)]]
        for heal in heals:
            self._one(draft, heal, ready, tuple(names))

    def _one(self, draft: Draft, heal: Heal, nodes: list[str], closed: tuple[str, ...]) -> None:
        victims: list[Victim] = []
        for name in nodes:
            since = self._seen[name]
            due = since + heal.after_ms / 1000
            if due > draft.now:
                draft.later(due)
                continue
            lasting = draft.now - since
            why = f"node {name} {told_lasting('cordoned', lasting)}"
            for pod in sorted(self._cache.pods_on(name), key=lambda one: one.key):
                if not draft.movable(pod):
                    continue
                way = way_out(pod, heal)
                if isinstance(way, Way):
                    away = (*closed, *draft.situation.pace.left(pod, draft.now))
                    victims.append(Victim(pod, way, why, lasting * 1000, away))
                else:
                    draft.stay(pod, heal, *way)
        Relocation(draft, heal, at_once=False).run(victims)
