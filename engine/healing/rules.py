"""What the placer asks of a pod that has lost its node: where it may go, and how pods bear on each other there."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.compile.requirements import Requirements, Stage
from engine.constraints.inter_pod_affinity import InterPodAffinity
from engine.constraints.protocol import Depends, Filter, GlobalFilter, Mask, is_global
from engine.constraints.resources import NodePorts, NodeResourcesFit
from engine.constraints.volumes import NodeVolumeLimits, VolumeBinding, VolumeRestrictions, VolumeZone
from engine.placement.decision import PASSES
from engine.placement.evaluation import Evaluation
from engine.placement.placer import Placer
from engine.state.cache import Cache
from engine.state.columns import PODS
from engine.state.labels import Where
from engine.state.pods import PlacedPod

Amounts = dict[str, NDArray[np.int64]]
"""Resource → an amount for each slot, in the units of the columns."""

_ONLY_REFUSE: Final = (
    NodeResourcesFit,
    NodePorts,
    InterPodAffinity,
    NodeVolumeLimits,
    VolumeBinding,
    VolumeRestrictions,
    VolumeZone,
)
"""Filters for which one more pod never opens a node, and two pods stand in each other's way or not, in either order."""


_OF_NODES: Final = Depends.NODE | Depends.DELAY
"""What no pod changes, as long as no delay is measured from a workload. Anything else counts as changed by pods."""


class Rules:
    """Where pods may go, by the rules of one placer at one moment.

    A step of a ``try`` counts where it is open at once. One that opens after a time is no backup: the pod would be
    without a node for that long. Nor is the order of the steps asked for, which is a preference among legal nodes.

    Args:
        cache: The cache that the placer decides on.
        placer: Whose filters are asked.
        now: Seconds since the epoch.
    """

    def __init__(self, cache: Cache, placer: Placer, now: float) -> None:
        self.cache = cache
        self.placer = placer
        self.now = now

    def kind(self, pod: PlacedPod) -> Hashable:
        """Equal for pods that may stand in for each other: all that is asked of them, and by them, is the same."""
        if pod.claims or pod.devices or pod.shape.owner is None or self.placer.plan.own_facts:
            return pod.key
        return (pod.shape, tuple(sorted(pod.requests.items())))

    def evaluations(self, pod: PlacedPod) -> list[Evaluation]:
        """The vectors of the stages open at once, up to date; none where the pod could not be placed at all."""
        requirements = self.placer.requirements(pod, self.now)
        return [
            self.placer.evaluation(pod, self.now, position) for position, _ in _open_at_once(requirements)
        ]

    def legal(self, pod: PlacedPod) -> Mask:
        """Which slots may take the pod now. Shape (capacity,)."""
        mask: Mask = np.zeros(self.cache.columns.capacity, dtype=np.bool_)
        for evaluation in self.evaluations(pod):
            mask[evaluation.feasible()] = True
        return mask

    def bearable(self, pod: PlacedPod, where: Where) -> Mask:
        """Where nothing refuses the pod for what the node is, whatever runs there; as long as ``where``.

        The filters are asked themselves, and only those that this takes: cheaper than vectors that are kept, where
        pods are many and each asked about seldom.
        """
        requirements = self.placer.requirements(pod, self.now)
        alive = self.cache.columns.alive[where]
        mask: Mask = np.zeros_like(alive)
        verdicts: dict[int, Mask] = {}
        for _, stage in _open_at_once(requirements):
            passing = alive.copy()
            for one in _constraints(requirements, stage):
                if not is_global(one) and not one.depends & ~_OF_NODES:
                    verdict = verdicts.get(id(one))
                    if verdict is None:
                        verdict = verdicts[id(one)] = one.passes(where)
                    passing &= verdict
            mask |= passing
        return mask

    def only_room_matters(self, pod: PlacedPod) -> bool:
        """Whether of all that other pods bear on, only room for requests matters to this one now."""
        if pod.shape.terms.apart or pod.shape.terms.near:
            return False
        requirements = self.placer.requirements(pod, self.now)
        stages = _open_at_once(requirements)
        return (
            bool(stages)
            and not any(one.moves for one in (*requirements.origins, *requirements.needed))
            and all(_room_alone(one) for _, stage in stages for one in _constraints(requirements, stage))
        )

    def only_ever_refused(self, pod: PlacedPod) -> bool:
        """Whether another pod can only take nodes from this one, so that it may as well be placed first."""
        requirements = self.placer.requirements(pod, self.now)
        if pod.shape.terms.near or any(
            origin.moves for origin in (*requirements.origins, *requirements.needed)
        ):
            return False
        members = [member for stage in requirements.stages for member in stage.members]
        constraints: list[Filter | GlobalFilter] = [
            *requirements.kubernetes,
            *requirements.policies,
            *members,
        ]
        return all(
            isinstance(one, _ONLY_REFUSE) or not one.depends & ~(_OF_NODES | Depends.TIME)
            for one in constraints
        )

    def why_not(self, pod: PlacedPod, lost: Mask, room: Amounts | None) -> str:
        """Why no slot takes the pod now, for people."""
        decision = self.placer.place(pod, self.now)
        if decision.node is None:
            return decision.message()
        slots = np.flatnonzero(self.legal(pod) & ~lost)
        if not len(slots):
            return "only what is lost, or opens later, would take it"
        if room is None:
            return "no place is left beside the others that are lost with it"
        most = {
            resource: int(room[resource][slots].max()) if resource in room else 0 for resource in asked(pod)
        }
        short = [
            f"{resource} {value}, of which at most {most[resource]} are left"
            for resource, value in asked(pod).items()
            if most[resource] < value
        ]
        told = "; ".join(short) if short else "more than any one of them has left together"
        return f"what is kept on the {len(slots)} node(s) that may take it is not enough: it asks for {told}"


def _open_at_once(requirements: Requirements) -> list[tuple[int, Stage]]:
    """The stages that a pod need not wait for, by position; none where it could not be placed at all."""
    if requirements.trouble is not None or any(one.missing() is not None for one in requirements.needed):
        return []
    return [(position, stage) for position, stage in enumerate(requirements.stages) if stage.after_ms <= 0]


def _constraints(requirements: Requirements, stage: Stage) -> Iterator[Filter | GlobalFilter]:
    """All that binds in a stage."""
    yield from requirements.kubernetes
    for one in requirements.policies:
        if one.name not in stage.waived:
            yield one
    yield from stage.members


def _room_alone(constraint: Filter | GlobalFilter) -> bool:
    if isinstance(constraint, InterPodAffinity):
        # Placed pods may not want it near; that no term means it shows in there being no mask.
        return constraint.passes_among(np.zeros(0, dtype=np.bool_), 0) is None
    return isinstance(constraint, NodeResourcesFit) or not constraint.depends & ~_OF_NODES


def asked(pod: PlacedPod) -> dict[str, int]:
    """What a pod takes of its next node: its requests, the larger where it is being resized, and a place among pods."""
    found = {resource: value for resource, value in pod.shape.requests.items() if value > 0}
    if pod.requests is not pod.shape.requests:
        for resource, value in pod.requests.items():
            if value > found.get(resource, 0):
                found[resource] = value
    found[PODS] = 1
    return found


def passes_at(evaluations: list[Evaluation], slot: int) -> bool:
    """Whether one of the stages lets a slot pass, worked out anew."""
    return any(evaluation.refusal_at(slot) == PASSES for evaluation in evaluations)
