"""``berth explain``: what it prints and writes, its exit statuses, and what it says to bad input.

To accept what is printed now, run the tests with ``BERTH_ACCEPT=1`` and read the difference that git shows.
"""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.engine.cli.berth import WORLD, run

GOLDEN = Path(__file__).parent / "golden"
SCHEMA = json.loads(files("engine.cli").joinpath("explain.schema.json").read_text())
WITH_RULES = ["--policies", "near.policy", "--delays", "delays.csv"]
DUMP = ["--cluster", "nodes.yaml", "--cluster", "running.yaml", "--at", "2026-01-31T12:00:00Z"]
EXPLAIN = ["explain", *DUMP, *WITH_RULES]


@pytest.mark.parametrize(
    ("name", "columns", "arguments"),
    [
        pytest.param("explain-bound", 100, ["web-1"], id="a pod that runs"),
        pytest.param("explain-pending", 100, ["shop/wanting"], id="a pod that waits"),
        pytest.param("explain-fallback", 100, ["wanting", "--waited", "40s"], id="a pod that falls back"),
        pytest.param("explain-narrow", 60, ["wanting", "--all-reasons"], id="all reasons, on 60 columns"),
        pytest.param("explain-manifest", 100, ["web-10", "--pod", "pods.yaml"], id="a manifest"),
        pytest.param("explain-trouble", 100, ["badly-labelled", "--pod", "pods.yaml"], id="a bad label"),
        pytest.param("explain-gated", 100, ["gated", "--pod", "pods.yaml"], id="a pod that is held back"),
        pytest.param("explain-refused-node", 100, ["wanting", "--node", "cloud-1"], id="a node that refuses"),
        pytest.param(
            "explain-second-node",
            100,
            ["gated", "--pod", "pods.yaml", "--node", "edge-1"],
            id="a node that is second",
        ),
    ],
)
def test_what_is_printed(name: str, columns: int, arguments: list[str]) -> None:
    result = run([*EXPLAIN, *arguments], WORLD, columns)
    golden = GOLDEN / f"{name}.txt"
    printed = "".join(f"{line.rstrip()}\n" for line in result.stdout.splitlines())
    if os.environ.get("BERTH_ACCEPT"):
        golden.write_text(printed, encoding="utf-8")
    assert printed == golden.read_text(encoding="utf-8")
    assert max(len(line) for line in printed.splitlines()) <= columns
    assert result.stderr == ""
    assert result.exit_code == 0


def written(arguments: list[str]) -> Any:
    result = run([*EXPLAIN, "--format", "json", *arguments], WORLD)
    assert result.exit_code == 0, result.stderr
    value = json.loads(result.stdout)
    jsonschema.Draft202012Validator(SCHEMA).validate(value)
    return value


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_json_of_a_pod_that_waits() -> None:
    value = written(["shop/wanting", "--all-reasons"])
    assert value["pod"] == {
        "namespace": "shop",
        "name": "wanting",
        "node": None,
        "priority": 0,
        "nominated_node": None,
    }
    assert value["time"] == "2026-01-31T12:00:00.000+00:00"
    assert value["waited_ms"] == 10_000
    assert value["outcome"]["node"] is None
    assert value["outcome"]["why"] == "no-node"
    assert value["outcome"]["next_stage_ms"] == 20_000
    assert [stage["state"] for stage in value["stages"]] == ["tried", "closed"]
    assert value["stages"][1]["feasible_nodes"] == 1
    assert value["rules"] == [
        {"name": "near", "file": "near.policy", "line": 4},
        {"name": "overflow", "file": "near.policy", "line": 11},
    ]
    nodes = {node["name"]: node for node in value["nodes"]}
    assert {name: [one["source"]["name"] for one in node["refusals"]] for name, node in nodes.items()} == {
        "cloud-1": ["near", "overflow"],
        "control-1": ["TaintToleration", "near", "overflow"],
        "edge-1": ["NodeResourcesFit"],
        "edge-2": ["NodeResourcesFit"],
    }
    assert nodes["edge-1"]["refusals"][0]["values"] == [
        {
            "kind": "resource",
            "resource": "memory",
            "requested": 6 << 30,
            "used": 3 << 30,
            "allocatable": 8 << 30,
        }
    ]
    delay, role = (one["values"][0] for one in nodes["cloud-1"]["refusals"])
    assert delay == {
        "kind": "delay",
        "origin": "edge-1",
        "delay_ms": 43.6,
        "limit_ms": 10,
        "error_ms": 0.0,
        "age_s": None,
    }
    assert (role["fact"], role["found"], role["wanted"]) == ('node.labels["role"]', "cloud", '== "edge"')
    helps = {one["source"]["name"]: (one["nodes"], one["nearest"]) for one in value["would_help"]}
    assert helps == {"NodeResourcesFit": (2, "edge-1")}


def test_json_of_a_pod_that_runs_adds_up() -> None:
    value = written(["web-1"])
    assert value["pod"]["node"] == "edge-1"
    assert value["outcome"] == {
        "node": "edge-1",
        "why": "only-node",
        "score": 300,
        "runner_up": None,
        "nodes": 4,
        "feasible_nodes": 1,
        "stage": 0,
        "trouble": None,
        "message": None,
        "next_stage_ms": None,
    }


