"""An HTTP server that a stranger cannot hang: the standard library's, with few threads and little patience."""

from __future__ import annotations

import io
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

log = logging.getLogger(__name__)

AT_ONCE: Final = 16
"""Requests that are answered at once; more are turned away, so that nobody can fill us with threads."""
_PATIENCE_SECONDS: Final = 5.0
"""A client that has not asked by then is sent away, and so is one that does not take its answer."""
_POLL_SECONDS: Final = 0.1

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request gets.

    Attributes:
        status: Whether it went well.
        body: The content.
        kind: The content's type.
        headers: More headers.
    """

    status: HTTPStatus
    body: bytes
    kind: str = TEXT
    headers: Mapping[str, str] = field(default_factory=dict)


class BoundedServer:
    """Answers GET and HEAD from threads of its own, from construction until `close`.

    Args:
        host: Where to listen: a name or an IP address, without brackets.
        port: 0 takes any that is free.
        answer: Takes a request's path with its query, and its Accept header. Called from several threads.
        name: Of the thread, and what the server calls itself.

    Attributes:
        host: Where it listens.
        port: The port that it has.

    Raises:
        OSError: The address is taken, or is none of this machine's.
    """

    def __init__(self, host: str, port: int, answer: Callable[[str, str], Answer], name: str) -> None:
        self._server = _Server((host, port), answer, name)
        self.host, self.port = str(self._server.server_address[0]), int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name=name, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Answer nothing more. Answers on their way may be cut off."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], answer: Callable[[str, str], Answer], name: str) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.answer = answer
        self.name = name
        self._room = threading.Semaphore(AT_ONCE)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's, which asks the resolver for our name: that can take seconds, and nobody needs it.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be begun, so none gives the room back
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  (socketserver's)
        log.debug("a request of %s ended early", client_address, exc_info=True)


class _Patient(io.RawIOBase):
    """What a client sends, for so long in all: one that sends a letter now and then would stay for ever."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection
        self._until = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_Patient(self.connection, _PATIENCE_SECONDS))

    def do_GET(self) -> None:
        self._send(body=True)

    def do_HEAD(self) -> None:
        self._send(body=False)

    def version_string(self) -> str:
        return self.server.name  # and not which Python that is

    def _send(self, body: bool) -> None:
        try:
            answer = self.server.answer(self.path, self.headers.get("Accept", ""))
        except Exception:  # a fault of ours in one answer must not be silence
            log.exception("answering %s failed unexpectedly", self.path)
            answer = Answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"internal error; see the log\n")
        self.connection.settimeout(_PATIENCE_SECONDS)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)
