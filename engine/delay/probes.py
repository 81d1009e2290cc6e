"""Asks Berth's own probes: each tells what it measured to its neighbours, and its network coordinate.

A probe says its node's name itself, so nothing has to be known of pods or addresses; its answer is signed together with
a nonce of ours, so nobody else can give it, nor give an old one again.
"""

from __future__ import annotations

import logging
import math
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec

from engine.delay.doubts import UNREADABLE, Doubts
from engine.delay.estimates import with_estimates
from engine.delay.map import MAX_MS, DelayMap
from engine.delay.measured import Measurements, SourceError
from engine.delay.short_lists import ShortLists
from engine.delay.smoothing import Smoothed
from engine.delay.values import name_complaint
from engine.delay.web import Web
from engine.probe.keys import KeyFileError, Keys
from engine.probe.state import (
    CODE_HEADER,
    FORMAT_VERSION,
    MEASURE_PATH,
    REQUEST_PATH,
    STATE_PATH,
    ProbeState,
    decode_state,
)
from engine.probe.vivaldi import Coordinate

log = logging.getLogger(__name__)

_AT_ONCE: Final = 16
"""Probes that are asked at once: a thousand that answer in 20 ms take a bit more than a second."""
_MOST_BYTES: Final = 8 * 2**20
_OUTCOME_SECONDS: Final = 2.0
"""From a request for measurements to the scrape that has them."""

Resolve = Callable[[str, int], Sequence[str]]


class _Samples(msgspec.Struct):
    node: str
    samples: list[float]


_decode_samples: Final = msgspec.json.Decoder(_Samples).decode


def resolved(host: str, port: int) -> Sequence[str]:
    """All addresses of a name.

    Raises:
        OSError: There are none.
    """
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return sorted({str(info[4][0]) for info in infos})


