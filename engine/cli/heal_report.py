"""What would move, as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from rich.console import Console
from rich.text import Text

from engine.cli.heal_view import HealView, PlannedMove
from engine.cli.report import hanging
from engine.cli.reserve_report import cited, many, name, pod_json, time_of
from engine.durations import text as duration
from engine.healing.plan import Move, Stay, Way
from grammar.policy import Heal

FORMAT_VERSION: Final = 1
_MOVES: Final = 40
_GROUPS: Final = 15
_NAMED: Final = 6
_WAYS: Final[Mapping[Way, str]] = {
    Way.EVICT: "evicted",
    Way.DELETE: "deleted; it stays terminating until its node is back",
    Way.FORCE: "deleted at once",
    Way.RECREATE: "deleted, and made anew by Berth",
}


def show(console: Console, view: HealView) -> None:
    """All of it."""
    now = [one for one in view.moves if one.due_s <= 0]
    later = len(view.moves) - len(now)
    line = Text(f"{many(len(now), 'pod') if now else 'no pod'} would move now", style="bold")
    if later:
        line.append(f", {'and' if now else 'but'} {later:,} once what is wrong has lasted")
    if view.stays:
        line.append(f"; {_stay(len({one.pod for one in view.stays}))} where {_they(view.stays)}")
    hanging(console, Text(), line)
    if not view.heals:
        hanging(console, Text("  "), Text("the policies have no heal; docs/healing.md shows some"))
    for held in view.held:
        console.print()
        head = Text.assemble(("held      ", "bold yellow"))
        hanging(console, head, Text(f"{held.subject}: {held.why}"))
        hanging(console, Text("          "), Text(_cited(held.heal), style="dim"))
    if view.moves:
        console.print()
    for one in view.moves[:_MOVES]:
        _move(console, one)
    if len(view.moves) > _MOVES:
        console.print(f"and {len(view.moves) - _MOVES:,} more moves; --format json has all")
    if view.stays:
        console.print()
        show_stays(console, view.stays)
    if view.due is not None:
        console.print()
        wait = max(view.due - view.now, 0.0)
        hanging(
            console, Text(), Text(f"something more falls due in {_rounded(wait)}, at {time_of(view.due)}")
        )


def _move(console: Console, one: PlannedMove) -> None:
    move = one.move
    when = "now" if one.due_s <= 0 else f"in {_rounded(one.due_s)}"
    head = Text(f"{when:<9} ", style="bold cyan" if one.due_s <= 0 else "cyan")
    line = Text(name(move.pod), style="bold")
    line.append(f" from {move.source} to ", style="not bold")
    line.append(move.target, style="green")
    if move.backup:
        line.append(", which is kept for it", style="not bold")
    if move.stage:
        line.append(f" ({move.stage})", style="not bold")
    line.append(f": {_WAYS[move.way]}", style="not bold")
    hanging(console, head, line)
    hanging(console, Text(" " * 10), Text(move.why))
    hanging(console, Text(" " * 10), Text(_cited(move.heal), style="dim"))


def show_stays(console: Console, stays: Iterable[Stay]) -> None:
    """Those that stay though something is wrong, by reason."""
    groups: dict[tuple[str, str, str], list[Stay]] = {}
    for one in stays:
        groups.setdefault((_cited(one.heal), one.reason, one.why), []).append(one)
    ordered = sorted(groups.items(), key=lambda each: (-len(each[1]), each[0]))
    for (heal, reason, why), alike in ordered[:_GROUPS]:
        names = [f"{name(one.pod)} on {one.node}" if one.node else name(one.pod) for one in alike[:_NAMED]]
        more = f" and {len(alike) - _NAMED:,} more" if len(alike) > _NAMED else ""
        head = Text(f"{'stays' if len(alike) == 1 else 'stay':<9} ", style="bold yellow")
        hanging(console, head, Text.assemble((", ".join(names) + more, "bold")))
        hanging(console, Text(" " * 10), Text(why))
        hanging(console, Text(" " * 10), Text(f"{heal}, {reason}", style="dim"))
    if len(ordered) > _GROUPS:
        rest = sum(len(alike) for _, alike in ordered[_GROUPS:])
        console.print(f"and {rest:,} more for {len(ordered) - _GROUPS} other reasons; --format json has all")


def _stay(count: int) -> str:
    return "1 pod stays" if count == 1 else f"{count:,} pods stay"


def _they(stays: tuple[Stay, ...]) -> str:
    return "it is" if len({one.pod for one in stays}) == 1 else "they are"


def _cited(heal: Heal) -> str:
    return f"heal {heal.name} ({heal.span})"


def _rounded(seconds: float) -> str:
    return duration(round(seconds) if seconds >= 1 else seconds)


def as_json(view: HealView, notes: Iterable[str]) -> dict[str, object]:
    """What ``--format json`` writes; ``heal.schema.json`` describes it."""
    return {
        "format_version": FORMAT_VERSION,
        "time": time_of(view.now),
        "ahead_s": view.ahead_s,
        "heals": [cited(one.name, one.span) for one in view.heals],
        "moves": [{**move_json(one.move), "due_s": one.due_s} for one in view.moves],
        "stays": [stay_json(one) for one in view.stays],
        "held": [
            {
                "subject": one.subject,
                "nodes": list(one.nodes),
                "heal": cited(one.heal.name, one.heal.span),
                "why": one.why,
            }
            for one in view.held
        ],
        "next_due": None if view.due is None else time_of(view.due),
        "notes": list(notes),
    }


def stay_json(one: Stay) -> dict[str, object]:
    """Something is wrong, and it stays."""
    return {
        "pod": pod_json(one.pod),
        "node": one.node or None,
        "heal": cited(one.heal.name, one.heal.span),
        "reason": one.reason,
        "why": one.why,
    }


def move_json(move: Move) -> dict[str, object]:
    """A move."""
    return {
        "pod": pod_json(move.pod),
        "from": move.source,
        "to": move.target,
        "way": move.way.value,
        "heal": cited(move.heal.name, move.heal.span),
        "why": move.why,
        "backup": move.backup,
        "stage": move.stage or None,
        "helps": None if move.helps is None else pod_json(move.helps),
    }
