"""Durations as people write them: ``500ms``, ``30s``, ``5min``, ``1h``, or several in a row: ``1h30min``."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|min|h)", re.ASCII)
PATTERN: Final = r"^(\d+(\.\d+)?(ms|s|min|h))+$"
"""The same as a regular expression, for schemas."""


class DurationError(ValueError):
    """A text that is no duration."""

    def __init__(self, text: object) -> None:
        super().__init__(
            f"{text!r} is not a duration; write a number with its unit (ms, s, min, h), such as 30s or 1h30min"
        )


def seconds(text: str) -> float:
    """The duration in seconds.

    Raises:
        DurationError: The text is none.
    """
    if not re.fullmatch(PATTERN, text, re.ASCII):
        raise DurationError(text)
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def text(seconds_: float) -> str:
    """The duration in words, in its largest whole units: ``1min30s``."""
    millis = round(seconds_ * 1000)
    parts = []
    for unit, size in (("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1)):
        count, millis = divmod(millis, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
