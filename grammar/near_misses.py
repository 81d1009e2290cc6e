"""What of a cluster may have been meant by what a policy says and the cluster does not have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from grammar.render import many
from grammar.suggest import joined, likely, listed, nearest

_COUNTER: Final = re.compile(r"[-_.]?(\d+)([a-z]\b)?|[-_.]([a-z])\b", re.IGNORECASE)
"""What tells those of one name apart: a number, a letter behind one, or a letter by itself."""
_SHOWN: Final = 8


def near_name(word: str, choices: Iterable[str]) -> str | None:
    """The name that is likely to be meant.

    Another number, or another letter that counts, makes no typo: ``edge-7`` is not meant as ``edge-1``, nor
    ``eu-west-1c`` as ``eu-west-1a``. But ``edge1`` is.
    """
    shape, number = _counted(word)
    known = []
    for choice in dict.fromkeys(choices):
        alike, other = _counted(choice)
        if alike != shape or other == number:
            known.append(choice)
    return nearest(word, likely(word, known))


def _counted(name: str) -> tuple[str, list[tuple[int, str]]]:
    """A name without what counts, and that."""
    counters = [
        (int(number or 0), (behind or alone).lower()) for number, behind, alone in _COUNTER.findall(name)
    ]
    return _COUNTER.sub("", name), counters


def near_key(word: str, keys: Iterable[str]) -> str | None:
    """The key that is likely to be meant: prefix and name are compared apart, for long prefixes make all keys alike."""
    prefix, _, name = word.rpartition("/")
    parts = [(key, *key.rpartition("/")) for key in keys]
    same_name = {before: key for key, before, _, after in parts if after == name}
    near = nearest(prefix, likely(prefix, [*same_name]))
    if near is None and len(same_name) == 1 and not prefix:
        near = next(iter(same_name))  # written without its prefix
    if near is not None:
        return same_name[near]
    same_prefix = {after: key for key, before, _, after in parts if before == prefix}
    near = near_name(name, same_prefix)
    return None if near is None else same_prefix[near]


def keys_here(word: str, keys: Iterable[str]) -> str:
    """The sentence that says which keys of labels there are instead."""
    known = sorted(keys)
    near = near_key(word, known)
    if near is not None:
        return f"did you mean `{near}`?"
    return f"nodes here have {listed(known, 'and')}" if known else "no node here has any label"


def values_here(word: str, values: Mapping[str, int]) -> str:
    """The sentence that says which values of a label there are instead, the commonest first."""
    near = near_name(word, values)
    said = f"did you mean `{near}`? " if near is not None else ""
    ranked = sorted(values, key=lambda value: (-values[value], value))
    shown = [f"`{value}` on {many(values[value], 'node')}" for value in ranked[:_SHOWN]]
    rest = [f"{len(ranked) - _SHOWN:,} more values"] if len(ranked) > _SHOWN else []
    return f"{said}here are {joined([*shown, *rest], 'and')}"


def names_here(word: str, names: Mapping[str, Iterable[str]]) -> str:
    """The sentence that says which names there are instead, by what they are names of."""
    near = near_name(word, [name for group in names.values() for name in group])
    if near is not None:
        return f"did you mean `{near}`?"
    told = [f"{what} here are {listed(group, 'and')}" for what, group in names.items() if group]
    return "; ".join(told)
