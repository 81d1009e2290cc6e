"""``berth simulate``: where pods would go, and why not elsewhere, with no cluster at hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import click

from engine.cli.aftermath import Chronicle
from engine.cli.aftermath_report import as_json as aftermath_json
from engine.cli.aftermath_report import show as show_aftermath
from engine.cli.clock_times import clock_time
from engine.cli.command import Command
from engine.cli.inputs import fail, plan_of
from engine.cli.logs import as_notes
from engine.cli.parameters import FILE, Duration
from engine.cli.placements import FORMAT_VERSION, Placements, Row, as_json
from engine.cli.progress import progress
from engine.cli.report import console_for_people, show_notes, show_rows, show_summary, show_timeline
from engine.cli.settings_file import read_settings
from engine.cli.timeline import Entry, timeline
from engine.cluster.simulated import Delays, Options, Scenario, ScenarioError, SimulatedCluster, load_scenario
from engine.cluster.simulated.happenings import Happening
from engine.compile import Plan, compile_policy
from engine.delay import DelayFileError, DelayMap
from engine.scheduler.simulation import Simulation
from engine.settings import Settings
from grammar import check_paths
from grammar.policy import CheckedPolicy

Made = TypeVar("Made")
PENDING: Final = 2
"""Exit status of ``--fail-on pending`` where a pod has no node."""
_LONGEST: Final = 3600.0
"""Seconds after which a simulation without an end of its own is ended."""


@click.command(cls=Command)
@click.argument("manifests", nargs=-1, type=FILE, metavar="[MANIFEST]...")
@click.option(
    "--nodes",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="Node manifests, a file or a folder; may be repeated.",
)
@click.option(
    "--delays", type=FILE, multiple=True, metavar="FILE", help="Delay files: a table, or matrix and names."
)
@click.option(
    "--policies", type=FILE, multiple=True, metavar="FILE|FOLDER", help="Policies; may be repeated."
)
@click.option(
    "--scenario",
    type=FILE,
    metavar="FILE",
    help="All of these in one file, with what happens when. See docs/scenario.md.",
)
@click.option("--settings", type=FILE, metavar="FILE", help="Settings, YAML or JSON. See docs/settings.md.")
@click.option(
    "--until",
    type=Duration(),
    metavar="TIME",
    help="How long, such as 90s. Else until all is quiet, or for 1h.",
)
@click.option(
    "--seed",
    type=click.IntRange(-(2**63), 2**63 - 1),
    metavar="N",
    help="Decides between nodes that are equally good.",
)
@click.option("--timeline", "timeline_", is_flag=True, help="Also show what happened when.")
@click.option(
    "--since",
    type=Duration(),
    default="0s",
    metavar="TIME",
    help="Show only what happened from then on, such as 1min: moves, and pods that were placed or wait.",
)
@click.option(
    "--fail-on", type=click.Choice(["pending"]), help="End with status 2 where a pod found no node."
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What to print.",
)
def simulate(
    manifests: tuple[Path, ...],
    nodes: tuple[Path, ...],
    delays: tuple[Path, ...],
    policies: tuple[Path, ...],
    scenario: Path | None,
    settings: Path | None,
    until: float | None,
    seed: int | None,
    timeline_: bool,
    since: float,
    fail_on: str | None,
    format_: str,
) -> None:
    """Place pods on a simulated cluster, by the engine that schedules real ones.

    Takes ordinary manifests: pods, and the workloads that make pods. Shows for each pod its node, its delay against
    its limit, the rules that bind it, and why the other nodes were refused; which pods were moved and why, what
    reserves keep, and which rules are broken at the end. Time is virtual: minutes pass at once.

    Ends with 0; with 2 where --fail-on pending was asked for and a pod found no node; with 3 where something that was
    given cannot be used; with 1 where the command itself was called wrongly.

    \b
    berth simulate --nodes nodes.yaml --delays delays.csv --policies edge.policy app.yaml
    berth simulate --scenario demo/edge.scenario.yaml --timeline
    """  # noqa: D301  (click's mark for text that is not to be wrapped)
    chosen = read_settings(settings)
    if seed is not None:
        chosen = replace(chosen, seed=seed)
    if scenario is not None:
        if nodes or manifests:
            fail("--scenario has its own nodes and manifests; give either it or them")
        world = _checked(lambda: load_scenario(scenario))
        world = replace(
            world,
            policies=policies or world.policies,
            delays=Delays(delays) if delays else world.delays,
            until=world.until if until is None else until,
        )
    else:
        if not nodes and not manifests:
            fail("nothing to simulate; give --nodes FILE and manifests, or --scenario FILE (see --help)")
        options = _options(chosen)
        world = _checked(
            lambda: Scenario.from_parts(nodes, manifests, delays, policies, until=until, options=options)
        )
    outcome = _simulate(world, chosen)
    if format_ == "json":
        click.echo(json.dumps(outcome.as_json(timeline_, since), indent=2, ensure_ascii=False))
    else:
        console = console_for_people()
        show_summary(console, outcome.summary(since))
        if timeline_:
            show_timeline(console, outcome.timeline(since))
        rows = outcome.rows_since(since)
        show_rows(console, rows, len(outcome.rows) - len(rows))
        show_aftermath(console, outcome.after.since(since), outcome.eventful(since))
        show_notes(console, outcome.notes)
    if fail_on == "pending" and any(row.node is None for row in outcome.rows):
        raise SystemExit(PENDING)


class _Outcome:
    """A simulation that has ended."""

    def __init__(
        self,
        world: Scenario,
        cluster: SimulatedCluster,
        plan: Plan,
        placements: Placements,
        chronicle: Chronicle,
        happened: list[Happening],
    ) -> None:
        self._world = world
        self._cluster = cluster
        self._plan = plan
        self._kept = chronicle.entries()
        self._happened = happened
        self.rows = placements.of(cluster.pods())
        self.after = chronicle.aftermath(cluster.pods(), cluster.clock.now())
        self.seconds = cluster.clock.now() - world.start
        self.notes = [*world.notes, *(str(note) for note in cluster.notes)]

    def rows_since(self, since: float) -> list[Row]:
        """The pods about which something was decided since then, and those that wait or are on their way out."""
        return [
            row
            for row in self.rows
            if since <= 0 or row.leaving or row.node is None or (row.time is not None and row.time >= since)
        ]

    def eventful(self, since: float) -> bool:
        """Whether the scenario made anything happen since then."""
        return any(happening.at >= since for happening in self._happened)

    def timeline(self, since: float) -> list[Entry]:
        """What happened when, since then."""
        entries = timeline(self._world.start, self._happened, self._cluster.events, self._kept)
        return [entry for entry in entries if entry.time >= since]

    def summary(self, since: float) -> str:
        """One line on what was simulated."""
        files = ", ".join(path.name for path in self._world.policies)
        rules = len(self._plan.policy.rules)
        policies = f"policies {files} ({_counted(rules, 'rule')})" if files else "no policies"
        delays = f"delays {self._world.delays}" if self._world.delays else "no delays"
        nodes = _counted(len(self._cluster.nodes()), "node")
        shown = f", shown since {clock_time(since)}" if since > 0 else ""
        return f"{nodes}, {policies}, {delays}; {clock_time(self.seconds)} of virtual time{shown}"

    def as_json(self, with_timeline: bool, since: float) -> dict[str, object]:
        """What ``--format json`` writes; ``simulate.schema.json`` describes it."""
        written: dict[str, object] = {
            "format_version": FORMAT_VERSION,
            "seconds": round(self.seconds, 3),
            "nodes": len(self._cluster.nodes()),
            "rules": [f"{rule.name} ({rule.span})" for rule in self._plan.policy.rules],
            "pods": [as_json(row) for row in self.rows_since(since)],
            **aftermath_json(self.after.since(since)),
            "notes": self.notes,
        }
        if with_timeline:
            written["timeline"] = [entry.as_json() for entry in self.timeline(since)]
        return written


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _simulate(world: Scenario, settings: Settings) -> _Outcome:
    plan = plan_of(check_paths(world.policies)) if world.policies else compile_policy(CheckedPolicy())
    happened: list[Happening] = []
    swaps: list[DelayMap] = []
    cluster = _checked(
        lambda: world.build(
            schedulers=settings.schedulers,
            on_delays=lambda changed: swaps.append(_delays(changed.load)),
            on_happening=happened.append,
        )
    )
    delay_map = _delays(world.delays.load) if world.delays else None
    warned: list[str] = []
    with progress() as shown, as_notes(warned):
        placements = Placements(world.start, settings.schedulers, shown)
        simulation = Simulation(cluster, plan, delay_map, settings, placements)
        placements.placer = simulation.placer
        chronicle = Chronicle(simulation, placements, world.start)
        end = world.start + (_LONGEST if world.until is None else world.until)
        simulation.settle()
        chronicle.look(cluster.clock.now())
        while world.until is not None or not simulation.quiet():
            due = simulation.next_time()
            if due is None or due > end:
                break
            cluster.run_until(max(due, cluster.clock.now()))
            while swaps:
                simulation.swap_delays(swaps.pop(0))
            simulation.settle()
            chronicle.look(cluster.clock.now())
        if world.until is not None:
            simulation.run_until(end)
            chronicle.look(cluster.clock.now())
    outcome = _Outcome(world, cluster, plan, placements, chronicle, happened)
    outcome.notes += warned
    if world.until is None and not simulation.quiet():
        outcome.notes.append(
            f"ended after {clock_time(_LONGEST)} though more was to come; --until TIME sets another end"
        )
    return outcome


def _checked(build: Callable[[], Made]) -> Made:
    """What ``build`` gives, or an exit with all problems of the scenario."""
    try:
        return build()
    except ScenarioError as error:
        fail(str(error))


def _delays(load: Callable[[], DelayMap]) -> DelayMap:
    """The delays, or an exit with all that is wrong with the files."""
    try:
        return load()
    except DelayFileError as error:
        fail(str(error))


def _options(settings: Settings) -> Options:
    """The simulated cluster as the settings have it."""
    simulation = settings.simulation
    return Options(
        node_grace=simulation.node_grace,
        start_up=simulation.start_up,
        stop=simulation.stop,
        job_duration=simulation.job_duration,
    )
