"""Caches never go stale: what was kept up through any history decides as what sees the end of it for the first time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

import msgspec
import numpy as np
from hypothesis import given, note
from hypothesis import strategies as st

from engine.compile import compile_policy
from engine.compile.subject import Moment, PodSelector
from engine.model.objects import ContainerStatus, Node, Pod, PodStatus
from engine.placement import Placer
from engine.state.cache import Cache
from grammar.policy import CheckedPolicy, Compare, FactRef, Kind, Literal, Operator, Subject
from tests.engine import worlds
from tests.engine.naive import kubernetes
from tests.engine.naive.world import World, workload_name
from tests.engine.placement.compare import cache_of, content, delay_map, fresh, place
from tests.engine.random_policies import policy

Step = tuple[str, int, int]


@dataclass
class History:
    """Everything that happens, drawn beforehand; a step picks from it by number."""

    nodes: list[Node]
    pods: list[Pod]
    updates: list[Pod]
    policies: list[CheckedPolicy]
    delays: list[dict[tuple[str, str], float]]
    steps: list[Step]


KINDS = (
    *("place", "place and assume") * 4,
    *(
        "put node",
        "remove node",
        "put pod",
        "update pod",
        "bind pod",
        "terminate pod",
        "remove pod",
        "restart pod",
        "relabel pod",
    )
    * 2,
    *("forget", "swap delays", "swap plan", "later"),
)
NAMES = ("web", "p1", "p2", "p3", "p4")


def history(seed: int, steps: list[Step]) -> History:
    r = Random(seed)
    return History(
        nodes=[worlds.node(r, name) for name in worlds.NODES[:4] for _ in range(2)],
        pods=[worlds.pod(r, name) for name in NAMES],
        updates=[worlds.pod(r, name, ("unknown",)) for name in NAMES[:3]],
        policies=[policy(r) for _ in range(2)],
        delays=[worlds.delays(r) for _ in range(2)],
        steps=steps,
    )


def histories(kinds: tuple[str, ...] = KINDS) -> st.SearchStrategy[History]:
    small = st.integers(0, 11)
    steps = st.lists(st.tuples(st.sampled_from(kinds), small, small), min_size=6, max_size=30)
    return st.builds(history, st.integers(0, 2**32), steps)


class Run:
    """A cache and a placer that live through a history, beside a plain world that does, too."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.world = World(delays=history.delays[0])
        self.policy = history.policies[0]
        self.now = worlds.NOW
        self.cache = Cache()
        self.placer = Placer(self.cache, compile_policy(self.policy), delay_map(self.world.delays))
        for number in (0, 2, 5):
            self.put_node(number)
        for pod in history.pods[:2]:
            self.put_pod(pod)

    def put_node(self, number: int) -> None:
        node = self.history.nodes[number % len(self.history.nodes)]
        self.world.nodes[node.name] = node
        self.cache.put_node(node)

    def put_pod(self, pod: Pod) -> None:
        self.world.put_pod(pod)
        self.cache.put_pod(pod)

    def step(self, kind: str, one: int, other: int) -> None:
        world, history = self.world, self.history
        pod = history.pods[one % len(history.pods)]
        key, known = pod.key, world.pods.get(pod.key)
        node = worlds.NODES[other % 5]
        match kind:
            case "put node":
                self.put_node(one)
            case "remove node":
                world.nodes.pop(node, None)
                self.cache.remove_node(node)
            case "put pod":
                self.put_pod(self.keep_node(pod))
            case "update pod":
                update = history.updates[one % len(history.updates)]
                self.put_pod(self.keep_node(Pod(update.metadata, update.spec, update.status)))
            case "bind pod" if known is not None:
                target = world.node_of(known) or node
                spec = msgspec.structs.replace(known.spec, node_name=target)
                self.put_pod(msgspec.structs.replace(known, spec=spec))
            case "restart pod" if known is not None:
                status = PodStatus(container_statuses=(ContainerStatus("main-0", other % 4),))
                self.put_pod(msgspec.structs.replace(known, status=status))
            case "relabel pod" if known is not None:  # it holds what it held, and counts as another
                labels = history.updates[other % len(history.updates)].metadata.labels
                metadata = msgspec.structs.replace(known.metadata, labels=labels)
                self.put_pod(msgspec.structs.replace(known, metadata=metadata))
            case "terminate pod" if known is not None:
                gone = msgspec.structs.replace(
                    known.metadata, deletion_timestamp=known.metadata.creation_timestamp
                )
                self.put_pod(msgspec.structs.replace(known, metadata=gone))
            case "remove pod":
                world.remove_pod(key)
                self.cache.remove_pod(key)
            case "forget":
                world.assumed.pop(key, None)
                self.cache.forget(key)
            case "swap delays":
                world.delays = history.delays[one % 2]
                self.placer.swap_delays(delay_map(world.delays))
            case "swap plan":
                self.policy = history.policies[one % 2]
                self.placer.swap_plan(compile_policy(self.policy))
            case "later":
                self.now += one * 10
            case "place" | "place and assume" if known is not None and world.queued(known):
                self.place(known, waited_ms=(0.0, 5000.0, 60_000.0)[other % 3], assume=kind != "place")

    def keep_node(self, pod: Pod) -> Pod:
        """The API server never takes a pod off its node."""
        known = self.world.pods.get(pod.key)
        name = known.spec.node_name if known is not None else ""
        return msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, node_name=name))

    def place(self, pod: Pod, waited_ms: float, assume: bool) -> None:
        decision = place(self.placer, self.cache, pod, self.now, waited_ms)
        placer, cache = fresh(self.world, self.policy, self.reordered())
        expected = place(placer, cache, pod, self.now, waited_ms)
        assert content(decision, self.cache) == content(expected, cache)
        if assume and decision.node is not None:
            self.world.assumed[pod.key] = decision.node
            self.cache.assume(pod.key, decision.node)

    def reordered(self) -> Cache:
        return cache_of(
            self.world, sorted(self.world.nodes, reverse=True), sorted(self.world.pods, reverse=True)
        )


