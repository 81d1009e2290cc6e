"""A pod as the cache holds it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from engine.model.device_uses import DeviceUse
from engine.model.objects import Pod, PodKey
from engine.model.shape import Shape, Workload
from engine.model.storage import ClaimUse


class Phase(enum.Enum):
    """Where a pod stands between us and the API server; the cache's docstring draws the moves."""

    QUEUED = "queued"
    ASSUMED = "assumed"
    BOUND = "bound"
    TERMINATING = "terminating"


@dataclass(slots=True, eq=False)
class PlacedPod:
    """A pod in the cache, placed or not. Changed only by the cache.

    Attributes:
        requests: What it holds on its node: the shape's, but for a pod that is being resized.
        claims: What its volumes claim.
        devices: Which claims of devices it has, as far as they are made.
        node: The name of its node, "" while it has none.
        slot: The slot of its node, -1 while it has none or the node is unknown.
    """

    pod: Pod
    key: PodKey
    shape: Shape
    requests: Mapping[str, int]
    scoring: tuple[int, int]
    phase: Phase
    claims: tuple[ClaimUse, ...] = ()
    node: str = ""
    slot: int = -1
    devices: tuple[DeviceUse, ...] = ()

    @property
    def workload(self) -> Workload:
        """What made it; a bare pod is its own workload."""
        return self.shape.owner or Workload("Pod", self.key.name)

    @property
    def counts(self) -> bool:
        """Whether it is counted where pods are: on a known node, and not on its way out."""
        return self.slot >= 0 and self.phase is not Phase.TERMINATING
