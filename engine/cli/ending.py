"""Being ended by a signal before anything is there that has to be brought to its end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

ENDED: Final = 0
"""Exit status where a signal ended it."""
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def ending_at_once() -> Iterator[None]:
    """A signal ends the process right away, until somebody takes the signals over who has more to do then.

    Without that the first process of a container would not hear them at all: the kernel keeps from it what it has no
    handler for, and so it would be killed only at the end of its grace.
    """
    before = {number: signal.signal(number, _end) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is _end:
                signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  (the signal module's)
    raise SystemExit(ENDED)
