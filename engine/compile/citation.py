"""How a decision names the rule that it rests on: the rule, the file and the line, and the line's own words."""

from __future__ import annotations

from dataclasses import dataclass

from grammar.policy import CheckedPolicy
from grammar.span import Span


@dataclass(frozen=True, slots=True)
class Citation:
    """A statement of a rule. ``text`` is the statement as it is written."""

    rule: str
    span: Span
    text: str = ""

    def __str__(self) -> str:
        return f"rule {self.rule}, {self.span}"


def excerpt(policy: CheckedPolicy, span: Span) -> str:
    """The first line of what the span covers, "" where the file is not at hand."""
    text = dict(policy.sources).get(span.file)
    if text is None or span.line < 1:
        return ""
    lines = text.splitlines()
    if span.line > len(lines):
        return ""
    line = lines[span.line - 1]
    end = span.end_column - 1 if span.end_line == span.line else len(line)
    return line[span.column - 1 : end].strip()
