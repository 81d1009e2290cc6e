"""Policies from files that change while the scheduler runs: a set that does not check never takes effect."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from engine.compile import Plan, compile_policy
from grammar import Result, check_texts, read_paths

GLANCE_SECONDS: Final = 2.0


class PolicySource:
    """Reads a policy set again where its files have changed, and keeps the last good plan where they went bad.

    Args:
        paths: Files and folders, as `grammar.check_paths` takes them.
        on_result: Called with each result that was worked out anew, good or bad; once for each change.
    """

    def __init__(self, paths: Sequence[Path], on_result: Callable[[Result], None] | None = None) -> None:
        self._paths = tuple(paths)
        self._on_result = on_result
        self._version = b""
        self._looked = float("-inf")

    def refresh(self, now: float) -> Plan | None:
        """The new plan where the files have changed for the better, else None.

        Args:
            now: Seconds of a clock that never goes back.
        """
        if now - self._looked < GLANCE_SECONDS:
            return None
        self._looked = now
        sources = read_paths(self._paths)
        version = hashlib.blake2b(repr(sources).encode()).digest()
        if version == self._version:
            return None
        self._version = version
        result = check_texts(sources)
        if self._on_result is not None:
            self._on_result(result)
        return compile_policy(result.policy) if result.policy is not None else None
