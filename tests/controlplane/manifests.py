"""Nodes and pods for tests, as plain dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.controlplane.api import Object

KWOK_ANNOTATION = "kwok.x-k8s.io/node"
"""KWOK plays the kubelet of nodes with this annotation (value ``fake``), and of no others."""

ZONE = "topology.kubernetes.io/zone"
HOSTNAME = "kubernetes.io/hostname"


def make_node(
    name: str,
    *,
    cpu: str = "32",
    memory: str = "256Gi",
    pods: str = "110",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    taints: Sequence[Mapping[str, str]] = (),
    unschedulable: bool = False,
    extended: Mapping[str, str] | None = None,
    ready: bool = True,
    kwok: bool = False,
) -> Object:
    """Returns a node.

    Args:
        name: its name, which is also its hostname label.
        cpu: allocatable CPUs, a quantity.
        memory: allocatable memory, a quantity.
        pods: allocatable pods.
        labels: beside the hostname.
        annotations: any.
        taints: dicts with ``key``, ``effect`` and perhaps ``value``.
        unschedulable: whether it is cordoned.
        extended: more allocatable resources, such as ``{"example.com/gpu": "2"}``.
        ready: the status of its Ready condition; left to KWOK where that plays its kubelet.
        kwok: whether KWOK plays its kubelet; it becomes Ready within a second or two.
    """
    allocatable = {"cpu": cpu, "memory": memory, "pods": pods, **(extended or {})}
    status: Object = {"capacity": allocatable, "allocatable": allocatable}
    if not kwok:
        condition = {"type": "Ready", "status": "True" if ready else "False", "reason": "MadeByHand"}
        # A fixed time, so that equal calls give equal nodes.
        times = {"lastHeartbeatTime": "2024-01-01T00:00:00Z", "lastTransitionTime": "2024-01-01T00:00:00Z"}
        status["conditions"] = [{**condition, **times}]
        status["addresses"] = [{"type": "Hostname", "address": name}]
    spec: Object = {}
    if taints:
        spec["taints"] = [dict(taint) for taint in taints]
    if unschedulable:
        spec["unschedulable"] = True
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {HOSTNAME: name, **(labels or {})},
            "annotations": {**({KWOK_ANNOTATION: "fake"} if kwok else {}), **(annotations or {})},
        },
        "spec": spec,
        "status": status,
    }


def zone_nodes(count: int, *, zones: int = 10, prefix: str = "node-", **options: Any) -> list[Object]:
    """Returns `count` nodes named ``node-00000`` and so on, dealt in turn to zones named ``zone-0`` and so on.

    Args:
        count: how many.
        zones: how many zones (label ``topology.kubernetes.io/zone``).
        prefix: of the names.
        options: as `make_node` takes them.
    """
    labels = options.pop("labels", None) or {}
    return [
        make_node(f"{prefix}{i:05}", labels={ZONE: f"zone-{i % zones}", **labels}, **options)
        for i in range(count)
    ]


def make_pod(
    name: str,
    *,
    namespace: str = "default",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    scheduler: str = "default-scheduler",
    cpu: str | None = "100m",
    memory: str | None = "64Mi",
    **spec: Any,
) -> Object:
    """Returns a pod with one container.

    Args:
        name: its name.
        namespace: its namespace.
        labels: any.
        annotations: any.
        scheduler: the scheduler that is asked to place it.
        cpu: the CPU it requests, a quantity; None for no request.
        memory: the memory it requests; None for no request.
        spec: more fields of the pod's spec, by their Kubernetes names.
    """
    requests = {k: v for k, v in (("cpu", cpu), ("memory", memory)) if v is not None}
    container: Object = {"name": "main", "image": "example.invalid/none:1"}
    if requests:
        container["resources"] = {"requests": requests}
    metadata: Object = {"name": name, "namespace": namespace, "labels": dict(labels or {})}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"schedulerName": scheduler, "containers": [container], **spec},
    }


def make_pods(count: int, *, prefix: str = "pod-", **options: Any) -> list[Object]:
    """Returns `count` pods named ``pod-00000`` and so on, with the options of `make_pod`."""
    return [make_pod(f"{prefix}{i:05}", **options) for i in range(count)]
