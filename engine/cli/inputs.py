"""What several subcommands take: policies, delays and settings, with errors that a person can act on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from engine.compile import Plan, compile_policy
from engine.delay import DelayFileError, DelayMap, load
from engine.settings import Settings, SettingsError, load_settings
from grammar import check_paths
from grammar.render import render_text

BAD_INPUT = 3
"""Exit status where what the user gave cannot be used; as ``berth lint`` has it for errors."""


def fail(message: str, status: int = BAD_INPUT) -> NoReturn:
    """Print an error and exit."""
    click.echo(f"error: {message}", err=True)
    raise SystemExit(status)


def read_policies(paths: Sequence[Path]) -> Plan:
    """The plan of the policies, or an exit with all diagnostics."""
    result = check_paths(paths)
    if result.policy is None:
        click.echo(render_text(result), err=True, nl=False)
        fail("the policies have errors; nothing was started")
    return compile_policy(result.policy)


def read_delays(paths: Sequence[Path]) -> DelayMap | None:
    """The delays in files, or an exit with all that is wrong with them; None for no files."""
    if not paths:
        return None
    try:
        return load(paths)
    except DelayFileError as error:
        fail(str(error))


def read_settings(path: Path | None) -> Settings:
    """The settings in a file, or an exit with all that is wrong with it; the defaults for no file."""
    if path is None:
        return Settings()
    try:
        return load_settings(path)
    except SettingsError as error:
        fail(str(error))
