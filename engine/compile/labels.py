"""Labels that carry a limit: ``delay_<from>: "25"``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from grammar.labels import MAX_DELAY_MS, milliseconds
from grammar.policy import ForEachLabel
from grammar.span import Span


class LabelError(ValueError):
    """A label whose value is no limit. The pod waits until somebody mends it."""

    def __init__(self, key: str, value: str, span: Span) -> None:
        super().__init__(
            f'label {key}: "{value}" is no delay; '
            f'write milliseconds as a plain number from 0 to {MAX_DELAY_MS}, such as "25"'
        )
        self.span = span


def matching_labels(statement: ForEachLabel, labels: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    """What the variable stands for, with the limit in milliseconds, for each label that fits the pattern.

    Raises:
        LabelError: A value is not a plain number of milliseconds.
    """
    for key in sorted(labels):
        name = statement.bound_by(key)
        if name is not None:
            yield name, _limit(key, labels[key], statement.span)


def _limit(key: str, value: str, span: Span) -> float:
    limit = milliseconds(value)
    if limit is None:
        raise LabelError(key, value, span)
    return limit
