"""Does everything that a loss takes fit somewhere at the same time? All orders, all places."""

from __future__ import annotations

from itertools import product

from msgspec.structs import replace

from engine.model.objects import Condition, Pod, Taint
from grammar.policy import CheckedPolicy, Try
from tests.engine.naive import kubernetes
from tests.engine.naive.conditions import Scope, judge
from tests.engine.naive.policies import (
    bad_limit,
    expand,
    hard,
    judge_stage,
    member,
    missing_origin,
    stock_filters,
)
from tests.engine.naive.world import World

Kept = dict[str, dict[str, int]]
UNREACHABLE = tuple(
    Taint("node.kubernetes.io/unreachable", "", effect) for effect in ("NoSchedule", "NoExecute")
)


def after_loss(world: World, lost: set[str]) -> World:
    """The world in which nobody hears of the nodes any more, and their pods are gone from them."""
    left = World(delays=world.delays, namespaces=world.namespaces, groupings=world.groupings)
    for name, node in world.nodes.items():
        if name in lost:
            others = tuple(one for one in node.status.conditions or () if one.type != "Ready")
            left.nodes[name] = replace(
                node,
                spec=replace(node.spec, taints=(*(node.spec.taints or ()), *UNREACHABLE)),
                status=replace(node.status, conditions=(*others, Condition("Ready", "Unknown"))),
            )
        else:
            left.nodes[name] = node
    for key, pod in world.pods.items():
        if world.node_of(pod) in lost:
            left.pods[key] = replace(pod, spec=replace(pod.spec, node_name=""))
        else:
            left.pods[key] = pod
    return left


def legal(policy: CheckedPolicy, world: World, pod: Pod, now: float) -> set[str]:
    """The nodes that some combination of steps which is open at once lets pass."""
    scope = Scope(world, pod, now)
    rules = [rule for rule in policy.rules if judge(rule.condition, None, scope)]
    if bad_limit(rules, pod) or missing_origin(rules, scope):
        return set()
    tries = [(rule, s) for rule in rules for s in rule.statements if isinstance(s, Try)]
    stock = stock_filters(world, pod)
    bound = [f for rule in rules for s, inner in expand(rule.statements, scope) for f in hard(rule, s, inner)]
    found: set[str] = set()
    for combination in product(*(range(len(t.steps)) for _, t in tries)):
        opens = [
            sum(s.after_ms for s in t.steps[: i + 1]) for (_, t), i in zip(tries, combination, strict=True)
        ]
        if max(opens, default=0.0) > 0:
            continue
        waived = {name for (_, t), i in zip(tries, combination, strict=True) for name in t.steps[i].waiving}
        members = [
            member(rule, policy.node_set(t.steps[i].nodes).condition, scope)
            for (rule, t), i in zip(tries, combination, strict=True)
        ]
        filters = [*stock, *(f for f in bound if f.name not in waived), *members]
        outcome = judge_stage(filters, [], world, pod)
        found |= {name for name, code in outcome.first_refusal.items() if code is None}
    return found


def asked(pod: Pod) -> dict[str, int]:
    return {**{r: v for r, v in kubernetes.requests(pod).items() if v > 0}, "pods": 1}


def fits(
    policy: CheckedPolicy,
    world: World,
    pods: list[Pod],
    lost: set[str],
    kept: Kept | None,
    now: float,
) -> bool:
    """Whether there is an order, and a node for each pod that takes it when its turn comes."""
    if not pods:
        return True
    for pod in pods:
        rest = [one for one in pods if one.key != pod.key]
        for name in legal(policy, world, pod, now) - lost:
            need = asked(pod)
            if kept is not None and any(kept.get(name, {}).get(r, 0) < v for r, v in need.items()):
                continue
            world.assumed[pod.key] = name
            left = kept
            if kept is not None:
                here = kept[name]
                left = {**kept, name: {r: here.get(r, 0) - need.get(r, 0) for r in here}}
            done = fits(policy, world, rest, lost, left, now)
            del world.assumed[pod.key]
            if done:
                return True
    return False
