"""``berth probe`` as it is started: what it refuses, and three that find each other."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from engine.cli.command import BAD_INPUT, MISUSED
from engine.probe.state import ProbeState, decode_state
from tests.engine.cli.berth import run

KEY = "0123456789abcdef0123456789abcdef"
BERTH = [sys.executable, "-c", "from engine.cli import main; main(prog_name='berth')"]


@pytest.mark.parametrize(
    ("arguments", "status", "expected"),
    [
        pytest.param([], MISUSED, "Missing option '--key-file'", id="no key"),
        pytest.param(
            ["--key-file", "none"],
            BAD_INPUT,
            "error: none: no such file or directory; check the path",
            id="missing",
        ),
        pytest.param(
            ["--key-file", "short"], BAD_INPUT, "error: short:1: 5 bytes are too few for a key", id="short"
        ),
        pytest.param(
            ["--key-file", "key", "--echo", "10271"],
            MISUSED,
            "'10271' is no endpoint; write HOST:PORT, such as 0.0.0.0:10270",
            id="endpoint",
        ),
        pytest.param(["--key-file", "key", "--peers", "x:y"], MISUSED, "'x:y' is no endpoint", id="peers"),
        pytest.param(["--key-file", "key", "--period", "1ms"], BAD_INPUT, "write 100ms to 1h", id="period"),
        pytest.param(
            ["--key-file", "key", "--echo", "192.0.2.1:0"],
            BAD_INPUT,
            "error: cannot listen on 192.0.2.1, port 0: cannot assign requested address; give another --echo",
            id="not ours",
        ),
        pytest.param(
            ["--key-file", "key", "--echo", "127.0.0.1:0", "--address", "edge-1"],
            BAD_INPUT,
            "error: --address: 'edge-1' is no IP address that others can reach; write such as 10.0.0.7",
            id="address",
        ),
        pytest.param(
            ["--key-file", "key", "--echo", "127.0.0.1:0", "--listen", "192.0.2.1:0"],
            BAD_INPUT,
            "error: cannot listen on 192.0.2.1, port 0: cannot assign requested address; give another --listen",
            id="listen",
        ),
    ],
)
def test_bad_input(tmp_path: Path, arguments: list[str], status: int, expected: str) -> None:
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "short").write_text("short")
    result = run(["probe", *arguments], tmp_path)
    assert result.exit_code == status
    assert expected in result.stderr


class Running:
    """One process."""

    def __init__(self, number: int, key: Path, peers: list[str], http: int = 0) -> None:
        host = f"127.0.0.{number}"
        self.process = subprocess.Popen(
            [
                *BERTH, "probe", "--key-file", str(key), "--node", f"n{number}", "--echo", f"{host}:0",
                "--listen", f"{host}:{http}", "--period", "200ms", *[f"--peers={peer}" for peer in peers],
            ],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        told = re.search(r"probe of n\d+ at ([\d.]+), port (\d+); state at port (\d+)", line)
        assert told is not None, line
        self.echo = f"{told[1]}:{told[2]}"
        self.http = f"{told[1]}:{told[3]}"

    def state(self) -> ProbeState:
        with urllib.request.urlopen(f"http://{self.http}/state", timeout=10) as answer:
            return decode_state(answer.read())

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.stderr is not None
        with self.process.stderr:
            self.process.stderr.read()
        return self.process.wait(10)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Running]]:
    key = tmp_path_factory.mktemp("probe") / "key"
    key.write_text(KEY)
    with ExitStack() as stack:
        made: list[Running] = []
        for number in (21, 22, 23):
            one = Running(number, key, [made[0].echo] if made else [])
            stack.callback(one.process.kill)
            made.append(one)
        yield made
        assert [one.end() for one in made] == [0, 0, 0]


def measured(one: Running) -> bool:
    state = one.state()
    return state.members == 2 and sum(peer.ms is not None for peer in state.peers) == 2


def test_three_find_and_measure_each_other(three: list[Running], tmp_path: Path) -> None:
    deadline = time.monotonic() + 60
    while not all(measured(one) for one in three):
        assert time.monotonic() < deadline, [one.state() for one in three]
    for one in three:
        state = one.state()
        assert all(peer.by == "udp" for peer in state.peers)
        assert state.counts.keys() <= {"pings", "pongs", "late", "lost"}
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "s.yaml").write_text(
        f"delays: {{source: probe}}\nprobe: {{service: '{three[1].http}', keyFile: key}}\n"
    )
    told = run(["delays", "--settings", "s.yaml", "--from", "n22", "--format", "json"], tmp_path)
    assert told.exit_code == 0, told.output
    shown = json.loads(told.stdout)
    assert shown["source"] == "delays of the probes"
    assert {one["name"] for one in shown["to"] if one["ms"] is not None} == {"n21", "n23"}
    (tmp_path / "key").write_text("another key of 16+ bytes")
    refused = run(["delays", "--settings", "s.yaml"], tmp_path)
    assert refused.exit_code == 3
    assert "not signed with our key; is probe.keyFile that of the probes?" in refused.stderr


def test_it_stays_small() -> None:
    """One runs on every node: no NumPy, no language, no schemas, no cluster."""
    heavy = ["numpy", "lark", "jsonschema", "yaml", "rich", "kubernetes", "urllib3"]
    code = f"import sys, engine.cli.probe; print([one for one in {heavy} if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
