"""Cuts a text into logical lines: what ends a statement, and what does not.

A logical line is a physical one, or several where a ``(`` or ``[`` is still open at its end. A bracket that is still
open where a line begins that can only be a statement, a declaration or a ``}`` was never closed: the logical line ends
before it, so that one forgotten bracket does not swallow the rest of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

DECLARATIONS = ("nodes", "domain", "rule", "reserve", "heal", "test")
STATEMENTS = ("require", "forbid", "prefer", "avoid", "for", "spread", "at", "together", "try")

_PIECE = re.compile(r'"(?:[^"\\\n]|\\.)*("?)|#[^\n]*|[(\[]|[)\]]|\n|[^"#()\[\]\n]+')
_STARTER = re.compile(r"[ \t]*(?:(?:" + "|".join(DECLARATIONS + STATEMENTS) + r")(?![\w-])|\})")


@dataclass(frozen=True, slots=True)
class LogicalLine:
    """A stretch of the text from ``start`` to ``end`` (offsets), beginning in column 1 of ``line`` (1-based).

    ``unclosed`` is the offset of the bracket that was never closed, ``open_text`` that of the quote.
    """

    start: int
    end: int
    line: int
    unclosed: int | None = None
    open_text: int | None = None


def logical_lines(text: str) -> Iterator[LogicalLine]:
    """The logical lines of a text whose line feeds end all lines, without the empty ones and the comments."""
    start, line, first = 0, 1, 1
    open_brackets: list[int] = []
    open_text: int | None = None
    something = False
    for piece in _PIECE.finditer(text):
        kind = piece[0][0]
        if kind == "\n":
            line += 1
            if open_brackets and open_text is None and not _STARTER.match(text, piece.end()):
                continue
            if something:
                unclosed = open_brackets[-1] if open_brackets else None
                yield LogicalLine(start, piece.start(), first, unclosed, open_text)
            start, first, open_text, something = piece.end(), line, None, False
            open_brackets.clear()
        elif kind == "#":
            continue
        else:
            something = something or not piece[0].isspace()
            if kind in "([":
                open_brackets.append(piece.start())
            elif kind in ")]" and open_brackets:
                open_brackets.pop()
            elif kind == '"' and not piece[1] and open_text is None:
                open_text = piece.start()
    if something:
        yield LogicalLine(start, len(text), first, open_brackets[-1] if open_brackets else None, open_text)
