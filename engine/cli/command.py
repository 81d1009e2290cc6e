"""A subcommand whose wrong use has an exit status of its own, so that scripts can tell it from an outcome."""

from __future__ import annotations

from typing import Final

import click

MISUSED: Final = 1
"""Exit status where a command is called wrongly; click's own, 2, is an outcome (``--fail-on``) here."""


class Misuse(click.UsageError):
    """Wrong use of a command."""

    exit_code = MISUSED


class Command(click.Command):
    """A command whose wrong use ends in `MISUSED`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it, with the other status."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise Misuse(error.format_message(), error.ctx or ctx) from error
