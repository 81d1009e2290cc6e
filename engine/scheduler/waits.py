"""Pods that have a node and wait for the cluster before they are bound: for which objects, and until when."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from engine.model.objects import PodKey

What = TypeVar("What")


@dataclass(frozen=True, slots=True)
class _Wait(Generic[What]):
    what: What
    node: str
    names: tuple[Hashable, ...]
    deadline: float


class Waits(Generic[What]):
    """Which pods wait for what. Nothing polls: who hears of an object asks whom it concerns."""

    def __init__(self) -> None:
        self._waits: dict[PodKey, _Wait[What]] = {}
        self._by_name: dict[Hashable, dict[PodKey, None]] = {}
        self._deadlines: list[tuple[float, PodKey]] = []

    def __contains__(self, key: object) -> bool:
        """Whether the pod waits."""
        return key in self._waits

    def __len__(self) -> int:
        """How many pods wait."""
        return len(self._waits)

    def add(self, key: PodKey, what: What, node: str, names: Collection[Hashable], deadline: float) -> None:
        """The pod waits from now on, to go to a node, for the objects of these names; until then at the latest."""
        self.drop(key)
        self._waits[key] = _Wait(what, node, tuple(names), deadline)
        heapq.heappush(self._deadlines, (deadline, key))
        for name in names:
            self._by_name.setdefault(name, {})[key] = None

    def drop(self, key: PodKey) -> bool:
        """The pod waits no longer. Returns whether it did."""
        wait = self._waits.pop(key, None)
        if wait is None:
            return False
        for name in wait.names:
            waiting = self._by_name.get(name)
            if waiting is not None:
                waiting.pop(key, None)
                if not waiting:
                    del self._by_name[name]
        return True

    def what(self, key: PodKey) -> What:
        """What a waiting pod waits for."""
        return self._waits[key].what

    def node_of(self, key: PodKey) -> str:
        """Where a waiting pod is to go."""
        return self._waits[key].node

    def concerned(self, names: Iterable[Hashable]) -> list[PodKey]:
        """The pods that wait for objects of these names."""
        return list(dict.fromkeys(key for name in names for key in self._by_name.get(name, ())))

    def on(self, node: str) -> list[PodKey]:
        """The pods that are to go to a node."""
        return [key for key, wait in self._waits.items() if wait.node == node]

    def expired(self, now: float) -> Iterator[PodKey]:
        """The pods that have waited too long; each once."""
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, key = heapq.heappop(self._deadlines)
            wait = self._waits.get(key)
            if wait is not None and wait.deadline == deadline:
                yield key

    def next_due(self) -> float | None:
        """When the next pod will have waited too long."""
        while self._deadlines:
            deadline, key = self._deadlines[0]
            wait = self._waits.get(key)
            if wait is not None and wait.deadline == deadline:
                return deadline
            heapq.heappop(self._deadlines)
        return None
