"""Workloads whose scheduling is measured, each with a check that its pods ended where they may."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tests.controlplane import make_pod, make_pods
from tests.controlplane.api import Object
from tests.controlplane.manifests import HOSTNAME, ZONE

FILLERS = "fillers"
"""The namespace of the pods that fill nodes."""
_APP = {"app": "bench"}
_SELECTOR = {"matchLabels": _APP}

Problems = list[str]
"""Sentences on what is wrong with where the pods are; empty if nothing is."""

_Nodes = Mapping[str, Object]


@dataclass(frozen=True, slots=True)
class Workload:
    """Equal pods and where they may be.

    Attributes:
        says: what it is, for the help.
        spec: fields of the pods' specs beside the container.
        check: takes the bound pods and the nodes by name.
        cpu: what each pod requests, if not what the caller says.
        full: whether every node is full of a pod of a lower priority before.
    """

    says: str
    spec: Mapping[str, Any]
    check: Callable[[list[Object], _Nodes], Problems]
    cpu: str | None = None
    full: bool = False

    def pods(self, count: int, scheduler: str, prefix: str, cpu: str) -> list[Object]:
        """Returns the pods for one scheduler to place."""
        return make_pods(
            count, prefix=prefix, scheduler=scheduler, labels=_APP, cpu=self.cpu or cpu, **self.spec
        )

    def fillers(self, nodes: Iterable[str]) -> list[Object]:
        """Returns a pod for each node that has to go before one of the others fits there.

        They are in a namespace of their own, have their node from the start, and end at once when deleted: no kubelet
        runs that would end them.
        """
        if not self.full:
            return []
        return [
            make_pod(
                f"filler-{node}",
                namespace=FILLERS,
                cpu=self.cpu,
                nodeName=node,
                terminationGracePeriodSeconds=0,
            )
            for node in nodes
        ]


def _zone(pod: Object, nodes: _Nodes) -> str:
    return str(nodes[pod["spec"]["nodeName"]]["metadata"]["labels"][ZONE])


def _anywhere(pods: list[Object], nodes: _Nodes) -> Problems:
    return []


def _in_three_zones(pods: list[Object], nodes: _Nodes) -> Problems:
    wrong = Counter(_zone(pod, nodes) for pod in pods) - Counter({f"zone-{i}": len(pods) for i in range(3)})
    return [f"{sum(wrong.values())} pods are in other zones than asked: {sorted(wrong)}"] if wrong else []


def _evenly(pods: list[Object], nodes: _Nodes) -> Problems:
    counts = Counter({str(node["metadata"]["labels"][ZONE]): 0 for node in nodes.values()})
    counts.update(_zone(pod, nodes) for pod in pods)
    skew = max(counts.values()) - min(counts.values())
    return [f"the zones' skew is {skew}, more than 1: {dict(counts)}"] if skew > 1 else []


def _in_one_zone(pods: list[Object], nodes: _Nodes) -> Problems:
    zones = {_zone(pod, nodes) for pod in pods}
    return [f"the pods are in {len(zones)} zones and must share one"] if len(zones) > 1 else []


def _one_on_each_node(pods: list[Object], nodes: _Nodes) -> Problems:
    crowded = [name for name, count in Counter(pod["spec"]["nodeName"] for pod in pods).items() if count > 1]
    return [f"{len(crowded)} nodes have more than one pod, such as {crowded[0]}"] if crowded else []


def _zones_affinity() -> Object:
    term = {"key": ZONE, "operator": "In", "values": [f"zone-{i}" for i in range(3)]}
    required = {"nodeSelectorTerms": [{"matchExpressions": [term]}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


def _spread(hard: bool) -> Object:
    constraint = {
        "maxSkew": 1,
        "topologyKey": ZONE,
        "whenUnsatisfiable": "DoNotSchedule" if hard else "ScheduleAnyway",
        "labelSelector": _SELECTOR,
    }
    return {"topologySpreadConstraints": [constraint]}


def _pod_affinity(kind: str, topology: str, preferred: bool = False) -> Object:
    term: Object = {"topologyKey": topology, "labelSelector": _SELECTOR}
    if preferred:
        rule: Object = {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]
        }
    else:
        rule = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    return {"affinity": {kind: rule}}


WORKLOADS: Mapping[str, Workload] = {
    "plain": Workload("requests only", {}, _anywhere),
    "node-affinity": Workload("node affinity to 3 of the zones", _zones_affinity(), _in_three_zones),
    "hard-spread": Workload("zone spread, DoNotSchedule", _spread(hard=True), _evenly),
    "soft-spread": Workload("zone spread, ScheduleAnyway", _spread(hard=False), _anywhere),
    "pod-affinity": Workload(
        "affinity to each other's zone", _pod_affinity("podAffinity", ZONE), _in_one_zone
    ),
    "anti-affinity": Workload(
        "anti-affinity to each other's host", _pod_affinity("podAntiAffinity", HOSTNAME), _one_on_each_node
    ),
    "preferred-affinity": Workload(
        "preferred affinity to each other's host",
        _pod_affinity("podAffinity", HOSTNAME, preferred=True),
        _anywhere,
    ),
    "preemption": Workload(
        "every node is full of a pod of a lower priority",
        {"priorityClassName": "system-cluster-critical"},
        _one_on_each_node,
        cpu="20",
        full=True,
    ),
}

_SUFFIXES: Mapping[str, int | Fraction] = {
    "": 1,
    "m": Fraction(1, 1000),
    "k": 10**3,
    "M": 10**6,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


def _amount(quantity: str) -> Fraction:
    # Not the engine's own parser: what is checked here is the engine.
    match = re.fullmatch(r"(\d+)([A-Za-z]*)", quantity)
    assert match is not None, quantity
    return Fraction(match[1]) * _SUFFIXES[match[2]]


def over_capacity(pods: list[Object], nodes: _Nodes) -> Problems:
    """Returns a sentence for each node and resource of which its pods request more than is allocatable."""
    used: defaultdict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for pod in pods:
        node = pod["spec"]["nodeName"]
        used[node, "pods"] += 1
        for container in pod["spec"]["containers"]:
            for resource, quantity in container.get("resources", {}).get("requests", {}).items():
                used[node, resource] += _amount(quantity)
    problems = []
    for (node, resource), amount in used.items():
        allocatable = nodes[node]["status"]["allocatable"][resource]
        if amount > _amount(allocatable):
            problems.append(f"{node}: {float(amount):g} of {resource} requested, {allocatable} allocatable")
    return problems
