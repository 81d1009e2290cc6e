"""What a decision says, in terms that do not depend on slots."""

from __future__ import annotations

from collections.abc import Iterable

from engine.compile import compile_policy
from engine.delay.map import DelayMap
from engine.model.objects import Pod, PodKey
from engine.placement import Decision, Placer
from engine.placement.decision import PASSES
from engine.state.cache import Cache
from grammar.policy import CheckedPolicy
from tests.engine.naive.world import World


def delay_map(delays: dict[tuple[str, str], float]) -> DelayMap:
    return DelayMap.from_pairs((one, other, ms) for (one, other), ms in delays.items())


def cache_of(world: World, nodes: Iterable[str] | None = None, pods: Iterable[PodKey] | None = None) -> Cache:
    """A cache that sees the world for the first time, in the given order."""
    cache = Cache()
    for name in world.nodes if nodes is None else nodes:
        cache.put_node(world.nodes[name])
    for key in world.pods if pods is None else pods:
        cache.put_pod(world.pods[key])
        if key in world.assumed:
            cache.assume(key, world.assumed[key])
    return cache


def place(
    placer: Placer, cache: Cache, pod: Pod, now: float, waited_ms: float, *, diagnose: bool = True
) -> Decision:
    placed = cache.pod(pod.key)
    assert placed is not None
    return placer.place(placed, now, waited_ms, diagnose)


def fresh(world: World, policy: CheckedPolicy, cache: Cache | None = None) -> tuple[Placer, Cache]:
    cache = cache_of(world) if cache is None else cache
    return Placer(cache, compile_policy(policy), delay_map(world.delays)), cache


def first_refusals(decision: Decision, cache: Cache) -> dict[str, int | None]:
    """For each node the position of the filter that was the first to refuse it."""
    assert decision.refusals is not None
    return {
        name: None if code == PASSES else code - 1
        for name, code in zip(cache.columns.names, decision.refusals.codes.tolist(), strict=True)
        if name
    }


def content(decision: Decision, cache: Cache) -> dict[str, object]:
    said: dict[str, object] = {
        name: getattr(decision, name)
        for name in (
            "node",
            "nodes",
            "score",
            "feasible",
            "stage",
            "opened",
            "rules",
            "trouble",
            "retry_ms",
            "next_opens",
            "helped_by",
        )
    }
    if decision.refusals is not None:
        said["refusals"] = first_refusals(decision, cache)
        said["filters"] = [constraint.name for constraint in decision.refusals.filters]
        said["reasons"] = decision.refusals.reasons()
    return said
