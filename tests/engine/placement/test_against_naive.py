"""The vectorised placement gives what the slow and obvious one gives."""

from __future__ import annotations

from hypothesis import given, note
from hypothesis import strategies as st

from engine.compile import compile_policy
from engine.delay.map import DelayMap
from engine.model.objects import Pod
from engine.placement import Decision, Placer
from engine.placement.decision import PASSES
from engine.state.cache import Cache
from grammar.policy import CheckedPolicy
from tests.engine import worlds
from tests.engine.naive import policies as naive
from tests.engine.naive.world import World


def delay_map(world: World) -> DelayMap:
    return DelayMap.from_pairs((one, other, ms) for (one, other), ms in world.delays.items())


def cache_of(world: World) -> Cache:
    cache = Cache()
    for node in world.nodes.values():
        cache.put_node(node)
    for pod in world.pods.values():
        cache.put_pod(pod)
    for key, name in world.assumed.items():
        cache.assume(key, name)
    return cache


def first_refusals(decision: Decision, cache: Cache) -> dict[str, int | None]:
    """For each node the position of the filter that was the first to refuse it."""
    assert decision.refusals is not None
    return {
        name: None if code == PASSES else code - 1
        for name, code in zip(cache.columns.names, decision.refusals.codes.tolist(), strict=True)
        if name
    }


def agree(decision: Decision, expected: naive.Outcome, cache: Cache) -> None:
    if expected.waits:
        assert decision.trouble is not None
        assert decision.node is None
        return
    assert decision.trouble is None
    assert decision.stage == expected.stage
    assert decision.refusals is not None
    assert [f.name for f in decision.refusals.filters] == expected.filters
    assert first_refusals(decision, cache) == expected.first_refusal
    assert decision.feasible == sum(code is None for code in expected.first_refusal.values())
    if expected.best:
        assert decision.node in expected.best
    else:
        assert decision.node is None
        assert decision.retry_ms == expected.retry_ms


@given(
    worlds.worlds(),
    worlds.policies(),
    st.sampled_from(("new", "web")).flatmap(worlds.pods),
    st.sampled_from((0.0, 5000.0, 60_000.0)),
)
def test_same_as_naive(world: World, policy: CheckedPolicy, pod: Pod, waited: float) -> None:
    world.put_pod(pod)
    cache = cache_of(world)
    placer = Placer(cache, compile_policy(policy), delay_map(world))
    placed = cache.pod(pod.key)
    assert placed is not None
    decision = placer.place(placed, worlds.NOW, waited, diagnose=True)
    note(repr(decision))
    agree(decision, naive.place(policy, world, pod, worlds.NOW, waited), cache)
