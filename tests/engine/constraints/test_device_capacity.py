"""What a request takes of a device's amounts."""

from __future__ import annotations

import pytest

from engine.constraints.device_capacity import consumption
from engine.model.device_capacity import (
    CapacityPolicy,
    CapacityRange,
    CapacityRequirements,
    DeviceCapacity,
)

PLAIN = None
DEFAULT = CapacityPolicy("1Gi")
VALUES = CapacityPolicy("2Gi", ("1Gi", "2Gi", "8Gi"))
RANGE = CapacityPolicy("1Gi", None, CapacityRange("1Gi"))
CAPPED = CapacityPolicy("1Gi", None, CapacityRange("1Gi", "8Gi"))
STEPS = CapacityPolicy("1Gi", None, CapacityRange("1Gi", "8Gi", "2Gi"))
ODD = CapacityPolicy("1", None, CapacityRange("1", "8", "3"))

TAKEN: dict[str, tuple[CapacityPolicy | None, str | None, str | None]] = {
    "nothing asked: all": (PLAIN, None, "10Gi"),
    "as asked": (PLAIN, "3Gi", "3Gi"),
    "all of it": (PLAIN, "10Gi", "10Gi"),
    "more than there is": (PLAIN, "11Gi", None),
    "no quantity": (PLAIN, "much", None),
    "the default": (DEFAULT, None, "1Gi"),
    "a default says nothing of others": (DEFAULT, "3Gi", "3Gi"),
    "a value": (VALUES, "2Gi", "2Gi"),
    "the next value": (VALUES, "2049Mi", "8Gi"),
    "beyond all values": (VALUES, "9Gi", None),
    "the default of values": (VALUES, None, "2Gi"),
    "below the range": (RANGE, "1", "1Gi"),
    "in the range": (RANGE, "1500Mi", "1500Mi"),
    "the end of the range": (CAPPED, "8Gi", "8Gi"),
    "beyond the range": (CAPPED, "9Gi", None),
    "on a step": (STEPS, "3Gi", "3Gi"),
    "up to a step": (STEPS, "3073Mi", "5Gi"),
    "up to a step beyond the range": (STEPS, "7169Mi", None),
    "a step without a suffix": (ODD, "5", "7"),
    "a fraction": (ODD, "1500m", "4"),
}


@pytest.mark.parametrize(("policy", "asked", "taken"), TAKEN.values(), ids=TAKEN)
def test_what_is_taken(policy: CapacityPolicy | None, asked: str | None, taken: str | None) -> None:
    requirements = None if asked is None else CapacityRequirements({"memory": asked})
    found = consumption(requirements, {"memory": DeviceCapacity("10Gi", policy)})
    assert (None if found is None else found["memory"].text) == taken


def test_every_amount_is_taken_of() -> None:
    there = {"memory": DeviceCapacity("10Gi", DEFAULT), "bandwidth": DeviceCapacity("100")}
    found = consumption(CapacityRequirements({"bandwidth": "5"}), there)
    assert found is not None
    assert {name: amount.text for name, amount in found.items()} == {"memory": "1Gi", "bandwidth": "5"}


def test_an_amount_that_is_not_there_cannot_be_had() -> None:
    assert consumption(CapacityRequirements({"other": "1"}), {"memory": DeviceCapacity("1")}) is None
    assert consumption(CapacityRequirements({"other": "1"}), None) is None
