"""What is written of devices that were found: results, what their drivers are told, and which nodes reach them.

Source: ``k8s.io/dynamic-resource-allocation/structured`` (allocator).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import NAMESPACE_OID, uuid5

from engine.constraints.device_search import Found, Solution
from engine.model.device_capacity import Quantity
from engine.model.devices import (
    AllocatedConfiguration,
    AllocatedDevice,
    AllocatedDevices,
    Allocation,
    ResourceClaim,
)
from engine.model.objects import NodeSelector, NodeSelectorTerm, Requirement
from engine.state.devices import Devices


def allocations(
    claims: Sequence[ResourceClaim], solution: Solution, devices: Devices, node: str
) -> Iterator[Allocation]:
    """What each claim gets."""
    for claim, found in zip(claims, solution, strict=True):
        results = tuple(
            AllocatedDevice(
                request=one.part.name,
                driver=one.device.id.driver,
                pool=one.device.id.pool,
                device=one.device.id.device,
                admin_access=True if one.part.admin else None,
                tolerations=one.part.asked.tolerations,
                binding_conditions=one.device.device.binding_conditions,
                binding_failure_conditions=one.device.device.binding_failure_conditions,
                share_id=_share_id(claim, position, one),
                consumed_capacity=_consumed(one),
            )
            for position, one in enumerate(found)
        )
        config = tuple(_configurations(claim, found, devices))
        yield Allocation(AllocatedDevices(results, config or None), _selector(found, node))


def _share_id(claim: ResourceClaim, position: int, found: Found) -> str | None:
    """What tells a share from all others of its device: the same each time that it is decided."""
    if found.share is None:
        return None
    return str(uuid5(NAMESPACE_OID, f"{claim.metadata.uid} {position} {found.device.id}"))


def _consumed(found: Found) -> dict[str, Quantity] | None:
    if not found.share:
        return None
    return {name: amount.text for name, amount in found.share.items()}


def _configurations(
    claim: ResourceClaim, found: list[Found], devices: Devices
) -> Iterator[AllocatedConfiguration]:
    """Those of the classes first, each class once with all requests that are for it; then the claim's own."""
    chosen = {one.part.request: one.part for one in found}
    of_class: dict[str, list[str]] = {}
    for part in chosen.values():
        of_class.setdefault(part.asked.device_class_name, []).append(part.name)
    for class_name, requests in of_class.items():
        class_ = devices.device_class(class_name)
        for config in (class_.spec.config if class_ is not None else None) or ():
            yield AllocatedConfiguration("FromClass", tuple(requests), config.opaque)
    names = {name for part in chosen.values() for name in (part.request, part.name)}
    for config in claim.spec.devices.config or ():
        if not config.requests or names & set(config.requests):
            yield AllocatedConfiguration("FromClaim", config.requests, config.opaque)


def _selector(found: list[Found], node: str) -> NodeSelector | None:
    """Which nodes reach all of the devices; None for every node."""
    fields: list[Requirement] = []
    expressions: list[Requirement] = []
    for one in found:
        device, spec = one.device.device, one.device.slice.spec
        source = device if spec.per_device_node_selection else spec
        if source.node_name or device.binds_to_node:
            only = Requirement("metadata.name", "In", (node,))
            return NodeSelector((NodeSelectorTerm(match_fields=(only,)),))
        for term in (source.node_selector.node_selector_terms if source.node_selector is not None else ())[
            :1
        ]:
            _add(fields, term.match_fields)
            _add(expressions, term.match_expressions)
    if not fields and not expressions:
        return None
    return NodeSelector((NodeSelectorTerm(tuple(expressions) or None, tuple(fields) or None),))


def _add(to: list[Requirement], requirements: tuple[Requirement, ...] | None) -> None:
    for requirement in requirements or ():
        same = ((one.key, one.operator, set(one.values or ())) for one in to)
        if (requirement.key, requirement.operator, set(requirement.values or ())) not in same:
            to.append(requirement)
