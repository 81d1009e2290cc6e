"""The scheduler on the simulated cluster: what makes a pod wait, what wakes it, and what people are told."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest

from engine.cluster.protocol import EventType, ResourceKind
from engine.cluster.simulated import SimulatedCluster
from engine.compile import Plan, compile_policy
from engine.delay import DelayMap
from engine.manifests.objects import FullPodSpec
from engine.model.objects import (
    Condition,
    Container,
    ContainerStatus,
    Node,
    NodeStatus,
    ObjectMeta,
    OwnerReference,
    Pod,
    PodSpec,
    PodStatus,
    ResourceRequirements,
    SchedulingGate,
)
from engine.scheduler.simulation import Simulation
from engine.settings import Settings
from grammar import check_texts

POLICY = """
nodes edge  where node.labels["role"] == "edge"
nodes cloud where node.labels["role"] == "cloud"

rule near-source for pods where pod.labels has "delay_*" {
  for each label "delay_{from}" as limit in ms {
    require node.delay(from) <= limit
  }
}

rule cloud-fallback for pods where pod.labels["cloudable"] == "yes" {
  try edge then cloud after 30s waiving near-source
}
"""


def plan(text: str = POLICY) -> Plan:
    result = check_texts({"test.policy": text})
    assert result.policy is not None, result.diagnostics
    return compile_policy(result.policy)


def node(name: str, role: str = "edge", cpu: str = "4") -> Node:
    labels = {"role": role, "topology.kubernetes.io/zone": f"zone-{name}"}
    return Node(
        ObjectMeta(name=name, labels=labels),
        status=NodeStatus(allocatable={"cpu": cpu, "memory": "8Gi", "pods": "110"}),
    )


def pod(
    name: str,
    labels: Mapping[str, str] | None = None,
    *,
    cpu: str = "1",
    scheduler: str = "custom-scheduler",
    priority_class: str = "",
    gates: tuple[SchedulingGate, ...] | None = None,
    status: PodStatus | None = None,
) -> Pod:
    requests = ResourceRequirements(requests={"cpu": cpu, "memory": "64Mi"})
    return Pod(
        ObjectMeta(name=name, namespace="default", labels=dict(labels or {})),
        FullPodSpec(
            scheduler_name=scheduler,
            containers=(Container("main", requests),),
            priority_class_name=priority_class,
            scheduling_gates=gates,
        ),
        status or PodStatus(),
    )


class World:
    """A simulated cluster with a scheduler on it, and short ways to ask."""

    def __init__(self, *nodes: Node, policy: str = POLICY) -> None:
        self.cluster = SimulatedCluster()
        self.start = self.cluster.clock.now()
        for one in nodes:
            self.cluster.add_node(one)
        self.delays: dict[tuple[str, str], float] = {}
        self.simulation = Simulation(self.cluster, plan(policy), None, Settings())

    def measure(self, delays: Mapping[tuple[str, str], float]) -> None:
        self.delays.update(delays)
        names = sorted({name for pair in self.delays for name in pair})
        at = {name: position for position, name in enumerate(names)}
        self.simulation.swap_delays(
            DelayMap.from_table(
                names,
                [at[origin] for origin, _ in self.delays],
                [at[target] for _, target in self.delays],
                list(self.delays.values()),
            )
        )

    def until(self, seconds: float) -> None:
        self.simulation.run_until(self.start + seconds)

    def node_of(self, name: str) -> str:
        found = self.cluster.get_pod("default", name)
        assert found is not None
        return found.spec.node_name

    def condition(self, name: str) -> Condition | None:
        found = self.cluster.get_pod("default", name)
        assert found is not None
        return found.condition("PodScheduled")

    def told(self, reason: str) -> list[str]:
        return [event.message for event in self.cluster.events if event.reason == reason]


def test_a_placed_pod_is_told_with_its_rules() -> None:
    world = World(node("e1"))
    world.measure({("e1", "e1"): 0.0})
    world.cluster.add_pod(pod("video", {"delay_e1": "5"}))
    world.until(1)
    assert world.node_of("video") == "e1"
    (message,) = world.told("Scheduled")
    assert message == "Successfully assigned default/video to e1; by near-source (test.policy:5)"


def test_a_pod_that_no_rule_selects_is_scheduled_all_the_same() -> None:
    world = World(node("e1"))
    world.cluster.add_pod(pod("plain"))
    world.until(1)
    assert world.node_of("plain") == "e1"
    assert world.told("Scheduled") == ["Successfully assigned default/plain to e1"]


def test_a_pending_pod_says_why_in_an_event_and_a_condition() -> None:
    world = World(node("e1"), node("e2", cpu="500m"))
    world.measure({("e1", "e2"): 40.0})
    world.cluster.add_pod(pod("video", {"delay_e2": "25"}))
    world.until(1)
    condition = world.condition("video")
    assert condition is not None
    assert (condition.status, condition.reason) == ("False", "Unschedulable")
    assert condition.message == (
        "0/2 nodes are available: 1 Insufficient cpu, "
        "1 node(s) not within 25ms of e2, the nearest at 40ms (rule near-source, test.policy:7). "
        "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )
    assert world.told("FailedScheduling") == [condition.message]


@pytest.mark.parametrize("value", ["fast", "-3", "1e9", "25ms", " 25", "600001"])
def test_a_bad_label_keeps_the_pod_pending_until_it_is_mended(value: str) -> None:
    world = World(node("e1"), node("c1", "cloud"))
    world.measure({("e1", "c1"): 1.0})
    world.cluster.add_pod(pod("video", {"delay_e1": value, "cloudable": "yes"}))
    world.until(120)
    assert world.node_of("video") == "", "a limit that cannot be read is not waived either"
    (message,) = world.told("FailedScheduling")
    assert f'label delay_e1: "{value}" is no delay; write milliseconds as a plain number' in message


def test_a_limit_to_an_unknown_name_waits_with_a_suggestion_and_a_new_node_helps() -> None:
    world = World(node("edge-1"))
    world.cluster.add_pod(pod("video", {"delay_edge-11": "25"}))
    world.until(60)
    (message,) = world.told("FailedScheduling")
    assert "no node, workload of namespace default or zone is named edge-11; did you mean edge-1?" in message
    world.cluster.add_node(node("edge-11"))
    world.measure({("edge-11", "edge-1"): 3.0})
    world.until(90)
    assert world.node_of("video") in ("edge-1", "edge-11")


def test_placing_a_workload_wakes_the_pods_that_are_measured_from_it() -> None:
    world = World(node("e1", cpu="1"), node("e2", cpu="1"))
    world.measure({("e1", "e2"): 2.0})
    world.cluster.add_pod(pod("dependant", {"delay_source": "5"}, priority_class="system-cluster-critical"))
    world.cluster.add_pod(pod("source"))
    world.until(5)
    assert "workload default/source has no placed pod yet" in world.told("FailedScheduling")[0]
    assert {world.node_of("source"), world.node_of("dependant")} == {"e1", "e2"}


def test_the_cloud_opens_after_thirty_seconds_and_says_so() -> None:
    world = World(node("e1", cpu="500m"), node("c1", "cloud"))
    world.measure({("e1", "c1"): 60.0})
    world.cluster.add_pod(pod("video", {"delay_e1": "25", "cloudable": "yes"}))
    world.until(29)
    assert world.node_of("video") == ""
    assert (
        "Not tried yet: cloud (rule cloud-fallback, test.policy:12), after 30s"
        in world.told("FailedScheduling")[0]
    )
    world.until(31)
    assert world.node_of("video") == "c1"
    assert "falling back to cloud (rule cloud-fallback, test.policy:12)" in world.told("Scheduled")[0]


def test_a_restart_goes_on_waiting_from_the_condition() -> None:
    world = World(node("e1", cpu="500m"), node("c1", "cloud"))
    world.cluster.add_pod(pod("video", {"cloudable": "yes"}))
    world.until(20)
    world.simulation = Simulation(world.cluster, plan(), None, Settings())
    world.until(29)
    assert world.node_of("video") == ""
    world.until(31.5)
    assert world.node_of("video") == "c1"


def test_a_pod_that_leaves_makes_room() -> None:
    world = World(node("e1", cpu="1"))
    world.cluster.add_pod(pod("first"))
    world.until(1)
    world.cluster.add_pod(pod("second"))
    world.until(5)
    assert world.node_of("second") == ""
    world.cluster.delete("Pod", "default", "first")
    world.until(15)
    assert world.node_of("second") == "e1"


def test_a_pod_that_cannot_grow_makes_room() -> None:
    given = ContainerStatus("main", resources=ResourceRequirements(requests={"cpu": "1"}))
    world = World(node("e1", cpu="3"))
    world.cluster.add_pod(pod("first", cpu="2", status=PodStatus(container_statuses=(given,))))
    world.until(1)
    world.cluster.add_pod(pod("second", cpu="2"))
    world.until(5)
    assert world.node_of("second") == ""
    first = world.cluster.get_pod("default", "first")
    assert first is not None
    world.cluster.patch_pod_condition(first.key, Condition("PodResizePending", "True", "Infeasible"))
    world.until(15)
    assert world.node_of("second") == "e1"


def test_changed_delays_wake_and_a_changed_plan_wakes() -> None:
    world = World(node("e1", cpu="500m"), node("e2"))
    world.measure({("e1", "e2"): 40.0})
    world.cluster.add_pod(pod("video", {"delay_e1": "25"}))
    world.until(5)
    assert world.node_of("video") == ""
    world.measure({("e1", "e2"): 20.0})
    world.until(10)
    assert world.node_of("video") == "e2"
    world.cluster.add_pod(pod("other", {"delay_e1": "1"}))
    world.until(15)
    assert world.node_of("other") == ""
    world.simulation.swap_plan(plan("rule anywhere for all pods {\n  prefer node.ready weight 1\n}\n"))
    world.until(20)
    assert world.node_of("other") == "e2"


@pytest.mark.parametrize(
    "kept_back",
    [
        pytest.param(pod("p", scheduler="default-scheduler"), id="another scheduler's"),
        pytest.param(pod("p", gates=(SchedulingGate("wait"),)), id="gated"),
    ],
)
def test_pods_that_are_not_ours_to_schedule(kept_back: Pod) -> None:
    world = World(node("e1"))
    world.cluster.add_pod(kept_back)
    world.until(10)
    assert world.node_of("p") == ""
    assert world.told("FailedScheduling") == []


def test_pods_of_other_schedulers_take_room() -> None:
    world = World(node("e1", cpu="1"), node("e2", cpu="1"))
    theirs = pod("theirs", scheduler="default-scheduler")
    bound = Pod(theirs.metadata, PodSpec(node_name="e1", containers=theirs.spec.containers))
    world.cluster.add_pod(bound)
    world.cluster.add_pod(pod("ours"))
    world.until(5)
    assert world.node_of("ours") == "e2"


def test_higher_priority_is_placed_first() -> None:
    world = World(node("e1", cpu="1"))
    world.cluster.add_pod(pod("low"))
    world.cluster.add_pod(pod("high", priority_class="system-cluster-critical"))
    world.until(5)
    assert (world.node_of("high"), world.node_of("low")) == ("e1", "")


def test_nothing_is_decided_before_everything_is_known() -> None:
    world = World(node("e1"))
    world.cluster.add_pod(pod("p"))
    scheduler = world.simulation.scheduler
    assert not scheduler.watched.synced
    assert scheduler.run_pass(10) == 0
    world.until(1)
    assert scheduler.watched.synced


def test_the_same_run_twice_gives_the_same_places() -> None:
    def places() -> list[tuple[str, str]]:
        world = World(*(node(f"n{number}") for number in range(20)))
        for number in range(60):
            world.cluster.add_pod(pod(f"p{number}", cpu="100m"))
        world.until(10)
        return [
            (found.metadata.name, found.spec.node_name)
            for found in world.cluster.list(ResourceKind.PODS).items
            if isinstance(found, Pod)
        ]

    assert places() == places()
    assert len({name for _, name in places()}) == 20, "load spreads over equal nodes"


def test_warnings_are_of_type_warning() -> None:
    world = World()
    world.cluster.add_pod(pod("p"))
    world.until(1)
    (event,) = [event for event in world.cluster.events if event.reason == "FailedScheduling"]
    assert event.type is EventType.WARNING
    assert event.message == "0/0 nodes are available."


def test_the_first_pod_of_a_workload_that_is_to_be_near_itself_goes_anywhere_and_the_others_follow() -> None:
    world = World(node("e1", cpu="1"), node("e2", cpu="1"))
    world.measure({("e1", "e2"): 2.0})
    owner = OwnerReference(kind="StatefulSet", name="ring", uid="u", controller=True)
    for number, limit in enumerate(["5", "5", "1"]):
        one = pod(f"ring-{number}", {"delay_ring": limit})
        world.cluster.add_pod(Pod(msgspec.structs.replace(one.metadata, owner_references=(owner,)), one.spec))
    world.until(5)
    assert {world.node_of("ring-0"), world.node_of("ring-1")} == {"e1", "e2"}
    world.cluster.add_node(node("e3"))
    world.measure({("e1", "e3"): 4.0, ("e2", "e3"): 4.0})
    world.until(20)
    assert world.node_of("ring-2") == ""
