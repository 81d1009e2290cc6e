"""``make demo``: pods are placed by delay, a node is lost, a link is cut, another becomes slower; one command a scene.

Each step prints the command that it runs, so that it can be typed again and changed.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

STEPS = [
    (
        "The policy checks: every name is known, every unit is there, no rule contradicts another.",
        "berth lint policies/edge.policy",
    ),
    (
        "Three cities and a cloud. Pods go near the gateway that they name, and for the loss of any one node room is "
        "kept, within each pod's limit.",
        "berth simulate --scenario demo/healing.scenario.yaml --until 50s",
    ),
    (
        "At 1:00 a node dies. Kubernetes gives it up after 40 s; 10 s later its pods are back, in the places that "
        "were kept for them.",
        "berth simulate --scenario demo/healing.scenario.yaml --timeline --since 1min --until 2min30s",
    ),
    (
        "It comes back. At 4:00 a whole city falls silent: a cut link, behind which the pods run on. Nothing moves.",
        "berth simulate --scenario demo/healing.scenario.yaml --timeline --since 3min --until 5min",
    ),
    (
        "At 8:00 the link between two cities becomes slower. Exactly the pods whose limit that breaks move.",
        "berth simulate --scenario demo/healing.scenario.yaml --timeline --since 6min",
    ),
    (
        "Another world: a pod that fits nowhere waits, is told why, and gets its place when a node joins.",
        "berth simulate --scenario demo/edge.scenario.yaml --timeline --since 30s",
    ),
    (
        "The research prototype's workloads, with its own delay files: a node lost, then a slower link.",
        "berth simulate --scenario demo/prototype/loss.scenario.yaml --timeline --since 1min",
    ),
]
WIDTH = 118
"""Columns to which the sentences are filled; what commands print is as wide as the terminal."""


def main() -> int:
    """Run the steps; the first that fails ends the demo with its status."""
    berth = str(Path(sys.executable).parent / "berth")
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    bold, dim, reset = ("\x1b[1;36m", "\x1b[2m", "\x1b[0m") if coloured else ("", "", "")
    for number, (what, command) in enumerate(STEPS, 1):
        print(
            f"\n{bold}{textwrap.fill(f'{number}. {what}', WIDTH)}{reset}\n{dim}$ {command}{reset}\n",
            flush=True,
        )
        words = shlex.split(command)
        status = subprocess.run([berth, *words[1:]], cwd=ROOT, check=False).returncode
        if status:
            print(f"error: the command ended with status {status}", file=sys.stderr)
            return status
    last = "Change the policy, or a scenario, and run a command again (the commands are in .venv/bin)."
    print(f"\n{bold}{last}{reset}\ndocs/language.md has the language, docs/scenario.md what can happen.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
