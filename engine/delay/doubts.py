"""What is missing in an answer: a few kinds, each with its number and its first examples, however long the answer."""

from __future__ import annotations

from typing import Final

import msgspec

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError)
"""What msgspec raises for JSON that is none, or not what was expected."""
_SHOWN: Final = 3


class Doubts:
    """Counts by kind.

    Args:
        place: What was asked, for the sentences.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._found: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}

    def add(self, kind: str, example: str) -> None:
        """One more of a kind, in the plural: ``pods that did not answer``."""
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if count <= _SHOWN:
            self._found.setdefault(kind, []).append(example)

    def __bool__(self) -> bool:
        return bool(self._counts)

    def sentences(self) -> tuple[str, ...]:
        """One for each kind."""
        told = []
        for kind, count in self._counts.items():
            examples = ", ".join(self._found[kind])
            more = f", and {count - _SHOWN} more" if count > _SHOWN else ""
            told.append(f"{self._place}: {kind}: {examples}{more}")
        return tuple(told)
