"""The HTTP server of /metrics, /healthz, /livez and /readyz: the standard library's, in threads of its own."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from engine.serving.health import Health

log = logging.getLogger(__name__)

_PATIENCE_SECONDS: Final = 5.0
"""A client that says nothing for so long is sent away."""
_AT_ONCE: Final = 16
"""Requests that are answered at once; more are turned away, so that nobody can fill us with threads."""
_POLL_SECONDS: Final = 0.1
_TEXT: Final = "text/plain; charset=utf-8"


class ServerError(Exception):
    """The server cannot listen; says where, why and what to do."""


Answer = tuple[HTTPStatus, str, bytes]
"""Status, content type, body."""


class HealthServer:
    """Answers from threads of its own, from construction until `close`.

    Args:
        address: ``HOST:PORT``, with an IPv6 host in brackets; port 0 takes any that is free.
        registry: What /metrics shows.
        paths: Other paths, and what their health is made of.

    Raises:
        ServerError: The address is taken, or is none of this machine's.
    """

    def __init__(self, address: str, registry: CollectorRegistry, paths: Mapping[str, Health]) -> None:
        host, _, port = address.rpartition(":")
        self._registry = registry
        self._paths = dict(paths)
        try:
            self._server = _Server((host.strip("[]"), int(port)), self._answer)
        except OSError as error:
            raise ServerError(
                f"cannot listen on {address}: {(error.strerror or str(error)).lower()}; "
                "give another server.address in the settings, or none"
            ) from None
        shown, bound = self._server.server_address[:2]
        self.address = f"[{shown!s}]:{bound}" if ":" in str(shown) else f"{shown!s}:{bound}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="health-server", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Answer nothing more. Answers on their way may be cut off."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, path: str, accept: str) -> Answer:
        if path == "/metrics":
            encode, kind = choose_encoder(accept)
            return HTTPStatus.OK, kind, encode(self._registry)
        health = self._paths.get(path)
        if health is None:
            known = ", ".join(["/metrics", *self._paths])
            return HTTPStatus.NOT_FOUND, _TEXT, f"no such path; there are {known}\n".encode()
        healthy, text = health.answer()
        return HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, text.encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], answer: Callable[[str, str], Answer]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.answer = answer
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
    server_version = "berth"
    sys_version = ""

    def do_GET(self) -> None:
        self._send(body=True)

    def do_HEAD(self) -> None:
        self._send(body=False)

    def _send(self, body: bool) -> None:
        try:
            status, kind, content = self.server.answer(
                urlsplit(self.path).path, self.headers.get("Accept", "")
            )
        except Exception:  # a fault of ours in one answer must not be silence
            log.exception("answering %s failed unexpectedly", self.path)
            status, kind, content = HTTPStatus.INTERNAL_SERVER_ERROR, _TEXT, b"internal error; see the log\n"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)
