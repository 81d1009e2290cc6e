"""Which nodes a pod may be on: affinity, taints and host ports, as the kubelet and the DaemonSet controller ask.

Written apart from the engine's vectorised filters on purpose: the simulated cluster is what they are checked against.
Sources: ``k8s.io/component-helpers/scheduling/corev1``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from engine.manifests.objects import requirement_holds
from engine.model.objects import Node, NodeSelectorTerm, PodSpec, Taint, Toleration


def affinity_holds(spec: PodSpec, node: Node) -> bool:
    """Whether the pod's node selector and required node affinity let it be on the node."""
    labels = node.metadata.labels or {}
    if any(labels.get(key) != value for key, value in (spec.node_selector or {}).items()):
        return False
    affinity = spec.affinity.node_affinity if spec.affinity else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    return required is None or any(_term_holds(term, node) for term in required.node_selector_terms)


def _term_holds(term: NodeSelectorTerm, node: Node) -> bool:
    """All of the term's expressions; a term without any matches nothing."""
    if not term.match_expressions and not term.match_fields:
        return False
    labels, fields = node.metadata.labels or {}, {"metadata.name": node.name}
    return all(requirement_holds(r, labels) for r in term.match_expressions or ()) and all(
        requirement_holds(r, fields) for r in term.match_fields or ()
    )


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether the toleration puts up with the taint."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.operator in ("", "Equal") and toleration.value == taint.value


def untolerated(
    taints: Iterable[Taint] | None, tolerations: Iterable[Toleration] | None, effects: Collection[str]
) -> Taint | None:
    """The first taint of these effects that nothing tolerates."""
    given = tuple(tolerations or ())
    for taint in taints or ():
        if taint.effect in effects and not any(tolerates(toleration, taint) for toleration in given):
            return taint
    return None


def host_ports(spec: PodSpec) -> list[tuple[str, int, str]]:
    """Protocol, port and address of each port that the pod takes on its host."""
    sidecars = (c for c in spec.init_containers or () if c.restart_policy == "Always")
    return [
        (port.protocol or "TCP", port.host_port, port.host_ip or "0.0.0.0")
        for container in (*(spec.containers or ()), *sidecars)
        for port in container.ports or ()
        if port.host_port
    ]


def conflicts(wanted: list[tuple[str, int, str]], taken: list[tuple[str, int, str]]) -> bool:
    """Whether some port is wanted that is taken; 0.0.0.0 takes it on every address."""
    return any(
        (protocol, port) == other[:2] and (address == other[2] or "0.0.0.0" in (address, other[2]))
        for protocol, port, address in wanted
        for other in taken
    )
