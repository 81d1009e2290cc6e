"""``berth heal --plan``: what it prints and writes, now and ahead of time, and that it moves nothing.

To accept what is printed now, run the tests with ``BERTH_ACCEPT=1`` and read the difference that git shows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.engine.cli.berth import run
from tests.engine.cli.test_reserve import LOSSES, RULES, compare, schema, world

HEAL = ["heal", "--plan", *RULES, "--cluster"]


@pytest.mark.parametrize(
    ("golden", "columns", "arguments"),
    [
        pytest.param("heal", 100, [*HEAL, "lost.yaml"], id="a lost node, a drift and a pod without room"),
        pytest.param("heal-now", 70, [*HEAL, "lost.yaml", "--now"], id="what is due now, on 70 columns"),
        pytest.param("heal-nothing", 100, [*HEAL, "healthy.yaml"], id="nothing is wrong"),
    ],
)
def test_what_is_printed(golden: str, columns: int, arguments: list[str]) -> None:
    result = run(arguments, LOSSES, columns)
    compare(golden, result.stdout)
    assert max(map(len, result.stdout.splitlines())) <= columns
    assert result.stderr == ""
    assert result.exit_code == 0


def written(arguments: list[str], folder: Path = LOSSES) -> Any:
    result = run([*arguments, "--format", "json"], folder)
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    jsonschema.Draft202012Validator(schema("heal")).validate(value)
    return value


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema("heal"))


def moves(value: Any) -> dict[str, tuple[str, str, str, float]]:
    return {
        one["pod"]["name"]: (one["heal"]["name"], one["from"], one["way"], one["due_s"])
        for one in value["moves"]
    }


def test_json() -> None:
    value = written([*HEAL, "lost.yaml"])
    assert moves(value) == {
        "camera-1": ("node-loss", "edge-1", "delete", 0),
        "camera-2": ("node-loss", "edge-1", "delete", 0),
        "report": ("room", "cloud-1", "evict", 0),
        "far-1": ("drift", "edge-4", "evict", 60),
    }
    assert value["ahead_s"] == 60
    by_name = {one["pod"]["name"]: one for one in value["moves"]}
    assert by_name["camera-1"]["backup"] is True
    assert by_name["camera-1"]["why"] == "node edge-1 has been lost for 12s"
    assert by_name["report"]["helps"] == {"namespace": "default", "name": "big"}
    assert by_name["far-1"]["heal"] == {"name": "drift", "file": "edge.policy", "line": 18}
    [stay] = value["stays"]
    assert (stay["pod"]["name"], stay["node"], stay["reason"]) == ("near-one", "edge-1", "bare")
    assert value["next_due"] is None


def test_only_what_is_due_now() -> None:
    value = written([*HEAL, "lost.yaml", "--now"])
    assert set(moves(value)) == {"camera-1", "camera-2", "report"}
    assert value["ahead_s"] == 0
    assert value["next_due"] == "2026-01-31T12:01:00.000+00:00"


@pytest.mark.parametrize(
    ("at", "due"),
    [
        pytest.param("2026-01-31T11:59:49Z", 9.0, id="before the duration is over"),
        pytest.param("2026-01-31T11:59:58Z", 0.0, id="as it is over"),
    ],
)
def test_a_loss_counts_from_when_the_node_says(at: str, due: float) -> None:
    assert moves(written([*HEAL, "lost.yaml", "--at", at]))["camera-1"][3] == due


def test_a_site_that_fell_silent_is_held(tmp_path: Path) -> None:
    def cut(items: list[dict[str, Any]]) -> None:
        for item in items:
            if item["metadata"]["name"] in ("edge-1", "edge-2"):
                item["status"]["conditions"] = [
                    {"type": "Ready", "status": "Unknown", "lastTransitionTime": "2026-01-31T11:59:00Z"}
                ]

    folder = world(tmp_path, cut)
    value = written([*HEAL, "healthy.yaml"], folder)
    assert value["moves"] == []
    [held] = value["held"]
    assert (held["subject"], held["nodes"]) == ("zone a", ["edge-1", "edge-2"])
    assert {one["reason"] for one in value["stays"]} == {"held"}
    printed = run([*HEAL, "healthy.yaml"], folder, 100).stdout
    assert "held      zone a: 2 of 2 nodes of zone a are silent: a cut link, not a crash" in printed
    assert "3 pods stay where they are" in printed


def test_a_cordoned_node_is_emptied(tmp_path: Path) -> None:
    def cordon(items: list[dict[str, Any]]) -> None:
        next(item for item in items if item["metadata"]["name"] == "edge-4")["spec"] = {"unschedulable": True}

    assert moves(written([*HEAL, "healthy.yaml"], world(tmp_path, cordon))) == {
        "db-0": ("draining", "edge-4", "evict", 0)
    }


def test_pods_of_other_schedulers_never_move(tmp_path: Path) -> None:
    def theirs(items: list[dict[str, Any]]) -> None:
        for item in items:
            if item["metadata"]["name"] == "edge-4":
                item["spec"] = {"unschedulable": True}
            if item["kind"] == "Pod":
                item["spec"]["schedulerName"] = "default-scheduler"

    value = written([*HEAL, "healthy.yaml"], world(tmp_path, theirs))
    assert (value["moves"], value["stays"]) == ([], [])


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        pytest.param(
            ["heal", *RULES, "--cluster", "lost.yaml"],
            1,
            "error: say --plan: `berth run` alone carries moves out",
            id="no plan",
        ),
        pytest.param([*HEAL, "no.yaml"], 3, "error: no.yaml: no such file", id="no file"),
    ],
)
def test_bad_input(arguments: list[str], status: int, said: str) -> None:
    result = run(arguments, LOSSES)
    assert result.exit_code == status
    assert said in result.stderr


def test_no_heal(tmp_path: Path) -> None:
    folder = world(tmp_path, lambda items: items)
    (folder / "edge.policy").write_text('rule r for all pods {\n  require node.labels has "*"\n}\n')
    assert (
        "the policies have no heal; docs/healing.md shows some" in run([*HEAL, "healthy.yaml"], folder).stdout
    )
