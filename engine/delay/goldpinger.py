"""Asks Goldpinger: ``GET /check_all`` of any of its pods tells what each of them measured to each other.

Goldpinger names pods, and beside each the IP address of its host (``HostIP``), which a node's ``status.addresses``
have. That takes no right beyond watching nodes, which scheduling needs anyway; names of pods would need a look at all
pods, and may mean two in different namespaces.

What it measures is an HTTP request, cut to whole milliseconds (``response-time-ms``).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import msgspec

from engine.delay.addresses import NodeAddresses, canonical
from engine.delay.doubts import UNREADABLE, Doubts
from engine.delay.map import MAX_MS
from engine.delay.measured import Measurements, NotYet, SourceError
from engine.delay.web import Web, without_secrets

PATH: Final = "/check_all"
_WORTH: Final = datetime(2015, 1, 1, tzinfo=UTC)
"""Moments before are Go's and Unix' zero, and say nothing."""


class _Peer(msgspec.Struct):
    """One pod as another sees it."""

    host_ip: str = msgspec.field(name="HostIP", default="")
    ok: bool | None = msgspec.field(name="OK", default=None)
    milliseconds: float | None = msgspec.field(name="response-time-ms", default=None)
    measured: str | None = msgspec.field(name="PingTime", default=None)


class _Check(msgspec.Struct):
    """What one pod sees."""

    pods: dict[str, _Peer] | None = msgspec.field(name="podResults", default=None)


class _Response(msgspec.Struct):
    """One pod, and what it sees."""

    host_ip: str = msgspec.field(name="HostIP", default="")
    ok: bool | None = msgspec.field(name="OK", default=None)
    error: str | None = None
    response: _Check | None = None


class _Host(msgspec.Struct):
    pod: str | None = msgspec.field(name="podName", default=None)
    pod_ip: str | None = msgspec.field(name="podIP", default=None)
    host_ip: str | None = msgspec.field(name="hostIP", default=None)


class _Answer(msgspec.Struct):
    responses: dict[str, _Response]
    hosts: list[_Host] | None = None


class _RawCheck(msgspec.Struct):
    pods: dict[str, msgspec.Raw] | None = msgspec.field(name="podResults", default=None)


class _RawResponse(msgspec.Struct):
    host_ip: str = msgspec.field(name="HostIP", default="")
    ok: bool | None = msgspec.field(name="OK", default=None)
    error: str | None = None
    response: _RawCheck | None = None


class _RawAnswer(msgspec.Struct):
    responses: dict[str, msgspec.Raw]
    hosts: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"))


_decode: Final = msgspec.json.Decoder(_Answer).decode
_decode_raw: Final = msgspec.json.Decoder(_RawAnswer).decode
_decode_response: Final = msgspec.json.Decoder(_RawResponse).decode
_decode_peer: Final = msgspec.json.Decoder(_Peer).decode
_decode_hosts: Final = msgspec.json.Decoder(list[_Host] | None).decode


class Goldpinger:
    """A `engine.delay.measured.Fetch`.

    Args:
        web: Where it is; its URL is that of the Service, with or without ``/check_all``.
        addresses: The nodes'.
        now: Seconds since the epoch, for the age of a measurement.
    """

    def __init__(self, web: Web, addresses: NodeAddresses, now: Callable[[], float]) -> None:
        self._web = web
        self._addresses = addresses
        self._now = now
        self._path = "" if web.url.endswith(PATH) else PATH
        self._place = without_secrets(web.url + self._path)

    def __call__(self) -> Measurements:
        """What it says now.

        Raises:
            SourceError: It does not answer, or nothing in its answer can be used.
            NotYet: The nodes are not known yet.
        """
        if not self._addresses.complete:
            raise NotYet
        body = self._web.get(self._path)
        doubts = Doubts(self._place)
        return self._measurements(self._answer(body, doubts), doubts)

    def _answer(self, body: bytes, doubts: Doubts) -> _Answer:
        try:
            return _decode(body)
        except UNREADABLE:
            return self._careful(body, doubts)

    def _careful(self, body: bytes, doubts: Doubts) -> _Answer:
        """What can be used of an answer of which a part cannot: one pod's nonsense is not another's."""
        try:
            raw = _decode_raw(body)
        except UNREADABLE as error:
            raise SourceError(f"{self._place}: no answer of Goldpinger's: {error}; check the URL") from None
        answer = _Answer({})
        for pod, text in raw.responses.items():
            place = f"responses.{pod}"
            try:
                response = _decode_response(text)
            except UNREADABLE as error:
                doubts.add("answers that cannot be read", f"{place}: {error}")
                continue
            peers: dict[str, _Peer] = {}
            for peer, inner in (response.response.pods or {} if response.response else {}).items():
                try:
                    peers[peer] = _decode_peer(inner)
                except UNREADABLE as error:
                    doubts.add("answers that cannot be read", f"{place}.response.podResults.{peer}: {error}")
            answer.responses[pod] = _Response(response.host_ip, response.ok, response.error, _Check(peers))
        try:
            answer.hosts = _decode_hosts(raw.hosts)
        except UNREADABLE as error:
            doubts.add("answers that cannot be read", f"hosts: {error}")
        return answer

    def _measurements(self, answer: _Answer, doubts: Doubts) -> Measurements:
        hosts = {
            key: host.host_ip
            for host in answer.hosts or ()
            for key in (host.pod, host.pod_ip)
            if key and host.host_ip
        }
        known = self._addresses.known()
        nodes: dict[str, str | None] = {}

        def node(pod: str, address: str) -> str | None:
            """The node of a pod, by its host's address; older Goldpingers tell it for their peers only."""
            given = address or hosts.get(pod, "")
            if given not in nodes:
                nodes[given] = known.get(canonical(given) or "")
                if nodes[given] is None:
                    what = f"{pod}: HostIP {given}" if given else f"{pod}: no HostIP"
                    doubts.add("pods on no known node", what)
            return nodes[given]

        # Who says nothing about itself may be named by another.
        for response in answer.responses.values():
            for pod, peer in (response.response.pods or {} if response.response else {}).items():
                if peer.host_ip:
                    hosts.setdefault(pod, peer.host_ip)
        moment = self._now()
        origins, targets, milliseconds, ages = [], [], [], []
        for pod, response in answer.responses.items():
            if response.ok is False or response.response is None:
                doubts.add("pods that did not answer", f"{pod}: {response.error or 'no response'}")
                continue
            here = node(pod, response.host_ip)
            if here is None:
                continue
            for peer_pod, peer in (response.response.pods or {}).items():
                there = node(peer_pod, peer.host_ip)
                if there is None or there == here:
                    continue
                if peer.ok is False:
                    doubts.add("pairs that do not reach each other", f"{here} to {there}")
                    continue
                value = peer.milliseconds
                if value is None or not 0 <= value <= MAX_MS:
                    place = f"responses.{pod}.response.podResults.{peer_pod}.response-time-ms"
                    doubts.add("values that are no delays", f"{place}: {value}")
                    continue
                origins.append(here)
                targets.append(there)
                milliseconds.append(value)
                ages.append(_age(peer.measured, moment))
        if not origins and doubts:
            raise SourceError("\n".join(doubts.sentences()))
        return Measurements(origins, targets, milliseconds, ages, doubts.sentences())


def _age(text: str | None, moment: float) -> float:
    """Seconds since a moment that Goldpinger told; 0 where it told none."""
    if not text:
        return 0.0
    try:
        measured = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    if measured.tzinfo is None:
        measured = measured.replace(tzinfo=UTC)
    return max(0.0, moment - measured.timestamp()) if measured >= _WORTH else 0.0
