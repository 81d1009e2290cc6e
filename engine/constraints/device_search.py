"""Which devices a node's pools have for a pod's claims: the first that will do, in the order of pools and slices.

Claims, their requests and the devices of each are gone through in order, and back where one finds nothing, so that
what is found is what the stock scheduler finds; so it is only where a device's turn comes that it matters that an
expression cannot be worked out for it. Devices of one request are only ever taken in their order, as other
orders of the same devices are no other solutions. Of a device that is given out in shares several requests may have
one, as far as its amounts go.

Source: ``k8s.io/dynamic-resource-allocation/structured`` (allocator).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from engine.constraints.device_capacity import Amounts as Shares
from engine.constraints.device_capacity import consumption
from engine.constraints.device_constraints import AttributeConstraint
from engine.constraints.device_pools import Amounts, Offered, Pool, Pools
from engine.constraints.device_selectors import SelectorError
from engine.constraints.wanted_devices import WantedDevices
from engine.model.devices import (
    ALL,
    EXACT_COUNT,
    MOST_DEVICES,
    DeviceConstraint,
    DeviceId,
    DeviceRequirements,
)
from engine.state.devices import Devices

STEPS: Final = 20_000
"""How many devices are tried in vain for one pod on one node before it is given up."""
ALL_STEPS: Final = 400_000
"""How many are tried for one pod on all nodes together: about a second's worth."""


class SearchError(Exception):
    """A claim that cannot be fulfilled on a node for a reason that is worth telling."""


Candidate = tuple[Pool, Offered, Shares | None]
"""A device, in its pool, and what is taken of it."""


@dataclass(frozen=True, slots=True)
class Part:
    """One way to fulfil a request.

    Attributes:
        name: As results have it: the request, or ``request/alternative``.
        request: The request.
        asked: What is asked for.
        number: How many devices.
        candidates: From which they are taken, in order: all of them, where all are asked for. Each with what is taken
            of its own amounts; None where it is not shared, so that nobody else may have the rest.
        faults: By position, why nobody can say whether a candidate is meant: that matters only if its turn comes.
    """

    name: str
    request: str
    asked: DeviceRequirements
    number: int
    candidates: tuple[Candidate, ...]
    faults: Mapping[int, SearchError]

    @property
    def all(self) -> bool:
        """Whether it is for all devices that are meant."""
        return self.asked.allocation_mode == ALL

    @property
    def admin(self) -> bool:
        """Whether it is for looking after devices, whoever uses them."""
        return bool(self.asked.admin_access)


@dataclass(frozen=True, slots=True)
class Found:
    """A device for a request.

    Attributes:
        part: The request, and how it is fulfilled.
        device: Which.
        share: What it takes of the device's own amounts; None where it has all of the device.
        counted: Whether it takes of the pool's shared amounts: a second share of one device does not.
    """

    part: Part
    device: Offered
    share: Shares | None = None
    counted: bool = False


class Patience:
    """How many more devices may be tried; one for all nodes."""

    __slots__ = ("left",)

    def __init__(self, left: int = ALL_STEPS) -> None:
        self.left = left


Solution = list[list[Found]]
"""By claim, in order."""


def search(
    wanted: tuple[WantedDevices, ...], pools: Pools, devices: Devices, patience: Patience | None = None
) -> Solution | None:
    """Devices for all claims at once, None where there are not.

    Raises:
        SearchError: Worth telling.
    """
    claims = [
        [
            _parts(request_index, claim, pools, devices)
            for request_index in range(len(claim.asked.requests or ()))
        ]
        for claim in wanted
    ]
    faulty = any(part.faults for claim in claims for parts in claim for part in parts)
    if not faulty and not all(map(all, claims)):
        return None
    for claim in claims:
        least = sum(min((part.number for part in parts), default=0) for parts in claim)
        if least > MOST_DEVICES:
            raise SearchError(
                f"number of requested devices {least} exceeds the claim limit of {MOST_DEVICES}"
            )
    constraints = [claim.asked.constraints or () for claim in wanted]
    return _Search(claims, constraints, devices, patience or Patience()).run()


def available(name: str, asked: DeviceRequirements, pools: Pools, devices: Devices) -> tuple[int, int]:
    """How many devices a request means, and how many of those can be given to it: for whoever explains.

    Raises:
        SearchError: There is no telling which it means.
    """
    expressions = _expressions(name, asked, devices)
    meant = [
        device
        for pool in pools
        if not pool.trouble
        for device in pool.devices
        if _selected(device, expressions)
    ]
    shares = asked.capacity is not None
    free = [
        device
        for device in meant
        if _free(device, asked, devices)
        and not ((device.shared or shares) and _share(device, asked, devices) is None)
    ]
    return len(meant), len(free)


