"""The compact forms of a scenario: nodes and pods in a line or two, made into the objects that they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from engine.cluster.simulated.admission import MAX_PODS, RUNS_FOR
from engine.cluster.simulated.lifecycle import REGION, ZONE
from engine.manifests.objects import (
    Deployment,
    DeploymentSpec,
    FullPodSpec,
    LabelSelector,
    PodTemplate,
    TimedToleration,
)
from engine.manifests.podspec import labels_of
from engine.manifests.syntax import dns_label, dns_subdomain, label_key, label_value, quantity
from engine.model.objects import (
    Container,
    Node,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    Pod,
    ResourceRequirements,
    Taint,
)
from engine.yaml_lines import Path

Report = Callable[[Path, str], None]

SCHEDULER: Final = "custom-scheduler"
"""The scheduler of compact pods that name none."""


def nodes_of(value: Mapping[str, Any], path: Path, report: Report) -> Iterator[Node]:
    """The nodes that a compact node stands for, ``count`` of them.

    Args:
        value: As the schema has it.
        path: Where it stands.
        report: Told of what no schema can say.
    """
    count = value.get("count")
    name: str = value["name"]
    if count is not None and "{n}" not in name:
        name += "-{n}"
    zones = value.get("zone")
    amounts = {
        "cpu": value["cpu"],
        "memory": value["memory"],
        "pods": value.get("pods", MAX_PODS),
        **value.get("resources", {}),
    }
    good = _amounts(value, path, report)
    taints = tuple(parse_taint(text) for text in value.get("taints", ())) or None
    for taint, text in zip(taints or (), value.get("taints", ()), strict=True):
        good &= _fits((*path, "taints", value["taints"].index(text)), label_key(taint.key), report)
        good &= _fits((*path, "taints", value["taints"].index(text)), label_value(taint.value), report)
    for number in range(1, (count or 1) + 1):
        labels = {key: text.replace("{n}", str(number)) for key, text in value.get("labels", {}).items()}
        if zones is not None:
            labels[ZONE] = zones if isinstance(zones, str) else zones[(number - 1) % len(zones)]
        if "region" in value:
            labels[REGION] = value["region"]
        if number == 1:
            good &= _fits((*path, "name"), dns_subdomain(name.replace("{n}", "1")), report)
            good &= _labels_fit(labels, path, report)
            if not good:
                return
        yield Node(
            ObjectMeta(name=name.replace("{n}", str(number)), labels=labels or None),
            NodeSpec(unschedulable=value.get("unschedulable", False), taints=taints),
            NodeStatus(allocatable=amounts),
        )


def pod_of(value: Mapping[str, Any], path: Path, report: Report) -> Pod | Deployment | None:
    """The pod that a compact pod stands for, or the Deployment where it has ``replicas``; None where it is wrong."""
    name: str = value["name"]
    namespace: str = value.get("namespace", "default")
    good = _fits((*path, "name"), dns_subdomain(name), report)
    good &= _fits((*path, "namespace"), dns_label(namespace), report)
    labels = {"app": name, **value.get("labels", {})}
    good &= _labels_fit(labels, path, report)
    if "node-selector" in value:
        good &= _quiet(lambda told: labels_of(dict(value), "node-selector", path, told), report)
    good &= _amounts(value, path, report)
    if "runs-for" in value and "replicas" in value:
        report((*path, "runs-for"), "a Deployment's pods run on; take it away, or the replicas")
        good = False
    if not good:
        return None
    requests = {key: value[key] for key in ("cpu", "memory") if key in value} | value.get("resources", {})
    spec = FullPodSpec(
        containers=(Container("main", ResourceRequirements(requests=requests) if requests else None),),
        scheduler_name=value.get("scheduler", SCHEDULER),
        node_name=value.get("node", ""),
        node_selector=value.get("node-selector"),
        tolerations=tuple(_toleration(text) for text in value.get("tolerations", ())) or None,
        priority_class_name=value.get("priority-class", ""),
        restart_policy="Never" if "runs-for" in value else "Always",
    )
    annotations = dict(value.get("annotations", {}))
    if "runs-for" in value:
        annotations[RUNS_FOR] = value["runs-for"]
    if "replicas" in value:
        template = PodTemplate(ObjectMeta(labels=labels, annotations=annotations or None), spec)
        selector = LabelSelector({"app": labels["app"]})
        return Deployment(
            ObjectMeta(name=name, namespace=namespace, labels=labels),
            DeploymentSpec(selector, template, value["replicas"]),
        )
    return Pod(
        ObjectMeta(name=name, namespace=namespace, labels=labels, annotations=annotations or None), spec
    )


def parse_taint(text: str) -> Taint:
    """``key=value:Effect`` or ``key:Effect``."""
    rest, _, effect = text.rpartition(":")
    key, _, value = rest.partition("=")
    return Taint(key, value, effect)


def _toleration(text: str) -> TimedToleration:
    """``key=value:Effect``, ``key:Effect``, ``key=value`` or ``key``: any value, any effect where it names none."""
    rest, _, effect = text.partition(":")
    key, equals, value = rest.partition("=")
    return TimedToleration(key, "Equal" if equals else "Exists", value, effect)


def _amounts(value: Mapping[str, Any], path: Path, report: Report) -> bool:
    good = True
    for key in ("cpu", "memory"):
        if key in value:
            good &= _fits((*path, key), quantity(value[key]), report)
    for key, amount in value.get("resources", {}).items():
        good &= _fits((*path, "resources", key), label_key(key) or quantity(amount), report)
    return good


def _labels_fit(labels: Mapping[str, str], path: Path, report: Report) -> bool:
    good = True
    places = {ZONE: (*path, "zone"), REGION: (*path, "region")}
    for key, text in labels.items():
        good &= _fits(places.get(key, (*path, "labels", key)), label_key(key) or label_value(text), report)
    return good


def _fits(path: Path, fault: str | None, report: Report) -> bool:
    if fault is not None:
        report(path, fault)
    return fault is None


def _quiet(check: Callable[[Report], None], report: Report) -> bool:
    """Whether a check found nothing; what it finds is reported."""
    found: list[Path] = []

    def told(path: Path, message: str) -> None:
        found.append(path)
        report(path, message)

    check(told)
    return not found
