"""``berth lint``: what it prints where, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.cli.lint import lint

CLEAN = "rule r for all pods {\n  require node.ready\n}\n"
WARNING = 'domain rack = node.labels["rack"]\n'
ERROR = "rule r for all pods {\n  require node.redy\n}\n"


@pytest.fixture
def policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("clean.policy").write_text(CLEAN)
    Path("warning.policy").write_text(WARNING)
    Path("error.policy").write_text(ERROR)


def call(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(lint, arguments, env=env)


@pytest.mark.usefixtures("policies")
@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        pytest.param(["clean.policy"], 0, id="clean"),
        pytest.param(["warning.policy"], 0, id="warnings"),
        pytest.param(["warning.policy", "--fail-on", "warning"], 2, id="warnings asked for"),
        pytest.param(["clean.policy", "--fail-on", "warning"], 0, id="clean, warnings asked for"),
        pytest.param(["error.policy", "warning.policy", "--fail-on", "warning"], 3, id="errors and warnings"),
        pytest.param(["missing.policy"], 3, id="missing"),
        pytest.param(["."], 3, id="folder"),
    ],
)
def test_the_status_does_not_depend_on_the_format(arguments: list[str], status: int, form: str) -> None:
    assert call(*arguments, "--format", form).exit_code == status


@pytest.mark.parametrize(
    "arguments",
    [[], ["--bad"], ["--format", "yaml", "x"], ["--fail-on", "error", "x"], ["--explain", "P999"]],
    ids=["nothing", "option", "format", "fail-on", "code"],
)
def test_wrong_use_ends_in_1(arguments: list[str]) -> None:
    result = call(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "Error: " in result.stderr


@pytest.mark.usefixtures("policies")
def test_text_ends_with_a_summary() -> None:
    result = call(".")
    assert "error[P203]: no such fact: `node.redy`" in result.stdout
    assert result.stdout.endswith("\n2 errors in 3 files\n")
    assert call("clean.policy").stdout == "no errors, no warnings in 1 file\n"


@pytest.mark.usefixtures("policies")
def test_json_is_one_document_and_nothing_else() -> None:
    document = json.loads(call("error.policy", "missing.policy", "--format", "json").stdout)
    assert document["format_version"] == 1
    assert document["files"] == ["error.policy"]
    assert [each["code"] for each in document["diagnostics"]] == ["P203", "P001"]


@pytest.mark.parametrize("code", ["P203", "p203", "[P203]"])
def test_a_code_is_explained(code: str) -> None:
    result = call("--explain", code)
    assert result.exit_code == 0
    assert result.stdout.startswith("# P203: no such fact\n")


@pytest.mark.usefixtures("policies")
@pytest.mark.parametrize(
    ("terminal", "no_color", "coloured"),
    [(True, "", True), (True, "1", False), (False, "", False)],
    ids=["terminal", "NO_COLOR", "pipe"],
)
def test_colours_are_for_terminals(
    terminal: bool, no_color: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr("engine.cli.lint._is_terminal", lambda: terminal)
    result = CliRunner().invoke(lint, ["error.policy"], color=True)
    assert ("\x1b[" in result.stdout) is coloured
