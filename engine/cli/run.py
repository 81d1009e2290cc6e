"""``berth run``: schedule a real cluster."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

import click

from engine.cli.inputs import fail, plan_of, read_settings, shown
from engine.cli.logs import set_up
from engine.clock import SystemClock
from engine.cluster.api import connect
from engine.cluster.errors import ClusterError, ConfigurationError
from engine.delay import DelayFileError, DelayFileSource, DelayTrouble
from engine.scheduler.loop import Loop
from engine.scheduler.policies import PolicySource
from grammar import Result

log = logging.getLogger(__name__)

_FILE = click.Path(path_type=Path)


@click.command()
@click.option(
    "--policies",
    type=_FILE,
    multiple=True,
    required=True,
    metavar="FILE|FOLDER",
    help="Policies; may be repeated.",
)
@click.option(
    "--delays", type=_FILE, multiple=True, metavar="FILE", help="Delay files: a table, or matrix and names."
)
@click.option("--settings", type=_FILE, metavar="FILE", help="Settings, YAML or JSON. See docs/settings.md.")
@click.option(
    "--kubeconfig",
    type=_FILE,
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

    \b
    berth run --policies policies/edge.policy --delays delays.csv --kubeconfig ~/.kube/config
    """  # noqa: D301  (click's mark for text that is not to be wrapped)
    chosen = read_settings(settings)
    set_up(chosen.log)
    clock = SystemClock()
    source = PolicySource(policies, _policy_result)
    plan = plan_of(source.open(clock.monotonic()))
    delay_files = DelayFileSource(
        delays, period=chosen.delays.period, glance=chosen.delays.glance, on_trouble=_delay_trouble
    )
    try:
        delay_map = delay_files.open(clock.monotonic()) if delays else None
    except DelayFileError as error:
        fail(str(error))
    try:
        cluster = connect(kubeconfig, context)
        version = cluster.server_version()
    except ConfigurationError as error:
        fail(str(error))
    except ClusterError as error:
        fail(f"{error}; check that the API server is running and reachable from here", 1)
    log.info("API server %s; %d rules in force", version, len(plan.policy.rules))
    loop = Loop(
        cluster,
        chosen,
        plan,
        delay_map,
        source,
        delay_files if delays else None,
        clock,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.stop())
    loop.run()


def _policy_result(result: Result) -> None:
    if result.policy is None:
        log.error("the changed policies have errors; the last good ones stay in force\n%s", shown(result))
    else:
        log.info("policies read: %d rules", len(result.policy.rules))


def _delay_trouble(trouble: DelayTrouble) -> None:
    log.error("the changed delay files are bad; the last good delays stay in force\n%s", trouble.message)
