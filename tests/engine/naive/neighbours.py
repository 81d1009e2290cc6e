"""What a pod asks of the pods near it, in the words of the reference: one pod, one node, everything counted anew."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal

from engine.model.objects import (
    LabelSelector,
    Node,
    Pod,
    PodAffinity,
    PodAffinityTerm,
    ReplicaSet,
    ReplicationController,
    Service,
    StatefulSet,
    TopologySpreadConstraint,
)
from tests.engine.naive import kubernetes
from tests.engine.naive.world import World

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
Labels = Mapping[str, str]


def selects(selector: LabelSelector | None, labels: Labels) -> bool:
    if selector is None:
        return False
    for key, value in (selector.match_labels or {}).items():
        if labels.get(key) != value:
            return False
    for requirement in selector.match_expressions or ():
        found = labels.get(requirement.key)
        values = requirement.values or ()
        if requirement.operator in ("In", "NotIn") and not values:
            return False
        if requirement.operator in ("Exists", "DoesNotExist") and values:
            return False
        match requirement.operator:
            case "In":
                holds = found in values
            case "NotIn":
                holds = found not in values
            case "Exists":
                holds = found is not None
            case "DoesNotExist":
                holds = found is None
            case _:
                return False
        if not holds:
            return False
    return True


def labels_of(thing: Pod | Node) -> Labels:
    return thing.metadata.labels or {}


def placed(world: World) -> list[tuple[Pod, Node]]:
    """The pods on known nodes, those on their way out too."""
    return [
        (pod, world.nodes[world.node_of(pod)])
        for pod in world.pods.values()
        if world.node_of(pod) in world.nodes
    ]


# Affinity


def means(term: PodAffinityTerm, holder: Pod, other: Pod, world: World) -> bool:
    """Whether the term of ``holder`` means the other pod."""
    namespace = other.metadata.namespace
    if term.namespace_selector is None and not term.namespaces:
        in_namespace = namespace == holder.metadata.namespace
    else:
        in_namespace = namespace in (term.namespaces or ()) or selects(
            term.namespace_selector, world.namespace_labels(namespace)
        )
    return in_namespace and selects(term.label_selector, labels_of(other))


def near(one: Node, other: Node, key: str) -> bool:
    return key in labels_of(one) and labels_of(one)[key] == labels_of(other).get(key)


def required(pod: Pod, kind: str) -> tuple[PodAffinityTerm, ...]:
    affinity: PodAffinity | None = getattr(pod.spec.affinity, kind) if pod.spec.affinity else None
    return (affinity.required_during_scheduling_ignored_during_execution if affinity else None) or ()


def preferred(pod: Pod, kind: str) -> list[tuple[int, PodAffinityTerm]]:
    affinity: PodAffinity | None = getattr(pod.spec.affinity, kind) if pod.spec.affinity else None
    found = (affinity.preferred_during_scheduling_ignored_during_execution if affinity else None) or ()
    return [(one.weight, one.pod_affinity_term) for one in found]


def affinity_trouble(pod: Pod, node: Node, world: World) -> str | None:
    """The stock scheduler's sentence, None where the node is all right."""
    terms = required(pod, "pod_affinity")
    if terms:
        if any(term.topology_key not in labels_of(node) for term in terms):
            return "node(s) didn't match pod affinity rules"
        meeting = [
            (other, where)
            for other, where in placed(world)
            if all(means(term, pod, other, world) for term in terms)
        ]
        reached = all(any(near(where, node, t.topology_key) for _, where in meeting) for t in terms)
        anywhere = any(t.topology_key in labels_of(where) for _, where in meeting for t in terms)
        itself = all(means(term, pod, pod, world) for term in terms)
        if not reached and (anywhere or not itself):
            return "node(s) didn't match pod affinity rules"
    for term in required(pod, "pod_anti_affinity"):
        for other, where in placed(world):
            if near(where, node, term.topology_key) and means(term, pod, other, world):
                return "node(s) didn't match pod anti-affinity rules"
    for other, where in placed(world):
        for term in required(other, "pod_anti_affinity"):
            if near(where, node, term.topology_key) and means(term, other, pod, world):
                return "node(s) didn't satisfy existing pods anti-affinity rules"
    return None


