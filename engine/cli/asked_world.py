"""The options by which several subcommands are told which cluster, policies and delays they are asked about."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import click

from engine.cli.explain_subject import World, from_cluster, from_files, from_scenario
from engine.cli.inputs import fail, read_settings
from engine.cli.parameters import FILE, Moment

_OPTIONS: Final = (
    click.option(
        "--kubeconfig", type=FILE, metavar="FILE", help="Ask a live cluster; the default. It is only read."
    ),
    click.option("--context", metavar="NAME", help="The kubeconfig's context, if not its current one."),
    click.option(
        "--cluster",
        type=FILE,
        multiple=True,
        metavar="FILE",
        help="Ask a dump: what `berth dump` or kubectl get -o json|yaml writes; may be repeated.",
    ),
    click.option(
        "--scenario", type=FILE, metavar="FILE", help="Ask a simulated cluster. See docs/scenario.md."
    ),
    click.option(
        "--policies", type=FILE, multiple=True, metavar="FILE|FOLDER", help="Policies; may be repeated."
    ),
    click.option(
        "--delays",
        type=FILE,
        multiple=True,
        metavar="FILE",
        help="Delay files: a table, or matrix and names.",
    ),
    click.option(
        "--settings", type=FILE, metavar="FILE", help="Settings, YAML or JSON. See docs/settings.md."
    ),
    click.option(
        "--at",
        type=Moment(),
        metavar="TIME",
        help="When: 90s into a scenario, or a date and time for a dump.",
    ),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options say."""

    kubeconfig: Path | None = None
    context: str | None = None
    cluster: tuple[Path, ...] = ()
    scenario: Path | None = None
    policies: tuple[Path, ...] = ()
    delays: tuple[Path, ...] = ()
    settings: Path | None = None
    at: float | datetime | None = None

    @property
    def anything(self) -> bool:
        """Whether any of them was given."""
        return self != Asked()

    def world(self) -> World:
        """The cluster at its moment; or an exit that says why there is none."""
        chosen = read_settings(self.settings)
        live = self.kubeconfig is not None or self.context is not None
        if sum((bool(self.cluster), self.scenario is not None, live)) > 1:
            fail("--kubeconfig, --cluster and --scenario are three clusters; give one of them")
        if self.scenario is not None:
            if isinstance(self.at, datetime):
                fail("--at of a scenario is the time since its start, such as 90s")
            return from_scenario(self.scenario, self.policies, self.delays, chosen, self.at)
        if self.cluster:
            if isinstance(self.at, float):
                fail(
                    "--at of a dump is a date and time, such as 2026-01-31T12:00:00Z; "
                    "durations are for scenarios"
                )
            return from_files(self.cluster, self.policies, self.delays, chosen, self.at)
        if self.at is not None:
            fail("--at is for --scenario and --cluster; a live cluster is asked about now")
        return from_cluster(self.kubeconfig, self.context, self.policies, self.delays, chosen)


def asks_world(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options; the function gets them as one first argument, an `Asked`."""

    @functools.wraps(function)
    def called(
        kubeconfig: Path | None,
        context: str | None,
        cluster: tuple[Path, ...],
        scenario: Path | None,
        policies: tuple[Path, ...],
        delays: tuple[Path, ...],
        settings: Path | None,
        at: float | datetime | None,
        **others: object,
    ) -> None:
        function(Asked(kubeconfig, context, cluster, scenario, policies, delays, settings, at), **others)

    for option in reversed(_OPTIONS):
        called = option(called)
    return called
