"""Which slots changed since somebody last looked: what makes every update cost what changed, not what exists."""

from __future__ import annotations


class ChangeLog:
    """A bounded log of changed slots. Readers keep the version up to which they have read.

    Memory is bounded: a reader that is too far behind is told to start over.

    Args:
        kept: How many changes are remembered, at most.
    """

    __slots__ = ("_base", "_kept", "_slots")

    def __init__(self, kept: int = 8192) -> None:
        self._slots: list[int] = []
        self._base = 0
        self._kept = kept

    @property
    def version(self) -> int:
        """Grows with every change."""
        return self._base + len(self._slots)

    def touch(self, slot: int) -> None:
        """Note that the slot changed."""
        self._slots.append(slot)
        if len(self._slots) > self._kept:
            half = self._kept // 2
            del self._slots[:half]
            self._base += half

    def invalidate(self) -> None:
        """Make every reader start over."""
        self._base = self.version + 1
        self._slots.clear()

    def rewind(self, version: int) -> None:
        """Forget what was noted after ``version``, which was undone before anybody read it.

        Too far back to be forgotten, it stays: readers look at those slots in vain.
        """
        if version >= self._base:
            del self._slots[version - self._base :]

    def since(self, version: int) -> list[int] | None:
        """The slots that changed after ``version``, each once; None where the reader has to start over, as after -1."""
        start = version - self._base
        if start < 0:
            return None
        changed = self._slots[start:]
        return changed if len(changed) < 2 else list(dict.fromkeys(changed))
