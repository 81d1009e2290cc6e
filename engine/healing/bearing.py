"""Which pods a node bears on: an index by slot, for whoever follows changes of nodes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from engine.model.objects import PodKey


class Bearing:
    """Pods by the slots that bear on them; a pod may have several."""

    __slots__ = ("_by_slot", "_slots")

    def __init__(self) -> None:
        self._by_slot: dict[int, dict[PodKey, None]] = {}
        self._slots: dict[PodKey, tuple[int, ...]] = {}

    @property
    def pods(self) -> Collection[PodKey]:
        """All that are in it."""
        return self._slots.keys()

    def put(self, key: PodKey, slots: tuple[int, ...]) -> None:
        """These slots bear on the pod, instead of others; with none it is not in it."""
        if self._slots.get(key, ()) == slots:
            return
        self.forget(key)
        if slots:
            self._slots[key] = slots
            for slot in slots:
                self._by_slot.setdefault(slot, {})[key] = None

    def forget(self, key: PodKey) -> None:
        """Nothing bears on the pod any more."""
        for slot in self._slots.pop(key, ()):
            keys = self._by_slot.get(slot)
            if keys is not None:
                keys.pop(key, None)
                if not keys:
                    del self._by_slot[slot]

    def of(self, key: PodKey) -> tuple[int, ...]:
        """The slots that bear on a pod."""
        return self._slots.get(key, ())

    def on(self, slots: Iterable[int]) -> Iterator[PodKey]:
        """The pods that these slots bear on; one of several of them as often."""
        for slot in slots:
            yield from self._by_slot.get(slot, ())
