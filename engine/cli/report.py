"""A simulation's outcome as text for people."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.cli.placements import Row
from engine.cluster.simulated import Scenario, SimulatedCluster
from engine.cluster.simulated.happenings import Happening
from engine.compile import Plan
from engine.placement import MeasuredLimit

_PLAIN_WIDTH: Final = 200
"""Columns where there is no terminal to ask."""


def console_for_people() -> Console:
    """Standard output, as wide as the terminal; colours on a terminal only, and not with ``NO_COLOR``."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(_PLAIN_WIDTH, shutil.get_terminal_size((0, 0)).columns))
    return console


def clock_time(seconds: float) -> str:
    """Virtual time since the start: ``1:05`` or ``0:00.5``."""
    minutes, rest = divmod(round(seconds, 1), 60)
    whole = f"{int(minutes)}:{int(rest):02}"
    tenths = round(rest % 1 * 10)
    return f"{whole}.{tenths}" if tenths else whole


def describe_world(
    console: Console, cluster: SimulatedCluster, plan: Plan, scenario: Scenario, seconds: float
) -> None:
    """One line on what was simulated."""
    files = ", ".join(path.name for path in scenario.policies) or "none"
    rules = len(plan.policy.rules)
    delays = str(scenario.delays) if scenario.delays else "none"
    console.print(
        f"{len(cluster.nodes())} nodes, policies {files} ({rules} rules), delays {delays}; "
        f"{clock_time(seconds)} of virtual time",
        style="bold",
        markup=False,
    )


def show_rows(console: Console, rows: Sequence[Row]) -> None:
    """The table of pods, and what keeps the pending ones."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title, options in (
        ("pod", {"no_wrap": True}),
        ("node", {"no_wrap": True}),
        ("at", {"justify": "right", "no_wrap": True}),
        ("delay / limit", {}),
        ("rules", {}),
        ("why not the others", {}),
    ):
        table.add_column(title, overflow="fold", **options)
    for row in rows:
        table.add_row(
            str(row.key) if row.key.namespace != "default" else row.key.name,
            Text(row.node, style="green") if row.node else Text("pending", style="bold red"),
            clock_time(row.time),
            _delays(row.delays, row.node is not None),
            "\n".join(row.rules) or "-",
            _others(row),
        )
    console.print(table)
    pending = [row for row in rows if row.node is None]
    placed = len(rows) - len(pending)
    console.print(
        f"{placed} of {len(rows)} pods placed", style="bold green" if not pending else "bold yellow"
    )
    for row in pending:
        console.print(Text(f"{row.key}: {row.message}"))


def _delays(limits: Sequence[MeasuredLimit], placed: bool) -> Text:
    text = Text()
    for number, limit in enumerate(limits):
        if number:
            text.append("\n")
        known = limit.delay_ms == limit.delay_ms
        delay = f"{limit.delay_ms:g}" if known else "?"
        within = known and limit.delay_ms <= limit.limit_ms
        shown = f"{delay} / {limit.limit_ms:g}ms" if placed else f"≤ {limit.limit_ms:g}ms"
        text.append(f"{shown} from {limit.origin}", style="" if within or not placed else "yellow")
    return text if limits else Text("-")


def _others(row: Row) -> str:
    parts = [f"falls back to {row.fallback}"] if row.fallback else []
    if row.node is not None and row.feasible > 1:
        others = row.feasible - 1
        parts.append(
            f"{others} other{'s' if others > 1 else ''} could, but score{'s' if others == 1 else ''} no higher"
        )
    parts += [f"{count} {reason.removeprefix('node(s) ')}" for reason, count in row.others]
    return "; ".join(parts) or "-"


def show_timeline(
    console: Console, cluster: SimulatedCluster, start: float, happened: Sequence[Happening]
) -> None:
    """What happened when: the scenario's events, and what was told about pods and nodes."""
    lines: list[tuple[float, int, str, str]] = [
        (happening.at, 0, str(happening.action), "bold cyan") for happening in happened
    ]
    for event in cluster.events:
        warning = event.type.value == "Warning"
        style = "yellow" if warning else ""
        text = f"{event.regarding}: {event.reason}: {event.message}"
        lines.append((event.time.timestamp() - start, 1, text, style))
    for time, _, text, style in sorted(lines, key=lambda line: line[:2]):
        console.print(Text(f"{clock_time(time):>8}  {text}", style=style))
    console.print()
