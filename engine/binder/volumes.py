"""What is written before a pod is bound, so that its claims get the volumes that were decided for them.

A volume that is there is reserved for its claim; for a volume that has to be made the claim is told the node. The
rest is the work of the cluster's own controllers, and takes its time. Every write names the version that was
decided on, and can be tried again: a refusal is followed by reading the object, which says whether an earlier try had
landed. Nothing is taken back, for what is written here is good for the same pod when it is decided anew, whoever
decides then.

Sources: kube-scheduler's plugin VolumeBinding (bindAPIUpdate).
"""

from __future__ import annotations

from typing import Final

from engine.cluster.errors import ApiError
from engine.cluster.protocol import Cluster
from engine.model.storage import (
    AVAILABLE,
    ClaimName,
    PersistentVolume,
    PersistentVolumeClaim,
    VolumeBindings,
)

_TRIES: Final = 4
"""Versions of an object that are tried one after another, where what changed does not matter here."""


class Prepared:
    """What has been written so far for one pod, so that another try goes on from there."""

    __slots__ = ("claims", "done", "volumes")

    def __init__(self) -> None:
        self.volumes: dict[str, PersistentVolume] = {}
        self.claims: dict[ClaimName, PersistentVolumeClaim] = {}
        self.done: set[str | ClaimName] = set()

    def objects(self) -> tuple[PersistentVolume | PersistentVolumeClaim, ...]:
        """All objects as they were last seen."""
        return (*self.volumes.values(), *self.claims.values())


class VolumePreparation:
    """Writes what claims need.

    Args:
        cluster: Where.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def write(self, bindings: VolumeBindings, prepared: Prepared) -> str | None:
        """Write all that is not written yet.

        Returns:
            Why it cannot be as was decided; None where all is written.

        Raises:
            ClusterError: It can be tried again, or never.
        """
        for volume, claim in bindings.given:
            if volume.metadata.name not in prepared.done:
                trouble = self._give(volume, claim, prepared)
                if trouble is not None:
                    return trouble
                prepared.done.add(volume.metadata.name)
        for claim in bindings.made:
            if claim.name not in prepared.done:
                trouble = self._select(claim, bindings.node, prepared)
                if trouble is not None:
                    return trouble
                prepared.done.add(claim.name)
        return None

    def _give(self, volume: PersistentVolume, claim: PersistentVolumeClaim, prepared: Prepared) -> str | None:
        name = volume.metadata.name
        known: PersistentVolume | None = volume
        for _ in range(_TRIES):
            if known is None:
                return f"persistentvolume {name} is gone"
            if _given(known, claim):
                return None
            if known.metadata.uid != volume.metadata.uid or not _free(known, claim):
                return f"persistentvolume {name} is no longer free"
            try:
                known = self._cluster.give_volume(known, claim)
            except ApiError as error:
                if error.status not in (404, 409):
                    raise
                known = self._cluster.get_volume(name)
            if known is not None:
                prepared.volumes[name] = known
        return f"persistentvolume {name} changes faster than it can be given to {claim.name}"

    def _select(self, claim: PersistentVolumeClaim, node: str, prepared: Prepared) -> str | None:
        name = claim.name
        known: PersistentVolumeClaim | None = claim
        for _ in range(_TRIES):
            if known is None or known.metadata.uid != claim.metadata.uid:
                return f"persistentvolumeclaim {name} is gone"
            if known.selected_node == node:
                return None
            if known.selected_node is not None:
                return f"the volume of persistentvolumeclaim {name} is being made for {known.selected_node}"
            if known.spec.volume_name:
                return f"persistentvolumeclaim {name} has a volume by now"
            try:
                known = self._cluster.select_node(known, node)
            except ApiError as error:
                if error.status not in (404, 409):
                    raise
                known = self._cluster.get_claim(*name)
            if known is not None:
                prepared.claims[name] = known
        return f"persistentvolumeclaim {name} changes faster than a node can be selected for it"


def _given(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    reference = volume.spec.claim_ref
    return volume.is_for(claim) and reference is not None and bool(reference.uid)


def _free(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Whether nobody has taken the volume since: it is available, or reserved for this claim by hand."""
    if volume.metadata.deletion_timestamp is not None:
        return False
    return volume.is_for(claim) or (volume.spec.claim_ref is None and volume.status.phase == AVAILABLE)
