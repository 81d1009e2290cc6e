"""What is to be measured because somebody asks about it: coordinates make a short list, measurements decide.

A limit is never granted on an estimate that may be wrong by as much as is missing, so without this a node near the
limit would stay refused although it is within. Whoever looks at a row of estimates therefore makes a wish: that the
nearest nodes on it be measured. Whoever has a pod on a node that is not among the nearest wishes for that pair. Wishes
are remembered for as long as a measurement counts, and renewed well before.
"""

from __future__ import annotations

import math
import threading
from typing import Final

import numpy as np

from engine.delay.map import DelayMap

NEAREST: Final = 16
"""Nodes on one list, beside those that somebody wished for by name."""
_NAMED: Final = 16
"""Nodes on one list that were wished for by name; of more, those that were wished for first."""
_ORIGINS: Final = 32
"""Lists that are made in one go."""
_REMEMBERED: Final = 1024
"""Origins that are remembered, the latest ones."""


class ShortLists:
    """The wishes, by origin.

    Args:
        max_age: Seconds for which a measurement counts; a list is renewed four times as often.
    """

    def __init__(self, max_age: float) -> None:
        self._max_age = max_age
        self._lock = threading.Lock()
        self._asked: dict[str, None] = {}
        self._pairs: dict[tuple[str, str], None] = {}
        self._named: dict[str, dict[str, float]] = {}
        self._wanted: dict[str, float] = {}
        self._made: dict[str, float] = {}
        self._listed: dict[str, dict[str, float]] = {}

    def ask(self, origin: str) -> None:
        """Somebody looks at the row of an origin. Any thread may say so."""
        with self._lock:
            self._asked[origin] = None

    def want(self, origin: str, target: str) -> None:
        """Somebody has to know this pair, near or not. Any thread may say so."""
        with self._lock:
            self._pairs[origin, target] = None

    def due(self, now: float) -> list[str]:
        """The origins whose lists are to be made now; each is told once, until its list is to be renewed."""
        with self._lock:
            asked, self._asked = self._asked, {}
            pairs, self._pairs = self._pairs, {}
        for origin, target in pairs:
            named = self._named.setdefault(origin, {})
            if target not in named and len(named) < _NAMED:
                self._made.pop(origin, None)  # this one cannot wait until the list is renewed
            if target in named or len(named) < _NAMED:
                named[target] = now
            asked[origin] = None
        for origin in asked:
            self._wanted.pop(origin, None)
            self._wanted[origin] = now
        while len(self._wanted) > _REMEMBERED or (
            self._wanted and now - self._wanted[next(iter(self._wanted))] > self._max_age
        ):
            gone = next(iter(self._wanted))
            del self._wanted[gone]
            self._made.pop(gone, None)
            self._listed.pop(gone, None)
            self._named.pop(gone, None)
        found = [
            origin for origin in self._wanted if now - self._made.get(origin, -math.inf) > self._max_age / 4
        ][:_ORIGINS]
        self._made.update((origin, now) for origin in found)
        return found

    def make(self, origin: str, now: float, delays: DelayMap) -> list[str]:
        """The nodes to measure: the nearest by their estimates, and those that were wished for by name.

        Those on the last list are among them, for they are measured only on request.

        Args:
            origin: An endpoint.
            now: As for `due`.
            delays: The map in force.
        """
        errors, position = delays.errors(origin), delays.index(origin)
        if errors is None or position is None:
            return []
        listed = self._listed.setdefault(origin, {})
        for node in [node for node, moment in listed.items() if now - moment > self._max_age]:
            del listed[node]
        row = delays.row(origin)
        assert row is not None  # INVARIANT: the map has errors of it
        with self._lock:
            self._asked.pop(origin, None)  # that was us
        estimates = row - errors
        found: list[str] = []
        for at in np.argsort(estimates, kind="stable").tolist():  # NaN last
            if len(found) == NEAREST or np.isnan(estimates[at]):
                break
            node = delays.names[at]
            if at != position and (errors[at] > 0 or node in listed):
                found.append(node)
        listed.update((node, now) for node in found)
        named = self._named.get(origin, {})
        for node in [node for node, moment in named.items() if now - moment > self._max_age]:
            del named[node]
        return list(dict.fromkeys((*found, *named)))
