"""Counts that somebody waits for: one that changes says so, to whoever asked it to."""

from __future__ import annotations


class Counted:
    """Something that pods change by coming and going.

    Attributes:
        noticed: Where a change is noted; None while nobody waits for one.
    """

    __slots__ = ("noticed",)

    def __init__(self) -> None:
        self.noticed: set[Counted] | None = None

    def notice(self) -> None:
        """It changed."""
        if self.noticed is not None:
            self.noticed.add(self)
