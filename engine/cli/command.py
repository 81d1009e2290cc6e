"""Commands whose wrong use has an exit status of its own, so that scripts can tell it from an outcome."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

import click

BAD_INPUT: Final = 3
"""Exit status where what the user gave cannot be used; as ``berth lint`` has it for errors."""

MISUSED: Final = 1
"""Exit status where a command is called wrongly; click's own, 2, is an outcome (``--fail-on``) here."""


@contextmanager
def misuse() -> Iterator[None]:
    """Give wrong use that is found in here our status."""
    try:
        yield
    except click.UsageError as error:
        error.exit_code = MISUSED  # type: ignore[misc]  # click reads it from the instance
        raise


def fail(message: str, status: int = BAD_INPUT) -> NoReturn:
    """Print an error and exit. Each line of the message is an error of its own."""
    for line in message.splitlines():
        click.echo(f"error: {line}", err=True)
    raise SystemExit(status)


class Command(click.Command):
    """A command whose wrong use ends in `MISUSED`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it, with the other status."""
        with misuse():
            return super().parse_args(ctx, args)


class Group(click.Group):
    """Subcommands whose wrong use ends in `MISUSED`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it, with the other status."""
        with misuse():
            return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the same status for a name that is none."""
        with misuse():
            return super().resolve_command(ctx, args)
