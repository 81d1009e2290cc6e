"""Programs are started, watched and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.controlplane.processes import Process, ProcessError, free_port

_STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(600)
"""


def _process(tmp_path: Path, code: str) -> Process:
    return Process("it", [sys.executable, "-c", code], tmp_path / "it.log")


def test_a_program_that_ends_too_early_shows_its_last_words(tmp_path: Path) -> None:
    process = _process(
        tmp_path, "print('\\n'.join(str(i) for i in range(99))); raise SystemExit('no such flag: --x')"
    )
    with pytest.raises(ProcessError) as failure:
        process.wait_until(lambda: False, "ready", 20)
    text = str(failure.value)
    assert text.startswith(f"it ended with status 1 before it was ready\n  log: {tmp_path / 'it.log'}\n")
    assert text.endswith("  | 98\n  | no such flag: --x")
    assert "| 50" not in text


def test_a_program_that_is_not_ready_in_time_is_an_error(tmp_path: Path) -> None:
    process = _process(tmp_path, "import time; time.sleep(600)")
    with pytest.raises(ProcessError, match=r"it was not ready after 0 s\n.*\n  \| \(the log is empty\)"):
        process.wait_until(lambda: False, "ready", 0)
    process.stop()
    assert process.returncode == -signal.SIGTERM


def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    process = _process(tmp_path, _STUBBORN)
    process.wait_until(lambda: "up" in process.last_lines(), "up", 20)
    assert os.getpgid(process.pid) == process.pid
    process.stop(timeout=0.1)
    assert process.returncode == -signal.SIGKILL
    process.stop()  # a second time is harmless


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    process = Process("it", [tmp_path / "absent"], tmp_path / "it.log")
    with pytest.raises(ProcessError, match="No such file"):
        process.wait_until(lambda: False, "ready", 20)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_a_program_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, os, signal; from pathlib import Path; from tests.controlplane.processes import Process\n"
        "p = Process('it', [sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(600)'],"
        " Path(sys.argv[1]))\n"
        "p.wait_until(lambda: '1' in p.last_lines(), 'up', 20)\n"
        "print(p.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "it.log"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    stat = Path(f"/proc/{int(done.stdout)}/stat")
    for _ in range(10_000):
        # Gone, or a zombie that waits for whoever reaps orphans here.
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return
    pytest.fail("the program survived its starter")


def test_cpu_time_and_memory_are_those_of_the_program(tmp_path: Path) -> None:
    process = _process(
        tmp_path, "sum(range(20_000_000)); print('done', flush=True); import time; time.sleep(600)"
    )
    process.wait_until(lambda: "done" in process.last_lines(), "done", 60)
    assert process.cpu_seconds() > 0.05
    assert process.peak_bytes() > 1_000_000
    process.kill()
    with pytest.raises(ProcessError, match="has ended, so its CPU time is gone"):
        process.cpu_seconds()


def test_free_ports_differ() -> None:
    assert len({free_port() for _ in range(5)}) > 1
