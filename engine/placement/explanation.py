"""Why a pod goes where it goes, for every node, as data: what refused it, which values decided, how it scored.

`explain` decides as `Placer.place` does and then takes the decision apart; it never decides anything itself.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice
from typing import Final

import numpy as np

from engine.compile.requirements import Requirements, Stage
from engine.constraints.protocol import Filter, GlobalFilter, Mask, Slots
from engine.constraints.telling import Telling, Value
from engine.constraints.telling_claims import TellingOfPod
from engine.placement.decision import Decision
from engine.placement.explanation_parts import (
    Explanation,
    FreeRoom,
    Help,
    NodeRefusal,
    NodeVerdict,
    RefusalGroup,
    Rule,
    ScorePart,
    Source,
    StageState,
    StageVerdict,
)
from engine.placement.explanation_scores import Choice, chosen
from engine.placement.placer import Placer
from engine.placement.promises import Promised
from engine.state.columns import PODS, Columns
from engine.state.pods import PlacedPod

__all__ = [
    "Explanation",
    "FreeRoom",
    "Help",
    "NodeRefusal",
    "NodeVerdict",
    "RefusalGroup",
    "Rule",
    "ScorePart",
    "Source",
    "StageState",
    "StageVerdict",
    "explain",
]

_STAGES: Final = 64
"""Stages that are looked into; pods with more have them counted, not judged."""
_EXAMPLES: Final = 3

Filters = Sequence[Filter | GlobalFilter]


def explain(
    placer: Placer,
    pod: PlacedPod,
    now: float,
    waited_ms: float = 0.0,
    all_reasons: bool = False,
    avoid: Collection[str] = (),
) -> Explanation:
    """Take a decision apart.

    Args:
        placer: Decides.
        pod: A cached pod that holds no room; see `engine.placement.explanation_pods` for others.
        now: Seconds since the epoch.
        waited_ms: For how long it has been found unschedulable.
        all_reasons: Whether every filter is asked about every node; else the first that refuses it speaks.
        avoid: Nodes that were not to be chosen, as in `Placer.place`.
    """
    decision = placer.place(pod, now, waited_ms, diagnose=True, preempt=True, avoid=avoid)
    requirements, columns = placer.requirements(pod, now), placer.columns
    nodes: list[NodeVerdict] = []
    groups: tuple[RefusalGroup, ...] = ()
    helps: tuple[Help, ...] = ()
    requires: tuple[Source, ...] = ()
    choice = Choice()
    nominated = placer.nominated(pod)
    if decision.refusals is not None:
        evaluation = placer.evaluation(pod, now, decision.stage)
        verdicts, filters = evaluation.verdicts(), decision.refusals.filters
        # What others were promised comes after all filters, and only where they let pass.
        verdicts += [
            one.passes(columns.everywhere) for one in filters[len(verdicts) :] if isinstance(one, Promised)
        ]
        choice = chosen(columns, requirements, evaluation, decision, nominated)
        sources = [Source.of(constraint) for constraint in filters]
        requires = tuple(sources)
        refused = _refused(columns, filters, sources, verdicts, all_reasons, pod)
        nodes = [*_fitting(columns, requirements, choice), *refused]
        groups = _groups(refused)
        if decision.node is None:
            helps = _helps(columns, filters, sources, verdicts, pod)
    else:
        nodes = [NodeVerdict(name, fits=False) for name in sorted(columns.node_names())]
    return Explanation(
        pod=pod.key,
        now=now,
        waited_ms=waited_ms,
        decision=decision,
        why=choice.why,
        runner_up=columns.names[choice.slots[1]] if len(choice.slots) > 1 else None,
        nodes=tuple(nodes),
        groups=groups,
        helps=helps,
        room=_room(columns, pod),
        stages=_stages(placer, pod, now, waited_ms, decision, requirements.stages),
        rules=_rules(placer, requirements),
        requires=requires,
        nominated=nominated,
    )


def _fitting(columns: Columns, requirements: Requirements, choice: Choice) -> list[NodeVerdict]:
    """The nodes that fit, by their rank."""
    ranking = [Source.of(score) for score in requirements.ranks or requirements.stock]
    breaking = [Source.of(score) for score in requirements.stock]
    return [
        NodeVerdict(
            name=columns.names[slot],
            fits=True,
            parts=_parts(ranking, choice.parts[row]),
            total=choice.totals[row],
            tie_break=_parts(breaking, choice.tie_parts.get(slot, ())),
            tie_break_total=choice.tie_totals.get(slot),
        )
        for row, slot in enumerate(choice.slots)
    ]


def _parts(
    sources: Sequence[Source], numbers: Sequence[tuple[float | None, float, float]]
) -> tuple[ScorePart, ...]:
    return tuple(ScorePart(source, *row) for source, row in zip(sources, numbers, strict=False))


def _refused(
    columns: Columns,
    filters: Filters,
    sources: Sequence[Source],
    verdicts: Sequence[Mask],
    all_reasons: bool,
    pod: PlacedPod,
) -> list[NodeVerdict]:
    """The nodes that don't fit, by name."""
    alive = columns.alive[columns.everywhere]
    by_slot: dict[int, list[NodeRefusal]] = {}
    for constraint, source, passes in zip(filters, sources, verdicts, strict=True):
        for slot in np.flatnonzero(alive & ~passes).tolist():
            refusals = by_slot.setdefault(slot, [])
            if all_reasons or not refusals:
                refusals.append(_refusal(constraint, source, slot, pod))
    named = sorted((columns.names[slot], refusals) for slot, refusals in by_slot.items())
    return [NodeVerdict(name, fits=False, refusals=tuple(refusals)) for name, refusals in named]


