"""What one probe does, without sockets, threads and clocks: packets and moments go in, packets come out.

A measurement is a ping over UDP, tried again where nothing comes back, then over TCP: many networks let only that pass.
A round trip is what lies between a ping's leaving and its pong's arrival, less what the other held it.

Reachability is kept apart from delay: a peer that answers no more keeps its last round trip, which grows old, and the
number of measurements that failed since.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from engine.probe.keys import Keys
from engine.probe.limits import MAX_GOSSIP, MAX_MS
from engine.probe.members import Members
from engine.probe.packet import NONCE_BYTES, Forged, Member, PacketError, Ping, Pong, seal, unseal
from engine.probe.state import PeerState, ProbeState, place_of
from engine.probe.vivaldi import Vivaldi

UDP: Final = "udp"
TCP: Final = "tcp"
_TRIES: Final = 3
"""Pings over UDP before TCP is tried."""
_UDP_AGAIN: Final = 10
"""Every so many measurements that came back by TCP, UDP is tried first again."""
_SAMPLES: Final = 3
_NONCES: Final = 65_536
_NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Terms:
    """How a probe measures.

    Attributes:
        neighbours: To how many others it measures all the time.
        others: To how many more once in each period, others each time: they tie the coordinates of the whole together.
        period: Seconds from one measurement of a neighbour to the next.
        timeout: Seconds after which a ping is lost.
        skew: Seconds by which two nodes' clocks may differ.
        keep: Seconds for which a round trip to who is no neighbour is told.
        seed: Of the choice of neighbours.
    """

    neighbours: int = 10
    period: float = 10.0
    timeout: float = 1.0
    skew: float = 60.0
    keep: float = 300.0
    seed: int = 0
    others: int = 2


@dataclass(frozen=True, slots=True)
class Send:
    """A packet that is to go out. Whoever sends it calls `Prober.sent` with the nonce right before."""

    host: str
    port: int
    data: bytes
    by: str
    nonce: bytes


@dataclass(slots=True)
class _Pending:
    node: str | None
    host: str
    port: int
    by: str
    attempt: int
    deadline: float
    left: float | None = None


@dataclass(slots=True)
class _Peer:
    due: float
    samples: deque[float] = field(default_factory=lambda: deque(maxlen=_SAMPLES))
    count: int = 0
    measured: float = float("-inf")
    by: str = UDP
    lost: int = 0
    waiting: bool = False


class Prober:
    """One probe.

    Args:
        me: Who and where we are.
        keys: What packets are signed with.
        terms: How to measure.
        random_: Draws nonces, jitter and gossip; `random.SystemRandom` in earnest.

    Attributes:
        counts: What came in, by what became of it.
    """

    def __init__(self, me: Member, keys: Keys, terms: Terms, random_: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self.members = Members(me, terms.neighbours, terms.seed, random_)
        self.vivaldi = Vivaldi(random_)
        self._me = me
        self._keys = keys
        self._terms = terms
        self._random = random_
        self._pending: dict[bytes, _Pending] = {}
        self._peers: dict[str, _Peer] = {}
        self._nonces: dict[bytes, float] = {}
        self._seeds: list[tuple[str, int]] = []
        self._others_due = float("-inf")
        self._seed_due = float("-inf")

    # What is to be sent

    def seeds(self, addresses: Iterable[tuple[str, int]]) -> None:
        """Where other probes may be: whoever answers there becomes a member."""
        mine = (self._me.host, self._me.port)
        self._seeds = [address for address in addresses if address != mine]

    def tick(self, now: float, wall: float) -> list[Send]:
        """What is due.

        Args:
            now: Seconds of a clock that never goes back.
            wall: Seconds since the epoch.
        """
        sends = self._late(now, wall)
        for node in self.members.forget_silent(now):
            self._peers.pop(node, None)
            self.vivaldi.forget(node)
        self._drop_old(now)
        sends += self._join(now, wall)
        neighbours = self.members.neighbours()
        for node in neighbours:
            peer = self._peers.setdefault(node, _Peer(_NEVER))
            if peer.due == _NEVER and not peer.waiting:
                # Spread, so that not all are asked at once.
                peer.due = now + self._random.uniform(0, min(1.0, self._terms.period))
        if now >= self._others_due:
            self._others_due = now + self._again()
            for _ in range(self._terms.others):
                other = self.members.another()
                if other is not None:
                    self._peers.setdefault(other, _Peer(now)).due = now
        chosen = set(neighbours)
        for node, peer in self._peers.items():
            if now >= peer.due and not peer.waiting:
                peer.due = now + self._again() if node in chosen else _NEVER
                sends += self._ask(node, now, wall)
        return sends

    def measure(self, node: str, now: float) -> bool:
        """Measure to a member as soon as can be; False where it is none."""
        if self.members.get(node) is None:
            return False
        self._peers.setdefault(node, _Peer(now)).due = now
        return True

    def sent(self, nonce: bytes, now: float) -> None:
        """A packet leaves now."""
        pending = self._pending.get(nonce)
        if pending is not None:
            pending.left, pending.deadline = now, now + self._terms.timeout

    def failed(self, nonce: bytes, now: float) -> None:
        """A packet could not be sent, or its connection broke: no need to wait for an answer."""
        pending = self._pending.get(nonce)
        if pending is not None:
            pending.deadline = now

    # What comes in

    def received(
        self, data: bytes, now: float, wall: float, *, clock: Callable[[], float] | None = None
    ) -> bytes | None:
        """Take a packet in.

        Args:
            data: Its bytes, from anybody.
            now: When it came.
            wall: The same, seconds since the epoch.
            clock: That of ``now``, for how long an answer was held; not at all, if None.

        Returns:
            What is to be sent back to where it came from; None for nothing.
        """
        try:
            packet = unseal(data, self._keys)
        except Forged:
            self.counts["forged"] += 1
            return None
        except PacketError:
            self.counts["malformed"] += 1
            return None
        if abs(packet.moment - wall) > self._terms.skew:
            self.counts["skewed"] += 1
            return None
        if isinstance(packet, Ping):
            return self._answer(packet, now, wall, clock)
        self._take(packet, now)
        return None

    def _answer(self, ping: Ping, now: float, wall: float, clock: Callable[[], float] | None) -> bytes | None:
        if ping.nonce in self._nonces or len(self._nonces) >= _NONCES:
            self.counts["replayed"] += 1
            return None
        if ping.asker.node == self._me.node:
            self.counts["own"] += 1
            return None
        self._nonces[ping.nonce] = now + 2 * self._terms.skew
        self.counts["pings"] += 1
        self.members.heard(_direct(ping.asker), now)
        place = self.vivaldi.coordinate
        others = self.members.gossip(MAX_GOSSIP, now, but=ping.asker.node)
        held = max(0.0, (clock() - now) * 1e6) if clock is not None else 0.0
        pong = Pong(
            ping.nonce,
            wall,
            self._me,
            held,
            place.vector,
            place.height,
            place.adjustment,
            place.error,
            others,
        )
        return seal(pong, self._keys)

    def _take(self, pong: Pong, now: float) -> None:
        pending = self._pending.get(pong.nonce)
        if pending is None or pending.left is None:
            self.counts["unexpected"] += 1
            return
        node = pong.answerer.node
        round_trip = (now - pending.left) * 1000 - pong.held / 1000
        if node == self._me.node or (pending.node is not None and node != pending.node):
            # Another probe has the address that we knew: that peer is not there.
            self.counts["unexpected"] += 1
            del self._pending[pong.nonce]
            self._lost(pending)
            self.members.heard(_direct(pong.answerer), now)
            return
        if not 0 <= round_trip <= MAX_MS or now > pending.deadline:
            self.counts["late"] += 1
            return
        del self._pending[pong.nonce]
        self.counts["pongs"] += 1
        self.members.heard(_direct(pong.answerer), now)
        for member in pong.others:
            self.members.heard(member, now)
        peer = self._peers.get(node)
        if peer is None:
            if self.members.get(node) is None:
                return
            peer = self._peers[node] = _Peer(_NEVER)
        peer.samples.append(round_trip)
        peer.count += 1
        peer.measured, peer.by, peer.lost, peer.waiting = now, pending.by, 0, False
        self.vivaldi.measured(node, pong.coordinate, round_trip)

    # What is known

    def state(self, now: float) -> ProbeState:
        """All that this probe can tell."""
        peers = [
            PeerState(
                node,
                sorted(peer.samples)[(len(peer.samples) - 1) // 2] if peer.samples else None,
                now - peer.measured if peer.samples else None,
                peer.by,
                peer.lost,
                peer.count,
            )
            for node, peer in sorted(self._peers.items())
            if peer.samples or peer.lost
        ]
        return ProbeState(
            self._me.node,
            self._me.started,
            place_of(self.vivaldi.coordinate, self.vivaldi.measurements),
            peers,
            len(self.members),
            dict(sorted(self.counts.items())),
        )

    def samples(self, node: str) -> tuple[int, int, tuple[float, ...]]:
        """How many measurements of a peer have come back, how many failed since, and the last of them, ms."""
        peer = self._peers.get(node)
        return (0, 0, ()) if peer is None else (peer.count, peer.lost, tuple(peer.samples))

    # Inside

    def _again(self) -> float:
        return self._terms.period * self._random.uniform(0.9, 1.1)

    def _drop_old(self, now: float) -> None:
        """Forget nonces that no packet of today can have, and what was measured long ago to who is no neighbour."""
        while self._nonces and self._nonces[next(iter(self._nonces))] < now:
            del self._nonces[next(iter(self._nonces))]
        chosen = set(self.members.neighbours())
        old = [
            node
            for node, peer in self._peers.items()
            if node not in chosen
            and not peer.waiting
            and now < peer.due
            and now - peer.measured > self._terms.keep
        ]
        for node in old:
            del self._peers[node]

    def _join(self, now: float, wall: float) -> list[Send]:
        """Ask an address of which we don't know who is there."""
        if now < self._seed_due or not self._seeds:
            return []
        known = self.members.hosts()
        unknown = [address for address in self._seeds if address not in known]
        # Soon again as long as we are alone; then only now and then, for who could not be reached before.
        self._seed_due = now + (min(1.0, self._terms.period) if not known else self._terms.period)
        if not unknown:
            return []
        host, port = self._random.choice(unknown)
        return [self._ping(None, host, port, UDP, 1, now, wall)]

    def _ask(self, node: str, now: float, wall: float) -> list[Send]:
        member = self.members.get(node)
        if member is None:
            return []
        # What came through by TCP last time did so because UDP did not; that may have changed since.
        peer = self._peers[node]
        by = UDP if peer.count % _UDP_AGAIN == 0 else peer.by
        peer.waiting = True
        return [self._ping(node, member.host, member.port, by, 1, now, wall)]

    def _ping(
        self, node: str | None, host: str, port: int, by: str, attempt: int, now: float, wall: float
    ) -> Send:
        nonce = self._random.randbytes(NONCE_BYTES)
        self._pending[nonce] = _Pending(node, host, port, by, attempt, now + 2 * self._terms.timeout)
        data = seal(Ping(nonce, wall, self._me), self._keys)
        return Send(host, port, data, by, nonce)

    def _late(self, now: float, wall: float) -> list[Send]:
        """What is lost is tried again, then by the other way, then given up."""
        late = [nonce for nonce, pending in self._pending.items() if now >= pending.deadline]
        sends = []
        for nonce in late:
            pending = self._pending.pop(nonce)
            way = _next_way(pending.by, pending.attempt)
            if way is None or (pending.node is not None and self.members.get(pending.node) is None):
                self._lost(pending)
                continue
            by, attempt = way
            sends.append(self._ping(pending.node, pending.host, pending.port, by, attempt, now, wall))
        return sends

    def _lost(self, pending: _Pending) -> None:
        self.counts["lost"] += 1
        peer = self._peers.get(pending.node or "")
        if peer is not None:
            peer.lost += 1
            peer.waiting = False
            peer.by = UDP


def _next_way(by: str, attempt: int) -> tuple[str, int] | None:
    if by == UDP:
        return (UDP, attempt + 1) if attempt < _TRIES else (TCP, attempt + 1)
    # Who began with TCP, by what was so last time, begins from the start next time.
    return None


def _direct(member: Member) -> Member:
    """What somebody says of itself is of now, whatever it says."""
    return Member(member.node, member.host, member.port, member.started, 0.0)
