"""``berth reserve`` and ``berth reserve check``: what they print and write, and their exit statuses.

To accept what is printed now, run the tests with ``BERTH_ACCEPT=1`` and read the difference that git shows.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from rich.console import Console

from engine.cli.progress import Doing
from engine.healing import Loss, LossReport, Unplaced, Verdict
from engine.model.objects import PodKey
from tests.engine.cli.berth import run

LOSSES = Path(__file__).parent / "losses"
GOLDEN = Path(__file__).parent / "golden"
GI = 1 << 30
RULES = ["--policies", "edge.policy", "--delays", "delays.csv"]
RESERVE = ["reserve", *RULES, "--cluster", "healthy.yaml"]
CHECK = ["reserve", "check", *RULES, "--cluster", "healthy.yaml"]
NEAR_ONE = "0/5 nodes are available: edge-1 is not ready, so no delay can be measured from it."


def compare(golden: str, printed: str) -> None:
    path = GOLDEN / f"{golden}.txt"
    found = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
    if os.environ.get("BERTH_ACCEPT"):
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("golden", "columns", "arguments", "status"),
    [
        pytest.param("reserve", 100, RESERVE, 0, id="what is kept"),
        pytest.param("reserve-narrow", 60, RESERVE, 0, id="on 60 columns"),
        pytest.param("reserve-check", 100, CHECK, 3, id="the proof of what is held"),
        pytest.param(
            "reserve-check-witness",
            100,
            [*CHECK, "--plan", "--witness", "edge-1", "--witness", "edge-2"],
            3,
            id="the proof of the plan, with witnesses",
        ),
    ],
)
def test_what_is_printed(golden: str, columns: int, arguments: list[str], status: int) -> None:
    result = run(arguments, LOSSES, columns)
    compare(golden, result.stdout)
    assert max(map(len, result.stdout.splitlines())) <= columns
    assert result.stderr == ""
    assert result.exit_code == status


def schema(name: str) -> Any:
    return json.loads(files("engine.cli").joinpath(f"{name}.schema.json").read_text())


def written(name: str, arguments: list[str], folder: Path = LOSSES, status: int = 0) -> Any:
    result = run([*arguments, "--format", "json"], folder)
    assert result.exit_code == status, result.output
    value = json.loads(result.stdout)
    jsonschema.Draft202012Validator(schema(name)).validate(value)
    return value


@pytest.mark.parametrize("name", ["reserve", "reserve_check"])
def test_the_schemas_are_some(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))


def test_json_of_what_is_kept() -> None:
    value = written("reserve", RESERVE)
    assert value["time"] == "2026-01-31T12:00:00.000+00:00"
    [one] = value["reserves"]
    assert (one["name"], one["file"], one["line"]) == ("backup", "edge.policy", 7)
    assert one["pods"] == {"covered": 4, "backed_up": 3, "uncovered": 1}
    assert one["requested"] == {"memory": 13 * GI, "cpu": 4250}
    assert one["limit"] == {"percent_of_requested_memory": 60, "memory": int(7.8 * GI)}
    assert (one["planned"]["memory"], one["planned"]["memory_share"]) == (4 * GI, pytest.approx(4 / 13))
    assert (one["held"]["memory"], one["held"]["placeholders"]) == (4 * GI, 1)
    edge_2, edge_3 = one["nodes"]
    assert edge_2 == {
        "name": "edge-2",
        "planned": {"memory": 4 * GI, "cpu": 1000, "pods": 2},
        "held": {},
        "as_planned": False,
        "most_for": ["edge-1"],
    }
    assert (edge_3["planned"], edge_3["held"]) == ({}, {"memory": 4 * GI, "cpu": 1000, "pods": 1})
    assert one["uncovered"] == [
        {"pod": {"namespace": "default", "name": "near-one"}, "node": "edge-1", "reason": NEAR_ONE}
    ]


def test_json_of_the_proof() -> None:
    value = written("reserve_check", [*CHECK, "--witness", "edge-1"], status=3)
    assert (value["checked"], value["free_too"]) == ("held", False)
    [one] = value["reserves"]
    assert one["counts"] == {"holds": 4, "fails": 1, "unknown": 0}
    assert one["pods_in_no_loss"] == 0
    losses = {loss["value"]: loss for loss in one["losses"]}
    assert losses["edge-4"]["verdict"] == "holds"
    assert "witness" not in losses["edge-4"]
    assert losses["edge-1"]["unplaced"] == [
        {"pod": {"namespace": "default", "name": "near-one"}, "reason": NEAR_ONE}
    ]
    places = {one["pod"]["name"]: (one["from"], one["to"]) for one in losses["edge-1"]["witness"]}
    # The placeholder is on edge-3, so that is where they go; the plan has edge-2.
    assert places == {"camera-1": ("edge-1", "edge-3"), "camera-2": ("edge-1", "edge-3")}


def world(tmp_path: Path, change: Callable[[list[dict[str, Any]]], object]) -> Path:
    """The dump, with its items changed."""
    for name in ("edge.policy", "delays.csv"):
        (tmp_path / name).write_text((LOSSES / name).read_text())
    dump = yaml.safe_load((LOSSES / "healthy.yaml").read_text())
    change(dump["items"])
    (tmp_path / "healthy.yaml").write_text(json.dumps(dump))
    return tmp_path


def without(*names: str) -> Callable[[list[dict[str, Any]]], object]:
    def change(items: list[dict[str, Any]]) -> None:
        items[:] = [item for item in items if item["metadata"]["name"] not in names]

    return change


def test_all_hold_once_nothing_is_uncovered(tmp_path: Path) -> None:
    result = run(CHECK, world(tmp_path, without("near-one")))
    assert result.exit_code == 0
    assert "HOLDS    5 of 5 losses, with 3 covered pods" in result.stdout
    assert "FAILS" not in result.stdout


def test_what_nobody_holds_fails_but_what_is_planned_holds(tmp_path: Path) -> None:
    folder = world(tmp_path, without("near-one", "berth-placeholder-1"))
    result = run(CHECK, folder)
    assert result.exit_code == 3
    assert "no placeholder holds it: does `berth run` run with these policies?" in result.stdout
    assert "FAILS    2 of 5 losses, with 3 covered pods" in result.stdout
    assert run([*CHECK, "--plan"], folder).exit_code == 0
    assert run([*CHECK, "--free"], folder).exit_code == 0
    assert "held     nothing: no placeholder is there" in run(RESERVE, folder).stdout


def test_a_placeholder_on_its_way_out_holds_nothing(tmp_path: Path) -> None:
    def leave(items: list[dict[str, Any]]) -> None:
        for item in items:
            if item["metadata"]["name"] == "berth-placeholder-1":
                item["metadata"]["deletionTimestamp"] = "2026-01-31T12:00:00Z"

    assert written("reserve", RESERVE, world(tmp_path, leave))["reserves"][0]["held"]["memory"] == 0


def test_what_is_not_decided_is_a_status_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def undecided(*_: object, **more: Any) -> Iterator[LossReport]:
        pod, other = PodKey("default", "camera-1", "p1"), PodKey("default", "camera-2", "p2")
        loss = Loss("node", "edge-1", ("edge-1",))
        lacking = Unplaced(other, "no room")
        yield LossReport(loss, Verdict.UNKNOWN, ((pod, "edge-2"),), (lacking,), more["steps"])

    monkeypatch.setattr("engine.cli.reserve_check.proved", undecided)
    result = run([*CHECK, "--steps", "7"], LOSSES)
    assert result.exit_code == 2
    assert "UNKNOWN  1 of 1 loss, with 2 covered pods" in result.stdout
    assert "node edge-1: 1 of 2 pods found no place in 7 tries; --steps looks longer" in result.stdout
    value = written("reserve_check", [*CHECK, "--witness", "edge-1"], status=2)
    assert value["reserves"][0]["losses"][0]["witness"][0]["to"] == "edge-2"


def test_a_domain_that_a_node_is_not_in(tmp_path: Path) -> None:
    def zones(items: list[dict[str, Any]]) -> None:
        without("near-one")(items)
        del next(item for item in items if item["metadata"]["name"] == "edge-1")["metadata"]["labels"]

    folder = world(tmp_path, zones)
    policy = folder / "edge.policy"
    policy.write_text(policy.read_text().replace("survive loss of 1 node", "survive loss of 1 zone"))
    result = run(CHECK, folder)
    assert (
        "2 covered pods on nodes without the label topology.kubernetes.io/zone: in no loss" in result.stdout
    )
    told = {
        one["pod"]["name"]: one["reason"]
        for one in written("reserve", RESERVE, folder)["reserves"][0]["uncovered"]
    }
    assert told["camera-1"] == 'its node edge-1 has no label "topology.kubernetes.io/zone"'


def test_many_uncovered_pods_are_grouped(tmp_path: Path) -> None:
    def crowd(items: list[dict[str, Any]]) -> None:
        pod = next(item for item in items if item["metadata"]["name"] == "near-one")
        for number in range(40):
            items.append(json.loads(json.dumps(pod)))
            items[-1]["metadata"] |= {"name": f"near-{number:02}", "uid": f"near-{number}"}
            items[-1]["spec"]["containers"][0]["resources"]["requests"] = {"cpu": "1m"}

    folder = world(tmp_path, crowd)
    printed = " ".join(run(RESERVE, folder).stdout.split())
    assert " 41 its delay counts from its own node, and cannot be measured once that is lost" in printed
    assert "near-05 on edge-1 and 35 more" in printed
    assert "near-06" not in printed
    assert len(written("reserve", RESERVE, folder)["reserves"][0]["uncovered"]) == 41


def test_no_reserve(tmp_path: Path) -> None:
    folder = world(tmp_path, without())
    (folder / "edge.policy").write_text('rule r for all pods {\n  require node.labels has "*"\n}\n')
    result = run(RESERVE, folder)
    assert result.exit_code == 0
    assert "note: the policies keep no reserve" in result.stdout
    assert "placeholders for backup, which is no reserve of these policies: 1 on edge-3" in result.stdout
    result = run(CHECK, folder)
    assert result.exit_code == 1
    assert "error: the policies keep no reserve, so there is nothing to prove" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        pytest.param(
            [*CHECK, "--witness", "edge-11"],
            1,
            "error: no loss edge-11; --witness takes the name of a node; did you mean edge-1?",
            id="no such loss",
        ),
        pytest.param(
            ["reserve", *RULES, "check"], 1, "error: options go behind check", id="options in front"
        ),
        pytest.param(["reserve", "chekc"], 1, "No such command 'chekc'", id="no such command"),
        pytest.param([*CHECK, "--steps", "0"], 1, "0 is not in the range x>=1", id="no steps"),
        pytest.param(
            [*CHECK, "--cluster", "no.yaml"], 1, "error: no.yaml: no such file", id="check without a file"
        ),
        pytest.param([*RESERVE, "--cluster", "no.yaml"], 3, "error: no.yaml: no such file", id="no file"),
        pytest.param(
            [*RESERVE, "--at", "90s"],
            3,
            "error: --at of a dump is a date and time",
            id="a duration for a dump",
        ),
        pytest.param(
            [*RESERVE, "--context", "x"], 3, "are three clusters; give one of them", id="two clusters"
        ),
    ],
)
def test_bad_input(arguments: list[str], status: int, said: str) -> None:
    result = run(arguments, LOSSES)
    assert result.exit_code == status, result.output
    assert said in result.stderr


def test_progress_is_for_terminals() -> None:
    def shown(terminal: bool) -> str:
        stream = io.StringIO()
        console = Console(file=stream, force_terminal=terminal, width=80, legacy_windows=False)
        times = iter([0.0, 0.01, 0.02, 5.0])
        with Doing(console, lambda: next(times)) as doing:
            doing.doing("one")
            doing.doing("two")
            doing.doing("three", long=True)
            doing.doing("four")
        return stream.getvalue()

    assert shown(False) == ""
    printed = shown(True)
    assert [word in printed for word in ("one", "two", "three", "four")] == [True, False, True, True]
