"""Whatever cannot be used ends ``berth simulate`` with 3 and one line for each error, which names the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.cli.berth import SIMULATE, WORLD, run

NODES = ["--nodes", str(WORLD / "nodes.yaml")]
POD = """apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers:
  - name: c
    resources: {requests: %s}
"""
EVENTS = """
events:
- at: 5
  node-fail: edge-9
- at: 5s
  nod-fail: edge-1
"""


@pytest.mark.parametrize(
    ("files", "arguments", "told"),
    [
        pytest.param(
            {"bad.policy": "rule r for all pods {\n  require node.memory > 4Gi\n}\n"},
            [*NODES, "--policies", "bad.policy"],
            ["error[P203]", "bad.policy:2:11", "error: the policies have errors, so nothing was started"],
            id="policy",
        ),
        pytest.param(
            {}, [*NODES, "--policies", "none.policy"], ["error[P001]", "none.policy"], id="no such policy"
        ),
        pytest.param(
            {"delays.csv": "from,to,ms\nedge-1,edge-2,-3\nedge-1,cloud-1,25ms\n"},
            [*NODES, "--delays", "delays.csv"],
            [
                "error: delays.csv:2: ms: '-3' is negative; a round trip is 0 ms or more",
                "error: delays.csv:3: ms: '25ms' has a unit; write the number of milliseconds alone, such as 12.5",
            ],
            id="delays",
        ),
        pytest.param(
            {},
            [*NODES, "--delays", "none.csv"],
            ["error: none.csv: no such file; check the path"],
            id="no such delays",
        ),
        pytest.param(
            {"pod.yaml": POD % "{cpu: 1e3Ki}"},
            [*NODES, "pod.yaml"],
            [
                "error: pod.yaml:7: spec.containers[0].resources.requests.cpu: '1e3Ki' is not a quantity; write"
            ],
            id="manifest",
        ),
        pytest.param(
            {"a.yaml": "kind: [\n", "b.yaml": ""},
            [*NODES, "a.yaml", "b.yaml"],
            ["error: a.yaml:2: not YAML", "error: b.yaml: holds no object"],
            id="no manifests at all",
        ),
        pytest.param(
            {},
            [*NODES, "none.yaml"],
            ["error: none.yaml: no such file or directory; check the path"],
            id="no such manifest",
        ),
        pytest.param(
            {
                "nodes.yaml": "apiVersion: v1\nkind: Node\nmetadata: {name: n}\nstatus: {allocatable: {cpu: lots}}\n"
            },
            ["--nodes", "nodes.yaml"],
            ["error: nodes.yaml:4: status.allocatable.cpu: 'lots' is not a quantity"],
            id="node",
        ),
        pytest.param(
            {"s.yaml": "nodes: 3\n"},
            ["--scenario", "s.yaml"],
            ["error: s.yaml:1: nodes: 3 is not"],
            id="scenario",
        ),
        pytest.param(
            {"s.yaml": f"nodes: {WORLD}/nodes.yaml{EVENTS}"},
            ["--scenario", "s.yaml"],
            [
                "error: s.yaml:3: events[0].at: 5 is not",
                "error: s.yaml:6: events[1].nod-fail: unknown key; did you mean",
            ],
            id="events of a scenario",
        ),
        pytest.param(
            {"d.csv": "from,to,ms\na,b\n", "s.yaml": f"nodes: {WORLD}/nodes.yaml\ndelays: d.csv\n"},
            ["--scenario", "s.yaml"],
            ["d.csv:2"],
            id="delays of a scenario",
        ),
        pytest.param(
            {},
            ["--scenario", "none.yaml"],
            ["error: none.yaml: no such file or directory; check the path"],
            id="no such scenario",
        ),
        pytest.param(
            {"settings.yaml": "log:\n  level: info\nbinder:\n  worker: 3\n"},
            [*NODES, "--settings", "settings.yaml"],
            ["error: settings.yaml:4: binder.worker: unknown key; did you mean workers?"],
            id="settings",
        ),
        pytest.param(
            {},
            [*NODES, "--settings", "none.yaml"],
            ["none.yaml"],
            id="no such settings",
        ),
        pytest.param(
            {"pod.yaml": POD % "{}"},
            ["pod.yaml"],
            ["error: pod.yaml: no node in it; give a file of Node manifests"],
            id="no nodes",
        ),
        pytest.param(
            {"pod.yaml": POD % "{}"},
            ["--nodes", "pod.yaml"],
            ["error: pod.yaml: no node in it; give a file of Node manifests"],
            id="nodes that are none",
        ),
        pytest.param(
            {},
            [],
            ["error: nothing to simulate; give --nodes FILE and manifests, or --scenario FILE (see --help)"],
            id="nothing",
        ),
        pytest.param(
            {"s.yaml": f"nodes: {WORLD}/nodes.yaml\n", "pod.yaml": POD % "{}"},
            ["--scenario", "s.yaml", "pod.yaml"],
            ["error: --scenario has its own nodes and manifests; give either it or them"],
            id="both scenario and manifests",
        ),
    ],
)
def test_bad_input(files: dict[str, str], arguments: list[str], told: list[str], tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    result = run(["simulate", *arguments], tmp_path)
    for line in told:
        assert line in result.stderr
    assert result.stdout == ""
    assert result.exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(["--until", "5"], "'5' is not a duration; write a number with its unit", id="until"),
        pytest.param(["--seed", "x"], "'x' is not a valid integer", id="seed"),
        pytest.param(["--seed", str(2**63)], "is not in the range", id="seed too large"),
        pytest.param(["--format", "xml"], "'xml' is not one of 'text', 'json'", id="format"),
        pytest.param(["--node", "x"], "No such option '--node'", id="option"),
    ],
)
def test_wrong_use_ends_in_a_status_that_is_no_outcome(arguments: list[str], told: str) -> None:
    result = run([*SIMULATE, *arguments], WORLD)
    assert told in result.stderr
    assert result.exit_code == 1


def test_a_name_is_never_quietly_something_else() -> None:
    result = run(["simulat"], WORLD)
    assert "No such command 'simulat'" in result.stderr
    assert result.exit_code == 1
