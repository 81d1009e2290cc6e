"""Policies from files that change while the scheduler runs: a set that does not check never takes effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from engine.compile import Plan, compile_policy
from grammar import Result, check_paths

GLANCE_SECONDS: Final = 2.0
REREAD_SECONDS: Final = 60.0


class PolicySource:
    """Reads a policy set again where its files have changed, and keeps quiet about one that is as it was.

    A look costs a ``stat`` of each file, through symbolic links, so that a ConfigMap's swap shows. Some network file
    systems serve old stats: once a minute the texts are compared whatever the stats say.

    Args:
        paths: Files and folders, as `grammar.check_paths` takes them.
        on_result: Called with each result that differs from the one before, good or bad.
    """

    def __init__(self, paths: Sequence[Path], on_result: Callable[[Result], None] | None = None) -> None:
        self._paths = tuple(paths)
        self._on_result = on_result
        self._stats: list[tuple[object, ...]] | None = None
        self._result: Result | None = None
        self._looked = float("-inf")
        self._read = float("-inf")

    @property
    def good(self) -> bool:
        """Whether the files, as they were read last, have no errors."""
        return self._result is None or self._result.policy is not None

    def open(self, now: float) -> Result:
        """The first result, good or bad.

        Args:
            now: Seconds of a clock that never goes back.
        """
        self._stats, self._looked, self._read = list(self._stat()), now, now
        self._result = check_paths(self._paths)
        return self._result

    def refresh(self, now: float) -> Plan | None:
        """The new plan where the files have changed for the better, else None.

        Args:
            now: Seconds of the same clock.
        """
        if now - self._looked < GLANCE_SECONDS:
            return None
        self._looked = now
        stats = list(self._stat())
        if stats == self._stats and now - self._read < REREAD_SECONDS:
            return None
        self._stats, self._read = stats, now
        result = check_paths(self._paths)
        if self._result is not None and result == self._result and result.sources == self._result.sources:
            return None
        self._result = result
        if self._on_result is not None:
            self._on_result(result)
        return compile_policy(result.policy) if result.policy is not None else None

    def _stat(self) -> Iterator[tuple[object, ...]]:
        for path in self._paths:
            try:
                files = sorted(path.glob("*.policy")) if path.is_dir() else [path]
                for file in files:
                    found = file.stat()
                    yield (
                        str(file),
                        found.st_dev,
                        found.st_ino,
                        found.st_size,
                        found.st_mtime_ns,
                        found.st_ctime_ns,
                    )
            except OSError as error:
                yield str(path), error.errno
