"""Backups of pods whose rules look at other pods follow those, whether they are covered or not."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from engine.manifests.objects import Deployment
from engine.model.objects import Affinity, LabelSelector, ObjectMeta, PodAffinity, PodAffinityTerm
from tests.engine.scheduler.scenes import NODE_LOSS, RESERVE, World, delays, deployment, node, spec

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
    reserve = "" if "reserve " in rule else WEB
    return World(rule + reserve, [node(name, zone=name[0]) for name in NAMES], delays(ENDS, near))


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


def test_a_pod_comes_that_wants_covered_ones_away_from_it() -> None:
    there = world("")
    there.cluster.apply(deployment("web", 2))
    there.run(20)
    full = min(backups(there))
    term = PodAffinityTerm(LabelSelector(match_labels={"app": "web"}), topology_key="kubernetes.io/hostname")
    wanted = replace(
        spec(node_selector={"kubernetes.io/hostname": full}),
        affinity=Affinity(pod_anti_affinity=PodAffinity((term,))),
    )
    there.cluster.apply(deployment("hermit", 1, wanted=wanted))
    there.run(20)
    assert there.nodes_of("hermit") == [full]
    assert full not in backups(there)
    assert there.proven() == []
    assert there.held_as_planned()


CROWDS = """
rule near for pods where pod.labels has "near" {
  require node.delay("db") <= 10ms
}
rule apart for pods where pod.labels["app"] == "web" {
  at most 2 per zone of pods where pod.labels["app"] == "crowd"
}
rule spreading for pods where pod.labels["app"] == "api" {
  spread over zone
}
"""
KEPT = RESERVE.replace('has "delay_*"', 'has "kept"')


def labelled(r: Random, name: str, replicas: int, **labels: str) -> Deployment:
    made = deployment(name, replicas, wanted=spec(cpu="100m", memory=r.choice(("512Mi", "1Gi"))))
    template = replace(made.spec.template, metadata=ObjectMeta(labels={"app": name, **labels}))
    return replace(made, spec=replace(made.spec, template=template))


@pytest.mark.parametrize("seed", range(25))
def test_whatever_happens_what_is_kept_is_enough_in_the_end(seed: int) -> None:
    r = Random(seed)
    there = world(CROWDS + KEPT.replace("1 node", r.choice(("1 node", "1 zone"))) + NODE_LOSS)
    for made in (
        labelled(r, "db", 1),
        labelled(r, "web", r.randint(1, 4), kept="y"),
        labelled(r, "api", r.randint(1, 4), kept="y"),
        labelled(r, "cam", r.randint(1, 3), kept="y", near="y"),
        labelled(r, "crowd", r.randint(0, 3)),
    ):
        there.cluster.apply(made)
        there.run(5)
    for _ in range(6):
        match r.randrange(4):
            case 0:
                there.cluster.scale("Deployment", "default", "crowd", r.randint(0, 6))
            case 1:
                there.cluster.scale("Deployment", "default", "db", r.randint(0, 2))
            case 2:
                there.cluster.scale("Deployment", "default", r.choice(("web", "api", "cam")), r.randint(0, 4))
            case 3:
                lost = r.choice(NAMES)
                there.cluster.fail_node(lost)
                there.run(90)
                there.cluster.recover_node(lost)
        there.run(r.choice((5, 45)))
    there.run(75)
    assert there.proven() == []
    assert there.held_as_planned()
