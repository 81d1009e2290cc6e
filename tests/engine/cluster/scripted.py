"""A server on the loopback interface that answers as it is told, to the byte: for what real servers do rarely.

``tests/engine/cluster/certificates`` holds the self-signed certificate that it serves, and one of a stranger. They are
good for a century and protect nothing.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from engine.cluster.configuration import Access

CERTIFICATES = Path(__file__).parent / "certificates"


class Request:
    """What a client sent."""

    def __init__(self, line: str, headers: dict[str, str], body: bytes) -> None:
        self.method, self.target, _ = line.split(" ", 2)
        self.headers = headers
        self.body = body

    def __repr__(self) -> str:
        return f"{self.method} {self.target}"


class Act:
    """What the server does instead of an answer."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


CLOSE = Act("close without an answer")
RESET = Act("reset")
SILENCE = Act("say nothing")

Step = bytes | Act | Callable[[Request], bytes]


def answer(
    status: int = 200,
    body: object = None,
    *,
    content_type: str = "application/json",
    headers: dict[str, str] | None = None,
) -> bytes:
    """An answer with a Content-Length; a body that is not bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    fields = {"Content-Type": content_type, "Content-Length": str(len(data)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Words\r\n{head}\r\n".encode() + data


def chunked(*chunks: bytes, end: bool = True, status: int = 200) -> bytes:
    """An answer in chunks."""
    head = f"HTTP/1.1 {status} Words\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head.encode() + body + (b"0\r\n\r\n" if end else b"")


def refusal(status: int, reason: str = "", message: str = "", **details: Any) -> bytes:
    """An answer with a Status object."""
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": status}
    return answer(status, {**body, "reason": reason, "message": message, "details": details})


class ScriptedServer:
    """Plays one script for each connection, in the order in which they come; a context manager.

    A script is a list of steps, one for each request. After the last the connection is closed.
    """

    def __init__(self, *scripts: Sequence[Step], tls: bool = False, proxy: bool = False) -> None:
        self._scripts = list(scripts)
        self._proxy = proxy
        self._context: ssl.SSLContext | None = None
        if tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(CERTIFICATES / "server.crt", CERTIFICATES / "server.key")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.requests: list[Request] = []
        self.tunnels: list[Request] = []
        self.connections = 0
        self._over = threading.Event()
        self._closed = [threading.Event() for _ in scripts]
        self._reached = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._listener.close()
        with socket.socket() as knock:  # wakes up an accept that waits
            knock.settimeout(1)
            knock.connect_ex(("127.0.0.1", self.port))
        for thread in self._threads:
            thread.join(5)

    def access(self, *, tls: ssl.SSLContext | None = None, token: str | None = "first") -> Access:
        """How to reach it."""
        bearer = f"Bearer {token}" if token else None
        return Access(
            "127.0.0.1",
            self.port,
            tls=tls,
            server_name="127.0.0.1",
            authorization=bearer,
            origin="kubeconfig test, context 'test'",
        )

    def wait_closed(self, number: int) -> None:
        """Wait until the server has closed its connection of that number."""
        assert self._closed[number].wait(5)

    def wait_reached(self) -> None:
        """Wait until one more request has come to a `SILENCE`."""
        assert self._reached.acquire(timeout=5)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        for number, script in enumerate(self._scripts):
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if self._over.is_set():
                connection.close()
                return
            self.connections += 1
            self._start(self._serve, connection, script, number)

    def _serve(self, connection: socket.socket, script: Sequence[Step], number: int) -> None:
        try:
            if self._proxy:
                with connection.makefile("rb", buffering=0) as raw:
                    tunnel = _read_request(raw)
                if tunnel is None:
                    return
                self.tunnels.append(tunnel)
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection.makefile("rb") as file:
                for step in script:
                    request = _read_request(file)
                    if request is None:
                        return
                    self.requests.append(request)
                    if step is RESET:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return
                    if step is SILENCE:
                        self._reached.release()
                        self._over.wait(10)
                        return
                    if step is CLOSE:
                        return
                    assert not isinstance(step, Act)
                    connection.sendall(step if isinstance(step, bytes) else step(request))
        except OSError:
            return
        finally:
            connection.close()
            self._closed[number].set()


def _read_request(file: Any) -> Request | None:
    line = file.readline().decode("latin-1").strip()
    if not line:
        return None
    headers: dict[str, str] = {}
    while field := file.readline().decode("latin-1").strip():
        name, value = field.split(":", 1)
        headers[name.strip().lower()] = value.strip()
    return Request(line, headers, file.read(int(headers.get("content-length", "0"))))
