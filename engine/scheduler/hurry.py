"""Lets those go first who bring pods of lost nodes back: what is only said waits until they have their places.

The API server answers so many requests in a second, whoever asks. Telling why a pod was moved takes as many of them as
moving it, so that a hundred pods would be back later by a good part of the time that it takes.
"""

from __future__ import annotations

from typing import Final

from engine.binder.errands import Errand

MOST_SECONDS: Final = 3.0
"""How long words wait at most: a controller may make replacements as late as it likes."""


class Hurry:
    """Since when there is a hurry, and what is said after it."""

    __slots__ = ("_afterwards", "_until")

    def __init__(self) -> None:
        self._until = float("-inf")
        self._afterwards: list[Errand] = []

    def begin(self, now: float) -> None:
        """Pods of lost nodes are asked to leave, now (seconds since the epoch)."""
        self._until = now + MOST_SECONDS

    def say(self, errand: Errand) -> None:
        """Have it sent when there is no hurry any more."""
        self._afterwards.append(errand)

    def lasts(self, now: float, on_the_way: bool) -> bool:
        """Whether words have to wait; any thread may ask.

        Args:
            now: Seconds since the epoch.
            on_the_way: Whether anybody still is.
        """
        return on_the_way and now < self._until

    def over(self, now: float, on_the_way: bool) -> list[Errand]:
        """What may be said now, each errand once."""
        if not self._afterwards or self.lasts(now, on_the_way):
            return []
        found, self._afterwards = self._afterwards, []
        return found

    @property
    def next_end(self) -> float | None:
        """When something may be said at the latest; None where nothing waits."""
        return self._until if self._afterwards else None
