"""The command ``berth``: one file for each subcommand, imported when it is called.

May import everything.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

import click

from engine.cli.command import Group
from engine.cli.importing import importing

_COMMANDS: Final = {
    "lint": "check policies before they are mounted",
    "test": "run the tests that stand in policies",
    "simulate": "place pods on a simulated cluster, with reasons",
    "explain": "why a pod is where it is, or nowhere, node by node",
    "delays": "what is known of round trips: from where, how old, how sure",
    "reserve": "what is kept for the loss of nodes; `reserve check` proves it",
    "heal": "what would move now, where to and why",
    "dump": "write what bears on placement in a cluster to a file",
    "run": "schedule the pods of a real cluster",
    "probe": "measure round trips from a node to a few others, and tell them",
}


class _Lazy(Group):
    """Imports a subcommand when it is needed, so that none waits for what only another uses."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's)
        """In the order in which an operator needs them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  (click's)
        """The subcommand, None where there is no such."""
        if cmd_name not in _COMMANDS:
            return None
        with importing():
            command: click.Command = getattr(import_module(f"engine.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  (click's)
        """A line for each, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="berth-scheduler", prog_name="berth")
def main() -> None:
    """A Kubernetes scheduler for the edge, steered by policies.

    Write policies, check them with `berth lint`, see where pods would go with `berth simulate`, and schedule a real
    cluster with `berth run`.
    """
