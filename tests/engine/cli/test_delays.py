"""What is shown of delays."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from engine.cli.delay_report import show
from engine.cli.delay_view import FromHere, View
from tests.engine.cli.berth import run
from tests.engine.cluster.scripted import ScriptedServer, answer
from tests.engine.delay.test_probes import ask, state, told

LONG = "a-long-name-of-a-node"
TABLE = "from,to,ms\na,b,4.5\nb,a,5.25\na,c,20\nb,c,30\nd,d,0\n"
FILE = ["delays", "--delays", "d.csv"]


def node(name: str, address: str, zone: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    }


def pod(name: str, on: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": name,
            "labels": {"app": "web"},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "StatefulSet",
                    "name": "web",
                    "uid": "w",
                    "controller": True,
                }
            ],
        },
        "spec": {"nodeName": on, "containers": [{"name": "c", "image": "i"}]},
    }


@pytest.fixture
def world(tmp_path: Path) -> Path:
    (tmp_path / "d.csv").write_text(TABLE)
    items = [
        node("a", "10.0.0.1", "z1"),
        node("b", "10.0.0.2", "z1"),
        node("c", "10.0.0.3", "z2"),
        node("d", "10.0.0.4", "z2"),
        pod("web-0", "b"),
    ]
    (tmp_path / "cluster.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    return tmp_path


def shown(arguments: list[str], folder: Path, columns: int = 100) -> str:
    result = run(arguments, folder, columns)
    assert result.exit_code == 0, result.output
    return "\n".join(line.rstrip() for line in result.stdout.splitlines())


def test_a_matrix(world: Path) -> None:
    assert shown(FILE, world) == (
        "d.csv: 4 endpoints; round trips in ms\n"
        "\n"
        "      a     b    c   d\n"
        "──────────────────────\n"
        "a     ·   5.2   20   -\n"
        "b   5.2     ·   30   -\n"
        "c    20    30    ·   -\n"
        "d     -     -    -   ·\n"
    )


def test_a_line_each_where_a_matrix_has_no_room(world: Path) -> None:
    (world / "d.csv").write_text(re.sub(r"\ba,|,a\b", lambda found: found[0].replace("a", LONG), TABLE))
    assert shown(FILE, world, columns=54).splitlines()[2:] == [
        "endpoint                measured   nearest   farthest",
        "─────────────────────────────────────────────────────",
        "a-long-name-of-a-node          2       5.2         20",
        "b                              2       5.2         30",
        "c                              2        20         30",
        "d                           none",
    ]


def test_a_line_each_for_many(world: Path) -> None:
    lines = ["from,to,ms", *(f"hub,n{number},{number}" for number in range(1, 30))]
    (world / "d.csv").write_text("\n".join(lines))
    told = shown(FILE, world).splitlines()
    assert told[2:6] == [
        "endpoint   measured   nearest   median   farthest",
        "─────────────────────────────────────────────────",
        "hub              29         1       15         29",
        "n1                1         1        1          1",
    ]
    assert len(told) == 34


def test_from_one_place(world: Path) -> None:
    assert shown([*FILE, "--from", "a"], world) == (
        "round trips from a, nearest first\nto    ms\n────────\nb    5.2\nc     20\nd      -"
    )


def test_within_a_limit(world: Path) -> None:
    assert shown([*FILE, "--from", "a", "--within", "10ms"], world) == (
        "to    ms\n────────\nb    5.2\n1 of 3 are within 10 ms of a\nbeyond it: c (20 ms)\nunmeasured: d"
    )


@pytest.mark.parametrize(("limit", "names"), [("5.25ms", {"b"}), ("5.249ms", set()), ("20ms", {"b", "c"})])
def test_a_limit_is_granted_to_the_last_bit(world: Path, limit: str, names: set[str]) -> None:
    told = json.loads(shown([*FILE, "--from", "a", "--within", limit, "--format", "json"], world))
    assert {one["name"] for one in told["to"] if one["within"]} == names


def test_from_a_zone_and_a_workload(world: Path) -> None:
    """The nearest of its nodes counts, and of its pods."""
    cluster = [*FILE, "--cluster", "cluster.json", "--within", "25ms"]
    assert "3 of 4 are within 25 ms of zone z1" in shown([*cluster, "--from", "z1"], world)
    web = shown([*cluster, "--from", "web", "--namespace", "shop"], world)
    assert "2 of 4 are within 25 ms of workload web" in web
    assert "beyond it: c (30 ms)\nunmeasured: d" in web


def test_nodes_that_are_not_measured_are_told(world: Path) -> None:
    assert (
        "note: node d has no delay to any other; pods with a delay limit will not be placed there"
        in shown([*FILE, "--cluster", "cluster.json"], world)
    )


def test_json(world: Path) -> None:
    told = json.loads(shown([*FILE, "--format", "json"], world))
    assert told == {
        "version": 1,
        "source": "d.csv",
        "doubts": [],
        "endpoints": ["a", "b", "c", "d"],
        "pairs": [
            {"from": "a", "to": "b", "ms": 5.25, "age_s": None},
            {"from": "a", "to": "c", "ms": 20.0, "age_s": None},
            {"from": "b", "to": "c", "ms": 30.0, "age_s": None},
        ],
    }


GOLDPINGER = {
    "responses": {
        "p": {
            "HostIP": "10.0.0.1",
            "OK": True,
            "response": {
                "podResults": {
                    "q": {"HostIP": "10.0.0.2", "OK": True, "response-time-ms": 4},
                    "r": {"HostIP": "10.0.0.3", "OK": False},
                }
            },
        }
    }
}


def test_a_source_that_measures(world: Path) -> None:
    with ScriptedServer([answer(200, GOLDPINGER)], [answer(200, GOLDPINGER)]) as server:
        url = f"http://127.0.0.1:{server.port}"
        (world / "s.yaml").write_text(f"delays: {{source: goldpinger}}\ngoldpinger: {{url: '{url}'}}\n")
        arguments = ["delays", "--settings", "s.yaml", "--cluster", "cluster.json"]
        told = shown(arguments, world).splitlines()
        assert told[0] == "delays of Goldpinger: 2 endpoints; round trips in ms"
        assert "all measured just now" in told
        assert f"note: {url}/check_all: pairs that do not reach each other: a to c" in told
        from_a = json.loads(shown([*arguments, "--from", "a", "--format", "json"], world))
        assert from_a["to"] == [{"name": "b", "ms": 4.0, "error_ms": None, "age_s": pytest.approx(0, abs=5)}]


@pytest.mark.parametrize(
    ("arguments", "status", "expected"),
    [
        pytest.param(
            ["delays"], 3, "error: no source of delays; give --delays FILE, or --settings", id="none"
        ),
        pytest.param(
            [*FILE, "--within", "25ms"], 1, "error: --within needs --from: from where?", id="within-only"
        ),
        pytest.param(
            [*FILE, "--from", "a", "--within", "25"],
            1,
            "'25' is no delay; write it with its unit, such as 25ms",
            id="unit",
        ),
        pytest.param(
            [*FILE, "--from", "z1"],
            3,
            "error: z1 is no endpoint of the delays; for a workload",
            id="no-cluster",
        ),
        pytest.param(
            [*FILE, "--from", "zz1", "--cluster", "cluster.json"],
            3,
            "error: no node, workload of namespace default or zone is named zz1; did you mean z1?",
            id="unknown",
        ),
        pytest.param(
            [*FILE, "--cluster", "cluster.json", "--context", "x"],
            3,
            "error: --cluster is a cluster already",
            id="two-clusters",
        ),
        pytest.param([*FILE, "--cluster", "no.json"], 3, "error: no.json: no such file", id="no-file"),
        pytest.param(["delays", "--delays", "no.csv"], 3, "error: no.csv: no such file", id="no-delays"),
        pytest.param(
            [*FILE, "--settings", "goldpinger.yaml"],
            3,
            "error: delays.source is goldpinger, so --delays would not be read; leave it out",
            id="files-nobody-reads",
        ),
        pytest.param(
            ["delays", "--settings", "goldpinger.yaml", "--cluster", "cluster.json"],
            3,
            "error: http://127.0.0.1:1/check_all: connection refused; is it running, and is the port right?",
            id="away",
        ),
    ],
)
def test_bad_input(world: Path, arguments: list[str], status: int, expected: str) -> None:
    (world / "goldpinger.yaml").write_text(
        "delays: {source: goldpinger}\ngoldpinger: {url: 'http://127.0.0.1:1'}\n"
    )
    result = run(arguments, world)
    assert result.exit_code == status
    assert expected in result.stderr


def estimated(here: str | None = None, within: float | None = None) -> View:
    """Three probes in a row; the ends have only an estimate."""
    states = [state("a", {"b": 12.0}), state("b", {"a": 12.5}), state("c", {"b": 22.0}, age=200)]
    source, _ = ask(*map(told, states))
    delays = source.current
    assert delays is not None
    place = None
    if here is not None:
        rows = delays.row(here), delays.errors(here), source.ages(here, 1010.0)
        milliseconds, errors, ages = (row[1:] for row in rows if row is not None)
        place = FromHere(here, "", delays.names[1:], milliseconds, errors, ages, within)
    return View("delays of the probes", delays, source, 1010.0, (), place)


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        pytest.param(
            estimated,
            """\
