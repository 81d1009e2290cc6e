"""Runs the command as a user does, in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.cli import main

WORLD = Path(__file__).parent / "world"
SIMULATE = [
    "simulate",
    "--nodes",
    "nodes.yaml",
    "--delays",
    "delays.csv",
    "--policies",
    "near.policy",
    "pods.yaml",
]
"""The command for `WORLD`, to be run in it."""


def run(
    arguments: Sequence[str | Path], folder: Path, columns: int = 120, env: Mapping[str, str] | None = None
) -> Result:
    """The outcome of ``berth ARGUMENTS`` in a folder, with no terminal in sight."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = CliRunner(env={"COLUMNS": str(columns), "NO_COLOR": None, **(env or {})}).invoke(
            main, [str(argument) for argument in arguments]
        )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result
