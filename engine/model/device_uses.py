"""Which claims of devices a pod uses, and what has to be written so that it may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from engine.model.devices import Allocation, ResourceClaim
from engine.model.objects import Pod, PodKey
from engine.model.storage import ClaimName


class DeviceUse(NamedTuple):
    """A claim that a pod uses.

    Attributes:
        claim: Which; None while it is not made yet.
        owner: The pod, where the claim is made for it from a template; else None.
    """

    claim: ClaimName | None
    owner: PodKey | None = None


class DeviceMapping(NamedTuple):
    """Which request of a claim is for a container's extended resource."""

    container: str
    resource: str
    request: str


@dataclass(frozen=True, slots=True)
class MadeClaim:
    """A claim that has to be made for a pod's extended resources.

    Attributes:
        claim: As it is to be made; it has no uid yet.
        allocation: What it is to get.
        mappings: Which request is for whom, as the pod's status has to say.
    """

    claim: ResourceClaim
    allocation: Allocation
    mappings: tuple[DeviceMapping, ...]


@dataclass(frozen=True, slots=True)
class DeviceBindings:
    """What has to be written before a pod is bound, so that it may use its claims.

    Attributes:
        node: Where the pod goes.
        claims: Those that are not the pod's yet, each with what it is to get; None where it has its devices.
        made: The claim of the pod's extended resources, None where it needs none.
        awaited: Those with devices that their drivers have to make ready before the pod is bound.
    """

    node: str
    claims: tuple[tuple[ResourceClaim, Allocation | None], ...] = ()
    awaited: tuple[ClaimName, ...] = ()
    made: MadeClaim | None = None


def device_uses(pod: Pod) -> tuple[DeviceUse, ...]:
    """The claims of devices of a pod, in their order.

    A claim of a template that turned out not to be needed is left out.
    """
    references = pod.spec.resource_claims
    if not references:
        return ()
    made = {status.name: status for status in pod.status.resource_claim_statuses or ()}
    namespace, found = pod.metadata.namespace, []
    for reference in references:
        if reference.resource_claim_name is not None:
            found.append(DeviceUse(ClaimName(namespace, reference.resource_claim_name)))
        elif reference.resource_claim_template_name is not None:
            status = made.get(reference.name)
            if status is None:
                found.append(DeviceUse(None, pod.key))
            elif status.resource_claim_name is not None:
                found.append(DeviceUse(ClaimName(namespace, status.resource_claim_name), pod.key))
    return tuple(dict.fromkeys(found))
