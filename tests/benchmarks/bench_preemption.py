"""Microseconds for a pod that has to preempt, at both of its decisions.

Nodes are full of pods of a low priority, four on each. Each newcomer needs the room of three of them: it is decided who
has to go, they are taken away, and it is placed. Measured is the processor time of the thread that decides.
Run as ``python -m tests.benchmarks.bench_preemption [--nodes 5000] [--pods 500]``.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from engine.compile import compile_policy
from engine.model.objects import (
    Affinity,
    Container,
    LabelSelector,
    Node,
    NodeStatus,
    ObjectMeta,
    Pod,
    PodAffinity,
    PodAffinityTerm,
    PodSpec,
    ResourceRequirements,
)
from engine.placement import Placer
from engine.state.cache import Cache
from grammar.policy import CheckedPolicy

HOST = "kubernetes.io/hostname"
KINDS = ("plain", "with anti-affinity")


def node(number: int) -> Node:
    name = f"node-{number}"
    return Node(
        ObjectMeta(name=name, labels={HOST: name}),
        status=NodeStatus({"cpu": "4", "memory": "32Gi", "pods": "110"}),
    )


def pod(name: str, cpu: str, priority: int, app: str, on: str = "", affinity: Affinity | None = None) -> Pod:
    return Pod(
        ObjectMeta(name=name, namespace="default", uid=name, labels={"app": app}),
        PodSpec(
            node_name=on,
            priority=priority,
            affinity=affinity,
            containers=(Container("main", ResourceRequirements({"cpu": cpu, "memory": "500Mi"})),),
        ),
    )


def measure(nodes: int, pods: int, kind: str) -> tuple[list[float], list[float]]:
    """Microseconds of each preemption, and of each placement after it."""
    cache = Cache()
    for number in range(nodes):
        cache.put_node(node(number))
        for old in range(4):
            cache.put_pod(pod(f"old-{number}-{old}", "900m", 0, "old", f"node-{number}"))
    placer = Placer(cache, compile_policy(CheckedPolicy((), ())))
    apart = None
    if kind != "plain":
        term = PodAffinityTerm(LabelSelector({"app": "new"}), topology_key=HOST)
        apart = Affinity(pod_anti_affinity=PodAffinity((term,)))
    preempting, placing = [], []
    for number in range(pods):
        placed = cache.put_pod(pod(f"new-{number}", "3", 10, "new", affinity=apart))
        began = time.thread_time()
        decision = placer.place(placed, 0.0, preempt=True)
        preempting.append((time.thread_time() - began) * 1e6)
        found = decision.preemption
        assert found is not None
        assert found.node is not None
        assert len(found.victims) == 3
        cache.nominations.put(placed, found.node)
        for victim in found.victims:
            cache.remove_pod(victim.key)
        began = time.thread_time()
        decision = placer.place(placed, 0.0, preempt=True)
        placing.append((time.thread_time() - began) * 1e6)
        assert decision.node == found.node
        cache.assume(placed.key, decision.node)
    return preempting, placing


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--pods", type=int, default=500)
    options = parser.parse_args()
    print(f"{options.nodes} nodes, {4 * options.nodes} pods of low priority; microseconds")
    print(f"{'newcomers':<20} {'the first':>10} {'median':>8} {'99%':>8} {'placed':>8}")
    for kind in KINDS:
        preempting, placing = measure(options.nodes, options.pods, kind)
        print(
            f"{kind:<20} {preempting[0]:>10.0f} {np.median(preempting):>8.0f} "
            f"{np.percentile(preempting[1:], 99):>8.0f} {np.median(placing):>8.0f}"
        )


if __name__ == "__main__":
    main()
