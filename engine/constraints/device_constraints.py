"""What the devices of a claim must have in common, or not.

Source: ``k8s.io/dynamic-resource-allocation/structured`` (constraint).
"""

from __future__ import annotations

from engine.constraints.device_pools import Offered
from engine.model.devices import DeviceConstraint


class AttributeConstraint:
    """Attributes of the devices chosen so far, and whether another fits to them.

    Args:
        written: The constraint of a claim.
    """

    def __init__(self, written: DeviceConstraint) -> None:
        self._requests = frozenset(written.requests or ())
        self._distinct = written.match_attribute is None
        self._attribute = written.match_attribute or written.distinct_attribute or ""
        self._values: list[tuple[str, str | int | bool]] = []

    def concerns(self, request: str, alternative: str) -> bool:
        """Whether it is about a request, or about one alternative of it, named in full."""
        return not self._requests or request in self._requests or alternative in self._requests

    def add(self, device: Offered) -> bool:
        """Choose a device; False where it does not fit, and so is not chosen."""
        value = attribute_of(device, self._attribute)
        if value is None or (self._values and (value in self._values) is self._distinct):
            return False
        self._values.append(value)
        return True

    def remove(self) -> None:
        """Choose the last one no longer."""
        self._values.pop()


def attribute_of(device: Offered, name: str) -> tuple[str, str | int | bool] | None:
    """The value of an attribute by its full name; a driver's own need not be written in full."""
    attributes = device.device.attributes or {}
    found = attributes.get(name)
    if found is None:
        domain, _, key = name.partition("/")
        found = attributes.get(key) if domain == device.id.driver else None
    return found.value if found is not None else None
