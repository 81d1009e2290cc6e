"""``berth run``: what it is called with. The scheduler itself is imported while the API server answers its lists."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.command import Command
from engine.cli.ending import ending_at_once
from engine.cli.importing import importing
from engine.cli.logs import set_up
from engine.cli.opening import Opening
from engine.cli.parameters import FILE
from engine.cli.settings_file import read_settings


@click.command(cls=Command)
@click.option(
    "--policies",
    type=FILE,
    multiple=True,
    required=True,
    metavar="FILE|FOLDER",
    help="Policies; may be repeated.",
)
@click.option(
    "--delays",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="Delay files: a table, or matrix and names. Other sources: delays.source in the settings.",
)
@click.option("--settings", type=FILE, metavar="FILE", help="Settings, YAML or JSON. See docs/settings.md.")
@click.option(
    "--kubeconfig",
    type=FILE,
    metavar="FILE",
    help="How to reach the cluster. In a pod: its service account.",
)
@click.option("--context", metavar="NAME", help="The kubeconfig's context, if not its current one.")
def run(
    policies: tuple[Path, ...],
    delays: tuple[Path, ...],
    settings: Path | None,
    kubeconfig: Path | None,
    context: str | None,
) -> None:
    """Schedule the pods that name this scheduler, until SIGTERM.

    Policies and delay files are read again when they change. A set that does not check never takes effect: the last
    good one stays in force, and the log says what is wrong.

    Exit status: 0 ended by a signal, 1 wrong usage, 3 unusable input or credentials, 4 no API server, 5 the lease of
    the leader is lost, 70 a fault of Berth's own. See docs/operations.md.

    \b
    berth run --policies policies/edge.policy --delays delays.csv --kubeconfig ~/.kube/config
    """  # noqa: D301  (click's mark for text that is not to be wrapped)
    with ending_at_once():
        chosen = read_settings(settings)
        set_up(chosen.log)
        opening = Opening(kubeconfig, context)
        with importing():
            from engine.cli.serve import serve
        serve(policies, delays, chosen, opening)
