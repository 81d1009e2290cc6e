"""What a simulation decided, as rows: one for each pod, with its last decision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from engine.model.objects import PodKey
from engine.placement import Decision, MeasuredLimit, Placer
from engine.state.pods import PlacedPod

FORMAT_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Row:
    """A pod and the last decision about it.

    Attributes:
        time: Seconds since the start of the simulation.
        node: None while it is pending.
        delays: Its limits, with what they are on its node.
        rules: The rules that select it, by name and place.
        fallback: What a fallback had opened, "" where none was needed.
        others: Why the other nodes were refused: sentence and number of nodes.
        feasible: How many nodes could have taken it.
        message: Why it is pending, "" where it is not.
    """

    key: PodKey
    time: float
    node: str | None
    delays: tuple[MeasuredLimit, ...] = ()
    rules: tuple[str, ...] = ()
    fallback: str = ""
    others: tuple[tuple[str, int], ...] = ()
    feasible: int = 0
    message: str = ""


@dataclass(slots=True)
class Placements:
    """Watches a simulation's decisions (an `engine.scheduler.Observer`).

    Attributes:
        start: The time of the simulation's start.
        placer: Whose decisions they are; set once it is there.
        rows: By pod, in the order of their first decision.
    """

    start: float
    placer: Placer | None = None
    rows: dict[PodKey, Row] = field(default_factory=dict)

    def decided(self, pod: PlacedPod, decision: Decision, now: float) -> None:
        """Note a decision."""
        assert self.placer is not None
        node = decision.node
        refusals = decision.refusals
        self.rows[pod.key] = Row(
            key=pod.key,
            time=now - self.start,
            node=node,
            delays=tuple(self.placer.delays(pod, node or "", now)) if decision.trouble is None else (),
            rules=decision.rules,
            fallback=decision.opened,
            others=tuple(refusals.reasons()) if refusals is not None else (),
            feasible=decision.feasible,
            message="" if node is not None else decision.message(),
        )

    def of(self, pods: Iterable[PodKey]) -> list[Row]:
        """The rows of some pods, in the order of their first decision."""
        wanted = set(pods)
        return [row for key, row in self.rows.items() if key in wanted]


def as_json(row: Row) -> dict[str, object]:
    """A row as it is written with ``--format json``."""
    return {
        "namespace": row.key.namespace,
        "pod": row.key.name,
        "node": row.node,
        "time": round(row.time, 3),
        "delays": [
            {
                "from": limit.origin,
                "limit_ms": limit.limit_ms,
                "delay_ms": None if limit.delay_ms != limit.delay_ms else limit.delay_ms,
            }
            for limit in row.delays
        ],
        "rules": list(row.rules),
        "fallback": row.fallback or None,
        "feasible_nodes": row.feasible,
        "others": [{"reason": reason, "nodes": count} for reason, count in row.others],
        "message": row.message or None,
    }
