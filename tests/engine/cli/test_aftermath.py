"""What ``berth simulate`` tells of moves, holds, reserves and broken rules; the demo's site is the example.

To accept what is printed now, run the tests with ``BERTH_ACCEPT=1`` and read the difference that git shows.
"""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console

from engine.cli.aftermath import Aftermath, Broken, Moved
from engine.cli.aftermath_report import show
from engine.cli.logs import as_notes
from engine.cli.timeline import KEEPS, Entry, grouped
from engine.healing.plan import Move, Way
from engine.model.objects import PodKey
from grammar.policy import Heal, Rule, Trigger
from grammar.span import Span
from tests.engine.cli.berth import run

GOLDEN = Path(__file__).parent / "golden"
SCHEMA = json.loads(files("engine.cli").joinpath("simulate.schema.json").read_text())
ROOT = Path(__file__).parents[3]
SITE = ["simulate", "--scenario", "demo/healing.scenario.yaml"]


@pytest.mark.parametrize(
    ("name", "columns", "arguments"),
    [
        pytest.param("simulate-kept", 120, ["--until", "50s", "--since", "49s"], id="what is kept"),
        pytest.param(
            "simulate-lost", 120, ["--timeline", "--since", "1min", "--until", "2min30s"], id="a node is lost"
        ),
        pytest.param(
            "simulate-cut", 120, ["--timeline", "--since", "3min", "--until", "5min"], id="a link is cut"
        ),
        pytest.param("simulate-drift", 90, ["--timeline", "--since", "6min"], id="delays drift"),
    ],
)
def test_what_is_printed(name: str, columns: int, arguments: list[str]) -> None:
    result = run([*SITE, *arguments], ROOT, columns)
    golden = GOLDEN / f"{name}.txt"
    printed = "".join(f"{line.rstrip()}\n" for line in result.stdout.splitlines())
    if os.environ.get("BERTH_ACCEPT"):
        golden.write_text(printed, encoding="utf-8")
    assert printed == golden.read_text(encoding="utf-8")
    assert max(len(line) for line in printed.splitlines()) <= columns
    assert (result.stderr, result.exit_code) == ("", 0)


def written(*arguments: str) -> Any:
    result = run([*SITE, *arguments, "--format", "json"], ROOT)
    assert result.exit_code == 0, result.stderr
    value = json.loads(result.stdout)
    jsonschema.Draft202012Validator(SCHEMA).validate(value)
    return value


def test_json_of_moves_says_where_from_where_to_why_and_who_came() -> None:
    value = written("--until", "2min30s")
    assert [(one["from"], one["to"], one["backup"], one["left"], one["time"]) for one in value["moves"]] == [
        ("edge-1", "edge-2", True, True, 110),
        ("edge-1", "edge-5", True, True, 110),
    ]
    nodes = {pod["pod"]: pod["node"] for pod in value["pods"] if not pod["terminating"]}
    for one in value["moves"]:
        assert one["heal"]["name"] == "node-loss"
        assert one["heal"]["file"].endswith("edge.policy")
        assert one["why"] == "node edge-1 has been lost for 10s"
        assert nodes[one["successor"]["name"]] == one["to"]
        assert one["successor"]["time"] == 110
    leaving = sorted(pod["pod"] for pod in value["pods"] if pod["terminating"])
    assert leaving == sorted(one["pod"]["name"] for one in value["moves"])
    assert value["broken"] == []


def test_json_of_holds_and_reserves() -> None:
    value = written("--until", "5min")
    [hold] = value["held"]
    assert (hold["subject"], hold["since"], hold["until"]) == ("zone innsbruck", 280, None)
    assert hold["nodes"] == ["edge-3", "edge-6", "gate-innsbruck"]
    assert {pod["name"].split("-")[0] for pod in hold["pods"]} == {"lift"}
    assert written("--until", "7min")["held"][0]["until"] == 360
    assert all(one["unmeasured"] for one in value["broken"]), "the link is silent, and not known to be slow"
    [reserve] = value["reserves"]
    assert reserve["pods"] == {"covered": 8, "backed_up": 6, "uncovered": 2}
    assert {one["pod"]["name"].split("-")[0] for one in reserve["uncovered"]} == {"lift"}


def test_rules_that_are_broken_when_it_ends_before_they_are_mended() -> None:
    broken = written("--until", "8min30s")["broken"]
    assert [(one["node"], one["rule"]["name"], one["unmeasured"]) for one in broken] == [
        ("edge-5", "near-source", False),
        ("edge-2", "near-source", False),
    ]
    assert broken[0]["why"] == "22.2 ms from gate-vienna, 15 ms allowed"
    told = run([*SITE, "--until", "8min30s"], ROOT).stdout
    assert "rules that are broken at the end" in told
    assert written()["broken"] == [], "a minute later they are mended"


