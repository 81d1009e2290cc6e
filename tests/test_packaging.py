"""The wheel, installed in an empty environment outside the checkout, has all that the demo needs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("setup.py", "pyproject.toml", "README.md", "engine", "grammar")
"""What the wheel is built from; the image's build stage copies the same."""


def call(*words: str | Path, cwd: Path, **env: str) -> str:
    """Run a command in a folder, with nothing of this environment in it. Its output."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**clean, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing of an earlier build is in it."""
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    call(sys.executable, "-m", "build", "--wheel", "--outdir", folder, source, cwd=folder)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> frozenset[str]:
    with zipfile.ZipFile(wheel) as archive:
        return frozenset(archive.namelist())


@pytest.fixture(scope="module")
def berth(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The command in an environment of its own, into which the wheel has brought what it needs."""
    folder = tmp_path_factory.mktemp("installed")
    # This environment's pip installs into the other one: putting one there takes longer than all else.
    call(sys.executable, "-m", "venv", "--without-pip", folder / "empty", cwd=folder)
    call(
        *(sys.executable, "-m", "pip", "--python", folder / "empty" / "bin" / "python"),
        *("install", "--quiet", "--no-compile", "--disable-pip-version-check", wheel),
        cwd=folder,
    )
    yield folder / "empty" / "bin" / "berth"
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo and the policies, and nothing else of the checkout."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name in ("demo", "policies"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_every_file_that_is_no_python_is_in_the_wheel(names: frozenset[str]) -> None:
    expected = {
        str(path.relative_to(ROOT))
        for package in ("engine", "grammar")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected <= names
    suffixes = {Path(name).suffix for name in expected}
    assert {".py", ".lark", ".json", ".md", ".typed"} <= suffixes, (
        "the grammar, the schemas, the codes' pages"
    )


def test_nothing_else_is(names: frozenset[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"engine", "grammar"}


def test_the_version_and_the_installation(berth: Path, elsewhere: Path) -> None:
    assert call(berth, "--version", cwd=elsewhere).startswith("berth, version 0.")
    where = call(
        berth.parent / "python", "-c", "import engine, grammar; print(engine.__file__)", cwd=elsewhere
    )
    assert where.startswith(str(berth.parents[1])), "not the checkout's"


def test_lint(berth: Path, elsewhere: Path) -> None:
    for policy in sorted((elsewhere / "policies").glob("*.policy")):
        assert "no errors" in call(berth, "lint", policy, cwd=elsewhere)
    assert "# P203" in call(berth, "lint", "--explain", "P203", cwd=elsewhere)


def test_simulate(berth: Path, elsewhere: Path) -> None:
    printed = call(
        *(berth, "simulate", "--nodes", "demo/nodes.yaml", "--delays", "demo/delays.csv"),
        *("--policies", "policies/edge.policy", "demo/workloads", "--fail-on", "pending", "--format", "json"),
        cwd=elsewhere,
    )
    [case] = json.loads((elsewhere / "demo" / "expected.json").read_text())
    assert len(json.loads(printed)["pods"]) == sum(place["pods"] for place in case["places"].values())


def test_run_loads_the_client(berth: Path, elsewhere: Path) -> None:
    """Far enough to see that all it imports is there: a kubeconfig that is not is an error with a remedy."""
    done = subprocess.run(
        [berth, "run", "--policies", "policies/edge.policy", "--kubeconfig", "none.yaml"],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "none.yaml" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 3


def test_the_whole_demo(berth: Path, elsewhere: Path) -> None:
    printed = call(berth.parent / "python", "-m", "demo.simulated", cwd=elsewhere)
    assert printed.count("$ berth ") == 7
    assert "which was kept for it" in printed
    assert "14 of 14 pods placed" in printed
    assert "\x1b" not in printed
