"""Finding the few selectors that can select certain labels among thousands, most of which ask for another value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from engine.model.selectors import Anchor

Group = TypeVar("Group")


class Anchored(Generic[Group]):
    """Groups of things, each thing in the group of a label that it asks for, or with those that ask for no value.

    Args:
        make: Makes an empty group.
    """

    __slots__ = ("_by_label", "_make", "_rest")

    def __init__(self, make: Callable[[], Group]) -> None:
        self._make = make
        self._by_label: dict[Anchor, Group] = {}
        self._rest = make()

    def __len__(self) -> int:
        """How many groups there are."""
        return 1 + len(self._by_label)

    def of(self, anchors: tuple[Anchor, ...] | None) -> Iterator[Group]:
        """The groups that a thing is in, made where they are missing; see `Selector.anchors`."""
        if anchors is None:
            yield self._rest
            return
        for anchor in anchors:
            group = self._by_label.get(anchor)
            if group is None:
                group = self._by_label[anchor] = self._make()
            yield group

    def meaning(self, labels: Mapping[str, str]) -> Iterator[Group]:
        """The groups whose things may mean these labels; no thing is in two of them."""
        for pair in labels.items():
            group = self._by_label.get(pair)
            if group is not None:
                yield group
        yield self._rest

    def tidy(self, wanted: Callable[[Group], bool]) -> bool:
        """Drop the groups that are not wanted any more. Returns whether any is left, or the rest is wanted."""
        self._by_label = {anchor: group for anchor, group in self._by_label.items() if wanted(group)}
        return bool(self._by_label) or wanted(self._rest)

    def drop_empty(self, anchors: tuple[Anchor, ...] | None) -> bool:
        """Drop those groups of the anchors that are empty. Returns whether any other is left."""
        for anchor in anchors or ():
            if not self._by_label.get(anchor):
                self._by_label.pop(anchor, None)
        return bool(self._by_label or self._rest)
