"""HTTP/1.1 to one API server: a keep-alive connection for each thread, and streams of lines for watches.

The kubernetes package's own calls cost several times the CPU of a binding sent over this transport, and a scheduler
sends two requests for each pod. A request is one write; the answer is parsed by http.client.
"""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from engine.clock import Clock, SystemClock
from engine.cluster.configuration import Access, Credentials
from engine.cluster.diagnosis import connecting_failed, reading_failed, text_of
from engine.cluster.errors import Unreachable

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
IDLE_SECONDS = 60.0  # routers forget silent connections; ours are not used again after this
BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer: its status, the headers that are read, and its body."""

    status: int
    content_type: str
    retry_after: str | None
    location: str | None
    body: bytes


class _Connection(http.client.HTTPConnection):
    """One connection: TCP, the proxy's tunnel, TLS with the name and context of an access."""

    def __init__(self, access: Access, connect_timeout: float) -> None:
        proxy = access.proxy
        super().__init__(
            *((proxy.host, proxy.port) if proxy else (access.host, access.port)), timeout=connect_timeout
        )
        if proxy:
            headers = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
            self.set_tunnel(access.host, access.port, headers)
        self.access = access
        self.used = False
        self.last_use = 0.0

    def connect(self) -> None:
        super().connect()  # sets TCP_NODELAY
        _keep_alive(self.sock)
        tls = self.access.tls
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname=self.access.server_name)
        self._poll = select.poll()
        self._poll.register(self.sock.fileno(), select.POLLIN)

    def is_stale(self) -> bool:
        """Whether the server has closed it (or said something unasked) since the last answer."""
        return bool(self._poll.poll(0))

    def interrupt(self) -> None:
        """Make a read that another thread waits in return at once."""
        with contextlib.suppress(OSError, AttributeError):
            # The plain socket's method: that of SSLSocket would take the TLS layer away under the reader.
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


