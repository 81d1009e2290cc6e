"""An explanation as text for people: grouped, for four thousand nodes are not a list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.cli.explain_preemption import show_preemption
from engine.cli.report import hanging
from engine.constraints.telling import Value, shown
from engine.durations import text as duration
from engine.model.objects import Pod
from engine.placement.explanation import (
    Explanation,
    NodeVerdict,
    RefusalGroup,
    ScorePart,
    Source,
    StageState,
)
from engine.placement.explanation_scores import Why

_TOP: Final = 5
"""Candidates that are shown."""
_GROUPS: Final = 15
"""Kinds of refusals that are shown."""
_WHY: Final = {
    Why.NOWHERE: "",
    Why.NOMINATED: "it is promised to the pod: others made room for it there",
    Why.ONLY: "there is no other choice",
    Why.SCORE: "its score is the highest",
    Why.STOCK: "level with others by the policies' scores, it is the best of them by the stock scheduler's",
    Why.HASH: "level with others in every score, it is picked by a hash of the pod and the node, "
    "which spreads pods evenly",
}


def show(console: Console, explanation: Explanation, pod: Pod) -> None:
    """All of it."""
    _verdict(console, explanation, pod)
    _stages(console, explanation)
    fitting = [node for node in explanation.nodes if node.fits]
    if fitting:
        _candidates(console, explanation, fitting)
    if explanation.groups:
        once = all(len(node.refusals) < 2 for node in explanation.nodes)
        _groups(console, explanation.groups, "" if once else ", each node counted for all its reasons")
    if explanation.decision.node is None and explanation.decision.trouble is None:
        show_preemption(console, explanation, pod)
        _help(console, explanation)


def show_node(console: Console, explanation: Explanation, pod: Pod, node: NodeVerdict) -> None:
    """One node in depth."""
    _verdict(console, explanation, pod)
    console.print()
    fitting = [one for one in explanation.nodes if one.fits]
    if not node.fits:
        _headline(console, f"{node.name} does not fit", "red")
        for refusal in node.refusals:
            hanging(console, Text("  "), Text.assemble((f"{refusal.source}", "bold"), f": {refusal.reason}"))
            if refusal.source.text:
                hanging(console, Text("      "), Text(refusal.source.text, style="dim"))
            for value in refusal.values:
                hanging(console, Text("      "), Text(str(value)))
        return
    rank = fitting.index(node) + 1
    chosen = " and is chosen" if node.name == explanation.decision.node else ""
    _headline(console, f"{node.name} fits{chosen}: rank {rank} of {len(fitting)}", "green")
    best = fitting[0]
    console.print(_score_table(node.parts, node.total, None if best is node else (best.name, best.parts)))
    if node.tie_break:
        against = (best.name, best.tie_break) if best is not node and best.tie_break else None
        console.print("  level at the top by the policies; the stock scheduler's scores:")
        console.print(_score_table(node.tie_break, node.tie_break_total, against))


def _verdict(console: Console, explanation: Explanation, pod: Pod) -> None:
    decision, key = explanation.decision, explanation.pod
    name = key.name if key.namespace == "default" else str(key)
    on = pod.spec.node_name
    now = "placed now, it" if on else "it"
    line = Text(name, style="bold")
    if on:
        line.append(f" is on {on}; {now}", style="not bold")
    if decision.trouble is not None:
        line.append(" cannot be placed for now", style="bold red")
    elif decision.node is None:
        line.append(" fits nowhere" if not on else " would fit nowhere", style="bold red")
    elif decision.node == on:
        line.append(" would stay there", style="bold green")
    else:
        line.append(" would go to ", style="not bold")
        line.append(decision.node, style="bold green")
    hanging(console, Text(), line)
    if decision.trouble is not None:
        hanging(console, Text("  "), Text(f"no node was looked at: {decision.trouble}", style="yellow"))
    elif decision.node is None:
        # What others could make room for has a place of its own.
        hanging(console, Text("  "), Text(replace(decision, preemption=None).message()))
    else:
        hanging(
            console,
            Text("  "),
            Text(f"{_many(explanation.feasible, decision.nodes)}; {_reason(explanation)}"),
        )
    rules = ", ".join(f"{rule.name} ({rule.file}:{rule.line})" for rule in explanation.rules)
    hanging(console, Text("  "), Text(f"rules that select it: {rules or 'none'}", style="dim"))


def _reason(explanation: Explanation) -> str:
    words = _WHY[explanation.why]
    fitting = [node for node in explanation.nodes if node.fits][:2]
    if explanation.why is Why.SCORE and len(fitting) == 2:
        first, second = fitting
        words += f", {first.total:.6g} before {second.name}'s {second.total:.6g}"
    return words


def _stages(console: Console, explanation: Explanation) -> None:
    if len(explanation.stages) < 2:
        return
    console.print()
    _headline(console, f"fallbacks, having waited {duration(explanation.waited_ms / 1000)}")
    for number, stage in enumerate(explanation.stages, 1):
        state = {
            StageState.CHOSEN: ("chosen", "green"),
            StageState.TRIED: ("no node fits", "red"),
            StageState.OPEN: ("not needed", "dim"),
            StageState.CLOSED: (_opens_in(stage.after_ms - explanation.waited_ms), "yellow"),
        }[stage.state]
        line = Text(stage.opens or ", ".join(stage.sets) or "no fallback")
        line.append(": ")
        line.append(*state)
        if stage.feasible is not None and stage.state is not StageState.TRIED:
            line.append(f", {_nodes(stage.feasible)} would do" if stage.feasible else ", no node would do")
        if stage.waived:
            line.append(f", waiving {', '.join(stage.waived)}", style="dim")
        hanging(console, Text(f"  {number}  "), line)


def _opens_in(milliseconds: float) -> str:
    return f"opens in {duration(milliseconds / 1000)}"


def _candidates(console: Console, explanation: Explanation, fitting: Sequence[NodeVerdict]) -> None:
    shown_nodes = list(fitting[:_TOP])
    console.print()
    more = f", the best {_TOP} of {len(fitting):,}" if len(fitting) > _TOP else ""
    _headline(console, f"where it fits{more}")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("node", no_wrap=True)
    table.add_column("total", justify="right", no_wrap=True)
    first = shown_nodes[0]
    for part in first.parts:
        table.add_column(_part_title(part), justify="right", overflow="fold")
    if first.tie_break_total is not None:
        table.add_column("stock scores", justify="right", overflow="fold")
    for node in shown_nodes:
        cells = [f"{node.total:.6g}", *(f"{part.contribution:.6g}" for part in node.parts)]
        if first.tie_break_total is not None:
            cells.append("-" if node.tie_break_total is None else f"{node.tie_break_total:.6g}")
        style = "green" if node.name == explanation.decision.node else ""
        table.add_row(node.name, *cells, style=style)
    console.print(table)


def _part_title(part: ScorePart) -> str:
    return f"{_short(part.source)} ×{part.weight:g}"


def _short(source: Source) -> str:
    return f"{source.name} ({source.file}:{source.line})" if source.policy else source.name


def _score_table(
    parts: Sequence[ScorePart], total: float | None, other: tuple[str, Sequence[ScorePart]] | None
) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, show_footer=True)
    table.add_column("score", "total", overflow="fold")
    for title in ("raw", "of 100", "weight"):
        table.add_column(title, justify="right")
    table.add_column("adds", f"{total:.6g}", justify="right")
    if other is not None:
        table.add_column(
            f"on {other[0]}", f"{sum(part.contribution for part in other[1]):.6g}", justify="right"
        )
    for position, part in enumerate(parts):
        cells = [
            _short(part.source) + (f": {part.source.text}" if part.source.text else ""),
            "unknown" if part.raw is None else f"{part.raw:.6g}",
            f"{part.normalised:.6g}",
            f"{part.weight:g}",
            f"{part.contribution:.6g}",
        ]
        if other is not None:
            cells.append(f"{other[1][position].contribution:.6g}")
        table.add_row(*cells)
    return table


def _groups(console: Console, groups: Sequence[RefusalGroup], how: str) -> None:
    console.print()
    _headline(console, f"why not elsewhere{how}")
    width = max(len(f"{group.nodes:,}") for group in groups)
    for group in groups[:_GROUPS]:
        head = Text(f"  {group.nodes:>{width},}  ", style="bold")
        hanging(console, head, Text.assemble((str(group.source), "bold"), f": {group.reason}"))
        pad = Text(" " * (width + 4))
        names = ", ".join(group.examples) + ("…" if group.nodes > len(group.examples) else "")
        if group.values:
            nearest = f" · {group.examples[0]}: " if group.nodes > 1 else " · "
            names += nearest + _told(group.values)
        hanging(console, pad, Text(names, style="dim"))
    if len(groups) > _GROUPS:
        rest = sum(group.nodes for group in groups[_GROUPS:])
        console.print(f"  and {rest:,} more for {len(groups) - _GROUPS} other reasons; --format json has all")


def _help(console: Console, explanation: Explanation) -> None:
    console.print()
    _headline(console, "what would help")
    for one in explanation.helps[:_TOP]:
        verb = "node is" if one.nodes == 1 else "nodes are"
        line = Text(f"{one.nodes:,} {verb} refused by {one.source} alone")
        if one.values:
            line.append(f"; nearest is {one.nearest}: {_told(one.values)}")
        hanging(console, Text("  "), line)
    if not explanation.helps and explanation.nodes:
        hanging(
            console,
            Text("  "),
            Text(
                "no single change: each node is refused by more than one; --node NAME --all-reasons shows them"
            ),
        )
    for room in explanation.room:
        if room.enough or not room.node or room.resource == "pods":
            continue
        asked, most = shown(room.resource, room.requested), shown(room.resource, room.most)
        hanging(
            console,
            Text("  "),
            Text(f"no node has {asked} of {room.resource} free; the most is {most} on {room.node}"),
        )
    closed = [stage for stage in explanation.stages if stage.state is StageState.CLOSED and stage.feasible]
    if closed:
        stage = closed[0]
        wait = _opens_in(stage.after_ms - explanation.waited_ms)
        hanging(
            console,
            Text("  "),
            Text(f"waiting: {stage.opens} {wait}, and {_nodes(stage.feasible or 0)} would do"),
        )


def _told(values: Iterable[Value]) -> str:
    return "; ".join(str(value) for value in values)


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count:,} nodes"


def _many(feasible: int, nodes: int) -> str:
    return f"{feasible:,} of {_nodes(nodes)} {'fits' if feasible == 1 else 'fit'}"


def _headline(console: Console, text: str, colour: str = "") -> None:
    console.print(Text(text, style=f"bold {colour}".strip()))
