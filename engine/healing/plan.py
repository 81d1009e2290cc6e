"""What is to move, where to and why: values, made from the snapshot alone and checked before anything is done."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from engine.model.objects import PodKey
from grammar.policy import Heal


class Way(enum.Enum):
    """How a pod leaves its node."""

    EVICT = "evict"
    """By the eviction API: disruption budgets hold."""
    DELETE = "delete"
    """Its node is lost, so nobody is disrupted; it stays terminating until the node is back, or gone for good."""
    FORCE = "force"
    """Deleted without waiting for its node, which is gone, or by force as the rule says."""
    RECREATE = "recreate"
    """A bare pod: it is deleted, and made anew by us."""


@dataclass(frozen=True, slots=True)
class Move:
    """One pod that is to move.

    Attributes:
        pod: Which.
        source: The node that it is on.
        target: The node that its replacement is to get.
        way: How it leaves.
        heal: The rule that asks for it.
        why: A clause for people, values included: ``node n1 has been lost for 12s``, ``32 ms from edge-1, of 25``.
        backup: Whether the target is the place that was kept for it.
        stage: What the replacement falls back to there, "" where it is its first choice.
        helps: The pod that gets its room, where that is why it moves.
    """

    pod: PodKey
    source: str
    target: str
    way: Way
    heal: Heal
    why: str
    backup: bool = False
    stage: str = ""
    helps: PodKey | None = None


@dataclass(frozen=True, slots=True)
class Stay:
    """A pod that something is wrong with, and that stays where it is.

    Attributes:
        heal: The rule that was asked.
        reason: One word for metrics: ``held``, ``rate``, ``budget``, ``nowhere``, ``stateful``, ``bare``, ``young``, …
        why: A clause for people, with what to do where that is known.
    """

    pod: PodKey
    node: str
    heal: Heal
    reason: str
    why: str


@dataclass(frozen=True, slots=True)
class Held:
    """Nodes that are silent, and whose pods are left alone all the same.

    Attributes:
        subject: What is held: ``zone a``, ``node n1``.
        nodes: Its silent nodes, sorted.
        why: A clause for people: ``3 of 4 nodes of zone a fell silent: a cut link, not a crash``.
    """

    heal: Heal
    subject: str
    nodes: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """All that would be done now.

    Attributes:
        moves: In the order in which they are carried out.
        stays: What is wrong and stays.
        held: What is silent and left alone.
        due: When something more will be due if nothing changes, seconds since the epoch; None for never.
    """

    moves: tuple[Move, ...] = ()
    stays: tuple[Stay, ...] = ()
    held: tuple[Held, ...] = ()
    due: float | None = None
