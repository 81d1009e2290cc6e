"""What a start imports, and when."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from engine.cli.importing import importing


def imported(module: str) -> set[str]:
    """The top-level packages, and those of the engine, that are there once a module is imported."""
    code = f"import sys, {module}; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return set(told.split())


@pytest.mark.parametrize(
    ("module", "later"),
    [
        pytest.param("engine.cli", {"kubernetes", "numpy", "lark", "engine.cluster"}, id="no subcommand yet"),
        pytest.param(
            "engine.cli.run",
            {"numpy", "lark", "jsonschema", "engine.compile", "engine.scheduler"},
            id="while the server lists",
        ),
        pytest.param(
            "engine.cli.serve", {"jsonschema", "cel"}, id="only where settings, or devices, are given"
        ),
    ],
)
def test_what_is_not_needed_yet_is_not_imported(module: str, later: set[str]) -> None:
    assert imported(module) & later == set()


def test_nothing_is_collected_meanwhile() -> None:
    assert gc.isenabled()
    frozen = gc.get_freeze_count()
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > frozen
    gc.unfreeze()


def test_who_collects_nothing_goes_on_so() -> None:
    gc.disable()
    try:
        with importing():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()


def test_collections_go_on_after_a_failure() -> None:
    with pytest.raises(ImportError), importing():
        raise ImportError
    assert gc.isenabled()
    gc.unfreeze()
