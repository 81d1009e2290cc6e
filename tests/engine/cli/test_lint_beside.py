"""``berth lint`` beside a cluster: which clusters it takes, what it says of them, and that it does without.

To accept what is printed now, run the tests with ``BERTH_ACCEPT=1`` and read the difference that git shows.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.cli import explain_subject
from engine.cli.asked_world import Asked
from engine.cli.known_cluster import Objects, read_files
from engine.cli.known_inventory import inventory_of
from tests.docs.blocks import ROOT
from tests.engine.cli.berth import run
from tests.engine.cli.test_reserve import LOSSES, compare

DUMP = ["--cluster", str(LOSSES / "healthy.yaml")]
DELAYS = ["--delays", str(LOSSES / "delays.csv")]
WRONG = """\
nodes edge where node.labels["role"] == "edge"

rule near for pods where pod.labels has "delay_*" {
  require node.zone in ["A", "d"]
  require node.delay("egde-2") <= 25ms
  for each label "delay_{from}" as limit in ms {
    require node.delay(from) <= limit
  }
  spread over zone domains >= 4
}
rule far for pods where pod.namespace == "default" {
  require node.delay("cloud-1") <= 20ms
  forbid node.name == "cloud-1"
}
"""
CLEAN = 'rule near for pods where pod.labels has "delay_*" {\n  require node.delay("edge-1") <= 50ms\n}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "wrong.policy").write_text(WRONG)
    (tmp_path / "clean.policy").write_text(CLEAN)
    (tmp_path / "broken.policy").write_text("rule r for all pods {\n  requier x\n}\n")
    return tmp_path


def test_what_is_printed(folder: Path) -> None:
    result = run(["lint", "wrong.policy", *DUMP, *DELAYS], folder)
    compare("lint-beside", result.stdout)
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "summary"),
    [
        pytest.param([*DUMP, *DELAYS], ", beside 5 nodes and 5 pods that Berth places\n", id="a dump and delays"),
        pytest.param(DUMP, ", beside 5 nodes and 5 pods that Berth places, without delays\n", id="a dump alone"),
        pytest.param(
            ["--scenario", str(ROOT / "demo" / "edge.scenario.yaml"), "--at", "10s"],
            ", beside 9 nodes and 14 pods that Berth places\n", id="a scenario",
        ),
        pytest.param([], "in 1 file\n", id="nothing"),
    ],
)  # fmt: skip
def test_the_summary_says_what_was_compared(arguments: list[str], summary: str, folder: Path) -> None:
    result = run(["lint", "clean.policy", *arguments], folder)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.endswith(summary)


def test_without_delays_no_limit_is_doubted(folder: Path) -> None:
    with_them, without = (run(["lint", "wrong.policy", *DUMP, *more], folder).stdout for more in (DELAYS, []))
    assert ("P706" in with_them, "P706" in without) == (True, False)


@pytest.mark.parametrize(("arguments", "status"), [([], 0), (["--fail-on", "warning"], 2)])
def test_the_status_is_that_of_warnings(arguments: list[str], status: int, folder: Path) -> None:
    assert run(["lint", "wrong.policy", *DUMP, *arguments], folder).exit_code == status


@pytest.mark.parametrize("form", ["json", "github", "sarif", "junit"])
def test_all_formats_have_them(form: str, folder: Path) -> None:
    with_it, without = (
        run(["lint", "wrong.policy", *more, "--format", form], folder).stdout for more in (DUMP, [])
    )
    assert [(code in with_it, code in without) for code in ("P701", "P702", "P704", "P705")] == [
        (True, False)
    ] * 4


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        pytest.param(DELAYS, 1, "error: name the cluster, too: --cluster DUMP", id="delays of no cluster"),
        pytest.param(["--cluster", "gone.json"], 3, "error: gone.json: no such file", id="no dump"),
        pytest.param(["--cluster", "empty.json"], 3, "error: empty.json: no node in it", id="no node"),
        pytest.param([*DUMP, "--delays", "gone.csv"], 3, "error: gone.csv", id="no delays"),
        pytest.param([*DUMP, "--context", "c"], 3, "are three clusters; give one of them", id="two clusters"),
        pytest.param(["--kubeconfig", "gone"], 3, "error: ", id="no kubeconfig"),
    ],
)
def test_what_cannot_be_asked(arguments: list[str], status: int, said: str, folder: Path) -> None:
    (folder / "empty.json").write_text('{"kind": "List", "items": []}')
    result = run(["lint", "clean.policy", *arguments], folder)
    assert (result.exit_code, result.stdout) == (status, "")
    assert said in result.stderr


def test_of_a_policy_with_errors_only_these_are_told(folder: Path) -> None:
    result = run(["lint", "broken.policy", "wrong.policy", "--cluster", "gone.json"], folder)
    assert result.exit_code == 3
    assert result.stderr == "note: the policies have errors, so the cluster was not looked at\n"
    assert result.stdout.endswith("\n1 error in 2 files\n")


def test_a_live_cluster(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []

    class Live:
        def close(self) -> None:
            closed.append(True)

    def objects(*_: object) -> Objects:
        return read_files([LOSSES / "healthy.yaml"])

    monkeypatch.setattr(explain_subject, "connected", lambda *_: (Live(), None))
    monkeypatch.setattr(explain_subject, "read_cluster", objects)
    live, dumped = (
        run(["lint", "wrong.policy", *more, *DELAYS], folder).stdout for more in (["--context", "c"], DUMP)
    )
    assert live == dumped
    assert closed == [True]


def test_who_names_no_cluster_does_not_wait_for_the_engine(folder: Path) -> None:
    code = (
        "import sys; from click.testing import CliRunner; from engine.cli import main; "
        "assert CliRunner().invoke(main, ['lint', 'clean.policy']).exit_code == 0; "
        "print([name for name in ('numpy', 'kubernetes', 'engine.state') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode() == "[]\n"


def test_the_inventory(folder: Path) -> None:
    items = [
        {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n1", "labels": {"a": "b"}}},
        {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n2"},
         "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}},
        pod("ours", "custom-scheduler", labels={"delay_n1": "5"}, owner="web"),
        pod("theirs", "default-scheduler", owner="other"),
        pod("leaving", "custom-scheduler", deletionTimestamp="2026-01-31T12:00:00Z"),
        pod("held", "custom-scheduler", labels={"berth.dev/placeholder": "backup"}, owner="n1"),
    ]  # fmt: skip
    (folder / "c.json").write_text(json.dumps({"kind": "List", "apiVersion": "v1", "items": items}))
    (folder / "d.csv").write_text("from,to,ms\nn1,n2,4\nn1,gate,5\n")
    found = inventory_of(Asked(cluster=(folder / "c.json",), delays=(folder / "d.csv",)).world())
    assert [(node.name, dict(node.labels), node.ready) for node in found.nodes] == [
        ("n1", {"a": "b"}, True),
        ("n2", {}, False),
    ]
    assert [(one.namespace, one.name, dict(one.labels)) for one in found.pods] == [
        ("default", "ours", {"delay_n1": "5"})
    ]
    assert found.workloads == {("default", name) for name in ("web", "other", "leaving")}
    assert found.delays is not None
    assert {name: dict(found.delays(name)) for name in ("n1", "n2", "gate", "gone")} == {
        "n1": {"n1": 0.0, "n2": 4.0},
        "n2": {"n1": 4.0, "n2": 0.0},
        "gate": {"n1": 5.0},
        "gone": {},
    }


def pod(
    name: str,
    scheduler: str,
    labels: dict[str, str] | None = None,
    owner: str = "",
    **metadata: str,
) -> dict[str, object]:
    owners = [{"apiVersion": "batch/v1", "kind": "Job", "name": owner, "uid": "u", "controller": True}]
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "uid": name,
            "labels": labels or {},
            **({"ownerReferences": owners} if owner else {}),
            **metadata,
        },
        "spec": {"schedulerName": scheduler, "containers": [{"name": "c"}]},
    }
