"""What `make demo` claims of each of its steps is what its commands show."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from demo.simulated import STEPS
from tests.engine.cli.berth import run

ROOT = Path(__file__).parents[2]
CLAIMS = {
    # words of the sentence: what must be printed, what must not
    "The policy checks": (["no errors, no warnings"], []),
    "Three cities": (
        ["10 of 10 pods placed", "3.3 / 15ms from gate-vienna", "room can be kept for 8 of 8 covered pods"],
        ["uncovered"],
    ),
    "a node dies": (
        [
            "1:40 edge-1: NodeNotReady",
            "1:50 node edge-1 has been lost for 10s (heal node-loss, edge.policy:",
            "from edge-1 to edge-2, which was kept for it",
            "from edge-1 to edge-5, which was kept for it",
            "no pod breaks a rule at the end",
        ],
        ["not within their limits", "nothing has taken its place"],
    ),
    "a whole city": (
        [
            "no pod was moved",
            "3 of 3 nodes of zone innsbruck are silent: a cut link, not a crash; 2 pods stayed",
        ],
        ["Moving"],
    ),
    "the link between two cities": (
        [
            "22.2 ms from gate-vienna, 15 ms allowed",
            "8 of them as they were before",
            "no pod breaks a rule at the end",
        ],
        ["robot-", "lift-fgk86b68zt-4t9wk from"],
    ),
    "when a node joins": (["1:00 node-join edge-7", "on edge-7 at 1:05", "14 of 14 pods placed"], []),
    "research prototype": (["deployment3", "which was kept for it", "36 ms from edge-1, 25 ms allowed"], []),
}


@pytest.mark.parametrize(("what", "command"), STEPS, ids=[what[:30] for what, _ in STEPS])
def test_each_step_shows_what_it_says(what: str, command: str) -> None:
    [(wanted, unwanted)] = [claim for words, claim in CLAIMS.items() if words in what]
    result = run(shlex.split(command)[1:], ROOT)
    assert (result.exit_code, result.stderr) == (0, "")
    told = " ".join(result.stdout.split())
    for text in wanted:
        assert text in told, text
    for text in unwanted:
        assert text not in told, text


def test_the_whole_of_it() -> None:
    env = {
        key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")
    }
    result = subprocess.run(
        [sys.executable, "-m", "demo.simulated"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=env,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout, "no terminal, no colours"
    assert result.stdout.count("\n$ berth ") == len(STEPS)
