"""``prefer current``: counts for pods that are taken off their node to be asked about again, and for no others."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from engine.model.objects import Pod
from engine.placement import Decision
from engine.placement.explanation import explain
from engine.placement.explanation_parts import Source
from grammar import check_texts
from grammar.policy import (
    FactRef,
    Kind,
    PreferCurrent,
    PreferScaled,
    Rule,
    Subject,
)
from tests.engine import random_policies, worlds
from tests.engine.build import NOW, Bench, node, pod
from tests.engine.naive import policies as naive
from tests.engine.placement.compare import fresh
from tests.engine.placement.test_against_naive import agree

PODS = FactRef(Subject.NODE, "pods", Kind.COUNT)
STAY = Rule("stay", None, (PreferCurrent(2),))
FEWEST = Rule("fewest", None, (PreferScaled(PODS, 1, low=True),))
NODES = tuple(node(name) for name in ("n1", "n2", "n3"))


def again(bench: Bench, asked: Pod) -> Decision:
    """Where a placed pod would go now."""
    placed = bench.cache.pod(asked.key)
    assert placed is not None
    slot = placed.slot
    bench.cache.lift(placed)
    decision = bench.placer.place(placed, NOW)
    bench.cache.lower(placed, slot)
    return decision


@pytest.mark.parametrize("name", ["n1", "n2", "n3"])
def test_a_pod_that_is_asked_about_again_stays(name: str) -> None:
    others = [pod(f"o{number}", on=name) for number in range(3)]
    bench = Bench(NODES, [STAY, FEWEST], pods=[pod("a", on=name), *others])
    decision = again(bench, pod("a"))
    assert (decision.node, decision.score) == (name, 200.0)


def test_other_preferences_may_outweigh_it() -> None:
    heavier = replace(FEWEST, statements=(PreferScaled(PODS, 3, low=True),))
    bench = Bench(NODES, [STAY, heavier], pods=[pod("a", on="n1"), pod("b", on="n1"), pod("c", on="n2")])
    decision = again(bench, pod("a"))
    assert (decision.node, decision.score) == ("n3", 300.0)


def test_a_pod_that_never_had_a_node_finds_all_alike() -> None:
    bench = Bench(NODES, [STAY, FEWEST], pods=[pod("b", on="n1"), pod("c", on="n2")])
    decision = bench.place(pod("a"))
    assert (decision.node, decision.score) == ("n3", 100.0)


def test_pods_of_one_shape_each_stay_where_they_are() -> None:
    placed = [pod(f"a{number}", on=f"n{number}") for number in (1, 2, 3)]
    bench = Bench(NODES, [STAY], pods=placed)
    assert [again(bench, one).node for one in placed] == ["n1", "n2", "n3"]


def test_it_counts_only_for_the_pods_of_its_rule() -> None:
    policy = check_texts(
        {
            "p": 'rule stay for pods where pod.labels has "sticky" {\n  prefer current weight 3\n}\n'
            "rule fewest for all pods {\n  prefer low node.pods weight 1\n}\n"
        }
    ).policy
    assert policy is not None
    placed = [pod("a", {"sticky": ""}, on="n1"), pod("b", on="n1"), pod("c", on="n2")]
    bench = Bench(NODES, policy, pods=placed)
    assert [again(bench, one).node for one in placed[:2]] == ["n1", "n3"]


def test_a_node_that_is_gone_has_no_points() -> None:
    bench = Bench(NODES, [STAY], pods=[pod("a", on="n9")])
    placed = bench.cache.pod(pod("a").key)
    assert placed is not None
    assert bench.placer.place(placed, NOW).score == 0.0


def test_placed_pods_of_one_shape_share_what_is_worked_out_where_nobody_asks_where_they_would_go() -> None:
    bench = Bench(NODES, [STAY], pods=[pod("a", on="n1"), pod("b", on="n2")])
    first, second = (bench.cache.pod(pod(name).key) for name in ("a", "b"))
    assert first is not None
    assert second is not None
    assert bench.placer.requirements(first, NOW) is bench.placer.requirements(second, NOW)


def test_explanations_cite_it() -> None:
    policy = check_texts({"p.policy": "rule stay for all pods {\n  prefer current weight 3\n}\n"}).policy
    assert policy is not None
    bench = Bench(NODES, policy, pods=[pod("a", on="n2")])
    placed = bench.cache.pod(pod("a").key)
    assert placed is not None
    bench.cache.lift(placed)
    best = explain(bench.placer, placed, NOW).nodes[0]
    assert (best.name, best.total) == ("n2", 300.0)
    (part,) = best.parts
    assert part.source == Source("stay", "p.policy", 2, "prefer current weight 3")


@given(st.integers(0, 2**32))
def test_same_as_naive(seed: int) -> None:
    r = Random(seed)
    world, policy, asked = worlds.world(r), random_policies.policy(r), worlds.pod(r, r.choice(("new", "web")))
    stay = Rule("stay", None, (PreferCurrent(r.choice((1, 5))),))
    policy = replace(policy, rules=(*policy.rules, stay))
    world.put_pod(asked)
    placer, cache = fresh(world, policy)
    placed = cache.pod(asked.key)
    assert placed is not None
    if not placed.node and world.nodes:
        name = r.choice(sorted(world.nodes))
        cache.assume(asked.key, name)
        world.left[asked.key] = name
        cache.lift(placed)
    decision = placer.place(placed, worlds.NOW, 5000.0, diagnose=True)
    note(f"{policy}\n{world}\n{asked}\n{decision}")
    agree(decision, naive.place(policy, world, asked, worlds.NOW, 5000.0), cache)
