"""``berth test``: what it finds, prints and writes, and its exit statuses.

To accept what is printed now, run the tests with ``BERTH_ACCEPT=1`` and read the difference that git shows.
"""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from click.testing import CliRunner
from rich.console import Console

from engine.cli import main
from engine.cli.progress import Doing, Within
from engine.cli.scene import ROOM, Scene
from engine.delay.map import MAX_MS
from engine.scheduler.scheduler import Scheduler
from grammar import check_paths
from grammar.labels import MAX_DELAY_MS
from tests.engine.cli.berth import run
from tests.engine.cli.test_reserve import compare, schema
from tests.engine.cli.test_terminal import Ticks

TESTED = Path(__file__).parent / "tested"
POLICIES = Path(__file__).parents[3] / "policies"
RULES = (TESTED / "edge.policy").read_text(encoding="utf-8").partition("\ntest ")[0]
RULES += """
rule old-enough for pods where pod.namespace == "young" and pod.age < 30s {
  forbid node.pods >= 0
}
"""
"""What the table's tests are about, and what time alone ends."""

PASSES = 'test "passes" {\n  node n { }\n  pod p { }\n  expect p on n\n}\n'
FAILS = 'test "fails" {\n  node n { }\n  pod p { }\n  expect p pending\n}\n'


def policy(folder: Path, text: str) -> Path:
    path = folder / "p.policy"
    path.write_text(text, encoding="utf-8")
    return path


def written(folder: Path, text: str, status: int, *more: str) -> Any:
    """The JSON of the tests of a policy, which is as its schema says."""
    result = run(["test", policy(folder, text), "--format", "json", *more], folder)
    assert result.exit_code == status, result.output
    value = json.loads(result.stdout)
    jsonschema.Draft202012Validator(schema("test")).validate(value)
    return value


@dataclass(frozen=True)
class Case:
    """A test's lines, and of each ``expect`` that is not met what is told: a piece of why, or of what is wrong."""

    lines: str
    failing: tuple[str | None, ...]


