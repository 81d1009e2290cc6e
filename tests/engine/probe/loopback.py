"""Probes on addresses of the loopback interface."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from engine.probe.keys import Keys
from engine.probe.packet import Member
from engine.probe.prober import Prober, Send, Terms
from engine.probe.server import StateServer
from engine.probe.sockets import Sockets

KEYS = Keys([b"0123456789abcdef"])
QUICK = Terms(neighbours=3, period=0.5, timeout=0.5)
ASKED = Terms(neighbours=0, others=0, period=3600)
"""Measures on request only."""
SLOW = Terms(neighbours=3, period=3600, timeout=0.1)
"""Measures at the start and then on request only."""


class NoUdp(Sockets):
    """UDP leaves and never arrives."""

    def _post(self, send: Send) -> None:
        with self._changed:
            self.prober.sent(send.nonce, time.monotonic())


class Probe:
    """One probe with its server."""

    def __init__(self, node: str, host: str, terms: Terms, keys: Keys, sockets: type[Sockets]) -> None:
        self.node = node
        self.host = host
        self.sockets = sockets(host, 0)
        self.member = Member(node, host, self.sockets.port, time.time())
        self.prober = Prober(self.member, keys, terms, random.Random(node))
        self.sockets.start(self.prober)
        self.server = StateServer(host, 0, self.sockets, keys)

    def knows(self, other: Probe) -> None:
        with self.sockets._changed:
            self.prober.members.heard(other.member, time.monotonic())

    def close(self) -> None:
        self.server.close()
        self.sockets.stop()


@contextmanager
def probes(
    count: int,
    *,
    terms: Terms = SLOW,
    keys: Keys = KEYS,
    sockets: type[Sockets] = Sockets,
    acquainted: bool = True,
) -> Iterator[list[Probe]]:
    """So many, at 127.0.0.2 and on."""
    with ExitStack() as stack:
        made = []
        for number in range(count):
            probe = Probe(f"n{number}", f"127.0.0.{number + 2}", terms, keys, sockets)
            stack.callback(probe.close)
            made.append(probe)
        if acquainted:
            for one in made:
                for other in made:
                    one.knows(other)
        yield made
