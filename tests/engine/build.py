"""Short ways to write nodes, pods and policies in tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from engine.compile import compile_policy
from engine.delay.map import DelayMap
from engine.model.objects import (
    Affinity,
    Condition,
    Container,
    ContainerPort,
    Node,
    NodeAffinity,
    NodeSelector,
    NodeSelectorTerm,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    OwnerReference,
    Pod,
    PodSpec,
    PreferredTerm,
    Requirement,
    ResourceRequirements,
    Taint,
    Toleration,
)
from engine.placement import Decision, Placer
from engine.state.cache import Cache
from grammar.policy import BUILTIN_DOMAINS, CheckedPolicy, Rule

ZONE = "topology.kubernetes.io/zone"
PER_NODE, PER_ZONE, PER_REGION = BUILTIN_DOMAINS
ROOMY = {"cpu": "4", "memory": "8Gi", "pods": "110"}
NOW = 1_700_000_000.0


def node(
    name: str,
    labels: Mapping[str, str] | None = None,
    *,
    zone: str = "",
    allocatable: Mapping[str, str | int | float] | None = None,
    taints: Iterable[Taint] = (),
    cordoned: bool = False,
    ready: bool | None = None,
    created: float = 0.0,
) -> Node:
    every = dict(labels or {})
    if zone:
        every[ZONE] = zone
    conditions = None if ready is None else (Condition(type="Ready", status="True" if ready else "Unknown"),)
    return Node(
        ObjectMeta(name=name, labels=every or None, creation_timestamp=datetime.fromtimestamp(created, UTC)),
        NodeSpec(unschedulable=cordoned, taints=tuple(taints) or None),
        NodeStatus(allocatable=dict(ROOMY if allocatable is None else allocatable), conditions=conditions),
    )


def pod(
    name: str = "pod",
    labels: Mapping[str, str] | None = None,
    *,
    requests: Mapping[str, str | int | float] | None = None,
    namespace: str = "default",
    on: str = "",
    uid: str = "",
    owner: tuple[str, str] | None = None,
    ports: Iterable[ContainerPort] = (),
    selector: Mapping[str, str] | None = None,
    required: Iterable[NodeSelectorTerm] | None = None,
    preferred: Iterable[PreferredTerm] = (),
    tolerations: Iterable[Toleration] = (),
    terminating: bool = False,
    created: float = NOW,
) -> Pod:
    affinity = None
    preferring = tuple(preferred)
    if required is not None or preferring:
        selecting = NodeSelector(tuple(required)) if required is not None else None
        affinity = Affinity(node_affinity=NodeAffinity(selecting, preferring or None))
    main = Container(
        name="main",
        resources=ResourceRequirements(requests=dict(requests)) if requests else None,
        ports=tuple(ports) or None,
    )
    return Pod(
        ObjectMeta(
            name=name,
            namespace=namespace,
            uid=uid or f"uid-{name}",
            labels=dict(labels) if labels else None,
            owner_references=(OwnerReference(*owner, uid="o", controller=True),) if owner else (),
            creation_timestamp=datetime.fromtimestamp(created, UTC),
            deletion_timestamp=datetime.fromtimestamp(created, UTC) if terminating else None,
        ),
        PodSpec(
            node_name=on,
            containers=(main,),
            node_selector=dict(selector) if selector else None,
            affinity=affinity,
            tolerations=tuple(tolerations) or None,
        ),
    )


def expression(key: str, operator: str, *values: str) -> NodeSelectorTerm:
    return NodeSelectorTerm(match_expressions=(Requirement(key, operator, values or None),))


def field(key: str, operator: str, *values: str) -> NodeSelectorTerm:
    return NodeSelectorTerm(match_fields=(Requirement(key, operator, values or None),))


class Bench:
    """A cache and a placer, with the shortest way to a decision."""

    def __init__(
        self,
        nodes: Iterable[Node],
        policy: CheckedPolicy | Iterable[Rule] = (),
        delays: Iterable[tuple[str, str, float]] = (),
        pods: Iterable[Pod] = (),
        seed: int = 0,
    ) -> None:
        checked = policy if isinstance(policy, CheckedPolicy) else CheckedPolicy(rules=tuple(policy))
        self.cache = Cache()
        for one in nodes:
            self.cache.put_node(one)
        for placed in pods:
            self.cache.put_pod(placed)
        self.placer = Placer(self.cache, compile_policy(checked), DelayMap.from_pairs(delays), seed)

    def place(
        self, asked: Pod, now: float = NOW, waited_ms: float = 0.0, *, diagnose: bool = False
    ) -> Decision:
        return self.placer.place(self.cache.put_pod(asked), now, waited_ms, diagnose)

    def where(self, asked: Pod, now: float = NOW, waited_ms: float = 0.0) -> str | None:
        return self.place(asked, now, waited_ms).node

    def message(self, asked: Pod, now: float = NOW, waited_ms: float = 0.0) -> str:
        decision = self.place(asked, now, waited_ms)
        assert decision.node is None, f"placed on {decision.node}"
        return decision.message()

    def bind(self, asked: Pod, now: float = NOW, waited_ms: float = 0.0) -> str:
        decision = self.place(asked, now, waited_ms)
        assert decision.node is not None, decision.message()
        self.cache.assume(asked.key, decision.node)
        return decision.node
