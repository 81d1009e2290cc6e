"""An explanation as ``--format json`` writes it; ``explain.schema.json`` describes it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Final

from engine.cli.explain_preemption import preemption_json
from engine.constraints.telling import Value
from engine.model.objects import Pod
from engine.placement.explanation import Explanation, NodeRefusal, NodeVerdict, ScorePart, Source

FORMAT_VERSION: Final = 1


def as_json(
    explanation: Explanation, pod: Pod, notes: Iterable[str], only: NodeVerdict | None = None
) -> dict[str, object]:
    """The whole of it, plain.

    Args:
        explanation: What is written.
        pod: The pod as it is.
        notes: What was left out, and what else is to be known.
        only: The one node that is asked about, None for all.
    """
    decision = explanation.decision
    nodes = explanation.nodes if only is None else (only,)
    return {
        "format_version": FORMAT_VERSION,
        "pod": {
            "namespace": explanation.pod.namespace,
            "name": explanation.pod.name,
            "node": pod.spec.node_name or None,
            "priority": pod.spec.priority or 0,
            "nominated_node": explanation.nominated or None,
        },
        "time": datetime.fromtimestamp(explanation.now, UTC).isoformat(timespec="milliseconds"),
        "waited_ms": explanation.waited_ms,
        "outcome": {
            "node": decision.node,
            "why": explanation.why.value,
            "score": explanation.nodes[0].total if decision.node is not None else None,
            "runner_up": explanation.runner_up,
            "nodes": decision.nodes,
            "feasible_nodes": explanation.feasible,
            "stage": decision.stage,
            "trouble": decision.trouble,
            "message": None if decision.node is not None else decision.message(),
            "next_stage_ms": decision.retry_ms,
        },
        "rules": [{"name": rule.name, "file": rule.file, "line": rule.line} for rule in explanation.rules],
        "stages": [
            {
                "state": stage.state.value,
                "node_sets": list(stage.sets),
                "waived_rules": list(stage.waived),
                "opens": stage.opens or None,
                "after_ms": stage.after_ms,
                "feasible_nodes": stage.feasible,
            }
            for stage in explanation.stages
        ],
        "filters": [_source(source) for source in explanation.requires],
        "refusals": [
            {
                "source": _source(group.source),
                "reason": group.reason,
                "nodes": group.nodes,
                "examples": list(group.examples),
                "nearest_values": _values(group.values),
            }
            for group in explanation.groups
        ],
        "would_help": [
            {
                "source": _source(one.source),
                "reason": one.reason,
                "nodes": one.nodes,
                "nearest": one.nearest,
                "values": _values(one.values),
            }
            for one in explanation.helps
        ],
        "preemption": preemption_json(decision.preemption),
        "room": [
            {
                "resource": one.resource,
                "requested": one.requested,
                "most_free": one.most,
                "node": one.node or None,
                "nodes_with_enough": one.enough,
            }
            for one in explanation.room
        ],
        "nodes": [_node(node) for node in nodes],
        "notes": list(notes),
    }


def _node(node: NodeVerdict) -> dict[str, object]:
    written: dict[str, object] = {
        "name": node.name,
        "fits": node.fits,
        "refusals": [_refusal(refusal) for refusal in node.refusals],
        "scores": _parts(node.parts),
        "total": node.total,
    }
    if node.tie_break_total is not None:
        written["tie_break"] = {"scores": _parts(node.tie_break), "total": node.tie_break_total}
    return written


def _refusal(refusal: NodeRefusal) -> dict[str, object]:
    return {
        "source": _source(refusal.source),
        "reason": refusal.reason,
        "values": _values(refusal.values),
    }


def _parts(parts: Iterable[ScorePart]) -> list[dict[str, object]]:
    return [
        {
            "source": _source(part.source),
            "raw": part.raw,
            "normalised": part.normalised,
            "weight": part.weight,
            "contribution": part.contribution,
        }
        for part in parts
    ]


def _source(source: Source) -> dict[str, object]:
    if not source.policy:
        return {"kind": "plugin", "name": source.name}
    return {
        "kind": "rule",
        "name": source.name,
        "file": source.file,
        "line": source.line,
        "statement": source.text,
    }


def _values(values: Iterable[Value]) -> list[dict[str, object]]:
    return [{"kind": value.kind, **asdict(value)} for value in values]
