"""``berth simulate``: where pods would go, and why not elsewhere, with no cluster at hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import click

from engine.cli.inputs import fail, plan_of, read_settings
from engine.cli.placements import FORMAT_VERSION, Placements, Row, as_json
from engine.cli.report import console_for_people, describe_world, show_rows, show_timeline
from engine.cluster.simulated import Options, Scenario, ScenarioError, SimulatedCluster, load_scenario
from engine.cluster.simulated.durations import DurationError, seconds
from engine.cluster.simulated.happenings import Happening
from engine.compile import Plan, compile_policy
from engine.delay import DelayFileError, DelayMap
from engine.scheduler.simulation import Simulation
from engine.settings import Settings
from grammar import check_paths
from grammar.policy import CheckedPolicy

_FILE = click.Path(path_type=Path)
Made = TypeVar("Made")
_LONGEST: Final = 3600.0
"""Seconds after which a simulation without an end of its own is ended."""


class _Duration(click.ParamType[float]):
    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return seconds(str(value))
        except DurationError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.argument("manifests", nargs=-1, type=_FILE, metavar="[MANIFEST]...")
@click.option(
    "--nodes", type=_FILE, multiple=True, metavar="FILE", help="Node manifests; a folder does, too."
)
@click.option(
    "--delays", type=_FILE, multiple=True, metavar="FILE", help="Delay files: a table, or matrix and names."
)
@click.option(
    "--policies", type=_FILE, multiple=True, metavar="FILE|FOLDER", help="Policies; may be repeated."
)
@click.option(
    "--scenario", type=_FILE, metavar="FILE", help="All of these in one file, with events at their times."
)
@click.option("--settings", type=_FILE, metavar="FILE", help="Settings, YAML or JSON. See docs/settings.md.")
@click.option(
    "--until", type=_Duration(), metavar="TIME", help="How long, such as 90s. Default: until all is quiet."
)
@click.option("--seed", type=int, metavar="N", help="Decides between nodes that are equally good.")
@click.option("--timeline", is_flag=True, help="Also show what happened when.")
@click.option("--fail-on", type=click.Choice(["pending"]), help="Exit with 2 where a pod found no node.")
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True)
def simulate(
    manifests: tuple[Path, ...],
    nodes: tuple[Path, ...],
    delays: tuple[Path, ...],
    policies: tuple[Path, ...],
    scenario: Path | None,
    settings: Path | None,
    until: float | None,
    seed: int | None,
    timeline: bool,
    fail_on: str | None,
    format_: str,
) -> None:
    """Place pods on a simulated cluster, by the engine that schedules real ones.

    Takes ordinary manifests: pods, and the workloads that make pods. Shows for each pod its node, its delay against
    its limit, the rules that bind it, and why the other nodes were refused. Time is virtual.

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
        world = replace(world, policies=policies or world.policies, until=until or world.until)
    else:
        if not nodes and not manifests:
            fail("nothing to simulate; give --nodes FILE and manifests, or --scenario FILE (see --help)")
        options = _options(chosen)
        world = _checked(
            lambda: Scenario.from_parts(nodes, manifests, delays, policies, until=until, options=options)
        )
    outcome = _simulate(world, chosen, delays)
    rows = outcome.rows
    if format_ == "json":
        click.echo(json.dumps(outcome.as_json(), indent=2, ensure_ascii=False))
    else:
        console = console_for_people()
        describe_world(console, outcome.cluster, outcome.plan, world, outcome.seconds)
        if timeline:
            show_timeline(console, outcome.cluster, world.start, outcome.happened)
        show_rows(console, rows)
        for note in (*world.notes, *(str(note) for note in outcome.cluster.notes)):
            console.print(f"note: {note}", style="dim", markup=False, highlight=False)
    if fail_on == "pending" and any(row.node is None for row in rows):
        raise SystemExit(2)


class _Outcome:
    """A simulation that has ended."""

    def __init__(self, cluster: SimulatedCluster, plan: Plan, start: float, placements: Placements) -> None:
        self.cluster = cluster
        self.plan = plan
        self.seconds = cluster.clock.now() - start
        self.happened: list[Happening] = []
        self._placements = placements

    @property
    def rows(self) -> list[Row]:
        """The pods that are there at the end, and what was decided about them last."""
        return self._placements.of(pod.key for pod in self.cluster.pods())

    def as_json(self) -> dict[str, object]:
        """What ``--format json`` writes; docs/simulate.schema.json describes it."""
        return {
            "format_version": FORMAT_VERSION,
            "seconds": round(self.seconds, 3),
            "nodes": len(self.cluster.nodes()),
            "rules": [f"{rule.name} ({rule.span})" for rule in self.plan.policy.rules],
            "pods": [as_json(row) for row in self.rows],
            "notes": [str(note) for note in self.cluster.notes],
        }


def _simulate(world: Scenario, settings: Settings, delays: Sequence[Path]) -> _Outcome:
    plan = plan_of(check_paths(world.policies)) if world.policies else compile_policy(CheckedPolicy())
    if delays:
        world = replace(world, delays=replace(world.delays, files=tuple(delays), pairs=()))
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
    placements = Placements(world.start)
    simulation = Simulation(cluster, plan, delay_map, settings, placements)
    placements.placer = simulation.placer
    end = world.start + (world.until if world.until is not None else _LONGEST)
    simulation.settle()
    while world.until is not None or not simulation.quiet():
        due = simulation.next_time()
        if due is None or due > end:
            break
        cluster.run_until(max(due, cluster.clock.now()))
        while swaps:
            simulation.swap_delays(swaps.pop(0))
        simulation.settle()
    if world.until is not None:
        simulation.run_until(end)
    outcome = _Outcome(cluster, plan, world.start, placements)
    outcome.happened = happened
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
