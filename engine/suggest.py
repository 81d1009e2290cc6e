"""What somebody may have meant: a suggestion only where it is near."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

_MANY: Final = 1000
"""Choices that are compared letter by letter: 10 ms. A cluster has more nodes, and who decides asks for them, too."""


def suggestion(word: str, choices: Iterable[str]) -> str:
    """``; did you mean X?`` where one of the choices is near the word, else "".

    Of very many choices only some are looked at: those that begin and end alike, and of these those that are as long.
    """
    known = list(dict.fromkeys(choices))
    if len(known) > _MANY:
        known = _likely(word, known)
    near = get_close_matches(word, known, n=1, cutoff=0.75)
    return f"; did you mean {near[0]}?" if near else ""


def _likely(word: str, choices: list[str]) -> list[str]:
    """The most likely ones: by how many letters they have in common with the word at either end, then by length."""

    def alike(choice: str) -> tuple[int, int]:
        ends = _common(word, choice) + _common(word[::-1], choice[::-1])
        return -ends, abs(len(choice) - len(word))

    return sorted(choices, key=alike)[:_MANY]


def _common(one: str, other: str) -> int:
    """How many letters two words begin with alike."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count
