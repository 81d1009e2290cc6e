"""What a citation quotes: a statement as its file has it."""

from __future__ import annotations

from grammar.policy import CheckedPolicy
from grammar.span import Span


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
