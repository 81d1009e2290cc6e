"""What a probe answers over HTTP: its state in one scrape, a measurement on request, and its health.

Everybody may read the state: it holds names of nodes and how far they are apart. Who sends a nonce with the question
gets the answer signed, and knows that it is ours and of now. A measurement makes the probe send packets, so only who
has the key may ask for one: for its outcome (/measure), or for several that the state will show (/request).
"""

from __future__ import annotations

import logging
import math
import socket
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from engine.probe.keys import Keys
from engine.probe.sockets import ListenError, Sockets, reason_of
from engine.probe.state import CODE_HEADER, MEASURE_PATH, REQUEST_PATH, STATE_PATH, encode

log = logging.getLogger(__name__)

_PATIENCE_SECONDS: Final = 5.0
_AT_ONCE: Final = 16
_SAMPLES: Final = 3
_MEASURE_SECONDS: Final = 8.0
_SKEW_SECONDS: Final = 60.0
_NONCES: Final = 10_000
_LONGEST: Final = 128
"""Characters of a nonce or code."""

MOST_REQUESTED: Final = 64
"""Nodes that one request may name; a path and query have to stay below 64 KiB."""

_Answer = tuple[HTTPStatus, bytes, bytes]
"""Status, body, and what is signed with it (b"" for nothing)."""


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
            self._server = _Server((host, port), self)
        except OSError as error:
            raise ListenError(
                f"cannot listen on {host}, port {port}: {reason_of(error)}; give another --listen"
            ) from None
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="probe-http", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Answer nothing more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, target: str) -> _Answer:
        """The answer to a path and query."""
        parts = urlsplit(target)
        fields = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == STATE_PATH:
            nonce = fields.get("nonce", "")[:_LONGEST]
            return HTTPStatus.OK, encode(self._sockets.state()), nonce.encode()
        if parts.path in (MEASURE_PATH, REQUEST_PATH):
            return self._measure(parts.path, fields)
        if parts.path == "/healthz":
            dead = self._sockets.dead()
            if dead:
                return HTTPStatus.SERVICE_UNAVAILABLE, f"ended: {', '.join(dead)}\n".encode(), b""
            return HTTPStatus.OK, b"ok\n", b""
        return HTTPStatus.NOT_FOUND, b"no such path; there are /state, /measure, /request, /healthz\n", b""

    def sign(self, nonce: bytes, body: bytes) -> str:
        """The code of an answer, for its header."""
        return self._keys.sign(b"answer", nonce, body).hex()

    def _measure(self, path: str, fields: dict[str, str]) -> _Answer:
        node, moment, nonce = (fields.get(name, "") for name in ("node", "moment", "nonce"))
        code = fields.get("code", "")[:_LONGEST]
        refused = HTTPStatus.FORBIDDEN, b"not signed with the probes' key\n", b""
        try:
            given, when = bytes.fromhex(code), float(moment)
        except ValueError:
            return refused
        if not self._keys.verify(given, path.encode(), node.encode(), moment.encode(), nonce.encode()):
            return refused
        if not math.isfinite(when) or abs(when - time.time()) > _SKEW_SECONDS or not self._fresh(nonce):
            return HTTPStatus.FORBIDDEN, b"too old, or asked before\n", b""
        if path == REQUEST_PATH:
            known = self._sockets.request(node.split(",")[:MOST_REQUESTED])
            return HTTPStatus.OK, encode({"known": known}), nonce.encode()
        samples = self._sockets.measure(node, _SAMPLES, _MEASURE_SECONDS)
        if samples is None:
            return HTTPStatus.NOT_FOUND, b"no probe on that node is known\n", b""
        return HTTPStatus.OK, encode({"node": node, "samples": samples}), nonce.encode()

    def _fresh(self, nonce: str) -> bool:
        now = time.monotonic()
        with self._lock:
            while self._nonces and self._nonces[next(iter(self._nonces))] < now:
                del self._nonces[next(iter(self._nonces))]
            if not nonce or nonce in self._nonces or len(self._nonces) >= _NONCES:
                return False
            self._nonces[nonce] = now + 2 * _SKEW_SECONDS
            return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], owner: StateServer) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.owner = owner
        self._room = threading.Semaphore(_AT_ONCE)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's, which asks the resolver for our name: that can take seconds, and nobody needs it.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  (socketserver's)
        log.debug("a request of %s ended early", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _PATIENCE_SECONDS
    server_version = "berth-probe"
    sys_version = ""

    def do_GET(self) -> None:
        status, body, nonce = self.server.owner.answer(self.path)
        json = body[:1] == b"{"
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if json else "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if nonce:
            self.send_header(CODE_HEADER, self.server.owner.sign(nonce, body))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)
