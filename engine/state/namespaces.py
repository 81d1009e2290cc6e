"""The labels of namespaces, by which affinity terms choose whose pods they mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_NAME: Final = "kubernetes.io/metadata.name"


class Namespaces:
    """Labels by name. A namespace that nobody told of carries its name, as every one does.

    Attributes:
        version: Grows with every change.
    """

    __slots__ = ("_labels", "version")

    def __init__(self) -> None:
        self._labels: dict[str, Mapping[str, str]] = {}
        self.version = 0

    def labels(self, name: str) -> Mapping[str, str]:
        """The labels of a namespace."""
        return self._labels.get(name) or {_NAME: name}

    def put(self, name: str, labels: Mapping[str, str] | None) -> bool:
        """Take over the labels of a namespace, None where it is gone. Returns whether they differ."""
        before = self.labels(name)
        if labels is None:
            self._labels.pop(name, None)
        else:
            self._labels[name] = {_NAME: name, **labels}
        if self.labels(name) == before:
            return False
        self.version += 1
        return True
