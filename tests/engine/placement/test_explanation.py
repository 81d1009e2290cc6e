"""An explanation says what was decided, and adds up."""

from __future__ import annotations

import math
from copy import deepcopy
from random import Random

import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.constraints.telling import Telling
from engine.model.objects import Pod
from engine.placement.decision import PASSES
from engine.placement.explanation import Explanation, Source, StageState, explain
from engine.placement.explanation_pods import set_apart, visiting
from engine.placement.explanation_scores import Why
from engine.state.cache import Cache
from grammar import check_texts
from grammar.policy import CheckedPolicy
from tests.engine import build, random_policies, worlds
from tests.engine.naive.world import World
from tests.engine.placement.compare import content, fresh, place

SEEDS = st.integers(0, 2**32)


def drawn(seed: int) -> tuple[World, CheckedPolicy, Pod, float]:
    """A world, a policy, a pod that is to be placed, and for how long it has waited."""
    r = Random(seed)
    world, policy, pod = worlds.world(r), random_policies.policy(r), worlds.pod(r, r.choice(("new", "web")))
    return world, policy, pod, r.choice((0.0, 5000.0, 60_000.0))


@given(SEEDS, st.booleans())
def test_it_says_what_was_decided(seed: int, all_reasons: bool) -> None:
    world, policy, pod, waited = drawn(seed)
    world.put_pod(pod)
    placer, cache = fresh(world, policy)
    placed = cache.pod(pod.key)
    assert placed is not None
    explanation = explain(placer, placed, worlds.NOW, waited, all_reasons)
    note(repr(explanation))
    other, other_cache = fresh(world, policy)
    decision = place(other, other_cache, pod, worlds.NOW, waited)
    assert content(explanation.decision, cache) == content(decision, other_cache)
    assert {node.name for node in explanation.nodes} == set(world.nodes)
    assert len(explanation.nodes) == len(world.nodes)
    if decision.trouble is not None:
        assert not any(node.fits or node.refusals for node in explanation.nodes)
        return
    assert decision.refusals is not None
    codes = dict(zip(other_cache.columns.names, decision.refusals.codes.tolist(), strict=True))
    for node in explanation.nodes:
        assert node.fits == (codes[node.name] == PASSES)
        assert node.fits != bool(node.refusals)
        if not node.fits:
            refusal = Source.of(decision.refusals.filters[codes[node.name] - 1])
            assert node.refusals[0].source == refusal
            assert all_reasons or len(node.refusals) == 1
    adds_up(explanation)
    groups_add_up(explanation)


def adds_up(explanation: Explanation) -> None:
    fitting = [node for node in explanation.nodes if node.fits]
    for node in fitting:
        assert node.total is not None
        assert math.isclose(sum(part.contribution for part in node.parts), node.total, abs_tol=1e-6)
        assert all(0 <= part.normalised <= 100 for part in node.parts)
        if node.tie_break_total is not None:
            parts = sum(part.contribution for part in node.tie_break)
            assert math.isclose(parts, node.tie_break_total, abs_tol=1e-6)
    decision = explanation.decision
    assert [node.name for node in explanation.nodes[: len(fitting)]] == [node.name for node in fitting]
    if decision.node is None:
        assert explanation.why is Why.NOWHERE
        assert not fitting
        return
    winner, *others = fitting
    assert winner.name == decision.node
    assert winner.total == decision.score
    assert explanation.runner_up == (others[0].name if others else None)
    assert (explanation.why is Why.ONLY) == (not others)
    totals = [node.total for node in fitting if node.total is not None]
    assert max(totals) == winner.total
    if explanation.why is Why.SCORE:
        assert totals.count(max(totals)) == 1
    if explanation.why is Why.STOCK:
        ties = [node.tie_break_total for node in others if node.tie_break_total is not None]
        assert winner.tie_break_total is not None
        assert all(tie < winner.tie_break_total for tie in ties)
        assert ties
    assert explanation.stages[decision.stage].state is StageState.CHOSEN
    assert explanation.stages[decision.stage].feasible == decision.feasible


def groups_add_up(explanation: Explanation) -> None:
    refused = [node for node in explanation.nodes if not node.fits]
    reasons = sum(len(node.refusals) for node in refused)
    assert sum(group.nodes for group in explanation.groups) == reasons
    for one in explanation.helps:
        assert explanation.node(one.nearest) is not None
        assert one.nodes > 0


