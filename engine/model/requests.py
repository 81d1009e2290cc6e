"""What a pod asks of a node's resources.

Source: ``k8s.io/component-helpers/resource`` (PodRequests), as kube-scheduler uses it. Sums are exact and rounded up
once at the end, as there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engine.model.objects import Container, ContainerStatus, Pod, ResourceRequirements
from engine.model.quantity import QuantityError, amount, parse

Quantities = Mapping[str, str | int | float]
Nanos = dict[str, int]

_SCORING_DEFAULTS: Final[Nanos] = {"cpu": parse("100m"), "memory": parse("200Mi")}
"""What a container counts for in scores that requests none."""


class RequestError(ValueError):
    """A request that cannot be read. ``path`` names the field within the pod."""

    def __init__(self, path: str, cause: ValueError) -> None:
        super().__init__(f"{path}: {cause}")
        self.path = path


def pod_requests(pod: Pod) -> dict[str, int]:
    """The pod's effective request by resource, in the units of the columns.

    A running pod that is being resized counts the largest of what its spec asks for, what is allocated and what is
    actual; the spec is left out where the kubelet called the resize infeasible.

    Raises:
        RequestError: A quantity cannot be read.
    """
    return _amounts(_aggregate(pod, {}))


def scoring_requests(pod: Pod) -> tuple[int, int]:
    """Millicores and bytes that the pod counts for in the resource scores: absent requests count their default.

    Raises:
        RequestError: A quantity cannot be read.
    """
    totals = _amounts(_aggregate(pod, _SCORING_DEFAULTS))
    return totals.get("cpu", 0), totals.get("memory", 0)


def _amounts(nanos: Nanos) -> dict[str, int]:
    return {resource: amount(resource, value) for resource, value in nanos.items()}


def _statuses(pod: Pod) -> dict[str, ContainerStatus]:
    """Statuses by container, only where the kubelet tells of resources: without a resize they change nothing."""
    both = ((pod.status.container_statuses or ()), (pod.status.init_container_statuses or ()))
    return {status.name: status for statuses in both for status in statuses if status.resources is not None}


def _infeasible(pod: Pod) -> bool:
    condition = pod.condition("PodResizePending")
    return condition is not None and condition.reason == "Infeasible"


def _aggregate(pod: Pod, defaults: Nanos) -> Nanos:
    """Containers and sidecars together, or the most demanding moment of the initialisation, whichever is more."""
    spec, statuses, infeasible = pod.spec, _statuses(pod), _infeasible(pod)
    total: Nanos = {}
    for position, container in enumerate(spec.containers or ()):
        path = f"spec.containers[{position}]"
        _add(total, _container(container, path, statuses.get(container.name), infeasible, defaults))
    sidecars: Nanos = {}
    peak: Nanos = {}
    for position, container in enumerate(spec.init_containers or ()):
        path = f"spec.initContainers[{position}]"
        sidecar = container.restart_policy == "Always"
        status = statuses.get(container.name) if sidecar else None
        own = _container(container, path, status, infeasible, defaults)
        if sidecar:
            _add(total, own)
            _add(sidecars, own)
            _raise_to(peak, sidecars)
        else:
            _add(own, sidecars)
            _raise_to(peak, own)
    _raise_to(total, peak)
    total.update(_pod_level(pod, infeasible))
    _add(total, _parse(spec.overhead or {}, "spec.overhead"))
    return total


def _pod_level(pod: Pod, infeasible: bool) -> Nanos:
    """What the pod asks for as a whole, instead of its containers."""
    resources = pod.spec.resources
    if resources is None or not resources.requests:
        return {}
    asked = {
        resource: value
        for resource, value in _parse(resources.requests, "spec.resources.requests").items()
        if resource in ("cpu", "memory") or resource.startswith("hugepages-")
    }
    status = pod.status
    if status.resources is None:
        return asked
    held = _held(asked, status.resources, status.allocated_resources, "status", infeasible)
    return {resource: held.get(resource, 0) for resource in asked}


def _held(
    asked: Nanos,
    actual: ResourceRequirements,
    allocated: Quantities | None,
    path: str,
    infeasible: bool,
) -> Nanos:
    """The largest of what is actual, what is allocated and, unless that is infeasible, what is asked for."""
    held = _parse(actual.requests or {}, f"{path}.resources.requests")
    _raise_to(held, _parse(allocated or {}, f"{path}.allocatedResources"))
    if not infeasible:
        _raise_to(held, asked)
    return held


def _container(
    container: Container, path: str, status: ContainerStatus | None, infeasible: bool, defaults: Nanos
) -> Nanos:
    requests = (container.resources.requests if container.resources else None) or {}
    asked = _parse(requests, f"{path}.resources.requests")
    if status is not None and status.resources is not None:
        asked = _held(asked, status.resources, status.allocated_resources, f"{path} (status)", infeasible)
    for resource, value in defaults.items():
        asked.setdefault(resource, value)
    return asked


def _parse(quantities: Quantities, path: str) -> Nanos:
    parsed: Nanos = {}
    for resource, text in quantities.items():
        try:
            parsed[resource] = parse(text)
        except QuantityError as error:
            raise RequestError(f"{path}.{resource}", error) from None
    return parsed


def _add(into: Nanos, other: Mapping[str, int]) -> None:
    for resource, value in other.items():
        into[resource] = into.get(resource, 0) + value


def _raise_to(into: Nanos, other: Mapping[str, int]) -> None:
    for resource, value in other.items():
        into[resource] = max(into.get(resource, value), value)
