"""What the simulated kubelets do with pods that are bound to their nodes."""

from __future__ import annotations

from typing import Any

import pytest

from engine.cluster.protocol import Change, ResourceKind
from engine.cluster.simulated.admission import FAILS_AFTER, RUNS_FOR
from engine.manifests.objects import FullPodSpec
from engine.model.objects import (
    Affinity,
    Container,
    ContainerPort,
    NodeAffinity,
    NodeSelector,
    NodeSelectorTerm,
    ObjectMeta,
    Pod,
    Requirement,
    ResourceRequirements,
)
from tests.engine.cluster.simulated_world import World, node, pod


def test_a_bound_pod_starts_after_the_start_up_time() -> None:
    world = World(start_up=3)
    world.cluster.apply(pod("x"))
    world.run(2.9)
    assert (world.get("x").spec.node_name, world.get("x").status.phase) == ("n1", "Pending")
    world.run(3)
    running = world.get("x")
    assert running.status.phase == "Running"
    assert running.status.start_time is not None
    assert {c.type: c.status for c in running.status.conditions or ()} == dict.fromkeys(
        ("PodScheduled", "Initialized", "ContainersReady", "Ready"), "True"
    )
    assert [c.name for c in running.status.container_statuses or ()] == ["main"]


def selector(*terms: NodeSelectorTerm) -> Affinity:
    return Affinity(NodeAffinity(NodeSelector(terms)))


AWAY = NodeSelectorTerm(match_expressions=(Requirement("zone", "In", ("b",)),))


@pytest.mark.parametrize(
    ("there", "coming", "reason"),
    [
        ({}, {"cpu": "4"}, ""),
        ({}, {"cpu": "4001m"}, "OutOfcpu"),
        ({"cpu": "3"}, {"cpu": "1"}, ""),
        ({"cpu": "3"}, {"cpu": "1001m"}, "OutOfcpu"),
        ({}, {"memory": "8193Mi"}, "OutOfmemory"),
        ({}, {"cpu": "5", "memory": "9Gi"}, "OutOfcpu"),
        ({}, {"example.com/gpu": "1"}, "OutOfexample.com/gpu"),
        ({"cpu": "4"}, {"cpu": "0"}, ""),
    ],
    ids=[
        "exactly",
        "cpu",
        "the rest",
        "more than the rest",
        "memory",
        "cpu is told first",
        "extended",
        "zero",
    ],
)
def test_a_pod_that_does_not_fit_fails_as_on_a_kubelet(
    there: dict[str, str], coming: dict[str, str], reason: str
) -> None:
    world = World(nodes=1, binding=False)
    for name, requests in (("there", there), ("coming", coming)):
        made = FullPodSpec(
            node_name="n1", containers=(Container("main", ResourceRequirements({**requests})),)
        )
        world.cluster.apply(Pod(ObjectMeta(name=name, namespace="default"), made))
        world.run(world.time + 2)
    found = world.get("coming").status
    assert (found.phase, found.reason) == (("Failed", reason) if reason else ("Running", ""))


def test_what_ended_or_left_gives_its_room_back() -> None:
    world = World(nodes=1)
    world.cluster.apply(pod("a", "4"))
    world.run(2)
    world.cluster.finish_pod("default", "a")
    world.cluster.apply(pod("b", "4"))
    world.run(4)
    world.cluster.delete("Pod", "default", "b")
    world.run(6)
    world.cluster.apply(pod("c", "4"))
    world.run(8)
    assert [p.metadata.name for p in world.pods() if p.status.phase == "Running"] == ["c"]


def test_a_terminating_pod_holds_its_room_until_it_is_gone() -> None:
    world = World(nodes=1, stop=10)
    world.cluster.apply(pod("a", "4"))
    world.run(2)
    world.cluster.delete("Pod", "default", "a")
    world.cluster.apply(pod("b", "4"))
    world.run(4)
    assert world.get("b").status.reason == "OutOfcpu"


def test_the_number_of_pods_counts() -> None:
    world = World(nodes=0)
    world.cluster.add_node(node("n1", pods="1"))
    world.cluster.apply(pod("a"))
    world.run(1)
    world.cluster.apply(pod("b"))
    world.run(3)
    assert world.get("b").status.reason == "OutOfpods"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"node_selector": {"zone": "b"}}, "NodeAffinity"),
        ({"affinity": selector(AWAY)}, "NodeAffinity"),
        ({"affinity": selector()}, "NodeAffinity"),
        ({"affinity": selector(NodeSelectorTerm())}, "NodeAffinity"),
        (
            {
                "affinity": selector(
                    AWAY, NodeSelectorTerm(match_fields=(Requirement("metadata.name", "In", ("n1",)),))
                )
            },
            "",
        ),
    ],
    ids=["selector", "affinity", "no term", "empty term", "one of the terms"],
)
def test_a_pod_bound_where_it_must_not_be_is_turned_away(fields: dict[str, Any], reason: str) -> None:
    world = World(binding=False)
    world.cluster.apply(pod("x", node_name="n1", **fields))
    world.run(2)
    assert world.get("x").status.reason == reason


