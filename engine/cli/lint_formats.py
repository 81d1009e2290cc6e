"""What `berth lint` prints for programs: one document or one line a finding, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

from engine.cli.junit import Case, as_junit
from grammar import Diagnostic, Result, Severity
from grammar.github import as_github
from grammar.render import as_json, sentences, text
from grammar.sarif import as_sarif


def _json(result: Result, strict: bool) -> str:  # noqa: ARG001  (all have one signature)
    return as_json(result.diagnostics, [name for name, _ in result.sources])


def _github(result: Result, strict: bool) -> str:  # noqa: ARG001
    return as_github(result.diagnostics, _paths(result))


def _sarif(result: Result, strict: bool) -> str:  # noqa: ARG001
    files = [name for name, _ in result.sources]
    return as_sarif(result.diagnostics, files, _paths(result), version("berth-scheduler"))


def _junit(result: Result, strict: bool) -> str:
    return as_junit("berth lint", [*_cases(result, strict)])


FORMATS: Final[Mapping[str, Callable[[Result, bool], str]]] = {
    "json": _json,
    "github": _github,
    "sarif": _sarif,
    "junit": _junit,
}
"""How a result is written, by the name of the format; the truth is whether warnings count as failures."""


def _cases(result: Result, strict: bool) -> Iterator[Case]:
    """A case for each finding, and one for each file without any, so that it is seen to have been checked."""
    paths, sources = _paths(result), dict(result.sources)
    found: dict[str, list[Diagnostic]] = {name: [] for name in sources}
    for diagnostic in result.diagnostics:
        found.setdefault(diagnostic.span.file, []).append(diagnostic)
    for file, diagnostics in found.items():
        if not diagnostics:
            yield Case("no errors, no warnings", paths.get(file, file))
        for one in diagnostics:
            fails = strict or one.severity is Severity.ERROR
            full = text([one], sources)
            yield Case(
                f"{one.code}: {one.message}",
                paths.get(file, file),
                one.span.line,
                failure=(sentences(one), full) if fails else None,
                output="" if fails else full,
            )


def _paths(result: Result) -> dict[str, str]:
    """Where each file is, seen from the top of the repository as far as that is known: CI asks for that.

    GitHub says where the top is; elsewhere it is taken to be the folder that we are called in. Of what is outside,
    the whole path is told.
    """
    top = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
    named = {diagnostic.span.file: diagnostic.span.file for diagnostic in result.diagnostics}
    return {name: _seen(Path(path), top) for name, path in {**named, **dict(result.paths)}.items()}


def _seen(path: Path, top: Path) -> str:
    whole = Path(os.path.normpath(Path.cwd() / path))  # links stay: a file is told of where it was named
    # But its folder may have been reached by another way than the top.
    for one in (whole, Path(os.path.realpath(whole.parent), whole.name)):
        if one.is_relative_to(top):
            return one.relative_to(top).as_posix()
    return whole.as_posix()
