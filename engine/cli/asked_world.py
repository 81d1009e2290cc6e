"""The options by which several subcommands are told which cluster, policies and delays they are asked about."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from engine.cli.command import fail
from engine.cli.parameters import FILE, Moment

if TYPE_CHECKING:
    from engine.cli.explain_subject import World

_Option = Callable[[Callable[..., None]], Callable[..., None]]

_LIVE: Final[_Option] = click.option(
    "--kubeconfig", type=FILE, metavar="FILE", help="Ask a live cluster; the default. It is only read."
)
_LIVE_IF_NAMED: Final[_Option] = click.option(
    "--kubeconfig", type=FILE, metavar="FILE", help="Look at a live cluster, too. It is only read."
)
_POLICIES: Final[_Option] = click.option(
    "--policies", type=FILE, multiple=True, metavar="FILE|FOLDER", help="Policies; may be repeated."
)
_CLUSTERS: Final[tuple[_Option, ...]] = (
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
)
_BESIDES: Final[tuple[_Option, ...]] = (
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

    @property
    def live(self) -> bool:
        """Whether a live cluster is named."""
        return self.kubeconfig is not None or self.context is not None

    def world(self) -> World:
        """The cluster at its moment; or an exit that says why there is none."""
        # Whoever only looks at policies has these options, too, and shall not wait for the engine.
        from engine.cli.explain_subject import from_cluster, from_files, from_scenario
        from engine.cli.settings_file import read_settings

        chosen = read_settings(self.settings)
        if sum((bool(self.cluster), self.scenario is not None, self.live)) > 1:
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
    return _with(function, (_LIVE, *_CLUSTERS, _POLICIES, *_BESIDES))


def may_ask_world(function: Callable[..., None]) -> Callable[..., None]:
    """The same for a command that has policies by itself and looks at a cluster only where one is named."""
    return _with(function, (_LIVE_IF_NAMED, *_CLUSTERS, *_BESIDES))


def _with(function: Callable[..., None], options: Sequence[_Option]) -> Callable[..., None]:
    named = [one.name for one in fields(Asked)]

    @functools.wraps(function)
    def called(**given: Any) -> None:
        asked = {name: given.pop(name) for name in named if name in given}
        function(Asked(**asked), **given)

    command: Callable[..., None] = called
    for option in reversed(options):
        command = option(command)
    return command
