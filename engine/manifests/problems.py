"""What is wrong with a manifest, and where."""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.yaml_lines import Path

_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


def dotted(path: Path) -> str:
    """The path as people write it: ``spec.containers[0].name``, ``metadata.labels["example.com/rack"]``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f'["{step}"]'
    return text


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        file: The file's name.
        line: 1-based; 0 where it is the file as a whole.
        path: The field, dotted; "" where it is the document as a whole.
        message: What is wrong and what to do.
    """

    file: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"


class ManifestError(Exception):
    """Manifests that cannot be used. Its text has one line a problem.

    Attributes:
        problems: All of all files, in their order.
    """

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