def _refusal(constraint: Filter | GlobalFilter, source: Source, slot: int, pod: PlacedPod) -> NodeRefusal:
    values: tuple[Value, ...] = ()
    if isinstance(constraint, Telling):
        values = constraint.values(slot)
    elif isinstance(constraint, TellingOfPod):
        values = constraint.values_of(slot, pod)
    sentences = (_bare(sentence) for sentence in constraint.reasons(np.array([slot])))
    return NodeRefusal(source, ", ".join(sentences), values)


def _bare(sentence: str) -> str:
    """The sentence about one node, without whose it is and how other nodes do."""
    words = sentence.removeprefix("node(s) ")
    if words.endswith(")"):
        words = words.partition(" (rule ")[0]
    return words.partition(", the nearest at ")[0]


def _groups(refused: Sequence[NodeVerdict]) -> tuple[RefusalGroup, ...]:
    found: dict[tuple[Source, str], list[tuple[NodeVerdict, NodeRefusal]]] = {}
    for node in refused:
        for refusal in node.refusals:
            found.setdefault((refusal.source, refusal.reason), []).append((node, refusal))
    groups = []
    for (source, reason), members in found.items():
        members.sort(key=lambda member: (member[1].gap, member[0].name))
        names = tuple(node.name for node, _ in islice(members, _EXAMPLES))
        groups.append(RefusalGroup(source, reason, len(members), names, members[0][1].values))
    return tuple(sorted(groups, key=lambda group: (-group.nodes, str(group.source), group.reason)))


def _helps(
    columns: Columns,
    filters: Filters,
    sources: Sequence[Source],
    verdicts: Sequence[Mask],
    pod: PlacedPod,
) -> tuple[Help, ...]:
    """For each filter the nodes that no other refuses."""
    alive = columns.alive[columns.everywhere]
    refusing = np.sum([~passes for passes in verdicts], axis=0)
    helps = []
    for constraint, source, passes in zip(filters, sources, verdicts, strict=True):
        alone: Slots = np.flatnonzero(alive & ~passes & (refusing == 1))
        if not len(alone):
            continue
        refusals = [(_refusal(constraint, source, slot, pod), columns.names[slot]) for slot in alone.tolist()]
        nearest, name = min(refusals, key=lambda one: (one[0].gap, one[1]))
        helps.append(Help(source, nearest.reason, len(alone), name, nearest.values))
    return tuple(sorted(helps, key=lambda one: -one.nodes))


def _room(columns: Columns, pod: PlacedPod) -> tuple[FreeRoom, ...]:
    slots = np.flatnonzero(columns.alive[columns.everywhere])
    asked = {**{name: value for name, value in pod.shape.requests.items() if value > 0}, PODS: 1}
    room = []
    for resource, requested in asked.items():
        free = columns.resource(columns.allocatable, resource) - columns.resource(columns.used, resource)
        free = free[slots]
        best = int(free.argmax()) if len(free) else -1
        room.append(
            FreeRoom(
                resource,
                requested,
                max(int(free[best]), 0) if len(free) else 0,
                columns.names[slots[best]] if len(free) else "",
                int(np.count_nonzero(free >= requested)),
            )
        )
    return tuple(room)


def _stages(
    placer: Placer,
    pod: PlacedPod,
    now: float,
    waited_ms: float,
    decision: Decision,
    stages: Sequence[Stage],
) -> tuple[StageVerdict, ...]:
    found = []
    for position, stage in enumerate(stages):
        feasible = None
        if decision.trouble is None and position < _STAGES:
            feasible = placer.fitting(pod, now, position)
        if stage.after_ms > waited_ms:
            state = StageState.CLOSED
        elif decision.node is not None and position >= decision.stage:
            state = StageState.CHOSEN if position == decision.stage else StageState.OPEN
        else:
            state = StageState.TRIED if decision.trouble is None else StageState.OPEN
        sets = tuple(member.set_name for member in stage.members)
        waived = tuple(sorted(stage.waived))
        found.append(StageVerdict(state, sets, waived, stage.opens, stage.after_ms, feasible))
    return tuple(found)


def _rules(placer: Placer, requirements: Requirements) -> tuple[Rule, ...]:
    selected = set(requirements.rules)
    return tuple(
        Rule(rule.name, rule.span.file, rule.span.line)
        for rule in placer.plan.policy.rules
        if f"{rule.name} ({rule.span})" in selected
    )
