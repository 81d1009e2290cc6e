"""Delays that somebody else measures, while the scheduler runs: a Goldpinger that answers and falls silent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.controlplane import ControlPlane, make_node, make_pod
from tests.engine.cli.berth import run
from tests.engine.running.berth import Start
from tests.engine.running.test_files import SCHEDULER, near, place

pytestmark = pytest.mark.integration

ADDRESSES = {"source": "10.0.0.1", "left": "10.0.0.2", "right": "10.0.0.3"}


class Goldpinger:
    """Says what it is told to."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self.silent = False
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(owner.answer()).encode()
                self.send_response(503 if owner.silent else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self) -> dict[str, Any]:
        peers = {
            f"pinger-{node}": {"HostIP": ADDRESSES[node], "OK": True, "response-time-ms": value}
            for node, value in self.milliseconds.items()
        }
        source = {"HostIP": ADDRESSES["source"], "OK": True, "response": {"podResults": peers}}
        return {"responses": {"pinger-source": source}}


@pytest.fixture
def goldpinger() -> Iterator[Goldpinger]:
    made = Goldpinger()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_pods_go_by_what_is_measured_and_nowhere_when_that_is_too_old(
    empty_control_plane: ControlPlane, start: Start, goldpinger: Goldpinger, tmp_path: Path
) -> None:
    plane = empty_control_plane
    nodes = [make_node(name, unschedulable=name == "source") for name in ADDRESSES]
    for node in nodes:
        node["status"]["addresses"] = [
            {"type": "Hostname", "address": node["metadata"]["name"]},
            {"type": "InternalIP", "address": ADDRESSES[node["metadata"]["name"]]},
        ]
    plane.create_nodes(nodes)
    goldpinger.milliseconds = {"left": 4, "right": 40}
    berth = start(
        plane,
        policies=near(25),
        settings={
            "server": {"address": "127.0.0.1:0"},
            "delays": {"source": "goldpinger", "period": "1s", "maxAge": "4s"},
            "goldpinger": {"url": goldpinger.url},
        },
    )
    berth.wait_ready()
    assert place(plane, "a") == "left"
    assert berth.metric("berth_delays_endpoints") == 3

    goldpinger.milliseconds = {"left": 40, "right": 4}
    berth.wait_until(lambda: place_of_next(plane) == "right", "the change is seen")

    goldpinger.silent = True
    told = berth.wait_for("the delays of Goldpinger cannot be had; what was measured before holds")
    assert "status 503" in told["problems"][0]
    berth.wait_until(lambda: berth.metric("berth_delays_endpoints") == 0, "what is too old counts no more")
    plane.create_pods([make_pod("late", labels={"app": "x"}, scheduler=SCHEDULER)])
    berth.wait_until(lambda: berth.metric("berth_pending_pods", queue="unschedulable") == 1, "waiting")
    status, text = berth.get("/readyz")
    assert status == 200
    assert "[!]delays: the delays of Goldpinger could not be had for " in text
    assert berth.metric("berth_delays_last_change_ok") == 0

    goldpinger.silent = False
    berth.wait_for("the delays of Goldpinger are good again")
    plane.eventually(lambda: plane.pod("late")["spec"].get("nodeName") == "right", "placed after all")

    # The other commands ask the same source, and read the nodes' addresses from the cluster.
    live: list[str | Path] = ["--kubeconfig", plane.kubeconfig, "--settings", berth.settings]
    shown = json.loads(run(["delays", *live, "--from", "source", "--format", "json"], tmp_path).stdout)
    assert {one["name"]: one["ms"] for one in shown["to"]} == {"left": 40.0, "right": 4.0}
    explained = run(["explain", "late", *live, "--policies", berth.policies], tmp_path)
    assert explained.exit_code == 0, explained.output
    assert "40ms" in explained.stdout.replace(" ", ""), explained.stdout


_numbers = iter(range(1000))


def place_of_next(plane: ControlPlane) -> str:
    return place(plane, f"next-{next(_numbers)}")
