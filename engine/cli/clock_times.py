"""Virtual time as people read it."""

from __future__ import annotations


def clock_time(seconds: float) -> str:
    """Time since the start of a simulation: ``1:05``, ``0:00.5`` or ``1:30:00``."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    whole = f"{hours}:{minutes:02}" if hours else str(minutes)
    return f"{whole}:{rest // 10:02}" + (f".{rest % 10}" if rest % 10 else "")
