"""``berth heal --plan``: what would move now, where to and why. Nothing is moved."""

from __future__ import annotations

import json
from typing import Final

import click

from engine.cli.asked_world import Asked, asks_world
from engine.cli.command import MISUSED, Command, fail
from engine.cli.explain_subject import World
from engine.cli.heal_report import as_json, show
from engine.cli.heal_view import HealView, look
from engine.cli.progress import work
from engine.cli.report import console_for_people, show_notes
from engine.cli.reserve_view import strangers
from engine.cli.settings_file import read_settings
from grammar.policy import Trigger

_UNDATED: Final = (Trigger.BROKEN, Trigger.NODE_DRAINING)
"""What no cluster says since when it has been so."""


@click.command(cls=Command)
@asks_world
@click.option("--plan", is_flag=True, help="Show the plan; needed, since there is nothing else to ask for.")
@click.option(
    "--now",
    is_flag=True,
    help="Only what is due already, by what the cluster itself says of how long it has lasted.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What to print.",
)
def heal(asked: Asked, plan: bool, now: bool, format_: str) -> None:
    """Show what the heals of the policies would move: each pod, from where to where, how, by which rule, and why.

    Nothing is carried out: that is what `berth run` does. The cluster says since when a node has been silent and a pod
    waiting, but not since when a rule is broken or a node cordoned. So the plan is what would move if all stays as it
    is until the durations of the rules are over, and each move says when it would be due; --now shows only what is due
    at this moment.

    Ends with 0; with 3 where something that was given cannot be used; with 1 where the command was called wrongly or
    the cluster does not answer.

    \b
    berth heal --plan --policies policies/edge.policy --delays delays.csv
    berth heal --plan --cluster dump.json --policies policies/edge.policy --now --format json
    """  # noqa: D301  (click's mark for text that is not to be wrapped)
    if not plan:
        fail("say --plan: `berth run` alone carries moves out, and this shows them", MISUSED)
    world = asked.world()
    with work() as doing:
        view = look(world, now, doing, read_settings(asked.settings).delays.period)
    reserves = [rule for rule, _ in world.placer.reserves]
    notes = [*_assumed(world, view, asked), *strangers(world.cache, reserves), *world.notes]
    if format_ == "json":
        click.echo(json.dumps(as_json(view, notes), indent=2, ensure_ascii=False))
        return
    console = console_for_people()
    show(console, view)
    if notes:
        console.print()
    show_notes(console, notes)


def _assumed(world: World, view: HealView, asked: Asked) -> list[str]:
    """What the plan rests on that nobody told."""
    notes = []
    later = [one.move for one in view.moves if one.due_s > 0]
    if any(move.heal.trigger in _UNDATED or world.cache.node(move.source) is None for move in later):
        notes.append(
            "since when a rule is broken, or a node cordoned or gone, the cluster does not say: it counts from now "
            "here, and a Berth that runs may have counted for longer"
        )
    if len({one.due_s for one in view.moves}) > 1:
        notes.append("moves of a later time are planned as if those before them had not been made")
    if any(one.move.backup for one in view.moves):
        notes.append(
            "which place is kept for whom is planned anew here; a Berth that runs may have it elsewhere"
        )
    if any(one.move.heal.moves is not None for one in view.moves):
        notes.append(
            "moves that a running Berth has made already use up the rates of the rules, unknown here"
        )
    notes += _not_asked(world, view, asked)
    return notes


_KNOW_NOTHING_OF_NODES: Final = ("files", "prometheus")
"""Sources of delays that do not tell when they measured, so a Berth that runs does not learn from them who is there."""


def _not_asked(world: World, view: HealView, asked: Asked) -> list[str]:
    """What a Berth that runs would know of links and nodes, and was not found out here."""
    notes = []
    source = read_settings(asked.settings).delays.source
    if world.contacts is None and any(one.trigger is Trigger.NODE_LOST for one in view.heals):
        if source not in _KNOW_NOTHING_OF_NODES:
            why = "has not told yet"
            if asked.cluster or asked.scenario is not None or asked.delays:
                beside = "--cluster" if asked.cluster else "--scenario" if asked.scenario else "--delays"
                why = f"was not asked, because of {beside},"
            notes.append(
                f"the source of delays, {source}, {why} whether other nodes still reach a silent one; a Berth that "
                "runs asks it, and moves nothing from a node that is reached"
            )
        elif asked.settings is None and asked.scenario is None and _loses(world, view):
            notes.append(
                "without --settings nobody was asked whether other nodes still reach a silent one; a Berth whose "
                "delays are measured knows, and moves nothing from a node that is reached"
            )
    if not world.placer.delay_map.names and any(one.reason == "unmeasured" for one in view.stays):
        notes.append(
            "no delays are known here: give --delays, or --settings that name a source that measures"
        )
    return notes


def _loses(world: World, view: HealView) -> bool:
    """Whether something moves from a node that is silent, and there."""
    return any(
        one.move.heal.trigger is Trigger.NODE_LOST and world.cache.node(one.move.source) is not None
        for one in view.moves
    )
