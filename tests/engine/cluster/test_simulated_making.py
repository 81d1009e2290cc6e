"""Pods that are made on their node, owned by it, drained from it, and what their controllers do when they go."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from engine.cluster.errors import ApiError
from engine.cluster.simulated.admission import MIRROR, RUNS_FOR
from engine.manifests.objects import DaemonSet, DaemonSetSpec, Job, JobSpec, StatefulSet, StatefulSetSpec
from engine.model.objects import ObjectMeta, OwnerReference, Taint
from engine.model.placeholder import PLACEHOLDER, PRIORITY, PRIORITY_CLASS
from tests.engine.cluster.simulated_world import SELECTOR, World, node, pod, template


def manifest(name: str, node_name: str, **fields: Any) -> dict[str, Any]:
    requests = {"cpu": fields.pop("cpu", "100m"), "memory": fields.pop("memory", "64Mi")}
    container = {"name": "c", "resources": {"requests": requests}, **fields.pop("container", {})}
    return {
        "metadata": {"name": name, "labels": {PLACEHOLDER: "backup"}},
        "spec": {
            "nodeName": node_name,
            "containers": [container],
            "terminationGracePeriodSeconds": 0,
            **fields,
        },
    }


def owned(world: World, name: str, node_name: str, uid: str | None = None, **fields: Any) -> dict[str, Any]:
    made = manifest(name, node_name, **fields)
    owner_uid = world.node(node_name).metadata.uid if uid is None else uid
    owner = {"apiVersion": "v1", "kind": "Node", "name": node_name, "uid": owner_uid, "controller": True}
    made["metadata"]["ownerReferences"] = [owner]
    return made


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "too much cpu": ({"cpu": "5"}, "OutOfcpu"),
    "too much memory": ({"memory": "9Gi"}, "OutOfmemory"),
    "another node wanted": ({"nodeSelector": {"disk": "fast"}}, "NodeAffinity"),
    "a port that is taken": ({"container": {"ports": [{"containerPort": 80, "hostPort": 80}]}}, "NodePorts"),
}


@pytest.mark.parametrize(("fields", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_kubelet_turns_away_what_was_made_on_its_node(fields: dict[str, Any], reason: str) -> None:
    world = World(nodes=1)
    if reason == "NodePorts":
        world.cluster.create_pod(manifest("first", "n1", **fields))
        world.run(5)
    world.cluster.create_pod(manifest("x", "n1", **fields))
    world.run(world.time + 5)
    assert (world.get("x").status.phase, world.get("x").status.reason) == ("Failed", reason)


def test_what_was_made_on_a_node_runs_there_and_holds_its_room() -> None:
    world = World(nodes=1)
    world.cluster.create_pod(manifest("holder", "n1", cpu="3"))
    world.run(5)
    assert world.get("holder").status.phase == "Running"
    world.cluster.apply(pod("x", "2", node_name="n1"))
    world.run(10)
    assert world.get("x").status.reason == "OutOfcpu"
    world.cluster.delete_pod(world.get("holder").key, 0)
    world.cluster.apply(pod("y", "2", node_name="n1"))
    world.run(15)
    assert world.get("y").status.phase == "Running"


def test_a_pod_with_no_grace_leaves_at_once_even_from_a_silent_node() -> None:
    world = World(nodes=1)
    world.cluster.create_pod(owned(world, "holder", "n1"))
    world.run(5)
    world.cluster.fail_node("n1")
    world.run(100)
    world.cluster.delete_pod(world.get("holder").key)
    assert world.names() == []


def test_a_cordoned_node_and_its_noschedule_taints_keep_nothing_out_that_is_made_there() -> None:
    world = World(nodes=0)
    world.cluster.add_node(node("n1", taints=(Taint("k", "v", "NoSchedule"),)))
    world.cluster.cordon("n1")
    world.cluster.create_pod(manifest("holder", "n1"))
    world.run(5)
    assert world.get("holder").status.phase == "Running"


# Pods that a node owns


def test_what_a_node_owns_goes_with_it() -> None:
    world = World(nodes=2)
    for name in ("n1", "n2"):
        world.cluster.create_pod(owned(world, f"holder-{name}", name))
    world.cluster.apply(pod("other", node_name="n1"))
    world.run(5)
    world.cluster.remove_node("n1")
    world.run(6)
    assert world.names() == ["holder-n2", "other"]


def test_what_is_made_for_a_node_that_is_gone_goes_too() -> None:
    world = World(nodes=1)
    late = owned(world, "late", "n1")
    world.cluster.remove_node("n1")
    world.cluster.add_node(node("n1"))
    world.cluster.create_pod(late)
    world.cluster.create_pod(owned(world, "new", "n1"))
    world.run(5)
    assert world.names() == ["new"]


def test_the_class_of_placeholders_is_below_all_others() -> None:
    world = World(nodes=1)
    with pytest.raises(ApiError, match=f"no PriorityClass with name {PRIORITY_CLASS} was found"):
        world.cluster.create_pod(manifest("x", "n1", priorityClassName=PRIORITY_CLASS))
    world.cluster.ensure_priority_class(PRIORITY_CLASS, PRIORITY, "")
    made = world.cluster.create_pod(manifest("x", "n1", priorityClassName=PRIORITY_CLASS))
    assert (made.spec.priority, made.spec.preemption_policy) == (PRIORITY, "Never")


def test_pods_of_another_scheduler_are_left_out_aloud() -> None:
    world = World(nodes=1, ignored_schedulers=("other",))
    made = manifest("x", "n1", schedulerName="other")
    assert world.cluster.create_pod(made).spec.node_name == "n1"
    del made["spec"]["nodeName"]
    made["metadata"]["name"] = "y"
    with pytest.raises(ApiError, match="pods of the scheduler other are left out"):
        world.cluster.create_pod(made)


# Draining


def test_drain_leaves_daemons_and_mirror_pods_and_says_what_nothing_makes_again() -> None:
    world = World(nodes=2)
    world.cluster.apply(DaemonSet(ObjectMeta(name="agent"), DaemonSetSpec(SELECTOR, template())))
    mirror = pod("static", annotations={MIRROR: "hash"}, node_name="n1")
    owner = (OwnerReference("Node", "n1", "from-a-dump", True),)
    world.cluster.apply(replace(mirror, metadata=replace(mirror.metadata, owner_references=owner)))
    world.cluster.apply(pod("bare", node_name="n1"))
    world.cluster.apply(pod("leaving", node_name="n1"))
    world.cluster.create_pod(owned(world, "holder", "n1"))
    world.run(5)
    world.cluster.delete_pod(world.get("leaving").key)
    deadline = world.get("leaving").metadata.deletion_timestamp
    world.cluster.drain("n1")
    assert world.get("leaving").metadata.deletion_timestamp == deadline
    world.run(60)
    (daemon,) = (p.metadata.name for p in world.pods("agent") if p.spec.node_name == "n1")
    assert [p.metadata.name for p in world.pods() if p.spec.node_name == "n1"] == [daemon, "static"]
    assert [str(note) for note in world.cluster.notes] == [
        "Pod default/bare: drained as by --force: no controller makes it again"
    ]


def test_a_drain_ends_where_the_node_is_opened_or_removed() -> None:
    world = World(nodes=1)
    world.cluster.apply(pod("x", node_name="n1"))
    world.run(5)
    world.cluster.drain("n1")
    world.cluster.remove_node("n1")
    world.run(100)
    assert world.names() == []


# Controllers, when a pod of theirs goes


def test_a_stateful_pod_on_a_silent_node_is_replaced_only_when_it_is_gone() -> None:
    world = World(nodes=2)
    for policy in ("OrderedReady", "Parallel"):
        spec = StatefulSetSpec(SELECTOR, template(), 1, pod_management_policy=policy)
        world.cluster.apply(StatefulSet(ObjectMeta(name=policy.lower()), spec))
    world.run(10)
    before = {p.metadata.name: p.metadata.uid for p in world.pods()}
    world.cluster.fail_node("n1")
    world.run(60)
    for one in world.pods():
        world.cluster.delete_pod(one.key)
    world.run(200)
    assert {p.metadata.name: p.metadata.uid for p in world.pods()} == before
    for one in world.pods():
        world.cluster.delete_pod(one.key, 0)
    world.run(210)
    after = {p.metadata.name: p.metadata.uid for p in world.pods()}
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())
    assert {p.spec.node_name for p in world.pods()} == {"n2"}


def replacements(world: World, deletions: int, grace: int | None) -> list[float]:
    """Delete a Job's only active pod so many times; how long it was until it had the next one."""
    waits: list[float] = []
    for _ in range(deletions):
        (one,) = (p for p in world.pods("work") if p.metadata.deletion_timestamp is None)
        start = world.time
        world.cluster.delete_pod(one.key, grace)
        while not [
            p
            for p in world.pods("work")
            if p.metadata.deletion_timestamp is None and p.metadata.uid != one.metadata.uid
        ]:
            world.run(world.time + 0.5)
            if world.time > start + 500:
                return [*waits, -1.0]
        waits.append(world.time - start)
        world.run(world.time + 5)
    return waits


