"""Reads the pair of files that the prototype used: a matrix as `numpy.savetxt` writes it, and a metadata JSON.

The metadata is one object, name → row of the matrix. A good matrix is read by `numpy.loadtxt` and checked as a
whole; only a bad one is gone through value by value, for the words.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.delay.map import MAX_MS, DelayMap
from engine.delay.problems import Findings
from engine.delay.values import complaint, name_complaint

_KEY = re.compile(r'("(?:[^"\\]|\\.)*")\s*:')


def read_pair(
    matrix_file: Path, matrix_text: str, names_file: Path, names_text: str, version: str, findings: Findings
) -> DelayMap | None:
    """The map of a matrix and its metadata; None where something was found that is wrong with either."""
    named = _read_names(names_file, names_text, findings)
    matrix = _read_matrix(matrix_file, matrix_text, findings)
    names, lines = _order(matrix_file, names_file, None if matrix is None else len(matrix), named, findings)
    if findings or matrix is None:
        return None
    return DelayMap.from_matrix(names, matrix, version=version, source=str(names_file), lines=lines)


def data_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that hold values, with their numbers; comments are cut off. Lazy: texts are large."""
    number, start = 0, 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        number += 1
        values = text[start:end].partition("#")[0].strip()
        if values:
            yield number, values
        start = end + 1


def _read_matrix(file: Path, text: str, findings: Findings) -> NDArray[np.float64] | None:
    first = next(data_lines(text), None)
    if first is None:
        findings.add(file, None, "", "the matrix is empty; write one row of round trips in ms for each node")
        return None
    delimiter = "," if "," in first[1] else None
    try:
        matrix: NDArray[np.float64] | None = np.loadtxt(
            io.StringIO(text), dtype=np.float64, comments="#", delimiter=delimiter, ndmin=2
        )
    except ValueError:
        matrix = None
    if matrix is not None and matrix.shape[0] == matrix.shape[1]:
        with np.errstate(invalid="ignore"):
            if bool(((matrix >= 0.0) & (matrix <= MAX_MS)).all()):
                return matrix
    _explain(file, text, delimiter, findings)
    return None


def _explain(file: Path, text: str, delimiter: str | None, findings: Findings) -> None:
    """What is wrong with a matrix: its values first, then its shape."""
    width, rows, first_line = 0, 0, 0
    for number, line in data_lines(text):
        fields = line.split(delimiter)
        if delimiter is not None and not fields[-1].strip():
            findings.add(file, number, "", "the row ends in a comma; take it away")
            fields.pop()
        rows += 1
        if not width:
            width, first_line = len(fields), number
        elif len(fields) != width:
            findings.add(
                file,
                number,
                "",
                f"{len(fields)} values where line {first_line} has {width}; give each row as many",
            )
        for column, field in enumerate(fields, 1):
            wrong = complaint(field.strip())
            if wrong is not None:
                findings.add(file, number, f"column {column}", wrong)
        if findings.enough:
            return
    if rows != width:
        missing = "rows are missing" if rows < width else "columns are missing"
        findings.add(
            file,
            None,
            "",
            f"{_count(rows, 'row')} of {_count(width, 'value')}: {missing}; the matrix must be square",
        )
    elif not findings:
        findings.add(file, None, "", "the matrix cannot be read; write it again with numpy.savetxt")


def _read_names(file: Path, text: str, findings: Findings) -> list[tuple[str, int, int | None]] | None:
    """(name, row, line) of each entry that is sound; None where this is no JSON object at all."""
    pairs: list[tuple[str, object]] = []

    def keep(read: list[tuple[str, object]]) -> dict[str, object]:
        # The outermost object comes last; a dict would hide names that stand there twice.
        pairs[:] = read
        return dict(read)

    if not text.strip():
        findings.add(file, None, "", 'the file is empty; write {"node name": row of the matrix, …}')
        return None
    try:
        value = json.loads(text, object_pairs_hook=keep)
    except json.JSONDecodeError as error:
        findings.add(file, error.lineno, f"column {error.colno}", f"not JSON: {error.msg.lower()}")
        return None
    except (RecursionError, ValueError):
        # Nested a thousand deep, or a number of thousands of digits.
        findings.add(file, None, "", 'cannot be read; write {"node name": row of the matrix, …}')
        return None
    if not isinstance(value, dict):
        findings.add(file, 1, "", 'not an object; write {"node name": row of the matrix, …}')
        return None
    lines = _lines_of_keys(text)
    named, seen = [], set[str]()
    for name, row in pairs:
        places = lines.get(name, [])
        line = places.pop(0) if places else None
        wrong = name_complaint(name)
        if wrong is not None:
            findings.add(file, line, "", wrong)
        elif name in seen:
            findings.add(file, line, name, "stands there twice; give each node one row")
        elif isinstance(row, bool) or not isinstance(row, int):
            findings.add(
                file, line, name, f"{json.dumps(row)[:40]} is no row; write a whole number, 0 for the first"
            )
        else:
            named.append((name, row, line))
        seen.add(name)
    return named


def _lines_of_keys(text: str) -> dict[str, list[int]]:
    lines: dict[str, list[int]] = {}
    line, seen = 1, 0
    for match in _KEY.finditer(text):
        line += text.count("\n", seen, match.start())
        seen = match.start()
        # What looks like a key inside a text value may be no string of its own.
        with contextlib.suppress(ValueError):
            lines.setdefault(json.loads(match[1], strict=False), []).append(line)
    return lines


def _order(
    matrix_file: Path,
    names_file: Path,
    size: int | None,
    named: list[tuple[str, int, int | None]] | None,
    findings: Findings,
) -> tuple[list[str], list[int]]:
    """Names and their lines by row; ``size`` None is a matrix that cannot be read."""
    by_row: dict[int, tuple[str, int | None]] = {}
    for name, row, line in named or ():
        if row < 0:
            findings.add(names_file, line, name, f"row {row} is negative; the first row is 0")
        elif size is not None and row >= size:
            findings.add(
                names_file,
                line,
                name,
                f"row {row} is not in {matrix_file.name}, which has rows 0 to {size - 1}",
            )
        elif row in by_row:
            findings.add(
                names_file, line, name, f"row {row} is that of {by_row[row][0]} already; give each its own"
            )
        else:
            by_row[row] = (name, line)
    for row in range(0 if size is None or named is None else size):
        if row not in by_row:
            findings.add(
                names_file, None, "", f"row {row} of {matrix_file.name} has no name; add one, or drop the row"
            )
    ordered = [by_row[row] for row in sorted(by_row)]
    return [name for name, _ in ordered], [line or 1 for _, line in ordered]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
