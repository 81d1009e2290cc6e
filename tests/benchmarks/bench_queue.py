"""How long a hopeful pod waits beside hopeless ones, while nodes report and pods come and go.

    python -m tests.benchmarks.bench_queue [--nodes 1000] [--rounds 300]

The scheduler's own thread is measured, without a cluster: in each round (a tenth of a second of virtual time) some
nodes send a heartbeat, one pod leaves a node, another scheduler's pod comes, now and then a node's labels change, and
a hopeful pod arrives. Told is the real time from its arrival until its binding is handed over, and what the scheduler
computed in all for each round. The hopeless pods ask for what no node has, for a label that no node carries, for more
than any node has free, or not to be near what is everywhere; they are of one shape per kind, or each of its own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import numpy as np

from engine.binder import Assignment, BindResult, Outcome
from engine.cluster.protocol import ClusterEvent, ResourceKind
from engine.cluster.reflector import Deleted, Synced, Upserted
from engine.compile import compile_policy
from engine.model.objects import (
    Affinity,
    Condition,
    Container,
    LabelSelector,
    Node,
    NodeStatus,
    ObjectMeta,
    Pod,
    PodAffinity,
    PodAffinityTerm,
    PodKey,
    PodSpec,
    ResourceRequirements,
)
from engine.placement import Placer
from engine.scheduler.queue import SchedulingQueue
from engine.scheduler.scheduler import Scheduler
from engine.scheduler.watched import WATCHED
from engine.state.cache import Cache
from grammar.policy import CheckedPolicy

OURS = "custom-scheduler"
_BATCH = 16
_STEP = 0.1


class VirtualTime:
    """A clock that the benchmark moves."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


@dataclass
class Bindings:
    """Takes bindings, and answers when asked to."""

    submitted: list[Assignment] = field(default_factory=list)
    pending: int = 0

    def submit(self, assignment: Assignment) -> None:
        self.submitted.append(assignment)

    def wait_idle(self, timeout: float) -> bool:
        return True

    def stop(self, timeout: float = 0.0) -> tuple[BindResult, ...]:
        return ()


class Silence:
    """A recorder that writes nothing."""

    def event(self, event: ClusterEvent) -> None:
        """Nothing."""

    def condition(self, pod: PodKey, condition: Condition) -> None:
        """Nothing."""

    def stop(self, timeout: float = 0.0) -> int:
        return 0


def node(number: int, beat: int = 0, **labels: str) -> Node:
    return Node(
        ObjectMeta(
            name=f"node-{number}",
            resource_version=str(beat),
            labels={"kubernetes.io/hostname": f"node-{number}", "zone": f"z{number % 3}", **labels},
        ),
        status=NodeStatus(
            {"cpu": "8", "memory": "16Gi", "pods": "110"},
            conditions=(Condition("Ready", "True", last_transition_time=None),),
        ),
    )


def pod(name: str, cpu: str = "1", on: str = "", labels: dict[str, str] | None = None, **spec: object) -> Pod:
    return Pod(
        ObjectMeta(name=name, namespace="default", uid=f"uid-{name}", labels=labels),
        PodSpec(
            node_name=on,
            scheduler_name=OURS if not on else "somebody-else",
            containers=(Container("main", ResourceRequirements({"cpu": cpu, "memory": "64Mi"})),),
            **spec,  # type: ignore[arg-type]
        ),
    )


def hopeless(number: int, own_shape: bool) -> Pod:
    labels = {"own": f"{number}"} if own_shape else {}
    apart = Affinity(
        pod_anti_affinity=PodAffinity(
            (PodAffinityTerm(LabelSelector({"app": "filler"}), topology_key="kubernetes.io/hostname"),)
        )
    )
    name = f"hopeless-{number}"
    match number % 4:
        case 0:
            return pod(name, "64", labels=labels)
        case 1:
            return pod(name, labels=labels, node_selector={"zone": "nowhere"})
        case 2:
            return pod(name, "7500m", labels=labels)
        case _:
            return pod(name, labels=labels, affinity=apart)


class Bench:
    """A cluster whose nodes are nearly full, and hopeless pods that have been tried before."""

    def __init__(self, nodes: int, hopeless_pods: int, own_shapes: bool) -> None:
        self.random = Random(1)
        self.clock = VirtualTime()
        cache = Cache()
        plan = compile_policy(CheckedPolicy((), ()))
        self.bindings = Bindings()
        self.scheduler = Scheduler(
            cache, Placer(cache, plan), SchedulingQueue(), self.bindings, Silence(), self.clock, [OURS]
        )
        handle = self.scheduler.handle
        self.nodes = nodes
        for number in range(nodes):
            handle(Upserted(node(number)))
        self.fillers: list[Pod] = []
        for number in range(nodes * 6):
            filler = pod(f"filler-{number}", "1", f"node-{number % nodes}", {"app": "filler"})
            self.fillers.append(filler)
            handle(Upserted(filler))
        for kind in WATCHED:
            handle(Synced(ResourceKind(kind), 0))
        for number in range(hopeless_pods):
            handle(Upserted(hopeless(number, own_shapes)))
        for _ in range(6):  # until all of them wait as long as they ever do
            while self.scheduler.run_pass(_BATCH):
                pass
            self.clock.time += 20.0
        self.serial = 0

    def rounds(self, count: int) -> Iterator[tuple[float, float]]:
        """Latency of the hopeful pod of each round, and all that was computed in it; seconds."""
        handle, random = self.scheduler.handle, self.random
        for beat in range(1, count + 1):
            self.clock.time += _STEP
            began = time.perf_counter()
            for _ in range(max(1, self.nodes // 100)):
                handle(Upserted(node(random.randrange(self.nodes), beat)))
            if beat % 20 == 0:
                handle(Upserted(node(random.randrange(self.nodes), beat, changed=f"{beat}")))
            gone = self.fillers.pop(random.randrange(len(self.fillers)))
            handle(Deleted(gone))
            self.serial += 1
            come = pod(f"come-{self.serial}", "1", f"node-{random.randrange(self.nodes)}", {"app": "filler"})
            self.fillers.append(come)
            handle(Upserted(come))
            arrived = time.perf_counter()
            handle(Upserted(pod(f"hopeful-{self.serial}", "100m")))
            latency = float("nan")
            while self.scheduler.run_pass(_BATCH):
                for assignment in self.bindings.submitted:
                    if assignment.pod.name == f"hopeful-{self.serial}":
                        latency = time.perf_counter() - arrived
                    handle(BindResult(assignment, Outcome.BOUND))
                self.bindings.submitted.clear()
            yield latency, time.perf_counter() - began
            placed = pod(f"hopeful-{self.serial}", "100m")
            handle(Deleted(placed))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--hopeless", type=int, nargs="*", default=[0, 1000, 10_000])
    options = parser.parse_args()
    print(f"{options.nodes} nodes, {options.rounds} rounds; milliseconds")
    print(f"{'hopeless':>9} {'shapes':>9} {'median':>8} {'99%':>8} {'worst':>8} {'a round':>8}")
    for number in options.hopeless:
        for own_shapes in (False, True) if number else (False,):
            measured = list(Bench(options.nodes, number, own_shapes).rounds(options.rounds))
            latency = np.array([one for one, _ in measured]) * 1000
            whole = np.array([one for _, one in measured]) * 1000
            print(
                f"{number:>9} {'own' if own_shapes else 'few':>9} {np.median(latency):8.2f} "
                f"{np.percentile(latency, 99):8.2f} {latency.max():8.2f} {whole.mean():8.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
