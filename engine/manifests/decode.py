"""Plain values to objects: every field of the wrong type is told, not only the first."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from engine.yaml_lines import Path

Report = Callable[[Path, str], None]

_T = TypeVar("_T")
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|(\[\.\.\.\])")
_TYPES: Final = re.compile(r"`([^`]+)`")
_WORDS: Final = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
    "datetime": "a time such as 2026-01-31T12:00:00Z",
    "null": "nothing",
}
_MOST: Final = 50
"""Wrong fields of one object after which nobody reads on."""


def without_nulls(value: Any) -> Any:
    """A copy of the value in which keys without a value are absent, as the API server takes them."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def decode(value: Any, type_: type[_T], path: Path, report: Report) -> _T | None:
    """The object that a plain value stands for; None where fields of the wrong type were reported.

    Args:
        value: As read from the file, without nulls.
        type_: A Struct.
        path: Where the value stands in its document.
        report: Told of each wrong field.
    """
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        fault = error
    rest = copy.deepcopy(value)
    for _ in range(_MOST):
        at, message = _explained(rest, str(fault))
        report((*path, *at), message)
        if not at or not _take_away(rest, at):
            return None
        try:
            msgspec.convert(rest, type_)
        except msgspec.ValidationError as error:
            if "missing required field" in str(error):
                return None  # Likely the one that was just taken away.
            fault = error
        else:
            return None
    return None


def _explained(value: Any, fault: str) -> tuple[Path, str]:
    """The path and the sentence of a validation error."""
    what, _, where = fault.partition(" - at `")
    path: list[str | int] = []
    for name, index, _any in _STEP.findall(where.rstrip("`").lstrip("$")):
        if not name and not index:
            break  # Some value of a mapping with keys of any name: msgspec does not say which.
        path.append(int(index) if index else name)
    names = _TYPES.findall(what)
    if "missing required field" in what:
        return (*path, names[0]), "missing; it is required"
    found = value
    for step in path:
        try:
            found = found[step]
        except (KeyError, IndexError, TypeError):
            break
    if "RFC3339" in what:
        return tuple(path), f"{_shown(found)} is not {_words('datetime')}"
    wanted = names[0].split(" | ") if names else ()
    expected = " or ".join(dict.fromkeys(_words(name) for name in wanted if name != "null"))
    if what.startswith("Expected") and expected:
        quoted = "; quote it" if expected == "text" and not isinstance(found, dict | list) else ""
        return tuple(path), f"{_shown(found)} is not {expected}{quoted}"
    return tuple(path), what[:1].lower() + what[1:]


def _words(name: str) -> str:
    return _WORDS.get(name, name)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _take_away(value: Any, path: Path) -> bool:
    """Remove what stands at the path, so that the next fault shows."""
    for step in path[:-1]:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return False
    try:
        del value[path[-1]]
    except (KeyError, IndexError, TypeError):
        return False
    return True
