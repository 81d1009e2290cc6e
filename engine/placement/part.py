"""Which rules had a part in a placement: what each refused, which step its ``try`` opened, whom it ranked lower.

A rule is asked by itself: where two of them refuse a node, both have a part.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from engine.compile.requirements import Requirements, Stage
from engine.constraints.protocol import Slots, normalize
from engine.placement.decision import Decision
from engine.placement.evaluation import Evaluation
from engine.placement.placer import Placer
from engine.state.pods import PlacedPod


class Role(enum.Enum):
    """What a rule did."""

    REFUSED = "refuses"
    """It refuses nodes: of a pod that has a node only others, and only those that Kubernetes would let it have."""
    OPENED = "opens"
    """Its ``try`` went on to the set in which the node was found."""
    RANKED = "ranks lower"
    """Its preferences give nodes that would take the pod fewer points than the one that it got."""
    UNREADABLE = "cannot be applied"
    """It cannot be applied to the pod, which has to wait."""


@dataclass(frozen=True, slots=True)
class Part:
    """A rule's part in a placement.

    Attributes:
        rule: Its name.
        nodes: Those that it refused or ranked lower, by name.
        what: The set that was opened, or why the rule cannot be applied; else "".
    """

    rule: str
    role: Role
    nodes: tuple[str, ...] = ()
    what: str = ""

    def __str__(self) -> str:
        return f"rule {self.rule} {self.role.value} {self.what or ', '.join(self.nodes)}".rstrip()


def parts(
    placer: Placer,
    pod: PlacedPod,
    decision: Decision,
    now: float,
    waited_ms: float,
    besides: Collection[str] = (),
) -> tuple[Part, ...]:
    """The parts that rules had in a decision, at the moment when it was made.

    Args:
        placer: Decided.
        pod: About whom; still as it was then, without a node.
        decision: What was decided.
        now: Seconds since the epoch.
        waited_ms: For how long the pod had been found unschedulable.
        besides: Nodes that do not count.
    """
    requirements = placer.requirements(pod, now)
    refused: dict[str, set[str]] = {}
    for position, stage in enumerate(requirements.stages[: decision.stage + 1]):
        if stage.after_ms > waited_ms:
            continue
        evaluation = placer.evaluation(pod, now, position)
        for rule, slots in _refusals(placer, evaluation, decision.node is not None):
            names = {placer.columns.names[slot] for slot in slots.tolist()}
            refused.setdefault(rule, set()).update(names.difference(besides, (decision.node,)))
    found = [Part(rule, Role.REFUSED, tuple(sorted(nodes))) for rule, nodes in refused.items() if nodes]
    if decision.node is None:
        if requirements.troubled_by is not None:
            found.append(Part(requirements.troubled_by, Role.UNREADABLE, what=requirements.trouble or ""))
        return tuple(found)
    stages = requirements.stages
    found += [Part(rule, Role.OPENED, what=opened) for rule, opened in _opened(stages, decision.stage)]
    evaluation = placer.evaluation(pod, now, decision.stage)
    for rule, nodes in _outranked(placer, requirements, evaluation, decision.node, besides):
        found.append(Part(rule, Role.RANKED, nodes))
    return tuple(found)


def _refusals(placer: Placer, evaluation: Evaluation, allowed: bool) -> Iterator[tuple[str, Slots]]:
    """What each statement of a rule refuses; with ``allowed`` only where Kubernetes would let the pod go."""
    columns = placer.columns
    verdicts = list(zip(evaluation.filters, evaluation.verdicts(), strict=True))
    mask = columns.alive[columns.everywhere].copy()
    for constraint, passes in verdicts:
        if allowed and constraint.citation is None:
            mask &= passes
    for constraint, passes in verdicts:
        if constraint.citation is not None:
            yield constraint.citation.rule, np.flatnonzero(mask & ~passes)


def _opened(stages: Sequence[Stage], chosen: int) -> Iterator[tuple[str, str]]:
    """The rules whose ``try`` is beyond its first set, and the set that it has come to."""
    for first, member in zip(stages[0].members, stages[chosen].members, strict=True):
        if member.set_name != first.set_name and member.citation is not None:
            yield member.citation.rule, member.set_name


def _outranked(
    placer: Placer,
    requirements: Requirements,
    evaluation: Evaluation,
    node: str,
    besides: Collection[str],
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The rules by whose points the node is above others that fit, and these."""
    feasible = evaluation.feasible()
    columns = placer.columns
    names = [columns.names[slot] for slot in feasible.tolist()]
    if node not in names:
        return
    points: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]] = {}
    for score in requirements.ranks:
        if score.citation is not None:
            given = score.weight * normalize(score.raw(feasible), score.normalization)
            points[score.citation.rule] = points.get(score.citation.rule, np.zeros(len(names))) + given
    for rule, given in points.items():
        below = np.flatnonzero(given < given[names.index(node)]).tolist()
        lower = sorted({names[row] for row in below}.difference(besides))
        if lower:
            yield rule, tuple(lower)
