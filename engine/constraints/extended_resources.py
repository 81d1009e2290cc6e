"""Extended resources for which a class of devices stands: what a pod asks for becomes a claim of devices on some nodes.

A node that offers the resource itself gives it as ever. On others the pod gets devices of the class, by a claim that
the scheduler makes for it. What is asked of that claim differs from node to node, by which resources the node offers.

Source: kube-scheduler's plugin DynamicResources (createRequestsAndMappings).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from engine.constraints.wanted_devices import WantedDevices, wanted
from engine.model.device_uses import DeviceMapping
from engine.model.devices import (
    ClaimedDevices,
    DeviceRequest,
    DeviceRequirements,
    ResourceClaim,
    ResourceClaimSpec,
)
from engine.model.extended_resources import ANNOTATION, Asking
from engine.model.objects import ObjectMeta, OwnerReference, PodKey

_LONGEST: Final = 63
REASON: Final = "cannot schedule extended resource claim"


@dataclass(frozen=True, slots=True)
class Extended:
    """What a pod asks of extended resources that may be devices.

    Attributes:
        classes: Each of the resources with the class that stands for it, by name.
        asking: The pod's containers that ask for any.
    """

    classes: tuple[tuple[str, str], ...]
    asking: tuple[Asking, ...]

    def wanted(self, resources: Collection[str]) -> tuple[WantedDevices, tuple[DeviceMapping, ...]]:
        """The claim for those of the resources that a node does not offer, and which request is for which container."""
        return _wanted(self, frozenset(resources))


def claim_for(pod: PodKey, asked: ClaimedDevices) -> ResourceClaim:
    """The claim as it is to be made. Its name is the same each time, so that no second one can be made meanwhile."""
    digest = blake2b(pod.uid.encode(), digest_size=5).hexdigest()
    name = f"{pod.name}-extended-resources-"[: _LONGEST - len(digest)] + digest
    metadata = ObjectMeta(
        name=name,
        namespace=pod.namespace,
        annotations={ANNOTATION: "true"},
        owner_references=(OwnerReference("Pod", pod.name, pod.uid, controller=True, api_version="v1"),),
    )
    return ResourceClaim(metadata, ResourceClaimSpec(asked))


@lru_cache(maxsize=1024)
def _wanted(extended: Extended, resources: frozenset[str]) -> tuple[WantedDevices, tuple[DeviceMapping, ...]]:
    requests: list[DeviceRequest] = []
    mappings: list[DeviceMapping] = []
    for resource, class_name in extended.classes:
        if resource in resources:
            found, mapped = _of_resource(resource, class_name, extended.asking)
            requests += found
            mappings += mapped
    requests.sort(key=lambda one: one.name)
    return wanted(ClaimedDevices(tuple(requests))), tuple(mappings)


def _of_resource(
    resource: str, class_name: str, asking: tuple[Asking, ...]
) -> tuple[list[DeviceRequest], list[DeviceMapping]]:
    """One request for each container that lasts; those that initialise use theirs, and one more if need be."""
    lasting: dict[int, tuple[str, int]] = {}
    mappings: list[DeviceMapping] = []
    for one in asking:
        count = one.count(resource)
        if not one.initial and count:
            lasting[one.position] = (one.request_name(resource), count)
            mappings.append(DeviceMapping(one.container, resource, lasting[one.position][0]))
    own: dict[str, int] = {}
    initial: list[DeviceMapping] = []
    for one in asking:
        count = one.count(resource)
        if not one.initial or not count:
            continue
        for position in sorted(lasting):
            if position >= one.position and count > 0:
                name, number = lasting[position]
                initial.append(DeviceMapping(one.container, resource, name))
                count -= number
        if count > 0:
            name = one.request_name(resource)
            own[name] = count
            initial.append(DeviceMapping(one.container, resource, name))
    requests = [_request(name, class_name, count) for name, count in lasting.values()]
    if own:
        # They run one after another, so that the largest is enough for all.
        largest = max(own, key=lambda name: own[name])
        requests.append(_request(largest, class_name, own[largest]))
        initial = [
            DeviceMapping(one.container, resource, largest if one.request in own else one.request)
            for one in initial
        ]
    return requests, mappings + initial


def _request(name: str, class_name: str, count: int) -> DeviceRequest:
    return DeviceRequest(name, DeviceRequirements(device_class_name=class_name, count=count))
