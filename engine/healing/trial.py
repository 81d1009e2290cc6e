"""The cluster as it is once moves have been carried out: tried on the cache itself, and undone at the end."""

from __future__ import annotations

import enum
from dataclasses import replace
from types import TracebackType

from engine.state.cache import Cache
from engine.state.pods import Phase, PlacedPod


class _Step(enum.Enum):
    LIFTED = enum.auto()
    PUT = enum.auto()
    LEAVING = enum.auto()
    EXPECTED = enum.auto()


def replacement(pod: PlacedPod) -> PlacedPod:
    """The pod that comes in place of another: of the same shape, nowhere yet, and as its template has it."""
    return replace(
        pod, node="", slot=-1, phase=Phase.QUEUED, requests=pod.shape.requests, scoring=pod.shape.scoring
    )


class Trial:
    """Steps on a cache, each of which can be taken back, the last one first; all are, at the end of a ``with`` block.

    All is done as if it had happened, logs of changes included, so whoever keeps vectors by those logs may read within
    the block and after it. Where no step was taken, no log has moved.

    Args:
        cache: What is changed.
    """

    __slots__ = ("_cache", "_steps")

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._steps: list[tuple[_Step, PlacedPod, int, Phase]] = []

    def __enter__(self) -> Trial:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.back_to(0)

    def mark(self) -> int:
        """Where things stand, for `back_to`."""
        return len(self._steps)

    def back_to(self, mark: int) -> None:
        """Take back all steps since a mark."""
        while len(self._steps) > mark:
            step, pod, slot, phase = self._steps.pop()
            if step is _Step.PUT:
                self._cache.lift(pod)
            elif step is _Step.LIFTED:
                self._cache.lower(pod, slot)
            elif step is _Step.LEAVING:
                self._change(pod, phase)
            else:
                self._cache.lift(pod)
                self._cache.workloads.remove(pod)

    def lift(self, pod: PlacedPod) -> None:
        """The pod is gone from its node. Nothing happens where the node is not known."""
        if pod.slot >= 0:
            self._steps.append((_Step.LIFTED, pod, pod.slot, pod.phase))
            self._cache.lift(pod)

    def put(self, pod: PlacedPod, slot: int) -> None:
        """The pod, which is nowhere, is on a node."""
        self._cache.lower(pod, slot)
        self._steps.append((_Step.PUT, pod, slot, pod.phase))

    def expect(self, pod: PlacedPod, slot: int) -> None:
        """A pod that is not known yet, nor need its workload be, is on a node."""
        self._cache.workloads.add(pod)
        self._cache.lower(pod, slot)
        self._steps.append((_Step.EXPECTED, pod, slot, pod.phase))

    def leave(self, pod: PlacedPod) -> None:
        """The pod is on its way out, and does not get there: its node is lost, and what it holds stays held."""
        if pod.slot >= 0:
            self._steps.append((_Step.LEAVING, pod, pod.slot, pod.phase))
            self._change(pod, Phase.TERMINATING)

    def _change(self, pod: PlacedPod, phase: Phase) -> None:
        slot = pod.slot
        self._cache.lift(pod)
        pod.phase = phase
        self._cache.lower(pod, slot)
