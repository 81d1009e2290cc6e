"""The outcome of a placement, as data. Sentences are made only when somebody asks."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.constraints.protocol import Depends, Filter, GlobalFilter, Mask
from engine.model.device_uses import DeviceBindings
from engine.model.objects import PodKey
from engine.model.storage import VolumeBindings
from engine.placement.hints import Hint

Codes = NDArray[np.int16]

VICTIMS_GOING: Final = "not eligible due to a terminating pod on the nominated node."
"""Why nobody looks for room."""
NEVER: Final = "not eligible due to preemptionPolicy=Never."
"""Likewise."""
NO_NODE: Final = 0
"""The code of a slot that holds no node."""
PASSES: Final = 32767
"""The code of a node that nothing refuses."""


_NOTHING: Final = Depends(0)


@dataclass(frozen=True, slots=True)
class Refusals:
    """For every slot, the first constraint that refused it.

    Attributes:
        codes: Shape (slots,): `NO_NODE`, `PASSES`, or 1 + the position in ``filters``. Filters stand in the stock
            scheduler's order, the policies' after them, so the smallest code is the first refusal.
        filters: The constraints.
    """

    codes: Codes
    filters: tuple[Filter | GlobalFilter, ...]

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return int(np.count_nonzero(self.codes != NO_NODE))

    @property
    def feasible(self) -> Mask:
        """Where the pod could go."""
        mask: Mask = self.codes == PASSES
        return mask

    def by_filter(self) -> list[tuple[Filter | GlobalFilter, NDArray[np.int64]]]:
        """The constraints that refused a node, each with the slots that it was the first to refuse."""
        found = (
            (constraint, np.flatnonzero(self.codes == code))
            for code, constraint in enumerate(self.filters, 1)
        )
        return [(constraint, slots) for constraint, slots in found if len(slots)]

    def depends(self) -> Depends:
        """What would have to change for an answer to change: all that the refusing constraints depend on."""
        flags = Depends(0)
        for constraint, _ in self.by_filter():
            flags |= constraint.depends
        return flags

    def reasons(self) -> list[tuple[str, int]]:
        """Sentences with the number of nodes that each is true of.

        Kubernetes' own stand first, in the stock scheduler's order, which is that of the text; then the rules'.
        """
        stock: Counter[str] = Counter()
        rules: Counter[str] = Counter()
        for constraint, slots in self.by_filter():
            (stock if constraint.citation is None else rules).update(constraint.reasons(slots))
        return [*sorted(stock.items(), key=lambda item: f"{item[1]} {item[0]}"), *rules.items()]


@dataclass(frozen=True, slots=True)
class MeasuredLimit:
    """A limit on a pod's delay, beside what it is on a node.

    Attributes:
        origin: What the delay is measured from.
        limit_ms: The most that the rule allows.
        delay_ms: The round trip of the node; NaN where nobody has measured it.
    """

    origin: str
    limit_ms: float
    delay_ms: float


@dataclass(frozen=True, slots=True)
class Victim:
    """A pod that goes so that another finds a node.

    Attributes:
        budgets: The disruption budgets that its going violates.
    """

    key: PodKey
    priority: int
    budgets: tuple[str, ...] = ()

    @property
    def protected(self) -> bool:
        """Whether its going violates a disruption budget."""
        return bool(self.budgets)


class Loss(enum.Enum):
    """What made the node with the victims the one: by the first of these it loses less than any other."""

    ONLY = "only-node"
    """Room can be made on no other of the nodes that were compared."""
    VIOLATIONS = "fewest-violations"
    """The fewest violated disruption budgets."""
    HIGHEST = "lowest-highest-priority"
    """The highest priority among the victims is the lowest."""
    SUM = "lowest-sum-of-priorities"
    """Their priorities are the lowest together."""
    NUMBER = "fewest-victims"
    """They are the fewest."""
    START = "latest-start"
    """The longest-running of those of the highest priority has run for the shortest time."""
    HASH = "hash"
    """Level in all of that: a hash of the pod and the node."""


@dataclass(frozen=True, slots=True)
class Preemption:
    """What came of looking for room, where no node could take a pod.

    Attributes:
        nodes: How many nodes there are.
        node: Where room can be made, None where nowhere.
        victims: Who has to go from there, the more important first; some may be on their way already.
        reasons: Why not elsewhere, or nowhere: sentences, with the number of nodes that each is true of.
        candidates: How many nodes were compared where room can be made.
        loss: What made this node the one, None where there is none.
        trouble: Why nobody looked, "" where somebody did.
    """

    nodes: int = 0
    node: str | None = None
    victims: tuple[Victim, ...] = ()
    reasons: tuple[tuple[str, int], ...] = ()
    trouble: str = ""
    candidates: int = 0
    loss: Loss | None = None

    def message(self) -> str:
        """The end of what is told of the pod, in the stock scheduler's form where room is made nowhere."""
        if self.trouble:
            return f"preemption: {self.trouble}"
        if self.node is not None:
            pods = "1 pod" if len(self.victims) == 1 else f"{len(self.victims)} pods"
            return (
                f"preemption: {pods} of lower priority must leave {self.node}, which is promised to this one."
            )
        told = ", ".join(f"{count} {reason}" for reason, count in self.reasons)
        return f"preemption: 0/{self.nodes} nodes are available: {told}."


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a pod goes, or why it goes nowhere.

    Attributes:
        node: The node, None where there is none.
        nodes: How many nodes there are.
        score: Of the chosen node: the policies' where they rank, else the stock scheduler's.
        feasible: How many nodes could have taken the pod.
        stage: The position of the stage of fallbacks that gave the answer, or was the last to be tried.
        opened: What a stage after the first had added, "" for the first.
        rules: The rules that select the pod.
        refusals: Why each other node not. Always there where no node is; else only if asked for.
        trouble: Why no node was even looked at, None where nodes were.
        retry_ms: In how many milliseconds the next stage opens, None where none is left.
        next_opens: What it adds, and when.
        volumes: What the pod's claims get there, None where they need nothing.
        devices: What its claims of devices get there, likewise.
        helped_by: Which changes could help, where there is no node.
        preemption: What came of looking for room, None where nobody asked.
        hint: What could help in particular, None where nothing more is known than ``helped_by``.
    """

    node: str | None
    nodes: int
    score: float = 0.0
    feasible: int = 0
    stage: int = 0
    opened: str = ""
    rules: tuple[str, ...] = ()
    refusals: Refusals | None = None
    trouble: str | None = None
    retry_ms: float | None = None
    next_opens: str = ""
    volumes: VolumeBindings | None = None
    devices: DeviceBindings | None = None
    helped_by: Depends = _NOTHING
    preemption: Preemption | None = None
    hint: Hint | None = None

    def message(self) -> str:
        """Why there is no node, in the stock scheduler's form, with the rules by name."""
        sentence = f"0/{self.nodes} nodes are available"
        if self.trouble is not None:
            return f"{sentence}: {self.trouble}."
        if self.refusals is not None:
            reasons = [f"{count} {reason}" for reason, count in self.refusals.reasons()]
            if reasons:
                sentence += ": " + ", ".join(reasons)
        sentence += "."
        if self.retry_ms is not None:
            sentence += f" Not tried yet: {self.next_opens}."
        if self.preemption is not None:
            sentence += f" {self.preemption.message()}"
        return sentence
