"""Rules of the project that no tool checks for us: ``make check`` runs those that do (style, types, layers)."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

import click
import pytest

from engine.cli import main

ROOT = Path(__file__).parents[1]
MOST_LINES: Final = 450
"""What is meant is some 400; nobody shall shave lines for the last few."""
MOST_LINES_OF_TESTS: Final = 650
"""Tables of cases may be longer than code."""
LONGER: Final = {
    "engine/cluster/wire.py": "one table: each kind's way to the API's JSON and back",
    "engine/model/objects.py": "one value for each object of the API, which name one another",
}
"""Modules that may be longer, and why they are not two."""
FORBIDDEN: Final = re.compile(
    r"(?<![\w.~*<>$}])/(?:" + "|".join(["work", "root", "home", "Users", "opt/wheels"]) + r")\b(?!\*)"
    r"|\bsha" + r"red/|pypi" + r"\.org|proxy\.golang" + r"\.org|pythonho" + r"sted"
)
"""Folders of one machine, and hosts that people choose for themselves."""


@cache
def files() -> tuple[Path, ...]:
    """All that is in the repository, or is about to be."""
    told = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout.decode()  # fmt: skip
    found = (ROOT / name for name in told.split("\0") if name)
    return tuple(sorted(path for path in found if path.is_file()))


def modules(*tops: str) -> list[Path]:
    return [
        path
        for path in files()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in (tops or ("",))
    ]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_files_are_found() -> None:
    assert len(modules("engine", "grammar")) > 100
    assert len(modules("tests")) > 50


def test_every_folder_of_tests_is_a_package() -> None:
    folders = {path.parent for path in modules("tests")}
    assert sorted(name(folder) for folder in folders if not (folder / "__init__.py").is_file()) == []


def test_every_package_says_what_it_is() -> None:
    silent = [
        name(path)
        for path in modules("engine", "grammar")
        if len(ast.get_docstring(ast.parse(path.read_text())) or "") < 40 and path.name == "__init__.py"
    ]
    assert silent == []


def test_every_module_is_short_or_says_why_not() -> None:
    lines = {name(path): len(path.read_text().splitlines()) for path in modules("engine", "grammar")}
    long = {module: count for module, count in lines.items() if count > MOST_LINES and module not in LONGER}
    assert long == {}, f"split them by idea, or say in {Path(__file__).name} why they are one"
    assert set(LONGER) <= set(lines), "a module that is gone needs no reason"
    assert [module for module in LONGER if lines[module] <= MOST_LINES - 50] == [], (
        "nor one that is short now"
    )
    tests = {name(path): len(path.read_text().splitlines()) for path in modules("tests", "demo")}
    assert [module for module, count in tests.items() if count > MOST_LINES_OF_TESTS] == []


def test_nothing_names_one_machine_or_a_registry() -> None:
    found = [
        f"{name(path)}:{number}: {line.strip()[:80]}"
        for path in files()
        if path.suffix not in {".sum", ".crt", ".key", ".png", ".svg"}
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if FORBIDDEN.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        ("see /wo" + "rk/main/x", True),
        ("open('/ho" + "me/me/x')", True),
        ("in sha" + "red/reference", True),
        ("https://pypi" + ".org/simple", True),
        ("~/.kube/config and /etc/berth/policies", False),
        ("a/homely/rootless/worker", False),
    ],
)
def test_what_is_forbidden(line: str, bad: bool) -> None:
    assert bool(FORBIDDEN.search(line)) is bad


def subcommands(
    group: click.Group, words: tuple[str, ...] = ("berth",)
) -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = []
    context = click.Context(group)
    for each in group.list_commands(context):
        command = group.get_command(context, each)
        assert command is not None, each
        inner = subcommands(command, (*words, each)) if isinstance(command, click.Group) else []
        found += inner or [((*words, each), command)]
    return found


@pytest.mark.parametrize(
    ("words", "command"), [pytest.param(*each, id=" ".join(each[0])) for each in subcommands(main)]
)
def test_every_subcommand_shows_an_example_that_parses(
    words: tuple[str, ...], command: click.Command
) -> None:
    shown = command.get_help(click.Context(command, info_name=" ".join(words)))
    called = " ".join(words) + " "
    examples = [line.strip() for line in shown.splitlines() if line.startswith(f"  {called}")]
    assert examples, shown
    for example in examples:
        # --explain and their like print and end.
        command.make_context(words[-1], example.removeprefix(called).split(), resilient_parsing=True)


@pytest.mark.parametrize(
    ("words", "command"), [pytest.param(*each, id=" ".join(each[0])) for each in subcommands(main)]
)
def test_every_option_is_explained(words: tuple[str, ...], command: click.Command) -> None:
    unexplained = [
        parameter.name
        for parameter in command.params
        if isinstance(parameter, click.Option) and not (parameter.help or "").endswith(".")
    ]
    assert unexplained == []


def targets() -> dict[str, str]:
    """The Makefile's targets with what ``make help`` says about them."""
    return dict(re.findall(r"^([a-z-]+):.*?## (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_make_targets_that_pages_name_are_there() -> None:
    named = {
        (name(page), target)
        for page in files()
        if page.suffix == ".md"
        for target in re.findall(r"(?:`|^\$? ?)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    }
    assert {("README.md", "demo"), ("README.md", "test")} <= named
    assert sorted((page, target) for page, target in named if target not in targets()) == []


def test_ci_runs_the_command_of_the_readme() -> None:
    assert "exec make test" in (ROOT / ".ci" / "run").read_text()
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