def _parts(position: int, claim: WantedDevices, pools: Pools, devices: Devices) -> list[Part]:
    """The ways to fulfil a request that are not out of the question."""
    request = (claim.asked.requests or ())[position]
    if request.exactly is not None:
        ways = [(request.name, request.exactly)]
    else:
        ways = [(f"{request.name}/{one.name}", one) for one in request.first_available or ()]
    found = (_part(name, request.name, asked, pools, devices) for name, asked in ways)
    return [part for part in found if part is not None]


def _part(name: str, request: str, asked: DeviceRequirements, pools: Pools, devices: Devices) -> Part | None:
    expressions = _expressions(name, asked, devices)
    every = asked.allocation_mode == ALL
    if not every and asked.allocation_mode != EXACT_COUNT:
        raise SearchError(f"request {name}: unsupported count mode {asked.allocation_mode}")
    candidates: list[Candidate] = []
    faults: dict[int, SearchError] = {}
    for pool in pools:
        if pool.trouble:
            if every:
                raise SearchError(
                    f"request {name}: asks for all devices, but resource pool {pool.id} {pool.trouble}"
                )
            continue
        for device in pool.devices:
            if not every and _taken(device, asked, devices):
                continue
            try:
                if not _selected(device, expressions):
                    continue
            except SearchError as error:
                if every:
                    raise
                faults[len(candidates)] = error
                candidates.append((pool, device, None))
                continue
            if not every and not _tolerated(device, asked):
                continue
            share = None
            if device.shared or asked.capacity is not None:
                share = _share(device, asked, devices)
                if share is None:
                    continue
            candidates.append((pool, device, share if device.shared else None))
    if every:
        if not candidates or not all(_free(device, asked, devices) for _, device, _ in candidates):
            return None
        return Part(name, request, asked, len(candidates), tuple(candidates), {})
    if len(candidates) < asked.count and not faults:
        return None
    return Part(name, request, asked, asked.count, tuple(candidates), faults)


def _expressions(name: str, asked: DeviceRequirements, devices: Devices) -> list[tuple[str, str]]:
    """The expressions that a device must satisfy, each with what to call it."""
    class_ = devices.device_class(asked.device_class_name)
    if class_ is None:
        raise SearchError(f"request {name}: device class {asked.device_class_name} does not exist")
    found = []
    for where, selectors in (
        (f"class {asked.device_class_name}", class_.spec.selectors),
        (f"request {name}", asked.selectors),
    ):
        for position, selector in enumerate(selectors or ()):
            if selector.cel is None:
                raise SearchError(
                    f"{where}, selector #{position}: CEL expression empty (unsupported selector type?)"
                )
            found.append((f"{where}: selector #{position}", selector.cel.expression))
    return found


def _selected(device: Offered, expressions: list[tuple[str, str]]) -> bool:
    for where, expression in expressions:
        try:
            if not device.matches(expression):
                return False
        except SelectorError as error:
            raise SearchError(f"{where}: {error}") from error
    return True


def _share(device: Offered, asked: DeviceRequirements, devices: Devices) -> Shares | None:
    """What a request takes of a device's amounts, None where it is more than is left."""
    share = consumption(asked.capacity, device.device.capacity)
    if share is None or not device.shared:
        return share
    used = devices.shared(device.id) or {}
    capacities = device.capacities
    fits = all(amount.nanos + used.get(name, 0) <= capacities[name] for name, amount in share.items())
    return share if fits else None


def _free(device: Offered, asked: DeviceRequirements, devices: Devices) -> bool:
    """Whether nobody has all of it, and no taint keeps the request off."""
    return not _taken(device, asked, devices) and _tolerated(device, asked)


def _taken(device: Offered, asked: DeviceRequirements, devices: Devices) -> bool:
    """Whether somebody has all of it, and that matters."""
    return not asked.admin_access and devices.taken(device.id)


def _tolerated(device: Offered, asked: DeviceRequirements) -> bool:
    """Whether no taint keeps the request off."""
    return all(
        any(toleration.covers(taint) for toleration in asked.tolerations or ())
        for taint in device.device.taints or ()
        if taint.effect in ("NoSchedule", "NoExecute")
    )