def affinity_sum(pod: Pod, node: Node, world: World) -> int:
    total = 0
    for sign, kind in ((1, "pod_affinity"), (-1, "pod_anti_affinity")):
        for other, where in placed(world):
            for weight, term in preferred(pod, kind):
                if near(where, node, term.topology_key) and means(term, pod, other, world):
                    total += sign * weight
            for weight, term in preferred(other, kind):
                if near(where, node, term.topology_key) and means(term, other, pod, world):
                    total += sign * weight
    for other, where in placed(world):
        for term in required(other, "pod_affinity"):
            if near(where, node, term.topology_key) and means(term, other, pod, world):
                total += 1
    return total


def affinity_scores(pod: Pod, nodes: list[Node], world: World) -> dict[str, int]:
    sums = {node.name: affinity_sum(pod, node, world) for node in nodes}
    low, high = min(sums.values()), max(sums.values())
    return {name: int(100 * ((one - low) / (high - low))) if high > low else 0 for name, one in sums.items()}


# Spread


def hard(pod: Pod) -> list[TopologySpreadConstraint]:
    return [
        one for one in pod.spec.topology_spread_constraints or () if one.when_unsatisfiable == "DoNotSchedule"
    ]


def soft(pod: Pod) -> list[TopologySpreadConstraint]:
    return [
        one
        for one in pod.spec.topology_spread_constraints or ()
        if one.when_unsatisfiable == "ScheduleAnyway"
    ]


def is_like(constraint: TopologySpreadConstraint, pod: Pod, other: Pod) -> bool:
    """Whether the constraint of ``pod`` selects the other by its labels."""
    if constraint.label_selector is None:
        return False
    for key in constraint.match_label_keys or ():
        if key in labels_of(pod) and labels_of(other).get(key) != labels_of(pod)[key]:
            return False
    return selects(constraint.label_selector, labels_of(other))


def empty(constraint: TopologySpreadConstraint, pod: Pod) -> bool:
    selector = constraint.label_selector
    keys = any(key in labels_of(pod) for key in constraint.match_label_keys or ())
    return selector is not None and not (selector.match_labels or selector.match_expressions or keys)


def pods_on(constraint: TopologySpreadConstraint, pod: Pod, node: Node, world: World) -> int:
    if empty(constraint, pod):
        return 0
    return sum(
        is_like(constraint, pod, other)
        for other, where in placed(world)
        if where is node
        and other.metadata.namespace == pod.metadata.namespace
        and other.metadata.deletion_timestamp is None
    )


def counts(constraint: TopologySpreadConstraint, pod: Pod, node: Node) -> bool:
    """Whether a node counts by the constraint's policies."""
    if constraint.node_affinity_policy != "Ignore" and not kubernetes.affinity(pod, node):
        return False
    return constraint.node_taints_policy != "Honor" or kubernetes.taints(pod, node)


def by_domain(
    constraint: TopologySpreadConstraint, keys: Iterable[str], pod: Pod, world: World
) -> dict[str | None, int]:
    found: dict[str | None, int] = {}
    for node in world.nodes.values():
        if all(key in labels_of(node) for key in keys) and counts(constraint, pod, node):
            value = labels_of(node).get(constraint.topology_key)
            found[value] = found.get(value, 0) + pods_on(constraint, pod, node, world)
    return found


def spread_trouble(pod: Pod, node: Node, world: World) -> str | None:
    sentence = "node(s) didn't match pod topology spread constraints"
    constraints = hard(pod)
    keys = [one.topology_key for one in constraints]
    for constraint in constraints:
        if constraint.topology_key not in labels_of(node):
            return f"{sentence} (missing required label)"
        found = by_domain(constraint, keys, pod, world)
        least = 1 if constraint.min_domains is None else constraint.min_domains
        minimum = 0 if len(found) < least else min(found.values())
        itself = is_like(constraint, pod, pod)
        if found.get(labels_of(node)[constraint.topology_key], 0) + itself - minimum > constraint.max_skew:
            return sentence
    return None