@pytest.mark.parametrize("grace", [None, 0], ids=["in its time", "at once"])
@pytest.mark.parametrize("silent", [False, True], ids=["on a node that is well", "on a silent node"])
def test_a_job_counts_a_deleted_pod_as_failed_and_waits(grace: int | None, silent: bool) -> None:
    world = World(nodes=2)
    made_of = template(annotations={RUNS_FOR: "10h"}, restart_policy="Never")
    world.cluster.apply(Job(ObjectMeta(name="work"), JobSpec(made_of, backoff_limit=3)))
    world.run(5)
    if silent:
        world.cluster.fail_node("n1")
        world.run(60)
    assert replacements(world, 4, grace) == [10.0, 20.0, 40.0, -1.0]


def test_a_job_that_succeeds_in_between_waits_from_the_beginning_again() -> None:
    world = World(nodes=1)
    made_of = template(annotations={RUNS_FOR: "100s"}, restart_policy="Never")
    world.cluster.apply(Job(ObjectMeta(name="work"), JobSpec(made_of, parallelism=1, completions=9)))
    world.run(5)
    assert replacements(world, 2, None) == [10.0, 20.0]
    world.run(world.time + 120)
    assert replacements(world, 1, None) == [10.0]


def test_pods_that_a_job_takes_away_itself_have_not_failed() -> None:
    world = World(nodes=1)
    made_of = template(annotations={RUNS_FOR: "10h"}, restart_policy="Never")
    world.cluster.apply(Job(ObjectMeta(name="work"), JobSpec(made_of, parallelism=3, completions=9)))
    world.run(5)
    world.cluster.scale("Job", "default", "work", 1)
    world.run(60)
    world.cluster.scale("Job", "default", "work", 3)
    world.run(61)
    assert len(world.pods("work")) == 3
