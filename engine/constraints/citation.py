"""How a constraint names the rule that it is of: the rule, the file and the line, and the line's own words."""

from __future__ import annotations

from dataclasses import dataclass

from grammar.span import Span


@dataclass(frozen=True, slots=True)
class Citation:
    """A statement of a rule. ``text`` is the statement as it is written."""

    rule: str
    span: Span
    text: str = ""

    def __str__(self) -> str:
        return f"rule {self.rule}, {self.span}"
