"""Delays from files that change while the scheduler runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from engine.delay.files import complete, fingerprint, parse, read
from engine.delay.map import DelayMap
from engine.delay.problems import DelayFileError
from engine.delay.protocol import DelayTrouble

_Stat = tuple[int, int, int, int, int] | None


class DelayFileSource:
    """A `DelaySource` that watches the files of `engine.delay.load` and makes a new map where they have changed.

    A look costs a ``stat`` of each file. ``stat`` follows symbolic links, so that a ConfigMap's swap of ``..data`` and
    an atomic rename both show; contents are read only where it differs, and parsed only where their hash differs.
    Some network file systems serve old stats: every ``period`` the contents are hashed whatever the stat says.

    Files that are written while they are read are left for the next look, so half a file is no trouble.

    Attributes:
        paths: The files.
        current: The last good map, None before the first.
        trouble: What is wrong now, None where all is well.
        doubts: None: a file is taken as a whole or not at all.
    """

    name: Final = "delay files"
    steady: Final = True
    doubts: Final[tuple[str, ...]] = ()

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        current: DelayMap | None = None,
        period: float = 60.0,
        glance: float = 5.0,
        on_trouble: Callable[[DelayTrouble], None] | None = None,
    ) -> None:
        """Nothing is read yet.

        Args:
            paths: As `engine.delay.load` takes them.
            current: The map that is in force, where somebody has loaded the files already.
            period: Seconds between two readings of the contents.
            glance: Seconds between two stats.
            on_trouble: Called once for each change that makes the files bad.
        """
        self.paths = tuple(paths)
        self.current = current
        self.trouble: str | None = None
        self._period = period
        self._glance = min(glance, period)
        self._on_trouble = on_trouble
        self._bad = ""
        self._seen: tuple[_Stat, ...] | None = None
        self._looked = float("-inf")
        self._hashed = float("-inf")
        self._read_at: float | None = None

    def open(self, now: float) -> DelayMap:
        """The first map; at the start a bad file is an error and no trouble.

        Raises:
            DelayFileError: With all that is wrong.
        """
        paths = complete(self.paths)
        self._seen, self._looked, self._hashed = _stats(paths), now, now
        self.current = parse(paths, read(paths))
        self.trouble, self._read_at = None, now
        return self.current

    def refresh(self, now: float) -> DelayMap | None:
        """The new map where the files have changed for the better, else None.

        Args:
            now: Seconds of a clock that never goes back.
        """
        if now - self._looked < self._glance:
            return None
        self._looked = now
        paths = complete(self.paths)
        before = _stats(paths)
        if before == self._seen and now - self._hashed < self._period:
            return None
        try:
            contents = read(paths)
        except DelayFileError as error:
            self._seen, self._hashed, self._bad = before, now, ""
            self._report(str(error))
            return None
        if _stats(paths) != before:
            return None
        self._seen, self._hashed = before, now
        version = fingerprint(contents)
        if self.current is not None and version == self.current.version:
            self.trouble, self._bad, self._read_at = None, "", now
            return None
        if version == self._bad:
            return None
        try:
            fresh = parse(paths, contents)
        except DelayFileError as error:
            self._report(str(error))
            self._bad = version
            return None
        self.current, self.trouble, self._bad, self._read_at = fresh, None, "", now
        return fresh

    def age(self, now: float) -> float | None:
        """Seconds since the files' contents were read; how old what they say is, they don't tell."""
        return None if self._read_at is None else now - self._read_at

    def ages(self, origin: str, now: float) -> None:  # noqa: ARG002  (the protocol's)
        """None: a file holds until it is changed."""
        return

    def contacts(self, now: float) -> None:  # noqa: ARG002  (the protocol's)
        """None: a file does not say who is there."""
        return

    def _report(self, message: str) -> None:
        if message == self.trouble:
            return
        self.trouble = message
        if self._on_trouble is not None:
            self._on_trouble(DelayTrouble(message))


def _stats(paths: Sequence[Path]) -> tuple[_Stat, ...]:
    return tuple(_stat(path) for path in paths)


def _stat(path: Path) -> _Stat:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
