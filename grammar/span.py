"""Where a piece of a policy stands in its file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of a policy file: 1-based line and column, the end exclusive in its column."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        """The form that every event, metric and explanation cites: ``file:line``."""
        return f"{self.file}:{self.line}"


NOWHERE = Span("", 0, 0, 0, 0)
"""The span of a piece that stands in no file: built-in domains, and policies built in tests."""
