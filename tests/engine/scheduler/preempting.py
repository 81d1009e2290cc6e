"""Clusters on which pods of some priorities meet."""

from __future__ import annotations

from collections.abc import Mapping

from engine.cluster.simulated import Options, SimulatedCluster
from engine.compile import compile_policy
from engine.manifests.objects import (
    BudgetSpec,
    Deployment,
    DeploymentSpec,
    FullPodSpec,
    LabelSelector,
    PodDisruptionBudget,
    PodTemplate,
    PriorityClass,
)
from engine.model.objects import (
    Container,
    Node,
    NodeStatus,
    ObjectMeta,
    Pod,
    ResourceRequirements,
)
from engine.scheduler.simulation import Simulation
from engine.settings import Settings
from grammar import check_texts

CLASSES = {"low": 100, "middle": 500, "high": 1000}


def node(name: str, cpu: str = "2", **labels: str) -> Node:
    return Node(
        ObjectMeta(name=name, labels=labels),
        status=NodeStatus(allocatable={"cpu": cpu, "memory": "8Gi", "pods": "110"}),
    )


def spec(priority_class: str, cpu: str = "1", **fields: object) -> FullPodSpec:
    grace = fields.pop("grace", 5)
    assert isinstance(grace, int)
    return FullPodSpec(
        scheduler_name="custom-scheduler",
        containers=(Container("main", ResourceRequirements(requests={"cpu": cpu})),),
        priority_class_name=priority_class,
        termination_grace_period_seconds=grace,
        **fields,  # type: ignore[arg-type]
    )


def pod(
    name: str, priority_class: str, cpu: str = "1", labels: Mapping[str, str] | None = None, **fields: object
) -> Pod:
    return Pod(
        ObjectMeta(name=name, namespace="default", labels=dict(labels or {})),
        spec(priority_class, cpu, **fields),
    )


def deployment(name: str, replicas: int, priority_class: str, cpu: str = "1") -> Deployment:
    labels = {"app": name}
    template = PodTemplate(ObjectMeta(labels=labels), spec(priority_class, cpu))
    return Deployment(
        ObjectMeta(name=name, namespace="default"),
        DeploymentSpec(replicas=replicas, selector=LabelSelector(labels), template=template),
    )


def budget(name: str, app: str, min_available: int) -> PodDisruptionBudget:
    return PodDisruptionBudget(
        ObjectMeta(name=name, namespace="default"),
        BudgetSpec(selector=LabelSelector({"app": app}), min_available=min_available),
    )


class World:
    """A simulated cluster with a scheduler on it, and short ways to ask."""

    def __init__(self, *nodes: Node, policy: str = "") -> None:
        self.cluster = SimulatedCluster(Options(stop=1e6))  # each pod takes its whole grace period
        self.start = self.cluster.clock.now()
        for name, value in CLASSES.items():
            self.cluster.apply(PriorityClass(ObjectMeta(name=name), value=value))
        self.cluster.apply(PriorityClass(ObjectMeta(name="polite"), value=1000, preemption_policy="Never"))
        for one in nodes:
            self.cluster.add_node(one)
        self.policy = policy
        self.simulation = self._scheduler()

    def _scheduler(self) -> Simulation:
        checked = check_texts({"test.policy": self.policy})
        assert checked.policy is not None, checked.diagnostics
        return Simulation(self.cluster, compile_policy(checked.policy), None, Settings())

    def restarted(self) -> World:
        """The same cluster, and another scheduler that knows only what it finds there."""
        self.simulation = self._scheduler()
        return self

    def add(self, *pods: Pod) -> None:
        for one in pods:
            self.cluster.add_pod(one)

    def until(self, seconds: float) -> None:
        self.simulation.run_until(self.start + seconds)

    def get(self, name: str) -> Pod:
        found = self.cluster.get_pod("default", name)
        assert found is not None, f"{name} is gone"
        return found

    def exists(self, name: str) -> bool:
        return self.cluster.get_pod("default", name) is not None

    def node_of(self, name: str) -> str:
        return self.get(name).spec.node_name

    def leaving(self, name: str) -> bool:
        return self.get(name).metadata.deletion_timestamp is not None

    def told(self, reason: str, name: str = "") -> list[str]:
        return [
            event.message
            for event in self.cluster.events
            if event.reason == reason
            and (not name or (isinstance(event.regarding, tuple) and event.regarding.name == name))
        ]
