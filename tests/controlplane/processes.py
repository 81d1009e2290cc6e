"""One program of the control plane: started in a process group of its own, its output in a log file, stopped by pid."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_LAST_LINES = 15
_POLL_SECONDS = 0.05

# Asks the kernel to end the program when we die, however we die: a test run that is killed leaves nothing behind.
# A child process that sets this on itself and then becomes the program needs no code between fork and exec. The
# signal comes when the *thread* that started the program ends, so programs are started from a thread that stays.
_DIE_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


class ProcessError(Exception):
    """A program ended or did not become ready; the message names its log file and has its last lines."""


def free_port() -> int:
    """Returns a TCP port of the loopback interface that the kernel says is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """A running program.

    Attributes:
        name: what to call it in messages.
        pid: its process id, which is also its process group's.
        log: the file that has its standard output and error.
        stopped: whether it was `stop` or `kill` that ended it, and not itself.
    """

    def __init__(
        self, name: str, command: Sequence[str | Path], log: Path, env: dict[str, str] | None = None
    ) -> None:
        """Starts the program.

        Args:
            name: what to call it in messages.
            command: the program's absolute path and its arguments.
            log: where its output goes (appended).
            env: its environment; ours when None.

        Raises:
            ProcessError: if it cannot be started at all.
        """
        self.name = name
        self.log = log
        arguments = [str(part) for part in command]
        if sys.platform == "linux":
            arguments = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *arguments]
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=env,
                    start_new_session=True,
                )
        except OSError as error:
            raise ProcessError(f"{name}: cannot start {command[0]}: {error.strerror}") from error
        self.pid = self._process.pid
        self.stopped = False

    def __repr__(self) -> str:
        state = "running" if self.running else f"ended with {self._process.returncode}"
        return f"<{self.name} pid {self.pid}, {state}>"

    @property
    def running(self) -> bool:
        """Whether the program has not ended."""
        return self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """The exit status (minus the signal's number if a signal ended it), None while it runs."""
        return self._process.poll()

    def cpu_seconds(self) -> float:
        """Returns the CPU time used so far, user and system, of all threads (proc(5), fields 14 and 15 of stat).

        Raises:
            ProcessError: if it has ended; read the time before stopping it.
        """
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError as error:
            raise self.failure("has ended, so its CPU time is gone") from error
        # The second field is the name in parentheses and may itself have spaces and parentheses.
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_bytes(self) -> int:
        """Returns the most memory that it has held at any time (proc(5), VmHWM of status)."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError as error:
            raise self.failure("has ended, so its memory is gone") from error
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def wait_until(self, ready: Callable[[], bool], what: str, timeout: float) -> None:
        """Waits until a condition holds, watching that the program lives.

        Args:
            ready: asked about 20 times a second.
            what: the condition in words, for the message.
            timeout: seconds to wait at most.

        Raises:
            ProcessError: if it ends, or the time is over.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.running:
                raise self.failure(f"ended with status {self.returncode} before it was {what}")
            if time.monotonic() > deadline:
                raise self.failure(f"was not {what} after {timeout:.0f} s")
            time.sleep(_POLL_SECONDS)

    def wait(self, timeout: float) -> int:
        """Waits for the program to end by itself and returns its exit status.

        Raises:
            ProcessError: if it still runs when the time (in seconds) is over.
        """
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise self.failure(f"still runs after {timeout:.0f} s") from error

    def stop(self, timeout: float = 10.0) -> None:
        """Ends the program with SIGTERM, and its whole group with SIGKILL if it has not ended after `timeout` seconds.

        Does nothing to a program that has ended.
        """
        if self.running:
            self.stopped = True
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
                self._process.wait()

    def kill(self) -> None:
        """Ends the program at once with SIGKILL, as a crash would."""
        if self.running:
            self.stopped = True
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()

    def last_lines(self, count: int = _LAST_LINES) -> str:
        """Returns the last lines of the log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])
        except OSError as error:
            return f"(no log: {error.strerror})"

    def failure(self, what: str) -> ProcessError:
        """Returns an error that says what happened, names the log file and shows its end."""
        return ProcessError(f"{self.name} {what}\n  log: {self.log}\n" + _indented(self.last_lines()))


def _indented(text: str) -> str:
    return "\n".join(f"  | {line}" for line in text.splitlines()) or "  | (the log is empty)"


def answers_ok(port: int, path: str, context: ssl.SSLContext | None = None, token: str | None = None) -> bool:
    """Says whether a loopback server answers a GET with status 200; False too if nothing listens yet.

    Args:
        port: of 127.0.0.1.
        path: such as ``/readyz``.
        context: speak TLS with this context, plain HTTP when None.
        token: a bearer token to send.
    """
    if context is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    else:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
