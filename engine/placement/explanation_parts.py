"""The parts of an explanation: values, which nothing here works out."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from engine.constraints.protocol import Filter, GlobalFilter, Score
from engine.constraints.telling import Value
from engine.model.objects import PodKey
from engine.placement.decision import Decision
from engine.placement.explanation_scores import Why


@dataclass(frozen=True, slots=True)
class Source:
    """What refuses or scores: a plugin of the stock scheduler, or a statement of a rule.

    Attributes:
        name: The plugin's, or the rule's.
        file: "" for a plugin.
        line: 0 for a plugin.
        text: The statement as it is written.
    """

    name: str
    file: str = ""
    line: int = 0
    text: str = ""

    @property
    def policy(self) -> bool:
        """Whether it is a rule's."""
        return bool(self.file)

    @classmethod
    def of(cls, constraint: Filter | GlobalFilter | Score) -> Source:
        """Who a constraint belongs to."""
        citation = constraint.citation
        if citation is None:
            return cls(constraint.name)
        return cls(citation.rule, citation.span.file or "policy", citation.span.line, citation.text)

    def __str__(self) -> str:
        return f"rule {self.name}, {self.file}:{self.line}" if self.policy else self.name


@dataclass(frozen=True, slots=True)
class NodeRefusal:
    """Why one node does not take the pod.

    Attributes:
        reason: A sentence of which the subject is the node, without who says it.
        values: What decided; empty where the constraint cannot tell.
    """

    source: Source
    reason: str
    values: tuple[Value, ...] = ()

    @property
    def gap(self) -> float:
        """How far it is from what would have done."""
        return max((value.gap for value in self.values), default=np.inf)


@dataclass(frozen=True, slots=True)
class ScorePart:
    """What one score says of one node.

    Attributes:
        raw: Before it is normalised over the nodes that fit; None where nobody knows it.
        normalised: 0…100.
        contribution: ``weight`` times ``normalised``.
    """

    source: Source
    raw: float | None
    normalised: float
    weight: float

    @property
    def contribution(self) -> float:
        """What it adds to the node's total."""
        return self.weight * self.normalised


@dataclass(frozen=True, slots=True)
class NodeVerdict:
    """One node.

    Attributes:
        refusals: Empty where it fits, or where no node was looked at. The first in the order in which they are asked,
            unless all were wanted.
        parts: Its scores, where it fits.
        total: Their sum; None where it does not fit.
        tie_break: The stock scheduler's scores, where the policies' left this node level with others at the top.
        tie_break_total: Their sum.
    """

    name: str
    fits: bool
    refusals: tuple[NodeRefusal, ...] = ()
    parts: tuple[ScorePart, ...] = ()
    total: float | None = None
    tie_break: tuple[ScorePart, ...] = ()
    tie_break_total: float | None = None


@dataclass(frozen=True, slots=True)
class RefusalGroup:
    """The nodes that were refused for one reason: the first of each, or every one where all were wanted.

    Attributes:
        nodes: How many.
        examples: Some of their names, the nearest to fitting first.
        values: What decided at the first of those.
    """

    source: Source
    reason: str
    nodes: int
    examples: tuple[str, ...]
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Help:
    """What would make the pod fit: nodes that one constraint alone keeps it from.

    Attributes:
        nodes: How many.
        nearest: The one that lacks the least.
        values: What decided there.
    """

    source: Source
    reason: str
    nodes: int
    nearest: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class FreeRoom:
    """A resource that the pod asks for, over all nodes.

    Attributes:
        requested: Millicores of cpu, whole units of others.
        most: The largest free amount of any node.
        node: Where that is; "" without nodes.
        enough: How many nodes have as much as is asked for.
    """

    resource: str
    requested: int
    most: int
    node: str
    enough: int


class StageState(enum.Enum):
    """Where a stage of fallbacks stands."""

    CHOSEN = "chosen"
    """It gave the node."""
    TRIED = "tried"
    """No node fits in it."""
    OPEN = "open"
    """It may be tried, but an earlier one gave the node."""
    CLOSED = "closed"
    """The pod has not waited long enough."""


@dataclass(frozen=True, slots=True)
class StageVerdict:
    """One stage of the pod's fallbacks.

    Attributes:
        sets: The node sets that it keeps to.
        waived: The rules that do not bind in it.
        opens: What it adds to the one before, "" for the first.
        after_ms: How long the pod must have been found unschedulable.
        feasible: How many nodes could take the pod in it; None where it was not looked into.
    """

    state: StageState
    sets: tuple[str, ...]
    waived: tuple[str, ...]
    opens: str
    after_ms: float
    feasible: int | None


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that selects the pod."""

    name: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that there is to say about one placement.

    Attributes:
        waited_ms: For how long it has been found unschedulable, which opens fallbacks.
        decision: What was decided.
        why: What made the chosen node the one.
        runner_up: The best other node that fits, None where there is none.
        nodes: All of them: those that fit by their rank, then the others by name.
        groups: The refusals, the most frequent first.
        helps: Where there is no node: what would help, the most nodes first.
        room: The resources that the pod asks for.
        stages: In the order in which they are tried.
        rules: Those that select the pod.
        requires: Every filter that was asked, in that order.
        nominated: The node that is promised to it, "" where there is none.
    """

    pod: PodKey
    now: float
    waited_ms: float
    decision: Decision
    why: Why
    runner_up: str | None
    nodes: tuple[NodeVerdict, ...]
    groups: tuple[RefusalGroup, ...]
    helps: tuple[Help, ...]
    room: tuple[FreeRoom, ...]
    stages: tuple[StageVerdict, ...]
    rules: tuple[Rule, ...]
    requires: tuple[Source, ...]
    nominated: str = ""

    @property
    def feasible(self) -> int:
        """How many nodes fit; more than the decision counts, where it looked at the promised one alone."""
        return sum(node.fits for node in self.nodes)

    def node(self, name: str) -> NodeVerdict | None:
        """What is said of one node, None where there is no such."""
        return next((node for node in self.nodes if node.name == name), None)