def test_since_leaves_out_what_was_before() -> None:
    value = written("--since", "6min", "--timeline")
    assert {one["time"] for one in value["moves"]} == {540}
    assert len(value["pods"]) == 2
    assert min(entry["time"] for entry in value["timeline"]) >= 360
    assert {entry["regarding"] for entry in value["timeline"] if entry["reason"] == KEEPS} == {
        "reserve backup"
    }
    everything = written("--timeline")
    assert len(everything["moves"]) == 4
    assert len(everything["pods"]) == 10
    assert all(entry in everything["timeline"] for entry in value["timeline"])


def test_without_reserves_and_heals_nothing_more_is_said(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "nodes: [{name: n, cpu: 1, memory: 1Gi}]\npods: [{name: p, cpu: 100m}]\nuntil: 1s\n"
    )
    told = run(["simulate", "--scenario", "s.yaml"], tmp_path).stdout
    assert told.endswith("1 of 1 pods placed\n")


HEAL = Heal("drift", Trigger.BROKEN, "near", 0.0, span=Span("a.policy", 9, 1, 9, 5))


def printed(after: Aftermath, eventful: bool = True) -> str:
    out = io.StringIO()
    show(Console(file=out, width=100), after, eventful)
    return out.getvalue()


@pytest.mark.parametrize(
    ("left", "told"),
    [(True, "nothing has taken its place there"), (False, "it was asked to leave, and was not let go")],
)
def test_a_move_that_came_to_nothing_is_told_so(left: bool, told: str) -> None:
    move = Move(PodKey("default", "p", "1"), "n1", "n2", Way.EVICT, HEAL, "30 ms from n3, 20 ms allowed")
    assert f"p from n1 to n2; {told}" in printed(Aftermath((Moved(61.0, move, left, None),)))


def test_a_pod_that_makes_room_is_told_for_whom() -> None:
    for_whom = PodKey("shop", "q", "2")
    move = Move(PodKey("default", "p", "1"), "n1", "n2", Way.EVICT, HEAL, "w", helps=for_whom)
    assert "to n2, so that shop/q has room" in printed(Aftermath((Moved(61.0, move, True, None),)))


def test_many_are_cut_short() -> None:
    rule = Rule("near", None, (), Span("a.policy", 1, 1, 1, 2))
    broken = tuple(Broken(PodKey("default", f"p{i}", str(i)), "n", rule, False, "far") for i in range(25))
    assert "and 5 more; --format json has all" in printed(Aftermath(broken=broken))


def test_entries_that_say_the_same_at_one_time_stand_together() -> None:
    entries = [
        Entry(1.0, "default/a", "R", "m"),
        Entry(1.0, "", "", "node-fail n"),
        Entry(1.0, "default/b", "R", "m"),
        Entry(2.0, "default/c", "R", "m"),
        *(Entry(3.0, f"n{i}", "R", "m") for i in range(8)),
    ]
    assert [one.text() for one in grouped(entries)] == [
        "a, b: R: m",
        "node-fail n",
        "c: R: m",
        "n0, n1, n2, n3, n4, n5 and 2 more: R: m",
    ]


def test_warnings_become_notes_and_faults_are_shown_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("engine.scheduler.anything")
    notes: list[str] = []
    with as_notes(notes):
        log.warning("pod %s is left out", "p", extra={"pod": "p"})
        log.warning("pod %s is left out", "p", extra={"pod": "p"})
        log.warning("pods of zone a stay", extra={"heal": "h"})
        log.info("nothing")
        try:
            raise ValueError("odd")
        except ValueError:
            log.exception("it failed")
    assert notes == ["pod p is left out", "it failed"]
    assert "ValueError: odd" in capsys.readouterr().err


@pytest.mark.parametrize("scenario", ["demo/healing", "demo/edge", "demo/prototype/loss"])
def test_the_same_scenario_gives_the_same_run_in_every_process(scenario: str) -> None:
    told = {
        subprocess.run(
            [sys.executable, "-c", "from engine.cli import main; main()", "simulate", "--scenario",
             f"{scenario}.scenario.yaml", "--timeline"],
            cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True,
        ).stdout
        for seed in ("1", "3", "5")
    }  # fmt: skip
    assert len(told) == 1, "the order in a set depends on the process"
