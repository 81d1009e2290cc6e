"""Whether what a test expects has come, and if not, why: in the words of the engine's own explanation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from engine.cli.aftermath import Moved
from engine.cli.clock_times import clock_time
from engine.cli.scene import Standing
from engine.cluster.simulated import Options
from engine.durations import text as duration
from engine.placement.explanation import Explanation, NodeVerdict, StageState
from engine.placement.part import Part, Role
from engine.scheduler.queue import BACKOFF_AT_MOST, FLUSH_SECONDS
from grammar.policy import CheckedPolicy, Heal, Rule
from grammar.policy_tests import Expect

_NODES: Final = 8
"""Nodes of which it is told why they do not take a pod."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of an ``expect``.

    Attributes:
        time: Seconds since the start of the test.
        standing: Where the pod was.
        parts: Who had a part in that, each as a clause.
        wrong: What is wrong, a clause; "" where nothing is.
        found: What was found instead, a clause; "" likewise.
        why: Why it is so, sentence by sentence.
        help: What could be done, "" where nothing is known.
    """

    expect: Expect
    time: float
    standing: Standing
    parts: tuple[str, ...] = ()
    wrong: str = ""
    found: str = ""
    why: tuple[str, ...] = ()
    help: str = ""

    @property
    def met(self) -> bool:
        """Whether it is as expected."""
        return not self.wrong


def judge(
    expect: Expect, standing: Standing, time: float, policy: CheckedPolicy, nodes: Sequence[str]
) -> Verdict:
    """Compare.

    Args:
        expect: What was expected.
        standing: Where the pod is.
        time: Seconds since the start of the test.
        policy: Where rules and heals are.
        nodes: The test's nodes.
    """
    pod = expect.pod
    told = tuple(_parts(standing, policy))
    if not standing.there:
        wrong = f"{pod} is not {_place(expect.node)}"
        gone = "it was deleted, and its successor is not there yet"
        return Verdict(expect, time, standing, told, wrong, f"found: {pod} is gone", (gone,))
    now = f"{pod} is {_place(standing.node)}{_since(standing)}"
    if standing.node != expect.node:
        wrong, help_ = f"{pod} is not {_place(expect.node)}", ""
        why: Iterable[str]
        if standing.node is None:
            why = _why_pending(standing, expect.node, nodes, time)
            help_ = _help_pending(standing, time)
        elif expect.node is None:
            why = (*_why_there(standing), *_why_not_pending(expect.because, standing, policy))
        else:
            why = (*_why_there(standing), *_why_not_on(expect.node, standing, policy))
        why = (*why, *_why_it_stays(standing))
        return Verdict(expect, time, standing, told, wrong, f"found: {now}", why, help_)
    if expect.because is None or _had_part(expect.because, standing):
        return Verdict(expect, time, standing, told)
    wrong = f"{pod} is {_place(standing.node)}, but not because of {expect.because}"
    because = (*_why_no_part(expect.because, standing, policy), *_others(told, standing))
    if standing.node is None and not told:
        because = (*because, *_why_pending(standing, None, nodes, time))
    return Verdict(expect, time, standing, told, wrong, f"found: {now}", because)


def _place(node: str | None) -> str:
    return "pending" if node is None else f"on {node}"


def _since(standing: Standing) -> str:
    if standing.since is None or standing.node is None:
        return ""
    return f", since {clock_time(standing.since)}"


# Who had a part


def _had_part(name: str, standing: Standing) -> bool:
    return any(part.rule == name for part in standing.parts) or any(
        one.move.heal.name == name for one in _moves(standing)
    )


def _moves(standing: Standing) -> tuple[Moved, ...]:
    return (standing.moved, *standing.helped) if standing.moved is not None else standing.helped


def _parts(standing: Standing, policy: CheckedPolicy) -> Iterator[str]:
    """Each part as a clause, those of heals first."""
    if standing.moved is not None:
        move = standing.moved.move
        yield f"{_heal(move.heal)} moved it from {move.source}: {move.why}"
    for one in standing.helped:
        move = one.move
        yield f"{_heal(move.heal)} moved {move.pod.name} from {move.source}, so that it has room"
    for part in standing.parts:
        yield _part(part, policy)


def _part(part: Part, policy: CheckedPolicy) -> str:
    return str(part).replace(f"rule {part.rule}", _rule(policy.rule(part.rule)), 1)


def _rule(rule: Rule) -> str:
    return f"rule {rule.name} ({rule.span})"


def _heal(heal: Heal) -> str:
    return f"heal {heal.name} ({heal.span})"


def _others(told: Sequence[str], standing: Standing) -> Iterator[str]:
    if told:
        yield f"it is {'pending' if standing.node is None else 'there'} because:"
        yield from (f"  {one}" for one in told)
    else:
        yield "no rule and no heal had a part in it"


def _why_no_part(name: str, standing: Standing, policy: CheckedPolicy) -> Iterator[str]:
    heal = next((one for one in policy.heals if one.name == name), None)
    if heal is not None:
        if standing.node is None:
            yield f"{_heal(heal)} moves pods; it keeps none waiting"
        else:
            yield f"{_heal(heal)} neither moved it there nor made room for it"
        return
    rule = policy.rule(name)
    explanation = standing.explanation
    if explanation is not None and all(one.name != name for one in explanation.rules):
        yield f"{_rule(rule)} does not select it"
    elif standing.node is None:
        yield f"{_rule(rule)} refuses no node"
    else:
        yield (
            f"{_rule(rule)} refuses no node that Kubernetes would let it have, "
            "opens no further set, and ranks no node lower"
        )


# Why a pod is where it is


def _why_there(standing: Standing) -> Iterator[str]:
    if standing.moved is not None:
        move = standing.moved.move
        kept = ", which was kept for it" if move.backup else ""
        when = clock_time(standing.moved.time)
        yield f"at {when} {_heal(move.heal)} moved it from {move.source} to {move.target}{kept}: {move.why}"
    explanation = standing.explanation
    if explanation is not None and explanation.decision.opened:
        yield f"it fell back to {explanation.decision.opened}"


def _why_it_stays(standing: Standing) -> Iterator[str]:
    """Why no heal has moved it."""
    if standing.silent_since is not None:
        lost = clock_time(standing.silent_since)
        grace = duration(Options().node_grace)
        yield (
            f"{standing.node} fell silent at {lost}; such a node counts as lost after {grace}, "
            "and what a heal waits for begins then"
        )
    for stay in standing.stays:
        yield f"{_heal(stay.heal)}: {stay.why}"


def _why_not_pending(because: str | None, standing: Standing, policy: CheckedPolicy) -> Iterator[str]:
    yield f"nothing refuses it on {standing.node}"
    explanation = standing.explanation
    rule = next((one for one in policy.rules if one.name == because), None)
    if rule is not None and explanation is not None and all(one.name != because for one in explanation.rules):
        yield f"{_rule(rule)} does not select it"


def _why_not_on(wanted: str, standing: Standing, policy: CheckedPolicy) -> Iterator[str]:
    """Why it did not go to a node when it was placed, nor before it fell back."""
    explanation, node = standing.explanation, standing.node
    if explanation is None or node is None:
        return
    found = explanation.node(wanted)
    if found is None:
        yield f"{wanted} was not there yet when it was placed"
    elif wanted in standing.refused:
        reserves = " or ".join(f"{one.name} ({one.span})" for one in policy.reserves if one.refuse)
        yield f"{wanted} was better, but reserve {reserves} refused it there: it could not keep a second place for all"
    elif not found.fits:
        yield from _refused(found)
        now = {refusal.source.name for refusal in found.refusals if refusal.source.policy}
        for part in standing.parts:
            if part.role is Role.REFUSED and wanted in part.nodes and part.rule not in now:
                yield f"{wanted}: {_rule(policy.rule(part.rule))} refused it before"
    else:
        yield from _lower(explanation, found, node)


def _lower(explanation: Explanation, found: NodeVerdict, node: str) -> Iterator[str]:
    chosen = explanation.node(node)
    if chosen is None or chosen.total is None or found.total is None:
        return
    if explanation.nominated:
        yield f"{found.name} fits, too, but {node} was promised to it"
    elif found.total < chosen.total:
        yield f"{found.name} fits, too, but scores lower: {found.total:.6g}, {node} {chosen.total:.6g}"
        for mine, other in zip(chosen.parts, found.parts, strict=True):
            if mine.contribution != other.contribution:
                who = f"{mine.source}" + (f": {mine.source.text}" if mine.source.text else "")
                yield f"  {other.contribution:.6g} and {mine.contribution:.6g} by {who}"
    elif (found.tie_break_total or 0.0) < (chosen.tie_break_total or 0.0):
        yield f"{found.name} is level with {node} by the policies; the stock scheduler's scores prefer {node}"
    else:
        yield f"{found.name} is level with {node} in every score; a hash decides then, which no test should rely on"


def _why_pending(standing: Standing, wanted: str | None, nodes: Sequence[str], time: float) -> Iterator[str]:
    explanation = standing.explanation
    if standing.trouble:
        yield f"no node takes it: {standing.trouble}"
        return
    if explanation is None:
        yield "the scheduler has not looked at it yet"
        return
    decision = explanation.decision
    if decision.trouble is not None:
        yield f"no node was looked at: {decision.trouble}"
    elif decision.node is not None and _asleep(standing, time):
        yield (
            f"{decision.node} takes it now, but it was tried at {clock_time(standing.since or 0.0)} last, and is "
            f"again when something comes that could help it, or {duration(FLUSH_SECONDS)} later: that time "
            "passes, as for an age, is nothing that comes"
        )
    elif decision.node is not None:
        yield (
            f"{decision.node} takes it now, but what no node took is tried again only after 1s, "
            f"later after as much as {duration(BACKOFF_AT_MOST)}"
        )
    else:
        yield from _nodes_refused(explanation, wanted, nodes)
        if decision.retry_ms is not None:
            yield f"not tried yet: {decision.next_opens}"


def _nodes_refused(explanation: Explanation, wanted: str | None, nodes: Sequence[str]) -> Iterator[str]:
    there = [verdict for verdict in explanation.nodes if verdict.name in nodes]
    there.sort(key=lambda verdict: verdict.name != wanted)
    for verdict in there[:_NODES]:
        yield from _refused(verdict)
    if len(there) > _NODES:
        yield f"and {len(there) - _NODES} more nodes"
    if not there:
        yield "there is no node"


def _refused(verdict: NodeVerdict) -> Iterator[str]:
    for refusal in verdict.refusals:
        values = "; ".join(str(value) for value in refusal.values)
        yield f"{verdict.name}: {refusal.source}: {refusal.reason}{f' ({values})' if values else ''}"


def _asleep(standing: Standing, time: float) -> bool:
    """Whether it was tried so long ago that it is not for its backoff that it waits."""
    return standing.since is not None and time - standing.since > BACKOFF_AT_MOST


def _help_pending(standing: Standing, time: float) -> str:
    """What would have to be waited for."""
    explanation = standing.explanation
    if explanation is None or standing.trouble:
        return ""
    if explanation.decision.node is not None and _asleep(standing, time):
        return f"let as much as {duration(FLUSH_SECONDS)} pass before, with `after`"
    if explanation.decision.node is not None:
        return "let time pass before, such as `after 10s`"
    for stage in explanation.stages:
        if stage.state is StageState.CLOSED and stage.feasible:
            missing = duration((stage.after_ms - explanation.waited_ms) / 1000)
            return f"let {missing} more pass before, with `after`: a node is found then in {stage.opens}"
    return ""
