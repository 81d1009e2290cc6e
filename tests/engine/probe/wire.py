"""Probes on a network that exists in a priority queue: virtual time, no sockets."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from typing import Any

from engine.probe.keys import Keys
from engine.probe.packet import Member
from engine.probe.prober import Prober, Send, Terms

KEY = b"0123456789abcdef"
WALL = 1_800_000_000.0
PORT = 10271
FEW = Terms(neighbours=3, period=10)


class Wire:
    """Some probes and what is between them.

    Args:
        count: How many.
        delay: One way from node to node by number, seconds; None where nothing passes.
        skew: What a node's clock is ahead, seconds.
        tcp_only: Pairs between which UDP does not pass.
    """

    def __init__(
        self,
        count: int,
        delay: Callable[[int, int], float | None] = lambda a, b: 0.005,
        *,
        terms: Terms = FEW,
        skew: dict[int, float] | None = None,
        tcp_only: frozenset[tuple[int, int]] = frozenset(),
        keys: dict[int, bytes] | None = None,
        held: float = 0.0,
    ) -> None:
        self.now = 0.0
        self.delay = delay
        self.skew = skew or {}
        self.tcp_only = tcp_only
        self.held = held
        self.sent: list[tuple[float, int, int, str]] = []
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.probes = [
            Prober(
                Member(f"n{number}", f"10.0.0.{number}", PORT, WALL),
                Keys([(keys or {}).get(number, KEY)]),
                terms,
                random.Random(number),
            )
            for number in range(count)
        ]
        for number, probe in enumerate(self.probes):
            if number:
                probe.seeds([("10.0.0.0", PORT)])

    def at(self, moment: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (moment, next(self._order), what))

    def run(self, seconds: float, step: float = 0.1) -> None:
        end = self.now + seconds
        while self.now < end:
            for number in range(len(self.probes)):
                self.tick(number)
            upto = self.now + step
            while self._queue and self._queue[0][0] <= upto:
                moment, _, what = heapq.heappop(self._queue)
                self.now = moment
                what()
            self.now = upto

    def tick(self, number: int) -> None:
        for send in self.probes[number].tick(self.now, self.wall(number)):
            self.post(number, send)

    def wall(self, number: int) -> float:
        return WALL + self.now + self.skew.get(number, 0.0)

    def post(self, here: int, send: Send) -> None:
        there = int(send.host.rpartition(".")[2])
        self.sent.append((self.now, here, there, send.by))
        self.probes[here].sent(send.nonce, self.now)
        way, back = self.delay(here, there), self.delay(there, here)
        if there >= len(self.probes) or way is None or back is None:
            return
        if send.by == "udp" and ((here, there) in self.tcp_only or (there, here) in self.tcp_only):
            return
        self.at(self.now + way, lambda: self._arrive(send.data, here, there, back))

    def _arrive(self, data: bytes, here: int, there: int, back: float) -> None:
        answer = self.probes[there].received(
            data, self.now, self.wall(there), clock=lambda: self.now + self.held
        )
        if answer is not None:
            self.at(
                self.now + self.held + back,
                lambda: self._deliver(here, answer),
            )

    def _deliver(self, here: int, answer: bytes) -> None:
        self.probes[here].received(answer, self.now, self.wall(here))

    def peers(self, number: int) -> dict[str, Any]:
        return {peer.node: peer for peer in self.probes[number].state(self.now).peers}
