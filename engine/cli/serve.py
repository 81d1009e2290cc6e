"""The scheduler of ``berth run``, from its files to its end."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path
from typing import Final

from engine.cli.delay_sources import delay_source
from engine.cli.ending import SIGNALS
from engine.cli.inputs import fail, plan_of
from engine.cli.notices import Notices, own_pod
from engine.cli.opening import Opening
from engine.cli.running import Running
from engine.clock import Clock, SystemClock
from engine.cluster.api import ApiCluster
from engine.cluster.leader import Elector, LeaseTerms, fresh_identity
from engine.delay import DelayFileError, NodeAddresses
from engine.scheduler.loop import Loop
from engine.scheduler.policies import PolicySource
from engine.serving import HealthServer, Measurements, ServerError, make_registry
from engine.settings import LeaderSettings, ServerSettings, Settings

log = logging.getLogger(__name__)

LOST_LEASE: Final = 5
"""Exit status where another may lead, so that nothing may go on here."""
FAULT: Final = 70
"""Exit status after a fault of our own (sysexits.h, EX_SOFTWARE)."""


def serve(policies: tuple[Path, ...], delays: tuple[Path, ...], chosen: Settings, opening: Opening) -> None:
    """Read what is given, and schedule until SIGTERM; ends the process with the status that `run` documents.

    Args:
        policies: Files and folders of policies.
        delays: Delay files.
        chosen: The settings.
        opening: The cluster.
    """
    threading.excepthook = _thread_failed
    clock = SystemClock()
    measured = Measurements(clock)
    notices = Notices(measured, clock, own_pod())
    source = PolicySource(policies, notices.policies)
    plan = plan_of(source.open(clock.monotonic()))
    measured.plan_in_force(len(plan.policy.rules))
    addresses = NodeAddresses()
    delays_from = delay_source(chosen, delays, addresses, clock, notices.delays)
    try:
        delay_map = delays_from.open(clock.monotonic()) if delays_from is not None else None
    except DelayFileError as error:
        fail(str(error))
    if delay_map is not None:
        measured.delays_in_force(len(delay_map.names))
    cluster = opening.cluster()
    log.info("%d rules in force", len(plan.policy.rules), extra={"rules": len(plan.policy.rules)})
    elector = _elector(cluster, chosen.leader, clock)
    server = None
    try:
        loop = Loop(
            cluster, chosen, plan, delay_map, source, delays_from, clock, elector, measured, addresses
        )
        notices.recorder = loop.recorder
        running = Running(loop, source, delays_from, elector, clock, chosen.server.stuck)
        server = _server(chosen.server, running, measured)
        for number in SIGNALS:
            signal.signal(number, lambda *_: loop.stop())
        loop.run()
    except Exception:  # told in the log's own form, and with a status of its own
        log.critical("ended by a fault of its own; please report it", exc_info=True)
        raise SystemExit(FAULT) from None
    finally:
        if server is not None:
            server.close()
    if loop.lost:
        log.error("ended, since another may lead: its pods are safe with the next leader")
        raise SystemExit(LOST_LEASE)


def _elector(cluster: ApiCluster, settings: LeaderSettings, clock: Clock) -> Elector | None:
    if not settings.elect:
        return None
    terms = LeaseTerms(
        settings.namespace,
        settings.name,
        fresh_identity(settings.identity),
        settings.lease_duration,
        settings.renew_deadline,
        settings.retry_period,
    )
    return Elector(cluster, terms, clock)


def _server(settings: ServerSettings, running: Running, measured: Measurements) -> HealthServer | None:
    """The server of metrics and health; an address that nobody asked for may be taken, by a second Berth."""
    if settings.address == "none":
        return None
    live, ready = running.live(), running.ready()
    registry = make_registry(measured, running, running.clock)
    try:
        server = HealthServer(
            settings.address, registry, {"/healthz": live, "/livez": live, "/readyz": ready}
        )
    except ServerError as error:
        if settings.address != ServerSettings().address:
            fail(str(error))
        log.warning("no metrics and no health: %s", error)
        return None
    log.info("metrics and health at http://%s", server.address, extra={"address": server.address})
    return server


def _thread_failed(args: threading.ExceptHookArgs) -> None:
    """A thread that ends by an exception is told of in the log's own form."""
    if args.exc_value is not None:
        name = args.thread.name if args.thread is not None else "?"
        told = (args.exc_type, args.exc_value, args.exc_traceback)
        log.critical("thread %s ended by a fault of its own; please report it", name, exc_info=told)
