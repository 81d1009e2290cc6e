"""Which node holds which container image.

Source: kube-scheduler's cache (addNodeImageStates): an image has one size, that which the first node told.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.model.objects import ContainerImage
from engine.state.labels import grown


class ImageState:
    """One image under one name.

    Attributes:
        size: Bytes.
        slots: The nodes that hold it.
        version: Grows with every change of them.
    """

    __slots__ = ("_mask", "size", "slots", "version")

    def __init__(self, size: int) -> None:
        self.size = size
        self.slots: set[int] = set()
        self.version = 0
        self._mask: NDArray[np.bool_] | None = None

    def mask(self, capacity: int) -> NDArray[np.bool_]:
        """True where the image is; shape (capacity,). Made when first asked for, kept up from then on."""
        if self._mask is None:
            self._mask = np.zeros(capacity, dtype=np.bool_)
            self._mask[list(self.slots)] = True
        elif len(self._mask) < capacity:
            self._mask = grown(self._mask, capacity, False)
        return self._mask

    def set(self, slot: int, held: bool) -> None:
        """Note that the image came to a node, or went."""
        if held:
            self.slots.add(slot)
        else:
            self.slots.discard(slot)
        self.version += 1
        if self._mask is not None:
            self._mask = self.mask(slot + 1)
            self._mask[slot] = held


class Images:
    """All images by name."""

    __slots__ = ("_by_name", "_by_slot")

    def __init__(self) -> None:
        self._by_name: dict[str, ImageState] = {}
        self._by_slot: dict[int, frozenset[str]] = {}

    def get(self, name: str) -> ImageState | None:
        """The image of a name, None where no node holds it."""
        return self._by_name.get(name)

    def set(self, slot: int, images: tuple[ContainerImage, ...]) -> None:
        """Replace the images of a slot."""
        sizes: dict[str, int] = {}
        for image in images:
            for name in image.names or ():
                sizes.setdefault(name, image.size_bytes)
        before = self._by_slot.get(slot, frozenset())
        for name in before - sizes.keys():
            state = self._by_name[name]
            state.set(slot, held=False)
            if not state.slots:
                del self._by_name[name]
        for name, size in sizes.items():
            if name not in before:
                state = self._by_name.setdefault(name, ImageState(size))
                state.set(slot, held=True)
        if sizes:
            self._by_slot[slot] = frozenset(sizes)
        else:
            self._by_slot.pop(slot, None)
