"""``berth probe``: measure round trips from this node, and tell them."""

from __future__ import annotations

import ipaddress
import logging
import random
import signal
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from engine.cli.command import Command, fail
from engine.cli.logs import set_up
from engine.cli.parameters import FILE, Duration
from engine.probe.keys import KeyFileError, Keys
from engine.probe.packet import Member
from engine.probe.prober import Prober, Terms
from engine.probe.server import StateServer
from engine.probe.sockets import ListenError, Sockets

log = logging.getLogger(__name__)

_RESOLVE_SECONDS: Final = 30.0
_ALONE_SECONDS: Final = 2.0
"""As long as nobody is known, the name is asked so often."""


@dataclass(frozen=True, slots=True)
class _Log:
    level: str
    format: str = "auto"


class Endpoint(click.ParamType[tuple[str, int]]):
    """A host and a port: ``0.0.0.0:10270``, ``[::]:10270``, ``berth-probe:10271``."""

    name = "endpoint"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """The two."""
        if isinstance(value, tuple):
            return value
        host, colon, port = str(value).rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not port.isdecimal() or not 0 <= int(port) < 65_536:
            self.fail(f"{value!r} is no endpoint; write HOST:PORT, such as 0.0.0.0:10270", param, ctx)
        return host, int(port)


@click.command(cls=Command)
@click.option(
    "--key-file",
    type=FILE,
    required=True,
    metavar="FILE",
    help="The key that all probes share, one a line: the first signs, all are believed.",
)
@click.option(
    "--node",
    envvar="NODE_NAME",
    metavar="NAME",
    help="Our node's name. Else NODE_NAME says it, or the host's.",
)
@click.option(
    "--address",
    envvar="POD_IP",
    metavar="IP",
    help="Where others reach us. Else POD_IP says it, or what --echo names.",
)
@click.option(
    "--echo",
    type=Endpoint(),
    default="0.0.0.0:10271",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to measure and be measured, by UDP and TCP.",
)
@click.option(
    "--listen",
    type=Endpoint(),
    default="0.0.0.0:10270",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to tell over HTTP what is known: /state, /measure, /healthz.",
)
@click.option(
    "--peers",
    type=Endpoint(),
    multiple=True,
    metavar="HOST:PORT",
    help="Where other probes are: a headless Service, or one of them; may be repeated.",
)
@click.option(
    "--neighbours",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    metavar="N",
    help="To how many others to measure all the time.",
)
@click.option(
    "--period",
    type=Duration(),
    default="10s",
    show_default=True,
    metavar="TIME",
    help="From one measurement of a neighbour to the next.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, metavar="N", help="Of the choice of neighbours."
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="The least that is worth a line.",
)
def probe(
    key_file: Path,
    node: str | None,
    address: str | None,
    echo: tuple[str, int],
    listen: tuple[str, int],
    peers: tuple[tuple[str, int], ...],
    neighbours: int,
    period: float,
    seed: int,
    log_level: str,
) -> None:
    """Measure round trips from this node to a few others, until SIGTERM. One on each node; see docs/probe.md.

    Every probe measures to the same number of neighbours, so that the cost grows with the nodes and not with their
    pairs; a network coordinate estimates the rest. The scheduler asks all probes where delays.source is probe.

    Ends with 0 by a signal; with 1 where the command was called wrongly; with 3 where something that was given cannot
    be used.

    \b
    berth probe --key-file key --node edge-1 --peers berth-probe.kube-system:10271
    """  # noqa: D301  (click's mark for text that is not to be wrapped)
    set_up(_Log(log_level))
    if not 0.1 <= period <= 3600:
        fail(f"--period: {period:g} s is out of range; write 100ms to 1h")
    try:
        keys = Keys.read(key_file)
    except KeyFileError as error:
        fail(str(error))
    name = node or socket.gethostname()
    own = _own_address(address, echo[0])
    if not Member(name, own, 1, 0.0).sound:
        fail(f"--address: {own!r} is no IP address that others can reach; write such as 10.0.0.7")
    try:
        sockets = Sockets(*echo)
    except ListenError as error:
        fail(str(error))
    me = Member(name, own, sockets.port, time.time())
    sockets.start(Prober(me, keys, Terms(neighbours, period, seed=seed), random.SystemRandom()))
    try:
        server = StateServer(*listen, sockets, keys)
    except ListenError as error:
        sockets.stop()
        fail(str(error))
    log.info("probe of %s at %s, port %d; state at port %d", name, me.host, sockets.port, server.port)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        _find_others(sockets, peers, stop)
    finally:
        server.close()
        sockets.stop()
    log.info("stopped")


def _own_address(given: str | None, echo_host: str) -> str:
    if given:
        return given
    try:
        if not ipaddress.ip_address(echo_host).is_unspecified:
            return echo_host
    except ValueError:
        pass
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return echo_host


def _find_others(sockets: Sockets, peers: tuple[tuple[str, int], ...], stop: threading.Event) -> None:
    """Ask the resolver for the probes' addresses, now and then, until the end."""
    told = ""
    while not stop.is_set():
        found, wrong = [], []
        for host, port in peers:
            try:
                infos = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
                found += [(str(info[4][0]), port) for info in infos]
            except OSError as error:
                wrong.append(f"{host}: {(error.strerror or str(error)).lower()}")
        trouble = "; ".join(wrong)
        if trouble and trouble != told:
            log.warning("other probes are not found: %s", trouble)
        told = trouble
        sockets.seeds(sorted(set(found)))
        stop.wait(_RESOLVE_SECONDS if sockets.state().members else _ALONE_SECONDS)
