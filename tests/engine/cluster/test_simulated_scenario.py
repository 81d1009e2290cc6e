"""Scenario files: what they read to, what happens in them, what is said of bad ones, and that their page is true."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from engine.cluster.protocol import ResourceKind
from engine.cluster.simulated import (
    Delays,
    Options,
    Scenario,
    ScenarioError,
    SimulatedCluster,
    load_scenario,
    parse_scenario,
)
from engine.cluster.simulated.happenings import Happening
from engine.cluster.simulated.violations import schema
from engine.durations import seconds
from engine.manifests.objects import Deployment
from engine.model.objects import Node, Pod, Taint

BAD = Path(__file__).parent / "bad_scenarios"
PAGE = Path(__file__).parents[3] / "docs" / "scenario.md"


def said(text: str) -> str:
    """What is said of a bad scenario."""
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text, "s.yaml", BAD)
    return str(caught.value)


@pytest.mark.parametrize("file", sorted(BAD.glob("*.yaml")), ids=lambda file: file.stem)
def test_what_is_said_of_a_bad_scenario(file: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(file)
    message = str(caught.value).replace(f"{BAD}/", "")
    assert message + "\n" == file.with_suffix(".txt").read_text(encoding="utf-8")


def test_every_expectation_has_its_file() -> None:
    assert {file.stem for file in BAD.glob("*.txt")} == {file.stem for file in BAD.glob("*.yaml")}


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    for file, message in (
        ("gone.yaml", "no such file or directory; check the path"),
        ("latin.yaml", "not UTF-8; save the file as UTF-8 text"),
    ):
        (tmp_path / "latin.yaml").write_bytes(b"nodes: \xe9")
        with pytest.raises(ScenarioError) as caught:
            load_scenario(tmp_path / file)
        assert str(caught.value) == f"{tmp_path / file}: {message}"


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


# Compact forms


def nodes(text: str) -> list[Node]:
    found = parse_scenario(f"nodes:\n  - {text}\n", "s.yaml", BAD)
    return [item.object for item in found.items if isinstance(item.object, Node)]


def test_a_compact_node() -> None:
    (made,) = nodes(
        "{name: a, zone: z, region: r, labels: {k: v}, taints: ['d=v:NoSchedule', 'e:NoExecute'], cpu: 500m, "
        "memory: 1.5Gi, pods: 3, resources: {example.com/gpu: 2}, unschedulable: true}"
    )
    assert made.metadata.labels == {
        "k": "v",
        "topology.kubernetes.io/zone": "z",
        "topology.kubernetes.io/region": "r",
    }
    assert made.spec.taints == (Taint("d", "v", "NoSchedule"), Taint("e", "", "NoExecute"))
    assert made.spec.unschedulable
    assert made.status.allocatable == {"cpu": "500m", "memory": "1.5Gi", "pods": 3, "example.com/gpu": 2}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{name: a, cpu: 1, memory: 1}", ["a"]),
        ("{name: a, count: 1, cpu: 1, memory: 1}", ["a-1"]),
        ("{name: a, count: 3, cpu: 1, memory: 1}", ["a-1", "a-2", "a-3"]),
        ("{name: 'r{n}-x', count: 2, cpu: 1, memory: 1}", ["r1-x", "r2-x"]),
    ],
)
def test_many_nodes_alike(text: str, names: list[str]) -> None:
    assert [made.name for made in nodes(text)] == names


def test_many_nodes_get_zones_in_turn_and_numbered_labels() -> None:
    made = nodes("{name: a, count: 3, zone: [x, y], labels: {rack: 'r{n}'}, cpu: 1, memory: 1}")
    labels = [node.metadata.labels or {} for node in made]
    assert [(one["topology.kubernetes.io/zone"], one["rack"]) for one in labels] == [
        ("x", "r1"),
        ("y", "r2"),
        ("x", "r3"),
    ]


def pods(text: str) -> Any:
    found = parse_scenario(f"nodes: [{{name: n, cpu: 1, memory: 1}}]\npods:\n  - {text}\n", "s.yaml", BAD)
    return found.items[-1].object


def test_a_compact_pod() -> None:
    made = pods(
        "{name: a, cpu: 1, memory: 1Gi, labels: {delay_edge-1: '25'}, "
        "tolerations: [k, 'k:NoSchedule', 'k=v:NoExecute', k=v]}"
    )
    assert isinstance(made, Pod)
    assert made.metadata.labels == {"app": "a", "delay_edge-1": "25"}
    assert made.spec.scheduler_name == "custom-scheduler"
    (container,) = made.spec.containers or ()
    assert container.resources is not None
    assert container.resources.requests == {"cpu": 1, "memory": "1Gi"}
    assert [(t.operator, t.value, t.effect) for t in made.spec.tolerations or ()] == [
        ("Exists", "", ""),
        ("Exists", "", "NoSchedule"),
        ("Equal", "v", "NoExecute"),
        ("Equal", "v", ""),
    ]


def test_a_compact_pod_with_replicas_is_a_deployment() -> None:
    made = pods("{name: a, replicas: 3, labels: {app: b}}")
    assert isinstance(made, Deployment)
    assert made.spec.replicas == 3
    assert made.spec.selector.matches(made.spec.template.metadata.labels or {})


# Parts


def test_a_scenario_from_parts(tmp_path: Path) -> None:
    (tmp_path / "nodes.json").write_text('{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}')
    app = "apiVersion: v1\nkind: %s\nmetadata: {name: a}\n"
    (tmp_path / "app.yaml").write_text(
        app % "ConfigMap" + "---\n" + app % "Pod" + "spec: {containers: [{name: c}]}\n"
    )
    parts = Scenario.from_parts([tmp_path / "nodes.json"], [tmp_path / "app.yaml"], [Path("d.csv")], until=5)
    assert [item.kind for item in parts.items] == ["Node", "Pod"]
    assert (parts.delays, parts.until, parts.options) == (Delays((Path("d.csv"),)), 5, Options())
    assert len(parts.notes) == 1
    with pytest.raises(ScenarioError) as caught:
        Scenario.from_parts([tmp_path / "app.yaml"])
    assert str(caught.value) == (
        f"{tmp_path / 'app.yaml'}: no node in it; give a file of Node manifests (kubectl get nodes -o yaml)"
    )


def test_what_the_cluster_refuses_at_the_start_names_its_place() -> None:
    text = "nodes: [{name: n, cpu: 1, memory: 1}]\npods:\n  - {name: a, labels: {x: y}}\n"
    scenario = parse_scenario(text, "s.yaml", BAD)
    twice = Scenario(items=(*scenario.items, *(item for item in scenario.items if item.kind == "Node")))
    twice.build()  # Applying a node again changes it.
    bad = Scenario(items=tuple(item for item in pods_with_priority(scenario)))
    with pytest.raises(ScenarioError, match=r"^s.yaml:3: .*no PriorityClass with name high was found"):
        bad.build()


def pods_with_priority(scenario: Scenario) -> Iterator[Any]:
    for item in scenario.items:
        if isinstance(item.object, Pod):
            spec = msgspec.structs.replace(item.object.spec, priority_class_name="high")
            item = dataclasses.replace(item, object=msgspec.structs.replace(item.object, spec=spec))
        yield item


# Running


EVENTFUL = """\
until: 20min
seed: 4
nodes: [{name: n, count: 3, zone: [a, b], cpu: 4, memory: 8Gi}]
delays: [{from: n-1, to: n-2, ms: 4}]
pods:
  - {name: web, replicas: 2, cpu: 1}
  - {name: by-hand, node: n-1, cpu: 1}
  - {name: once, node: n-2, runs-for: 30s}
