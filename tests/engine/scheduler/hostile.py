"""A simulated cluster whose answers to bindings go wrong as they are told to."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterator

from engine.cluster.errors import ApiError, Unreachable
from engine.cluster.simulated import SimulatedCluster
from engine.model.objects import PodKey


class Fault(enum.Enum):
    """What goes wrong with one request to bind."""

    NONE = "none"
    LOST_BEFORE = "the connection breaks before the request is read"
    LOST_AFTER = "the pod is bound, and the connection breaks before the answer"
    OVERLOADED = "429"
    BROKEN = "500"
    FORBIDDEN = "403"


class HostileCluster(SimulatedCluster):
    """Counts what really took effect."""

    def __init__(self, faults: Iterator[Fault]) -> None:
        super().__init__()
        self._faults = faults
        self.bound: Counter[PodKey] = Counter()

    def bind(self, pod: PodKey, node: str) -> None:
        """As the simulated cluster, unless a fault is due."""
        fault = next(self._faults, Fault.NONE)
        match fault:
            case Fault.LOST_BEFORE:
                raise Unreachable("connection reset")
            case Fault.OVERLOADED:
                raise ApiError(429, "TooManyRequests", "slow down", retry_after=0.0)
            case Fault.BROKEN:
                raise ApiError(500, "InternalError", "etcd is tired")
            case Fault.FORBIDDEN:
                raise ApiError(403, "Forbidden", "not you")
        super().bind(pod, node)
        self.bound[pod] += 1
        if fault is Fault.LOST_AFTER:
            raise Unreachable("timed out")
