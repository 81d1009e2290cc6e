"""``berth lint``: checks policies, and shows everything that is wrong with them in one run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from engine.cli.asked_world import Asked, may_ask_world
from engine.cli.command import MISUSED, Command, fail
from engine.cli.lint_formats import FORMATS
from grammar import CODES, RETIRED, Result, check_paths, page
from grammar.beside import beside
from grammar.inventory import Inventory
from grammar.render import count, many, summary, text

CLEAN, FAILED, WARNINGS, ERRORS = 0, MISUSED, 2, 3
"""The exit statuses; they are the same whatever the format."""


def _explain(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is None or ctx.resilient_parsing:
        return
    code = value.strip().strip("[]").upper()
    if code not in CODES and code not in RETIRED:
        raise click.BadParameter(
            f"there is no code {value!r}; codes are {min(CODES)} to {max(CODES)}", ctx, parameter
        )
    click.echo(page(code).rstrip())
    ctx.exit(CLEAN)


def _is_terminal() -> bool:
    return sys.stdout.isatty()


@click.command(cls=Command)
@click.argument("paths", metavar="FILE|FOLDER…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", *FORMATS]),
    default="text",
    show_default=True,
    help="What to print; all but text is for programs.",
)
@click.option(
    "--fail-on", type=click.Choice(["warning"]), help="End with status 2 where there are only warnings."
)
@click.option(
    "--explain",
    metavar="CODE",
    is_eager=True,
    expose_value=False,
    callback=_explain,
    help="Print the page of a code.",
)
@may_ask_world
def lint(asked: Asked, paths: tuple[Path, ...], form: str, fail_on: str | None) -> None:
    """Check policies: all files given, and all *.policy files of the folders given, as one policy.

    Ends with 0 where there is no error, 3 where there are errors, 2 where there are warnings and --fail-on warning was
    asked for, 1 where the tool itself failed.

    Beside a cluster (--cluster, --kubeconfig, --scenario) it also warns of what that cluster cannot meet as it is now:
    labels, values and domains that no node has, names of delays that are nothing there, limits within which no node is.

    \b
    berth lint policies/edge.policy
    berth lint --explain P203
    berth lint --format github policies                 notes at the lines of a change, on GitHub
    berth lint --format sarif policies >lint.sarif      for code scanning, and for editors
    berth lint --format junit policies >lint.xml        for the test reports of most CI
    berth lint --format json policies                   for a program of your own
    berth lint --cluster dump.json --delays delays.csv policies
    berth lint --kubeconfig ~/.kube/config policies
    """  # noqa: D301  (click's mark for text that is not to be wrapped)
    result, told = _compared(check_paths(paths), asked)
    if form == "text":
        colour = _is_terminal() and not os.environ.get("NO_COLOR")
        shown = text(result.diagnostics, dict(result.sources), colour)
        if shown:
            click.echo(shown)
        click.echo(f"{summary(result.diagnostics, len(result.sources))}{told}")
    elif written := FORMATS[form](result, fail_on == "warning"):
        click.echo(written)
    errors, warnings = count(result.diagnostics)
    if errors:
        raise SystemExit(ERRORS)
    if warnings and fail_on == "warning":
        raise SystemExit(WARNINGS)


def _compared(result: Result, asked: Asked) -> tuple[Result, str]:
    """The result with what the cluster that is asked about cannot meet, and what it was compared with."""
    if not asked.anything:
        return result, ""
    if not (asked.cluster or asked.scenario is not None or asked.live):
        fail("name the cluster, too: --cluster DUMP, --kubeconfig FILE or --scenario FILE", MISUSED)
    if result.policy is None:
        click.echo("note: the policies have errors, so the cluster was not looked at", err=True)
        return result, ""
    # Imported here, for whoever has no cluster shall not wait for the engine.
    from engine.cli.known_inventory import inventory_of

    world = asked.world()
    for note in world.notes:
        click.echo(f"note: {note}", err=True)
    inventory = inventory_of(world)
    return beside(result, inventory), _beside_what(inventory)


def _beside_what(inventory: Inventory) -> str:
    """What was compared with, for the summary."""
    if not inventory.nodes:
        return "; the cluster has no node, so they were not compared with it"
    nodes, pods = many(len(inventory.nodes), "node"), many(len(inventory.pods), "pod")
    return f", beside {nodes} and {pods} that Berth places{', without delays' if inventory.delays is None else ''}"
