"""What ``berth lint`` prints for CI: workflow commands, SARIF and JUnit's XML.

To accept what is printed now, run the tests with ``BERTH_ACCEPT=1`` and read the difference that git shows.
"""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

from grammar import Diagnostic, Note, check_texts, page
from grammar.github import as_github
from grammar.sarif import as_sarif
from grammar.span import Span
from tests.engine.cli.berth import run
from tests.engine.cli.test_reserve import compare

WRONG = """\
nodes edge  where node.zone == "a" and node.zone == "b"
nodes cloud where node.zone == "c"

rule far for pods where pod.labels["rückt"] == "🚀" and pod.labels has "x y" {
  require node.ready
}
rule near for all pods {
  require node.memory > 4Gi
  try edge then cloud
}
"""
CLEAN = "rule ready for all pods {\n  require node.ready\n}\n"
SCHEMA = json.loads((Path(__file__).parent / "sarif.schema.json").read_text(encoding="utf-8"))


@pytest.fixture
def policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with policies in a folder."""
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    folder = tmp_path / "site policies"
    folder.mkdir()
    (folder / "wrong.policy").write_text(WRONG, encoding="utf-8")
    (folder / "clean.policy").write_text(CLEAN, encoding="utf-8")
    return folder


@pytest.mark.parametrize("form", ["github", "sarif", "junit"])
def test_what_is_printed(form: str, policies: Path) -> None:
    result = run(["lint", "--format", form, policies.name, "gone.policy"], policies.parent)
    assert result.exit_code == 3
    assert result.stderr == ""
    compare(f"lint-{form}", result.stdout.replace(f'"{version("berth-scheduler")}"', '"VERSION"'))


@pytest.mark.parametrize(
    ("form", "printed"), [("github", ""), ("junit", 'failures="0"'), ("sarif", '"results": []')]
)
def test_of_clean_policies_nothing_is_found(form: str, printed: str, policies: Path) -> None:
    result = run(["lint", "--format", form, "clean.policy"], policies)
    assert result.exit_code == 0
    assert printed in result.stdout
    assert (result.stdout == "") == (form == "github")
    assert "no errors, no warnings in" not in result.stdout


# Where files are


@pytest.mark.parametrize(
    ("given", "inside", "workspace", "told"),
    [
        pytest.param("site policies/wrong.policy", ".", None, "site policies/wrong.policy", id="as given"),
        pytest.param("./site policies", ".", None, "site policies/wrong.policy", id="a folder"),
        pytest.param("wrong.policy", "site policies", ".", "site policies/wrong.policy", id="the workspace"),
        pytest.param("{top}/site policies", ".", None, "site policies/wrong.policy", id="absolute"),
        pytest.param("wrong.policy", "site policies", "elsewhere", "{top}/site policies/wrong.policy",
                     id="outside the workspace"),
    ],
)  # fmt: skip
def test_paths_are_those_from_the_top_of_the_repository(
    given: str, inside: str, workspace: str | None, told: str, policies: Path
) -> None:
    top = policies.parent
    env = {} if workspace is None else {"GITHUB_WORKSPACE": str(top / workspace)}
    result = run(["lint", "--format", "github", given.format(top=top)], top / inside, env=env)
    files = {line.partition("file=")[2].partition(",")[0] for line in result.stdout.splitlines()}
    assert files == {told.format(top=top)}


@pytest.mark.parametrize("workspace", [None, "link", "site policies"])
def test_a_folder_that_a_link_leads_to_is_found_from_the_top(workspace: str | None, policies: Path) -> None:
    link = policies.parent / "link"
    link.symlink_to(policies)
    env = {} if workspace is None else {"GITHUB_WORKSPACE": str(policies.parent / workspace)}
    result = run(["lint", "--format", "github", str(link / "wrong.policy")], policies, env=env)
    assert {line.partition(",")[0].rpartition(" ")[2] for line in result.stdout.splitlines()} == {
        "file=wrong.policy"
    }


def test_a_mounted_configmap_is_told_of_where_it_is_mounted(tmp_path: Path) -> None:
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "a.policy").write_text("rule a for all pods {\n}\n")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "a.policy").symlink_to("..data/a.policy")
    result = run(["lint", "--format", "github", str(tmp_path)], tmp_path)
    assert [line.partition(",")[0] for line in result.stdout.splitlines()] == ["::warning file=a.policy"]


def test_two_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.policy").write_text(f"rule {name} for all pods {{\n}}\n")
    result = run(["lint", "--format", "github", "a", "b"], tmp_path)
    assert [line.partition(",")[0] for line in result.stdout.splitlines()] == [
        "::warning file=a/same.policy",
        "::warning file=b/same.policy",
    ]


# Workflow commands


@pytest.mark.parametrize(
    ("diagnostic", "command"),
    [
        pytest.param(
            Diagnostic("P203", "50% of: a, b\r\nc", Span("a:b,c%.policy", 2, 3, 2, 9)),
            "::error file=a%3Ab%2Cc%25.policy,line=2,endLine=2,col=3,title=P203::50%25 of: a, b%0D%0Ac",
            id="what ends a property is escaped in properties only, line ends in both",
        ),
        pytest.param(
            Diagnostic("P421", "m", Span("a", 2, 3, 4, 1), "here", "do", (Note(Span("b", 7, 1, 7, 2), "too"),)),
            "::warning file=a,line=2,endLine=4,title=P421::m; here%0Ahelp: do%0Ab:7: too",
            id="several lines have no column",
        ),
        pytest.param(
            Diagnostic("P001", "gone", Span("a", 0, 0, 0, 0)), "::error file=a,title=P001::gone", id="no line"
        ),
    ],
)  # fmt: skip
def test_a_command(diagnostic: Diagnostic, command: str) -> None:
    assert as_github([diagnostic], {}) == command


# SARIF


def sarif(text: str, name: str = "a b.policy") -> Any:
    result = check_texts({name: text})
    document = json.loads(as_sarif(result.diagnostics, [name], {name: f"policies/{name}"}, "1.0"))
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    return document["runs"][0]


def test_the_schema_is_one_and_is_met_by_what_is_printed(policies: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    result = run(["lint", "--format", "sarif", ".", "gone.policy"], policies)
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(result.stdout))


def test_a_rule_is_there_once_for_each_code_and_results_point_at_theirs() -> None:
    found = sarif(WRONG + "rule again for all pods {\n  require node.memory > 4Gi\n  at most 0 per node\n}\n")
    rules = found["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["P203", "P407", "P420", "P428"]
    assert [rules[one["ruleIndex"]]["id"] for one in found["results"]] == [
        one["ruleId"] for one in found["results"]
    ]
    assert [rule["defaultConfiguration"]["level"] for rule in rules] == [
        "error",
        "error",
        "warning",
        "warning",
    ]
    assert all("helpUri" not in rule for rule in rules)
    assert rules[0]["help"]["markdown"] == page("P203")
    assert rules[0]["fullDescription"]["text"].endswith('in labels: `node.labels["KEY"]`.')


def test_columns_count_characters_as_the_document_says() -> None:
    found = sarif(WRONG)
    assert found["columnKind"] == "unicodeCodePoints"
    [rocket] = [one for one in found["results"] if "🚀" in one["message"]["text"]]
    region = rocket["locations"][0]["physicalLocation"]["region"]
    line = WRONG.split("\n")[region["startLine"] - 1]
    assert line[region["startColumn"] - 1 : region["endColumn"] - 1] == '"🚀"'


def test_other_places_of_a_finding_are_related_locations() -> None:
    [clash] = [one for one in sarif(WRONG)["results"] if one["ruleId"] == "P420"]
    [related] = clash["relatedLocations"]
    assert related["message"]["text"] == "asked for as well"
    assert related["physicalLocation"]["region"]["startColumn"] == 19
    assert related["physicalLocation"]["artifactLocation"] == {"uri": "policies/a%20b.policy"}


def test_names_of_files_need_not_be_text() -> None:
    name = os.fsdecode(b"\xff {}:1.policy")
    [found] = sarif("}\n", name)["results"]
    [location] = found["locations"]
    assert location["physicalLocation"]["artifactLocation"] == {"uri": "policies/%FF%20%7B%7D%3A1.policy"}


def test_braces_of_messages_are_doubled() -> None:
    [found] = sarif("}\n")["results"]
    assert found["ruleId"] == "P106"
    assert "`}}`" in found["message"]["text"]


# JUnit


@pytest.mark.parametrize(("strict", "failures"), [([], "1"), (["--fail-on", "warning"], "5")])
def test_warnings_fail_where_they_are_asked_to(strict: list[str], failures: str, policies: Path) -> None:
    result = run(["lint", "--format", "junit", ".", *strict], policies)
    suites = ElementTree.fromstring(result.stdout)
    assert (suites.get("tests"), suites.get("failures")) == ("6", failures)
    for case in suites.iter("testcase"):
        warned = (case.get("name") or "").startswith("P4")
        assert (case.find("system-out") is not None) == (warned and not strict)


def test_a_clean_file_is_a_case_too(policies: Path) -> None:
    result = run(["lint", "--format", "junit", "clean.policy"], policies)
    [case] = ElementTree.fromstring(result.stdout).iter("testcase")
    assert (case.get("name"), case.get("file"), case.get("line"), len(case)) == (
        "no errors, no warnings",
        "clean.policy",
        None,
        0,
    )
