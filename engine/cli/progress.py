"""How far a simulation is, on standard error, for whoever waits at a terminal."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from engine.cli.clock_times import clock_time

_PATIENCE: Final = 1.0
"""Seconds in which nothing is shown: most simulations end within them."""
_PERIOD: Final = 0.1
"""Seconds between two changes of what is shown."""


class Progress(Protocol):
    """Is told of every decision."""

    def decided(self, seconds: float, placed: bool) -> None:
        """A pod was placed, or not, at a moment of virtual time."""
        ...


class Silence:
    """Shows nothing: standard error is no terminal."""

    def decided(self, seconds: float, placed: bool) -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Line:
    """One line that is rewritten, and gone at the end. No thread: it changes when something is decided.

    Args:
        console: Where.
        monotonic: Seconds of real time.
    """

    def __init__(self, console: Console, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._monotonic = monotonic
        self._due = monotonic() + _PATIENCE
        self._decisions = 0
        self._placed = 0

    def decided(self, seconds: float, placed: bool) -> None:
        """Count it, and show the counts now and then."""
        self._decisions += 1
        self._placed += placed
        now = self._monotonic()
        if now < self._due:
            return
        self._due = now + _PERIOD
        if not self._live.is_started:
            self._live.start()
        text = (
            f"simulating: {clock_time(seconds)} of virtual time, "
            f"{self._placed:,} pods placed, {self._decisions:,} decisions"
        )
        self._live.update(Text(text, style="dim", no_wrap=True, overflow="ellipsis"), refresh=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()


class Doing:
    """One line on what is being worked at, gone at the end; nothing where there is no terminal.

    Args:
        console: Where.
        monotonic: Seconds of real time.
        patience: Whether nothing is shown in the first second.
    """

    def __init__(
        self, console: Console, monotonic: Callable[[], float] = time.monotonic, patience: bool = False
    ) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._shown = console.is_terminal and not console.is_dumb_terminal
        self._monotonic = monotonic
        self._due = monotonic() + _PATIENCE if patience else -math.inf

    def doing(self, what: str, long: bool = False) -> None:
        """Say it, unless something was said just now.

        Args:
            what: The line.
            long: Whether nothing more will be said for a while, so that this is shown in any case.
        """
        now = self._monotonic()
        if not self._shown or (now < self._due and not long):
            return
        self._due = now + _PERIOD
        if not self._live.is_started:
            self._live.start()
        self._live.update(Text(what, style="dim", no_wrap=True, overflow="ellipsis"), refresh=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()


class Within:
    """Tells of a simulation as a part of what is done (a `Progress`).

    Args:
        doing: The line.
        what: Which part.
    """

    def __init__(self, doing: Doing, what: str) -> None:
        self._doing = doing
        self._what = what

    def decided(self, seconds: float, placed: bool) -> None:  # noqa: ARG002  (the protocol's)
        """Say how far it is."""
        self._doing.doing(f"{self._what}: {clock_time(seconds)} of virtual time")


def work(patience: bool = False) -> Doing:
    """What fits standard error; with ``patience`` not in the first second."""
    console = Console(stderr=True, force_terminal=sys.stderr.isatty(), highlight=False)
    return Doing(console, patience=patience)


def progress() -> Line | Silence:
    """What fits standard error."""
    console = Console(stderr=True, force_terminal=sys.stderr.isatty(), highlight=False)
    return Line(console) if console.is_terminal and not console.is_dumb_terminal else Silence()
