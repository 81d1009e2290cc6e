"""Who has to go so that a pod fits, in the words of the reference: every node, every pod, everything counted anew."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import msgspec

from engine.model.objects import Node, Pod, PodDisruptionBudget, PodKey
from grammar.policy import CheckedPolicy
from tests.engine.naive.conditions import Scope, judge
from tests.engine.naive.neighbours import labels_of, selects
from tests.engine.naive.policies import Filter, bad_limit, expand, hard, missing_origin, stock_filters
from tests.engine.naive.world import World


@dataclass
class Candidate:
    node: str
    victims: list[Pod]
    violations: int

    def rank(self) -> tuple[float, ...]:
        priorities = [priority(pod) for pod in self.victims]
        start = min(started(pod) for pod in self.victims if priority(pod) == max(priorities))
        return (
            self.violations,
            max(priorities),
            sum(one + 2**31 for one in priorities),
            len(priorities),
            -start,
        )


def priority(pod: Pod) -> int:
    return pod.spec.priority or 0


def started(pod: Pod) -> float:
    return pod.status.start_time.timestamp() if pod.status.start_time else math.inf


def on(pod: Pod, node: str) -> Pod:
    """The same pod on a node, "" for nowhere."""
    return msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, node_name=node))


def moved(world: World, keys: set[PodKey], node: str) -> World:
    pods = {key: on(pod, node) if key in keys else pod for key, pod in world.pods.items()}
    return replace(world, pods=pods)


def filters(policy: CheckedPolicy, world: World, pod: Pod, now: float) -> list[Filter] | None:
    """All that must hold; None where the pod waits for a place that its delay is measured from. No fallbacks."""
    scope = Scope(world, pod, now)
    rules = [rule for rule in policy.rules if judge(rule.condition, None, scope)]
    if bad_limit(rules, pod) or missing_origin(rules, scope):
        return None
    bound = [f for rule in rules for s, inner in expand(rule.statements, scope) for f in hard(rule, s, inner)]
    return [*stock_filters(world, pod), *bound]


def bearable(policy: CheckedPolicy, world: World, pod: Pod, now: float) -> list[Node]:
    """The nodes that nothing refuses for what they are."""
    asked = filters(policy, world, pod, now) or []
    return [n for n in world.nodes.values() if all(f.passes(n, []) for f in asked if f.fixed)]


def fits(policy: CheckedPolicy, world: World, pod: Pod, node: Node, eligible: list[Node], now: float) -> bool:
    """With the pods that the node is promised to, and without them."""
    nominated = {
        other.key
        for other in world.pods.values()
        if other.status.nominated_node_name == node.name
        and world.queued(other)
        and other.key != pod.key
        and priority(other) >= priority(pod)
    }
    for supposed in (moved(world, nominated, node.name), world):
        asked = filters(policy, supposed, pod, now)
        if asked is None or not all(f.passes(node, eligible) for f in asked):
            return False
    return True


def protected(pods: list[Pod], budgets: list[PodDisruptionBudget]) -> list[Pod]:
    left = [budget.status.disruptions_allowed for budget in budgets]
    found = []
    for pod in pods:
        hit = [
            i
            for i, budget in enumerate(budgets)
            if budget.metadata.namespace == pod.metadata.namespace
            and (labels_of(pod) and (budget.spec.selector.match_labels if budget.spec.selector else None))
            and selects(budget.spec.selector, labels_of(pod))
            and pod.metadata.name not in (budget.status.disrupted_pods or ())
        ]
        for i in hit:
            left[i] -= 1
        if any(left[i] < 0 for i in hit):
            found.append(pod)
    return found


def on_node(
    policy: CheckedPolicy,
    world: World,
    pod: Pod,
    node: Node,
    budgets: list[PodDisruptionBudget],
    eligible: list[Node],
    now: float,
) -> Candidate | None:
    lower = [other for other in world.holding(node.name) if priority(other) < priority(pod)]
    lower.sort(key=lambda other: (-priority(other), started(other), other.key))
    gone = {other.key for other in lower}
    if not lower or not fits(policy, moved(world, gone, ""), pod, node, eligible, now):
        return None
    spared = protected(lower, budgets)
    violations = 0
    for other in [*spared, *(one for one in lower if one not in spared)]:
        if fits(policy, moved(world, gone - {other.key}, ""), pod, node, eligible, now):
            gone -= {other.key}
        elif other in spared:
            violations += 1
    victims = [other for other in lower if other.key in gone]
    return Candidate(node.name, victims, violations) if victims else None


def candidates(
    policy: CheckedPolicy, world: World, pod: Pod, budgets: list[PodDisruptionBudget], now: float
) -> list[Candidate]:
    """All nodes where room can be made, the best first."""
    eligible = bearable(policy, world, pod, now)
    found = [on_node(policy, world, pod, node, budgets, eligible, now) for node in eligible]
    return sorted((one for one in found if one is not None), key=Candidate.rank)


def feasible(policy: CheckedPolicy, world: World, pod: Pod, now: float) -> set[str]:
    """The nodes that can take the pod as things are."""
    eligible = bearable(policy, world, pod, now)
    return {n.name for n in world.nodes.values() if fits(policy, world, pod, n, eligible, now)}
