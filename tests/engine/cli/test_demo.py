"""``berth simulate`` of the demo's worlds places every pod where their ``expected.json`` says."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.cli.berth import run

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "demo"
PROTOTYPE = DEMO / "prototype"
POLICIES = ("edge.policy", "seed.policy")


def simulate(*arguments: str) -> list[Any]:
    """The pods, as json has them; paths are relative to the checkout."""
    result = run(["simulate", *arguments, "--format", "json"], ROOT)
    assert result.exit_code == 0, result.stderr
    pods: list[Any] = json.loads(result.stdout)["pods"]
    return pods


def of(workload: str, pods: list[Any]) -> Iterator[Any]:
    """Its pods: their names are the workload's and one or two more parts."""
    for pod in pods:
        parts = pod["pod"].split("-")
        if workload in ("-".join(parts[:-1]), "-".join(parts[:-2])):
            yield pod


def are_as_expected(pods: list[Any], case: Any) -> None:
    assert len(pods) == sum(place["pods"] for place in case["places"].values())
    for workload, place in case["places"].items():
        own = list(of(workload, pods))
        assert len(own) == place["pods"], workload
        overflow = place.get("overflow", {"pods": 0, "nodes": []})
        away = [pod for pod in own if pod["node"] in overflow["nodes"]]
        assert len(away) == overflow["pods"], workload
        assert all((pod["fallback"] is not None) == (pod in away) for pod in own)
        for pod in own:
            assert {limit["from"]: limit["limit_ms"] for limit in pod["delays"]} == place["limits"]
            if pod not in away:
                assert pod["node"] in place["nodes"], workload
                assert all(limit["delay_ms"] <= limit["limit_ms"] for limit in pod["delays"])


def test_the_demo() -> None:
    [case] = json.loads((DEMO / "expected.json").read_text())
    pods = simulate(
        *("--nodes", "demo/nodes.yaml", "--delays", "demo/delays.csv", "--policies", "policies/edge.policy"),
        *(f"demo/workloads/{name}" for name in case["apply"]),
    )
    are_as_expected(pods, case)
    [fallen] = [pod for pod in pods if pod["fallback"]]
    assert (fallen["pod"].startswith("image-indexer-"), fallen["time"]) == (True, 30)


@pytest.mark.parametrize(
    "case", json.loads((PROTOTYPE / "expected.json").read_text()), ids=lambda case: case["case"]
)
@pytest.mark.parametrize("policy", POLICIES)
def test_the_prototypes_requests(case: Any, policy: str) -> None:
    pods = simulate(
        *("--nodes", "demo/prototype/nodes.yaml", "--policies", f"policies/{policy}"),
        *("--delays", "demo/prototype/matrix.txt", "--delays", "demo/prototype/metadata.json"),
        *(f"demo/prototype/{name}" for name in case["apply"]),
    )
    are_as_expected(pods, case)


def test_the_scenario() -> None:
    pods = simulate("--scenario", "demo/edge.scenario.yaml")
    assert all(pod["node"] for pod in pods)
    recorders = sorted((pod["node"], pod["time"]) for pod in of("stream-recorder", pods))
    [(first, at_once), (second, later)] = recorders
    assert (first, at_once) == ("edge-4", 0)
    assert second == "edge-7", "it fits nowhere before that node is there"
    assert 65 <= later <= 75, "and not before its delays are known, at 1:05, and the backoff is over"
    indexers = sorted((pod["time"], pod["node"]) for pod in of("image-indexer", pods))
    assert {node for _, node in indexers[:2]} == {"edge-5", "edge-6"}
    assert indexers[2][0] == 30
    assert indexers[2][1].startswith("cloud-")


@pytest.mark.parametrize("until", ["29s", "1min4s"])
def test_the_scenario_before_help_comes(until: str) -> None:
    pods = simulate("--scenario", "demo/edge.scenario.yaml", "--until", until)
    pending = {pod["pod"].rsplit("-", 2)[0]: pod["message"] for pod in pods if pod["node"] is None}
    assert "not within 4ms of edge-4" in pending.pop("stream-recorder")
    if until == "29s":
        assert "Not tried yet: cloud (rule cloud-fallback" in pending.pop("image-indexer")
    assert pending == {}


LOSS = "demo/prototype/loss.scenario.yaml"
MOVED = {
    # at a time: each workload's node and since when, in seconds
    "59s": {"deployment1": ("kube-worker-1", 0), "deployment3": ("kube-worker-2", 0)},
    "3min59s": {"deployment1": ("kube-worker-1", 0), "deployment3": ("kube-worker-3", 100)},
    "6min": {"deployment1": ("edge-1", 240), "deployment3": ("kube-worker-3", 100)},
}


@pytest.mark.parametrize(("until", "expected"), MOVED.items(), ids=MOVED)
def test_the_prototypes_world_loses_a_node_and_has_a_slower_one(
    until: str, expected: dict[str, tuple[str, float]]
) -> None:
    pods = {one["pod"].split("-")[0]: one for one in simulate("--scenario", LOSS, "--until", until)}
    never = {"deployment2": ("cloud-1", 0), "deployment4": ("kube-worker-3", 0)}
    assert {name: (one["node"], one["time"]) for name, one in pods.items()} == {**never, **expected}


def test_the_prototypes_lost_pod_gets_the_place_that_was_kept_for_it() -> None:
    result = run(["simulate", "--scenario", LOSS, "--timeline"], ROOT)
    told = " ".join(result.stdout.split())
    assert "it moves from kube-worker-2 to kube-worker-3, which was kept for it" in told
    assert "36 ms from edge-1, 25 ms allowed; 0 ms there; it moves from kube-worker-1 to edge-1" in told
    assert told.count(": Moving: ") == 2, "nobody else is moved"
    assert "deployment3-xzjgkkhq65-kxscm: Uncovered: reserve second-place" in told, "it is not forgotten"


def test_a_thousand_nodes_and_three_thousand_pods(tmp_path: Path) -> None:
    nodes = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": f"n{i}", "labels": {"kubernetes.io/role": "edge" if i % 10 else "cloud"}},
            "status": {"allocatable": {"cpu": "16", "memory": "64Gi", "pods": "110"}},
        }
        for i in range(1000)
    ]
    workloads = [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": f"w{i}"},
            "spec": {
                "replicas": 30,
                "selector": {"matchLabels": {"app": f"w{i}"}},
                "template": {
                    "metadata": {"labels": {"app": f"w{i}", **({f"delay_n{i}": "20"} if i % 2 else {})}},
                    "spec": {
                        "schedulerName": "custom-scheduler",
                        "containers": [
                            {"name": "c", "image": "i", "resources": {"requests": {"cpu": "500m"}}}
                        ],
                    },
                },
            },
        }
        for i in range(100)
    ]
    lines = [f"n{i},n{j},{1 + (i * 7 + j) % 40}" for i in range(1, 100, 2) for j in range(1000) if i != j]
    (tmp_path / "delays.csv").write_text("\n".join(["from,to,ms", *lines]))
    for name, items in (("nodes.json", nodes), ("pods.json", workloads)):
        (tmp_path / name).write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    before = time.process_time()
    result = run(
        ["simulate", "--nodes", "nodes.json", "--delays", "delays.csv", "--policies", ROOT / "policies/edge.policy",
         "pods.json", "--fail-on", "pending"],
        tmp_path,
    )  # fmt: skip
    assert "3000 of 3000 pods placed" in result.stdout
    assert result.exit_code == 0
    assert time.process_time() - before < 60, "some five seconds are usual"
