"""What if some pods were not on their node, or others were there? Asked of the cache itself, and undone at the end."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType

from engine.state.cache import Cache
from engine.state.pods import PlacedPod
from engine.state.workloads import WorkloadPods


class Supposition:
    """Takes pods from a node, or puts some there, until the end of a ``with`` block.

    Within it columns, censuses, tallies and workloads say what they would say. At its end they are as they were, also
    where the block raised: the same numbers, no changed slot to read, and the same versions of workloads. Nobody who
    keeps vectors by the log of used slots may bring them up to date within the block.

    Args:
        cache: What is changed.
        slot: The node's.
    """

    __slots__ = ("_cache", "_put", "_slot", "_taken", "_version", "_workloads")

    def __init__(self, cache: Cache, slot: int) -> None:
        self._cache = cache
        self._slot = slot
        self._version = 0
        self._taken: dict[PlacedPod, None] = {}
        self._put: dict[PlacedPod, None] = {}
        self._workloads: dict[WorkloadPods, int] = {}

    def __enter__(self) -> Supposition:
        self._version = self._cache.columns.usage_changes.version
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            for pod in list(self._put):
                self.put_off(pod)
            for pod in list(self._taken):
                self.give_back(pod)
        finally:
            for workload, version in self._workloads.items():
                workload.version = version
            self._cache.columns.usage_changes.rewind(self._version)

    def take(self, pod: PlacedPod) -> None:
        """Suppose that a pod of the node is gone."""
        self._remember(pod)
        self._cache.lift(pod)
        self._taken[pod] = None

    def give_back(self, pod: PlacedPod) -> None:
        """Suppose so no longer."""
        self._cache.lower(pod, self._slot)
        del self._taken[pod]

    def put(self, pods: Iterable[PlacedPod]) -> None:
        """Suppose that pods which are nowhere are on the node."""
        for pod in pods:
            self._remember(pod)
            self._cache.lower(pod, self._slot)
            self._put[pod] = None

    def put_off(self, pod: PlacedPod) -> None:
        """Suppose so no longer."""
        self._cache.lift(pod)
        del self._put[pod]

    def _remember(self, pod: PlacedPod) -> None:
        workload = self._cache.workloads.get(pod.shape.namespace, pod.workload.name)
        if workload is not None and workload not in self._workloads:
            self._workloads[workload] = workload.version
