"""Delays as text for people and as JSON for programs."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.cli.delay_view import FromHere, View
from engine.cli.report import hanging
from engine.durations import text as duration

FORMAT_VERSION: Final = 1
_MOST_COLUMNS: Final = 14
"""Endpoints of which a matrix is shown; of more, a line each."""
_WIDE: Final = 70
_NAMED: Final = 5
_UNMEASURED: Final = "-"


def show(console: Console, view: View) -> None:
    """All of it."""
    if view.here is not None:
        _from_here(console, view.here)
    else:
        _everything(console, view)
    for doubt in view.doubts:
        hanging(console, Text("note: ", style="yellow"), Text(doubt))


def _everything(console: Console, view: View) -> None:
    names = view.delays.names
    age = view.asked.age(view.now)
    fresh = f", asked {_age(age)} ago" if age is not None and age >= 1 else ""
    head = f"{view.source}: {len(names)} endpoints{fresh}; round trips in ms"
    hanging(console, Text(), Text(head, style="bold"))
    if not names:
        return
    console.print()
    widest = max(map(len, names))
    matrix = _matrix(view)
    if len(names) <= _MOST_COLUMNS and widest + sum(_widths(matrix, view)) <= console.width:
        console.print(_matrix_table(matrix, view))
        _ages(console, view)
    else:
        console.print(_endpoints_table(view, console.width))
    console.print()


def _ages(console: Console, view: View) -> None:
    """Between what ages the values are, and which is the oldest."""
    youngest, oldest, pair = math.inf, -math.inf, ""
    for name in view.delays.names:
        ages = view.asked.ages(name, view.now)
        if ages is None or np.isnan(ages).all():
            continue
        youngest = min(youngest, float(np.nanmin(ages)))
        at = int(np.nanargmax(ages))
        if ages[at] > oldest:
            oldest, pair = float(ages[at]), f"{name} to {view.delays.names[at]}"
    if pair:
        aged = f"measured {_age(youngest)} to {_age(oldest)} ago; the oldest is {pair}"
        hanging(console, Text(), Text(aged if oldest >= 1 else "all measured just now", style="dim"))


def _matrix(view: View) -> list[list[Text]]:
    names = view.delays.names
    if len(names) > _MOST_COLUMNS:
        return []
    found = []
    for position, name in enumerate(names):
        row, errors = view.delays.row(name), view.delays.errors(name)
        assert row is not None  # INVARIANT: it is one of the map's own names
        cells = [_cell(value, 0.0 if errors is None else errors[at]) for at, value in enumerate(row.tolist())]
        cells[position] = Text("·", style="dim")
        found.append(cells)
    return found


def _widths(matrix: list[list[Text]], view: View) -> list[int]:
    return [
        2 + max(len(name), *(row[position].cell_len for row in matrix))
        for position, name in enumerate(view.delays.names)
        if matrix
    ]


def _matrix_table(matrix: list[list[Text]], view: View) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("", no_wrap=True)
    for name in view.delays.names:
        table.add_column(name, justify="right", no_wrap=True)
    for name, cells in zip(view.delays.names, matrix, strict=True):
        table.add_row(Text(name, style="bold"), *cells)
    return table


def _endpoints_table(view: View, width: int) -> Table:
    aged = not view.asked.steady
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("endpoint", no_wrap=True)
    titles = ["measured", "nearest", *(("median",) if width >= _WIDE else ()), "farthest"]
    for title in (*titles, *(("oldest",) if aged else ())):
        table.add_column(title, justify="right", no_wrap=True)
    for name in view.delays.names:
        measured, ages = _measured(view, name)
        if not measured.size:
            table.add_row(name, Text("none", style="yellow"))
            continue
        cells = [str(measured.size), _ms(float(measured.min()))]
        if "median" in titles:
            cells.append(_ms(float(np.median(measured))))
        cells.append(_ms(float(measured.max())))
        if aged:
            known = ages is not None and not np.isnan(ages).all()
            cells.append(_age(float(np.nanmax(ages))) if known and ages is not None else _UNMEASURED)
        table.add_row(name, *cells)
    return table


def _measured(view: View, name: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
    """The measured round trips from an endpoint to others, and all their ages."""
    row, errors = view.delays.row(name), view.delays.errors(name)
    assert row is not None  # INVARIANT: it is one of the map's own names
    known = ~np.isnan(row)
    if errors is not None:
        known &= errors == 0
    position = view.delays.index(name)
    assert position is not None
    known[position] = False
    return row[known], view.asked.ages(name, view.now)


def _from_here(console: Console, here: FromHere) -> None:
    what = f"{here.what} " if here.what else ""
    limit = here.within
    order = sorted(range(len(here.names)), key=lambda at: (_rank(here, at), here.names[at]))
    shown = [at for at in order if limit is None or here.milliseconds[at] <= limit]
    if limit is None:
        hanging(console, Text(), Text(f"round trips from {what}{here.name}, nearest first", style="bold"))
    if shown:
        console.print(_targets_table(here, shown))
    if limit is not None:
        within = f"{len(shown)} of {len(here.names)} are within {_ms(limit)} ms of {what}{here.name}"
        console.print(Text(within, style="bold green" if shown else "bold yellow"))
        _beyond(console, here, limit, order)


def _rank(here: FromHere, at: int) -> float:
    value = float(here.milliseconds[at])
    return math.inf if math.isnan(value) else value


def _targets_table(here: FromHere, shown: list[int]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("to", overflow="fold")
    table.add_column("ms", justify="right", no_wrap=True)
    if here.errors is not None:
        table.add_column("estimate", no_wrap=True)
    if here.ages is not None:
        table.add_column("age", justify="right", no_wrap=True)
    for at in shown:
        error = _error(here, at)
        cells = [Text(here.names[at]), _cell(float(here.milliseconds[at]), error)]
        if here.errors is not None:
            told = f"{_ms(here.milliseconds[at] - error)} ± {_ms(error)}" if error > 0 else ""
            cells.append(Text(told, style="dim"))
        if here.ages is not None:
            age = float(here.ages[at])
            cells.append(Text(_UNMEASURED if math.isnan(age) else _age(age)))
        table.add_row(*cells)
    return table


def _beyond(console: Console, here: FromHere, limit: float, order: list[int]) -> None:
    """What is not within a limit: perhaps, surely not, or nobody knows."""
    perhaps, beyond, unknown = [], [], []
    for at in order:
        value, error = float(here.milliseconds[at]), _error(here, at)
        if math.isnan(value):
            unknown.append(here.names[at])
        elif value > limit:
            name = here.names[at]
            if error > 0 and value - 2 * error <= limit:
                perhaps.append(f"{name} (estimated {_ms(value - error)} ± {_ms(error)} ms)")
            else:
                beyond.append(f"{name} ({_ms(value)} ms)")
    for title, names in (("perhaps", perhaps), ("beyond it", beyond), ("unmeasured", unknown)):
        if names:
            more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            hanging(console, Text(f"{title}: ", style="dim"), Text(", ".join(names[:_NAMED]) + more))


def _error(here: FromHere, at: int) -> float:
    error = 0.0 if here.errors is None else float(here.errors[at])
    return 0.0 if math.isnan(error) else error


def _cell(value: float, error: float) -> Text:
    if math.isnan(value):
        return Text(_UNMEASURED, style="yellow")
    return Text(f"≤{_ms(value)}", style="dim") if error > 0 else Text(_ms(value))


def _ms(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0") if value >= 0.1 else f"{value:.2g}"


def _age(seconds: float) -> str:
    return duration(max(0.0, float(round(seconds))))


def as_json(view: View) -> dict[str, Any]:
    """The same for programs; ``error_ms`` is the part of ``ms`` that is an estimate's error, null where measured."""
    found: dict[str, Any] = {
        "version": FORMAT_VERSION,
        "source": view.source,
        "doubts": list(view.doubts),
    }
    if view.here is not None:
        here = view.here
        return {
            **found,
            "from": here.name,
            "within_ms": here.within,
            "to": [
                {
                    "name": here.names[at],
                    "ms": _number(here.milliseconds[at]),
                    "error_ms": _error(here, at) or None,
                    "age_s": None if here.ages is None else _number(here.ages[at]),
                    **({} if here.within is None else {"within": bool(here.milliseconds[at] <= here.within)}),
                }
                for at in sorted(range(len(here.names)), key=lambda at: (_rank(here, at), here.names[at]))
            ],
        }
    return {**found, "endpoints": list(view.delays.names), "pairs": _pairs(view)}


def _pairs(view: View) -> list[dict[str, Any]]:
    """Each measured pair once. What is estimated is told from one place at a time: it grows with the square."""
    names = view.delays.names
    pairs = []
    for position, name in enumerate(names):
        row, errors = view.delays.row(name), view.delays.errors(name)
        assert row is not None  # INVARIANT: it is one of the map's own names
        ages = view.asked.ages(name, view.now)
        known = ~np.isnan(row)
        if errors is not None:
            known &= errors == 0
        known[: position + 1] = False
        for at in np.flatnonzero(known).tolist():
            age = None if ages is None else _number(ages[at])
            pairs.append({"from": name, "to": names[at], "ms": float(row[at]), "age_s": age})
    return pairs


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 3)