class Probes:
    """A `engine.delay.measured.Fetch`, and the maker of its maps.

    Args:
        service: The headless Service's name and the port of the probes' HTTP.
        keys: Gives those that the probes share; read anew each time, since keys are changed.
        max_age: Seconds after which a coordinate counts no more.
        timeout: Seconds that one probe may take.
        resolve: The addresses of the service.
        now: Seconds of a clock that never goes back.

    Attributes:
        heard: When each node's probe answered us last, by ``now``.
    """

    def __init__(
        self,
        service: tuple[str, int],
        keys: Callable[[], Keys],
        max_age: float,
        timeout: float,
        *,
        resolve: Resolve = resolved,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.heard: dict[str, float] = {}
        self._service = service
        self._keys = keys
        self._max_age = max_age
        self._resolve = resolve
        self._now = now
        self._places: dict[str, tuple[float, Coordinate]] = {}
        self._hosts: dict[str, str] = {}
        self._lists = ShortLists(max_age)
        self._outcome_at = math.inf
        self._place = f"{service[0]}:{service[1]}"
        self._web = Web(
            f"http://{self._place}", timeout=timeout, attempts=1, most=_MOST_BYTES, connections=4 * _AT_ONCE
        )

    def __call__(self) -> Measurements:
        """What all probes say now.

        Raises:
            SourceError: The service or the key is not there, or no probe gives an answer that can be used.
        """
        keys = self._read_keys()
        host, port = self._service
        try:
            addresses = self._resolve(host, port)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SourceError(f"{self._place}: {reason}; are the probes running? (docs/probe.md)") from None
        doubts = Doubts(self._place)
        with ThreadPoolExecutor(min(_AT_ONCE, max(1, len(addresses)))) as pool:
            told = list(pool.map(lambda address: self._ask(address, keys), addresses))
        states = []
        for address, answer in zip(addresses, told, strict=True):
            if isinstance(answer, SourceError):
                doubts.add("probes that cannot be had", str(answer))
            else:
                states.append((address, answer))
        if not states:
            raise SourceError("\n".join(doubts.sentences()) or f"{self._place}: no probe is there")
        return self._measurements(states, doubts)

    def make_map(self, smoothed: Smoothed) -> DelayMap:
        """The map of what was measured, and estimated by the coordinates that are young enough."""
        now = self._now()
        self._places = {
            name: (moment, place)
            for name, (moment, place) in self._places.items()
            if now - moment <= self._max_age
        }
        coordinates: Mapping[str, Coordinate] = {name: place for name, (_, place) in self._places.items()}
        return with_estimates(
            smoothed.names,
            smoothed.origins,
            smoothed.targets,
            smoothed.milliseconds,
            coordinates,
            self._lists,
        )

    def hurry(self, now: float, delays: DelayMap) -> bool:
        """Have measured what limits ask about, where there are only estimates (`engine.delay.short_lists`).

        Args:
            now: Seconds, by the clock of this source.
            delays: The map in force.

        Returns:
            Whether measurements that were requested should have come in by now, so that it is time to ask.
        """
        lists = [(origin, self._lists.make(origin, now, delays)) for origin in self._lists.due(now)]
        lists = [(origin, nodes) for origin, nodes in lists if nodes and origin in self._hosts]
        if lists:
            with ThreadPoolExecutor(min(_AT_ONCE, len(lists))) as pool:
                sent = list(pool.map(lambda one: self._request(*one), lists))
            if any(sent):
                self._outcome_at = now + _OUTCOME_SECONDS
        if now < self._outcome_at:
            return False
        self._outcome_at = math.inf
        return True

    def confirm(self, origin: str, target: str) -> list[float]:
        """Have one probe measure to another now, for who wants to be sure.

        Returns:
            Milliseconds of the measurements that came back; none where the target cannot be reached.

        Raises:
            SourceError: The origin's probe is not known or does not answer, or does not know the target's.
        """
        host = self._hosts.get(origin)
        if host is None:
            raise SourceError(f"{self._place}: no probe on {origin} has answered lately")
        keys = self._read_keys()
        fields, nonce = _signed_question(keys, MEASURE_PATH, target)
        base = self._base(host)
        body = self._signed(base, MEASURE_PATH, fields, nonce, keys)
        try:
            return _decode_samples(body).samples
        except UNREADABLE as error:
            raise SourceError(f"{base}{MEASURE_PATH}: {error}") from None

    def _request(self, origin: str, nodes: list[str]) -> bool:
        try:
            keys = self._read_keys()
            fields, nonce = _signed_question(keys, REQUEST_PATH, ",".join(nodes))
            self._signed(self._base(self._hosts[origin]), REQUEST_PATH, fields, nonce, keys)
        except SourceError as error:
            log.debug("%s", error)  # which the next scrape will tell, too
            return False
        return True

    def _read_keys(self) -> Keys:
        try:
            return self._keys()
        except KeyFileError as error:
            raise SourceError(str(error)) from None

    def _base(self, address: str) -> str:
        return (
            f"http://[{address}]:{self._service[1]}"
            if ":" in address
            else f"http://{address}:{self._service[1]}"
        )

    def _ask(self, address: str, keys: Keys) -> ProbeState | SourceError:
        nonce = secrets.token_hex(16)
        base = self._base(address)
        try:
            body = self._signed(base, STATE_PATH, {"nonce": nonce}, nonce, keys)
            state = decode_state(body)
        except SourceError as error:
            return error
        except UNREADABLE as error:
            return SourceError(f"{base}{STATE_PATH}: {error}")
        if state.version != FORMAT_VERSION:
            return SourceError(f"{base}{STATE_PATH}: version {state.version}, where we know {FORMAT_VERSION}")
        if name_complaint(state.node):
            return SourceError(f"{base}{STATE_PATH}: node: {name_complaint(state.node)}")
        return state

    def _signed(self, base: str, path: str, fields: Mapping[str, str], nonce: str, keys: Keys) -> bytes:
        """The body of an answer that is signed with our nonce."""
        body, headers = self._web.get_with_headers(path, fields, base=base)
        try:
            code = bytes.fromhex(headers.get(CODE_HEADER, ""))
        except ValueError:
            code = b""
        if not keys.verify(code, b"answer", nonce.encode(), body):
            raise SourceError(f"{base}{path}: not signed with our key; is probe.keyFile that of the probes?")
        return body

    def _measurements(self, states: list[tuple[str, ProbeState]], doubts: Doubts) -> Measurements:
        now = self._now()
        latest: dict[str, tuple[str, ProbeState]] = {}
        for address, state in states:
            if state.node in latest:
                doubts.add("nodes with two probes, of which the later counts", state.node)
                if state.started < latest[state.node][1].started:
                    continue
            latest[state.node] = address, state
        origins, targets, milliseconds, ages = [], [], [], []
        for node, (address, state) in sorted(latest.items()):  # whoever answered first: runs repeat
            self.heard[node] = now
            self._hosts[node] = address
            if state.place.coordinate.sound and state.place.measurements:
                self._places[node] = now, state.place.coordinate
            for peer in state.peers:
                if peer.ms is None or peer.age is None:
                    doubts.add("pairs that do not reach each other", f"{node} to {peer.node}")
                    continue
                if not (0 <= peer.ms <= MAX_MS and peer.age >= 0) or name_complaint(peer.node):
                    doubts.add("values that are no delays", f"{node} to {peer.node}: {peer.ms}")
                    continue
                origins.append(node)
                targets.append(peer.node)
                milliseconds.append(peer.ms)
                ages.append(peer.age)
        for node in [node for node, moment in self.heard.items() if now - moment > 10 * self._max_age]:
            del self.heard[node]
            self._hosts.pop(node, None)
        return Measurements(origins, targets, milliseconds, ages, doubts.sentences())


def _signed_question(keys: Keys, path: str, node: str) -> tuple[dict[str, str], str]:
    """The query of a request that only who has the key may make, and the number that is used once in it."""
    nonce, moment = secrets.token_hex(16), f"{time.time():.3f}"
    code = keys.sign(path.encode(), node.encode(), moment.encode(), nonce.encode()).hex()
    return {"node": node, "moment": moment, "nonce": nonce, "code": code}, nonce
