"""Victims and nodes are those of the slow and obvious reference, and asking leaves no trace."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from random import Random

import msgspec
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from engine.model.objects import (
    BudgetSpec,
    BudgetStatus,
    Identity,
    LabelSelector,
    Pod,
    PodDisruptionBudget,
)
from engine.placement import Placer, Preemption
from engine.state.cache import Cache
from grammar.policy import CheckedPolicy, Try
from tests.engine import random_policies, worlds
from tests.engine.build import node, pod
from tests.engine.constraints import neighbourhoods
from tests.engine.naive import preemption as naive
from tests.engine.naive.world import World
from tests.engine.placement.compare import fresh

PRIORITIES = (None, -5, 0, 5, 10)


def with_priority(made: Pod, priority: int | None) -> Pod:
    return msgspec.structs.replace(made, spec=msgspec.structs.replace(made.spec, priority=priority))


def without_fallbacks(policy: CheckedPolicy) -> CheckedPolicy:
    return replace(
        policy,
        rules=tuple(
            replace(rule, statements=tuple(s for s in rule.statements if not isinstance(s, Try)))
            for rule in policy.rules
        ),
    )


def crowd(r: Random, world: World) -> None:
    """Pods of all priorities on the nodes, and some that a node is promised to."""
    present = tuple(world.nodes)
    for key, old in list(world.pods.items()):
        world.pods[key] = with_priority(old, r.choice(PRIORITIES))
    for number in range(r.randint(2, 8)):
        made = with_priority(worlds.pod(r, f"crowd-{number}", present), r.choice(PRIORITIES))
        start = None if r.random() < 0.2 else datetime.fromtimestamp(worlds.NOW - r.choice((1, 2, 3)), UTC)
        world.put_pod(
            msgspec.structs.replace(made, status=msgspec.structs.replace(made.status, start_time=start))
        )
    for number in range(r.choice((0, 0, 1, 2))):
        made = with_priority(worlds.pod(r, f"promised-{number}"), r.choice(PRIORITIES))
        status = msgspec.structs.replace(made.status, nominated_node_name=r.choice(present))
        world.put_pod(msgspec.structs.replace(made, status=status))


def budget(r: Random, name: str) -> PodDisruptionBudget:
    selector = r.choice((LabelSelector({"app": "a"}), LabelSelector({"app": "b"}), LabelSelector(), None))
    return PodDisruptionBudget(
        Identity(name, r.choice(worlds.NAMESPACES)),
        BudgetSpec(selector),
        BudgetStatus(r.choice((0, 0, 1)), {"crowd-1": None} if r.random() < 0.3 else None),
    )


def ask(placer: Placer, cache: Cache, asked: Pod) -> Preemption | None:
    placed = cache.pod(asked.key)
    assert placed is not None
    return placer.place(placed, worlds.NOW, preempt=True).preemption


def agree(world: World, policy: CheckedPolicy, asked: Pod, budgets: list[PodDisruptionBudget]) -> str:
    """Whether the placer and the reference say the same; returns what it was."""
    placer, cache = seen(world, policy, budgets)
    placed = cache.pod(asked.key)
    assert placed is not None
    decision = placer.place(placed, worlds.NOW, preempt=True)
    note(f"{policy}\n{world}\n{budgets}\n{asked}\n{decision}")
    if naive.filters(policy, world, asked, worlds.NOW) is None:
        assert decision.trouble is not None
        return "waits"
    feasible = naive.feasible(policy, world, asked, worlds.NOW)
    if feasible:
        assert decision.node in feasible
        return "placed"
    assert decision.node is None
    found = decision.preemption
    assert found is not None
    expected = naive.candidates(policy, world, asked, budgets, worlds.NOW)
    if not expected:
        assert found.node is None
        assert sum(count for _, count in found.reasons) >= len(world.nodes)
        return "hopeless"
    assert found.node is not None
    best = {one.node: one for one in expected if one.rank() == expected[0].rank()}
    assert found.node in best
    assert [victim.key for victim in found.victims] == [one.key for one in best[found.node].victims]
    # Asked again, and by one that has never been asked, it is the same: nothing was changed.
    assert ask(placer, cache, asked) == found
    again, untouched = seen(world, policy, budgets)
    assert ask(again, untouched, asked) == found
    return "preempts"


def seen(world: World, policy: CheckedPolicy, budgets: list[PodDisruptionBudget]) -> tuple[Placer, Cache]:
    placer, cache = fresh(world, policy)
    for name, labels in world.namespaces.items():
        cache.put_namespace(name, labels)
    for one in budgets:
        cache.budgets.put(one)
    return placer, cache


@given(st.integers(0, 2**32), st.sampled_from(("no rules", "rules")))
def test_same_as_naive(seed: int, rules: str) -> None:
    r = Random(seed)
    world = worlds.world(r)
    policy = without_fallbacks(random_policies.policy(r))
    if rules == "no rules":
        policy = replace(policy, rules=())
    crowd(r, world)
    asked = with_priority(worlds.pod(r, "new"), r.choice((5, 10, 10)))
    world.put_pod(asked)
    agree(world, policy, asked, [budget(r, f"budget-{number}") for number in range(r.choice((0, 1, 2)))])


def sociable(asked: Pod, r: Random) -> Pod:
    """Mostly without what taking pods away never helps: the wish to be near others."""
    affinity = asked.spec.affinity
    if affinity is None or r.random() < 0.2:
        return asked
    spec = msgspec.structs.replace(asked.spec, affinity=msgspec.structs.replace(affinity, pod_affinity=None))
    return msgspec.structs.replace(asked, spec=spec)


@given(
    neighbourhoods.worlds(),
    neighbourhoods.pods("new"),
    st.lists(neighbourhoods.templates, min_size=5, max_size=9),
    st.integers(0, 2**32),
)
def test_same_as_naive_where_pods_mind_each_other(
    world: World, asked: Pod, others: list[Pod], seed: int
) -> None:
    r = Random(seed)
    for number, other in enumerate(others):
        name = r.choice(list(world.nodes))
        world.put_pod(neighbourhoods.on_node(neighbourhoods.named(other, f"more-{number}"), name))
    asked = sociable(asked, r)
    for name in list(world.nodes)[r.randint(1, 3) :]:
        del world.nodes[name]
    for key, old in list(world.pods.items()):
        world.pods[key] = with_priority(sociable(old, r), r.choice((None, 0, 0, 0, 5, 10)))
    if world.nodes and r.random() < 0.3:
        promised = with_priority(neighbourhoods.named(asked, "promised"), r.choice(PRIORITIES))
        status = msgspec.structs.replace(promised.status, nominated_node_name=r.choice(list(world.nodes)))
        world.put_pod(msgspec.structs.replace(promised, status=status))
    asked = with_priority(asked, 10)
    world.put_pod(asked)
    agree(world, CheckedPolicy((), ()), asked, [])


@given(st.integers(0, 2**32))
def test_what_is_kept_follows_every_change(seed: int) -> None:
    r = Random(seed)
    world = worlds.world(r)
    policy = replace(random_policies.policy(r), rules=())
    crowd(r, world)
    asked = [with_priority(worlds.pod(r, f"new-{number}"), 10) for number in range(2)]
    for one in asked:
        world.put_pod(one)
    placer, cache = fresh(world, policy)
    for step in range(r.randint(1, 6)):
        key = r.choice(list(world.pods))
        changed = world.pods[key]
        match r.choice(("remove", "add", "start", "node", "budget")):
            case "remove" if not key.name.startswith("new"):
                world.remove_pod(key)
                cache.remove_pod(key)
            case "add":
                made = with_priority(worlds.pod(r, f"late-{step}", tuple(world.nodes)), r.choice(PRIORITIES))
                world.put_pod(made)
                cache.put_pod(made)
            case "start" if changed.spec.node_name:
                start = datetime.fromtimestamp(worlds.NOW - r.choice((1, 2, 3)), UTC)
                status = msgspec.structs.replace(changed.status, start_time=start)
                world.pods[key] = msgspec.structs.replace(changed, status=status)
                cache.put_pod(world.pods[key])
            case "node":
                name = r.choice(list(world.nodes))
                world.nodes[name] = worlds.node(r, name)
                cache.put_node(world.nodes[name])
            case "budget":
                cache.budgets.put(budget(r, "only"))
        for one in asked:
            again, untouched = fresh(world, policy)
            untouched.budgets = cache.budgets
            assert ask(placer, cache, one) == ask(again, untouched, one)


def bare(*nodes: str, policy: CheckedPolicy | None = None) -> tuple[Placer, Cache]:
    world = World(
        nodes={name: node(name, allocatable={"cpu": "4", "memory": "4Gi", "pods": 4}) for name in nodes}
    )
    return fresh(world, policy or CheckedPolicy((), ()))


def put(cache: Cache, name: str, on: str, priority: int, cpu: str, start: float = 0.0) -> None:
    made = with_priority(pod(name, requests={"cpu": cpu}, on=on), priority)
    status = msgspec.structs.replace(made.status, start_time=datetime.fromtimestamp(start, UTC))
    cache.put_pod(msgspec.structs.replace(made, status=status))


ORDER = {
    "a violated budget counts most": (
        {"n1": [("guarded", 1, "4", 0.0)], "n2": [("free", 9, "4", 0.0)]},
        "n2",
    ),
    "then the highest priority": (
        {"n1": [("one", 5, "4", 0.0)], "n2": [("two", 1, "2", 0.0), ("three", 1, "2", 0.0)]},
        "n2",
    ),
    "then the sum of priorities": (
        {
            "n1": [("one", 5, "2", 0.0), ("two", 5, "2", 0.0)],
            "n2": [("three", 5, "2", 0.0), ("four", 1, "2", 0.0)],
        },
        "n2",
    ),
    "fewer of a negative priority are better": (
        {"n1": [("one", -9, "2", 0.0), ("two", -9, "2", 0.0)], "n2": [("three", -9, "4", 0.0)]},
        "n2",
    ),
    "then the latest start of the highest": (
        {"n1": [("one", 5, "4", 100.0)], "n2": [("two", 5, "4", 200.0)]},
        "n2",
    ),
}


@pytest.mark.parametrize(("there", "chosen"), ORDER.values(), ids=ORDER.keys())
def test_the_node_where_least_is_lost(
    there: dict[str, list[tuple[str, int, str, float]]], chosen: str
) -> None:
    placer, cache = bare(*there)
    for name, pods in there.items():
        for victim, priority, cpu, start in pods:
            put(cache, victim, name, priority, cpu, start)
    guarded = pod("guarded", {"app": "guarded"}, requests={"cpu": "4"}, on="n1")
    if cache.pod(guarded.key) is not None:
        cache.put_pod(with_priority(guarded, 1))
    cache.budgets.put(
        PodDisruptionBudget(Identity("b", "default"), BudgetSpec(LabelSelector({"app": "guarded"})))
    )
    asked = with_priority(pod("new", requests={"cpu": "4"}), 10)
    cache.put_pod(asked)
    found = ask(placer, cache, asked)
    assert found is not None
    assert found.node == chosen
    assert found.message() == (
        f"preemption: {'1 pod' if len(found.victims) == 1 else f'{len(found.victims)} pods'} of lower priority "
        f"must leave {chosen}, which is promised to this one."
    )


def test_no_more_nodes_are_compared_than_that() -> None:
    placer, cache = bare(*(f"n{number}" for number in range(400)))
    for number in range(400):
        put(cache, f"low-{number}", f"n{number}", 1 if number % 2 else 5, "4")
    asked = with_priority(pod("new", requests={"cpu": "1"}), 10)
    cache.put_pod(asked)
    found = ask(placer, cache, asked)
    assert found is not None
    assert [victim.priority for victim in found.victims] == [1], "those that lose least are looked at first"


def test_the_message_counts_why_it_does_not_help() -> None:
    placer, cache = bare("empty", "small", "held")
    cache.put_node(node("empty", allocatable={"cpu": "1", "memory": "4Gi", "pods": 4}))
    put(cache, "low", "small", 1, "1")
    put(cache, "equal-1", "small", 10, "3")
    put(cache, "equal-2", "held", 10, "4")
    asked = with_priority(pod("new", requests={"cpu": "2"}), 10)
    cache.put_pod(asked)
    found = ask(placer, cache, asked)
    assert found is not None
    assert found.message() == (
        "preemption: 0/3 nodes are available: 1 Insufficient cpu, "
        "1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling."
    )
