"""The order of a pod's fallbacks: every combination of the steps of its ``try`` statements, least relaxed first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

from engine.compile.conditions import Judge
from engine.compile.nodes import InNodeSet
from engine.compile.requirements import Stage
from engine.compile.telling import FactsOf
from engine.constraints.citation import Citation
from grammar.policy import CheckedPolicy, Condition, Rule, Try


def stages(
    tries: Sequence[tuple[Rule, Try]],
    policy: CheckedPolicy,
    judge: Callable[[Condition], Judge],
    facts: Callable[[Condition], FactsOf],
) -> tuple[Stage, ...]:
    """The stages of a pod, in the order in which they are tried.

    A combination comes before another if its steps are fewer in all; among those with as many, the one that relaxes
    the later statement. A stage opens when each of its steps has: the durations of a ``try`` add up along its steps.

    Args:
        tries: The ``try`` statements that bind the pod, with their rules.
        policy: Where the node sets are.
        judge: Makes a node set's condition ready.
        facts: Tells why a node is not in a set of that condition.
    """
    if not tries:
        return (Stage(),)
    members = [
        [_member(rule, statement, position, policy, judge, facts) for position in range(len(statement.steps))]
        for rule, statement in tries
    ]
    combinations = product(*(range(len(statement.steps)) for _, statement in tries))
    return tuple(
        _stage(tries, members, combination)
        for combination in sorted(combinations, key=lambda steps: (sum(steps), steps))
    )


def _member(
    rule: Rule,
    statement: Try,
    position: int,
    policy: CheckedPolicy,
    judge: Callable[[Condition], Judge],
    facts: Callable[[Condition], FactsOf],
) -> InNodeSet:
    name = statement.steps[position].nodes
    condition = policy.node_set(name).condition
    return InNodeSet(Citation(rule.name, statement.span), judge(condition), name, facts(condition))


def _stage(
    tries: Sequence[tuple[Rule, Try]], members: Sequence[Sequence[InNodeSet]], combination: tuple[int, ...]
) -> Stage:
    waived: set[str] = set()
    after = 0.0
    opens: list[str] = []
    for (rule, statement), step in zip(tries, combination, strict=True):
        waived.update(statement.steps[step].waiving)
        after = max(after, sum(earlier.after_ms for earlier in statement.steps[: step + 1]))
        if step:
            opens.append(f"{statement.steps[step].nodes} ({Citation(rule.name, statement.span)})")
    waits = f", after {after / 1000:g}s" if after else ""
    return Stage(
        after_ms=after,
        members=tuple(choices[step] for choices, step in zip(members, combination, strict=True)),
        waived=frozenset(waived),
        opens=", ".join(opens) + waits if opens else "",
    )
