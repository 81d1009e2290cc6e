"""``berth simulate``: what it prints and writes, and its exit statuses.

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

from tests.engine.cli.berth import SIMULATE, WORLD, run

GOLDEN = Path(__file__).parent / "golden"
SCHEMA = json.loads(files("engine.cli").joinpath("simulate.schema.json").read_text())


@pytest.mark.parametrize(
    ("name", "columns", "arguments"),
    [
        pytest.param("narrow", 80, [], id="80 columns"),
        pytest.param("wide", 170, [], id="170 columns"),
        pytest.param("timeline", 100, ["--timeline"], id="timeline"),
    ],
)
def test_what_is_printed(name: str, columns: int, arguments: list[str]) -> None:
    result = run([*SIMULATE, *arguments], WORLD, columns)
    golden = GOLDEN / f"{name}.txt"
    printed = "".join(f"{line.rstrip()}\n" for line in result.stdout.splitlines())
    if os.environ.get("BERTH_ACCEPT"):
        golden.write_text(printed, encoding="utf-8")
    assert printed == golden.read_text(encoding="utf-8")
    assert max(len(line) for line in printed.splitlines()) <= columns
    assert result.stderr == ""
    assert result.exit_code == 0


def written(arguments: list[str]) -> Any:
    result = run([*SIMULATE, "--format", "json", *arguments], WORLD)
    assert result.exit_code == 0, result.stderr
    value = json.loads(result.stdout)
    jsonschema.Draft202012Validator(SCHEMA).validate(value)
    return value


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_json_says_what_the_text_says() -> None:
    value = written([])
    pods = {pod["pod"]: pod for pod in value["pods"]}
    assert {name: pod["node"] for name, pod in pods.items()} == {
        "badly-labelled": None,
        "gated": None,
        "overflowing": "cloud-1",
        "pinned": "control-1",
        "somebody-elses": None,
        "too-big-1": None,
        "too-big-2": None,
        "unlimited": "cloud-1",
        "waiting-1": None,
        "web-2": "edge-1",
        "web-10": "edge-2",
    }
    assert pods["overflowing"]["fallback"] == "cloud (rule overflow, near.policy:12), after 30s"
    assert pods["overflowing"]["time"] == 30
    assert pods["overflowing"]["delays"] == [{"from": "edge-1", "limit_ms": 10, "delay_ms": 43.6}]
    assert pods["web-10"]["rules"] == ["near (near.policy:4)"]
    assert pods["web-10"]["feasible_nodes"] == 1
    assert sum(other["nodes"] for other in pods["web-10"]["others"]) == 3
    assert "spec.schedulerName: custom-scheduler" in pods["somebody-elses"]["message"]
    assert pods["somebody-elses"]["time"] is None
    assert value["nodes"] == 4
    assert value["rules"] == ["near (near.policy:4)", "overflow (near.policy:11)"]
    assert any("ConfigMap web" in note for note in value["notes"])
    assert "timeline" not in value


def test_json_with_a_timeline() -> None:
    entries = written(["--timeline"])["timeline"]
    assert [entry["time"] for entry in entries] == sorted(entry["time"] for entry in entries)
    assert {"Scheduled", "FailedScheduling"} <= {entry["reason"] for entry in entries}
    assert all(entry["warning"] == (entry["reason"] == "FailedScheduling") for entry in entries)


def test_pods_are_sorted_by_name_with_numbers_as_numbers() -> None:
    names = [(pod["namespace"], pod["pod"]) for pod in written([])["pods"]]
    assert names.index(("default", "web-2")) < names.index(("default", "web-10"))
    assert names[-1] == ("shop", "waiting-1")


def test_runs_repeat_and_the_seed_decides_between_equals(tmp_path: Path) -> None:
    node = "{apiVersion: v1, kind: Node, metadata: {name: n%d}, status: {allocatable: {cpu: 4, memory: 8Gi, pods: 10}}}"
    pod = (
        "{apiVersion: v1, kind: Pod, metadata: {name: p%d},"
        " spec: {schedulerName: custom-scheduler, containers: [{name: c, image: i}]}}"
    )
    (tmp_path / "all.yaml").write_text(
        "\n---\n".join([node % number for number in range(8)] + [pod % number for number in range(8)])
    )

    def places(seed: str) -> list[str]:
        result = run(["simulate", "all.yaml", "--seed", seed, "--format", "json"], tmp_path)
        return [pod["node"] for pod in json.loads(result.stdout)["pods"]]

    assert places("1") == places("1")
    assert len({tuple(places(str(seed))) for seed in range(5)}) > 1


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        pytest.param([], 0, id="pending pods alone are no failure"),
        pytest.param(["--fail-on", "pending"], 2, id="unless asked for"),
        pytest.param(["--fail-on", "pending", "--format", "json"], 2, id="in json too"),
    ],
)
def test_the_exit_status(arguments: list[str], status: int) -> None:
    assert run([*SIMULATE, *arguments], WORLD).exit_code == status


def test_fail_on_pending_is_content_where_all_are_placed(tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"
        "spec: {schedulerName: custom-scheduler, containers: [{name: c, image: i}]}\n"
    )
    result = run(["simulate", "--nodes", WORLD / "nodes.yaml", "pod.yaml", "--fail-on", "pending"], tmp_path)
    assert (result.exit_code, "1 of 1 pods placed" in result.stdout) == (0, True)


def test_no_pods_is_said(tmp_path: Path) -> None:
    result = run(["simulate", "--nodes", "nodes.yaml"], WORLD)
    assert result.exit_code == 0
    assert "no pods; give manifests of pods or of workloads that make pods" in result.stdout


def test_until_counts_and_zero_is_a_time(tmp_path: Path) -> None:
    early = json.loads(run([*SIMULATE, "--until", "0s", "--format", "json"], WORLD).stdout)
    late = json.loads(run([*SIMULATE, "--until", "1min30s", "--format", "json"], WORLD).stdout)
    assert (early["seconds"], late["seconds"]) == (0, 90)
    assert [pod["pod"] for pod in late["pods"] if pod["node"] == "cloud-1"] == ["overflowing", "unlimited"]
    assert [pod["pod"] for pod in early["pods"] if pod["node"] == "cloud-1"] == ["unlimited"]


def test_a_simulation_that_would_not_end_says_so(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        f"nodes: {WORLD / 'nodes.yaml'}\nevents:\n- at: 2h\n  node-cordon: edge-1\n", encoding="utf-8"
    )
    result = run(["simulate", "--scenario", "s.yaml"], tmp_path)
    assert "note: ended after 1:00:00 though more was to come; --until TIME sets another end" in result.stdout
    assert "note" not in run(["simulate", "--scenario", "s.yaml", "--until", "3h"], tmp_path).stdout


def test_options_overrule_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "none.policy").write_text("")
    (tmp_path / "far.csv").write_text("from,to,ms\nedge-1,edge-2,600\n")
    names = ("nodes", "delays", "policies", "manifests")
    parts = dict(zip(names, ("nodes.yaml", "delays.csv", "near.policy", "pods.yaml"), strict=True))
    (tmp_path / "s.yaml").write_text(
        "".join(f"{key}: {WORLD / name}\n" for key, name in parts.items()) + "until: 1s\n"
    )

    def places(*options: str) -> dict[str, str]:
        result = run(["simulate", "--scenario", "s.yaml", "--format", "json", *options], tmp_path)
        return {pod["pod"]: pod["node"] for pod in json.loads(result.stdout)["pods"]}

    assert places()["web-10"] == "edge-2"
    assert places()["overflowing"] is None
    assert places("--until", "40s")["overflowing"] == "cloud-1"
    assert places("--delays", "far.csv")["web-10"] is None
    assert places("--policies", "none.policy")["badly-labelled"] is not None
