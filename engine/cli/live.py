"""A live cluster that is only read: the connection, its errors as exits, and how far the reading is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from engine.cli.inputs import BAD_INPUT, fail
from engine.cluster.api import ApiCluster, connect
from engine.cluster.errors import ApiError, ClusterError, ConfigurationError

FAILED: Final = 1
"""Exit status where the cluster does not answer, or does not let us read."""
_PATIENCE: Final = 0.5
_PERIOD: Final = 0.1


@contextmanager
def reached() -> Iterator[None]:
    """Exit with what went wrong where the cluster does not do its part."""
    try:
        yield
    except ClusterError as error:
        fail(str(error), BAD_INPUT if isinstance(error, ApiError) and error.status in (401, 403) else FAILED)


def connected(kubeconfig: Path | None, context: str | None) -> tuple[ApiCluster, str]:
    """The cluster and its version; or an exit that says why not."""
    try:
        cluster = connect(kubeconfig, context)
    except ConfigurationError as error:
        fail(str(error))
    with reached():
        return cluster, cluster.server_version()


class Reading:
    """One line on how far the reading is, gone at the end; nothing where standard error is no terminal."""

    def __init__(self, console: Console, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._shown = console.is_terminal and not console.is_dumb_terminal
        self._monotonic = monotonic
        self._due = monotonic() + _PATIENCE

    def reading(self, kind: str, count: int) -> None:
        """So many objects of the kind have come so far."""
        now = self._monotonic()
        if not self._shown or now < self._due:
            return
        self._due = now + _PERIOD
        if not self._live.is_started:
            self._live.start()
        self._live.update(Text(f"reading {kind}: {count:,}", style="dim", no_wrap=True), refresh=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


def live_progress() -> Reading:
    """What fits standard error."""
    return Reading(Console(stderr=True, force_terminal=sys.stderr.isatty(), highlight=False))
