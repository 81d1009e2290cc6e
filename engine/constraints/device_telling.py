"""Which values decided about a pod's claims of devices on one node: for whoever explains a decision."""

from __future__ import annotations

from collections.abc import Iterator

from engine.constraints.device_demand import claims_in, parts_of
from engine.constraints.device_pools import Pools
from engine.constraints.device_search import SearchError, available
from engine.constraints.telling_claims import DevicesElsewhere, DevicesLacking
from engine.constraints.volume_telling import reaches, terms_text
from engine.model.device_uses import DeviceUse
from engine.model.devices import ALL, ResourceClaim
from engine.state.columns import Columns
from engine.state.devices import Devices


def out_of_reach(
    devices: Devices, columns: Columns, uses: tuple[DeviceUse, ...], slot: int
) -> Iterator[DevicesElsewhere]:
    """Claims whose devices are on other nodes."""
    for claim in claims_in(devices, uses):
        allocation = claim.allocation
        if allocation is None or allocation.node_selector is None:
            continue
        terms = allocation.node_selector.node_selector_terms
        if not reaches(columns, terms, slot):
            names = tuple(f"{one.driver}/{one.pool}/{one.device}" for one in allocation.devices.results or ())
            yield DevicesElsewhere(_name(claim), names, terms_text(terms))


def not_to_be_had(devices: Devices, uses: tuple[DeviceUse, ...], pools: Pools) -> Iterator[DevicesLacking]:
    """The requests of claims that have no devices: first those that fail by themselves, else all of them."""
    found = [one for claim in claims_in(devices, uses) for one in _requests(devices, claim, pools)]
    short = [one for one in found if one.gap > 0]
    yield from short or found


def _requests(devices: Devices, claim: ResourceClaim, pools: Pools) -> Iterator[DevicesLacking]:
    if claim.allocation is not None:
        return
    seen = sum(len(pool.devices) for pool in pools)
    for request in claim.spec.devices.requests or ():
        for name, asked in parts_of(request):
            try:
                meant, free = available(name, asked, pools, devices)
            except SearchError:
                continue  # the sentence says what is wrong with it
            number = None if asked.allocation_mode == ALL else asked.count
            yield DevicesLacking(_name(claim), name, asked.device_class_name, number, seen, meant, free)


def _name(claim: ResourceClaim) -> str:
    return f"{claim.metadata.namespace}/{claim.metadata.name}"
