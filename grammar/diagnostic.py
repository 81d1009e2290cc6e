"""What is reported about a policy: one type for errors and warnings, whoever finds them."""

from __future__ import annotations

from dataclasses import dataclass

from grammar.catalogue import CODES, Severity
from grammar.span import Span


@dataclass(frozen=True, slots=True)
class Note:
    """Another place that has to do with the matter, and what it is."""

    span: Span
    message: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding.

    ``message`` is terse and in lower case; ``label`` stands under the marked text; ``help`` alone says how to mend
    it. The severity belongs to the code, see `grammar.catalogue`.
    """

    code: str
    message: str
    span: Span
    label: str = ""
    help: str = ""
    related: tuple[Note, ...] = ()

    @property
    def severity(self) -> Severity:
        """Whether the policy may not take effect, or only ought to be looked at."""
        return CODES[self.code].severity


def sort_key(diagnostic: Diagnostic) -> tuple[str, int, int, str]:
    """By file, then place, then code."""
    span = diagnostic.span
    return (span.file, span.line, span.column, diagnostic.code)
