"""docs/operations.md says what is so."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from engine.cli.command import MISUSED
from engine.cli.inputs import BAD_INPUT
from engine.cli.opening import UNREACHABLE
from engine.cli.serve import FAULT, LOST_LEASE
from engine.serving.exposition import make_table
from engine.settings import Settings

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "operations.md").read_text()
LEVELS = {
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
    "critical": "critical",
}
PACKAGES = ("scheduler", "cli", "binder", "cluster", "delay")


def section(title: str) -> str:
    _, _, rest = DOCUMENT.partition(f"\n## {title}\n")
    return rest.partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


def test_the_metrics_are_those_that_there_are() -> None:
    _, _, rest = DOCUMENT.partition("<!-- metrics -->\n")
    table, _, _ = rest.partition("<!-- end -->")
    assert table == make_table(), "run: python -m engine.serving"


def test_the_exit_statuses_are_those_that_there_are() -> None:
    told = [int(row[0]) for row in rows(section("When it ends"))]
    assert told == [0, MISUSED, BAD_INPUT, UNREACHABLE, LOST_LEASE, FAULT]


def test_the_defaults_are_those_that_there_are() -> None:
    settings = Settings()
    assert f"`{settings.server.address}`" in DOCUMENT
    leader = settings.leader
    for name, seconds in (
        ("leaseDuration", leader.lease_duration),
        ("renewDeadline", leader.renew_deadline),
        ("retryPeriod", leader.retry_period),
    ):
        assert f"`leader.{name}`, {seconds:g} s" in DOCUMENT or f"`leader.{name}` ({seconds:g} s)" in DOCUMENT
    assert f"`server.stuck` ({settings.server.stuck:g} s)" in DOCUMENT
    assert f"`{leader.namespace}/{leader.name}`" in DOCUMENT


def sources() -> list[Path]:
    return [file for package in PACKAGES for file in sorted((ROOT / "engine" / package).glob("*.py"))]


def logged() -> dict[str, str]:
    """The lines that ``berth run`` may log, with … for what is filled in, and their levels.

    Lines that are all filled in are left out: their words are made elsewhere.
    """
    found = {}
    for file in sources():
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "log"
                and node.func.attr in LEVELS
            ):
                text = node.args[0]
                assert isinstance(text, ast.Constant), f"{file}:{node.lineno}"
                shown = re.sub(r"%(\.\d+)?[a-z]", "…", str(text.value)).partition("\n")[0]
                if re.search("[a-z]", shown):
                    found[shown] = LEVELS[node.func.attr]
    return found


def log_table() -> dict[str, str]:
    return {row[0].strip("`"): row[1] for row in rows(section("The log"))}


def matches(told: str, line: str) -> bool:
    """Whether a row is about a line: what is filled in may be any words."""
    pattern = ".*".join(re.escape(part) for part in told.split("…"))
    return (
        re.fullmatch(pattern.replace(r".*\ ", r"(.*\ )?", 1) if told[0] == "…" else pattern, line) is not None
    )


def test_every_line_of_the_log_is_told_of() -> None:
    told = log_table()
    missing = [
        (line, level)
        for line, level in logged().items()
        if not any(matches(row, line) and level == at for row, at in told.items())
    ]
    assert missing == [], "each needs a row in docs/operations.md that says what it means"


def test_no_line_is_told_of_that_is_never_logged() -> None:
    text = "\n".join(file.read_text() for file in sources())
    lines = logged()
    for row in log_table():
        if not any(matches(row, line) for line in lines):
            # Its words are put together elsewhere.
            assert [
                part for part in row.split("…") if len(part) > 4 and part.strip(" :;") not in text
            ] == [], row


@pytest.mark.parametrize("title", re.findall(r"^- \[(.*)\]\(#", DOCUMENT, re.MULTILINE))
def test_the_contents_are_there(title: str) -> None:
    assert section(title)
