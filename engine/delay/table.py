"""Reads the plain table: CSV with the header ``from,to,ms``, one measured direction a line.

A million lines take about a second, so the loop over lines keeps to what a good line needs; any other goes to
`_careful`, which takes its time.
"""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np

from engine.delay.map import MAX_MS, DelayMap
from engine.delay.problems import Findings
from engine.delay.values import complaint, name_complaint

COLUMNS = ("from", "to", "ms")


def read_table(file: Path, text: str, version: str, findings: Findings) -> DelayMap | None:
    """The map of a table; None where something was found that is wrong with it.

    Blank lines and lines that start with ``#`` count for nothing. A direction may stand there twice only with the
    same value.
    """
    lines = text.splitlines()
    start, order = _header(file, lines, findings)
    names: dict[str, int] = {}
    first_lines: list[int] = []
    spelled: dict[str, int] = {}
    origins, targets, values, places = array("l"), array("l"), array("d"), array("l")
    at_from, at_to, at_ms = order
    for number, line in enumerate(lines[start:], start + 1):
        fields = line.split(",")
        try:
            origin, target = spelled[fields[at_from]], spelled[fields[at_to]]
            value = float(fields[at_ms])
            good = len(fields) == 3 and 0.0 <= value <= MAX_MS and "_" not in fields[at_ms]
        except (KeyError, ValueError, IndexError):
            good = False
        if not good:
            # A name's first line, too, comes this way: names are checked once.
            read = _careful(file, number, line, order, findings)
            if read is None:
                if findings.enough:
                    break
                continue
            source, destination, value = read
            for name in (source, destination):
                if name not in names:
                    names[name] = len(names)
                    first_lines.append(number)
            origin, target = names[source], names[destination]
            spelled[fields[at_from]], spelled[fields[at_to]] = origin, target
        origins.append(origin)
        targets.append(target)
        values.append(value)
        places.append(number)
    if not origins and not findings:
        findings.add(
            file, None, "", "the table has no line but its header; add lines such as edge-1,edge-2,4.5"
        )
    left, right = np.array(origins, dtype=np.int64), np.array(targets, dtype=np.int64)
    milliseconds = np.array(values, dtype=np.float64)
    _contradictions(file, list(names), left, right, milliseconds, places, findings)
    if findings:
        return None
    return DelayMap.from_table(
        list(names), left, right, milliseconds, version=version, source=str(file), lines=first_lines
    )


def _header(file: Path, lines: list[str], findings: Findings) -> tuple[int, tuple[int, int, int]]:
    """The number of lines up to and with the header, and where ``from``, ``to`` and ``ms`` stand in a line."""
    for position, line in enumerate(lines):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        fields = [_bare(field).lower() for field in line.split(",")]
        if sorted(fields) == sorted(COLUMNS):
            return position + 1, (fields.index("from"), fields.index("to"), fields.index("ms"))
        findings.add(
            file,
            position + 1,
            "",
            f"expected the header from,to,ms, found {line.strip()[:60]!r}; add that line",
        )
        # Where the header is simply not there, the line is the first of the table; else it is a strange header.
        has_value = len(fields) == 3 and complaint(fields[2]) is None
        return position + (0 if has_value else 1), (0, 1, 2)
    findings.add(
        file, None, "", "the file is empty; write the header from,to,ms and a line for each measured pair"
    )
    return len(lines), (0, 1, 2)


def _careful(
    file: Path, number: int, line: str, order: tuple[int, int, int], findings: Findings
) -> tuple[str, str, float] | None:
    """The line's names and value; None for a line that counts for nothing, or is wrong and now among the findings."""
    stripped = line.strip()
    if not stripped or stripped.startswith("#"):
        return None
    fields = [_bare(field) for field in line.split(",")]
    if len(fields) != 3:
        other = next((sign for sign in ("\t", ";", " ") if len(stripped.split(sign)) == 3), None)
        remedy = "separate them by commas" if other else "write from,to,ms"
        findings.add(file, number, "", f"{len(fields)} columns where there must be 3; {remedy}")
        return None
    good = True
    for column, position in zip(COLUMNS, order, strict=True):
        wrong = complaint(fields[position]) if column == "ms" else name_complaint(fields[position])
        if wrong is not None:
            findings.add(file, number, column, wrong)
            good = False
    origin, target, value = (fields[position] for position in order)
    return (origin, target, float(value)) if good else None


def _bare(field: str) -> str:
    """A field without the blanks and the quotes around it, as spreadsheets write them."""
    field = field.strip()
    if len(field) >= 2 and field[0] == field[-1] == '"':
        return field[1:-1].strip()
    return field


def _contradictions(
    file: Path,
    names: list[str],
    origins: np.ndarray[tuple[int], np.dtype[np.int64]],
    targets: np.ndarray[tuple[int], np.dtype[np.int64]],
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
    places: array[int],
    findings: Findings,
) -> None:
    """Directions that stand there twice with different values."""
    key = origins * len(names) + targets
    order = np.argsort(key, kind="stable")
    key, value = key[order], values[order]  # ascending: equal directions stand side by side
    clash = np.flatnonzero((key[1:] == key[:-1]) & (value[1:] != value[:-1])) + 1
    # Told in the order of the file.
    for position in np.sort(order[clash]).tolist():
        if findings.enough:
            return
        # A stable sort keeps the file's order among equals, so the line before is the entry before.
        earlier = int(order[np.flatnonzero(order == position)[0] - 1])
        findings.add(
            file,
            places[position],
            "ms",
            f"{names[origins[position]]} to {names[targets[position]]} is {values[position]:g} here and "
            f"{values[earlier]:g} in line {places[earlier]}; keep one",
        )