@given(histories())
def test_decides_as_if_seen_for_the_first_time(happened: History) -> None:
    run = Run(happened)
    for kind, one, other in happened.steps:
        note(f"{kind} {one} {other}")
        run.step(kind, one, other)
    for pod in list(run.world.pods.values()):
        if run.world.queued(pod):
            run.place(pod, waited_ms=0.0, assume=False)


@given(histories(kinds=tuple(kind for kind in KINDS if not kind.startswith("place"))))
def test_columns_equal_a_recount(happened: History) -> None:
    run = Run(happened)
    restarted = FactRef(Subject.POD, "restarts", Kind.COUNT)
    condition = Compare(restarted, Operator.GT, Literal(0, Kind.COUNT))
    census = run.cache.census(PodSelector(condition, Moment()))
    census.by_domain("role").refresh()
    for kind, one, other in happened.steps:
        note(f"{kind} {one} {other}")
        run.step(kind, one, other)
        census.by_domain("rack").refresh()
    world, columns = run.world, run.cache.columns
    assert set(columns.node_names()) == set(world.nodes)
    for node in world.nodes.values():
        slot = columns.slot(node.name)
        assert slot is not None
        held = world.holding(node.name)
        assert {placed.key for placed in run.cache.pods_on(node.name)} == {pod.key for pod in held}
        for resource in ("cpu", "memory", "ephemeral-storage", worlds.GPU):
            used = columns.resource(columns.used, resource)[slot]
            assert used == kubernetes.used(world, node, resource), resource
            room = columns.resource(columns.allocatable, resource)[slot]
            assert room == kubernetes.allocatable(node).get(resource, 0), resource
        assert columns.used["pods"][slot] == len(held)
        for resource in ("cpu", "memory"):
            scoring = sum(kubernetes.scoring(pod).get(resource, 0) for pod in held)
            assert columns.scoring_used[resource][slot] == scoring
        ports = Counter(port for pod in held for port in kubernetes.host_ports(pod))
        found = {
            (protocol, number, address): count
            for (protocol, number), slots in columns.ports.items()
            for address, count in slots.get(slot, {}).items()
        }
        assert found == dict(ports)
        assert columns.labels.of(slot) == (node.metadata.labels or {})
        assert columns.taint_sets[columns.taint_ids[slot]] == (node.spec.taints or ())
        assert columns.unschedulable[slot] == node.spec.unschedulable
    assert columns.alive.sum() == len(world.nodes)
    counted = [
        pod for pod in world.counted() if sum(s.restart_count for s in pod.status.container_statuses or ())
    ]
    by_node = Counter(world.node_of(pod) for pod in counted)
    assert {columns.names[slot]: n for slot, n in enumerate(census.slots().tolist()) if n} == by_node
    for label in ("role", "rack"):
        domain = census.by_domain(label)
        values = Counter(
            (world.nodes[world.node_of(pod)].metadata.labels or {}).get(label) for pod in counted
        )
        del values[None]
        counts = domain.refresh()
        assert {domain.column.values[code]: n for code, n in enumerate(counts.tolist()) if n} == values
    for space in worlds.NAMESPACES:
        pods = [pod for pod in world.pods.values() if pod.metadata.namespace == space]
        assert set(run.cache.workloads.names(space)) == {workload_name(pod) for pod in pods}
        for name in run.cache.workloads.names(space):
            workload = run.cache.workloads.get(space, name)
            assert workload is not None
            on = Counter(world.node_of(p) for p in world.counted() if p in pods and workload_name(p) == name)
            assert {columns.names[slot]: n for slot, n in workload.slots.items()} == on
    assert not np.any(columns.alive[columns.size :])