delays of the probes: 3 endpoints, asked 10s ago; round trips in ms

        a      b       c
────────────────────────
a       ·   12.5   ≤45.3
b    12.5      ·      22
c   ≤45.3     22       ·
measured 15s to 3min30s ago; the oldest is b to c
""",
            id="matrix",
        ),
        pytest.param(
            lambda: estimated("a"),
            """\
round trips from a, nearest first
to      ms   estimate    age
────────────────────────────
b     12.5               15s
c    ≤45.3   32 ± 13.3     -""",
            id="from",
        ),
        pytest.param(
            lambda: estimated("a", 45.0),
            """\
to     ms   estimate   age
──────────────────────────
b    12.5              15s
1 of 2 are within 45 ms of a
perhaps: c (estimated 32 ± 13.3 ms)""",
            id="within",
        ),
        pytest.param(
            lambda: estimated("a", 46.0),
            """\
to      ms   estimate    age
────────────────────────────
b     12.5               15s
c    ≤45.3   32 ± 13.3     -
2 of 2 are within 46 ms of a""",
            id="surely within",
        ),
    ],
)
def test_estimates_are_shown_with_their_error(view: Callable[[], View], expected: str) -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    show(console, view())
    assert "\n".join(line.rstrip() for line in console.export_text().splitlines()) == expected.rstrip(
        "\n"
    ) + ("\n" if expected.endswith("\n") else "")