def test_a_rejection_is_told_as_an_end_and_an_event() -> None:
    world = World(nodes=1, binding=False)
    world.cluster.apply(pod("x", "5"))
    version = world.cluster.list(ResourceKind.PODS).resource_version
    world.cluster.bind(world.get("x").key, "n1")
    world.run(2)
    changes = [event.change for event in world.cluster.watch(ResourceKind.PODS, version, 0)]
    assert changes == [Change.MODIFIED, Change.DELETED]
    (event,) = world.cluster.events
    assert (event.reason, event.message) == (
        "OutOfcpu",
        "Node didn't have enough resource: cpu, requested: 5000, used: 0, capacity: 4000",
    )


@pytest.mark.parametrize(
    ("annotations", "policy", "phase_at_20", "restarts"),
    [
        ({}, "Never", "Running", 0),
        ({RUNS_FOR: "10s"}, "Never", "Succeeded", 0),
        ({RUNS_FOR: "10s"}, "OnFailure", "Succeeded", 0),
        ({RUNS_FOR: "10s"}, "Always", "Running", 0),
        ({FAILS_AFTER: "10s"}, "Never", "Failed", 0),
        ({FAILS_AFTER: "10s"}, "Always", "Running", 1),
    ],
    ids=["runs on", "succeeds", "succeeds too", "never ends", "fails", "starts again"],
)
def test_how_a_pod_ends(annotations: dict[str, str], policy: str, phase_at_20: str, restarts: int) -> None:
    world = World()
    world.cluster.apply(pod("x", annotations=annotations, restart_policy=policy))
    world.run(20)
    status = world.get("x").status
    assert status.phase == phase_at_20
    assert sum(c.restart_count for c in status.container_statuses or ()) == restarts


@pytest.mark.parametrize(
    ("grace", "stop", "gone_after"),
    [(None, 1, 1), (30, 60, 30), (5, 60, 5), (30, 2, 2)],
    ids=["the pod's own", "killed at the end", "shorter grace", "stops by itself"],
)
def test_a_running_pod_is_let_go_of_in_time(grace: int | None, stop: float, gone_after: float) -> None:
    world = World(stop=stop)
    world.cluster.apply(pod("x"))
    world.run(10)
    world.cluster.evict(world.get("x").key, grace)
    deadline = world.get("x").metadata.deletion_timestamp
    assert deadline is not None
    assert deadline.timestamp() == world.cluster.clock.now() + (30 if grace is None else grace)
    world.run(10 + gone_after - 0.1)
    assert world.names() == ["x"]
    world.run(10 + gone_after)
    assert world.names() == []


def test_what_never_ran_is_gone_at_once() -> None:
    world = World(binding=False)
    world.cluster.apply(pod("x"))
    world.cluster.evict(world.get("x").key)
    assert world.names() == []


def test_a_second_deletion_only_shortens_the_grace_period() -> None:
    world = World(stop=100)
    world.cluster.apply(pod("x"))
    world.run(10)
    key = world.get("x").key
    world.cluster.evict(key, 20)
    world.cluster.evict(key, 90)
    world.run(29)
    assert world.names() == ["x"]
    world.cluster.evict(key, 0)
    assert world.names() == []


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (ContainerPort(host_port=80), ContainerPort(host_port=80), "NodePorts"),
        (ContainerPort(host_port=80), ContainerPort(host_port=81), ""),
        (ContainerPort(host_port=80), ContainerPort(host_port=80, protocol="UDP"), ""),
        (
            ContainerPort(host_port=80, host_ip="10.0.0.1"),
            ContainerPort(host_port=80, host_ip="10.0.0.2"),
            "",
        ),
        (ContainerPort(host_port=80, host_ip="10.0.0.1"), ContainerPort(host_port=80), "NodePorts"),
        (ContainerPort(container_port=80), ContainerPort(container_port=80), ""),
    ],
    ids=["same", "another port", "another protocol", "another address", "every address", "not on the host"],
)
def test_host_ports(first: ContainerPort, second: ContainerPort, reason: str) -> None:
    world = World(nodes=1, binding=False)
    for name, port in (("first", first), ("second", second)):
        made = FullPodSpec(node_name="n1", containers=(Container("main", ports=(port,)),))
        world.cluster.apply(Pod(ObjectMeta(name=name, namespace="default"), made))
        world.run(world.time + 2)
    assert (world.get("first").status.reason, world.get("second").status.reason) == ("", reason)
