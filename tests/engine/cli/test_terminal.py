"""Escape codes go to terminals only, never where NO_COLOR is set; what is shown fits; long runs show progress."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping

import pytest
from rich.console import Console

from engine.cli.clock_times import clock_time
from engine.cli.progress import Line, Silence, progress
from tests.engine.cli.berth import SIMULATE, WORLD, run

ESCAPE = "\x1b"


def on_a_terminal(columns: int, env: Mapping[str, str]) -> str:
    """What ``berth simulate`` prints on a terminal of that width."""
    reader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    clean = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")}  # fmt: skip  # noqa: E501
    with subprocess.Popen(
        [sys.executable, "-c", "from engine.cli import main; main()", *SIMULATE],
        cwd=WORLD,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**clean, "TERM": "xterm-256color", **env},
    ) as process:
        os.close(terminal)
        printed = b""
        while True:
            try:
                piece = os.read(reader, 65536)
            except OSError:  # Linux says so when the other end is closed
                break
            if not piece:
                break
            printed += piece
        os.close(reader)
        assert process.wait(60) == 0, printed
    return printed.decode().replace("\r\n", "\n")


def test_a_terminal_has_colours_and_its_width() -> None:
    printed = on_a_terminal(70, {})
    assert f"{ESCAPE}[1;32mcloud-1{ESCAPE}[0m" in printed
    plain = run(SIMULATE, WORLD, 70).stdout
    assert ESCAPE not in plain
    assert len(printed.splitlines()) == len(plain.splitlines())


def test_a_wide_terminal_has_a_table() -> None:
    assert "why not the others" in on_a_terminal(170, {})


@pytest.mark.parametrize(
    "env", [pytest.param({"NO_COLOR": "1"}, id="NO_COLOR"), pytest.param({"TERM": "dumb"}, id="dumb")]
)
def test_a_terminal_without_colours(env: dict[str, str]) -> None:
    printed = on_a_terminal(80, env)
    assert ESCAPE not in printed
    assert "overflowing on cloud-1 at 0:30" in printed


@pytest.mark.parametrize("arguments", [[], ["--timeline"], ["--format", "json"]], ids=" ".join)
@pytest.mark.parametrize("env", [{}, {"FORCE_COLOR": "1"}], ids=["plain", "FORCE_COLOR"])
def test_what_is_no_terminal_gets_no_escape_codes(arguments: list[str], env: dict[str, str]) -> None:
    result = run([*SIMULATE, *arguments], WORLD, env=env)
    assert ESCAPE not in result.stdout + result.stderr
    assert result.stdout


class Ticks:
    """A clock that goes on by a fixed step each time it is read."""

    def __init__(self, step: float) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def shown(step: float, decisions: int) -> str:
    out = io.StringIO()
    with Line(Console(file=out, force_terminal=True, width=100), Ticks(step)) as line:
        for number in range(decisions):
            line.decided(number / 10, placed=number % 2 == 0)
    return out.getvalue()


def test_short_runs_show_no_progress() -> None:
    assert shown(step=0.001, decisions=900) == ""


def test_long_runs_do_and_clean_up() -> None:
    text = shown(step=0.01, decisions=2000)
    assert "simulating: 0:09.9 of virtual time, 50 pods placed, 100 decisions" in text, "after a second"
    assert 150 < text.count("simulating") <= 200, "some ten times a second"
    assert text.endswith(f"{ESCAPE}[2K"), "the line is wiped at the end"


def test_progress_needs_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    assert isinstance(progress(), Silence)
    monkeypatch.setattr(stream, "isatty", lambda: True)
    assert isinstance(progress(), Line)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress(), Silence)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (0.04, "0:00"), (0.5, "0:00.5"), (65, "1:05"), (59.96, "1:00"), (5400, "1:30:00")],
)
def test_virtual_time_as_people_read_it(seconds: float, text: str) -> None:
    assert clock_time(seconds) == text
