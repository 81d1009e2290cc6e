"""A simulation's outcome as text for people.

On a wide terminal a table with a line for each pod; else, and where no terminal reads it, a paragraph for each.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.cli.clock_times import clock_time
from engine.cli.inputs import colours
from engine.cli.placements import Row
from engine.cli.timeline import KEEPS, Entry, grouped
from engine.placement import MeasuredLimit

_PLAIN_WIDTH: Final = 120
"""Columns where there is no terminal to ask and ``COLUMNS`` says nothing."""
_TABLE_WIDTH: Final = 150
"""Below this the table's last column would be too narrow to read."""
_LEAST_WIDTH: Final = 20
"""Columns that a sentence gets however narrow the terminal is."""
_NAMED: Final = 3
"""Pods that are named where one sentence is true of many."""


def console_for_people() -> Console:
    """Standard output, as wide as the terminal or as ``COLUMNS`` says; escape codes as `colours` has it."""
    terminal = sys.stdout.isatty()
    width = None if terminal or os.environ.get("COLUMNS", "").isdigit() else _PLAIN_WIDTH
    return Console(
        highlight=False,
        force_terminal=terminal,
        color_system="auto" if colours(sys.stdout) else None,
        width=width,
    )


def show_summary(console: Console, summary: str) -> None:
    """What was simulated."""
    hanging(console, Text(), Text(summary, style="bold"))
    console.print()


def show_notes(console: Console, notes: Iterable[str]) -> None:
    """What the simulation has to say about itself."""
    for note in notes:
        hanging(console, Text("note: ", style="dim"), Text(note, style="dim"))


def show_rows(console: Console, rows: Sequence[Row], others: int = 0) -> None:
    """Each pod, and what keeps the pending ones.

    Args:
        console: Where.
        rows: The pods that are shown.
        others: How many more there are, placed before the time that is asked about, and left as they were.
    """
    if not rows and not others:
        console.print("no pods; give manifests of pods or of workloads that make pods", style="bold yellow")
        return
    if rows and console.width >= _TABLE_WIDTH:
        console.print(_table(rows))
    elif rows:
        for row in rows:
            console.print(_heading(row))
            if not row.leaving:
                _details(console, row)
    if rows:
        console.print()
    there = [row for row in rows if not row.leaving]
    pending = [row for row in there if row.node is None]
    total = len(there) + others
    line = Text(
        f"{total - len(pending)} of {total} pods placed", style="bold yellow" if pending else "bold green"
    )
    if others:
        which = f"{others} of them" if others < total else "all of them"
        line.append(f", {which} as they were before", style="not bold")
    if len(there) < len(rows):
        line.append(f"; {len(rows) - len(there)} more on their way out", style="not bold yellow")
    hanging(console, Text(), line)
    for message, alike in _by_message(pending).items():
        names = ", ".join(row.name for row in alike[:_NAMED])
        more = f" and {len(alike) - _NAMED} more" if len(alike) > _NAMED else ""
        console.print(Text.assemble((f"pending: {names}{more}", "bold red")))
        hanging(console, Text("  "), Text(message))