NEAR_AND_FAR = """
  node near { delay to cam 5ms }
  node far { delay to cam 50ms }
  pod video { label "delay_cam" "25" }
"""
TWO_NEAR = """
  node e1 { zone "a"  delay to cam 5ms }
  node e2 { zone "b"  delay to cam 15ms }
  pod video { label "delay_cam" "25" }
"""
FALLBACK = """
  node e1 { label "kubernetes.io/role" "edge"  delay to cam 40ms }
  node c1 { label "kubernetes.io/role" "cloud"  delay to cam 80ms }
  pod video { label "delay_cam" "25"  label "cloudable" "yes" }
"""
FULL = """
  node e1 { delay to cam 5ms  memory 4Gi }
  node e2 { delay to cam 15ms  memory 4Gi }
  pod small { label "delay_cam" "25"  requests memory 3Gi }
"""
TABLE = {
    "delay": Case(NEAR_AND_FAR + "expect video on near because near-source", (None,)),
    "beyond the delay": Case(
        NEAR_AND_FAR + "expect video on far",
        ("far: rule near-source, p.policy:6: not within 25ms of cam (delay from cam: 50ms, limit 25ms)",),
    ),
    "the longest delay": Case(
        'node e1 { delay to cam 10min }\n pod video { label "delay_cam" "600000" }\n expect video on e1', (None,)
    ),
    "the nearer of two": Case(TWO_NEAR + "expect video on e1 because near-source", (None,)),
    "not the farther of two": Case(
        TWO_NEAR + "expect video on e2", ("e2 fits, too, but scores lower: 0, e1 300",)
    ),
    "a source that is a node of the test": Case(
        'node cam { }\n node e1 { delay to cam 30ms }\n pod video { label "delay_cam" "25" }\n'
        "expect video on cam because near-source",
        (None,),
    ),
    "nothing but a single node": Case(
        'node e1 { delay to cam 5ms }\n pod video { label "delay_cam" "25" }\n'
        "expect video on e1 because near-source",
        ("refuses no node that Kubernetes would let it have",),
    ),
    "a node that Kubernetes refuses, too": Case(
        "node near { delay to cam 5ms }\n node far { delay to cam 50ms  cpu 100m }\n"
        'pod video { label "delay_cam" "25"  requests cpu 1000m }\n expect video on near because near-source',
        ("refuses no node that Kubernetes would let it have",),
    ),
    "a rule that does not select the pod": Case(
        NEAR_AND_FAR + "expect video on near because apart",
        ("rule apart (p.policy:13) does not select it",),
    ),
    "what no node of the test takes is not taken by what stands for a source": Case(
        'node e1 { delay to cam 50ms }\n pod video { label "delay_cam" "25" }\n'
        "expect video pending because near-source",
        (None,),
    ),
    "a fallback after its time": Case(
        FALLBACK
        + "expect video pending because near-source\n after 29s\n expect video pending because cloud-fallback\n"
        "after 1s\n expect video on c1 because cloud-fallback\n expect video on c1 because near-source",
        (None, None, None, None),
    ),
    "a fallback before its time": Case(
        FALLBACK + "after 10s\n expect video on c1",
        ("not tried yet: cloud (rule cloud-fallback, p.policy:11), after 30s",),
    ),
    "what a fallback leaves behind": Case(
        FALLBACK + "after 30s\n expect video on e1", ("e1: rule near-source (p.policy:4) refused it before",)
    ),
    "spread": Case(
        'node a1 { zone "a" }\n node b1 { zone "b"  cpu 500m }\n'
        'pod one { label "app" "api"  requests cpu 1000m }\n pod two { label "app" "api" }\n'
        "expect one on a1\n expect one on a1 because apart\n expect two on b1 because apart",
        (None, "rule apart (p.policy:13) refuses no node that Kubernetes would let it have", None),
    ),
    "pending because of a rule": Case(
        'node a1 { zone "a" }\n node b1 { zone "b"  cpu 500m }\n'
        'pod one { label "app" "api"  requests cpu 1000m }\n pod two { label "app" "api"  requests cpu 1000m }\n'
        "expect two pending because apart\n expect two pending because near-source",
        (None, "rule near-source (p.policy:4) does not select it"),
    ),
    "pending for Kubernetes": Case(
        "node n { cpu 500m }\n pod p { requests cpu 1000m }\n expect p on n",
        ("n: NodeResourcesFit: Insufficient cpu (cpu: 1 requested, 500m free of 500m)",),
    ),
    "pending because of no rule": Case(
        "node n { cpu 500m }\n pod p { requests cpu 1000m }\n expect p pending because apart",
        ("n: NodeResourcesFit: Insufficient cpu (cpu: 1 requested, 500m free of 500m)",),
    ),
    "a label that cannot be read": Case(
        'node e1 { delay to cam 5ms }\n pod video { label "delay_cam" "fast" }\n'
        "expect video pending because near-source",
        (None,),
    ),
    "what stands for a source is no node that a rule refuses": Case(
        'node a1 { zone "a"  cpu 100m  delay to cam 5ms }\n'
        'pod one { label "app" "api"  requests cpu 1000m }\n expect one pending because apart',
        ("rule apart (p.policy:13) refuses no node",),
    ),
    "a source that nobody knows": Case(
        'node e1 { }\n pod video { label "delay_cam" "25" }\n'
        "expect video pending because near-source\n after 1s\n expect video on e1",
        (None, "no node, workload of namespace default or zone is named cam"),
    ),
    "a workload as the source": Case(
        'node e1 { delay to e2 10ms }\n node e2 { cpu 100m }\n pod db { requests cpu 200m }\n expect db on e1\n'
        'pod web { label "delay_db" "5" }\n expect web on e1 because near-source',
        (None, None),
    ),
    "a lost node": Case(
        TWO_NEAR + "lose node e1\n after 49s\n expect video on e1\n after 1s\n"
        "expect video on e2 because node-loss\n expect video on e2 because room",
        (None, None, "heal room (p.policy:19) neither moved it there nor made room for it"),
    ),
    "a lost node that nobody has noticed": Case(
        TWO_NEAR + "after 1min\n lose node e1\n after 10s\n expect video on e2 because node-loss",
        ("e1 fell silent at 1:00; such a node counts as lost after 40s",),
    ),
    "a pod that was moved says so": Case(
        TWO_NEAR + "lose node e1\n after 50s\n expect video on e1",
        ("at 0:50 heal node-loss (p.policy:16) moved it from e1 to e2: node e1 has been lost for 10s",),
    ),
    "room": Case(
        FULL + "after 1min\n pod big { label \"delay_cam\" \"10\"  requests memory 2Gi }\n"
        "expect big pending because near-source\n after 10s\n expect big on e1 because room\n"
        "expect small on e2 because room",
        (None, None, None),
    ),
    "no room, and why": Case(
        FULL + "pod big { label \"delay_cam\" \"10\"  requests memory 2Gi }\n after 10s\n expect big on e1",
        ("pods that were placed or moved lately are left where they are for now",),
    ),
    "a node that comes late": Case(
        "node n { cpu 100m }\n pod p { requests cpu 1000m }\n expect p pending\n node late { }\n"
        "expect p on late\n after 1s\n expect p on late",
        (None, "late takes it now, but what no node took is tried again only after 1s", None),
    ),
    "a node that only time opens": Case(
        'node n { }\n pod p { namespace "young" }\n after 1min\n expect p on n\n after 5min\n expect p on n',
        ("n takes it now, but it was tried at 0:00 last, and is again when something comes that could help it, "
         "or 5min later: that time passes", None),
    ),
    "a node that came after the pod was placed": Case(
        "node n { }\n pod p { }\n expect p on n\n node late { }\n expect p on late",
        (None, "late was not there yet when it was placed"),
    ),
    "a pod before any node": Case("pod p { }\n node n { }\n expect p on n", (None,)),
    "all that is wrong is told": Case(
        "node n { }\n pod p { }\n expect p pending\n after 1s\n expect p on n\n after 1s\n expect p pending",
        ("nothing refuses it on n", None, "nothing refuses it on n"),
    ),
    "namespaces": Case('node n { }\n pod p { namespace "shop" }\n expect p on n', (None,)),
}  # fmt: skip


