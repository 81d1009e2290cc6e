"""docs/architecture.md has the layers of the contract, and what each package says of itself."""

from __future__ import annotations

import ast
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
TABLE = re.compile(r"(<!-- layers: .*? -->\n)(.*?)(<!-- end of layers -->)", re.DOTALL)


def contract() -> list[list[str]]:
    """The layers of the engine, the highest first; those of one row are independent."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    contracts: list[Any] = tools["importlinter"]["contracts"]
    [layers] = [each["layers"] for each in contracts if each["type"] == "layers"]
    return [[f"engine.{name.strip()}" for name in re.split(r"[|:]", row)] for row in layers]


def packages() -> set[str]:
    return {f"engine.{init.parent.name}" for init in (ROOT / "engine").glob("*/__init__.py")}


def says(package: str) -> str:
    """The first sentence of a package's docstring, as Markdown."""
    source = (ROOT / package.replace(".", "/") / "__init__.py").read_text(encoding="utf-8")
    text = " ".join((ast.get_docstring(ast.parse(source)) or "").split()).replace("``", "`")
    return re.split(r"(?<=\.) ", text)[0]


def table() -> str:
    rows = ["| layer | package | what it is |", "|---|---|---|"]
    layers = contract()
    for number, row in enumerate(layers):
        rows += [f"| {len(layers) - number} | `{package}` | {says(package)} |" for package in row]
    beside = sorted(packages() - {package for row in layers for package in row})
    rows += [f"| any | `{package}` | {says(package)} |" for package in beside]
    rows.append(f"| beside | `grammar` | {says('grammar')} |")
    return "\n".join(rows) + "\n"


def test_the_table_of_layers() -> None:
    text = PAGE.read_text(encoding="utf-8")
    if os.environ.get("BERTH_ACCEPT"):
        text = TABLE.sub(lambda found: found[1] + table() + found[3], text)
        PAGE.write_text(text, encoding="utf-8")
    found = TABLE.search(text)
    assert found is not None
    assert found[2] == table()


def test_the_contract_names_packages_that_are_there() -> None:
    named = {package for row in contract() for package in row}
    assert named <= packages()
    assert len(named) > 8


@pytest.mark.parametrize("package", sorted(packages()))
def test_what_a_package_may_import_is_said(package: str) -> None:
    source = (ROOT / package.replace(".", "/") / "__init__.py").read_text(encoding="utf-8")
    assert re.search(r"\b(may import|imports)\b", ast.get_docstring(ast.parse(source)) or "", re.IGNORECASE)


def test_the_states_are_those_of_the_cache() -> None:
    from engine.state.pods import Phase

    text = PAGE.read_text(encoding="utf-8")
    assert [phase.name for phase in Phase if phase.name not in text] == []


@pytest.mark.parametrize(
    "name", re.findall(r"`(tests/[\w/.]+|engine/[\w/.]+|pyproject\.toml)`", PAGE.read_text())
)
def test_the_files_it_names_are_there(name: str) -> None:
    assert (ROOT / name).exists()
