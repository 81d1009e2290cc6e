"""Pods that have a node and wait for drivers to make their devices ready.

Source: kube-scheduler's plugin DynamicResources (PreBind, isPodReadyForBinding).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.constraints.device_conditions import BINDING_SECONDS, READY, due, pending, readiness
from engine.model.device_uses import DeviceBindings
from engine.model.objects import PodKey
from engine.model.storage import ClaimName
from engine.scheduler.waits import Waits
from engine.state.cache import Cache

BOUND: Final = READY
"""The verdict on a pod all whose devices are ready."""


class DeviceWaits:
    """Which pods wait for which claims.

    Args:
        cache: What is known of claims.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._waits = Waits[DeviceBindings]()

    def __contains__(self, key: object) -> bool:
        """Whether the pod waits."""
        return key in self._waits

    def __len__(self) -> int:
        """How many pods wait."""
        return len(self._waits)

    def add(self, key: PodKey, bindings: DeviceBindings, now: float) -> None:
        """The pod has its devices: it waits from now on. What was given earlier is waited for no longer than that."""
        claims = [self._cache.devices.claim(name) for name in bindings.awaited]
        ends = [end for claim in claims if claim is not None and (end := due(claim)) is not None]
        deadline = min([now + BINDING_SECONDS, *ends])
        self._waits.add(key, bindings, bindings.node, bindings.awaited, deadline)

    def drop(self, key: PodKey) -> bool:
        """The pod waits no longer. Returns whether it did."""
        return self._waits.drop(key)

    def concerned(self, claim: ClaimName) -> list[PodKey]:
        """The pods that wait for a claim."""
        return self._waits.concerned((claim,))

    def on(self, node: str) -> list[PodKey]:
        """The pods that are to go to a node."""
        return self._waits.on(node)

    def node_of(self, key: PodKey) -> str:
        """Where a waiting pod is to go."""
        return self._waits.node_of(key)

    def verdict(self, key: PodKey) -> str | None:
        """`BOUND`, or why nothing will come of it, or None while it has to wait on."""
        bindings = self._waits.what(key)
        if self._cache.columns.slot(bindings.node) is None:
            return f"node {bindings.node} is gone"
        verdicts = []
        for name in bindings.awaited:
            claim = self._cache.devices.claim(name)
            if claim is None:
                return f"resourceclaim {name} is gone"
            if not claim.reserved(key):
                return f"resourceclaim {name} was taken back"
            verdicts.append(readiness(claim))
        troubles = [verdict for verdict in verdicts if verdict]
        if troubles:
            return troubles[0]
        return None if None in verdicts else BOUND

    def expired(self, now: float) -> Iterator[tuple[PodKey, str]]:
        """The pods that have waited too long, with what to say of each."""
        for key in self._waits.expired(now):
            claims = [self._cache.devices.claim(name) for name in self._waits.what(key).awaited]
            lacking = [text for claim in claims if claim is not None for text in pending(claim)]
            yield key, f"devices were not ready within {BINDING_SECONDS:g} s: {'; '.join(lacking)}"

    def next_due(self) -> float | None:
        """When the next pod will have waited too long."""
        return self._waits.next_due()
