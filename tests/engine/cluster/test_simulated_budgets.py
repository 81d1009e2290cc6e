"""Disruption budgets on the simulated cluster: which evictions they forbid, and how a drain waits for them."""

from __future__ import annotations

from typing import Any

import pytest

from engine.cluster.errors import ApiError
from engine.manifests.objects import (
    BudgetSpec,
    Deployment,
    DeploymentSpec,
    LabelSelector,
    PodDisruptionBudget,
)
from engine.model.objects import ObjectMeta
from tests.engine.cluster.simulated_world import SELECTOR, World, template


def budget(name: str = "keep", app: str = "a", **bounds: Any) -> PodDisruptionBudget:
    return PodDisruptionBudget(ObjectMeta(name=name), BudgetSpec(LabelSelector({"app": app}), **bounds))


def served(replicas: int = 4, **options: Any) -> World:
    world = World(**options)
    world.cluster.apply(Deployment(ObjectMeta(name="web"), DeploymentSpec(SELECTOR, template(), replicas)))
    world.run(5)
    return world


def evict_until_refused(world: World) -> tuple[int, ApiError | None]:
    """How many evictions went through, and the refusal that ended it."""
    evicted = 0
    for pod in world.pods("web"):
        try:
            world.cluster.evict(pod.key)
        except ApiError as refusal:
            return evicted, refusal
        evicted += 1
    return evicted, None


@pytest.mark.parametrize(
    ("bounds", "allowed"),
    [
        ({"min_available": 3}, 1),
        ({"min_available": 4}, 0),
        ({"min_available": 9}, 0),
        ({"min_available": 0}, 4),
        ({"min_available": "50%"}, 2),
        ({"min_available": "51%"}, 1),
        ({"max_unavailable": 1}, 1),
        ({"max_unavailable": "30%"}, 2),
        ({"max_unavailable": 0}, 0),
        ({"max_unavailable": 9}, 4),
    ],
    ids=str,
)
def test_how_many_evictions_a_budget_allows(bounds: dict[str, Any], allowed: int) -> None:
    world = served()
    world.cluster.apply(budget(**bounds))
    evicted, refusal = evict_until_refused(world)
    assert evicted == allowed
    if allowed < 4:
        assert refusal is not None
        assert (refusal.status, refusal.reason, refusal.message) == (
            429,
            "TooManyRequests",
            "Cannot evict pod as it would violate the pod's disruption budget.",
        )


def test_a_budget_of_other_pods_forbids_nothing() -> None:
    world = served()
    world.cluster.apply(budget(app="b", min_available="100%"))
    assert evict_until_refused(world) == (4, None)


def test_two_budgets_for_one_pod_are_an_error() -> None:
    world = served()
    world.cluster.apply(budget(min_available=1))
    world.cluster.apply(budget("second", min_available=1))
    _, refusal = evict_until_refused(world)
    assert refusal is not None
    assert refusal.status == 500


def test_what_does_not_serve_is_not_protected() -> None:
    world = served()
    world.cluster.apply(budget(min_available=4))
    for name in ("n1", "n2", "n3"):
        world.cluster.cordon(name)
    world.cluster.scale("Deployment", "default", "web", 5)
    world.run(6)
    (waiting,) = (pod for pod in world.pods("web") if pod.status.phase == "Pending")
    world.cluster.evict(waiting.key)
    assert world.cluster.get_pod("default", waiting.metadata.name) is None


def test_deletion_asks_no_budget() -> None:
    world = served()
    world.cluster.apply(budget(min_available=4))
    world.cluster.delete("Pod", "default", world.names()[0])
    assert world.pods("web")[0].metadata.deletion_timestamp is not None


def test_a_drain_waits_for_the_budget() -> None:
    world = served()
    world.cluster.apply(budget(max_unavailable=1))
    world.cluster.drain("n1")
    least = 4
    while any(pod.spec.node_name == "n1" for pod in world.pods("web")):
        world.run(world.time + 0.5)
        serving = [
            p for p in world.pods("web") if p.status.phase == "Running" and not p.metadata.deletion_timestamp
        ]
        least = min(least, len(serving))
        assert world.time < 60
    assert least == 3
    assert world.time > 15  # three more tries, five seconds apart


def test_a_drain_ends_when_the_node_is_open_again() -> None:
    world = served()
    world.cluster.apply(budget(max_unavailable=1))
    world.cluster.drain("n1")
    world.run(world.time + 2)
    world.cluster.cordon("n1", False)
    world.run(60)
    assert sum(pod.spec.node_name == "n1" for pod in world.pods("web")) >= 3
