"""The prototype's worlds as simulated clusters that run: with a scheduler on them that keeps a reserve and heals.

Every pod is a ReplicaSet of its own, so that a pod that is lost or moved is made anew as on a cluster.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engine.cluster.protocol import ResourceKind
from engine.cluster.simulated import SimulatedCluster
from engine.cluster.simulated.clock import VirtualClock
from engine.compile import Plan, compile_policy
from engine.healing import Loss, LossReport, Reserve, check
from engine.manifests.objects import FullPodSpec, LabelSelector, PodTemplate, ReplicaSet, ReplicaSetSpec
from engine.model.objects import ObjectMeta, Pod, PodKey
from engine.model.placeholder import holds_for
from engine.model.requests import pod_requests
from engine.scheduler.metrics import UNMEASURED, Metrics
from engine.scheduler.simulation import Simulation
from engine.settings import Settings
from engine.state.pods import PlacedPod
from grammar import check_paths
from tests.benchmarks.edge_worlds import SEED_POLICY, Geography, made_nodes, made_pod

NODE_GRACE = 40.0
"""A silent node is Unknown after that."""
_SLICE_SECONDS = 1.0
SAY_SECONDS = 2.0


def policies(after: float = 0.0) -> Plan:
    """The prototype's policies, reserve and healing with them.

    Args:
        after: Seconds for which something must be wrong before it is healed; the policy's own are 0.
    """
    result = check_paths([SEED_POLICY])
    assert result.policy is not None, result.diagnostics
    heals = tuple(replace(heal, after_ms=after * 1000) for heal in result.policy.heals)
    return compile_policy(replace(result.policy, heals=heals))


class Stopwatch(VirtualClock):
    """Virtual time; but what something takes is measured, as the time of the processor, which others do not add to."""

    def monotonic(self) -> float:
        return time.process_time()


class EdgeCluster:
    """A simulated cluster of one of the worlds.

    Args:
        size: Nodes.
        seed: The same gives the same.
        plan: The policies.
        metrics: Takes what the scheduler says of itself.
    """

    def __init__(self, size: int, seed: int, plan: Plan | None = None, metrics: Metrics = UNMEASURED) -> None:
        rng = np.random.default_rng((size, seed))
        self.geography = Geography.random(rng, size)
        self.nodes = {node.name: node for node in made_nodes(rng, self.geography)}
        self.index = {name: number for number, name in enumerate(self.geography.names)}
        pods = [made_pod(rng, f"pod-{number}", self.geography.edges) for number in range(3 * size)]
        self.pods = {pod.metadata.name: pod for pod in pods}
        self.limits = {name: found for name, pod in self.pods.items() if (found := limit_of(pod))}
        self.memory = {name: int(pod_requests(pod)["memory"]) for name, pod in self.pods.items()}
        self.cluster = SimulatedCluster(clock=Stopwatch())
        for node in self.nodes.values():
            self.cluster.add_node(node)
        self.simulation = Simulation(
            self.cluster, plan or policies(), self.geography.delays(), Settings(seed=seed), metrics=metrics
        )
        self.simulation.settle()

    @property
    def now(self) -> float:
        return self.cluster.clock.now()

    # What happens

    def make_pods(self) -> None:
        """Apply all pods, one workload after the other."""
        for pod in self.pods.values():
            self.cluster.apply(replica_set(pod))

    def run(self, seconds: float, what: str = "") -> None:
        """Let time pass, and say how far it is where that takes long."""
        end = self.now + seconds
        started = said = time.monotonic()
        while self.now < end:
            self.simulation.run_until(min(self.now + _SLICE_SECONDS, end))
            if what and time.monotonic() - said > SAY_SECONDS:
                said = time.monotonic()
                passed = seconds - (end - self.now)
                say(f"{what}: {passed:,.0f} of {seconds:,.0f} virtual seconds, {said - started:.0f} s")

    def change(self, slower: NDArray[np.float64]) -> None:
        """Other delays from now on: so many milliseconds more to and from each node than at first."""
        self.geography = replace(self.geography, slower=slower)
        self.simulation.swap_delays(self.geography.delays())

    # Asking

    def places(self) -> dict[str, str]:
        """Each workload's node, as the cluster has it; without those that have none, or are on their way out."""
        found = {}
        for pod in self.cluster.list(ResourceKind.PODS).items:
            assert isinstance(pod, Pod)
            if pod.spec.node_name and pod.metadata.deletion_timestamp is None and not is_placeholder(pod):
                found[workload_of(pod)] = pod.spec.node_name
        return found

    def delay(self, origin: str, node: str) -> float:
        return self.geography.cell(self.index[origin], self.index[node])

    def within(self, workload: str, node: str) -> bool:
        """Whether a workload's limit, if it has one, holds on a node."""
        limit = self.limits.get(workload)
        return limit is None or self.delay(limit[0], node) <= limit[1]

    def broken(self, places: Mapping[str, str]) -> list[str]:
        """The workloads whose limit does not hold where they are."""
        return [one for one, node in places.items() if not self.within(one, node)]

    def free(self, places: Mapping[str, str]) -> NDArray[np.float64]:
        """Bytes that are left on each node, where placeholders take none. Shape (nodes,)."""
        columns = self.simulation.cache.columns
        free = np.zeros(len(self.index))
        for name, number in self.index.items():
            slot = columns.slot(name)
            alive = slot is not None and columns.ready[slot]
            free[number] = columns.allocatable["memory"][slot] if alive else -np.inf
        for workload, node in places.items():
            free[self.index[node]] -= self.memory[workload]
        return free

    def legal(self, workload: str, free: NDArray[np.float64]) -> NDArray[np.bool_]:
        """The nodes within a workload's limit, with room for it. Shape (nodes,)."""
        origin, limit = self.limits[workload]
        delays = self.geography.row(self.index[origin])
        mask: NDArray[np.bool_] = (delays <= limit) & (free >= self.memory[workload])
        return mask

    @property
    def reserve(self) -> Reserve:
        """The plan of the reserve."""
        upkeep = self.simulation.scheduler.upkeep
        assert upkeep is not None
        [one] = upkeep.reserving.reserves
        return one.plan

    def placeholders(self) -> list[PlacedPod]:
        return [pod for pod in self.simulation.cache.pods() if holds_for(pod.shape.labels) is not None]

    def held(self) -> dict[str, dict[str, int]]:
        """What the placeholders in the cluster hold, by node; of places among pods all that are left."""
        columns = self.simulation.cache.columns
        found: dict[str, dict[str, int]] = {}
        for pod in self.placeholders():
            left = int(columns.allocatable["pods"][pod.slot] - columns.used["pods"][pod.slot])
            amounts = found.setdefault(pod.node, {"pods": left})
            amounts["pods"] += 1
            for resource, value in pod.requests.items():
                amounts[resource] = amounts.get(resource, 0) + value
        return found

    def proofs(self, nodes: Iterable[str]) -> Iterator[LossReport]:
        """Whether all covered pods of each node fit into what is held, if it is lost."""
        reserve = self.reserve
        return check(
            self.simulation.cache,
            self.simulation.placer,
            lambda one: one.key in reserve.backups,
            self.held(),
            [Loss("node", node, (node,)) for node in nodes],
            self.now,
            placeholders=self.placeholders(),
            hints=reserve.places(),
        )

    def workload(self, key: PodKey) -> str:
        """The workload of a pod that is known."""
        pod = self.simulation.cache.pod(key)
        assert pod is not None
        return workload_of(pod.pod)

    def allocatable(self, node: str) -> int:
        """Bytes of memory of a node."""
        columns = self.simulation.cache.columns
        slot = columns.slot(node)
        return 0 if slot is None else int(columns.allocatable["memory"][slot])


def limit_of(pod: Pod) -> tuple[str, float] | None:
    """The origin and the milliseconds of a pod's limit."""
    for key, value in (pod.metadata.labels or {}).items():
        if key.startswith("delay_"):
            return key.removeprefix("delay_"), float(value)
    return None


def workload_of(pod: Pod) -> str:
    [owner] = pod.metadata.owner_references
    return owner.name


def is_placeholder(pod: Pod) -> bool:
    return holds_for(pod.metadata.labels) is not None


def replica_set(pod: Pod) -> ReplicaSet:
    """What keeps one such pod."""
    name = pod.metadata.name
    labels = {**(pod.metadata.labels or {}), "app": name}
    spec = FullPodSpec(scheduler_name="custom-scheduler", containers=pod.spec.containers)
    template = PodTemplate(ObjectMeta(name="", labels=labels), spec)
    return ReplicaSet(
        ObjectMeta(name=name, namespace="default"), ReplicaSetSpec(LabelSelector({"app": name}), template, 1)
    )


def say(text: str) -> None:
    """To standard error: on a terminal one line that is written over."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
    else:
        sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def said() -> None:
    """Nothing more is to be said of that."""
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, its columns in line."""
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))} |"

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, rows)])