def default_selector(pod: Pod, world: World) -> list[LabelSelector]:
    """What is common to the pods that belong together; all must hold."""
    namespace = pod.metadata.namespace
    together: dict[str, str] = {}
    selectors: list[LabelSelector] = []
    owner = next((one for one in pod.metadata.owner_references if one.controller), None)
    for item in world.groupings:
        if item.metadata.namespace != namespace:
            continue
        if isinstance(item, Service):
            if item.spec.selector is not None and item.spec.selector.items() <= labels_of(pod).items():
                together.update(item.spec.selector)
            continue
        version = "v1" if isinstance(item, ReplicationController) else "apps/v1"
        itself = (version, type(item).__name__, item.metadata.name)
        if owner is None or (owner.api_version, owner.kind, owner.name) != itself:
            continue
        if isinstance(item, ReplicaSet | StatefulSet):
            if item.spec.selector is not None:
                selectors.append(item.spec.selector)
        else:
            selectors.append(LabelSelector(item.spec.selector))
    selectors.append(LabelSelector(together))
    return [one for one in selectors if one.match_labels or one.match_expressions]


def spread_scores(pod: Pod, nodes: list[Node], world: World) -> dict[str, int]:
    constraints = soft(pod)
    together: list[LabelSelector] = []
    defaulted = not pod.spec.topology_spread_constraints
    if defaulted:
        together = default_selector(pod, world)
        if not together:
            return {node.name: 0 for node in nodes}
        constraints = [
            TopologySpreadConstraint(3, HOSTNAME, "ScheduleAnyway", LabelSelector()),
            TopologySpreadConstraint(5, ZONE, "ScheduleAnyway", LabelSelector()),
        ]
    if not constraints:
        return {node.name: 0 for node in nodes}

    def number(constraint: TopologySpreadConstraint, node: Node) -> int:
        if not defaulted:
            return pods_on(constraint, pod, node, world)
        return sum(
            all(selects(one, labels_of(other)) for one in together)
            for other, where in placed(world)
            if where is node
            and other.metadata.namespace == pod.metadata.namespace
            and other.metadata.deletion_timestamp is None
        )

    keys = [] if defaulted else [one.topology_key for one in constraints]
    scored = [node for node in nodes if all(key in labels_of(node) for key in keys)]
    rounded: dict[str, int] = {}
    for node in scored:
        score = 0.0
        for constraint in constraints:
            key = constraint.topology_key
            if key not in labels_of(node):
                continue
            if key == HOSTNAME:
                pods, domains = number(constraint, node), len(scored)
            else:
                domains = len({labels_of(one).get(key) for one in scored})
                pods = sum(
                    number(constraint, one)
                    for one in world.nodes.values()
                    if all(k in labels_of(one) for k in keys)
                    and counts(constraint, pod, one)
                    and near(one, node, key)
                )
            score += pods * math.log(domains + 2) + constraint.max_skew - 1
        rounded[node.name] = int(Decimal(score).to_integral_value(ROUND_HALF_UP))
    low, high = min(rounded.values(), default=0), max(rounded.values(), default=0)
    return {
        node.name: 0
        if node.name not in rounded
        else (100 * (high + low - rounded[node.name]) // high if high else 100)
        for node in nodes
    }


# Images


def image_scores(pod: Pod, nodes: list[Node], world: World) -> dict[str, int]:
    def named(image: str) -> str:
        return image if ":" in image.rsplit("/", 1)[-1] else f"{image}:latest"

    def images(node: Node) -> dict[str, int]:
        return {name: image.size_bytes for image in node.status.images or () for name in image.names or ()}

    containers = [*(pod.spec.init_containers or ()), *(pod.spec.containers or ())]
    scores = {}
    for node in nodes:
        total = 0
        for container in containers:
            holding = [one for one in world.nodes.values() if named(container.image) in images(one)]
            if node in holding:
                total += int(images(node)[named(container.image)] * (len(holding) / len(world.nodes)))
        low, high = 23 * 2**20, 1000 * 2**20 * len(containers)
        scores[node.name] = 100 * (min(max(total, low), high) - low) // (high - low) if containers else 0
    return scores
