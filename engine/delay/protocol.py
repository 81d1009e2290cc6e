"""What a source of delays is to whoever schedules: a map now, a newer one later, and what is wrong in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.delay.map import DelayMap, Milliseconds


class DelaySource(Protocol):
    """Delays that change. One thread opens and refreshes it; others may read the properties.

    All moments are seconds of one clock that never goes back.
    """

    @property
    def name(self) -> str:
        """What it is, in the plural: ``delay files``, ``delays of Goldpinger``."""
        ...

    @property
    def steady(self) -> bool:
        """Whether delays that differ are worth a line in the log; measured ones always differ."""
        ...

    @property
    def current(self) -> DelayMap | None:
        """The map in force, None before the first."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why the source cannot be used now, one line a problem; None where it can."""
        ...

    @property
    def doubts(self) -> Sequence[str]:
        """What the source was asked for and did not tell, one sentence each; the rest of it counts."""
        ...

    def open(self, now: float) -> DelayMap | None:
        """The map at the start: None where it has to be measured first, which `refresh` does.

        Raises:
            DelayFileError: What was given cannot be used.
        """
        ...

    def refresh(self, now: float) -> DelayMap | None:
        """The new map where it differs from the one in force, else None. May wait for an answer, never for long."""
        ...

    def age(self, now: float) -> float | None:
        """Seconds since the source was last read without trouble; None before the first time."""
        ...

    def ages(self, origin: str, now: float) -> Milliseconds | None:
        """Seconds since each value of a row of `current` was measured.

        Returns:
            Shape of the map's row; NaN where nothing was measured. None where the source knows no ages (files), or
            the map does not know ``origin``.
        """
        ...

    def contacts(self, now: float) -> Mapping[str, float] | None:
        """Seconds since each endpoint answered another one: whether it can be reached, whatever the delay.

        An endpoint that is not there has answered nobody for as long as values count. A cut link between the scheduler
        and a site does not show here as long as anybody who measures there can be asked.

        Returns:
            By name; None where the source cannot know (files, Prometheus).
        """
        ...


@dataclass(frozen=True, slots=True)
class DelayTrouble:
    """A source has gone bad, or in doubt.

    Attributes:
        message: One line a problem.
        partial: Whether only a part is missing. Otherwise nothing new comes, and what is in force stays until it is
            too old; files never are.
        source: The source's name.
        steady: Whether what it said last holds for ever.
    """

    message: str
    partial: bool = False
    source: str = "delay files"
    steady: bool = True
