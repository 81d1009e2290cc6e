"""Network coordinates: a place for each node, so that distances between places estimate round trips.

Vivaldi (Dabek, Cox, Kaashoek, Morris, "Vivaldi: A Decentralized Network Coordinate System", SIGCOMM 2004): each
measurement is a spring that draws or pushes two nodes, by as much as they trust their places; *height* is what a node's
access link adds to every round trip. From "Network Coordinates in the Wild" (Ledlie, Gardner, Seltzer, NSDI 2007) and
its use in Serf: the *median* of the last three measurements of each peer is taken instead of each; *gravity* draws all
places towards the origin, so that the whole does not drift; and an *adjustment*, half the mean of the last errors,
mends what the space cannot show.

All distances are milliseconds.
"""

from __future__ import annotations

import math
import random
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from engine.probe.limits import MAX_MS

DIMENSIONS: Final = 8
MAX_ERROR: Final = 1.5
"""The relative error of a place of which nothing is known yet."""
_ERROR_GAIN: Final = 0.25
_PLACE_GAIN: Final = 0.25
_MIN_HEIGHT: Final = 0.01
_FIRST_HEIGHT: Final = 1.0
"""Heights grow by what they are, so from the least it would take hundreds of measurements."""
_MIN_MS: Final = 0.001
"""A round trip that a clock could not measure is taken for a microsecond."""
_GRAVITY_MS: Final = 22_500_000.0
"""The larger, the weaker the pull: at 1,500 ms from the origin it is 0.1 ms a measurement."""
_ADJUSTMENTS: Final = 20
_MEDIAN: Final = 3
_PEERS: Final = 1024
"""Peers whose last measurements are kept for the median."""

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Coordinate:
    """A node's place.

    Attributes:
        vector: `DIMENSIONS` numbers, milliseconds.
        height: What its access link adds, above 0 ms.
        adjustment: What is added to each of its estimates, ms; may be negative.
        error: How wrong its estimates are, relative, 0 … `MAX_ERROR`.
    """

    vector: Vector = (0.0,) * DIMENSIONS
    height: float = _FIRST_HEIGHT
    adjustment: float = 0.0
    error: float = MAX_ERROR

    @property
    def sound(self) -> bool:
        """Whether all its numbers are possible: a place from elsewhere must not make ours impossible."""
        parts = (*self.vector, self.height, self.adjustment)
        return (
            len(self.vector) == DIMENSIONS
            and all(math.isfinite(part) and abs(part) <= MAX_MS for part in parts)
            and self.height > 0
            and 0 <= self.error <= MAX_ERROR
        )

    def estimate(self, other: Coordinate) -> float:
        """The round trip between two places, ms, at least 0."""
        distance = self._distance(other)
        adjusted = distance + self.adjustment + other.adjustment
        return adjusted if adjusted > 0 else distance

    def _distance(self, other: Coordinate) -> float:
        return math.dist(self.vector, other.vector) + self.height + other.height


class Vivaldi:
    """One node's place, which moves with each of its measurements.

    Args:
        random_: Where two nodes stand on the same spot, a direction is drawn from it.
        coordinate: Where to begin.

    Attributes:
        coordinate: The place now.
        measurements: How many have moved it.
    """

    def __init__(self, random_: random.Random, coordinate: Coordinate | None = None) -> None:
        self.coordinate = coordinate if coordinate is not None else Coordinate()
        self.measurements = 0
        self._random = random_
        self._last: OrderedDict[str, deque[float]] = OrderedDict()
        self._errors: deque[float] = deque(maxlen=_ADJUSTMENTS)

    def forget(self, peer: str) -> None:
        """A peer is gone; another one of its name begins anew."""
        self._last.pop(peer, None)

    def measured(self, peer: str, there: Coordinate, milliseconds: float) -> bool:
        """Move by one measurement.

        Args:
            peer: The other node's name.
            there: Its place, as it says.
            milliseconds: The round trip.

        Returns:
            Whether it counted: an impossible place or number does not.
        """
        if not there.sound or not math.isfinite(milliseconds) or not 0 <= milliseconds <= MAX_MS:
            return False
        round_trip = max(self._median(peer, milliseconds), _MIN_MS)
        moved = self._with_adjustment(self._pulled(self._sprung(there, round_trip)), there, round_trip)
        if not moved.sound:  # cannot be mended from here, so begin anew
            self._errors.clear()
            moved = Coordinate()
        self.coordinate = moved
        self.measurements += 1
        return True

    def _median(self, peer: str, milliseconds: float) -> float:
        last = self._last.get(peer)
        if last is None:
            last = self._last[peer] = deque(maxlen=_MEDIAN)
            if len(self._last) > _PEERS:
                self._last.popitem(last=False)
        else:
            self._last.move_to_end(peer)
        last.append(milliseconds)
        return sorted(last)[(len(last) - 1) // 2]

    def _sprung(self, there: Coordinate, round_trip: float) -> Coordinate:
        here = self.coordinate
        distance = here._distance(there)
        wrong = abs(distance - round_trip) / round_trip
        total = max(here.error + there.error, 1e-6)
        # By how much we trust the other more than ourselves.
        weight = here.error / total
        gain = _ERROR_GAIN * weight
        error = min(wrong * gain + here.error * (1 - gain), MAX_ERROR)
        force = _PLACE_GAIN * weight * (round_trip - distance)
        return _pushed(here, there, force, error, self._random)

    def _pulled(self, place: Coordinate) -> Coordinate:
        """Drawn towards the origin, by the square of the distance."""
        far = math.hypot(*place.vector)
        if far == 0:
            return place
        kept = max(0.0, 1 - far / _GRAVITY_MS)
        vector = tuple(part * kept for part in place.vector)
        return Coordinate(vector, place.height, place.adjustment, place.error)

    def _with_adjustment(self, place: Coordinate, there: Coordinate, round_trip: float) -> Coordinate:
        self._errors.append(round_trip - place._distance(there))
        adjustment = sum(self._errors) / (2 * _ADJUSTMENTS)
        return Coordinate(place.vector, place.height, adjustment, place.error)


def _pushed(
    here: Coordinate, there: Coordinate, force: float, error: float, random_: random.Random
) -> Coordinate:
    """A place after a push of so many milliseconds away from another, or towards it where the force is negative."""
    apart = math.dist(here.vector, there.vector)
    if apart > 1e-6:
        unit: Sequence[float] = [(a - b) / apart for a, b in zip(here.vector, there.vector, strict=True)]
    else:
        apart = 0.0
        drawn = [random_.gauss(0, 1) for _ in here.vector]
        length = math.hypot(*drawn) or 1.0
        unit = [part / length for part in drawn]
    vector = tuple(a + force * part for a, part in zip(here.vector, unit, strict=True))
    height = here.height
    if apart > 0:
        # In proportion to what the links have in the distance; by no more than the force, however near the two are.
        links = here.height + there.height
        height = max(_MIN_HEIGHT, here.height + force * links / max(apart, links))
    return Coordinate(vector, height, here.adjustment, error)
