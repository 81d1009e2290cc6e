"""Microseconds from a pod to its node where pods ask of each other: affinity, anti-affinity, spread.

Measured is the processor time of the thread that decides, so that others on the machine matter little. Each decision
follows a bind, so that all counts have to be brought up to date, and is for a pod of the same template.
Run as ``python -m tests.benchmarks.bench_affinity [--nodes 5000] [--placed 5000]``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from engine.compile import compile_policy
from engine.model.objects import (
    Affinity,
    Container,
    ContainerImage,
    Identity,
    LabelSelector,
    Node,
    NodeStatus,
    ObjectMeta,
    OwnerReference,
    Pod,
    PodAffinity,
    PodAffinityTerm,
    PodSpec,
    ReplicaSet,
    ResourceRequirements,
    SelectingSpec,
    TopologySpreadConstraint,
    WeightedPodAffinityTerm,
)
from engine.placement import Placer
from engine.state.cache import Cache
from grammar.policy import CheckedPolicy

ZONE: Final = "topology.kubernetes.io/zone"
HOST: Final = "kubernetes.io/hostname"
LIKE: Final = LabelSelector({"app": "it"})
IMAGE: Final = "registry/it:1"


def world(nodes: int, placed: int) -> Cache:
    """Nodes in ten zones, and pods of a hundred other workloads on them, of which some hold terms of their own."""
    cache = Cache()
    for number in range(nodes):
        name = f"node-{number}"
        cache.put_node(
            Node(
                ObjectMeta(name=name, labels={HOST: name, ZONE: f"zone-{number % 10}"}),
                status=NodeStatus(
                    {"cpu": "64", "memory": "512Gi", "pods": "5000"},
                    images=(ContainerImage((IMAGE,), 500 * 2**20),) if number % 3 else None,
                ),
            )
        )
    for number in range(placed):
        labels = {"app": f"other-{number % 100}"}
        affinity = Affinity(
            pod_anti_affinity=PodAffinity((PodAffinityTerm(LabelSelector(labels), topology_key=HOST),))
        )
        cache.put_pod(
            Pod(
                ObjectMeta(name=f"old-{number}", namespace="default", uid=f"old-{number}", labels=labels),
                PodSpec(node_name=f"node-{number % nodes}", affinity=affinity if number % 100 < 30 else None),
            )
        )
    return cache


def spread(key: str, how: str) -> PodSpec:
    """One spread constraint over pods like it."""
    return PodSpec(topology_spread_constraints=(TopologySpreadConstraint(1, key, how, LIKE),))


def affine(key: str, apart: bool = False, preferred: bool = False) -> PodSpec:
    """One term about pods like it."""
    term = PodAffinityTerm(LIKE, topology_key=key)
    terms = PodAffinity(None, (WeightedPodAffinityTerm(100, term),)) if preferred else PodAffinity((term,))
    return PodSpec(affinity=Affinity(None, None, terms) if apart else Affinity(None, terms))


CASES: Final[dict[str, PodSpec]] = {
    "plain": PodSpec(),
    "plain, of a ReplicaSet": PodSpec(),
    "hard spread over zones": spread(ZONE, "DoNotSchedule"),
    "hard spread over hosts": spread(HOST, "DoNotSchedule"),
    "soft spread over zones": spread(ZONE, "ScheduleAnyway"),
    "soft spread over hosts": spread(HOST, "ScheduleAnyway"),
    "affinity, zone": affine(ZONE),
    "anti-affinity, host": affine(HOST, apart=True),
    "preferred affinity, host": affine(HOST, preferred=True),
    "preferred anti-affinity, zone": affine(ZONE, apart=True, preferred=True),
}


def pod(number: int, spec: PodSpec, owned: bool) -> Pod:
    """One pod of the measured template."""
    main = Container(
        name="main", image=IMAGE, resources=ResourceRequirements({"cpu": "10m", "memory": "16Mi"})
    )
    owners = (OwnerReference("ReplicaSet", "it", "o", True, "apps/v1"),) if owned else ()
    return Pod(
        ObjectMeta(
            name=f"pod-{number}",
            namespace="default",
            uid=f"uid-{number}",
            labels=LIKE.match_labels,
            owner_references=owners,
        ),
        PodSpec(
            containers=(main,),
            affinity=spec.affinity,
            topology_spread_constraints=spec.topology_spread_constraints,
        ),
    )


def measure(
    cache: Cache, spec: PodSpec, owned: bool, decisions: int, after: Callable[[int], None] = lambda _: None
) -> tuple[float, float]:
    """Median and 99th percentile of decision and assumption together, in microseconds."""
    placer = Placer(cache, compile_policy(CheckedPolicy()))
    times = np.zeros(decisions)
    for number in range(decisions):
        placed = cache.put_pod(pod(number, spec, owned))
        started = time.thread_time_ns()
        decision = placer.place(placed, now=0.0)
        assert decision.node is not None, decision.message()
        cache.assume(placed.key, decision.node)
        times[number] = time.thread_time_ns() - started
        after(number)
    for number in range(decisions):
        cache.remove_pod(pod(number, spec, owned).key)
    warm = times[20:] / 1000
    return float(np.median(warm)), float(np.percentile(warm, 99))


def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--placed", type=int, default=5000, help="pods that are there from the start")
    parser.add_argument("--decisions", type=int, default=1000)
    arguments = parser.parse_args()
    cache = world(arguments.nodes, arguments.placed)
    cache.put_grouping(ReplicaSet(Identity(name="it", namespace="default"), SelectingSpec(LIKE)))
    print(f"{'':32} {'median µs':>10} {'p99 µs':>10}")
    for name, spec in CASES.items():
        median, p99 = measure(cache, spec, "ReplicaSet" in name, arguments.decisions)
        print(f"{name:32} {median:>10.0f} {p99:>10.0f}", flush=True)


if __name__ == "__main__":
    main()