def _by_message(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.message, []).append(row)
    return found


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title in ("pod", "node"):
        table.add_column(title, no_wrap=True)
    table.add_column("at", justify="right", no_wrap=True)
    for title in ("delay / limit", "rules", "why not the others"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(
            row.name,
            _node(row),
            "-" if row.time is None else clock_time(row.time),
            _lines(_delays(row)),
            "\n".join(row.rules) or "-",
            "; ".join(_reasons(row)) or "-",
        )
    return table


def _node(row: Row) -> Text:
    if row.node is None:
        return Text("pending", style="bold red")
    return Text(f"{row.node}, leaving", style="yellow") if row.leaving else Text(row.node, style="green")


def _heading(row: Row) -> Text:
    text = Text(row.name, style="bold")
    when = "" if row.time is None else clock_time(row.time)
    if row.node is None:
        text.append(" is ", style="not bold")
        text.append("pending", style="bold red")
        text.append(f", last tried at {when}" if when else "", style="not bold")
    else:
        text.append(" on ", style="not bold")
        text.append(row.node, style="green")
        text.append(f" at {when}" if when else "", style="not bold")
        if row.leaving:
            text.append(", on its way out", style="not bold yellow")
    return text


def _details(console: Console, row: Row) -> None:
    for title, lines in (
        ("delay", _delays(row)),
        ("rules", [Text(rule) for rule in row.rules]),
        ("why", [Text(reason) for reason in _reasons(row)]),
    ):
        for number, line in enumerate(lines):
            hanging(console, Text(f"  {'' if number else title:5}  ", style="dim"), line)


def hanging(console: Console, head: Text, body: Text) -> None:
    """Print a text behind its heading; what goes on in further lines stands below its beginning."""
    width = max(console.width - head.cell_len, _LEAST_WIDTH)
    for line in body.wrap(console, width):
        line.rstrip()
        console.print(Text.assemble(head, line), soft_wrap=True)
        head = Text(" " * head.cell_len)


def _lines(lines: Sequence[Text]) -> Text:
    return Text("\n").join(lines) if lines else Text("-")


def _delays(row: Row) -> list[Text]:
    return [limit_text(limit, row.node is not None) for limit in row.delays]


def limit_text(limit: MeasuredLimit, placed: bool) -> Text:
    """A limit, with what the delay is on the pod's node."""
    allowed = f"{limit.limit_ms:g}ms from {limit.origin}"
    if not placed:
        return Text(f"at most {allowed}")
    if math.isnan(limit.delay_ms):
        return Text(f"unmeasured / {allowed}", style="yellow")
    if limit.delay_ms > limit.limit_ms:
        return Text(f"{limit.delay_ms:g} / {allowed}, waived", style="yellow")
    return Text(f"{limit.delay_ms:g} / {allowed}")


def _reasons(row: Row) -> list[str]:
    """Why this node and no other."""
    if row.time is None:
        return [row.message]
    reasons = [f"falls back to {row.fallback}"] if row.fallback and row.node is not None else []
    if row.trouble:
        reasons.append(row.trouble)
    if row.node is None and not row.others and not row.trouble:
        reasons.append(row.message)
    if row.node is not None and row.feasible > 1:
        others = row.feasible - 1
        reasons.append(
            "1 other node fits, but scores no higher"
            if others == 1
            else f"{others} other nodes fit, but score no higher"
        )
    reasons += [_counted(reason, count) for reason, count in row.others]
    if row.next_fallback:
        reasons.append(f"not tried yet: {row.next_fallback}")
    return reasons


def _counted(reason: str, nodes: int) -> str:
    """As events have it, ``7 node(s) without …`` or ``2 Insufficient memory``, but as people would say it."""
    noun = "node" if nodes == 1 else "nodes"
    rest = reason.removeprefix("node(s) ")
    return f"{nodes} {noun}: {reason}" if rest == reason else f"{nodes} {noun} {rest}"


_TOLD: Final[Mapping[str, str]] = {
    "Moving": "bold magenta",
    "Healing": "magenta",
    "HealingHeld": "bold yellow",
    KEEPS: "green",
    "Covered": "green",
    "Scheduled": "",
}


def show_timeline(console: Console, entries: Sequence[Entry]) -> None:
    """What happened when. What is told alike of several pods or nodes in one moment stands together."""
    together = grouped(entries)
    times = [clock_time(entry.time) for entry in together]
    widest = max(map(len, times), default=0)
    for time, entry in zip(times, together, strict=True):
        told = _TOLD.get(entry.reason, "yellow" if entry.warning else "")
        style = told if entry.regarding else "bold cyan"
        hanging(console, Text(f"{time:>{widest}}  "), Text(entry.text(), style=style))
    console.print()