@given(SEEDS)
def test_all_reasons_are_those_of_every_filter(seed: int) -> None:
    world, policy, pod, waited = drawn(seed)
    world.put_pod(pod)
    placer, cache = fresh(world, policy)
    placed = cache.pod(pod.key)
    assert placed is not None
    explanation = explain(placer, placed, worlds.NOW, waited, all_reasons=True)
    decision = explanation.decision
    if decision.trouble is not None:
        return
    evaluation = placer.evaluation(placed, worlds.NOW, decision.stage)
    expected: dict[str, list[Source]] = {node: [] for node in world.nodes}
    for constraint, passes in zip(evaluation.filters, evaluation.verdicts(), strict=True):
        for slot in np.flatnonzero(~passes & cache.columns.alive[cache.columns.everywhere]).tolist():
            expected[cache.columns.names[slot]].append(Source.of(constraint))
            if isinstance(constraint, Telling):
                assert constraint.values(slot), "it refuses, so it has something to tell"
    assert {node.name: [r.source for r in node.refusals] for node in explanation.nodes} == expected
    alone = {name for name, sources in expected.items() if len(sources) == 1}
    if decision.node is None:
        assert sum(one.nodes for one in explanation.helps) == len(alone)


@given(SEEDS)
def test_a_pod_on_a_node_is_asked_about_as_if_it_were_not_there(seed: int) -> None:
    world, policy, _, waited = drawn(seed)
    placer, cache = fresh(world, policy)
    for key, pod in world.pods.items():
        if not pod.spec.node_name:
            continue
        with set_apart(cache, key) as placed:
            explanation = explain(placer, placed, worlds.NOW, waited)
        same_as_new(cache, world)
        bare = deepcopy(world)
        bare.remove_pod(key)
        pending = Pod(pod.metadata, replace(pod.spec, node_name=""), pod.status)
        bare.put_pod(pending)
        other, other_cache = fresh(bare, policy)
        expected = place(other, other_cache, pending, worlds.NOW, waited)
        decision = explanation.decision
        assert (decision.node, decision.score, decision.feasible, decision.trouble) == (
            expected.node,
            expected.score,
            expected.feasible,
            expected.trouble,
        )


@pytest.mark.parametrize("name", ["n1", "n2"])
def test_prefer_current_counts_for_the_node_that_it_is_on(name: str) -> None:
    text = "rule stay for all pods {\n  prefer current weight 2\n}\n"
    result = check_texts({"stay.policy": text})
    assert result.policy is not None
    world = World(nodes={one: build.node(one) for one in ("n1", "n2")})
    pod = build.pod("web", on=name)
    world.put_pod(pod)
    placer, cache = fresh(world, result.policy)
    with set_apart(cache, pod.key) as placed:
        explanation = explain(placer, placed, worlds.NOW)
    same_as_new(cache, world)
    assert explanation.decision.node == name
    assert {node.name: node.total for node in explanation.nodes} == {
        one: 200.0 if one == name else 0.0 for one in ("n1", "n2")
    }


def same_as_new(cache: Cache, world: World) -> None:
    """Each pod is where it was, and all is counted as before."""
    new = fresh(world, CheckedPolicy())[1]
    assert {placed.key: (placed.node, placed.phase) for placed in cache.pods()} == {
        placed.key: (placed.node, placed.phase) for placed in new.pods()
    }
    for name in cache.columns.node_names():
        slot, other = cache.columns.slot(name), new.columns.slot(name)
        assert slot is not None
        assert other is not None
        for resource in cache.columns.used:
            used = new.columns.resource(new.columns.used, resource)
            assert cache.columns.used[resource][slot] == used[other]
    assert cache.columns.ports.keys() == new.columns.ports.keys()


def test_a_fault_while_a_pod_is_set_apart_leaves_it_where_it_was() -> None:
    world = World(nodes={"n4": build.node("n4")})
    pod = build.pod("web", on="n4")
    world.put_pod(pod)
    cache = fresh(world, CheckedPolicy())[1]

    def fail() -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError), set_apart(cache, pod.key):
        fail()
    same_as_new(cache, world)
    guest = build.pod("guest")
    with pytest.raises(RuntimeError), visiting(cache, guest):
        fail()
    assert cache.pod(guest.key) is None
    same_as_new(cache, world)
