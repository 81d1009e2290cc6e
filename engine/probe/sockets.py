"""A probe's sockets: UDP and, for networks that let only that pass, TCP, on one port; and the threads that serve them.

The clock is read right after a packet came in and right before one leaves; what lies between is told as *held*. All
that a `Prober` knows is behind one lock.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import socket
import threading
import time
from typing import Any, Final

from engine.probe.limits import MAX_PACKET
from engine.probe.prober import TCP, Prober, Send
from engine.probe.state import ProbeState

log = logging.getLogger(__name__)

_TICK_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 5.0
"""A TCP connection that says nothing for so long is closed."""
_AT_ONCE: Final = 64
"""TCP connections that are served at once; more are turned away."""
_CALLERS: Final = 4
"""Threads that measure over TCP."""
_LENGTH_BYTES: Final = 2


class ListenError(Exception):
    """The probe cannot listen; says where, why and what to do."""


class Sockets:
    """Runs a prober from `start` to `stop`.

    Args:
        host: Where to listen, an IP address.
        port: The same, for UDP and TCP; 0 takes any that is free.

    Attributes:
        port: The port that it has.

    Raises:
        ListenError: The address is taken, or is none of this machine's.
    """

    def __init__(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._udp = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._udp.bind((host, port))
            self.port: int = self._udp.getsockname()[1]
            self._tcp = socket.create_server((host, self.port), family=family, backlog=_AT_ONCE)
        except OSError as error:
            self._udp.close()
            raise ListenError(
                f"cannot listen on {host}, port {port}: {reason_of(error)}; give another --echo"
            ) from None
        self._udp.settimeout(0.5)
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._calls: queue.SimpleQueue[Send | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(_AT_ONCE)
        self._threads: list[threading.Thread] = []
        self._prober: Prober | None = None

    @property
    def prober(self) -> Prober:
        """The prober that runs."""
        assert self._prober is not None  # INVARIANT: start comes first
        return self._prober

    def start(self, prober: Prober) -> None:
        """Serve and measure, in threads."""
        self._prober = prober
        runs = [self._tick, self._receive, self._accept, *[self._call] * _CALLERS]
        for run in runs:
            thread = threading.Thread(target=run, name=f"probe{run.__name__.replace('_', '-')}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End; returns when nothing listens any more."""
        self._stop.set()
        for _ in range(_CALLERS):
            self._calls.put(None)
        for listener in (self._tcp, self._udp):
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes up who waits in it
        for thread in self._threads:
            thread.join(2)
        for listener in (self._tcp, self._udp):
            listener.close()

    def dead(self) -> list[str]:
        """Threads that ended although nobody told them to."""
        return (
            [thread.name for thread in self._threads if not thread.is_alive()]
            if not self._stop.is_set()
            else []
        )

    def seeds(self, addresses: list[tuple[str, int]]) -> None:
        """As `Prober.seeds`."""
        with self._changed:
            self.prober.seeds(addresses)

    def state(self) -> ProbeState:
        """As `Prober.state`, now."""
        with self._changed:
            return self.prober.state(time.monotonic())

    def measure(self, node: str, samples: int, timeout: float) -> list[float] | None:
        """Measure to a node now.

        Args:
            node: Whose round trip.
            samples: How many measurements.
            timeout: Seconds for all of them.

        Returns:
            Those that came back in time, ms; None where no probe on that node is known.
        """
        deadline = time.monotonic() + timeout
        found: list[float] = []
        with self._changed:
            while len(found) < samples:
                count, lost, _ = self.prober.samples(node)
                if not self.prober.measure(node, time.monotonic()):
                    return None
                while True:
                    left = deadline - time.monotonic()
                    if left <= 0 or self._stop.is_set():
                        return found
                    self._changed.wait(min(left, 0.5))
                    now_count, now_lost, last = self.prober.samples(node)
                    if now_count > count:
                        found.append(last[-1])
                        break
                    if now_lost > lost:
                        break
        return found

    def request(self, nodes: list[str]) -> int:
        """Measure to some nodes as soon as can be, without waiting; `state` has what comes of it.

        Returns:
            On how many of them a probe is known.
        """
        with self._changed:
            now = time.monotonic()
            return sum([self.prober.measure(node, now) for node in nodes])

    # Threads

    def _tick(self) -> None:
        while not self._stop.wait(_TICK_SECONDS):
            with self._changed:
                sends = self.prober.tick(time.monotonic(), time.time())
                self._changed.notify_all()
            for send in sends:
                if send.by == TCP:
                    self._calls.put(send)
                else:
                    self._post(send)

    def _post(self, send: Send) -> None:
        with self._changed:
            self.prober.sent(send.nonce, time.monotonic())
        try:
            self._udp.sendto(send.data, (send.host, send.port))
        except OSError as error:  # no route, or a family that this socket does not have
            log.debug("%s port %d: %s", send.host, send.port, error)
            with self._changed:
                self.prober.failed(send.nonce, time.monotonic())

    def _receive(self) -> None:
        while not self._stop.is_set():
            try:
                data, source = self._udp.recvfrom(MAX_PACKET + 1)
            except TimeoutError:
                continue
            except OSError as error:
                if self._stop.is_set():
                    return
                log.debug("receiving: %s", error)  # such as a port that an earlier packet did not reach
                continue
            answer = self._take(data)
            if answer is not None:
                with contextlib.suppress(OSError):
                    self._udp.sendto(answer, source)

    def _take(self, data: bytes) -> bytes | None:
        now = time.monotonic()
        with self._changed:
            answer = self.prober.received(data, now, time.time(), clock=time.monotonic)
            self._changed.notify_all()
        return answer

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                if self._stop.wait(0.1):
                    return
                continue
            if not self._room.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection,), name="probe-tcp", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        """Answer one question; a stranger gets nothing, not even a reason."""
        try:
            with connection:
                connection.settimeout(_PATIENCE_SECONDS)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                data = _read_frame(connection)
                answer = self._take(data) if data is not None else None
                if answer is not None:
                    connection.sendall(_frame(answer))
        except OSError as error:
            log.debug("a TCP connection ended early: %s", error)
        finally:
            self._room.release()

    def _call(self) -> None:
        while (send := self._calls.get()) is not None:
            try:
                with socket.create_connection((send.host, send.port), timeout=1.0) as connection:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    with self._changed:
                        self.prober.sent(send.nonce, time.monotonic())
                    connection.sendall(_frame(send.data))
                    answer = _read_frame(connection)
                if answer is not None:
                    self._take(answer)
                    continue
            except OSError as error:
                log.debug("%s port %d by TCP: %s", send.host, send.port, error)
            with self._changed:
                self.prober.failed(send.nonce, time.monotonic())


def reason_of(error: OSError) -> str:
    """Why, in the system's words alone: `socket.create_server` adds its own."""
    return os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error).lower()


def _frame(data: bytes) -> bytes:
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


def _read_frame(connection: Any) -> bytes | None:
    """A whole packet; None where there is none, or one that is too long."""
    head = _read_exactly(connection, _LENGTH_BYTES)
    length = int.from_bytes(head, "big") if head is not None else 0
    return _read_exactly(connection, length) if 0 < length <= MAX_PACKET else None


def _read_exactly(connection: Any, length: int) -> bytes | None:
    data = b""
    while len(data) < length:
        block = connection.recv(length - len(data))
        if not block:
            return None
        data += block
    return data
