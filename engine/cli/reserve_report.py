"""What reserves keep, and the proof of it, as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.cli.report import hanging
from engine.cli.reserve_view import CPU, MEMORY, KeptOn, ReserveView, Uncovered
from engine.constraints.telling import shown
from engine.model.objects import PodKey
from engine.state.columns import PODS
from grammar.policy import Reserve
from grammar.span import Span

FORMAT_VERSION: Final = 1
_NODES: Final = 30
"""Nodes that are shown of a reserve: those where most is kept."""
_REASONS: Final = 12
_NAMED: Final = 6
"""Pods that are named of one reason where there are many; of so many in all, each is."""
_FEW: Final = 20
_LOSSES: Final = 2


def show(console: Console, reserves: Sequence[ReserveView]) -> None:
    """All reserves."""
    for number, one in enumerate(reserves):
        if number:
            console.print()
        _one(console, one)


def _one(console: Console, one: ReserveView) -> None:
    hanging(console, Text(), Text(heading(one.rule), style="bold"))
    backed = one.covered - len(one.uncovered)
    pods = Text(f"room can be kept for {backed:,} of {many(one.covered, 'covered pod')}")
    if one.uncovered:
        pods.append(f", not for {len(one.uncovered):,}", style="bold red")
    hanging(console, Text("  pods     ", style="dim"), pods)
    planned = Text(_amounts(one, one.planned(MEMORY), one.planned(CPU)))
    if one.limit is not None:
        planned.append(f"; at most {one.rule.at_most:g}%, {shown(MEMORY, one.limit)}, by the policy")
    hanging(console, Text("  planned  ", style="dim"), planned)
    hanging(console, Text("  held     ", style="dim"), _held(one))
    if one.nodes:
        console.print()
        _nodes(console, one)
    if one.uncovered:
        console.print()
        hanging(console, Text(), Text("uncovered, and why", style="bold red"))
        _uncovered(console, one.uncovered)


def _amounts(one: ReserveView, memory: int, cpu: int) -> str:
    told = f"{shown(MEMORY, memory)} of memory{_share(one, MEMORY, memory, ' of what is requested')}"
    return f"{told} and {shown(CPU, cpu)} cpu{_share(one, CPU, cpu)}"


def _share(one: ReserveView, resource: str, amount: int, of: str = "") -> str:
    share = one.share(resource, amount)
    return "" if share is None else f" ({share:.1%}{of})"


def _held(one: ReserveView) -> Text:
    if not one.placeholders:
        return Text("nothing: no placeholder is there", style="yellow" if one.planned(PODS) else "")
    line = Text(
        f"{_amounts(one, one.held(MEMORY), one.held(CPU))} by {many(one.placeholders, 'placeholder')}"
    )
    others = sum(node.differs for node in one.nodes)
    if others:
        line.append(
            f"; on {many(others, 'node')} other than planned, which `berth reserve check` may find enough"
        )
    else:
        line.append(", as planned", style="green")
    return line


def _nodes(console: Console, one: ReserveView) -> None:
    resources = sorted(
        {name for node in one.nodes for name in (*node.planned, *node.held)} - {MEMORY, CPU, PODS}
    )
    nodes = one.nodes
    if len(nodes) > _NODES:
        most = sorted(
            nodes, key=lambda node: (-max(node.planned.get(MEMORY, 0), node.held.get(MEMORY, 0)), node.node)
        )
        nodes = tuple(most[:_NODES])
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("node", no_wrap=True)
    table.add_column("planned", justify="right", overflow="fold")
    table.add_column("for pods", justify="right", no_wrap=True)
    table.add_column("held", justify="right", overflow="fold")
    table.add_column("most for", overflow="fold")
    for node in nodes:
        table.add_row(
            node.node,
            _cell(node.planned, resources),
            str(node.planned.get(PODS, 0)),
            Text(_cell(node.held, resources), style="yellow" if node.differs and one.placeholders else ""),
            _worst(one.rule, node),
        )
    console.print(table)
    if len(one.nodes) > len(nodes):
        console.print(
            f"and {len(one.nodes) - len(nodes):,} more nodes with less; --format json has all", style="dim"
        )


def _cell(amounts: Any, resources: Iterable[str]) -> str:
    if not amounts:
        return "-"
    told = [shown(MEMORY, amounts.get(MEMORY, 0)), f"{shown(CPU, amounts.get(CPU, 0))} cpu"]
    told += [f"{amounts[name]} {name}" for name in resources if amounts.get(name)]
    return ", ".join(told)


def _worst(rule: Reserve, node: KeptOn) -> str:
    if not node.losses:
        return "-"
    more = len(node.losses) - _LOSSES
    names = ", ".join(node.losses[:_LOSSES]) + (f" and {more} more" if more > 0 else "")
    return f"{rule.domain.name} {names}"


def _uncovered(console: Console, pods: Sequence[Uncovered]) -> None:
    by_reason: dict[str, list[Uncovered]] = {}
    for one in pods:
        by_reason.setdefault(_alike(one), []).append(one)
    groups = sorted(by_reason.items(), key=lambda each: (-len(each[1]), each[0]))
    named = len(pods) if len(pods) <= _FEW else _NAMED
    for why, alike in groups[:_REASONS]:
        hanging(console, Text(f"  {len(alike):>3,}  ", style="bold"), Text(why))
        names = [f"{name(one.pod)} on {one.node}" for one in alike[:named]]
        more = f" and {len(alike) - named:,} more" if len(alike) > named else ""
        hanging(console, Text("       "), Text(", ".join(names) + more, style="dim"))
    if len(groups) > _REASONS:
        rest = sum(len(alike) for _, alike in groups[_REASONS:])
        console.print(
            f"  and {rest:,} more for {len(groups) - _REASONS} other reasons; --format json has all"
        )


def _alike(one: Uncovered) -> str:
    """Why, in words that are the same for all pods whose delay counts from the node that they are on."""
    own = f" nodes are available: {one.node} is not ready, so no delay can be measured from it."
    return (
        "its delay counts from its own node, and cannot be measured once that is lost"
        if one.why.endswith(own)
        else one.why
    )


# What the proof's report says in the same words


def heading(rule: Reserve) -> str:
    """A reserve, where it stands, and what it is for."""
    return f"reserve {rule.name} ({rule.span}): the loss of any 1 {rule.domain.name}"


def name(key: PodKey) -> str:
    """A pod, without the namespace that needs no telling."""
    return key.name if key.namespace == "default" else str(key)


def many(count: int, noun: str) -> str:
    """``1 pod``, ``2 pods``, ``2 losses``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}{'es' if noun.endswith('s') else 's'}"


