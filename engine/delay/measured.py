"""Delays that are asked for, period by period: what is the same for every source that measures.

A source that does not answer changes nothing at once: what it said last holds until it is too old, and then counts as
unmeasured, so that a limit on it refuses the node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from engine.delay.map import DelayMap, Milliseconds
from engine.delay.protocol import DelayTrouble
from engine.delay.smoothing import Smoothed, Smoother

_AGAIN_SECONDS: Final = 1.0
"""From a try that came too early to the next."""


class SourceError(Exception):
    """A source that gave nothing that can be used; says where, what and what to do, one line a problem."""


class NotYet(Exception):
    """What the source needs to be understood is not known yet; ask again in a moment."""


@dataclass(frozen=True, slots=True)
class Measurements:
    """What a source said when it was asked.

    Attributes:
        origins: m names.
        targets: m names.
        milliseconds: m round trips, 0 … `engine.delay.MAX_MS`.
        ages: Seconds since each was measured, m numbers; empty where the source does not tell: then as if it were now.
        doubts: What is missing or was left out, and why; a sentence each.
    """

    origins: Sequence[str]
    targets: Sequence[str]
    milliseconds: Sequence[float]
    ages: Sequence[float] = ()
    doubts: Sequence[str] = ()


class Fetch(Protocol):
    """Asks a source."""

    def __call__(self) -> Measurements:
        """What it says now, within the timeouts that it was made with.

        Raises:
            SourceError: It cannot be reached, or says nothing that can be used.
            NotYet: It is too early.
        """
        ...


MakeMap = Callable[[Smoothed], DelayMap]


def plain(smoothed: Smoothed) -> DelayMap:
    """The map that holds what was measured and nothing else."""
    return DelayMap.from_table(smoothed.names, smoothed.origins, smoothed.targets, smoothed.milliseconds)


@dataclass(frozen=True, slots=True)
class Terms:
    """How a source is asked and its answers are taken.

    Attributes:
        period: Seconds from one question to the next.
        max_age: Seconds after which a value counts as unmeasured.
        window: How many measurements of a direction count (`engine.delay.smoothing`).
        percentile: Which of them.
    """

    period: float = 60.0
    max_age: float = 300.0
    window: int = 3
    percentile: float = 50.0


@dataclass(frozen=True, slots=True)
class _Held:
    """A map with the moments of what it is made of."""

    map: DelayMap
    smoothed: Smoothed


class MeasuredSource:
    """A `DelaySource` that asks once a period.

    Args:
        fetch: Asks.
        name: What is told, in the plural: ``delays of Goldpinger``.
        terms: How.
        on_trouble: Called once for each change for the worse.
        make_map: Makes the map of what was measured.
        hurry: Asked each time, with the map in force, whether to ask the source before the period is over.
    """

    steady: Final = False

    def __init__(
        self,
        fetch: Fetch,
        name: str,
        terms: Terms,
        *,
        on_trouble: Callable[[DelayTrouble], None] | None = None,
        make_map: MakeMap = plain,
        hurry: Callable[[float, DelayMap], bool] | None = None,
    ) -> None:
        self.trouble: str | None = None
        self.doubts: Sequence[str] = ()
        self.name = name
        self._fetch = fetch
        self._terms = terms
        self._on_trouble = on_trouble
        self._make_map = make_map
        self._hurry = hurry
        self._smoother = Smoother(terms.window, terms.percentile, terms.max_age)
        self._held: _Held | None = None
        self._due = float("-inf")
        self._told_at: float | None = None
        self._dated = False

    @property
    def current(self) -> DelayMap | None:
        """The map in force."""
        held = self._held
        return None if held is None else held.map

    def open(self, now: float) -> DelayMap | None:  # noqa: ARG002  (the protocol's)
        """None: a scheduler must not wait at its start for somebody who may not answer."""
        return None

    def refresh(self, now: float) -> DelayMap | None:
        """Ask where it is time to, and make a new map where something has changed or grown too old."""
        held = self._held
        early = held is not None and self._hurry is not None and self._hurry(now, held.map)
        if early or now >= self._due:
            try:
                told = self._fetch()
            except NotYet:
                self._due = now + _AGAIN_SECONDS
            except SourceError as error:
                self._due = now + self._terms.period
                self._report(str(error), ())
            else:
                # By the clock, not from the answer on: the period of measurements is what the smoothing counts in.
                self._due = now + self._terms.period
                ages = np.asarray(told.ages, dtype=np.float64) if len(told.ages) else 0.0
                moments = np.broadcast_to(now - ages, (len(told.origins),))
                self._smoother.add(told.origins, told.targets, told.milliseconds, moments)
                self._told_at = now
                self._dated = len(told.ages) > 0 or (self._dated and not len(told.origins))
                self._report(None, told.doubts)
                return self._take(now)
        if now > self._smoother.next_change():
            return self._take(now)
        return None

    def age(self, now: float) -> float | None:
        """Seconds since it last answered."""
        return None if self._told_at is None else now - self._told_at

    def ages(self, origin: str, now: float) -> Milliseconds | None:
        """Seconds since each round trip from an endpoint was measured, by the older of its two directions."""
        held = self._held
        position = held.map.index(origin) if held is not None else None
        if held is None or position is None:
            return None
        smoothed = held.smoothed
        row = np.full(len(held.map.names), np.nan)
        # The map's names begin with those of the measurements.
        for here, there in ((smoothed.origins, smoothed.targets), (smoothed.targets, smoothed.origins)):
            mine = here == position
            row[there[mine]] = np.fmin(row[there[mine]], smoothed.moments[mine])
        row[position] = np.nan
        return now - row

    def contacts(self, now: float) -> Mapping[str, float] | None:
        """Seconds since each endpoint answered another one; None where the source does not tell when it measured.

        An average of the last minutes says nothing of who is there now.
        """
        held = self._held
        if held is None or not self._dated:
            return None
        smoothed = held.smoothed
        latest = np.full(len(smoothed.names), -np.inf)
        np.maximum.at(latest, smoothed.targets, smoothed.moments)
        return {
            name: now - moment
            for name, moment in zip(smoothed.names, latest.tolist(), strict=True)
            if moment != -np.inf
        }

    def _take(self, now: float) -> DelayMap | None:
        smoothed = self._smoother.smoothed(now)
        fresh, before = self._make_map(smoothed), self.current
        if before is not None and before.version == fresh.version:
            self._held = _Held(before, smoothed)
            return None
        self._held = _Held(fresh, smoothed)
        return fresh

    def _report(self, trouble: str | None, doubts: Sequence[str]) -> None:
        worse = (trouble is not None and trouble != self.trouble) or (
            trouble is None and bool(doubts) and tuple(doubts) != tuple(self.doubts)
        )
        self.trouble, self.doubts = trouble, tuple(doubts)
        if worse and self._on_trouble is not None:
            message = trouble if trouble is not None else "\n".join(doubts)
            self._on_trouble(DelayTrouble(message, partial=trouble is None, source=self.name, steady=False))
