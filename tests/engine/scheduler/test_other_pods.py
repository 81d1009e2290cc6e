"""Backups of pods whose rules look at other pods follow those, whether they are covered or not."""

from __future__ import annotations

from engine.manifests.objects import Deployment
from tests.engine.scheduler.scenes import RESERVE, World, delays, deployment, node, spec

NEAR_DB = """
rule near-db for pods where pod.labels["app"] == "web" {
  require node.delay("db") <= 10ms
}
"""
APART = """
rule apart for pods where pod.labels["app"] == "web" {
  at most 0 per zone of pods where pod.labels["app"] == "crowd"
}
"""
WEB = RESERVE.replace('has "delay_*"', '["app"] == "web"')
NAMES = ("a1", "a2", "a3", "b1", "b2", "b3")
ENDS = (*NAMES, "gateway")


def world(rule: str) -> World:
    """Two zones of three nodes each, near each other within and far across."""
    near = [[0.0 if one == other else 1.0 if one[0] == other[0] else 50.0 for other in ENDS] for one in ENDS]
    return World(rule + WEB, [node(name, zone=name[0]) for name in NAMES], delays(ENDS, near))


def pinned(name: str, zone: str, replicas: int = 1) -> Deployment:
    return deployment(name, replicas, wanted=spec(node_selector={"topology.kubernetes.io/zone": zone}))


def backups(world: World) -> set[str]:
    upkeep = world.simulation.scheduler.upkeep
    assert upkeep is not None
    return {node for one in upkeep.reserving.reserves for node in one.plan.places().values()}


def test_the_workload_that_a_delay_is_measured_from_moves() -> None:
    there = world(NEAR_DB)
    there.cluster.apply(pinned("db", "a"))
    there.run(20)
    there.cluster.apply(deployment("web", 2))
    there.run(20)
    assert {name[0] for name in backups(there)} == {"a"}
    there.cluster.scale("Deployment", "default", "db", 0)
    there.run(20)
    assert backups(there) == set()
    assert there.placeholders() == {}
    there.cluster.apply(pinned("db", "b"))
    there.run(40)
    assert {name[0] for name in backups(there)} == {"b"}
    assert there.proven() == []
    assert there.held_as_planned()


def test_pods_come_that_backups_are_to_be_away_from() -> None:
    there = world(APART)
    there.cluster.apply(deployment("web", 2))
    there.run(20)
    full = {name[0] for name in backups(there)}.pop()
    there.cluster.apply(pinned("crowd", full, 3))
    there.run(20)
    assert full not in {name[0] for name in backups(there)}
    assert there.proven() == []
    assert there.held_as_planned()


def test_pods_that_come_and_go_where_they_say_nothing_move_no_backup() -> None:
    there = world(APART)
    there.cluster.apply(deployment("web", 2))
    there.run(20)
    made = {pod.metadata.uid for pod in there.cluster.pods() if pod.metadata.namespace == "kube-system"}
    full = {name[0] for name in backups(there)}
    there.cluster.apply(pinned("other", full.pop(), 3))
    there.run(60)
    after = {pod.metadata.uid for pod in there.cluster.pods() if pod.metadata.namespace == "kube-system"}
    assert made
    assert after == made
