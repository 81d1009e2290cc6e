"""The fenced blocks of a page, with what is written behind their fence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_FENCE: Final = re.compile(
    r"^(?P<indent> *)```(?P<info>[^`\n]*)\n(?P<body>.*?)^(?P=indent)```\s*$", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        page: The file, relative to the checkout.
        line: Of the fence, 1-based.
        language: The first word behind the fence, "" for none.
        note: What follows it: a file's name, or ``fails``.
        text: What is between the fences.
    """

    page: str
    line: int
    language: str
    note: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        language, _, note = found["info"].strip().partition(" ")
        line = text.count("\n", 0, found.start()) + 1
        yield Block(str(page.relative_to(ROOT)), line, language, note, found["body"])


PAGES: Final = sorted(
    page
    for pattern in ("*.md", "docs/*.md", "deploy/*.md", "demo/**/*.md", "policies/*.md")
    for page in ROOT.glob(pattern)
)