class _Search:
    """One search."""

    def __init__(
        self,
        claims: list[list[list[Part]]],
        constraints: list[tuple[DeviceConstraint, ...]],
        devices: Devices,
        patience: Patience,
    ) -> None:
        self._claims = claims
        self._patience = patience
        self._constraints = [[AttributeConstraint(one) for one in written] for written in constraints]
        self._devices = devices
        self._found: Solution = [[] for _ in claims]
        self._used: dict[DeviceId, set[int]] = {}
        self._shared: dict[DeviceId, list[Shares]] = {}
        self._left: dict[int, Amounts] = {}
        self._steps = 0

    def run(self) -> Solution | None:
        try:
            return self._found if self._request(0, 0) else None
        except RecursionError:  # each device is one step down
            raise SearchError(
                "gave up trying to allocate devices, the pod's claims ask for too many"
            ) from None

    def _request(self, claim: int, request: int) -> bool:
        """Whether everything from a request on can be fulfilled."""
        if claim >= len(self._claims):
            return True
        if request >= len(self._claims[claim]):
            return self._request(claim + 1, 0)
        for part in self._claims[claim][request]:
            fits = len(self._found[claim]) + part.number <= MOST_DEVICES
            if fits and self._devices_of(claim, request, part, 0, 0):
                return True
        return False

    def _devices_of(self, claim: int, request: int, part: Part, have: int, start: int) -> bool:
        """Whether the rest of a request's devices, and all after it, can be found from a candidate on."""
        if have >= part.number:
            return self._request(claim, request + 1)
        # Of all devices none can be left out; of some, so many must be left as are wanted.
        last = start + 1 if part.all else len(part.candidates) - (part.number - have) + 1
        if part.faults:
            last = len(part.candidates)
        for position in range(start, last):
            pool, device, share = part.candidates[position]
            if position in part.faults:
                if self._found_already(claim, part, device):
                    continue
                raise part.faults[position]
            if self._take(claim, part, pool, device, share):
                if self._devices_of(claim, request, part, have + 1, position + 1):
                    return True
                self._give_back(claim, pool)
            self._in_vain()
        return False

    def _in_vain(self) -> None:
        """Only what came to nothing is counted: where all goes well, no number of nodes is too many."""
        self._steps += 1
        self._patience.left -= 1
        if self._steps > STEPS or self._patience.left < 0:
            raise SearchError("gave up trying to allocate devices, there are too many ways")

    def _take(self, claim: int, part: Part, pool: Pool, device: Offered, share: Shares | None) -> bool:
        if share is None and self._found_already(claim, part, device):
            return False
        if share is not None and not self._left_of(device, share):
            return False
        counted = bool(device.consumes) and not (share is not None and self._counts_already(device))
        if counted and not self._consume(pool, device):
            return False
        added: list[AttributeConstraint] = []
        for constraint in self._constraints[claim]:
            if not constraint.concerns(part.request, part.name):
                continue
            if not constraint.add(device):
                for one in added:
                    one.remove()
                if counted:
                    self._restore(pool, device)
                return False
            added.append(constraint)
        if share is None:
            self._used.setdefault(device.id, set()).add(claim)
        else:
            self._shared.setdefault(device.id, []).append(share)
        self._found[claim].append(Found(part, device, share, counted))
        return True

    def _found_already(self, claim: int, part: Part, device: Offered) -> bool:
        """Whether a device was found before, by whom it matters for."""
        users = self._used.get(device.id, set())
        return claim in users if part.admin else bool(users)

    def _give_back(self, claim: int, pool: Pool) -> None:
        """Take back what was found last for a claim."""
        found = self._found[claim].pop()
        device = found.device
        if found.share is None:
            self._used[device.id].discard(claim)
        else:
            self._shared[device.id].pop()
        for constraint in self._constraints[claim]:
            if constraint.concerns(found.part.request, found.part.name):
                constraint.remove()
        if found.counted:
            self._restore(pool, device)

    def _left_of(self, device: Offered, share: Shares) -> bool:
        """Whether a share is there besides those that somebody has, or that were found already."""
        found = self._shared.get(device.id)
        if not found:
            return True  # it was looked at when the candidates were
        used = self._devices.shared(device.id) or {}
        return all(
            amount.nanos + used.get(name, 0) + sum(one[name].nanos for one in found if name in one)
            <= device.capacities[name]
            for name, amount in share.items()
        )

    def _counts_already(self, device: Offered) -> bool:
        """Whether another share of a device has been counted in its pool's shared amounts."""
        return bool(self._shared.get(device.id)) or self._devices.shared(device.id) is not None

    def _consume(self, pool: Pool, device: Offered) -> bool:
        left = self._left.get(id(pool))
        if left is None:
            left = self._left[id(pool)] = dict(pool.counters)
            for one in self._takers(pool):
                for name, amount in one.consumes.items():
                    left[name] -= amount
        for name, amount in device.consumes.items():
            left[name] -= amount
        # Whatever lacks, even of what this device does not take: then the pool has been given out beyond what it is.
        if min(left.values()) < 0:
            self._restore(pool, device)
            return False
        return True

    def _restore(self, pool: Pool, device: Offered) -> None:
        left = self._left[id(pool)]
        for name, amount in device.consumes.items():
            left[name] += amount

    def _takers(self, pool: Pool) -> Iterator[Offered]:
        return (one for one in (*pool.devices, *pool.others) if one.consumes and self._devices.used(one.id))
