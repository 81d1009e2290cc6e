"""What the scheduler tells of its own work, while it works: counts and durations, for whoever measures.

The loop calls these for each pod, so an implementation has some microseconds for all of them together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from engine.binder import Outcome
from engine.cluster.protocol import ResourceKind
from engine.placement import Decision


class Metrics(Protocol):
    """Takes what happens. Every method is called from the deciding thread."""

    def decided(self, decision: Decision, seconds: float) -> None:
        """A pod was placed, or found no node.

        Args:
            decision: Which.
            seconds: What it took to decide.
        """
        ...

    def bound(self, outcome: Outcome, attempts: int, whole: float, binding: float, waited: float) -> None:
        """A binding ended.

        Args:
            outcome: How.
            attempts: How often the pod was tried until now.
            whole: Seconds from the beginning of this attempt, so with the decision in it.
            binding: Seconds since the binding was handed over.
            waited: Seconds since the pod was first queued.
        """
        ...

    def erred(self) -> None:
        """A fault of our own, which cost one pod its attempt, or lost one message."""
        ...

    def watching(self, kind: ResourceKind, well: bool) -> None:
        """A watch fell into trouble, or stands again."""
        ...

    def queued(self, counts: Mapping[str, int]) -> None:
        """How many pods wait in each part of the queue; told about once a second."""
        ...

    def plan_in_force(self, rules: int) -> None:
        """Other policies are in force, with so many rules."""
        ...

    def delays_in_force(self, endpoints: int) -> None:
        """Other delays are in force, of so many endpoints."""
        ...

    def reserved(self, reserve: str, covered: int, uncovered: int, memory: int, held: int) -> None:
        """What a reserve keeps.

        Args:
            reserve: Its name.
            covered: Pods that a place is kept for.
            uncovered: Pods that none could be kept for.
            memory: Bytes that are to be kept.
            held: Bytes that placeholders hold.
        """
        ...

    def moved(self, heal: str, way: str, result: str) -> None:
        """A move began (``sent``), or came to something: ``placed``, ``refused``, ``lapsed``."""
        ...

    def unhealed(self, stays: Mapping[tuple[str, str], int], held: Mapping[str, int]) -> None:
        """What is wrong now and stays.

        Args:
            stays: Pods by heal and reason.
            held: Silent nodes that are left alone, by heal.
        """
        ...


class Unmeasured:
    """Takes nothing in."""

    def decided(self, decision: Decision, seconds: float) -> None:
        """Nothing."""

    def bound(self, outcome: Outcome, attempts: int, whole: float, binding: float, waited: float) -> None:
        """Nothing."""

    def erred(self) -> None:
        """Nothing."""

    def watching(self, kind: ResourceKind, well: bool) -> None:
        """Nothing."""

    def queued(self, counts: Mapping[str, int]) -> None:
        """Nothing."""

    def plan_in_force(self, rules: int) -> None:
        """Nothing."""

    def delays_in_force(self, endpoints: int) -> None:
        """Nothing."""

    def reserved(self, reserve: str, covered: int, uncovered: int, memory: int, held: int) -> None:
        """Nothing."""

    def moved(self, heal: str, way: str, result: str) -> None:
        """Nothing."""

    def unhealed(self, stays: Mapping[tuple[str, str], int], held: Mapping[str, int]) -> None:
        """Nothing."""


UNMEASURED: Final[Metrics] = Unmeasured()
