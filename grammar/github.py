"""Diagnostics as workflow commands, which GitHub shows at the lines of a change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from grammar.diagnostic import Diagnostic
from grammar.render import sentences

_DATA: Final = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY: Final = _DATA | str.maketrans({":": "%3A", ",": "%2C"})


def as_github(diagnostics: Iterable[Diagnostic], paths: Mapping[str, str]) -> str:
    """A command a line, as errors and warnings.

    Args:
        diagnostics: In the order in which they are to stand.
        paths: Of each file, from the top of the repository, by the name that spans have.
    """
    return "\n".join(_command(diagnostic, paths) for diagnostic in diagnostics)


def _command(diagnostic: Diagnostic, paths: Mapping[str, str]) -> str:
    span = diagnostic.span
    properties: dict[str, object] = {"file": paths.get(span.file, span.file)}
    if span.line:
        properties |= {"line": span.line, "endLine": span.end_line}
        if span.line == span.end_line:  # GitHub takes columns of one line only
            properties["col"] = span.column
    properties["title"] = diagnostic.code
    told = ",".join(f"{key}={str(value).translate(_PROPERTY)}" for key, value in properties.items())
    said = "\n".join(
        [sentences(diagnostic)]
        + [
            f"{paths.get(note.span.file, note.span.file)}:{note.span.line}: {note.message}"
            for note in diagnostic.related
        ]
    )
    return f"::{diagnostic.severity.value} {told}::{said.translate(_DATA)}"
