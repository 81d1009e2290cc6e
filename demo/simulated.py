"""``make demo``: what Berth does, on a simulated cluster, one command after another.

Each step prints the command that it runs, so that it can be typed again and changed.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

STEPS = [
    (
        "The policies check: every name is known, every unit is there, no rule contradicts another.",
        "berth lint policies/edge.policy",
    ),
    (
        "Six edge nodes in three zones, three cloud nodes, and the demo's workloads under policies/edge.policy.",
        "berth simulate --nodes demo/nodes.yaml --delays demo/delays.csv "
        "--policies policies/edge.policy demo/workloads",
    ),
    (
        "A pod that fits nowhere waits, is told why, and finds its place when a node joins a minute later.",
        "berth simulate --scenario demo/edge.scenario.yaml --timeline",
    ),
    (
        "The research prototype's workloads, with its own delay files, under policies/seed.policy.",
        "berth simulate --nodes demo/prototype/nodes.yaml --delays demo/prototype/matrix.txt "
        "--delays demo/prototype/metadata.json --policies policies/seed.policy "
        "demo/prototype/req1.yaml demo/prototype/req2.yaml demo/prototype/req3.yaml demo/prototype/req4.yaml",
    ),
]


def main() -> int:
    """Run the steps; the first that fails ends the demo with its status."""
    berth = str(Path(sys.executable).parent / "berth")
    bold, reset = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    for number, (what, command) in enumerate(STEPS, 1):
        print(f"\n{bold}{number}. {what}{reset}\n$ {command}\n", flush=True)
        words = shlex.split(command)
        status = subprocess.run([berth, *words[1:]], cwd=ROOT, check=False).returncode
        if status:
            print(f"error: the command ended with status {status}", file=sys.stderr)
            return status
    print(
        f"\n{bold}Change a policy or a manifest and run a command again; docs/language.md has the language.{reset}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
