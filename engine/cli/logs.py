"""Log lines on standard error: text for people, or one JSON object a line.

What a line is about (a pod, a node, a rule) is given as ``extra`` where it is logged: a key of its own in JSON, while
in text the sentence itself has it.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, Protocol

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; all else is the line's own field."""


class LogChoice(Protocol):
    """What `engine.settings.LogSettings` says, which is not imported here: a probe must not carry all settings."""

    @property
    def level(self) -> str:
        """The least that is worth a line."""
        ...

    @property
    def format(self) -> str:
        """``auto``, ``text`` or ``json``."""
        ...


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _OWN and key not in line}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up(settings: LogChoice) -> None:
    """Send the log to standard error as the settings say; where they say nothing, as text if that is a terminal."""
    handler = logging.StreamHandler(sys.stderr)
    form = settings.format if settings.format != "auto" else "text" if sys.stderr.isatty() else "json"
    if form == "json":
        handler.setFormatter(_Json())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)


class _Notes(logging.Handler):
    """Takes warnings as sentences, each once."""

    def __init__(self, notes: list[str], faults: list[BaseException] | None) -> None:
        super().__init__(logging.WARNING)
        self._notes = notes
        self._faults = faults

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and self._faults is not None:
            if record.exc_info[1] is not None:
                self._faults.append(record.exc_info[1])
        elif record.exc_info and logging.lastResort is not None:
            logging.lastResort.handle(record)  # a fault of ours: where it was is worth more than a short note
        told_by_event = hasattr(record, "heal") and not hasattr(record, "pod")
        note = record.getMessage()
        if not told_by_event and note not in self._notes:
            self._notes.append(note)


@contextmanager
def as_notes(notes: list[str], faults: list[BaseException] | None = None) -> Iterator[None]:
    """Have what the engine warns of taken down, where nothing set up a log: a simulation tells of it at its end.

    That nodes are held is left out, for events tell of it.

    Args:
        notes: Takes the sentences.
        faults: Takes errors of ours that were survived; without it they are printed in full at once.
    """
    handler = _Notes(notes, faults)
    engine = logging.getLogger("engine")
    engine.addHandler(handler)
    try:
        yield
    finally:
        engine.removeHandler(handler)