events:
  - {at: 5min, node-fail: {zone: a}}
  - {at: 1min, node-join: [{name: m, zone: b, cpu: 1, memory: 1}]}
  - {at: 1min, node-label: {nodes: m, labels: {k: v, topology.kubernetes.io/zone: null}}}
  - {at: 1min, node-taint: {nodes: m, add: ["d:NoSchedule"]}}
  - {at: 2min, node-taint: {nodes: m, remove: [d]}}
  - {at: 2min, scale: {kind: Deployment, name: web, replicas: 4}}
  - {at: 2min, scale: {kind: Deployment, name: absent, replicas: 4}}
  - {at: 3min, delays: [{from: n-1, to: n-2, ms: 40}]}
  - {at: 3min, pods: [{name: by-hand, node: n-1, cpu: 2}, {name: late, node: m}]}
  - {at: 4min, delete: {kind: Deployment, name: web}}
  - {at: 4min, node-drain: {labels: {nothing: has}}}
  - {at: 15min, node-recover: {zone: a}}
  - {at: 16min, node-remove: m}
"""


def run(scenario: Scenario) -> tuple[SimulatedCluster, list[str], list[Delays]]:
    told: list[str] = []
    delays: list[Delays] = []

    def happened(happening: Happening) -> None:
        told.append(f"{cluster.clock.monotonic():.0f} {happening.action}")

    cluster = scenario.build(on_delays=delays.append, on_happening=happened)
    assert scenario.until is not None
    while (due := cluster.next_time()) is not None and due <= scenario.start + scenario.until:
        cluster.run_until(due)
    return cluster, told, delays


def test_events_happen_in_their_order() -> None:
    scenario = parse_scenario(EVENTFUL, "s.yaml", BAD)
    cluster, told, delays = run(scenario)
    assert told == [
        "60 node-join m",
        "60 node-label m: k=v, topology.kubernetes.io/zone-",
        "60 node-taint m: d=:NoSchedule",
        "120 node-taint m: d-",
        "120 scale Deployment default/web to 4",
        "120 scale Deployment default/absent to 4",
        "180 delays 1 pairs",
        "180 pods by-hand, late",
        "240 delete Deployment default/web",
        "240 node-drain nodes with nothing has",
        "300 node-fail nodes with zone a",
        "900 node-recover nodes with zone a",
        "960 node-remove m",
    ]
    assert [str(note) for note in cluster.notes] == [
        's.yaml:16: scale Deployment default/absent to 4: deployments "absent" not found',
        'default/by-hand: Pod "by-hand" is invalid: spec: Forbidden: pod updates may not change its containers',
        "nodes with nothing has: there are none when something should happen to them",
    ]
    assert delays == [Delays(pairs=(("n-1", "n-2", 40.0),))]
    assert {node.name for node in cluster.nodes()} == {"n-1", "n-2", "n-3"}
    # Zone a is two of three nodes, but more than two must fail for its evictions to slow down.
    assert {pod.metadata.name for pod in cluster.pods()} == {"once"}


def test_the_same_scenario_runs_the_same_way() -> None:
    logs = []
    for _ in range(2):
        cluster, told, _ = run(parse_scenario(EVENTFUL, "s.yaml", BAD))
        watched = [list(cluster.watch(kind, "1", 0)) for kind in ResourceKind]
        logs.append((watched, told, cluster.events, cluster.notes))
    assert len(logs[0][0][0]) == 20
    assert logs[0] == logs[1]


def test_settings_reach_the_cluster() -> None:
    text = (
        "nodes: [{name: n, cpu: 1, memory: 1}]\nstart: 2030-01-02T03:04:05Z\nseed: 9\ncluster: {node-grace: 1min30s, "
        "eviction-rate: 1, default-toleration: 1min, history: 7, ignore-schedulers: [other]}\n"
    )
    scenario = parse_scenario(text, "s.yaml", BAD)
    assert scenario.options == Options(
        node_grace=90,
        eviction_rate=1,
        default_toleration=60,
        history=7,
        ignored_schedulers=("other",),
        seed=9,
    )
    cluster = scenario.build(schedulers=["ours"])
    assert cluster.options.schedulers == ("ours",)
    made = cluster.nodes()[0].metadata.creation_timestamp
    assert made is not None
    assert made.isoformat() == "2030-01-02T03:04:05+00:00"


def test_a_start_that_no_calendar_has() -> None:
    assert said("nodes: [{name: n, cpu: 1, memory: 1}]\nstart: 2030-02-30T03:04:05Z\n") == (
        "s.yaml:2: start: 2030-02-30T03:04:05Z is no time: day is out of range for month"
    )


def test_inline_delays_become_a_map() -> None:
    delays = parse_scenario(EVENTFUL, "s.yaml", BAD).delays
    found = delays.load()
    row = found.row("n-1")
    assert row is not None
    assert (found.names, row.tolist()) == (("n-1", "n-2"), [0.0, 4.0])


# The page


def blocks() -> list[tuple[int, str, str]]:
    """Line, name of the file it stands for ("" for a scenario), and text of each YAML block."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.finditer(r"^```yaml(?: file=(\S+))?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start()) + 1, match[1] or "", match[2]) for match in found]


@pytest.mark.parametrize(
    "text", [pytest.param(text, id=f"line {line}") for line, name, text in blocks() if not name]
)
def test_examples_of_the_page_run(text: str, tmp_path: Path) -> None:
    for _, name, content in blocks():
        if name:
            (tmp_path / name).write_text(content)
    scenario = parse_scenario(text, "scenario.yaml", tmp_path)
    cluster = scenario.build(schedulers=["custom-scheduler"])
    cluster.run_until(scenario.start + (scenario.until or 60))
    assert cluster.notes == []
    assert scenario.notes == ()


def test_the_page_names_every_key_of_the_schema() -> None:
    page = PAGE.read_text(encoding="utf-8")
    keys: set[str] = set()

    def collect(part: Any) -> None:
        if isinstance(part, dict):
            keys.update(part.get("properties", {}))
            for inner in part.values():
                collect(inner)

    collect(schema())
    assert {key for key in keys if f"`{key}`" not in page} == {
        "from",
        "to",
    }  # {from, to, ms} stands there as a whole


def test_the_defaults_on_the_page_are_those_of_the_options() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| ([^|]+) \| ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    defaults = Options()
    checked = 0
    for key, written in rows:
        actual = getattr(defaults, key.replace("-", "_"), None)
        if isinstance(actual, int | float) and not isinstance(actual, bool):
            value = float(written) if re.fullmatch(r"[\d.]+", written) else seconds(written)
            assert value == actual, key
            checked += 1
    assert checked == 12
