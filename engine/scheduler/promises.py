"""Who waits for whom to leave: pods that a node is promised to, and the pods that have to go from it first."""

from __future__ import annotations

from collections.abc import Iterable

from engine.model.objects import PodKey


class Promises:
    """Preemptions under way. A victim is asked to leave once, however many pods wait for it."""

    __slots__ = ("_leaving", "_waiting_for")

    def __init__(self) -> None:
        self._waiting_for: dict[PodKey, set[PodKey]] = {}
        self._leaving: dict[PodKey, set[PodKey]] = {}

    def __contains__(self, pod: PodKey) -> bool:
        """Whether the pod waits for somebody to leave."""
        return pod in self._waiting_for

    def wait(self, pod: PodKey, victims: Iterable[PodKey]) -> list[PodKey]:
        """The pod waits for these to leave. Returns those that nobody has asked before."""
        self.drop(pod)
        victims = list(victims)
        asked_anew = [victim for victim in victims if victim not in self._leaving]
        if victims:
            self._waiting_for[pod] = set(victims)
        for victim in victims:
            self._leaving.setdefault(victim, set()).add(pod)
        return asked_anew

    def left(self, victim: PodKey) -> list[PodKey]:
        """The victim is gone. Returns the pods that wait for nobody any more."""
        free = []
        for pod in self._leaving.pop(victim, ()):
            left = self._waiting_for[pod]
            left.discard(victim)
            if not left:
                del self._waiting_for[pod]
                free.append(pod)
        return free

    def stays(self, victim: PodKey) -> list[PodKey]:
        """The victim could not be taken away. Returns the pods that waited for it, which must look anew."""
        pods = list(self._leaving.get(victim, ()))
        for pod in pods:
            self.drop(pod)
        self._leaving.pop(victim, None)
        return pods

    def drop(self, pod: PodKey) -> None:
        """The pod waits no longer. Those that were asked to leave for it still will, and are not asked again."""
        for victim in self._waiting_for.pop(pod, ()):
            self._leaving[victim].discard(pod)
