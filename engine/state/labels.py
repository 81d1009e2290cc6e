"""Labels of nodes as columns of small integers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)

Where = slice | NDArray[np.int64]
"""Which slots to look at: a slice for all of them, or an array of slots. Indexes a column either way."""


class LabelColumn:
    """The values of one label key: ``codes[slot]`` is an index into ``values``, -1 where the label is absent.

    Values get a code when first seen and keep it, so codes may be remembered.
    """

    __slots__ = ("_code_of", "codes", "key", "values")

    def __init__(self, key: str, capacity: int) -> None:
        self.key = key
        self.codes: NDArray[np.intp] = np.full(capacity, -1, dtype=np.intp)
        self.values: list[str] = []
        self._code_of: dict[str, int] = {}

    def code(self, value: str) -> int:
        """The value's code; -2, which no slot has, where no node ever carried it."""
        return self._code_of.get(value, -2)

    def set(self, slot: int, value: str | None) -> None:
        """Store the value of a slot, None where the label is absent."""
        if value is None:
            self.codes[slot] = -1
            return
        code = self._code_of.get(value)
        if code is None:
            code = self._code_of[value] = len(self.values)
            self.values.append(value)
        self.codes[slot] = code

    def grow(self, capacity: int) -> None:
        """Make room for more slots."""
        self.codes = grown(self.codes, capacity, -1)

    def present(self, where: Where) -> NDArray[np.bool_]:
        """Whether the label is there."""
        mask: NDArray[np.bool_] = self.codes[where] >= 0
        return mask

    def equals(self, value: str, where: Where) -> NDArray[np.bool_]:
        """Whether the label is there with this value."""
        mask: NDArray[np.bool_] = self.codes[where] == self.code(value)
        return mask

    def among(self, values: Iterable[str], where: Where) -> NDArray[np.bool_]:
        """Whether the label is there with one of these values."""
        codes = self.codes[where]
        wanted = [self.code(value) for value in values]
        if len(wanted) == 1:
            mask: NDArray[np.bool_] = codes == wanted[0]
            return mask
        return np.isin(codes, [code for code in wanted if code >= 0])

    def table(self, where: Where, verdicts: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Verdicts by code, spread over the slots. ``verdicts`` has one more entry at its end, for the absent."""
        mask: NDArray[np.bool_] = verdicts.take(self.codes[where], mode="wrap")
        return mask


class Labels:
    """All labels of all nodes. A key's column is made when somebody first asks for it, and kept up from then on."""

    __slots__ = ("_by_slot", "_capacity", "_columns", "_keys")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._by_slot: dict[int, Mapping[str, str]] = {}
        self._columns: dict[str, LabelColumn] = {}
        self._keys: dict[str, int] = {}

    def column(self, key: str) -> LabelColumn:
        """The column of a label key."""
        column = self._columns.get(key)
        if column is None:
            column = self._columns[key] = LabelColumn(key, self._capacity)
            for slot, labels in self._by_slot.items():
                column.set(slot, labels.get(key))
        return column

    def keys(self) -> Iterable[str]:
        """The keys that some node carries."""
        return self._keys.keys()

    def of(self, slot: int) -> Mapping[str, str]:
        """The labels of the node in a slot."""
        return self._by_slot.get(slot, {})

    def set(self, slot: int, labels: Mapping[str, str]) -> None:
        """Replace the labels of a slot."""
        self.clear(slot)
        self._by_slot[slot] = labels
        for key in labels:
            self._keys[key] = self._keys.get(key, 0) + 1
        for key, column in self._columns.items():
            column.set(slot, labels.get(key))

    def clear(self, slot: int) -> None:
        """Forget the labels of a slot."""
        for key in self._by_slot.pop(slot, {}):
            self._keys[key] -= 1
            if not self._keys[key]:
                del self._keys[key]
        for column in self._columns.values():
            column.codes[slot] = -1

    def grow(self, capacity: int) -> None:
        """Make room for more slots."""
        self._capacity = capacity
        for column in self._columns.values():
            column.grow(capacity)


def grown(array: NDArray[Scalar], capacity: int, fill: object) -> NDArray[Scalar]:
    """A longer copy, its new entries filled."""
    longer = np.full(capacity, fill, dtype=array.dtype)
    longer[: len(array)] = array
    return longer
