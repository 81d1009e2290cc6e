"""One decision for a pod with a delay, a spread and a resource request, after one bind since the last.

Run ``python -m tests.benchmarks.bench_decision [NODES …]``. Prints, for each size, the median and the 99th percentile
of a decision with its bookkeeping (place + assume), the median of those that come right after a node was cordoned or
uncordoned, too, and the growth of resident memory over the run.
"""

from __future__ import annotations

import argparse
import gc
import resource
import time

import msgspec
import numpy as np

from engine.compile import compile_policy
from engine.delay.map import DelayMap
from engine.model.objects import (
    Container,
    Node,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    Pod,
    PodSpec,
    ResourceRequirements,
)
from engine.placement import Placer
from engine.state.cache import Cache
from grammar.policy import (
    BUILTIN_DOMAINS,
    BoundName,
    CheckedPolicy,
    Compare,
    Delay,
    ForEachLabel,
    Operator,
    PreferScaled,
    Require,
    Rule,
    Spread,
)

_ZONE = next(domain for domain in BUILTIN_DOMAINS if domain.name == "zone")

POLICY = CheckedPolicy(
    rules=(
        Rule(
            "near-source",
            None,
            (
                ForEachLabel(
                    "delay_",
                    "from",
                    "",
                    "limit",
                    (
                        Require(Compare(Delay("from", bound=True), Operator.LE, BoundName("limit"))),
                        PreferScaled(Delay("from", bound=True), weight=3, low=True),
                    ),
                ),
            ),
        ),
        Rule("survive-zone", None, (Spread(_ZONE, skew=1),)),
    )
)


def world(nodes: int, seed: int = 1) -> tuple[Cache, DelayMap]:
    """Nodes of 32 cores in ten zones, and round trips from node-0 to all of them: two thirds within 25 ms."""
    cache = Cache()
    for number in range(nodes):
        cache.put_node(
            Node(
                ObjectMeta(
                    name=f"node-{number}",
                    labels={
                        "kubernetes.io/hostname": f"node-{number}",
                        "topology.kubernetes.io/zone": f"zone-{number % 10}",
                    },
                ),
                status=NodeStatus(allocatable={"cpu": "32", "memory": "128Gi", "pods": "1000"}),
            )
        )
    random = np.random.default_rng(seed)
    names = [f"node-{number}" for number in range(nodes)]
    delays = random.uniform(0.5, 37.0, nodes).round(1)
    return cache, DelayMap.from_table(names, np.zeros(nodes, dtype=np.int64), np.arange(nodes), delays)


def pod(number: int) -> Pod:
    """One pod of the measured shape."""
    return Pod(
        ObjectMeta(
            name=f"pod-{number}",
            namespace="default",
            uid=f"uid-{number}",
            labels={"app": "video", "delay_node-0": "25"},
        ),
        PodSpec(
            containers=(
                Container(
                    name="main", resources=ResourceRequirements(requests={"cpu": "10m", "memory": "16Mi"})
                ),
            )
        ),
    )


def after_changes(nodes: int, decisions: int) -> float:
    """Median in microseconds of decisions each of which comes after a change of some node."""
    cache, delays = world(nodes)
    placer = Placer(cache, compile_policy(POLICY), delays)
    times: list[int] = []
    for number in range(decisions):
        one = cache.node(f"node-{number * 7 % nodes}")
        assert one is not None
        cordoned = not one.spec.unschedulable
        cache.put_node(msgspec.structs.replace(one, spec=NodeSpec(unschedulable=cordoned)))
        placed = cache.put_pod(pod(number))
        started = time.perf_counter_ns()
        decision = placer.place(placed, now=0.0)
        assert decision.node is not None
        cache.assume(placed.key, decision.node)
        times.append(time.perf_counter_ns() - started)
    return float(np.median(times[1:]) / 1000)


def measure(nodes: int, decisions: int) -> tuple[float, float, float]:
    """Median and 99th percentile in microseconds, and the growth of resident memory in MiB after the first tenth.

    A bound pod leaves again a thousand decisions later, so that the cluster does not fill up and the run can go on
    for ever.
    """
    cache, delays = world(nodes)
    placer = Placer(cache, compile_policy(POLICY), delays)
    times = np.ones(decisions)  # touched at once, so that it is no growth
    settled = 0
    for number in range(decisions):
        placed = cache.put_pod(pod(number))
        started = time.perf_counter_ns()
        decision = placer.place(placed, now=0.0)
        assert decision.node is not None
        cache.assume(placed.key, decision.node)
        times[number] = time.perf_counter_ns() - started
        if number >= 1000:
            cache.remove_pod(pod(number - 1000).key)
        if number == decisions // 10:
            gc.collect()
            settled = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - settled) / 1024
    warm = times[min(20, decisions // 10) :] / 1000
    return float(np.median(warm)), float(np.percentile(warm, 99)), growth


def main() -> None:
    """Measure each size and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nodes", nargs="*", type=int, default=[1000, 5000, 20_000, 100_000])
    parser.add_argument(
        "--decisions", type=int, default=3000, help="decisions at each size (1000000 for memory)"
    )
    arguments = parser.parse_args()
    print(f"{'nodes':>8} {'median µs':>10} {'p99 µs':>10} {'node changed µs':>16} {'RSS growth MiB':>15}")
    for nodes in arguments.nodes:
        median, p99, growth = measure(nodes, arguments.decisions)
        changed = after_changes(nodes, 300)
        print(f"{nodes:>8} {median:>10.0f} {p99:>10.0f} {changed:>16.0f} {growth:>15.1f}", flush=True)


if __name__ == "__main__":
    main()
