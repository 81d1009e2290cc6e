"""Amounts that a device has, how of them can be asked for, and what is asked.

Source: resource.k8s.io/v1 (DeviceCapacity, CapacityRequestPolicy, CapacityRequirements).
"""

from __future__ import annotations

from engine.model.objects import Struct
from engine.model.quantity import QuantityError, parse

Quantity = str | int | float
"""As it is written."""


class CapacityRange(Struct, frozen=True):
    """Amounts that can be asked for: from the least to the most, in steps from the least on."""

    min: Quantity | None = None
    max: Quantity | None = None
    step: Quantity | None = None


class CapacityPolicy(Struct, frozen=True):
    """Which amounts can be asked for, and what one gets who does not say."""

    default: Quantity | None = None
    valid_values: tuple[Quantity, ...] | None = None
    valid_range: CapacityRange | None = None


class DeviceCapacity(Struct, frozen=True):
    """How much of something a device has."""

    value: Quantity = "0"
    request_policy: CapacityPolicy | None = None


class CapacityRequirements(Struct, frozen=True):
    """How much a request asks of a device, by what the device calls its amounts."""

    requests: dict[str, Quantity] | None = None


def nanos(amount: Quantity) -> int:
    """Billionths; 0 where it cannot be read."""
    try:
        return parse(amount)
    except QuantityError:
        return 0
