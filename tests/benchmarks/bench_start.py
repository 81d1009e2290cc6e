"""How long ``berth run`` takes from the start of its process until it is in step with a cluster.

``python -m tests.benchmarks.bench_start`` starts an API server with nodes and with pods of another scheduler, starts
Berth again and again, and waits for the line of its log that says so. ``--beside FOLDER`` starts another checkout in
turn, such as of the commit before a change. Neither may write byte code, as in a container with a read-only file
system; what was compiled beforehand is used.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.controlplane import ControlPlane, make_pods, zone_nodes
from tests.controlplane.processes import Process
from tests.engine.running.berth import NO_RULES

_RUN: Final = "import sys; from engine.cli import main; sys.exit(main())"
_IN_STEP: Final = "in step with the cluster"
_PATIENCE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Start:
    """One start.

    Attributes:
        seconds: Until it was in step.
        cpu: Seconds of processor time until then.
    """

    seconds: float
    cpu: float


def main(words: list[str] | None = None) -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench_start", description=__doc__)
    parser.add_argument("--nodes", type=int, default=5000, help="default 5000")
    parser.add_argument("--pods", type=int, default=5000, help="that another scheduler has; default 5000")
    parser.add_argument("--repeat", type=int, default=8, help="starts of each, after one that does not count")
    parser.add_argument("--beside", type=Path, metavar="FOLDER", help="another checkout, started in turn")
    arguments = parser.parse_args(words)
    checkouts = {"here": Path(__file__).parents[2]}
    if arguments.beside is not None:
        checkouts["beside"] = arguments.beside.resolve()
    starts: dict[str, list[Start]] = {name: [] for name in checkouts}
    with ControlPlane() as plane, tempfile.TemporaryDirectory() as folder:
        plane.create_nodes(zone_nodes(arguments.nodes))
        plane.create_pods(make_pods(arguments.pods))
        for number in track(range(arguments.repeat + 1), "starting", console=Console(stderr=True)):
            for name, checkout in checkouts.items():
                start = _start(plane, checkout, Path(folder))
                if number:
                    starts[name].append(start)
    table = Table("checkout", "in step after, median", "at best", "at worst", "processor time, median")
    for name, found in starts.items():
        seconds = [one.seconds for one in found]
        told = (statistics.median(seconds), min(seconds), max(seconds))
        cpu = statistics.median(one.cpu for one in found)
        table.add_row(name, *(f"{one:.2f} s" for one in told), f"{cpu:.2f} s")
    Console().print(table)


def _start(plane: ControlPlane, checkout: Path, folder: Path) -> Start:
    rules = folder / "rules.policy"
    rules.write_text(NO_RULES)
    log = folder / "berth.log"
    log.unlink(missing_ok=True)
    command: list[str | Path] = [sys.executable, "-c", _RUN, "run", "--policies", rules]
    command += ["--kubeconfig", plane.kubeconfig]
    # The folder in which this is called must not come before the checkout.
    only = {"PYTHONPATH": str(checkout), "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    began = time.time()
    process = Process("berth", command, log, env={**os.environ, **only})
    try:
        process.wait_until(lambda: _IN_STEP in log.read_text(), "in step", _PATIENCE)
        cpu = process.cpu_seconds()
    finally:
        process.stop()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    told = next(line["time"] for line in lines if _IN_STEP in line["message"])
    return Start(datetime.fromisoformat(told).timestamp() - began, cpu)


if __name__ == "__main__":
    main()
