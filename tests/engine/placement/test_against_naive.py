"""The vectorised placement gives what the slow and obvious one gives."""

from __future__ import annotations

from random import Random

from hypothesis import given, note
from hypothesis import strategies as st

from engine.placement import Decision
from engine.state.cache import Cache
from tests.engine import random_policies, worlds
from tests.engine.naive import policies as naive
from tests.engine.placement.compare import first_refusals, fresh, place


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
    if expected.best:
        assert decision.node in expected.best
        assert decision.feasible == sum(code is None for code in expected.first_refusal.values())
    else:
        assert decision.node is None
        assert decision.retry_ms == expected.retry_ms


@given(st.integers(0, 2**32))
def test_same_as_naive(seed: int) -> None:
    r = Random(seed)
    world, policy, pod = worlds.world(r), random_policies.policy(r), worlds.pod(r, r.choice(("new", "web")))
    waited = r.choice((0.0, 5000.0, 60_000.0))
    world.put_pod(pod)
    placer, cache = fresh(world, policy)
    decision = place(placer, cache, pod, worlds.NOW, waited)
    note(f"{policy}\n{world}\n{pod}\n{decision}")
    agree(decision, naive.place(policy, world, pod, worlds.NOW, waited), cache)
