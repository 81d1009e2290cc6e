"""Nodes that fail, come back, are cordoned and drained; taints, and what they do to pods."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from engine.cluster.errors import ApiError
from engine.cluster.protocol import ResourceKind
from engine.cluster.simulated.admission import RUNS_FOR
from engine.manifests.objects import DaemonSet, DaemonSetSpec, Deployment, DeploymentSpec, TimedToleration
from engine.model.objects import Condition, NodeStatus, ObjectMeta, Taint
from tests.engine.cluster.simulated_world import SELECTOR, World, node, pod, template

UNREACHABLE = {
    "node.kubernetes.io/unreachable:NoSchedule",
    "node.kubernetes.io/unreachable:NoExecute",
}


def condition(world: World, name: str, type_: str = "Ready") -> Condition:
    return next(c for c in world.node(name).status.conditions or () if c.type == type_)


def test_a_node_is_registered_as_its_kubelet_does() -> None:
    world = World(nodes=0)
    plain = NodeStatus(allocatable={"cpu": "1"})
    world.cluster.add_node(replace(node("a"), status=plain))
    made = world.node("a")
    assert (made.metadata.labels or {})["kubernetes.io/hostname"] == "a"
    assert made.status.allocatable == {"cpu": "1", "pods": "110"}
    assert made.ready
    assert made.metadata.uid
    assert made.spec.taints is None


def test_a_node_that_is_there_does_not_join_again() -> None:
    world = World(nodes=1)
    with pytest.raises(ApiError) as caught:
        world.cluster.add_node(node("n1"))
    assert (caught.value.status, caught.value.reason) == (409, "AlreadyExists")


def test_a_node_without_allocatable_takes_nothing() -> None:
    world = World(nodes=0)
    world.cluster.add_node(replace(node("a"), status=NodeStatus()))
    world.cluster.apply(pod("x", node_name="a"))
    world.run(1)
    assert world.get("x").status.reason == "OutOfpods"


@pytest.mark.parametrize(
    ("status", "key"),
    [("False", "node.kubernetes.io/not-ready"), ("Unknown", "node.kubernetes.io/unreachable")],
)
def test_a_node_that_joins_unready_is_tainted_until_it_is_heard(status: str, key: str) -> None:
    world = World(nodes=3)
    unready = NodeStatus(allocatable={"cpu": "4"}, conditions=(Condition("Ready", status),))
    world.cluster.add_node(replace(node("late"), status=unready))
    assert world.taints("late") == {f"{key}:NoSchedule"}
    world.run(1)
    assert world.taints("late") == {f"{key}:NoSchedule", f"{key}:NoExecute"}
    world.cluster.recover_node("late")
    assert world.taints("late") == set()
    assert world.node("late").ready


def test_a_silent_node_from_crash_to_eviction_with_the_stock_times() -> None:
    world = World()
    world.cluster.apply(Deployment(ObjectMeta(name="web"), DeploymentSpec(SELECTOR, template(), 1)))
    world.run(10)
    (name,) = world.names()
    world.cluster.fail_node("n1")
    world.run(49.9)
    assert world.node("n1").ready
    world.run(50)  # 40 s later
    assert condition(world, "n1").status == "Unknown"
    assert condition(world, "n1").reason == "NodeStatusUnknown"
    assert world.taints("n1") == UNREACHABLE
    ready = world.get(name).condition("Ready")
    assert ready is not None
    assert ready.status == "False"
    world.run(349.9)
    assert world.names() == [name]
    world.run(352)  # 300 s later
    lost, made = sorted(world.pods(), key=lambda p: p.metadata.name != name)
    assert lost.metadata.deletion_timestamp is not None
    disrupted = lost.condition("DisruptionTarget")
    assert disrupted is not None
    assert disrupted.reason == "DeletionByTaintManager"
    assert (made.spec.node_name, made.status.phase) == ("n2", "Running")
    world.run(1000)  # Nobody can let go of it while the node is silent.
    assert len(world.pods()) == 2
    world.cluster.recover_node("n1")
    world.run(1002)
    assert world.names() == [made.metadata.name]
    assert world.taints("n1") == set()
    reasons = [event.reason for event in world.cluster.events]
    assert reasons == ["NodeNotReady", "TaintManagerEviction"]


def test_a_node_back_within_the_grace_period_was_never_missed() -> None:
    world = World()
    world.cluster.apply(pod("x", node_name="n1"))
    world.run(10)
    version = world.cluster.list(ResourceKind.NODES).resource_version
    world.cluster.fail_node("n1")
    world.run(45)
    world.cluster.recover_node("n1")
    world.run(500)
    assert list(world.cluster.watch(ResourceKind.NODES, version, 0)) == []
    assert world.node("n1").ready
    assert world.get("x").spec.node_name == "n1"


@pytest.mark.parametrize(("cut", "restarts"), [(True, 0), (False, 1)], ids=["link cut", "crash"])
def test_what_a_node_that_is_back_has_done_meanwhile(cut: bool, restarts: int) -> None:
    world = World()
    world.cluster.apply(pod("x", node_name="n1"))
    world.run(10)
    world.cluster.fail_node("n1", cut=cut)
    world.run(100)
    world.cluster.recover_node("n1")
    world.run(105)
    back = world.get("x")
    (container,) = back.status.container_statuses or ()
    assert container.restart_count == restarts
    ready = back.condition("Ready")
    assert ready is not None
    assert ready.status == "True"


def test_a_pod_bound_to_a_silent_node_starts_when_it_is_back() -> None:
    world = World(binding=False)
    world.cluster.fail_node("n1")
    world.cluster.apply(pod("x", node_name="n1"))
    world.run(20)
    assert world.get("x").status.phase == "Pending"
    world.cluster.recover_node("n1")
    world.run(22)
    assert world.get("x").status.phase == "Running"


def test_nothing_ends_on_a_silent_node() -> None:
    world = World()
    made = pod("x", annotations={RUNS_FOR: "30s"}, node_name="n1", restart_policy="Never")
    world.cluster.apply(made)
    world.run(10)
    world.cluster.fail_node("n1", cut=True)
    world.run(45)
    assert world.get("x").status.phase == "Running"


@pytest.mark.parametrize(
    ("tolerations", "leaves_at"),
    [
        ((), 300.0),
        ((TimedToleration("node.kubernetes.io/unreachable", "Exists", "", "NoExecute", 20),), 20.0),
        ((TimedToleration("node.kubernetes.io/unreachable", "Exists", "", "NoExecute", 0),), 0.0),
        ((TimedToleration("node.kubernetes.io/unreachable", "Exists", "", "NoExecute"),), None),
        ((TimedToleration("", "Exists"),), None),
    ],
    ids=["default", "20 s", "0 s", "for ever", "everything"],
)
def test_how_long_a_pod_stays_on_an_unreachable_node(
    tolerations: tuple[TimedToleration, ...], leaves_at: float | None
) -> None:
    world = World()
    world.cluster.apply(pod("x", node_name="n1", tolerations=tolerations))
    world.run(10)
    world.cluster.fail_node("n1")
    world.run(2000)
    deleted = [
        event.time.timestamp() for event in world.cluster.events if event.reason == "TaintManagerEviction"
    ]
    expected = [] if leaves_at is None else [world.cluster.clock.start + 50 + leaves_at]
    assert deleted == expected


def test_a_taint_of_ones_own_evicts_who_does_not_tolerate_it() -> None:
    world = World()
    world.cluster.apply(pod("stays", node_name="n1", tolerations=(TimedToleration("own", "Exists"),)))
    world.cluster.apply(pod("goes", node_name="n1"))
    world.run(5)
    world.cluster.taint_node("n1", [Taint("own", "", "NoExecute")])
    world.run(7)
    assert world.names() == ["stays"]


def test_a_pod_bound_to_a_node_with_such_a_taint_is_turned_away() -> None:
    world = World(binding=False)
    world.cluster.taint_node("n1", [Taint("own", "", "NoExecute")])
    world.cluster.apply(pod("x"))
    world.cluster.bind(world.get("x").key, "n1")
    world.run(5)
    assert world.cluster.get_pod("default", "x") is None


def test_eviction_is_called_off_when_the_taint_goes() -> None:
    world = World()
    world.cluster.apply(pod("x", node_name="n1"))
    world.run(10)
    world.cluster.fail_node("n1")
    world.run(200)
    world.cluster.recover_node("n1")
    world.run(2000)
    assert world.names() == ["x"]


def test_cordon_and_uncordon() -> None:
    world = World(nodes=1)
    world.cluster.cordon("n1")
    assert world.node("n1").spec.unschedulable
    assert world.taints("n1") == {"node.kubernetes.io/unschedulable:NoSchedule"}
    world.cluster.cordon("n1", False)
    assert not world.node("n1").spec.unschedulable
    assert world.taints("n1") == set()


def test_conditions_of_a_node_become_taints() -> None:
    world = World(nodes=1)
    world.cluster.set_node_condition("n1", Condition("MemoryPressure", "True"))
    assert world.taints("n1") == {"node.kubernetes.io/memory-pressure:NoSchedule"}
    world.cluster.set_node_condition("n1", Condition("MemoryPressure", "False"))
    assert world.taints("n1") == set()


def test_drain_evicts_all_but_daemons() -> None:
    world = World(nodes=2)
    world.cluster.apply(DaemonSet(ObjectMeta(name="agent"), DaemonSetSpec(SELECTOR, template())))
    world.cluster.apply(Deployment(ObjectMeta(name="web"), DeploymentSpec(SELECTOR, template("a"), 2)))
    world.run(5)
    assert {p.spec.node_name for p in world.pods("web")} == {"n1"}
    world.cluster.drain("n1")
    world.run(10)
    assert {p.spec.node_name for p in world.pods("web")} == {"n2"}
    assert {p.spec.node_name for p in world.pods("agent")} == {"n1", "n2"}


def test_pods_of_a_removed_node_are_collected_after_the_quarantine() -> None:
    world = World(binding=False)
    world.cluster.apply(pod("x", node_name="n1"))
    world.run(10)
    world.cluster.remove_node("n1")
    world.run(49)
    assert world.names() == ["x"]
    world.run(50)
    assert world.names() == []


def test_pods_of_a_removed_node_stay_if_it_comes_back() -> None:
    world = World(binding=False)
    world.cluster.apply(pod("x", node_name="n1"))
    world.run(10)
    world.cluster.remove_node("n1")
    world.run(20)
    world.cluster.add_node(node("n1"))
    world.run(100)
    assert world.get("x").status.phase == "Running"


@pytest.mark.parametrize(
    "act",
    [
        lambda cluster: cluster.fail_node("nowhere"),
        lambda cluster: cluster.recover_node("nowhere"),
        lambda cluster: cluster.cordon("nowhere"),
        lambda cluster: cluster.remove_node("nowhere"),
        lambda cluster: cluster.label_node("nowhere", {}),
    ],
    ids=["fail", "recover", "cordon", "remove", "label"],
)
def test_a_node_that_is_not_there(act: object) -> None:
    with pytest.raises(ApiError) as caught:
        act(World().cluster)  # type: ignore[operator]
    assert (caught.value.status, caught.value.message) == (404, 'nodes "nowhere" not found')


# The pace of evictions, by zone


def zoned(**zones: int) -> World:
    world = World(nodes=0)
    for zone, count in zones.items():
        for number in range(count):
            world.cluster.add_node(node(f"{zone}{number}", zone=zone))
    return world


def tainted_at(world: World, names: Iterable[str], until: float) -> list[float]:
    """When each node that got it got its NoExecute taint, in seconds since the failure at 0."""
    times: dict[str, float] = {}
    while world.time < until:
        world.run(world.time + 5)
        for name in names:
            if name not in times and "node.kubernetes.io/unreachable:NoExecute" in world.taints(name):
                times[name] = world.time
    return sorted(times.values())


@pytest.mark.parametrize(
    ("zones", "failing", "expected"),
    [
        ({"a": 10, "b": 10}, ["a0", "a1", "a2"], [40, 50, 60]),
        ({"a": 10, "b": 10}, ["a0", "a1", "b0"], [40, 40, 50]),
        ({"a": 4, "b": 10}, ["a0", "a1", "a2"], []),
        ({"a": 3, "b": 10}, ["a0", "a1", "a2"], [40, 50, 60]),
        ({"a": 3}, ["a0", "a1", "a2"], []),
        ({"a": 2, "b": 2}, ["a0", "a1", "b0", "b1"], []),
        ({"a": 60, "b": 2}, [f"a{n}" for n in range(40)], [40, 140]),
    ],
    ids=[
        "one every ten seconds",
        "each zone by itself",
        "most of a small zone",
        "all of a zone",
        "all there is",
        "all zones",
        "most of a large zone",
    ],
)
def test_the_pace_of_evictions(zones: dict[str, int], failing: list[str], expected: list[float]) -> None:
    world = zoned(**zones)
    for name in failing:
        world.cluster.fail_node(name)
    assert tainted_at(world, failing, 200) == expected


def test_a_zone_that_comes_back_ends_the_standstill() -> None:
    world = zoned(a=2, b=2)
    for name in ("a0", "a1", "b0", "b1"):
        world.cluster.fail_node(name)
    world.run(100)
    world.cluster.recover_node("b0")
    assert tainted_at(world, ["a0", "a1", "b1"], 150) == [105, 105, 110]
