"""Labels that carry a limit: ``delay_<from>: "25"``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from engine.delay.map import MAX_MS
from grammar.policy import ForEachLabel
from grammar.span import Span

_MILLISECONDS: Final = re.compile(r"\d{1,6}(\.\d{1,6})?", re.ASCII)


class LabelError(ValueError):
    """A label whose value is no limit. The pod waits until somebody mends it."""

    def __init__(self, key: str, value: str, span: Span) -> None:
        super().__init__(
            f'label {key}: "{value}" is no delay; '
            f'write milliseconds as a plain number from 0 to {MAX_MS:.0f}, such as "25"'
        )
        self.span = span


def matching_labels(statement: ForEachLabel, labels: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    """What the variable stands for, with the limit in milliseconds, for each label that fits the pattern.

    Raises:
        LabelError: A value is not a plain number of milliseconds.
    """
    prefix, suffix = statement.prefix, statement.suffix
    for key in sorted(labels):
        if len(key) > len(prefix) + len(suffix) and key.startswith(prefix) and key.endswith(suffix):
            yield key[len(prefix) : len(key) - len(suffix)], _limit(key, labels[key], statement.span)


def _limit(key: str, value: str, span: Span) -> float:
    limit = float(value) if _MILLISECONDS.fullmatch(value) else MAX_MS + 1
    if limit > MAX_MS:
        raise LabelError(key, value, span)
    return limit
