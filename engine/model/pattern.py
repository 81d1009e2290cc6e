"""Patterns of label and annotation keys: ``*`` stands for any run of characters, all else for itself."""

from __future__ import annotations

import re
from functools import lru_cache


def fits(key: str, pattern: str) -> bool:
    """Whether the whole key fits the pattern."""
    return key == pattern if "*" not in pattern else _compiled(pattern).fullmatch(key) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(piece) for piece in pattern.split("*")), re.DOTALL)
