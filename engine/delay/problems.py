"""What is wrong with a delay file, all of it at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

COUNTED = 1_000
"""After so many a reader may stop: the file is no delay file."""

SHOWN = 20
"""How many problems of a file are told; a file of a million bad lines is told in as many words."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where.

    ``line`` is 1-based, None where the whole file is meant. ``field`` is the CSV column, the matrix column
    (``column 3``) or the name in the metadata, or "".
    """

    file: str
    line: int | None
    field: str
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.field}: {self.message}" if self.field else f"{place}: {self.message}"


class DelayFileError(Exception):
    """A delay file that cannot be used. Its text has one line a problem.

    Attributes:
        problems: The first `SHOWN` problems.
        total: How many were found; reading stops at `COUNTED`.
    """

    def __init__(self, problems: tuple[Problem, ...], total: int | None = None) -> None:
        self.problems = problems
        self.total = len(problems) if total is None else total
        lines = [str(problem) for problem in problems]
        if self.total > len(problems):
            least = "at least " if self.total >= COUNTED else ""
            lines.append(f"and {least}{self.total - len(problems)} more")
        super().__init__("\n".join(lines))


class Findings:
    """Collects the problems of one reading, and keeps only as many as are told."""

    __slots__ = ("_problems", "_total")

    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self._total = 0

    def add(self, file: Path, line: int | None, field: str, message: str) -> None:
        """Take one down."""
        self._total += 1
        if len(self._problems) < SHOWN:
            self._problems.append(Problem(str(file), line, field, message))

    @property
    def enough(self) -> bool:
        """Whether looking for more is a waste of time."""
        return self._total >= COUNTED

    def __bool__(self) -> bool:
        return self._total > 0

    def raise_if_any(self) -> None:
        """Raise what was found.

        Raises:
            DelayFileError: Something was.
        """
        if self._total:
            raise DelayFileError(tuple(self._problems), self._total)
