"""Near misses: a suggestion only where it is likely to be what was meant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_MANY: Final = 1000
"""Choices that are compared letter by letter: 10 ms. A cluster has more nodes, and who decides asks for them, too."""


def distance(left: str, right: str) -> int:
    """Edits from one word to the other: insert, delete, replace, or swap two neighbours (optimal string alignment)."""
    before: list[int] = []
    above = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        row = [i]
        for j, b in enumerate(right, 1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, above = above, row
    return above[-1]


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice at the least distance, where that is at most a third of the word (case does not count)."""
    word = word.lower()
    limit = len(word) // 3
    ranked = sorted(
        (distance(word, choice.lower()), choice)
        for choice in choices
        if abs(len(choice) - len(word)) <= limit
    )
    return ranked[0][1] if ranked and ranked[0][0] <= limit else None


def listed(choices: Iterable[str], last: str = "or") -> str:
    """The choices in backticks, as a sentence lists them; a long list is cut, and says so."""
    names = [f"`{choice}`" for choice in choices]
    if len(names) > 12:
        names = [*names[:11], f"{len(names) - 11} more"]
    return joined(names, last)


def joined(parts: list[str], last: str = "or") -> str:
    """``a, b or c``."""
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}" if len(parts) > 1 else "".join(parts)


def did_you_mean(word: str, choices: Iterable[str], otherwise: str) -> str:
    """The sentence for ``help``: the near miss, else all choices after ``otherwise``."""
    known = sorted(set(choices))
    near = nearest(word, known)
    if near is not None:
        return f"did you mean `{near}`?"
    return f"{otherwise} {listed(known)}" if known else ""


def likely(word: str, choices: list[str]) -> list[str]:
    """Of very many choices those that begin and end as the word does, and of these those that are as long."""
    if len(choices) <= _MANY:
        return choices

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
