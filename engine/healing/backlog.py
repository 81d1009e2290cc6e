"""Pods that are to be asked about again, since nodes or delays changed."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from engine.model.objects import PodKey


class Backlog:
    """First come, first served; a pod that is in it already keeps its turn.

    Attributes:
        slots: The slots whose nodes changed since it was last empty; None where more than nodes did.
    """

    __slots__ = ("_keys", "slots")

    def __init__(self) -> None:
        self._keys: dict[PodKey, None] = {}
        self.slots: set[int] | None = set()

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: PodKey) -> bool:
        return key in self._keys

    def add(self, keys: Iterable[PodKey]) -> None:
        """They are to be asked about."""
        self._keys.update(dict.fromkeys(keys))

    def changed(self, slots: Iterable[int] | None) -> None:
        """These nodes changed; None for anything else that may bear on any pod."""
        if slots is None or self.slots is None:
            self.slots = None
        else:
            self.slots.update(slots)

    def done(self, key: PodKey) -> None:
        """It was asked about, or need not be."""
        self._keys.pop(key, None)
        if not self._keys:
            self.slots = set()

    def first(self, count: int | None) -> list[PodKey]:
        """Whose turn it is, so many at most; None for all."""
        return list(islice(self._keys, count))
