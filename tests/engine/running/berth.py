"""``berth run`` in a process of its own, on a real control plane, as an operator sees it: log, HTTP, exit status."""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.controlplane import ControlPlane
from tests.controlplane.processes import Process

NO_RULES = "# nothing is ruled here\n"
PATIENCE = 20.0
MACHINE_SECONDS = 5.0
"""What a busy machine may add to any time; without it, times are shown with clocks of the tests' own."""


class Berth:
    """A running scheduler.

    Attributes:
        process: Its process.
        policies: Its policy file, to be changed.
        settings: Its settings file.
    """

    def __init__(
        self,
        plane: ControlPlane,
        folder: Path,
        *,
        name: str = "berth",
        kubeconfig: Path | None = None,
        settings: Mapping[str, Any] | None = None,
        policies: str = NO_RULES,
        delays: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.policies = folder / "rules.policy"
        if not self.policies.exists():
            self.policies.write_text(policies)
        chosen = {"server": {"address": "127.0.0.1:0"}, **(settings or {})}
        self.settings = file = folder / f"{name}.settings.yaml"
        file.write_text(yaml.safe_dump(chosen))
        command: list[str | Path] = [Path(sys.executable).with_name("berth"), "run"]
        command += ["--policies", self.policies, "--settings", file]
        command += ["--kubeconfig", kubeconfig or plane.kubeconfig]
        if delays is not None:
            self.delays = folder / "delays.csv"
            self.delays.write_text(delays)
            command += ["--delays", self.delays]
        self._log = folder / f"{name}.log"
        self._offset = self._log.stat().st_size if self._log.exists() else 0
        self.process = Process(name, command, self._log, env={**os.environ, **(env or {})})

    # What it says

    def lines(self) -> list[dict[str, Any]]:
        """Its log so far; what is no JSON is a line with that text as its message."""
        with self._log.open("rb") as file:
            file.seek(self._offset)
            text = file.read().decode()
        found = []
        for line in text.splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append({"level": "", "message": line})
        return found

    def messages(self) -> list[str]:
        return [line["message"] for line in self.lines()]

    def says(self, part: str) -> bool:
        return any(part in message for message in self.messages())

    def wait_until(self, condition: Callable[[], bool], what: str, timeout: float = PATIENCE) -> None:
        self.process.wait_until(condition, what, timeout)

    def wait_for(self, part: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """The first line of the log with this in its message."""
        self.wait_until(lambda: self.says(part), f"saying {part!r}", timeout)
        return next(line for line in self.lines() if part in line["message"])

    def wait_ready(self) -> None:
        self.wait_for("in step with the cluster")

    # What it answers

    def get(self, path: str) -> tuple[int, str]:
        """Status and body."""
        address = self.wait_for("metrics and health at")["address"]
        host, _, port = address.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name with these labels."""
        status, text = self.get("/metrics")
        assert status == 200
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    # How it ends

    def terminate(self, timeout: float = 10.0) -> float:
        """Ends it by SIGTERM; how many seconds that took."""
        began = time.monotonic()
        self.process.stop(timeout)
        return time.monotonic() - began


Start = Callable[..., Berth]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a scheduler, and ends it after the test."""
    started: list[Berth] = []

    def start(plane: ControlPlane, **options: Any) -> Berth:
        started.append(Berth(plane, tmp_path, **options))
        return started[-1]

    yield start
    for berth in started:
        berth.process.kill()
