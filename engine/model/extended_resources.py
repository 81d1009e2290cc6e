"""Which containers of a pod ask for extended resources, for which a class of devices may stand.

Source: ``k8s.io/kubernetes/pkg/scheduler/util`` (IsDRAExtendedResourceName) and resource.k8s.io/v1.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from engine.model.objects import Container, PodSpec
from engine.model.quantity import NANO, QuantityError, parse

CLASS_PREFIX: Final = "deviceclass.resource.kubernetes.io/"
"""Before a class's name, of the resource that stands for the class even where it names none."""
ANNOTATION: Final = "resource.kubernetes.io/extended-resource-claim"
"""On the claim that the scheduler makes for a pod's extended resources."""


def may_be_devices(resource: str) -> bool:
    """Whether a class of devices could stand for a resource."""
    if resource.startswith(CLASS_PREFIX):
        return True
    return "/" in resource and "kubernetes.io/" not in resource and not resource.startswith("requests.")


class Asking(NamedTuple):
    """A container that asks for such resources.

    Attributes:
        position: Among all of the pod's containers, the initial ones first.
        container: Its name.
        initial: Whether it ends before the others begin.
        requests: How many it asks for of each, with the place of the resource among all that it asks for.
    """

    position: int
    container: str
    initial: bool
    requests: tuple[tuple[str, int, int], ...]

    def count(self, resource: str) -> int:
        """How many of a resource it asks for."""
        return next((count for name, count, _ in self.requests if name == resource), 0)

    def request_name(self, resource: str) -> str:
        """What the request for a resource is called in the claim."""
        place = next(place for name, _, place in self.requests if name == resource)
        return f"container-{self.position}-request-{place}"


def asking(spec: PodSpec) -> tuple[Asking, ...]:
    """The containers that ask for resources for which a class could stand."""
    initial = spec.init_containers or ()
    found = []
    for position, container in enumerate((*initial, *(spec.containers or ()))):
        requests = tuple(_requests(container))
        if requests:
            ends = position < len(initial) and container.restart_policy != "Always"
            found.append(Asking(position, container.name, ends, requests))
    return tuple(found)


def _requests(container: Container) -> list[tuple[str, int, int]]:
    written = (container.resources.requests if container.resources is not None else None) or {}
    found = []
    for place, resource in enumerate(sorted(written)):
        if may_be_devices(resource):
            try:
                nanos = parse(written[resource])
            except QuantityError:
                continue  # which is told where the pod's requests are read
            if nanos > 0 and nanos % NANO == 0:
                found.append((resource, nanos // NANO, place))
    return found
