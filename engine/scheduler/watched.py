"""What the scheduler watches, and how far it is in step with it."""

from __future__ import annotations

from typing import Final

from engine.cluster.protocol import DEVICES, STORAGE, ResourceKind

WATCHED: Final = (
    ResourceKind.NAMESPACES,
    ResourceKind.SERVICES,
    ResourceKind.REPLICATION_CONTROLLERS,
    ResourceKind.REPLICA_SETS,
    ResourceKind.STATEFUL_SETS,
    ResourceKind.BUDGETS,
    ResourceKind.NODES,
    *STORAGE,
    *DEVICES,
    ResourceKind.PODS,
)
"""What is watched, in the order in which it is best told."""
_NEEDED: Final = frozenset(WATCHED) - frozenset(STORAGE) - frozenset(DEVICES)
"""What has to be known before anything is decided: only pods with claims need the rest."""


class Watched:
    """Which kinds have been listed, and which cannot be watched at the moment."""

    def __init__(self) -> None:
        self._listed: set[ResourceKind] = set()
        self._trouble: dict[ResourceKind, str] = {}

    @property
    def synced(self) -> bool:
        """Whether all that every decision needs has been listed once."""
        return self._listed >= _NEEDED

    @property
    def listed(self) -> frozenset[ResourceKind]:
        """What has been listed once."""
        return frozenset(self._listed)

    def trouble(self, kind: ResourceKind) -> str:
        """Why what is known of a kind may be old, "" where it is not."""
        return self._trouble.get(kind, "")

    def list(self, kind: ResourceKind) -> None:
        """All of a kind has been told."""
        self._listed.add(kind)

    def fail(self, kind: ResourceKind, text: str) -> None:
        """The watch of a kind does not stand."""
        self._trouble[kind] = text

    def recover(self, kind: ResourceKind) -> None:
        """It stands again."""
        self._trouble.pop(kind, None)
