"""What is known of devices, who has which, and what we assume of that.

What a decision gives to a claim is assumed at once, so that no second claim is given it. An assumption lasts until the
cluster says what the claim has, or until it is taken back with the pod's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TypeVar

from engine.model.device_uses import DeviceBindings
from engine.model.devices import (
    Allocation,
    DeviceClass,
    DeviceId,
    DeviceObject,
    Holding,
    PoolId,
    ResourceClaim,
    ResourceSlice,
)
from engine.model.extended_resources import CLASS_PREFIX
from engine.model.objects import PodKey
from engine.model.storage import ClaimName
from engine.state.changes import ChangeLog
from engine.state.columns import Columns

_ANYWHERE = ""
"""The node of a slice whose devices are not on one node."""


class Devices:
    """Classes, slices and claims as last seen, with what we assume.

    Args:
        columns: The nodes.

    Attributes:
        unknown: What is not known yet, so that no pod with claims of devices can be placed; "" where all is.
        freed: How often a device has become free.
        slice_changes: The slots of nodes whose own slices changed.
        shared_slices_version: Grows with every change of a slice that is not of one node.
        taken_changes: The slots of nodes of whose own devices some were taken or freed.
        shared_taken_version: Grows whenever devices that are not of one node are taken or freed, and with every change
            of a class.
    """

    def __init__(self, columns: Columns) -> None:
        self.unknown = ""
        self.freed = 0
        self.slice_changes = ChangeLog()
        self.taken_changes = ChangeLog()
        self.shared_slices_version = 0
        self.shared_taken_version = 0
        self._columns = columns
        self._classes: dict[str, DeviceClass] = {}
        self._standing_for: dict[str, DeviceClass] | None = None
        self._made_for: dict[str, dict[ClaimName, None]] = {}
        self._claims: dict[ClaimName, ResourceClaim] = {}
        self._slices: dict[str, ResourceSlice] = {}
        self._by_node: dict[str, dict[str, ResourceSlice]] = {}
        self._by_pool: dict[PoolId, dict[str, ResourceSlice]] = {}
        self._pool_nodes: dict[PoolId, Counter[str]] = {}
        self._held: Counter[Holding] = Counter()
        self._whole: set[DeviceId] = set()
        self._shares: Counter[DeviceId] = Counter()
        self._amounts: dict[DeviceId, Counter[str]] = {}
        self._assumed: dict[ClaimName, tuple[PodKey, str, Allocation]] = {}
        self._holders: dict[PodKey, tuple[ClaimName, ...]] = {}

    # Reading

    def claim(self, name: ClaimName) -> ResourceClaim | None:
        """The claim, None where it is not known."""
        return self._claims.get(name)

    def device_class(self, name: str) -> DeviceClass | None:
        """The class, None where it is not known."""
        return self._classes.get(name)

    def class_for(self, resource: str) -> DeviceClass | None:
        """The class that stands for an extended resource, None where none does; of several the newest.

        Source: ``k8s.io/dynamic-resource-allocation/deviceclass/extendedresourcecache``.
        """
        if resource.startswith(CLASS_PREFIX):
            return self._classes.get(resource.removeprefix(CLASS_PREFIX))
        if self._standing_for is None:
            self._standing_for = {}
            for found in sorted(self._classes.values(), key=_newness):
                if found.spec.extended_resource_name:
                    self._standing_for[found.spec.extended_resource_name] = found
        return self._standing_for.get(resource)

    def made_for(self, pod: PodKey) -> ResourceClaim | None:
        """A claim that was made for the pod's extended resources, None where there is none."""
        return next((self._claims[name] for name in self._made_for.get(pod.uid, ())), None)

    def slices_on(self, node: str) -> Mapping[str, ResourceSlice]:
        """The slices that are of this node alone, by name."""
        return self._by_node.get(node, {})

    def shared_slices(self) -> Mapping[str, ResourceSlice]:
        """The slices that are of no one node, by name."""
        return self._by_node.get(_ANYWHERE, {})

    def slices_of(self, pool: PoolId) -> Mapping[str, ResourceSlice]:
        """All slices of a pool, of all generations, by name."""
        return self._by_pool.get(pool, {})

    def taken(self, device: DeviceId) -> bool:
        """Whether somebody has all of the device, or we assume so."""
        return device in self._whole

    def used(self, device: DeviceId) -> bool:
        """Whether somebody has the device, or a share of it, or we assume so."""
        return device in self._whole or device in self._shares

    def shared(self, device: DeviceId) -> Mapping[str, int] | None:
        """What those take together that have a share of a device, in billionths; None where nobody takes anything."""
        return self._amounts.get(device)

    def pending(self, claim: ResourceClaim) -> bool:
        """Whether we have decided what the claim gets, and the cluster does not say so yet."""
        assumed = self._assumed.get(claim.name)
        return assumed is not None and assumed[1] == claim.metadata.uid and claim.allocation is None

    @property
    def assumed(self) -> int:
        """Of how many claims we assume something."""
        return len(self._assumed)

    # What the cluster says

    def put(self, item: DeviceObject) -> bool:
        """Take over an object; one that is older than what is known is not taken.

        Returns:
            Whether anything changed that can bear on where pods go.
        """
        match item:
            case DeviceClass():
                if not _news(self._classes.get(item.metadata.name), item):
                    return False
                self._classes[item.metadata.name] = item
                self._standing_for = None
                self.shared_taken_version += 1
            case ResourceSlice():
                if not _news(self._slices.get(item.name), item):
                    return False
                self._remove_slice(item.name)
                self._put_slice(item)
            case ResourceClaim():
                known = self._claims.get(item.name)
                if not _news(known, item):
                    return False
                self._claims[item.name] = item
                for uid in _pods_of(item):
                    self._made_for.setdefault(uid, {})[item.name] = None
                # The new first, so that what was assumed rightly is not free in between.
                self._hold(known.held if known is not None else frozenset(), item.held)
                assumed = self._assumed.get(item.name)
                # One that was still to be made has no uid in what was assumed.
                if assumed is not None and (
                    item.allocation is not None or assumed[1] not in ("", item.metadata.uid)
                ):
                    self._drop(item.name)
                return known is None or known.status != item.status or _leaving(known) != _leaving(item)
        return True

    def remove(self, item: DeviceObject) -> None:
        """Forget an object that is gone."""
        match item:
            case DeviceClass():
                if self._classes.pop(item.metadata.name, None) is not None:
                    self._standing_for = None
                    self.shared_taken_version += 1
            case ResourceSlice():
                self._remove_slice(item.name)
            case ResourceClaim():
                known = self._claims.pop(item.name, None)
                self._drop(item.name)
                if known is not None:
                    self._hold(known.held, frozenset())
                    for uid in _pods_of(known):
                        names = self._made_for.get(uid, {})
                        names.pop(item.name, None)
                        if not names:
                            self._made_for.pop(uid, None)

    def _put_slice(self, item: ResourceSlice) -> None:
        node, pool = item.spec.node_name or _ANYWHERE, item.pool_id
        self._slices[item.name] = item
        self._by_node.setdefault(node, {})[item.name] = item
        self._by_pool.setdefault(pool, {})[item.name] = item
        self._pool_nodes.setdefault(pool, Counter())[node] += 1
        self._sliced(pool, node)

    def _remove_slice(self, name: str) -> None:
        known = self._slices.pop(name, None)
        if known is None:
            return
        node, pool = known.spec.node_name or _ANYWHERE, known.pool_id
        self._sliced(pool, node)
        _discard(self._by_node, node, name)
        _discard(self._by_pool, pool, name)
        nodes = self._pool_nodes[pool]
        nodes[node] -= 1
        if not nodes[node]:
            del nodes[node]
            if not nodes:
                del self._pool_nodes[pool]

    def _sliced(self, pool: PoolId, node: str) -> None:
        """A slice came or went: it counts for whether the pool is whole, on all nodes that have a part of it."""
        for one in (node, *self._pool_nodes.get(pool, ())):
            if one == _ANYWHERE:
                self.shared_slices_version += 1
            elif (slot := self._columns.slot(one)) is not None:
                self.slice_changes.touch(slot)

    # Who has what

    def _hold(self, before: frozenset[Holding], after: frozenset[Holding]) -> None:
        for holding in before - after:
            self._held[holding] -= 1
            if not self._held[holding]:
                del self._held[holding]
                self._give_back(holding)
                self.freed += 1
                self._touch(holding.device)
        for holding in after - before:
            self._held[holding] += 1
            if self._held[holding] == 1:
                self._give(holding)
                self._touch(holding.device)

    def _give(self, holding: Holding) -> None:
        if not holding.share:
            self._whole.add(holding.device)
            return
        self._shares[holding.device] += 1
        if holding.amounts:
            self._amounts.setdefault(holding.device, Counter()).update(dict(holding.amounts))

    def _give_back(self, holding: Holding) -> None:
        device = holding.device
        if not holding.share:
            self._whole.discard(device)
            return
        self._shares[device] -= 1
        if not self._shares[device]:
            del self._shares[device]
        if holding.amounts:
            amounts = self._amounts[device]
            amounts.subtract(dict(holding.amounts))
            if not any(amounts.values()):
                del self._amounts[device]

    def _touch(self, device: DeviceId) -> None:
        for node in self._pool_nodes.get(PoolId(device.driver, device.pool), ()):
            if node == _ANYWHERE:
                self.shared_taken_version += 1
            elif (slot := self._columns.slot(node)) is not None:
                self.taken_changes.touch(slot)

    # What we assume

    def assume(self, pod: PodKey, bindings: DeviceBindings) -> None:
        """Count devices as taken, as a pod's bindings have it."""
        names = []
        made = bindings.made
        claims = bindings.claims if made is None else (*bindings.claims, (made.claim, made.allocation))
        for claim, allocation in claims:
            if allocation is not None:
                self._drop(claim.name)
                self._assumed[claim.name] = (pod, claim.metadata.uid, allocation)
                self._hold(frozenset(), allocation.held)
                names.append(claim.name)
        self._holders[pod] = tuple(names)

    def forget(self, pod: PodKey) -> None:
        """Take back what was assumed for a pod; nothing where nothing was."""
        for name in self._holders.pop(pod, ()):
            assumed = self._assumed.get(name)
            if assumed is not None and assumed[0] == pod:
                self._drop(name)

    def _drop(self, name: ClaimName) -> None:
        assumed = self._assumed.pop(name, None)
        if assumed is not None:
            self._hold(assumed[2].held, frozenset())


_Key = TypeVar("_Key")


def _discard(index: dict[_Key, dict[str, ResourceSlice]], key: _Key, name: str) -> None:
    members = index[key]
    del members[name]
    if not members:
        del index[key]


def _pods_of(claim: ResourceClaim) -> list[str]:
    """The uids of the pods for whose extended resources a claim was made."""
    owners = claim.metadata.owner_references if claim.of_extended_resources else ()
    return [owner.uid for owner in owners if owner.controller]


def _newness(found: DeviceClass) -> tuple[float, list[int]]:
    """What orders classes that stand for the same, the one that counts last: it is newer, or its name comes first."""
    created = found.metadata.creation_timestamp
    return (
        created.timestamp() if created is not None else 0.0,
        [-ord(letter) for letter in found.metadata.name] + [1],
    )


def _leaving(claim: ResourceClaim) -> bool:
    return claim.metadata.deletion_timestamp is not None


def _news(known: DeviceObject | None, item: DeviceObject) -> bool:
    """Whether an object is not older than what is known, and says anything else. Versions of one server grow."""
    if known is None:
        return True
    before, after = known.metadata.resource_version, item.metadata.resource_version
    if before == after:
        return known != item
    return not (before.isdecimal() and after.isdecimal() and int(after) < int(before))
