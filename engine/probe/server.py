"""What a probe answers over HTTP: its state in one scrape, a measurement on request, and its health.

Everybody may read the state: it holds names of nodes and how far they are apart. Who sends a nonce with the question
gets the answer signed, and knows that it is ours and of now. A measurement makes the probe send packets, so only who
has the key may ask for one: for its outcome (/measure), or for several that the state will show (/request).
"""

from __future__ import annotations

import math
import threading
import time
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, urlsplit

from engine.bounded_server import JSON, Answer, BoundedServer
from engine.probe.keys import Keys
from engine.probe.sockets import ListenError, Sockets, reason_of
from engine.probe.state import CODE_HEADER, MEASURE_PATH, REQUEST_PATH, STATE_PATH, encode

_SAMPLES: Final = 3
_MEASURE_SECONDS: Final = 8.0
_SKEW_SECONDS: Final = 60.0
_NONCES: Final = 10_000
_LONGEST: Final = 128
"""Characters of a nonce or code."""

MOST_REQUESTED: Final = 64
"""Nodes that one request may name; a path and query have to stay below 64 KiB."""
_NO_PATH: Final = Answer(
    HTTPStatus.NOT_FOUND, b"no such path; there are /state, /measure, /request, /healthz\n"
)


class StateServer:
    """Answers from threads of its own, from construction until `close`.

    Args:
        host: Where to listen, an IP address.
        port: 0 takes any that is free.
        sockets: Whose state.
        keys: What answers are signed with.

    Raises:
        ListenError: The address is taken, or is none of this machine's.
    """

    def __init__(self, host: str, port: int, sockets: Sockets, keys: Keys) -> None:
        self._sockets = sockets
        self._keys = keys
        self._nonces: dict[str, float] = {}
        self._lock = threading.Lock()
        try:
            self._server = BoundedServer(host, port, self._answer, "berth-probe")
        except OSError as error:
            raise ListenError(
                f"cannot listen on {host}, port {port}: {reason_of(error)}; give another --listen"
            ) from None
        self.port = self._server.port

    def close(self) -> None:
        """Answer nothing more."""
        self._server.close()

    def _answer(self, target: str, accept: str) -> Answer:  # noqa: ARG002  (the server's)
        parts = urlsplit(target)
        fields = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == STATE_PATH:
            return self._signed(encode(self._sockets.state()), fields.get("nonce", "")[:_LONGEST])
        if parts.path in (MEASURE_PATH, REQUEST_PATH):
            return self._measure(parts.path, fields)
        if parts.path == "/healthz":
            dead = self._sockets.dead()
            if dead:
                return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"ended: {', '.join(dead)}\n".encode())
            return Answer(HTTPStatus.OK, b"ok\n")
        return _NO_PATH

    def _signed(self, body: bytes, nonce: str) -> Answer:
        """An answer of ours, with a code that whoever gave the nonce can check."""
        code = {CODE_HEADER: self._keys.sign(b"answer", nonce.encode(), body).hex()} if nonce else {}
        return Answer(HTTPStatus.OK, body, JSON, code)

    def _measure(self, path: str, fields: dict[str, str]) -> Answer:
        node, moment, nonce = (fields.get(name, "") for name in ("node", "moment", "nonce"))
        code = fields.get("code", "")[:_LONGEST]
        refused = Answer(HTTPStatus.FORBIDDEN, b"not signed with the probes' key\n")
        try:
            given, when = bytes.fromhex(code), float(moment)
        except ValueError:
            return refused
        if not self._keys.verify(given, path.encode(), node.encode(), moment.encode(), nonce.encode()):
            return refused
        if not math.isfinite(when) or abs(when - time.time()) > _SKEW_SECONDS or not self._fresh(nonce):
            return Answer(HTTPStatus.FORBIDDEN, b"too old, or asked before\n")
        if path == REQUEST_PATH:
            known = self._sockets.request(node.split(",")[:MOST_REQUESTED])
            return self._signed(encode({"known": known}), nonce)
        samples = self._sockets.measure(node, _SAMPLES, _MEASURE_SECONDS)
        if samples is None:
            return Answer(HTTPStatus.NOT_FOUND, b"no probe on that node is known\n")
        return self._signed(encode({"node": node, "samples": samples}), nonce)

    def _fresh(self, nonce: str) -> bool:
        now = time.monotonic()
        with self._lock:
            while self._nonces and self._nonces[next(iter(self._nonces))] < now:
                del self._nonces[next(iter(self._nonces))]
            if not nonce or nonce in self._nonces or len(self._nonces) >= _NONCES:
                return False
            self._nonces[nonce] = now + 2 * _SKEW_SECONDS
            return True
