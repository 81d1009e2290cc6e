"""Pods that were not let go: each is asked again, ever more rarely, as whatever forbids it may do so for minutes."""

from __future__ import annotations

from typing import Final

from engine.model.objects import PodKey

FIRST_SECONDS: Final = 1.0
MOST_SECONDS: Final = 30.0


class Refusals:
    """Remembers until when each pod is left alone."""

    __slots__ = ("_pods",)

    def __init__(self) -> None:
        self._pods: dict[PodKey, tuple[float, float]] = {}

    def refused(self, pod: PodKey, now: float) -> None:
        """It was not let go: twice as long as the last time, it is not asked again."""
        last, _ = self._pods.get(pod, (FIRST_SECONDS / 2, 0.0))
        pause = min(2 * last, MOST_SECONDS)
        self._pods[pod] = (pause, now + pause)

    def forget(self, pod: PodKey) -> None:
        """It is gone, or was let go."""
        self._pods.pop(pod, None)

    def pauses(self, pod: PodKey, now: float) -> bool:
        """Whether it is left alone for now."""
        found = self._pods.get(pod)
        return found is not None and now < found[1]

    def next_end(self, now: float) -> float | None:
        """When the first of those that are left alone may be asked again, seconds since the epoch."""
        return min((until for _, until in self._pods.values() if until > now), default=None)
