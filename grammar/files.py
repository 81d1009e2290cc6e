"""Policy sets from texts, files and folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from grammar.check import check
from grammar.diagnostic import Diagnostic, sort_key
from grammar.parser import normalised, parse
from grammar.policy import CheckedPolicy
from grammar.span import Span

SUFFIX = ".policy"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a policy set.

    ``policy`` is None where there is an error. ``diagnostics`` are in the order of file and place. ``sources`` are the
    texts that could be read, by the names that spans have; line feeds end all lines. ``paths`` are where the files are,
    by the same names, as they were given.
    """

    policy: CheckedPolicy | None
    diagnostics: tuple[Diagnostic, ...]
    sources: tuple[tuple[str, str], ...]
    paths: tuple[tuple[str, str], ...] = ()


def check_texts(texts: Mapping[str, str]) -> Result:
    """Checks a policy set that is given as texts, by their names. Bad text is a diagnostic, never an exception."""
    return _check({name: normalised(text) for name, text in texts.items()}, [])


def check_paths(paths: Iterable[Path]) -> Result:
    """Checks the policy set of some files and folders.

    A folder stands for the ``*.policy`` files right in it (not in its sub-folders), as a ConfigMap is mounted: the
    links are followed, the hidden folders behind them are not read. A file that is named twice is read once. What
    cannot be read is a diagnostic, never an exception.

    A span names a file by its base name where that is unique, else by its path as given.
    """
    troubles: list[Diagnostic] = []
    found: dict[Path, str] = {}
    for path in _policies(paths, troubles):
        known = _resolved(path)
        if known not in found:
            found[known] = str(path)
    named = list(found.values())
    bases = [Path(path).name for path in named]
    texts: dict[str, str] = {}
    where: dict[str, str] = {}
    for given, base in zip(named, bases, strict=True):
        name = base if bases.count(base) == 1 else given
        where[name] = given
        try:
            texts[name] = normalised(Path(given).read_bytes().decode("utf-8"))
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            troubles.append(
                Diagnostic(
                    "P002",
                    f"the file is not UTF-8 text (line {line})",
                    _whole(name),
                    help="save it as UTF-8: in most editors, “save with encoding”",
                )
            )
        except (OSError, ValueError) as error:
            troubles.append(_unreadable(given, error))
    return replace(_check(texts, troubles), paths=tuple(where.items()))


def _check(texts: Mapping[str, str], troubles: list[Diagnostic]) -> Result:
    diagnostics = list(troubles)
    files = []
    for name, text in texts.items():
        file, errors = parse(name, text)
        files.append(file)
        diagnostics += errors
    policy, found = check(files, whole_files=not diagnostics)
    diagnostics += found
    sources = tuple(sorted(texts.items()))
    if policy is not None:
        policy = replace(policy, sources=sources)
    return Result(policy, tuple(sorted(diagnostics, key=sort_key)), sources)


def _policies(paths: Iterable[Path], troubles: list[Diagnostic]) -> Iterator[Path]:
    for path in paths:
        try:
            if not path.is_dir():
                yield path
                continue
            inside = sorted(
                path / entry.name
                for entry in os.scandir(path)
                if entry.name.endswith(SUFFIX) and not entry.name.startswith(".") and not entry.is_dir()
            )
        except (OSError, ValueError) as error:
            troubles.append(_unreadable(str(path), error))
            continue
        if not inside:
            troubles.append(
                Diagnostic(
                    "P003",
                    f"no `*{SUFFIX}` file in this folder",
                    _whole(str(path)),
                    help="policies stand right in the folder, not in folders inside it",
                )
            )
        yield from inside


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError):
        return path


def _unreadable(path: str, error: Exception) -> Diagnostic:
    reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    return Diagnostic(
        "P001", f"cannot be read: {reason.lower()}", _whole(path), help="check the path and its permissions"
    )


def _whole(name: str) -> Span:
    """A span for a file as a whole, which has no line."""
    return Span(name, 0, 0, 0, 0)