def told(expectation: Any) -> str:
    return "\n".join((expectation["wrong"] or "", *expectation["why"]))


@pytest.mark.parametrize("case", TABLE.values(), ids=TABLE.keys())
def test_what_is_found(case: Case, tmp_path: Path) -> None:
    status = 3 if any(case.failing) else 0
    value = written(tmp_path, f'{RULES}\ntest "case" {{\n{case.lines}\n}}\n', status)
    [test] = value["tests"]
    assert test["broken"] is None
    assert [one["met"] for one in test["expectations"]] == [said is None for said in case.failing], test
    for expectation, said in zip(test["expectations"], case.failing, strict=True):
        assert said is None or said in told(expectation), told(expectation)
        assert expectation["met"] or expectation["wrong"]


def test_a_node_that_a_reserve_refuses_is_not_said_to_be_as_good(tmp_path: Path) -> None:
    """Both pods on one node would need more of what is kept, for both are lost at once, than is to be kept."""
    rules = (
        'rule pin for pods where pod.labels has "cov" {\n  prefer node.name == "a" weight 5\n}\n'
        'reserve backup for pods where pod.labels has "cov" {\n  survive loss of 1 node\n'
        "  at most 60% of requested memory\n  refuse uncovered pods\n}\n"
        "heal lost on node lost for 10s {\n  move pods\n}\n"
    )
    pods = (
        "  node a { }\n  node d { cpu 7000m }\n  node e { cpu 1m }\n  pod filler { requests memory 4Gi }\n"
        '  pod one { label "cov" "x"  requests memory 4Gi }\n  after 10s\n'
        '  pod two { label "cov" "x"  requests memory 4Gi }\n'
        "  expect one on a\n  expect two on a\n"
    )
    value = written(tmp_path, f'{rules}test "t" {{\n{pods}}}\n', 3)
    [one, two] = value["tests"][0]["expectations"]
    assert one["met"]
    assert two["found"]["node"] in ("d", "e")
    assert two["why"] == [
        "a was better, but reserve backup (p.policy:4) refused it there: it could not keep a second place for all"
    ]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema("test"))


