"""``berth delays``: what is known of the round trips, how old it is, and what is doubtful about it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from engine.cli.command import MISUSED, Command
from engine.cli.delay_report import as_json, show
from engine.cli.delay_view import Asked, look
from engine.cli.inputs import fail
from engine.cli.parameters import FILE, Delay
from engine.cli.report import console_for_people


@click.command(cls=Command)
@click.option(
    "--delays",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="Delay files: a table, or matrix and names. Other sources: delays.source in the settings.",
)
@click.option("--settings", type=FILE, metavar="FILE", help="Settings, YAML or JSON. See docs/settings.md.")
@click.option(
    "--kubeconfig", type=FILE, metavar="FILE", help="The live cluster, for its nodes. It is only read."
)
@click.option("--context", metavar="NAME", help="The kubeconfig's context, if not its current one.")
@click.option(
    "--cluster",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="Its nodes and pods from files: what `berth dump` or kubectl get -o json|yaml writes.",
)
@click.option("--from", "origin", metavar="NAME", help="Round trips from a node, a workload or a zone.")
@click.option("--namespace", default="default", show_default=True, help="The workload's namespace.")
@click.option(
    "--within", type=Delay(), metavar="DELAY", help="Only what is surely within, such as 25ms; needs --from."
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What to print.",
)
def delays(
    delays: tuple[Path, ...],
    settings: Path | None,
    kubeconfig: Path | None,
    context: str | None,
    cluster: tuple[Path, ...],
    origin: str | None,
    namespace: str,
    within: float | None,
    format_: str,
) -> None:
    """Show the delays that `berth run` would decide by: asked once, now, as the settings say.

    With --from, the round trips from one place, nearest first; with --within also, which nodes a limit would grant.
    What is estimated stands there with its error, and a limit grants it only with all of it. Zones and workloads are
    those of a cluster: give --kubeconfig, --context or --cluster.

    Ends with 0; with 1 where the command was called wrongly or the cluster does not answer; with 3 where something
    that was given cannot be used, or what measures does not answer.

    \b
    berth delays --delays demo/delays.csv
    berth delays --delays demo/delays.csv --from edge-1 --within 25ms
    """  # noqa: D301  (click's mark for text that is not to be wrapped)
    if within is not None and origin is None:
        fail("--within needs --from: from where?", MISUSED)
    view = look(Asked(delays, settings, kubeconfig, context, cluster, origin, namespace, within))
    if format_ == "json":
        click.echo(json.dumps(as_json(view), indent=2))
    else:
        show(console_for_people(), view)
