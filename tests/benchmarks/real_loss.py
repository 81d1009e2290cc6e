"""How long after the loss of a node its pods are bound again, on a real control plane.

``python -m tests.benchmarks.real_loss`` starts an API server, the controllers and KWOK, makes 200 nodes of which 20 are
within the limit of the pods of one Deployment, for all of which a reserve keeps room, and takes away the heartbeat of
one node. The loss is declared when the duration of the rule is over, counted from the transition of the node's Ready
condition as the API server has it, which is how Berth counts, too: whole seconds, rounded down. When a pod is asked to
leave, when a replacement comes, and when it is bound, is when a watch tells of it. What follows the declaration is
planning, an errand for each pod, the controller that makes the replacements, and their bindings. The processor time of
each program in that time tells whose work it is.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.controlplane import ControlPlane, Options
from tests.engine.running.berth import Berth
from tests.engine.running.site import RESERVE, RULES, Life, Site, workload

NODES = 200
NEAR = 20
LOST_FOR = 5.0
LOSS = f"""
heal node-loss on node lost for {LOST_FOR:g}s {{
  move pods
}}
"""


@dataclass(frozen=True, slots=True)
class Loss:
    """What came of the loss of a node.

    Attributes:
        pods: That it had, all of them covered.
        left: Seconds from the declared loss until all of them are asked to leave.
        came: Until all replacements are made.
        bound: Until all are bound.
        spent: Program → seconds of processor time from the declared loss until all are bound.
    """

    pods: int
    left: float
    came: float
    bound: float
    spent: dict[str, float]

    @property
    def ours(self) -> float:
        """Which share of the processor time is Berth's, in percent."""
        return 100 * self.spent["berth"] / sum(self.spent.values())


def processor_seconds(pid: int) -> float:
    """What a process has used so far, in user and system mode. Source: proc_pid_stat(5), fields 14 and 15."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def measure(plane: ControlPlane, covered: int) -> Loss:
    """Lose a node with about so many covered pods."""
    plane.reset(300)
    started: list[Berth] = []

    def start(plane: ControlPlane, **options: Any) -> Berth:
        started.append(Berth(plane, Path(folder), **options))
        return started[-1]

    with tempfile.TemporaryDirectory() as folder:
        far = {f"n{number:03}": 10.0 if number < NEAR else 50.0 for number in range(NODES)}
        site = Site(plane, start, Path(folder), RULES + RESERVE + LOSS, far, "32", "256Gi", "250")
        try:
            count = covered * NEAR
            site.plane.apply([workload("Deployment", "video", count, "25", "200m", "1Gi")])
            site.await_right({"video": count}, timeout=600)
            site.await_held(300)
            lost = max(site.names[:NEAR], key=site.nodes_of("video").count)
            before, had = site.uids(), len(site.uids("video", lost))
            plane.crash_node(lost)
            plane.await_nodes([lost], "Unknown")
            declared = site.declared(lost) + LOST_FOR
            running = {one.name: one.pid for one in (*plane.processes(), site.berth.process)}
            time.sleep(max(0.0, declared - time.time()))
            used = {name: processor_seconds(pid) for name, pid in running.items()}

            def new() -> list[Life]:
                return [life for uid, life in list(site.diary.lives.items()) if uid not in before]

            # Lists of all pods would keep the API server busy.
            plane.eventually(
                lambda: sum(life.bound is not None for life in new()) >= had, "all are bound", 120
            )
            spent = {name: processor_seconds(pid) - used[name] for name, pid in running.items()}
            site.await_right({"video": count}, [lost])
            assert len(new()) == had
            left = max(life.left or 0.0 for life in site.diary.lives.values())
            came, bound = max(life.came for life in new()), max(life.bound or 0.0 for life in new())
            return Loss(had, left - declared, came - declared, bound - declared, spent)
        finally:
            site.diary.end()
            for berth in started:
                berth.process.kill()


def main(words: list[str] | None = None) -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.real_loss", description=__doc__)
    parser.add_argument(
        "--covered", type=int, action="append", help="covered pods on each near node (default 20 and 100)"
    )
    parser.add_argument("--repeat", type=int, default=3, help="losses of each (default 3)")
    arguments = parser.parse_args(words)
    table = Table(
        "covered pods lost",
        "all asked to leave",
        "all replacements made",
        "all bound",
        "processor",
        "of it ours",
    )
    with ControlPlane(Options(controllers=True, kwok=True)) as plane:
        for covered in arguments.covered or (20, 100):
            for _ in range(arguments.repeat):
                loss = measure(plane, covered)
                times = [
                    f"{one:.2f} s" for one in (loss.left, loss.came, loss.bound, sum(loss.spent.values()))
                ]
                table.add_row(str(loss.pods), *times, f"{loss.ours:.0f}%")
    Console().print(table)


if __name__ == "__main__":
    main()
