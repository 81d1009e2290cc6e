"""What the pages show is what happens: their commands, their policies, their links.

To have the output of commands that show all of theirs written anew, run the tests with ``BERTH_ACCEPT=1`` and read the
difference that git shows; where ``…`` stands for lines, write it yourself.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import click
import pytest

from engine.cli import main
from grammar import check_paths, check_texts
from tests.docs.blocks import PAGES, ROOT, Block, blocks
from tests.docs.console import ANY_LINES, Sandbox, Step, fits, normalised, steps

OURS = [ROOT / "README.md", ROOT / "docs" / "architecture.md", ROOT / "docs" / "simulate.md"]
"""Pages of which every line is at most 120 columns long, tables apart."""
LANGUAGES = {"", "console", "sh", "policy", "yaml", "json", "csv", "text", "promql", "dockerfile"}
ALL = [block for page in PAGES for block in blocks(page)]


def of(language: str) -> list[Block]:
    return [block for block in ALL if block.language == language]


def test_the_languages_are_known() -> None:
    assert [str(block) for block in ALL if block.language not in LANGUAGES] == []


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES if any(
        block.language == "console" for block in blocks(page))]
)  # fmt: skip
def test_commands_show_what_they_print(page: Path, tmp_path: Path) -> None:
    own = list(blocks(page))
    sandbox = Sandbox(tmp_path, [block for block in own if re.fullmatch(r"[\w-]+\.\w+", block.note)])
    text = page.read_text(encoding="utf-8")
    for block in own:
        if block.language != "console":
            continue
        for step in steps(block):
            status, printed = sandbox.run(step.command)
            assert (status != 0) == (block.note == "fails"), f"{block}: {step.command}: {status}\n{printed}"
            if os.environ.get("BERTH_ACCEPT"):
                text = accepted(text, step, printed)
            elif step.shown is not None:
                lines = normalised(printed)
                assert fits(step.shown, lines), f"{block}: {step.command}\n" + "\n".join(lines)
    if os.environ.get("BERTH_ACCEPT"):
        page.write_text(text, encoding="utf-8")


def accepted(text: str, step: Step, printed: str) -> str:
    """A page with a command's output in place of what it shows."""
    if step.shown is not None and ANY_LINES in step.shown:
        return text
    start = text.index(f"$ {step.command}\n") + len(f"$ {step.command}\n")
    end = min(found for found in (text.find(f"\n{mark}", start - 1) for mark in ("$ ", "```")) if found >= 0)
    lines = [line.rstrip() for line in printed.rstrip().splitlines()]
    return text[:start] + "\n".join(lines) + text[end:]


@pytest.mark.parametrize("block", of("policy"), ids=str)
def test_policies_check(block: Block) -> None:
    assert check_texts({block.page: block.text}).diagnostics == ()


def known(words: list[str]) -> str:
    """Why a command in a ``sh`` block cannot be right, "" where it can."""
    match words:
        case ["make", target]:
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            return "" if re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE) else "no such target"
        case ["berth", name, *arguments]:
            command = main.get_command(click.Context(main), name)
            if command is None:
                return "no such subcommand"
            command.make_context(name, arguments, resilient_parsing=True)
            return ""
        case ["kubectl", "apply", "-k", folder]:
            return "" if (ROOT / folder / "kustomization.yaml").is_file() else "no kustomization there"
        case ["python", "-m", module, *_] if module.startswith("tests.benchmarks."):
            return "" if (ROOT / f"{module.replace('.', '/')}.py").is_file() else "no such benchmark"
        case ["docker", "build", *_, "."]:
            return "" if (ROOT / "Dockerfile").is_file() else "no Dockerfile"
        case ["kubectl" | "curl" | "git" | "export", *_]:
            return ""
    return "not known here"


@pytest.mark.parametrize("block", of("sh"), ids=str)
def test_commands_that_are_not_run_can_be(block: Block) -> None:
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        assert not words or known(words) == "", line


@pytest.mark.parametrize(
    ("words", "bad"),
    [
        ("make demo", False),
        ("make deom", True),
        ("berth run --policies x", False),
        ("berth rum --policies x", True),
        ("kubectl apply -k deploy", False),
        ("kubectl apply -k elsewhere", True),
        ("python -m tests.benchmarks.bench_decision", False),
        ("python -m tests.benchmarks.bench_decisions", True),
        ("rm x", True),
    ],
)
def test_what_can_be_right(words: str, bad: bool) -> None:
    assert (known(words.split()) != "") is bad


def test_policies_that_commands_name_are_one_policy() -> None:
    named = {
        path
        for page in PAGES
        for path in re.findall(r"--policies (\S+)", page.read_text(encoding="utf-8"))
        if (ROOT / path).exists()
    }
    assert "policies/edge.policy" in named
    assert [path for path in sorted(named) if check_paths([ROOT / path]).policy is None] == []


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if path.startswith(("https://", "http://")):
            continue
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_the_readme_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"](docs/{page.name})" not in text] == []


@pytest.mark.parametrize("page", OURS, ids=lambda page: page.name)
def test_lines_are_short(page: Path) -> None:
    long = [line for line in page.read_text(encoding="utf-8").splitlines() if len(line) > 120]
    assert [line for line in long if not line.startswith("|")] == []


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        (["a", "b"], ["a", "b"], True),
        (["a", "b"], ["a"], False),
        (["a", ANY_LINES], ["a"], True),
        ([ANY_LINES, "b"], ["a", "a", "b"], True),
        ([ANY_LINES, "b", ANY_LINES], ["a", "c"], False),
        (["a.c"], ["abc"], False),
    ],
)
def test_comparing(shown: list[str], printed: list[str], same: bool) -> None:
    assert fits(shown, printed) is same


def test_normalising() -> None:
    text = "web-7d9f8c6b54-x2k9z on n  \ndb-0 on edge-1\nnightly-report-gqcjb: custom-scheduler\n\n"
    assert normalised(text) == ["web-xxxxx on n", "db-0 on edge-1", "nightly-report-xxxxx: custom-scheduler"]