def test_json_of_a_pod_with_a_choice_adds_up() -> None:
    value = written(["gated", "--pod", "pods.yaml"])
    assert [node["name"] for node in value["nodes"]] == ["cloud-1", "edge-1", "edge-2", "control-1"]
    assert (value["outcome"]["why"], value["outcome"]["runner_up"]) == ("score", "edge-1")
    assert value["outcome"]["score"] == value["nodes"][0]["total"]
    for node in value["nodes"]:
        if node["fits"]:
            assert sum(score["contribution"] for score in node["scores"]) == pytest.approx(node["total"])


@pytest.mark.parametrize("node", ["edge-1", "cloud-1"])
def test_json_of_one_node_has_no_other(node: str) -> None:
    (found,) = written(["wanting", "--node", node])["nodes"]
    assert found["name"] == node


def test_the_same_pod_as_a_manifest_and_in_the_cluster(tmp_path: Path) -> None:
    """The template of a workload is placed as its pods are."""
    manifest = tmp_path / "app.yaml"
    manifest.write_text(
        """
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: db, namespace: shop}
        spec:
          selector: {matchLabels: {app: db}}
          template:
            metadata: {labels: {app: db, delay_edge-1: "10", cloudable: "yes"}}
            spec:
              schedulerName: custom-scheduler
              containers: [{name: db, image: db, resources: {requests: {cpu: "1", memory: 6Gi}}}]
        """
    )
    one, other = written(["wanting", "--waited", "5s"]), written(["--pod", str(manifest), "--waited", "5s"])
    assert {key: other["pod"][key] for key in ("namespace", "name", "node")} == {
        "namespace": "shop",
        "name": "db-new",
        "node": None,
    }
    for key in ("rules", "stages", "refusals", "would_help", "nodes", "room"):
        assert one[key] == other[key], key


def test_a_simulated_cluster(tmp_path: Path) -> None:
    (tmp_path / "world.yaml").write_text(
        """
        until: 1min
        nodes: [{name: "n-{n}", count: 2, cpu: 2, memory: 4Gi}]
        pods: [{name: big, replicas: 3, cpu: 1500m}]
        """
    )
    arguments = ["explain", "--scenario", "world.yaml", "--at", "30s", "--format", "json"]
    names = json.loads(run(["simulate", "--scenario", "world.yaml", "--format", "json"], tmp_path).stdout)[
        "pods"
    ]
    outcomes = {}
    for pod in names:
        value = json.loads(run([*arguments, pod["pod"]], tmp_path).stdout)
        jsonschema.Draft202012Validator(SCHEMA).validate(value)
        assert value["pod"]["node"] == pod["node"]
        outcomes[pod["pod"]] = value["outcome"]["node"]
    # Placed anew, those that run find their own room again; the third still finds none.
    assert outcomes == {pod["pod"]: pod["node"] for pod in names}
    assert list(outcomes.values()).count(None) == 1


def test_fail_on_pending_is_a_status_of_its_own() -> None:
    assert run([*EXPLAIN, "wanting", "--fail-on", "pending"], WORLD).exit_code == 2
    assert run([*EXPLAIN, "web-1", "--fail-on", "pending"], WORLD).exit_code == 0
    assert run([*EXPLAIN, "wanting"], WORLD).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        pytest.param([*EXPLAIN, "web-3"], 3, "no pod default/web-3 in the cluster; did you mean", id="typo"),
        pytest.param([*EXPLAIN, "nobody/zzzzz"], 3, "--pod FILE takes a manifest", id="no such pod"),
        pytest.param(EXPLAIN, 3, "no pod is named; give [NAMESPACE/]POD or --pod FILE; pending are shop/wanting",
                     id="no pod"),
        pytest.param([*EXPLAIN, "web-1", "--node", "egde-1"], 3, "no node egde-1 in the cluster; did you mean edge-1",
                     id="no such node"),
        pytest.param(["explain", "web-1", "--cluster", "nothing.json"], 3,
                     "nothing.json: no such file or directory; check the path", id="no such file"),
        pytest.param(["explain", "web-1", "--cluster", "running.yaml"], 3, "no node in it; dump the nodes, too",
                     id="no nodes"),
        pytest.param(["explain", "web-1", "--cluster", "delays.csv"], 3, "neither a List nor an object", id="no list"),
        pytest.param(["explain", "web-1", *DUMP, "--scenario", "x.yaml"], 3, "give one of them", id="two clusters"),
        pytest.param([*EXPLAIN, "--pod", "pods.yaml"], 3, "which of them? name one of web-2, web-10", id="which"),
        pytest.param([*EXPLAIN, "--pod", "nodes.yaml"], 3, "nodes.yaml: no pod in it", id="no pod in the file"),
        pytest.param([*EXPLAIN, "web-1", "--at", "90s"], 3, "is a date and time", id="duration for a dump"),
        pytest.param([*EXPLAIN, "web-1", "--at", "noon"], 1, "neither a duration", id="no time"),
        pytest.param([*EXPLAIN, "web-1", "--waited", "long"], 1, "is not a duration", id="no duration"),
    ],
)  # fmt: skip
def test_bad_input_is_told_with_its_remedy(arguments: list[str], status: int, said: str) -> None:
    result = run(arguments, WORLD)
    assert said in " ".join(result.stderr.split())
    assert result.exit_code == status
    assert result.stdout == ""
