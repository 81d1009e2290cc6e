"""What healing and reserves came to in a simulation, as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from engine.cli.aftermath import Aftermath, Broken, Hold, Moved
from engine.cli.clock_times import clock_time
from engine.cli.heal_report import move_json, show_stays, stay_json
from engine.cli.report import hanging, limit_text
from engine.cli.reserve_report import cited, many, name, pod_json, reserve_json
from engine.cli.reserve_report import show as show_reserves
from engine.healing.plan import Move
from grammar.policy import Heal

_MOVES: Final = 40
_BROKEN: Final = 20


def show(console: Console, after: Aftermath, eventful: bool) -> None:
    """All of it.

    Args:
        console: Where.
        after: What.
        eventful: Whether anything happened that could have moved pods, so that it is worth a line if none did.
    """
    if after.moves:
        _title(console, "moved", "bold")
        _moves(console, after.moves)
    elif eventful:
        _title(console, "no pod was moved", "bold")
    if after.holds:
        _title(console, "held: silent nodes whose pods were left where they are", "bold yellow")
        for hold in after.holds:
            _hold(console, hold)
    if after.stays:
        _title(console, "something is wrong with these, and they stay", "bold yellow")
        show_stays(console, after.stays)
    if after.reserves:
        _title(console, "kept at the end", "bold")
        show_reserves(console, after.reserves)
    known = [one for one in after.broken if not one.unmeasured]
    unknown = [one for one in after.broken if one.unmeasured]
    if known:
        _title(console, "rules that are broken at the end", "bold red")
        _broken(console, known)
    if unknown:
        _title(console, "limits of which nothing is known at the end", "bold yellow")
        _broken(console, unknown)
    if eventful and not known and not unknown:
        _title(console, "no pod breaks a rule at the end", "bold green")


# Inside


def _title(console: Console, text: str, style: str) -> None:
    console.print()
    hanging(console, Text(), Text(text, style=style))


def _moves(console: Console, moves: Sequence[Moved]) -> None:
    groups: dict[tuple[float, Heal, str], list[Moved]] = {}
    for one in moves[:_MOVES]:
        groups.setdefault((one.time, one.move.heal, one.move.why), []).append(one)
    for (time, heal, why), alike in groups.items():
        head = Text(f"  {clock_time(time):>7}  ", style="bold cyan")
        hanging(console, head, Text.assemble(why, (f" ({_cited(heal)})", "dim")))
        for one in alike:
            hanging(console, Text(" " * 11), _move(one))
    if len(moves) > _MOVES:
        console.print(f"  and {len(moves) - _MOVES:,} more; --format json has all")


def _move(one: Moved) -> Text:
    move = one.move
    line = Text.assemble((name(move.pod), "bold"), f" from {move.source} to ", (move.target, "green"))
    line.append(_place(move))
    if not one.left:
        line.append("; it was asked to leave, and was not let go", style="yellow")
    elif one.successor is not None:
        row = one.successor
        line.append(f"; {row.name} is there" if row.name != name(move.pod) else "; it is there")
        if row.time is not None and row.time > one.time:
            line.append(f" at {clock_time(row.time)}")
        for limit in row.delays:
            line.append(", ")
            line.append_text(limit_text(limit, placed=True))
    else:
        line.append("; nothing has taken its place there", style="yellow")
    return line


def _place(move: Move) -> str:
    told = ", which was kept for it" if move.backup else ""
    told += f" ({move.stage})" if move.stage else ""
    return told if move.helps is None else f"{told}, so that {name(move.helps)} has room"


def _hold(console: Console, hold: Hold) -> None:
    until = "" if hold.until is None else clock_time(hold.until)
    head = Text(f"  {clock_time(hold.since)} to {until or 'the end'}  ", style="bold cyan")
    held = hold.held
    pods = f"; {many(len(hold.pods), 'pod')} stayed" if hold.pods else ""
    hanging(console, head, Text.assemble(f"{held.why}{pods}", (f" ({_cited(held.heal)})", "dim")))


def _broken(console: Console, broken: Sequence[Broken]) -> None:
    for one in broken[:_BROKEN]:
        line = Text.assemble(
            (name(one.pod), "bold"), f" on {one.node}: ", (one.why, "yellow" if one.unmeasured else "red")
        )
        hanging(console, Text("  "), line.append(f" (rule {one.rule.name}, {one.rule.span})", style="dim"))
    if len(broken) > _BROKEN:
        console.print(f"  and {len(broken) - _BROKEN:,} more; --format json has all")


def _cited(heal: Heal) -> str:
    return f"heal {heal.name}, {heal.span}"


# JSON


def as_json(after: Aftermath) -> dict[str, object]:
    """The keys that ``--format json`` has of it; ``simulate.schema.json`` describes them."""
    return {
        "moves": [_moved_json(one) for one in after.moves],
        "held": [_hold_json(one) for one in after.holds],
        "stays": [stay_json(one) for one in after.stays],
        "reserves": [reserve_json(one) for one in after.reserves],
        "broken": list(_broken_json(after.broken)),
    }


def _moved_json(one: Moved) -> dict[str, object]:
    successor: Mapping[str, Any] | None = None
    if one.successor is not None:
        successor = {**pod_json(one.successor.key), "time": round(one.successor.time or 0.0, 3)}
    return {
        "time": round(one.time, 3),
        **move_json(one.move),
        "left": one.left,
        "successor": successor,
    }


def _hold_json(hold: Hold) -> dict[str, object]:
    return {
        "subject": hold.held.subject,
        "nodes": list(hold.held.nodes),
        "heal": cited(hold.held.heal.name, hold.held.heal.span),
        "why": hold.held.why,
        "since": round(hold.since, 3),
        "until": None if hold.until is None else round(hold.until, 3),
        "pods": [pod_json(key) for key in sorted(hold.pods)],
    }


def _broken_json(broken: Iterable[Broken]) -> Iterable[dict[str, object]]:
    for one in broken:
        yield {
            "pod": pod_json(one.pod),
            "node": one.node,
            "rule": cited(one.rule.name, one.rule.span),
            "unmeasured": one.unmeasured,
            "why": one.why,
        }