def test_json(tmp_path: Path) -> None:
    lines = TWO_NEAR + "lose node e1\n after 50s\n expect video on e2 because node-loss"
    value = written(tmp_path, f'{RULES}\ntest "lost" {{{lines}\n}}\n{PASSES}{FAILS}', 3)
    assert value["files"] == ["p.policy"]
    assert value["summary"] == {"passed": 2, "failed": 1, "broken": 0}
    assert [(one["text"], one["status"], one["seconds"]) for one in value["tests"]] == [
        ("lost", "passed", 50.0),
        ("passes", "passed", 0.0),
        ("fails", "failed", 0.0),
    ]
    [expectation] = value["tests"][0]["expectations"]
    assert (expectation["pod"], expectation["node"], expectation["because"]) == ("video", "e2", "node-loss")
    assert (expectation["seconds"], expectation["help"]) == (50.0, None)
    assert expectation["found"] == {
        "state": "placed",
        "node": "e2",
        "since": 50.0,
        "parts": ["heal node-loss (p.policy:16) moved it from e1: node e1 has been lost for 10s"],
    }


def test_what_is_printed() -> None:
    result = run(["test", "edge.policy"], TESTED)
    compare("test", result.stdout)
    assert result.stderr == ""
    assert result.exit_code == 3


def test_colours_add_only_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = run(["test", "edge.policy"], TESTED).stdout
    monkeypatch.setattr(import_module("engine.cli.test"), "colours", lambda stream: True)
    monkeypatch.chdir(TESTED)
    coloured = CliRunner().invoke(main, ["test", "edge.policy"], color=True).stdout
    assert "\x1b[32mok    \x1b[0m  " in coloured
    assert "\x1b[1;31mfailed\x1b[0m\x1b[1m: video is not on c1" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_junit(tmp_path: Path) -> None:
    result = run(["test", policy(tmp_path, PASSES + FAILS), "--format", "junit"], tmp_path)
    assert result.exit_code == 3
    suites = ElementTree.fromstring(result.stdout)
    assert (suites.tag, suites.get("tests"), suites.get("failures"), suites.get("errors")) == (
        "testsuites",
        "2",
        "1",
        "0",
    )
    [suite] = suites
    passed, failed = suite
    assert (suite.get("name"), passed.get("name"), passed.get("line")) == ("p.policy", "passes", "1")
    assert list(passed) == []
    [failure] = failed
    assert (failure.tag, failure.get("message")) == ("failure", "p is not pending")
    assert "expect p pending\n  |   ^^^^^^^^^^^^^^^^ found: p is on n" in (failure.text or "")


@pytest.mark.parametrize(
    ("text", "arguments", "status", "said"),
    [
        pytest.param(PASSES, [], 0, 'ok      "passes"\n\n1 passed', id="passed"),
        pytest.param(PASSES + FAILS, [], 3, "\n1 passed, 1 failed\n", id="failed"),
        pytest.param(PASSES + FAILS, ["--only", "PASS"], 0, "\n1 passed\n", id="only one of two"),
        pytest.param(RULES, [], 2, "error: the policies have no test; write one such as", id="no test"),
        pytest.param(
            PASSES + FAILS, ["--only", "x"], 2,
            "error: no test has 'x' in its text; there are \"passes\"; \"fails\"", id="no such test",
        ),
        pytest.param("rule r {\n}\n" + PASSES, [], 3, "error[P", id="a policy with errors"),
        pytest.param(PASSES, ["--format", "yaml"], 1, "'yaml' is not one of", id="called wrongly"),
    ],
)  # fmt: skip
def test_exit_statuses(text: str, arguments: list[str], status: int, said: str, tmp_path: Path) -> None:
    result = run(["test", policy(tmp_path, text), *arguments], tmp_path)
    assert said in result.output
    assert result.exit_code == status