def _keep_alive(sock: socket.socket) -> None:
    """Let the kernel find a peer that is gone within a minute, on watches that are silent for minutes too."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


class Stream:
    """The body of an answer that goes on, as lines. Close it, or read it to its end."""

    def __init__(self, connection: _Connection, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response

    def lines(self) -> Iterator[bytes]:
        """Each complete line without its end, until the server ends the answer.

        Raises:
            Unreachable: The connection broke, or nothing came for the read timeout.
        """
        rest = b""
        url = self._connection.access.url
        while True:
            try:
                block = self._response.read1(BLOCK)
            except TimeoutError as error:
                raise Unreachable(f"{url}: the watch fell silent: the connection may be half-open") from error
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise Unreachable(f"{url}: the watch broke: {text_of(error)}") from error
            if not block:
                break
            *complete, rest = (rest + block if rest else block).split(b"\n")
            yield from complete
        if rest.strip():
            raise Unreachable(f"{url}: the watch broke in the middle of an event")

    def interrupt(self) -> None:
        """End the lines from another thread."""
        self._connection.interrupt()

    def close(self) -> None:
        """Give the connection up."""
        self._response.close()
        self._connection.close()


class Transport:
    """Requests to the API server that the credentials name. Every method may be called from several threads."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        connect_timeout: float = CONNECT_SECONDS,
        read_timeout: float = READ_SECONDS,
        user_agent: str = "berth",
        clock: Clock | None = None,
    ) -> None:
        self._credentials = credentials
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._user_agent = user_agent
        self._clock = clock or SystemClock()
        self._local = threading.local()
        self._lock = threading.Lock()
        self._connections: dict[threading.Thread, _Connection] = {}
        self._head: tuple[Access | None, bytes] = (None, b"")

    @property
    def access(self) -> Access:
        """The access in use, for messages."""
        return self._credentials.current()

    def request(
        self, method: str, target: str, body: bytes | None = None, content_type: str = "application/json"
    ) -> Answer:
        """Send one request and read the whole answer, whatever its status. Credentials are renewed once on a 401.

        A request is sent a second time only where the server surely did not see the first, or where it is a GET.

        Args:
            method: The HTTP method.
            target: Path and query, percent-encoded.
            body: JSON, or None.
            content_type: Of the body.

        Raises:
            ConfigurationError: TLS failed for want of the right certificates. Nothing was sent.
            Unreachable: No complete answer.
        """
        access = self._credentials.current()
        answer = self._exchange(access, method, target, body, content_type)
        if answer.status == 401:
            renewed = self._credentials.renew(access)
            if renewed is not access:
                answer = self._exchange(renewed, method, target, body, content_type)
        return answer

    def stream(self, target: str, read_timeout: float) -> Stream | Answer:
        """GET an answer that goes on; the answer itself where its status is not 200.

        Args:
            target: Path and query.
            read_timeout: Seconds of silence after which the connection counts as broken.
        """
        access = self._credentials.current()
        opened = self._open_stream(access, target, read_timeout)
        if isinstance(opened, Answer) and opened.status == 401:
            renewed = self._credentials.renew(access)
            if renewed is not access:
                opened = self._open_stream(renewed, target, read_timeout)
        return opened

    def close(self) -> None:
        """Close the connections of all threads; a request on its way fails as Unreachable."""
        with self._lock:
            connections = list(self._connections.items())
            self._connections.clear()
        for thread, connection in connections:
            connection.interrupt()
            if thread is threading.current_thread() or not thread.is_alive():
                connection.close()

    def _exchange(
        self, access: Access, method: str, target: str, body: bytes | None, content_type: str
    ) -> Answer:
        message = self._message(access, method, target, body, content_type)
        connection = self._connection(access)
        fresh = not connection.used
        try:
            try:
                return self._converse(connection, method, message)
            except _NotSent:
                if fresh:
                    raise
            except _Unanswered:
                if fresh or method != "GET":
                    raise
            return self._converse(self._reconnect(access), method, message)
        except (_NotSent, _Unanswered) as error:
            raise Unreachable(f"{access.url}: {error}") from error.__cause__

    def _converse(self, connection: _Connection, method: str, message: bytes) -> Answer:
        try:
            connection.sock.sendall(message)
        except OSError as error:
            # All in one write: what failed to leave is not a request that a server could act upon.
            self._discard(connection)
            raise _NotSent(f"the request could not be sent: {text_of(error)}") from error
        response = http.client.HTTPResponse(connection.sock, method=method)
        try:
            response.begin()
            answer = _answer(response)
        except http.client.RemoteDisconnected as error:
            self._discard(connection)
            raise _Unanswered("the connection was closed without an answer") from error
        except ConnectionResetError as error:
            self._discard(connection)
            raise _Unanswered("the connection was reset before an answer") from error
        except TimeoutError as error:
            self._discard(connection)
            raise Unreachable(
                f"{connection.access.url}: no answer within {self._read_timeout:g} s"
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._discard(connection)
            raise reading_failed(connection.access, error) from error
        except BaseException:
            self._discard(connection)
            raise
        finally:
            response.close()
        if response.will_close:
            self._discard(connection)
        else:
            connection.used = True
            connection.last_use = self._clock.monotonic()
        return answer

    def _open_stream(self, access: Access, target: str, read_timeout: float) -> Stream | Answer:
        message = self._message(access, "GET", target, None, "")
        connection = self._open(access, read_timeout)
        response = http.client.HTTPResponse(connection.sock, method="GET")
        try:
            connection.sock.sendall(message)
            response.begin()
            if response.status == 200:
                return Stream(connection, response)
            answer = _answer(response)
        except (OSError, http.client.HTTPException, ValueError) as error:
            response.close()
            connection.close()
            raise reading_failed(access, error) from error
        response.close()
        connection.close()
        return answer

    def _message(
        self, access: Access, method: str, target: str, body: bytes | None, content_type: str
    ) -> bytes:
        known, head = self._head
        if known is not access:
            lines = [
                f"Host: {access.url.split('://', 1)[1].removesuffix(access.prefix)}",
                f"User-Agent: {self._user_agent}",
                "Accept: application/json",
            ]
            if access.authorization:
                lines.append(f"Authorization: {access.authorization}")
            head = "".join(f"{line}\r\n" for line in lines).encode("latin-1", "replace")
            self._head = (access, head)
        start = f"{method} {access.prefix}{target} HTTP/1.1\r\n".encode("ascii")
        if body is None:
            return start + head + b"\r\n"
        return b"%b%bContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (
            start,
            head,
            content_type.encode("ascii"),
            len(body),
            body,
        )

    def _connection(self, access: Access) -> _Connection:
        connection: _Connection | None = getattr(self._local, "connection", None)
        if connection is not None and connection.sock is not None:
            idle = self._clock.monotonic() - connection.last_use
            # A new token needs no new connection; new certificates or another address do.
            same = connection.access is access or (
                connection.access.tls is access.tls and connection.access.url == access.url
            )
            if same and idle < IDLE_SECONDS and not connection.is_stale():
                return connection
            self._discard(connection)
        return self._reconnect(access)

    def _reconnect(self, access: Access) -> _Connection:
        connection = self._open(access, self._read_timeout)
        self._local.connection = connection
        with self._lock:
            for thread in [thread for thread in self._connections if not thread.is_alive()]:
                self._connections.pop(thread).close()
            self._connections[threading.current_thread()] = connection
        return connection

    def _open(self, access: Access, read_timeout: float) -> _Connection:
        connection = _Connection(access, self._connect_timeout)
        try:
            connection.connect()
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            raise connecting_failed(access, error) from error
        connection.sock.settimeout(read_timeout)
        connection.last_use = self._clock.monotonic()
        return connection

    def _discard(self, connection: _Connection) -> None:
        connection.close()
        self._local.connection = None
        with self._lock:
            thread = threading.current_thread()
            if self._connections.get(thread) is connection:
                del self._connections[thread]


class _NotSent(Exception):
    """The request did not leave."""


class _Unanswered(Exception):
    """The request left, and the connection ended before the first byte of an answer."""


def _answer(response: http.client.HTTPResponse) -> Answer:
    headers = response.headers
    return Answer(
        response.status,
        headers.get("Content-Type", ""),
        headers.get("Retry-After"),
        headers.get("Location"),
        response.read(),
    )
