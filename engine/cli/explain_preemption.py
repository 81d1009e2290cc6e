"""What `berth explain` says of room that others would have to make, as text and as ``--format json`` has it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.console import Console
from rich.text import Text

from engine.cli.report import hanging
from engine.model.objects import Pod
from engine.placement.decision import VICTIMS_GOING, Loss, Preemption, Victim
from engine.placement.explanation import Explanation

_VICTIMS: Final = 10
"""Pods that are shown."""
_LOSS: Final = {
    Loss.ONLY: "room can be made on no other",
    Loss.VIOLATIONS: "it violates the fewest disruption budgets",
    Loss.HIGHEST: "elsewhere a pod of a higher priority would have to go",
    Loss.SUM: "the priorities of its victims are the lowest together",
    Loss.NUMBER: "elsewhere more pods would have to go",
    Loss.START: "the most important of its victims has run for the shortest time",
    Loss.HASH: "it is one of those that lose the least, picked by a hash of the pod and the node",
}
_MEANS: Final = {
    "Preemption is not helpful for scheduling": "refused for what no pod's leaving changes",
    "No preemption victims found for incoming pod": "nobody of a lower priority there whose room it may have",
}
"""The stock scheduler's sentences in other words."""
_NEVER: Final = "its preemptionPolicy is Never: no pod is taken away for it"
_GOING: Final = "pods that were asked to leave for it are still there; nobody else is"


def show_preemption(console: Console, explanation: Explanation, pod: Pod) -> None:
    """Where room would be made and who would go, or why that is nowhere."""
    found = explanation.decision.preemption
    if found is None:
        return
    console.print()
    console.print(Text("room that others could make", style="bold"))
    if found.trouble:
        _line(console, _GOING if found.trouble == VICTIMS_GOING else _NEVER)
    elif found.node is None:
        _line(console, f"none: taking pods away from one node helps on none of {found.nodes:,}")
    else:
        pods = "1 pod" if len(found.victims) == 1 else f"{len(found.victims):,} pods"
        below = f"of a priority below its {pod.spec.priority or 0}"
        line = Text.assemble("on ", (found.node, "bold"), f": {pods} {below} would have to go")
        if found.loss is not None:
            compared = f"of {found.candidates:,} nodes that were compared, " if found.candidates > 1 else ""
            line.append(f"; {compared}{_LOSS[found.loss]}")
        hanging(console, Text("  "), line)
        for victim in found.victims[:_VICTIMS]:
            hanging(console, Text("    "), Text(_victim(victim)))
        if len(found.victims) > _VICTIMS:
            _line(console, f"  and {len(found.victims) - _VICTIMS:,} more; --format json has all")
    if found.reasons:
        width = max(len(f"{nodes:,}") for _, nodes in found.reasons)
        for reason, nodes in sorted(found.reasons, key=lambda one: -one[1]):
            means = f" ({_MEANS[reason]})" if reason in _MEANS else ""
            hanging(
                console, Text(f"  {nodes:>{width},}  ", style="bold"), Text(f"{reason}{means}", style="dim")
            )


def preemption_json(found: Preemption | None) -> dict[str, object] | None:
    """The same as data; None where nobody asked, because a node takes the pod."""
    if found is None:
        return None
    return {
        "node": found.node,
        "why": None if found.loss is None else found.loss.value,
        "candidates": found.candidates,
        "victims": [
            {
                "namespace": victim.key.namespace,
                "name": victim.key.name,
                "priority": victim.priority,
                "violated_budgets": list(victim.budgets),
            }
            for victim in found.victims
        ],
        "refusals": [{"reason": reason, "nodes": nodes} for reason, nodes in found.reasons],
        "trouble": found.trouble or None,
    }


def nomination(node: str, leaving: Iterable[str]) -> str:
    """What is said of a pod that a node is promised to."""
    names = sorted(leaving)
    if not names:
        return f"{node} is promised to it, and nobody who was asked to leave for it is there any more"
    more = f" and {len(names) - _VICTIMS} more" if len(names) > _VICTIMS else ""
    verb = "is" if len(names) == 1 else "are"
    return f"{node} is promised to it: {', '.join(names[:_VICTIMS])}{more} {verb} leaving for it"


def _victim(victim: Victim) -> str:
    told = f"{victim.key}, priority {victim.priority}"
    if victim.budgets:
        word = "budget" if len(victim.budgets) == 1 else "budgets"
        told += f", against the disruption {word} {', '.join(victim.budgets)}"
    return told


def _line(console: Console, text: str) -> None:
    hanging(console, Text("  "), Text(text))
