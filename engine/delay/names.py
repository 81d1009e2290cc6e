"""Compares a map's endpoints with the nodes that there are."""

from __future__ import annotations

from collections.abc import Iterable

from engine.delay.map import DelayMap
from engine.suggest import suggestion

_SHOWN = 20
_SEARCHED = 5_000
"""Among more names than this none is suggested: near ones abound, and the search would be felt."""


def check_names(delays: DelayMap, node_names: Iterable[str]) -> list[str]:
    """Warnings: endpoints that are no node, with the node that may be meant, and nodes that have no delay at all.

    Both are legal: a site may be measured that is no node, a node may have joined a moment ago. But a limit to such
    a name rejects every node, so the operator wants to know.
    """
    nodes = list(node_names)
    present = set(nodes)
    warnings = []
    strangers = [name for name in delays.names if name not in present]
    unplaced = [name for name in nodes if delays.index(name) is None]
    for name in strangers[:_SHOWN]:
        place = delays.place(name)
        choices = unplaced or nodes
        hint = suggestion(name, choices) if len(choices) <= _SEARCHED else ""
        warnings.append(f"{place + ': ' if place else ''}{name} is no node{hint}")
    _rest(len(strangers), "endpoints that are no node", warnings)
    measured = delays.measured()
    silent = [
        name for name in nodes if (position := delays.index(name)) is None or not bool(measured[position])
    ]
    warnings += [
        f"node {name} has no delay to any other; pods with a delay limit will not be placed there"
        for name in silent[:_SHOWN]
    ]
    _rest(len(silent), "nodes without any delay", warnings)
    return warnings


def _rest(total: int, what: str, warnings: list[str]) -> None:
    if total > _SHOWN:
        warnings.append(f"and {total - _SHOWN} more {what}")
