"""Worlds in which nodes are lost, links change and pods find no room, and a scheduler that can be killed in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.cluster.simulated import Options, SimulatedCluster
from engine.compile import Plan, compile_policy
from engine.delay import DelayMap
from engine.healing import check, losses_of
from engine.manifests.objects import (
    Deployment,
    DeploymentSpec,
    FullPodSpec,
    LabelSelector,
    PodTemplate,
    StatefulSet,
    StatefulSetSpec,
)
from engine.model.objects import (
    Container,
    Node,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    Pod,
    ResourceRequirements,
    Taint,
)
from engine.model.placeholder import holds_for
from engine.model.requests import pod_requests
from engine.scheduler.simulation import Simulation
from engine.scheduler.telling import Observer
from engine.settings import Settings
from grammar import check_texts

RULES = """
rule near-source for pods where pod.labels has "delay_*" {
  for each label "delay_{from}" as limit in ms {
    require node.delay(from) <= limit
    prefer low node.delay(from) weight 1
  }
}
"""
RESERVE = """
reserve backup for pods where pod.labels has "delay_*" {
  survive loss of 1 node
  hold as pods
}
"""
NODE_LOSS = """
heal node-loss on node lost for 10s {
  move pods
  hold when 55% of zone is lost
}
"""
DRIFT = """
heal drift on broken near-source for 60s {
  move pods improving by 10%
}
"""
ROOM = """
heal room on pod unschedulable for 5s {
  relocate at most 2 pods
}
"""
DRAINING = """
heal draining on node draining for 5s {
  move pods
}
"""
GIB = 2**30


def plan(text: str) -> Plan:
    result = check_texts({"test.policy": text})
    assert result.policy is not None, result.diagnostics
    return compile_policy(result.policy)


def node(name: str, zone: str = "a", cpu: str = "4", memory: str = "8Gi") -> Node:
    labels = {"topology.kubernetes.io/zone": zone, "kubernetes.io/hostname": name}
    return Node(
        ObjectMeta(name=name, labels=labels),
        status=NodeStatus(allocatable={"cpu": cpu, "memory": memory, "pods": "110"}),
    )


def gateway() -> Node:
    """A node that takes no pods: where the users are."""
    taint = Taint("example.com/gateway", "", "NoSchedule")
    return Node(
        ObjectMeta(name="gateway", labels={"topology.kubernetes.io/zone": "gateway"}),
        NodeSpec(taints=(taint,)),
        NodeStatus(allocatable={"cpu": "1", "memory": "1Gi", "pods": "10"}),
    )


def spec(
    cpu: str = "500m",
    memory: str = "1Gi",
    priority: int | None = None,
    node_selector: dict[str, str] | None = None,
) -> FullPodSpec:
    requests: dict[str, str | int | float] = {"cpu": cpu, "memory": memory}
    return FullPodSpec(
        scheduler_name="custom-scheduler",
        node_selector=node_selector,
        priority=priority,
        containers=(Container(name="c", image="app", resources=ResourceRequirements(requests=requests)),),
    )


def deployment(
    name: str, replicas: int, limits: Mapping[str, str] | None = None, wanted: FullPodSpec | None = None
) -> Deployment:
    """Pods of a Deployment; ``limits``: origin → milliseconds."""
    labels = {"app": name, **{f"delay_{origin}": limit for origin, limit in (limits or {}).items()}}
    return Deployment(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=DeploymentSpec(
            selector=LabelSelector(match_labels={"app": name}),
            template=PodTemplate(ObjectMeta(labels=labels), wanted or spec()),
            replicas=replicas,
        ),
    )


def stateful(name: str, replicas: int, limits: Mapping[str, str] | None = None) -> StatefulSet:
    labels = {"app": name, **{f"delay_{origin}": limit for origin, limit in (limits or {}).items()}}
    return StatefulSet(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=StatefulSetSpec(
            selector=LabelSelector(match_labels={"app": name}),
            template=PodTemplate(ObjectMeta(labels=labels), spec()),
            replicas=replicas,
        ),
    )


def bare(name: str, limits: Mapping[str, str] | None = None, wanted: FullPodSpec | None = None) -> Pod:
    labels = {f"delay_{origin}": limit for origin, limit in (limits or {}).items()}
    return Pod(ObjectMeta(name=name, namespace="default", labels=labels), wanted or spec())


def delays(names: Sequence[str], milliseconds: NDArray[np.float64] | Sequence[Sequence[float]]) -> DelayMap:
    return DelayMap.from_matrix(names, milliseconds)


class Killed(BaseException):
    """The process ends here, whatever it was about to do."""


class Mortal(SimulatedCluster):
    """A cluster in which a scheduler may not live to see its next request answered, or sent."""

    fuse: int | None = None
    """It is killed when this many moments have passed: there is one before each write, and one after it."""
    moments = 0


def _mortal(name: str) -> None:
    real = getattr(SimulatedCluster, name)

    def moment(cluster: Mortal) -> None:
        cluster.moments += 1
        if cluster.fuse is not None:
            cluster.fuse -= 1
            if cluster.fuse == 0:
                raise Killed

    def request(self: Mortal, *arguments: object, **options: object) -> object:
        moment(self)
        answer = real(self, *arguments, **options)
        moment(self)
        return answer

    setattr(Mortal, name, request)


for _name in (
    "bind",
    "evict",
    "delete_pod",
    "create_pod",
    "nominate",
    "patch_pod_condition",
    "ensure_priority_class",
):
    _mortal(_name)


class World:
    """A cluster, its policies and delays, and the scheduler that runs at the moment.

    Args:
        policy: The text of the policies.
        nodes: The nodes.
        map_: The delays.
        options: Of the cluster.
        observer: Of decisions.
    """

    def __init__(
        self,
        policy: str,
        nodes: Iterable[Node],
        map_: DelayMap | None,
        options: Options | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.cluster = Mortal(options)
        self.plan = plan(policy)
        self.map = map_
        self._observer = observer
        for one in (*nodes, gateway()):
            self.cluster.add_node(one)
        self.start = self.cluster.clock.now()
        self.uids: dict[tuple[str, str], list[str]] = {}
        self.kills = 0
        self.fuses: Iterator[int] = iter(())
        self.simulation = self._begin()

    def _begin(self) -> Simulation:
        return Simulation(self.cluster, self.plan, self.map, Settings(), self._observer)

    # What happens

    def run(self, seconds: float) -> None:
        """Let so much time pass; a scheduler that is killed is started again a second later."""
        until = self.cluster.clock.now() + seconds
        while True:
            try:
                self.simulation.run_until(until)
            except Killed:
                self.kills += 1
                self.cluster.fuse = next(self.fuses, None)
                self.cluster.run_until(self.cluster.clock.now() + 1.0)
                self.simulation = self._begin()
                until = max(until, self.cluster.clock.now())
            else:
                return

    def restart(self) -> None:
        """The scheduler ends, and another begins."""
        self.simulation = self._begin()

    def swap_delays(self, map_: DelayMap) -> None:
        self.map = map_
        self.simulation.swap_delays(map_)

    def swap_plan(self, policy: str) -> None:
        self.plan = plan(policy)
        self.simulation.swap_plan(self.plan)

    # What there is

    def pods(self, app: str = "") -> list[Pod]:
        """The pods that are no placeholders and not on their way out, by name."""
        return sorted(
            (
                pod
                for pod in self.cluster.pods()
                if holds_for(pod.metadata.labels) is None
                and pod.metadata.deletion_timestamp is None
                and pod.status.phase not in ("Failed", "Succeeded")
                and (not app or (pod.metadata.labels or {}).get("app") == app or pod.metadata.name == app)
            ),
            key=lambda pod: pod.metadata.name,
        )

    def nodes_of(self, app: str) -> list[str]:
        """The nodes of its pods, sorted; "" for one that has none."""
        return sorted(pod.spec.node_name for pod in self.pods(app))

    def placeholders(self) -> dict[str, int]:
        """Node → bytes of memory that placeholders hold there."""
        found: dict[str, int] = {}
        for pod in self.cluster.pods():
            if holds_for(pod.metadata.labels) is not None and pod.metadata.deletion_timestamp is None:
                memory = pod_requests(pod).get("memory", 0)
                found[pod.spec.node_name] = found.get(pod.spec.node_name, 0) + memory
        return found

    def broken(self) -> list[str]:
        """Pods outside a delay that they ask for, or without a node: by name."""
        found = []
        for pod in self.pods():
            for key, value in (pod.metadata.labels or {}).items():
                if key.startswith("delay_"):
                    assert self.map is not None
                    row = self.map.row(key.removeprefix("delay_"))
                    index = self.map.index(pod.spec.node_name) if pod.spec.node_name else None
                    if row is None or index is None or not row[index] <= float(value):
                        found.append(pod.metadata.name)
        return found

    def events(self, reason: str) -> list[str]:
        return [
            f"{event.regarding}: {event.message}" for event in self.cluster.events if event.reason == reason
        ]

    def held_as_planned(self) -> bool:
        """Whether placeholders hold exactly what the plans say."""
        upkeep = self.simulation.scheduler.upkeep
        assert upkeep is not None
        wanted: dict[str, int] = {}
        for one in upkeep.reserving.reserves:
            for name, amounts in one.plan.kept().items():
                wanted[name] = wanted.get(name, 0) + amounts.get("memory", 0)
        return self.placeholders() == {name: memory for name, memory in wanted.items() if memory}

    def proven(self) -> list[str]:
        """The pods that the proof says are not covered, although the plan says so; by name."""
        upkeep = self.simulation.scheduler.upkeep
        assert upkeep is not None
        cache, placer = self.simulation.cache, self.simulation.placer
        found: list[str] = []
        for one in upkeep.reserving.reserves:
            label = one.rule.domain.label
            covered = set(one.plan.backups)
            reports = check(
                cache,
                placer,
                lambda pod: pod.key in covered,  # noqa: B023  (asked before the next)
                one.plan.kept(),
                losses_of(cache, one.rule.domain.name, label),
                self.cluster.clock.now(),
                placeholders=upkeep.reserving.placeholders(),
                hints=one.plan.places(),
            )
            found += [left.pod.name for report in reports for left in report.unplaced]
        return found
