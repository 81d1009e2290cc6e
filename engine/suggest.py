"""What somebody may have meant: a suggestion only where it is near."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from grammar.suggest import likely


def suggestion(word: str, choices: Iterable[str]) -> str:
    """``; did you mean X?`` where one of the choices is near the word, else "".

    Of very many choices only some are looked at: those that begin and end alike, and of these those that are as long.
    """
    known = list(dict.fromkeys(choices))
    near = get_close_matches(word, likely(word, known), n=1, cutoff=0.75)
    return f"; did you mean {near[0]}?" if near else ""
