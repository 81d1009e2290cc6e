"""``berth reserve check``: the proof that what is kept is enough for every single loss."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

from engine.cli.asked_world import Asked, asks_world
from engine.cli.command import BAD_INPUT, MISUSED, Command, fail
from engine.cli.explain_subject import World
from engine.cli.progress import Doing, work
from engine.cli.report import console_for_people, show_notes
from engine.cli.reserve_proof import Basis, Proof, as_json, show
from engine.cli.reserve_view import Planned, held_by, outside, plans, ruled, strangers, with_places
from engine.healing import LossReport, Verdict, losses_of
from engine.healing import check as proved
from engine.healing.search import STEPS
from engine.suggest import suggestion

UNDECIDED: Final = 2
"""Exit status where no loss fails, but of some it is not known."""
FAILS: Final = 3
"""Exit status where a loss fails."""


@click.command("check", cls=Command)
@asks_world
@click.option(
    "--plan",
    "planned",
    is_flag=True,
    help="Check what Berth would plan now, instead of what placeholders hold now.",
)
@click.option(
    "--free",
    is_flag=True,
    help="Count what is free beside, too, though it may be gone by the time of a loss.",
)
@click.option(
    "--witness",
    metavar="LOSS",
    multiple=True,
    help="Show where each pod would go, such as edge-3; may be repeated.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=STEPS,
    show_default=True,
    help="How many placements are tried for a loss before it is UNKNOWN.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What to print.",
)
def check(
    asked: Asked, planned: bool, free: bool, witness: tuple[str, ...], steps: int, format_: str
) -> None:
    """Prove, from the cluster as it is, that each single loss of a reserve's domain can be survived.

    For every node (zone, …) of the domain: do all covered pods that it takes fit at the same time into what is kept
    for them, each under all its rules? How the reserve was planned plays no part. HOLDS: yes, and --witness shows
    where each goes. FAILS: there is no such arrangement. UNKNOWN: none was found in --steps tries.

    Ends with 0 where all losses hold; with 3 where some fail; with 2 where none fails, but some are unknown; with 1
    where nothing was checked: called wrongly, something given cannot be used, or the cluster does not answer.

    \b
    berth reserve check --policies policies/edge.policy --delays delays.csv
    berth reserve check --cluster dump.json --policies policies/edge.policy --plan --witness edge-3
    """  # noqa: D301  (click's mark for text that is not to be wrapped)
    with _unanswered():
        world = asked.world()
        if not world.placer.reserves:
            fail("the policies keep no reserve, so there is nothing to prove; docs/reserve.md shows one")
        with work() as doing:
            reserves = plans(world, doing) if planned else ruled(world)
            basis = Basis(planned, free)
            proofs = [_proof(world, one, basis, steps, doing) for one in reserves]
        shown = _witnesses(proofs, witness)
    notes = [*strangers(world.cache, [one.rule for one in reserves]), *world.notes]
    if format_ == "json":
        written = as_json(world.cache, proofs, basis, shown, world.now, notes)
        click.echo(json.dumps(written, indent=2, ensure_ascii=False))
    else:
        console = console_for_people()
        show(console, world.cache, proofs, basis, shown)
        if notes:
            console.print()
        show_notes(console, notes)
    verdicts = {report.verdict for proof in proofs for report in proof.reports}
    if Verdict.FAILS in verdicts:
        raise SystemExit(FAILS)
    if Verdict.UNKNOWN in verdicts:
        raise SystemExit(UNDECIDED)


@contextmanager
def _unanswered() -> Iterator[None]:
    """Bad input is no outcome here: 3 says that a loss fails."""
    try:
        yield
    except SystemExit as end:
        raise SystemExit(MISUSED if end.code == BAD_INPUT else end.code) from None


def _proof(world: World, one: Planned, basis: Basis, steps: int, doing: Doing) -> Proof:
    cache, rule = world.cache, one.rule
    losses = losses_of(cache, rule.domain.name, rule.domain.label)
    held = held_by(one.placeholders)
    # A place among pods that is free is as good as one that is held: where there are plenty, few placeholders stand
    # for many pods.
    kept = one.plan.kept() if one.plan is not None else with_places(cache, held)
    hints = one.plan.places() if one.plan is not None else None
    found: list[LossReport] = []
    for report in proved(
        cache,
        world.placer,
        one.covers,
        kept,
        losses,
        world.now,
        placeholders=one.placeholders,
        free_too=basis.free,
        hints=hints,
        steps=steps,
    ):
        found.append(report)
        doing.doing(f"checking reserve {rule.name}: {len(found):,} of {len(losses):,} losses")
    return Proof(rule, tuple(found), outside(cache, one), sum(map(len, held.values())) > 0)


def _witnesses(proofs: list[Proof], wanted: tuple[str, ...]) -> frozenset[str]:
    known = {report.loss.value for proof in proofs for report in proof.reports}
    for one in wanted:
        if one not in known:
            domains = ", ".join(dict.fromkeys(proof.rule.domain.name for proof in proofs))
            fail(f"no loss {one}; --witness takes the name of a {domains}{suggestion(one, sorted(known))}")
    return frozenset(wanted)
