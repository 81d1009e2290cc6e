"""What several subcommands take: policies, delays and settings, with errors that a person can act on."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import click

from engine.cli.command import BAD_INPUT as BAD_INPUT
from engine.cli.command import fail as fail
from engine.compile import Plan, compile_policy
from engine.delay import DelayFileError, DelayMap, load
from grammar import Result
from grammar.render import text


def colours(stream: TextIO) -> bool:
    """Whether a stream takes escape codes: it is a terminal, and ``NO_COLOR`` is not set."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def plan_of(result: Result) -> Plan:
    """The plan of a policy set, or an exit with all that is wrong with it. Warnings are shown and stop nothing."""
    if result.diagnostics:
        click.echo(shown(result, colours(sys.stderr)), err=True)
    if result.policy is None:
        fail("the policies have errors, so nothing was started; `berth lint --explain CODE` tells more")
    return compile_policy(result.policy)


def shown(result: Result, colour: bool = False) -> str:
    """All diagnostics of a policy set, as text."""
    return text(result.diagnostics, dict(result.sources), colour)


def read_delays(paths: Sequence[Path]) -> DelayMap | None:
    """The delays in files, or an exit with all that is wrong with them; None for no files."""
    if not paths:
        return None
    try:
        return load(paths)
    except DelayFileError as error:
        fail(str(error))
