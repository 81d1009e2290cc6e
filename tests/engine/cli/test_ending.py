"""`berth run` is ended while it starts, when nothing is there yet that has to be brought to its end."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.cli.ending import SIGNALS, ending_at_once
from tests.docs.blocks import ROOT

PATIENCE = 60.0


@pytest.fixture
def silent_server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        yield server


def kubeconfig(folder: Path, server: socket.socket) -> Path:
    path = folder / "kubeconfig"
    cluster = {"server": f"http://127.0.0.1:{server.getsockname()[1]}"}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": cluster}],
        "users": [{"name": "u", "user": {}}],
    }
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_it_while_the_server_says_nothing(
    number: signal.Signals, silent_server: socket.socket, tmp_path: Path
) -> None:
    (tmp_path / "a.policy").write_text("rule r for all pods {\n  require node.ready\n}\n")
    given = ["--policies", "a.policy", "--kubeconfig", str(kubeconfig(tmp_path, silent_server))]
    with subprocess.Popen(
        [sys.executable, "-c", "from engine.cli import main; main()", "run", *given],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        connection, _ = silent_server.accept()  # it has asked for a list, and is importing or waiting
        with connection:
            process.send_signal(number)
            said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert b"Traceback" not in said


def test_signals_are_handed_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with ending_at_once():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_who_has_taken_them_over_keeps_them() -> None:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        with ending_at_once():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) == before[signal.SIGINT]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
