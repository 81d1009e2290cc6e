"""Commands whose wrong use has an exit status of its own, so that scripts can tell it from an outcome."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

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


class Command(click.Command):
    """A command whose wrong use ends in `MISUSED`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it, with the other status."""
        with misuse():
            return super().parse_args(ctx, args)