def test_an_example_of_a_test_passes(tmp_path: Path) -> None:
    """What is told to those who have none yet."""
    shown = run(["test", policy(tmp_path, RULES)], tmp_path).stderr
    example = re.search(r"^test .*?^}", shown, re.DOTALL | re.MULTILINE)
    assert example is not None
    assert written(tmp_path, f"{RULES}\n{example[0]}\n", 0)["summary"]["passed"] == 1


def test_errors_of_the_policy_are_shown_as_lint_shows_them(tmp_path: Path) -> None:
    path = policy(tmp_path, PASSES.replace("on n", "on m"))
    linted = run(["lint", path], tmp_path)
    for form in ("text", "json", "junit"):
        result = run(["test", path, "--format", form], tmp_path)
        assert (result.exit_code, result.stdout) == (3, "")
        assert result.stderr.startswith(linted.stdout.partition("\n1 error")[0])


def test_a_broken_test_does_not_keep_others_from_being_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    standing = Scene.standing

    def breaks(self: Scene, name: str) -> Any:
        if name == "bad":
            raise RuntimeError("a fault")
        return standing(self, name)

    monkeypatch.setattr(Scene, "standing", breaks)
    text = PASSES.replace("passes", "breaks").replace(" p ", " bad ") + PASSES
    value = written(tmp_path, text, 1)
    assert [one["status"] for one in value["tests"]] == ["broken", "passed"]
    assert re.match(
        r"a fault of berth: RuntimeError\('a fault'\) at .*\.py:\d+$", value["tests"][0]["broken"]
    )
    printed = run(["test", policy(tmp_path, text)], tmp_path)
    assert "\n1 passed, 1 broken\n" in printed.stdout
    assert "broken: a fault of berth: RuntimeError('a fault')" in printed.stdout
    junit = run(["test", policy(tmp_path, text), "--format", "junit"], tmp_path)
    assert "<error message=" in junit.stdout


def test_a_fault_that_the_scheduler_survives_breaks_the_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("inside")

    monkeypatch.setattr(Scheduler, "_bind", breaks)
    value = written(tmp_path, PASSES, 1)
    assert "RuntimeError('inside')" in value["tests"][0]["broken"]


def test_several_files_are_one_policy(tmp_path: Path) -> None:
    (tmp_path / "rules.policy").write_text(RULES, encoding="utf-8")
    lines = NEAR_AND_FAR + "expect video on near because near-source"
    (tmp_path / "tests.policy").write_text(f'test "t" {{{lines}\n}}\n', encoding="utf-8")
    assert run(["test", tmp_path], tmp_path).stdout == 'ok      "t"\n\n1 passed\n'


@pytest.mark.parametrize("path", sorted(POLICIES.glob("*.policy")), ids=lambda path: path.name)
def test_the_policies_pass_their_tests(path: Path) -> None:
    checked = check_paths([path]).policy
    assert checked is not None
    assert checked.tests, "a policy that is given away shows by tests what it does"
    result = run(["test", path], path.parent)
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith(f"\n{len(checked.tests)} passed\n")


def test_the_page_has_what_a_node_has() -> None:
    page = (POLICIES.parent / "docs" / "testing.md").read_text(encoding="utf-8")
    assert [f"{name} {amount}" for name, amount in ROOM.items() if f"`{name}` {amount}" not in page] == []


def test_the_longest_delay_of_a_test_is_that_of_the_engine() -> None:
    assert MAX_DELAY_MS == MAX_MS


def test_long_runs_show_progress() -> None:
    def shown(step: float) -> str:
        out = io.StringIO()
        with Doing(Console(file=out, force_terminal=True, width=80), Ticks(step), patience=True) as doing:
            within = Within(doing, 'test 2 of 3: "lost"')
            for number in range(40):
                within.decided(number, placed=True)
        return out.getvalue()

    assert shown(0.01) == "", "nothing in the first second"
    assert 'test 2 of 3: "lost": 0:39 of virtual time' in shown(0.2)
