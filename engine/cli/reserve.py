"""``berth reserve``: what is kept for the loss of nodes, where, and for whom nothing can be."""

from __future__ import annotations

import json

import click

from engine.cli.asked_world import Asked, asks_world
from engine.cli.command import MISUSED, Group, fail
from engine.cli.progress import work
from engine.cli.report import console_for_people, show_notes
from engine.cli.reserve_check import check
from engine.cli.reserve_report import as_json, show
from engine.cli.reserve_view import plans, strangers, view


@click.group(cls=Group, invoke_without_command=True)
@asks_world
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What to print.",
)
def reserve(asked: Asked, format_: str) -> None:
    """Show what the reserves of the policies keep: how much, on which nodes, and for whom nothing can be kept.

    `planned` is what a Berth that starts now would keep; one that runs leaves places where they are as long as they
    will do, and makes the whole smaller with time, so it may hold as much elsewhere. `held` is what its placeholder
    pods hold at this moment. `berth reserve check` proves that it is enough.

    Ends with 0; with 3 where something that was given cannot be used; with 1 where the command was called wrongly or
    the cluster does not answer.

    \b
    berth reserve --policies policies/edge.policy --delays delays.csv
    berth reserve --cluster dump.json --policies policies/edge.policy --format json
    """  # noqa: D301  (click's mark for text that is not to be wrapped)
    context = click.get_current_context()
    if context.invoked_subcommand is not None:
        if asked.anything or format_ != "text":
            fail(f"options go behind {context.invoked_subcommand}: berth reserve check --policies …", MISUSED)
        return
    world = asked.world()
    with work() as doing:
        planned = plans(world, doing)
        reserves = [view(world.cache, one) for one in planned]
    notes = [*strangers(world.cache, [one.rule for one in planned]), *world.notes]
    if not reserves:
        notes.insert(0, "the policies keep no reserve; docs/reserve.md shows one")
    if format_ == "json":
        click.echo(json.dumps(as_json(reserves, world.now, notes), indent=2, ensure_ascii=False))
        return
    console = console_for_people()
    show(console, reserves)
    if notes and reserves:
        console.print()
    show_notes(console, notes)


reserve.add_command(check)
