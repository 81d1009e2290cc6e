"""What is written before a pod is bound, so that it may use its claims of devices.

A claim that has no devices yet gets them and its pod in one write; one that has them gets the pod. Every write names
the version that was decided on, and can be tried again: a refusal is followed by reading the claim, which says whether
an earlier try had landed. Nothing is taken back when the pod is not bound after all: what is written is good for the
same pod when it is decided anew, whoever decides then.

Source: kube-scheduler's plugin DynamicResources (bindClaim).
"""

from __future__ import annotations

from typing import Final

from engine.cluster.errors import ApiError
from engine.cluster.protocol import Cluster
from engine.model.device_uses import DeviceBindings, MadeClaim
from engine.model.devices import Allocation, ResourceClaim
from engine.model.objects import PodKey
from engine.model.storage import ClaimName

_TRIES: Final = 4
"""Versions of a claim that are tried one after another, where what changed does not matter here."""


class PreparedDevices:
    """What has been written so far for one pod, so that another try goes on from there."""

    __slots__ = ("claims", "done")

    def __init__(self) -> None:
        self.claims: dict[ClaimName, ResourceClaim] = {}
        self.done: set[ClaimName] = set()


class DevicePreparation:
    """Writes what claims need.

    Args:
        cluster: Where.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def write(self, bindings: DeviceBindings, pod: PodKey, prepared: PreparedDevices) -> str | None:
        """Write all that is not written yet.

        Returns:
            Why it cannot be as was decided; None where all is written.

        Raises:
            ClusterError: It can be tried again, or never.
        """
        for claim, allocation in bindings.claims:
            if claim.name not in prepared.done:
                trouble = self._reserve(claim, allocation, pod, prepared)
                if trouble is not None:
                    return trouble
                prepared.done.add(claim.name)
        return None if bindings.made is None else self._make(bindings.made, pod, prepared)

    def _make(self, made: MadeClaim, pod: PodKey, prepared: PreparedDevices) -> str | None:
        """Make the claim of the pod's extended resources, give it its devices, and tell the pod of it."""
        name = made.claim.name
        if name in prepared.done:
            return None
        claim = prepared.claims.get(name)
        if claim is None:
            try:
                claim = self._cluster.create_resource_claim(made.claim)
            except ApiError as error:
                if error.status != 409:
                    raise
                # Made by an earlier try, whose answer was lost; or left from one that came to nothing.
                claim = self._cluster.get_resource_claim(*name)
            if claim is None:
                return f"resourceclaim {name} is gone"
            prepared.claims[name] = claim
        if not claim.made_for(pod) or claim.spec.devices.requests != made.claim.spec.devices.requests:
            return f"another resourceclaim is called {name}"
        trouble = self._reserve(claim, made.allocation, pod, prepared)
        if trouble is None:
            self._cluster.tell_extended_claim(pod, name.name, made.mappings)
            prepared.done.add(name)
        return trouble

    def _reserve(
        self, claim: ResourceClaim, allocation: Allocation | None, pod: PodKey, prepared: PreparedDevices
    ) -> str | None:
        name = claim.name
        # What an earlier try saw last is closer to how it is than what was decided on.
        known: ResourceClaim | None = prepared.claims.get(name, claim)
        for _ in range(_TRIES):
            if known is None or known.metadata.uid != claim.metadata.uid:
                return f"resourceclaim {name} is gone"
            if known.metadata.deletion_timestamp is not None:
                return f"resourceclaim {name} is being deleted"
            if allocation is not None and known.allocation is not None:
                if known.reserved(pod) and _same(known.allocation, allocation):
                    return None
                return f"resourceclaim {name} got allocated elsewhere in the meantime"
            if allocation is None:
                if known.allocation is None or not _same(known.allocation, claim.allocation):
                    return f"resourceclaim {name} got deallocated elsewhere in the meantime"
                if known.reserved(pod):
                    return None
                if known.full:
                    return f"resourceclaim {name} is in use"
            try:
                known = self._cluster.reserve_resource_claim(known, pod, allocation)
            except ApiError as error:
                if error.status not in (404, 409):
                    raise
                known = self._cluster.get_resource_claim(*name)
            if known is not None:
                prepared.claims[name] = known
        return f"resourceclaim {name} changes faster than it can be reserved"


def _same(one: Allocation, other: Allocation | None) -> bool:
    """Whether both are of the same devices, or shares of them, for the same requests."""
    if other is None:
        return False
    return [(result.request, result.id, result.share_id) for result in one.devices.results or ()] == [
        (result.request, result.id, result.share_id) for result in other.devices.results or ()
    ]