# JSON


def as_json(reserves: Iterable[ReserveView], now: float, notes: Iterable[str]) -> dict[str, object]:
    """What ``--format json`` writes; ``reserve.schema.json`` describes it."""
    return {
        "format_version": FORMAT_VERSION,
        "time": time_of(now),
        "reserves": [reserve_json(one) for one in reserves],
        "notes": list(notes),
    }


def reserve_json(one: ReserveView) -> dict[str, object]:
    """A reserve."""
    return {
        **cited(one.rule.name, one.rule.span),
        "domain": domain(one.rule),
        "refuses_uncovered": one.rule.refuse,
        "pods": {
            "covered": one.covered,
            "backed_up": one.covered - len(one.uncovered),
            "uncovered": len(one.uncovered),
        },
        "planned": _total(one, one.planned),
        "held": {**_total(one, one.held), "placeholders": one.placeholders},
        "limit": None
        if one.limit is None
        else {"percent_of_requested_memory": one.rule.at_most, "memory": one.limit},
        "requested": {MEMORY: one.requested[MEMORY], CPU: one.requested[CPU]},
        "nodes": [
            {
                "name": node.node,
                "planned": dict(node.planned),
                "held": dict(node.held),
                "as_planned": not node.differs,
                "most_for": list(node.losses),
            }
            for node in one.nodes
        ],
        "uncovered": [
            {"pod": pod_json(each.pod), "node": each.node, "reason": each.why} for each in one.uncovered
        ],
    }


def _total(one: ReserveView, of: Any) -> dict[str, object]:
    return {
        MEMORY: of(MEMORY),
        "memory_share": one.share(MEMORY, of(MEMORY)),
        CPU: of(CPU),
        "cpu_share": one.share(CPU, of(CPU)),
    }


def pod_json(key: PodKey) -> dict[str, str]:
    """A pod's name."""
    return {"namespace": key.namespace, "name": key.name}


def domain(rule: Reserve) -> dict[str, str | None]:
    """What is lost at once."""
    return {"name": rule.domain.name, "label": rule.domain.label}


def cited(name_: str, span: Span) -> dict[str, object]:
    """A block of the policies, and where it stands."""
    return {"name": name_, "file": span.file, "line": span.line}


def time_of(now: float) -> str:
    """A moment as programs read it."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
