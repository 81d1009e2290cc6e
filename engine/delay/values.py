"""What a single entry of a delay file may be."""

from __future__ import annotations

import math

from engine.delay.map import MAX_MS


def complaint(text: str) -> str | None:
    """Why the text is no delay in milliseconds, with the remedy; None where it is one.

    The readers check values fast; this is asked only about those that failed, to find the words.
    """
    shown = repr(text) if len(text) <= 40 else repr(text[:40]) + "…"
    if not text:
        return "the delay is missing; write milliseconds, such as 12.5, or leave the line out"
    try:
        value = float(text)
    except ValueError:
        lowered = text.lower()
        for unit in ("ms", "us", "µs", "s"):
            if lowered.endswith(unit) and _is_number(lowered.removesuffix(unit).strip()):
                return f"{shown} has a unit; write the number of milliseconds alone, such as 12.5"
        return f"{shown} is not a number; write milliseconds, such as 12.5"
    if "_" in text:
        return f"{shown} is not a number; write milliseconds without _, such as 12.5"
    if math.isnan(value):
        return "NaN is no delay; measure this pair, or use the table from,to,ms and leave it out"
    if math.isinf(value):
        return f"{shown} is no delay; give what was measured, at most {MAX_MS:.0f} ms"
    if value < 0:
        return f"{shown} is negative; a round trip is 0 ms or more"
    if value > MAX_MS:
        return f"{shown} is more than {MAX_MS:.0f} ms; is it in microseconds? write milliseconds"
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def name_complaint(name: str) -> str | None:
    """Why the text names no endpoint; None where it does."""
    if not name:
        return "the name is missing"
    if len(name) > 253:
        return f"{name[:40]!r}… is longer than the 253 characters of a name"
    if any(character.isspace() or not character.isprintable() or character in "\"'" for character in name):
        return f"{name!r} is no name; a name has no blanks and no quotes"
    return None
