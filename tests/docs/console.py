"""Runs the ``console`` blocks of a page, and compares what they show with what comes out.

A line ``$ COMMAND`` is run by a shell in a folder that holds a copy of the demo, the policies and the Makefile, and the
blocks of the page that have a file's name behind their language, as files. ``berth`` and ``python`` are this
environment's; ``make`` takes this environment for its own. The lines that follow are compared with all that the command
prints. Both sides are normalised: blanks at the ends of lines are dropped, and the random part of the names of a
workload's pods becomes ``xxxxx``. In a page, a line ``…`` stands for any lines, also none. A command without such lines
is run, and its output is not compared.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.docs.blocks import ROOT, Block

COLUMNS: Final = 100
ANY_LINES: Final = "…"
_RANDOM: Final = "[bcdfghjklmnpqrstvwxz2456789]"
_GENERATED: Final = re.compile(rf"(?<=[a-z0-9])(?:-{_RANDOM}{{8,10}})?-{_RANDOM}{{5}}(?![a-z0-9-])")


@dataclass(frozen=True, slots=True)
class Step:
    """A command and what the page shows of its output.

    Attributes:
        command: For the shell.
        shown: Lines, normalised; None where the page shows nothing.
    """

    command: str
    shown: tuple[str, ...] | None


def steps(block: Block) -> Iterator[Step]:
    """The commands of a block."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        yield Step(command, tuple(normalised(shown)) or None)


def normalised(text: str) -> list[str]:
    """The lines as they are compared."""
    lines = [_GENERATED.sub("-xxxxx", line.rstrip()) for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def fits(shown: Iterable[str], printed: list[str]) -> bool:
    """Whether lines are what a page shows, where `ANY_LINES` stands for any."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == ANY_LINES else f"{re.escape(line)}\\n" for line in shown
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in printed)) is not None


class Sandbox:
    """A folder in which a page's commands run."""

    def __init__(self, folder: Path, files: Iterable[Block]) -> None:
        self.folder = folder / "checkout"
        self.folder.mkdir()
        for name in ("demo", "policies"):
            shutil.copytree(ROOT / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("Makefile", "setup.py", "pyproject.toml"):
            shutil.copy(ROOT / name, self.folder)
        for block in files:
            (self.folder / block.note).write_text(block.text, encoding="utf-8")
        self._programs = folder / "programs"
        self._programs.mkdir()
        make = shutil.which("make")
        if make is not None:
            wrapper = self._programs / "make"
            # -o: what installs the environment is taken for done.
            installed = [f"-o {sys.prefix}/{mark}" for mark in (".runtime", ".dev")]
            arguments = f"--no-print-directory VENV={sys.prefix} {' '.join(installed)}"
            wrapper.write_text(f'#!/bin/sh\nexec {make} {arguments} "$@"\n', encoding="utf-8")
            wrapper.chmod(0o755)

    def run(self, command: str) -> tuple[int, str]:
        """The exit status of a command, and all that it prints."""
        path = os.pathsep.join([str(self._programs), str(Path(sys.prefix) / "bin"), os.environ["PATH"]])
        dropped = ("NO_COLOR", "FORCE_COLOR", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
        clean = {key: value for key, value in os.environ.items() if key not in dropped}
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.folder,
            env={**clean, "PATH": path, "COLUMNS": str(COLUMNS)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout
