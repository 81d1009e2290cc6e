"""Short ways to write clusters in which something has to be healed, and to read plans."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from engine.healing.plan import Plan
from engine.healing.planner import Planner
from engine.healing.situation import Situation
from engine.model.objects import Condition, Node, Pod, PodKey
from grammar import check_texts
from grammar.policy import BUILTIN_DOMAINS, CheckedPolicy, Heal, Trigger
from tests.engine import build
from tests.engine.build import NOW, Bench, node, pod

NEAR = """
rule near for pods where pod.labels has "delay_*" {
  for each label "delay_{from}" as limit in ms {
    require node.delay(from) <= limit
  }
}
"""


def checked(text: str) -> CheckedPolicy:
    result = check_texts({"scene.policy": text})
    assert result.policy is not None, result.diagnostics
    return result.policy


DOMAINS = {one.name: one for one in BUILTIN_DOMAINS}
LOST = Heal("loss", Trigger.NODE_LOST, None, 10_000.0)
DRAIN = Heal("drain", Trigger.NODE_DRAINING, None, 10_000.0)
DRIFT = Heal("drift", Trigger.BROKEN, "near", 10_000.0)
ROOM = Heal("room", Trigger.POD_UNSCHEDULABLE, None, 10_000.0, relocate=2)


def silent(one: Node, since: float) -> Node:
    """The node from the moment on at which nobody had heard of it for a while."""
    when = datetime.fromtimestamp(since, UTC)
    conditions = (Condition("Ready", "Unknown", "NodeStatusUnknown", "", when),)
    return replace(one, status=replace(one.status, conditions=conditions))


def a_node(name: str, zone: str = "", memory: str = "8Gi", **more: Any) -> Node:
    labels = {"kubernetes.io/hostname": name}
    return node(
        name, labels, zone=zone, allocatable={"cpu": "8", "memory": memory, "pods": "110"}, ready=True, **more
    )


def a_pod(name: str, on: str = "", memory: str = "1Gi", *, kind: str = "ReplicaSet", **labels: str) -> Pod:
    """A pod of a workload of its own; ``kind`` "" for a bare one."""
    owner = (kind, f"of-{name}") if kind else None
    return pod(
        name, labels, requests={"memory": memory}, on=on, owner=owner, created=NOW - 10_000, namespace="shop"
    )


def prioritised(one: Pod, priority: int) -> Pod:
    return replace(one, spec=replace(one.spec, priority=priority))


class Scene:
    """A cluster with a planner."""

    def __init__(
        self,
        heals: Heal | Iterable[Heal],
        nodes: Iterable[Node],
        pods: Iterable[Pod] = (),
        delays: Iterable[tuple[str, str, float]] = (),
        text: str = "",
    ) -> None:
        self.policy = checked(text)
        self.heals = (heals,) if isinstance(heals, Heal) else tuple(heals)
        self.bench = Bench(nodes, self.policy, delays, pods)
        self.cache = self.bench.cache
        self.planner = Planner(self.cache, self.bench.placer, self.heals)

    def key(self, name: str) -> PodKey:
        return PodKey("shop", name, f"uid-{name}")

    def plan(self, now: float = NOW, **situation: Any) -> Plan:
        return self.planner.plan(now, Situation(**situation))

    def lose(self, *names: str, since: float) -> None:
        for name in names:
            one = self.cache.node(name)
            assert one is not None
            self.cache.put_node(silent(one, since))


def told(plan: Plan) -> list[str]:
    """The moves and stays of a plan, a line each."""
    lines = []
    for one in plan.moves:
        backup = " (backup)" if one.backup else ""
        helps = f" for {one.helps.name}" if one.helps else ""
        lines.append(f"{one.pod.name}: {one.source} -> {one.target} {one.way.value}{backup}{helps}")
    return lines + [f"{one.pod.name}: stays on {one.node}, {one.reason}" for one in plan.stays]


__all__ = [
    "DOMAINS",
    "DRAIN",
    "DRIFT",
    "LOST",
    "NEAR",
    "NOW",
    "ROOM",
    "Scene",
    "a_node",
    "a_pod",
    "build",
    "checked",
    "prioritised",
    "silent",
    "told",
]
