"""Whether a node has room, and how evenly it would be used: resources and host ports.

Sources: kube-scheduler's plugins NodePorts, NodeResourcesFit (least allocated) and NodeResourcesBalancedAllocation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from engine.constraints.protocol import MAX_SCORE, Depends, Mask, Normalization, Slots, Vector
from engine.constraints.telling import PortTaken, Room, Value
from engine.model.shape import HostPort, Shape
from engine.model.well_known import ANY_ADDRESS
from engine.state.columns import PODS, SCORED, Columns
from engine.state.labels import Where


class NodePorts:
    """Keeps a pod off nodes where a host port that it takes is taken."""

    name = "NodePorts"
    citation = None
    depends = Depends.USAGE
    eased_by_leaving = True

    def __init__(self, shape: Shape, columns: Columns) -> None:
        self._ports = shape.host_ports
        self._columns = columns

    @staticmethod
    def applies(shape: Shape) -> bool:
        """Whether the pod takes any host port."""
        return bool(shape.host_ports)

    def passes(self, where: Where) -> Mask:
        """True where none of the ports is taken."""
        mask = np.ones(self._columns.capacity, dtype=np.bool_)
        for port in self._ports:
            for slot, addresses in self._columns.ports.get((port.protocol, port.port), {}).items():
                if _conflict(port, addresses):
                    mask[slot] = False
        return mask[where]

    def reasons(self, refused: Slots) -> Counter[str]:
        """One sentence for all."""
        return Counter({"node(s) didn't have free ports for the requested pod ports": len(refused)})

    def values(self, slot: int) -> tuple[Value, ...]:
        """The ports that are taken."""
        taken = self._columns.ports
        return tuple(
            PortTaken(port.protocol, port.port, port.ip)
            for port in self._ports
            if (held := taken.get((port.protocol, port.port), {}).get(slot)) and _conflict(port, held)
        )


def _conflict(port: HostPort, addresses: dict[str, int]) -> bool:
    return port.ip == ANY_ADDRESS or port.ip in addresses or ANY_ADDRESS in addresses


class NodeResourcesFit:
    """Keeps a pod off nodes without room for its requests. One more pod must always be allowed.

    Args:
        shape: The pod's.
        columns: The nodes.
        devices: Resources for which a class of devices stands: nodes that do not offer them are another's matter.
    """

    name = "NodeResourcesFit"
    citation = None
    depends = Depends.NODE | Depends.USAGE

    def __init__(self, shape: Shape, columns: Columns, devices: Collection[str] = ()) -> None:
        self._devices = frozenset(devices)
        self._requests = [(resource, value) for resource, value in shape.requests.items() if value > 0]
        self._requests.append((PODS, 1))
        self._columns = columns

    def passes(self, where: Where) -> Mask:
        """True where every request fits into what is left."""
        mask: Mask | None = None
        for resource, value in self._requests:
            fits = self._fits(resource, value, where)
            mask = fits if mask is None else mask & fits
        assert mask is not None
        return mask

    def reasons(self, refused: Slots) -> Counter[str]:
        """Every resource that is short, each counting the nodes where it is."""
        reasons: Counter[str] = Counter()
        for resource, value in self._requests:
            short = int(np.count_nonzero(~self._fits(resource, value, refused)))
            if short:
                reasons["Too many pods" if resource == PODS else f"Insufficient {resource}"] = short
        return reasons

    def short_beside(self, slot: int, held: Mapping[str, int]) -> Counter[str]:
        """What a node is short of for the pod, were others there, too, that hold so much; `reasons` of one node."""
        columns, reasons = self._columns, Counter[str]()
        for resource, value in self._requests:
            allocatable = int(columns.resource(columns.allocatable, resource)[slot])
            used = int(columns.resource(columns.used, resource)[slot])
            elsewhere = resource in self._devices and allocatable == 0
            if used + held.get(resource, 0) + value > allocatable and not elsewhere:
                reasons["Too many pods" if resource == PODS else f"Insufficient {resource}"] = 1
        return reasons

    def values(self, slot: int) -> tuple[Value, ...]:
        """The resources that are short."""
        columns = self._columns
        where = np.array([slot])
        return tuple(
            Room(
                resource,
                value,
                int(columns.resource(columns.used, resource)[slot]),
                int(columns.resource(columns.allocatable, resource)[slot]),
            )
            for resource, value in self._requests
            if not self._fits(resource, value, where)[0]
        )

    def curable(self, refused: Slots) -> Mask:
        """True where the whole node would be enough."""
        columns = self._columns
        mask = np.ones(len(refused), dtype=np.bool_)
        for resource, value in self._requests:
            allocatable = columns.resource(columns.allocatable, resource)[refused]
            mask &= (allocatable >= value) | ((allocatable == 0) if resource in self._devices else False)
        return mask

    def _fits(self, resource: str, value: int, where: Where) -> Mask:
        columns = self._columns
        allocatable = columns.resource(columns.allocatable, resource)
        fits: Mask = (
            columns.used[resource][where] + value <= allocatable[where]
            if resource in columns.used
            else (allocatable[where] >= value)
        )
        return fits | (allocatable[where] == 0) if resource in self._devices else fits


class LeastAllocated:
    """The share of cpu and memory that stays free with the pod on the node, averaged. In whole numbers."""

    name = "NodeResourcesFit"
    citation = None
    depends = Depends.NODE | Depends.USAGE
    normalization = Normalization.NONE
    weight = 1.0

    def __init__(self, shape: Shape, columns: Columns) -> None:
        self._asked = np.array(shape.scoring, dtype=np.int64)[:, None]
        self._columns = columns

    def raw(self, where: Where) -> Vector:
        """0…100; a resource of which the node has none is left out of the average."""
        capacity = self._columns.allocatable_pair[:, where]
        free = capacity - self._columns.scoring_pair[:, where]
        free -= self._asked
        np.maximum(free, 0, out=free)
        # Where a node has nothing of a resource, nothing is free of it either, and the share is 0.
        free *= MAX_SCORE
        free //= np.maximum(capacity, 1)
        average: Vector = (free[0] + free[1]) // np.maximum((capacity > 0).sum(axis=0), 1)
        return average.astype(np.float64)


class BalancedAllocation:
    """How much the pod brings the node's use of cpu and memory towards, or away from, each other. In whole numbers.

    Half the difference between the balance with the pod and without it, around 75.
    """

    name = "NodeResourcesBalancedAllocation"
    citation = None
    depends = Depends.NODE | Depends.USAGE
    normalization = Normalization.NONE
    weight = 1.0

    def __init__(self, shape: Shape, columns: Columns) -> None:
        asked = [shape.requests.get(resource, 0) for resource in SCORED]
        self._asked = np.array(asked, dtype=np.int64)[:, None]
        self._columns = columns

    @staticmethod
    def applies(shape: Shape) -> bool:
        """A pod that asks for neither resource is not scored here, or all such pods would go to one node."""
        return bool(shape.requests.get("cpu", 0) or shape.requests.get("memory", 0))

    def raw(self, where: Where) -> Vector:
        """50…100."""
        capacity = self._columns.allocatable_pair[:, where]
        used = self._columns.used_pair[:, where]
        something = np.maximum(capacity, 1)
        gain = _balance((used + self._asked) / something) - _balance(used / something)
        score: Vector = MAX_SCORE // 2 + np.floor((MAX_SCORE // 2 + gain) / 2)
        # With one of the two missing there is no deviation: both balances are perfect.
        score[~capacity.all(axis=0)] = MAX_SCORE // 2 + MAX_SCORE // 4
        return score


def _balance(shares: NDArray[np.float64]) -> Vector:
    """How close the shares of two resources, shape (2, n), are to each other: 50…100."""
    np.minimum(shares, 1.0, out=shares)
    balance: Vector = np.floor((1 - np.abs((shares[0] - shares[1]) / 2)) * MAX_SCORE)
    return balance
