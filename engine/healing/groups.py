"""Pods that would be lost together."""

from __future__ import annotations

from collections.abc import Collection

from engine.model.objects import PodKey


class Groups:
    """Pods by the loss that would take them, by the value of its domain."""

    __slots__ = ("_loss_of", "_members")

    def __init__(self) -> None:
        self._members: dict[str, set[PodKey]] = {}
        self._loss_of: dict[PodKey, str] = {}

    def __contains__(self, key: PodKey) -> bool:
        return key in self._loss_of

    @property
    def pods(self) -> Collection[PodKey]:
        """All of them."""
        return self._loss_of.keys()

    def put(self, key: PodKey, loss: str) -> None:
        """A pod, which is in no group, would be lost with that."""
        self._members.setdefault(loss, set()).add(key)
        self._loss_of[key] = loss

    def forget(self, key: PodKey) -> str | None:
        """A pod is in no group any more. Returns the loss that it was in."""
        loss = self._loss_of.pop(key, None)
        if loss is not None:
            self._members[loss].discard(key)
            if not self._members[loss]:
                del self._members[loss]
        return loss

    def of(self, loss: str) -> list[PodKey]:
        """Those of one loss, sorted."""
        return sorted(self._members.get(loss, ()))
