"""The demo's worlds are what their README files say: every place that is expected is legal, and no other is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.delay import DelayMap, check_names, load
from engine.manifests import reader
from engine.model.objects import Node
from engine.model.quantity import parse

DEMO = Path(__file__).parents[2] / "demo"
PROTOTYPE = DEMO / "prototype"
CLOUD = "kubernetes.io/role"


def nodes_of(*files: Path) -> dict[str, Node]:
    return {node.name: node for node in reader.read(files).objects if isinstance(node, Node)}


def spec_of(workload: object) -> Any:
    """The spec of a workload that has a template."""
    return getattr(workload, "spec")  # noqa: B009  (a union of kinds)


def delays_of(world: Path) -> DelayMap:
    if world == PROTOTYPE:
        return load([world / "matrix.txt", world / "metadata.json"])
    return load([world / "delays.csv"])


def cases() -> list[Any]:
    return [
        pytest.param(world, folder, case, id=f"{world.name}: {case['case']}")
        for world, folder in ((DEMO, DEMO / "workloads"), (PROTOTYPE, PROTOTYPE))
        for case in json.loads((world / "expected.json").read_text())
    ]


@pytest.mark.parametrize(
    ("files", "delays"),
    [
        pytest.param([DEMO / "nodes.yaml"], [DEMO / "delays.csv"], id="demo"),
        pytest.param(
            [DEMO / "nodes.yaml", DEMO / "later" / "edge-7.yaml"], [DEMO / "later" / "delays.csv"], id="later"
        ),
        pytest.param(
            [PROTOTYPE / "nodes.yaml"],
            [PROTOTYPE / "matrix.txt", PROTOTYPE / "metadata.json"],
            id="prototype",
        ),
        pytest.param(
            [PROTOTYPE / "nodes.yaml"],
            [PROTOTYPE / "later" / "matrix.txt", PROTOTYPE / "metadata.json"],
            id="prototype, later",
        ),
    ],
)
def test_every_node_is_measured_and_nothing_else(files: list[Path], delays: list[Path]) -> None:
    read = load(delays)
    assert read.warnings == ()
    assert check_names(read, nodes_of(*files)) == []
    for name in read.names:
        row = read.row(name)
        assert row is not None
        assert not np.isnan(row).any(), name


def test_later_delays_only_add_to_the_first() -> None:
    first, later = load([DEMO / "delays.csv"]), load([DEMO / "later" / "delays.csv"])
    for origin in first.names:
        for target in first.names:
            assert later.between(origin, target) == first.between(origin, target)
    assert set(later.names) - set(first.names) == {"edge-7"}


def test_the_delays_are_plausible() -> None:
    nodes, delays = nodes_of(DEMO / "nodes.yaml"), load([DEMO / "delays.csv"])
    for origin, a in nodes.items():
        for target, b in nodes.items():
            value = delays.between(origin, target)
            assert value is not None
            here, there = a.metadata.labels or {}, b.metadata.labels or {}
            same = here["topology.kubernetes.io/zone"] == there["topology.kubernetes.io/zone"]
            roles = {here[CLOUD], there[CLOUD]}
            if origin == target:
                assert value == 0
            elif roles == {"edge", "cloud"}:
                assert 40 <= value <= 80
            elif roles == {"edge"}:
                assert 2 <= value <= 8 if same else 8 <= value <= 30


def test_the_racks_and_zones() -> None:
    racks: dict[str, set[str]] = {}
    for node in nodes_of(DEMO / "nodes.yaml").values():
        labels = node.metadata.labels or {}
        if labels[CLOUD] == "edge":
            racks.setdefault(labels["topology.kubernetes.io/zone"], set()).add(labels["example.com/rack"])
    assert len(racks) == 3
    assert all(len(of_zone) == 2 for of_zone in racks.values())


@pytest.mark.parametrize(("world", "folder", "case"), cases())
def test_expected_places_are_exactly_the_legal_ones(world: Path, folder: Path, case: dict[str, Any]) -> None:
    nodes, delays = nodes_of(world / "nodes.yaml"), delays_of(world)
    labels = template_labels([folder / name for name in case["apply"]])
    assert set(labels) == set(case["places"])
    cloud = {name for name, node in nodes.items() if (node.metadata.labels or {}).get(CLOUD) == "cloud"}
    for workload, place in case["places"].items():
        limits = {key.removeprefix("delay_"): float(value) for key, value in labels[workload].items()
                  if key.startswith("delay_")}  # fmt: skip
        assert limits == place["limits"], workload
        if not limits:
            assert set(place["nodes"]) == cloud
            continue
        [(source, limit)] = limits.items()
        origins = [source] if source in nodes else case["places"][source]["nodes"]
        legal = {
            name
            for name, node in nodes.items()
            if not node.spec.taints
            and any((delays.between(origin, name) or 0.0) <= limit for origin in origins)
        }
        assert set(place["nodes"]) == legal, workload
        overflow = place.get("overflow")
        assert (overflow is not None) == (labels[workload].get("cloudable") == "yes")
        if overflow is not None:
            assert set(overflow["nodes"]) == cloud


def template_labels(files: list[Path]) -> dict[str, dict[str, str]]:
    """Of each workload; they all ask for the same scheduler."""
    found = {}
    for item in reader.read(files).items:
        template = spec_of(item.object).template
        assert template.spec.scheduler_name == "custom-scheduler"
        found[item.object.metadata.name] = dict(template.metadata.labels or {})
    return found


@pytest.mark.parametrize("name", ["image-indexer", "stream-recorder"])
def test_what_has_to_overflow_or_wait_has_no_room(name: str) -> None:
    file = next(DEMO.glob(f"*/{name}.yaml"))
    [workload] = reader.read([file]).objects
    spec = spec_of(workload)
    nodes, delays = nodes_of(DEMO / "nodes.yaml"), load([DEMO / "delays.csv"])
    asked = parse(spec.template.spec.containers[0].resources.requests["memory"])
    [(key, limit)] = [(key, value) for key, value in spec.template.metadata.labels.items() if "delay_" in key]
    room = sum(
        parse((node.status.allocatable or {})["memory"]) // asked
        for target, node in nodes.items()
        if (delays.between(key.removeprefix("delay_"), target) or 0.0) <= float(limit)
    )
    assert room == spec.replicas - 1


PROTOTYPE_LABELS = {
    "req1": ("deployment1", "app1", "delay_edge-1", "25", "6Gi"),
    "req2": ("deployment2", "app2", None, None, "6Gi"),
    "req3": ("deployment3", "app3", "delay_edge-1", "1", "6Gi"),
    "req3-worker-1": ("deployment3", "app3", "delay_kube-worker-1", "1", "6Gi"),
    "req3-worker-2": ("deployment3", "app3", "delay_kube-worker-2", "1", "6Gi"),
    "req3-worker-3": ("deployment3", "app3", "delay_kube-worker-3", "1", "6Gi"),
    "req4": ("deployment4", "app4", "delay_deployment3", "1", "1Gi"),
}


@pytest.mark.parametrize("name", PROTOTYPE_LABELS)
def test_the_prototypes_requests(name: str) -> None:
    workload, app, label, limit, memory = PROTOTYPE_LABELS[name]
    [item] = reader.read([PROTOTYPE / f"{name}.yaml"]).items
    spec = spec_of(item.object)
    assert (item.kind, item.object.metadata.name, spec.replicas) == ("Deployment", workload, 1)
    expected = {"app": app} if label is None else {"app": app, label: limit}
    assert spec.template.metadata.labels == expected
    [container] = spec.template.spec.containers
    assert container.resources.requests == container.resources.limits == {"memory": memory}
