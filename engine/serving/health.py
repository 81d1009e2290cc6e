"""Whether a running scheduler works, check by check, in the form that Kubernetes' own components answer in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at.

    Attributes:
        name: In a word or two, with dashes.
        fault: Says what is wrong, "" where nothing is.
        vital: Whether a fault counts. Others are shown and change no status.
    """

    name: str
    fault: Callable[[], str]
    vital: bool = True


@dataclass(frozen=True, slots=True)
class Health:
    """All checks of one path.

    Attributes:
        name: What is checked, as the answer's last line names it.
        checks: In the order in which they are shown.
    """

    name: str
    checks: Sequence[Check]

    def answer(self) -> tuple[bool, str]:
        """Whether nothing vital is wrong, and all checks as text: ``[+]`` good, ``[-]`` bad, ``[!]`` worth a look."""
        lines = []
        healthy = True
        for check in self.checks:
            fault = check.fault()
            if not fault:
                lines.append(f"[+]{check.name} ok")
            elif check.vital:
                healthy = False
                lines.append(f"[-]{check.name} failed: {fault}")
            else:
                lines.append(f"[!]{check.name}: {fault}")
        lines.append(f"{self.name} check {'passed' if healthy else 'failed'}")
        return healthy, "\n".join(lines) + "\n"
