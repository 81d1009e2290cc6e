"""Diagnostics as SARIF 2.1.0, which code scanning and editors read.

Columns count characters, as spans do, and the document says so. In messages, braces are doubled, since single ones
stand for arguments there (§3.11.5).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote

from grammar.catalogue import CODES, page
from grammar.diagnostic import Diagnostic
from grammar.render import sentences
from grammar.span import Span

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_Json = dict[str, object]


def as_sarif(
    diagnostics: Iterable[Diagnostic], files: Iterable[str], paths: Mapping[str, str], version: str
) -> str:
    """One document with one run.

    Args:
        diagnostics: In the order in which they are to stand.
        files: The files that were read, by the names that spans have.
        paths: Of each file, by the same names: from the top of the repository, or absolute.
        version: Of the tool.
    """
    found = list(diagnostics)
    codes = sorted({diagnostic.code for diagnostic in found})
    run: _Json = {
        "tool": {"driver": {"name": "berth lint", "version": version, "rules": [_rule(c) for c in codes]}},
        "columnKind": "unicodeCodePoints",
        "artifacts": [{"location": _artifact(name, paths)} for name in files],
        "results": [_result(diagnostic, codes.index(diagnostic.code), paths) for diagnostic in found],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False)


def _rule(code: str) -> _Json:
    text = page(code)
    said = text.partition("\n\n")[2].partition("\n\nWrong:")[0]
    return {
        "id": code,
        "shortDescription": {"text": CODES[code].title},
        "fullDescription": {"text": " ".join(said.split())},
        "help": {"text": text, "markdown": text},
        "defaultConfiguration": {"level": CODES[code].severity.value},
    }


def _result(diagnostic: Diagnostic, rule: int, paths: Mapping[str, str]) -> _Json:
    result: _Json = {
        "ruleId": diagnostic.code,
        "ruleIndex": rule,
        "level": diagnostic.severity.value,
        "message": _message(sentences(diagnostic)),
        "locations": [{"physicalLocation": _location(diagnostic.span, paths)}],
    }
    if diagnostic.related:
        result["relatedLocations"] = [
            {
                "id": number,
                "physicalLocation": _location(note.span, paths),
                "message": _message(note.message),
            }
            for number, note in enumerate(diagnostic.related, 1)
        ]
    return result


def _message(said: str) -> _Json:
    return {"text": said.replace("{", "{{").replace("}", "}}")}


def _location(span: Span, paths: Mapping[str, str]) -> _Json:
    location: _Json = {"artifactLocation": _artifact(span.file, paths)}
    if span.line:
        location["region"] = {
            "startLine": span.line,
            "startColumn": span.column,
            "endLine": span.end_line,
            "endColumn": span.end_column,
        }
    return location


def _artifact(name: str, paths: Mapping[str, str]) -> _Json:
    """A path as a URI: one that has to be resolved against the top of the repository, unless it is absolute."""
    path = paths.get(name, name)
    quoted = quote(os.fsencode(path))  # names of files need not be UTF-8
    return {"uri": f"file://{quoted}" if path.startswith("/") else quoted}
