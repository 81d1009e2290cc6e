"""Kubernetes' own rules for one pod and one node."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from fractions import Fraction

from engine.model.objects import Container, Node, NodeSelectorTerm, Pod, Requirement, Taint, Toleration
from tests.engine.naive.world import World

SUFFIXES = {
    **{
        suffix: Fraction(1024) ** power
        for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)
    },
    **dict(zip("num", (Fraction(1, 10**9), Fraction(1, 10**6), Fraction(1, 1000)), strict=True)),
    **{suffix: Fraction(1000) ** power for power, suffix in enumerate("kMGTPE", 1)},
}
Amounts = dict[str, Fraction]


def quantity(text: str | int | float) -> Fraction:
    text = str(text)
    for suffix, factor in SUFFIXES.items():
        if text.endswith(suffix):
            return Fraction(text.removesuffix(suffix)) * factor
    return Fraction(text)


def plus(*all_amounts: Amounts) -> Amounts:
    names = {name for amounts in all_amounts for name in amounts}
    return {name: sum((a.get(name, Fraction(0)) for a in all_amounts), Fraction(0)) for name in names}


def most(*all_amounts: Amounts) -> Amounts:
    names = {name for amounts in all_amounts for name in amounts}
    return {name: max(a[name] for a in all_amounts if name in a) for name in names}


def read(quantities: Mapping[str, str | int | float] | None) -> Amounts:
    return {name: quantity(text) for name, text in (quantities or {}).items()}


def sidecar(container: Container) -> bool:
    return container.restart_policy == "Always"


def requests(pod: Pod, defaults: Amounts | None = None) -> dict[str, int]:
    """The effective request: millicores of cpu, whole units of the rest."""

    def own(container: Container, resizable: bool = True) -> Amounts:
        asked = read(container.resources.requests if container.resources else None)
        statuses = [*(pod.status.container_statuses or ()), *(pod.status.init_container_statuses or ())]
        for status in statuses if resizable else ():
            if status.name == container.name and status.resources is not None:
                infeasible = any(
                    c.type == "PodResizePending" and c.reason == "Infeasible"
                    for c in pod.status.conditions or ()
                )
                have = most(read(status.resources.requests), read(status.allocated_resources))
                asked = have if infeasible else most(have, asked)
        return {**(defaults or {}), **asked}

    running = [own(container) for container in pod.spec.containers or ()]
    peak: Amounts = {}
    before: list[Amounts] = []
    for container in pod.spec.init_containers or ():
        amounts = own(container, resizable=sidecar(container))
        peak = most(peak, plus(amounts, *before))
        if sidecar(container):
            before.append(amounts)
    total = most(plus(*running, *before), peak)
    pod_level = read(pod.spec.resources.requests if pod.spec.resources else None)
    for name, value in pod_level.items():
        if name in ("cpu", "memory") or name.startswith("hugepages-"):
            total[name] = value
    total = plus(total, read(pod.spec.overhead))
    return {name: math.ceil(value * 1000 if name == "cpu" else value) for name, value in total.items()}


def scoring(pod: Pod) -> dict[str, int]:
    return requests(pod, {"cpu": Fraction(1, 10), "memory": Fraction(200 * 2**20)})


def allocatable(node: Node) -> dict[str, int]:
    return {
        name: math.ceil(value * 1000 if name == "cpu" else value)
        for name, value in read(node.status.allocatable).items()
    }


def used(world: World, node: Node, resource: str) -> int:
    return sum(requests(pod).get(resource, 0) for pod in world.holding(node.name))


def tolerated(taint: Taint, tolerations: Iterable[Toleration]) -> bool:
    for toleration in tolerations:
        effect = toleration.effect in ("", taint.effect)
        key = toleration.key == taint.key or (toleration.key == "" and toleration.operator == "Exists")
        same_value = toleration.operator in ("", "Equal") and toleration.value == taint.value
        if effect and key and (toleration.operator == "Exists" or same_value):
            return True
    return False


def unschedulable(pod: Pod, node: Node) -> bool:
    cordon = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")
    return not node.spec.unschedulable or tolerated(cordon, pod.spec.tolerations or ())


def taints(pod: Pod, node: Node) -> bool:
    return all(
        tolerated(taint, pod.spec.tolerations or ())
        for taint in node.spec.taints or ()
        if taint.effect in ("NoSchedule", "NoExecute")
    )


def integer(text: str) -> int | None:
    if re.fullmatch(r"[+-]?[0-9]+", text) and -(2**63) <= int(text) < 2**63:
        return int(text)
    return None


def expression(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    values = requirement.values or ()
    match requirement.operator:
        case "In":
            return value in values
        case "NotIn":
            return bool(values) and value not in values
        case "Exists":
            return value is not None and not values
        case "DoesNotExist":
            return value is None and not values
        case "Gt" | "Lt":
            number = None if value is None else integer(value)
            bound = integer(values[0]) if len(values) == 1 else None
            if number is None or bound is None:
                return False
            return number > bound if requirement.operator == "Gt" else number < bound
    return False


def term(selected: NodeSelectorTerm, node: Node) -> bool:
    expressions, fields = selected.match_expressions or (), selected.match_fields or ()
    if not expressions and not fields:
        return False
    for requirement in fields:
        if requirement.key != "metadata.name" or len(requirement.values or ()) != 1:
            return False
        if requirement.operator not in ("In", "NotIn"):
            return False
        if (node.name in (requirement.values or ())) != (requirement.operator == "In"):
            return False
    return all(expression(requirement, node.metadata.labels or {}) for requirement in expressions)


def affinity(pod: Pod, node: Node) -> bool:
    labels = node.metadata.labels or {}
    if any(labels.get(key) != value for key, value in (pod.spec.node_selector or {}).items()):
        return False
    of_nodes = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    required = of_nodes.required_during_scheduling_ignored_during_execution if of_nodes else None
    return required is None or any(term(selected, node) for selected in required.node_selector_terms)


def named_nodes(pod: Pod) -> set[str]:
    """The nodes that every term of the required affinity names; none where some term leaves it open."""
    of_nodes = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    required = of_nodes.required_during_scheduling_ignored_during_execution if of_nodes else None
    found: set[str] = set()
    for selected in required.node_selector_terms if required else ():
        naming = [
            set(field.values or ())
            for field in selected.match_fields or ()
            if (field.key, field.operator) == ("metadata.name", "In")
        ]
        if not naming:
            return set()
        found |= set.intersection(*naming)
    return found


def host_ports(pod: Pod) -> list[tuple[str, int, str]]:
    containers = [*(pod.spec.containers or ()), *filter(sidecar, pod.spec.init_containers or ())]
    return [
        (port.protocol or "TCP", port.host_port, port.host_ip or "0.0.0.0")
        for container in containers
        for port in container.ports or ()
        if port.host_port
    ]


def ports(pod: Pod, node: Node, world: World) -> bool:
    taken = [port for other in world.holding(node.name) for port in host_ports(other)]
    return not any(
        protocol == other_protocol
        and number == other_number
        and (ip == other_ip or "0.0.0.0" in (ip, other_ip))
        for protocol, number, ip in host_ports(pod)
        for other_protocol, other_number, other_ip in taken
    )


def short_of(pod: Pod, node: Node, world: World) -> list[str]:
    """Every resource of which the node has too little left."""
    room = allocatable(node)
    short = ["pods"] if len(world.holding(node.name)) + 1 > room.get("pods", 0) else []
    for name, value in requests(pod).items():
        if value > 0 and value > room.get(name, 0) - used(world, node, name):
            short.append(name)
    return short


def least_allocated(pod: Pod, node: Node, world: World) -> int:
    shares = []
    for name in ("cpu", "memory"):
        capacity = allocatable(node).get(name, 0)
        if capacity:
            asked = scoring(pod).get(name, 0) + sum(scoring(p).get(name, 0) for p in world.holding(node.name))
            shares.append((capacity - asked) * 100 // capacity if asked <= capacity else 0)
    return sum(shares) // len(shares) if shares else 0


def balanced(pod: Pod, node: Node, world: World) -> int:
    def balance(with_pod: bool) -> int:
        fractions = []
        for name in ("cpu", "memory"):
            capacity = allocatable(node).get(name, 0)
            if capacity:
                asked = used(world, node, name) + (requests(pod).get(name, 0) if with_pod else 0)
                fractions.append(min(1.0, asked / capacity))
        deviation = abs((fractions[0] - fractions[1]) / 2) if len(fractions) == 2 else 0.0
        return int((1 - deviation) * 100)

    return 50 + (50 + balance(True) - balance(False)) // 2


def to_max(scores: dict[str, int], reverse: bool = False) -> dict[str, int]:
    highest = max(scores.values())
    scaled = {name: 100 * score // highest if highest else 0 for name, score in scores.items()}
    return {name: 100 - score for name, score in scaled.items()} if reverse else scaled


def stock_totals(pod: Pod, nodes: list[Node], world: World) -> dict[str, int]:
    """The stock scheduler's weighted sum for each of the nodes."""
    soft = [t for t in pod.spec.tolerations or () if t.effect in ("", "PreferNoSchedule")]
    intolerable = {
        node.name: sum(
            taint.effect == "PreferNoSchedule" and not tolerated(taint, soft)
            for taint in node.spec.taints or ()
        )
        for node in nodes
    }
    total = {name: 3 * score for name, score in to_max(intolerable, reverse=True).items()}
    of_nodes = pod.spec.affinity.node_affinity if pod.spec.affinity else None
    preferred = (of_nodes.preferred_during_scheduling_ignored_during_execution if of_nodes else None) or ()
    if preferred:
        weights = {node.name: sum(p.weight for p in preferred if term(p.preference, node)) for node in nodes}
        for name, score in to_max(weights).items():
            total[name] += 2 * score
    asks = any(requests(pod).get(name, 0) for name in ("cpu", "memory"))
    for node in nodes:
        total[node.name] += least_allocated(pod, node, world)
        if asks:
            total[node.name] += balanced(pod, node, world)
    return total
