"""How much a request takes of the amounts of a device: what it asks, rounded as the device's driver wants it.

Source: ``k8s.io/dynamic-resource-allocation/structured`` (consumable_capacity).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from engine.model.device_capacity import (
    CapacityPolicy,
    CapacityRange,
    CapacityRequirements,
    DeviceCapacity,
    Quantity,
)
from engine.model.quantity import NANO, QuantityError, parse

_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


class Amount(NamedTuple):
    """How much is taken, in billionths, and as it is written."""

    nanos: int
    text: str


Amounts = dict[str, Amount]
"""By what the device calls them."""


def consumption(
    asked: CapacityRequirements | None, there: Mapping[str, DeviceCapacity] | None
) -> Amounts | None:
    """What a request takes of a device that nobody else uses.

    Args:
        asked: The request's amounts; what it does not name it takes by default, or all of it.
        there: The device's.

    Returns:
        None where the device has no such amount, or not so much, or none of that size can be asked for.
    """
    requests = (asked.requests if asked is not None else None) or {}
    capacities = there or {}
    if not requests.keys() <= capacities.keys():
        return None
    found: Amounts = {}
    try:
        for name, capacity in capacities.items():
            amount = _amount(requests.get(name), capacity)
            if not _allowed(amount, capacity.request_policy) or amount.nanos > parse(capacity.value):
                return None
            found[name] = amount
    except QuantityError:
        return None  # what cannot be read cannot be had
    return found


def _amount(requested: Quantity | None, capacity: DeviceCapacity) -> Amount:
    policy = capacity.request_policy
    if requested is None:
        return _read(capacity.value if policy is None or policy.default is None else policy.default)
    amount = _read(requested)
    if policy is None:
        return amount
    if policy.valid_range is not None and policy.valid_range.min is not None:
        return _stepped(amount, policy.valid_range, policy.valid_range.min)
    return next((_read(one) for one in policy.valid_values or () if amount.nanos <= parse(one)), amount)


def _stepped(amount: Amount, valid: CapacityRange, least: Quantity) -> Amount:
    """The least that can be asked for and is not less."""
    if amount.nanos < parse(least):
        return _read(least)
    step = _whole(valid.step) if valid.step is not None else 0
    if step <= 0:
        return amount
    start = _whole(least)
    steps = -(-(_whole(amount.text) - start) // step)
    return _written(start + steps * step)


def _allowed(amount: Amount, policy: CapacityPolicy | None) -> bool:
    """Whether so much can be asked for. The default always can."""
    if policy is None or (policy.default is not None and amount.nanos == parse(policy.default)):
        return True
    valid = policy.valid_range
    if valid is not None:
        if valid.max is not None and amount.nanos > parse(valid.max):
            return False
        step = _whole(valid.step) if valid.step is not None else 0
        return step <= 0 or (_whole(amount.text) - _whole(valid.min or 0)) % step == 0
    return not policy.valid_values or any(amount.nanos == parse(one) for one in policy.valid_values)


def _read(text: Quantity) -> Amount:
    return Amount(parse(text), str(text))


def _whole(text: Quantity) -> int:
    """Whole units, rounded up."""
    return -(-parse(text) // NANO)


@lru_cache(maxsize=256)
def _written(units: int) -> Amount:
    """With the largest binary suffix that leaves a whole number, as Kubernetes writes it."""
    number, power = units, 0
    while number and number % 1024 == 0 and power < len(_BINARY) - 1:
        number, power = number // 1024, power + 1
    return Amount(units * NANO, f"{number}{_BINARY[power]}")
