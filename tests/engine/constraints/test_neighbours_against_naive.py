"""Affinity, spread and image locality give what the slow and obvious ways give, whatever has happened before."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, note
from hypothesis import strategies as st

from engine.compile import compile_policy
from engine.compile.plan import stock_filters, stock_scores
from engine.constraints.protocol import is_global, normalize
from engine.model.objects import Node, Pod
from engine.placement import Placer
from engine.placement.decision import PASSES
from engine.state.cache import Cache
from engine.state.memberships import Grouping
from grammar.policy import CheckedPolicy
from tests.engine.constraints import neighbourhoods as some
from tests.engine.naive import neighbours as naive
from tests.engine.naive import policies
from tests.engine.naive.world import World

NOW = 1_700_000_000.0
TROUBLES = {"PodTopologySpread": naive.spread_trouble, "InterPodAffinity": naive.affinity_trouble}
SCORES = {
    "PodTopologySpread": naive.spread_scores,
    "InterPodAffinity": naive.affinity_scores,
    "ImageLocality": naive.image_scores,
}


def cache_of(world: World) -> Cache:
    cache = Cache()
    for node in world.nodes.values():
        cache.put_node(node)
    for pod in world.pods.values():
        cache.put_pod(pod)
    for key, name in world.assumed.items():
        cache.assume(key, name)
    for name, labels in world.namespaces.items():
        cache.put_namespace(name, labels)
    for item in world.groupings:
        cache.put_grouping(item)
    return cache


def check_constraints(world: World, cache: Cache, pod: Pod, among: list[Node]) -> None:
    """Filters and scores of the pod, each for itself."""
    columns = cache.columns
    slots = {name: slot for name in world.nodes if (slot := columns.slot(name)) is not None}
    shape = cache.put_pod(pod).shape
    for constraint in stock_filters(shape, cache):
        if not is_global(constraint):
            continue
        passes = constraint.passes_among(columns.alive, 0)
        if passes is None:
            passes = np.ones(columns.capacity, dtype=np.bool_)
        expected = {name: TROUBLES[constraint.name](pod, node, world) for name, node in world.nodes.items()}
        assert {name: bool(passes[slot]) for name, slot in slots.items()} == {
            name: trouble is None for name, trouble in expected.items()
        }, constraint.name
        refused = np.array([slot for name, slot in slots.items() if expected[name]], dtype=np.int64)
        sentences = Counter(trouble for trouble in expected.values() if trouble)
        assert constraint.reasons(refused) == sentences, constraint.name
    if not among:
        return
    where = np.array([slots[node.name] for node in among], dtype=np.int64)
    for score in stock_scores(shape, cache):
        if score.name in SCORES:
            found = np.broadcast_to(normalize(score.raw(where), score.normalization), len(among))
            wanted = SCORES[score.name](pod, among, world)
            if score.name == "PodTopologySpread" and (found == found[0]).all():
                # Where there is nothing to count, the same for all: the stock scheduler leaves the score out.
                assert len(set(wanted.values())) == 1
                continue
            assert dict(zip(wanted, found.tolist(), strict=True)) == wanted, score.name


@given(some.worlds(), some.pods("new"), st.data())
def test_filters_and_scores(world: World, pod: Pod, data: st.DataObject) -> None:
    world.put_pod(pod)
    nodes = data.draw(st.lists(st.sampled_from(sorted(world.nodes)), unique=True))
    check_constraints(world, cache_of(world), pod, [world.nodes[name] for name in nodes])


@given(some.worlds(), some.pods("new"))
def test_decision(world: World, pod: Pod) -> None:
    world.put_pod(pod)
    check_decision(world, cache_of(world), pod)


def check_decision(
    world: World, cache: Cache, pod: Pod, placer: Placer | None = None, policy: CheckedPolicy | None = None
) -> str | None:
    policy = policy or CheckedPolicy()
    placer = placer or Placer(cache, compile_policy(policy))
    placed = cache.pod(pod.key)
    assert placed is not None
    decision = placer.place(placed, NOW, diagnose=True)
    expected = policies.place(policy, world, pod, NOW, 0.0)
    note(repr(decision))
    assert decision.refusals is not None
    assert [f.name for f in decision.refusals.filters] == expected.filters
    codes = dict(zip(cache.columns.names, decision.refusals.codes.tolist(), strict=True))
    first = {name: None if code == PASSES else code - 1 for name, code in codes.items() if name}
    assert first == expected.first_refusal
    assert decision.node in expected.best if expected.best else decision.node is None
    return decision.node


KINDS = (
    *("place", "assume", "assume", "assume") * 2,
    *("put node", "remove node", "add", "bind", "terminate", "remove", "relabel"),
    *("namespace", "no namespace", "group", "ungroup", "forget", "swap plan"),
)


@given(some.worlds(), st.data())
def test_any_history(world: World, data: st.DataObject) -> None:
    """What is kept up event by event is what would be found anew."""
    cache = cache_of(world)
    policy = CheckedPolicy()
    placer = Placer(cache, compile_policy(policy))
    templates = data.draw(st.lists(some.templates, min_size=3, max_size=3))
    number = 0
    for kind in data.draw(st.lists(st.sampled_from(KINDS), min_size=4, max_size=16)):
        note(kind)
        known = sorted(world.pods)
        match kind:
            case "place" | "assume":
                number += 1
                pod = some.named(data.draw(st.sampled_from(templates)), f"new-{number}")
                world.put_pod(pod)
                cache.put_pod(pod)
                if not world.nodes:
                    continue
                node = check_decision(world, cache, pod, placer, policy)
                if kind == "assume" and node is not None:
                    cache.assume(pod.key, node)
                    world.assumed[pod.key] = node
            case "put node":
                node_ = data.draw(some.nodes(data.draw(st.sampled_from(some.NODES))))
                world.nodes[node_.name] = node_
                cache.put_node(node_)
            case "remove node" if world.nodes:
                name = data.draw(st.sampled_from(sorted(world.nodes)))
                del world.nodes[name]
                cache.remove_node(name)
            case "add":
                number += 1
                put(world, cache, data.draw(some.running(f"old-{number}")))
            case "bind" if known:
                pod = world.pods[data.draw(st.sampled_from(known))]
                if world.queued(pod) or pod.key in world.assumed:
                    target = world.node_of(pod) or data.draw(st.sampled_from(some.NODES))
                    put(world, cache, some.on_node(pod, target))
            case "terminate" if known:
                put(world, cache, some.terminated(world.pods[data.draw(st.sampled_from(known))]))
            case "remove" if known:
                key = data.draw(st.sampled_from(known))
                world.remove_pod(key)
                cache.remove_pod(key)
            case "relabel" if known:
                pod = world.pods[data.draw(st.sampled_from(known))]
                put(
                    world,
                    cache,
                    some.labelled(pod, data.draw(st.sampled_from(({"app": "a"}, {"tier": "b"})))),
                )
            case "namespace":
                name, labels = data.draw(st.sampled_from(some.NAMESPACES)), data.draw(some.namespace_labels)
                world.namespaces[name] = labels
                cache.put_namespace(name, labels)
            case "no namespace" if world.namespaces:
                name = data.draw(st.sampled_from(sorted(world.namespaces)))
                del world.namespaces[name]
                cache.put_namespace(name, None)
            case "group":
                item: Grouping = data.draw(some.groupings)
                some.put_grouping(world, item)
                cache.put_grouping(item)
            case "ungroup" if world.groupings:
                item = world.groupings[data.draw(st.integers(0, len(world.groupings) - 1))]
                some.remove_grouping(world, item)
                cache.remove_grouping(item)
            case "forget" if world.assumed:
                key = data.draw(st.sampled_from(sorted(world.assumed)))
                del world.assumed[key]
                cache.forget(key)
            case "swap plan":
                placer.swap_plan(compile_policy(policy))
    check_held(world, cache)


def check_held(world: World, cache: Cache) -> None:
    """The terms that are held are those of the placed pods, and no counter outlives those who asked for it."""
    held = set()
    for pod, _ in naive.placed(world):
        placed = cache.pod(pod.key)
        assert placed is not None
        terms = placed.shape.terms
        held |= {(term, False) for term in terms.apart}
        held |= {(term, True) for term in (*terms.near, *(one.term for one in terms.preferred))}
    assert cache.tallies.held == len(held)


def put(world: World, cache: Cache, pod: Pod) -> None:
    world.put_pod(pod)
    cache.put_pod(pod)
