"""What is known of a setting beside its value, and the fields that carry it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Setting:
    """What the schema and the documentation know of a field.

    Attributes:
        kind: ``duration``, ``integer``, ``switch`` (true or false), ``name`` (a choice), ``names`` (scheduler names)
            or ``text``.
        reason: What it does and why the default is what it is.
        least: The smallest value, seconds for a duration.
        most: The largest.
        choices: The values of a name.
        pattern: What a text must match.
        example: How a text is written, for messages and the table.
    """

    kind: str
    reason: str
    least: float = 0
    most: float = 0
    choices: tuple[str, ...] = ()
    pattern: str = ""
    example: str = ""


def duration(default: float, least: float, most: float, reason: str) -> Any:
    """Seconds, from ``least`` to ``most``; in a file with a unit."""
    return dataclasses.field(
        default=default, metadata={"setting": Setting("duration", reason, least=least, most=most)}
    )


def integer(default: int, least: int, most: int, reason: str) -> Any:
    """A whole number, from ``least`` to ``most``."""
    return dataclasses.field(
        default=default, metadata={"setting": Setting("integer", reason, least=least, most=most)}
    )


def choice(default: str, choices: tuple[str, ...], reason: str) -> Any:
    """One of a few names."""
    return dataclasses.field(default=default, metadata={"setting": Setting("name", reason, choices=choices)})


def switch(default: bool, reason: str) -> Any:
    """True or false."""
    return dataclasses.field(default=default, metadata={"setting": Setting("switch", reason)})


def text(default: str, pattern: str, example: str, reason: str) -> Any:
    """What matches a pattern; ``example`` shows how it is written."""
    setting = Setting("text", reason, pattern=pattern, example=example)
    return dataclasses.field(default=default, metadata={"setting": setting})
