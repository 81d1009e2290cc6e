"""``berth heal --plan`` knows as much of silent nodes as ``berth run`` does, or says what it does not know."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engine.cli import explain_subject
from engine.cli.heal_view import PERIODS
from engine.cli.known_cluster import Objects, read_files
from engine.scheduler import loop
from tests.engine.cli.berth import run
from tests.engine.cluster.scripted import ScriptedServer, answer

POLICY = """
heal node-loss on node lost for {after} {{
  move pods
}}
"""
LIVE = ["heal", "--plan", "--policies", "p.policy"]


def node(number: int, ready: str) -> dict[str, Any]:
    since = datetime.fromtimestamp(time.time() - 20, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"edge-{number}", "uid": f"n{number}"},
        "status": {
            "addresses": [{"type": "InternalIP", "address": f"10.0.0.{number}"}],
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "20"},
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": since}],
        },
    }


def pod() -> dict[str, Any]:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "w", "controller": True}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web-1", "namespace": "default", "uid": "p1", "ownerReferences": [owner]},
        "spec": {
            "schedulerName": "custom-scheduler",
            "nodeName": "edge-1",
            "containers": [{"name": "c", "resources": {"requests": {"memory": "1Gi"}}}],
        },
        "status": {"phase": "Running"},
    }


def goldpinger(reaches: bool) -> dict[str, Any]:
    """What edge-2 says of edge-1 and edge-3."""
    results = {
        "p": {"HostIP": "10.0.0.1", "OK": reaches, "response-time-ms": 4},
        "r": {"HostIP": "10.0.0.3", "OK": True, "response-time-ms": 4},
    }
    return {"responses": {"q": {"HostIP": "10.0.0.2", "OK": True, "response": {"podResults": results}}}}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A live cluster of three nodes, the first of which has been silent for 20 s; and its files."""
    items = [node(1, "Unknown"), node(2, "True"), node(3, "True"), pod()]
    (tmp_path / "cluster.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    (tmp_path / "p.policy").write_text(POLICY.format(after="10s"))
    (tmp_path / "d.csv").write_text("from,to,ms\nedge-2,edge-3,4\n")

    class Live:
        def close(self) -> None:
            pass

    def objects(*_: object) -> Objects:
        return read_files([tmp_path / "cluster.json"])

    monkeypatch.setattr(explain_subject, "connected", lambda *_: (Live(), None))
    monkeypatch.setattr(explain_subject, "read_cluster", objects)
    return tmp_path


def settings(folder: Path, server: ScriptedServer | None) -> list[str]:
    port = 1 if server is None else server.port
    url = f"http://127.0.0.1:{port}"
    (folder / "s.yaml").write_text(f"delays: {{source: goldpinger}}\ngoldpinger: {{url: '{url}'}}\n")
    return ["--settings", "s.yaml"]


def planned(folder: Path, arguments: list[str]) -> Any:
    result = run([*LIVE, *arguments, "--format", "json"], folder)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("after", ["10s", "40s"], ids=["due", "due later"])
def test_a_node_that_another_still_reaches_is_held(folder: Path, after: str) -> None:
    (folder / "p.policy").write_text(POLICY.format(after=after))
    with ScriptedServer([answer(200, goldpinger(True))]) as server:
        value = planned(folder, settings(folder, server))
    assert value["moves"] == []
    [held] = value["held"]
    assert held["subject"] == "node edge-1"
    assert "cut off from the control plane, and its pods run" in held["why"]
    assert value["notes"] == []


def test_one_that_nobody_reaches_is_lost(folder: Path) -> None:
    with ScriptedServer([answer(200, goldpinger(False))]) as server:
        value = planned(folder, settings(folder, server))
    assert ([one["pod"]["name"] for one in value["moves"]], value["held"]) == (["web-1"], [])
    assert not [note for note in value["notes"] if "silent" in note]


@pytest.mark.parametrize(
    ("arguments", "measured", "expected"),
    [
        pytest.param([], False, "without --settings nobody was asked whether other nodes", id="no settings"),
        pytest.param(
            ["--cluster", "cluster.json"],
            True,
            "the source of delays, goldpinger, was not asked, because of --cluster, whether other nodes",
            id="a dump",
        ),
        pytest.param(
            ["--delays", "d.csv"],
            True,
            "the source of delays, goldpinger, was not asked, because of --delays, whether other nodes",
            id="files",
        ),
    ],
)
def test_where_nobody_was_asked_it_says_so(
    folder: Path, arguments: list[str], measured: bool, expected: str
) -> None:
    value = planned(folder, [*arguments, *(settings(folder, None) if measured else [])])
    assert [one["pod"]["name"] for one in value["moves"]] == ["web-1"]
    assert sum(note.startswith(expected) for note in value["notes"]) == 1


def test_prometheus_tells_nobody_who_is_there_so_nothing_is_said_of_asking_it(folder: Path) -> None:
    vector = [{"metric": {"a": "edge-2", "b": "edge-1"}, "value": [0, "4"]}]
    told = {"status": "success", "data": {"resultType": "vector", "result": vector}}
    with ScriptedServer([answer(200, told)]) as server:
        (folder / "s.yaml").write_text(
            "delays: {source: prometheus}\n"
            f"prometheus: {{url: 'http://127.0.0.1:{server.port}', query: x, fromLabel: a, toLabel: b}}\n"
        )
        value = planned(folder, ["--settings", "s.yaml"])
    assert [one["pod"]["name"] for one in value["moves"]] == ["web-1"]
    assert not [note for note in value["notes"] if "silent" in note]


def test_no_delays_are_no_broken_rule_and_said(folder: Path) -> None:
    (folder / "p.policy").write_text(
        'rule near for all pods {\n  require node.delay("edge-2") <= 5ms\n}\n'
        "heal drift on broken near for 1s {\n  move pods\n}\n"
    )
    said = "no delays are known here: give --delays, or --settings that name a source that measures"
    items = [node(1, "True"), node(2, "True"), pod()]
    (folder / "cluster.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    value = planned(folder, [])
    assert [one["reason"] for one in value["stays"]] == ["unmeasured"]
    assert said in value["notes"]
    assert said not in planned(folder, ["--delays", "d.csv"])["notes"]


def test_contacts_count_for_as_long_as_in_a_scheduler() -> None:
    assert PERIODS == loop._PERIODS
