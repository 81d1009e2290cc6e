"""What a simulation decided, as rows: one for each pod that is there at the end, with its last decision."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from engine.cli.progress import Progress, Silence
from engine.model.objects import Pod, PodKey
from engine.model.placeholder import holds_for
from engine.model.shape import Workload
from engine.placement import Decision, MeasuredLimit, Placer
from engine.state.pods import PlacedPod

FORMAT_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Row:
    """A pod and the last decision about it.

    Attributes:
        time: When it was decided, in seconds since the start; None where nothing was.
        node: None while it is pending.
        delays: Its limits, with what they are on its node.
        rules: The rules that select it, by name and place.
        fallback: What a fallback had opened, "" where none was needed.
        next_fallback: What has not been tried yet, and when it will be; "" where nothing is left.
        others: Why the other nodes were refused: sentence and number of nodes.
        trouble: Why no node was looked at, "" where nodes were.
        feasible: How many nodes could have taken it.
        message: Why it is pending, as its event says; of a placed pod, why nothing was decided. Else "".
        leaving: Whether it is terminating.
    """

    key: PodKey
    time: float | None = None
    node: str | None = None
    delays: tuple[MeasuredLimit, ...] = ()
    rules: tuple[str, ...] = ()
    fallback: str = ""
    next_fallback: str = ""
    others: tuple[tuple[str, int], ...] = ()
    trouble: str = ""
    feasible: int = 0
    message: str = ""
    leaving: bool = False

    @property
    def name(self) -> str:
        """As people write it: without the namespace where it is ``default``."""
        return self.key.name if self.key.namespace == "default" else f"{self.key.namespace}/{self.key.name}"


@dataclass(slots=True)
class Placements:
    """Watches a simulation's decisions (an `engine.scheduler.Observer`).

    Attributes:
        start: The time of the simulation's start.
        schedulers: The scheduler names that are ours.
        progress: Is told of each decision.
        placer: Whose decisions they are; set once it is there.
    """

    start: float
    schedulers: Collection[str]
    progress: Progress = field(default_factory=Silence)
    placer: Placer | None = None
    _rows: dict[PodKey, Row] = field(default_factory=dict)
    _made_by: dict[PodKey, Workload] = field(default_factory=dict)

    def decided(self, pod: PlacedPod, decision: Decision, now: float) -> None:
        """Note a decision."""
        assert self.placer is not None
        node = decision.node
        refusals = decision.refusals
        self._rows[pod.key] = Row(
            key=pod.key,
            time=now - self.start,
            node=node,
            delays=tuple(self.placer.delays(pod, node or "", now)) if decision.trouble is None else (),
            rules=decision.rules,
            fallback=decision.opened,
            next_fallback=decision.next_opens if decision.retry_ms is not None else "",
            others=tuple(refusals.reasons()) if refusals is not None else (),
            trouble=decision.trouble or "",
            feasible=decision.feasible,
            message="" if node is not None else decision.message(),
        )
        self._made_by[pod.key] = pod.workload
        self.progress.decided(now - self.start, node is not None)

    def successor(self, left: PodKey, node: str, time: float, taken: Collection[PodKey]) -> Row | None:
        """The pod that took another's place, as the decision about it was.

        Args:
            left: The pod that was moved.
            node: Where its place was to be.
            time: When it was moved, seconds since the start.
            taken: Pods that took another's place.
        """
        workload = self._made_by.get(left)
        for key, row in self._rows.items() if workload is not None else ():
            if row.node != node or row.time is None or row.time < time or key in taken or key == left:
                continue
            if key.namespace == left.namespace and self._made_by[key] == workload:
                return row
        return None

    def of(self, pods: Iterable[Pod]) -> list[Row]:
        """The rows of the pods, by name, with those about which nothing was decided.

        Placeholders, which hold what reserves keep, are left out: nobody asked for them by name.
        """
        rows = (self._row(pod) for pod in pods if holds_for(pod.metadata.labels) is None)
        return sorted(rows, key=lambda row: _natural(row.key))

    def _row(self, pod: Pod) -> Row:
        row = self._decided(pod)
        return replace(row, leaving=True) if pod.metadata.deletion_timestamp is not None else row

    def _decided(self, pod: Pod) -> Row:
        row = self._rows.get(pod.key)
        actual = pod.spec.node_name or None
        if row is None:
            return Row(pod.key, node=actual, message=self._undecided(pod))
        if row.node is not None and actual is None:
            message = f"the cluster refused to bind it to {row.node}; --timeline shows why"
            return replace(row, node=None, delays=(), others=(), fallback="", message=message)
        return row

    def _undecided(self, pod: Pod) -> str:
        if pod.spec.node_name:
            return "its manifest names the node, so no scheduler was asked"
        if pod.spec.scheduler_name not in self.schedulers:
            return (
                f"it waits for the scheduler {pod.spec.scheduler_name}, which is not simulated; "
                f"set spec.schedulerName: {min(self.schedulers)}"
            )
        if pod.spec.scheduling_gates:
            gates = ", ".join(gate.name for gate in pod.spec.scheduling_gates)
            return f"held back by its scheduling gates: {gates}"
        return "not tried yet when the simulation ended"


def _natural(key: PodKey) -> tuple[list[str | int], list[str | int]]:
    """Sorts web-2 before web-10."""
    return _pieces(key.namespace), _pieces(key.name)


def _pieces(name: str) -> list[str | int]:
    # Texts and numbers take turns, so that no text is ever compared with a number.
    return [int(piece) if piece.isdigit() else piece for piece in re.split(r"(\d+)", name)]


def as_json(row: Row) -> dict[str, object]:
    """A row as it is written with ``--format json``."""
    return {
        "namespace": row.key.namespace,
        "pod": row.key.name,
        "node": row.node,
        "time": None if row.time is None else round(row.time, 3),
        "delays": [
            {
                "from": limit.origin,
                "limit_ms": limit.limit_ms,
                "delay_ms": None if math.isnan(limit.delay_ms) else limit.delay_ms,
            }
            for limit in row.delays
        ],
        "rules": list(row.rules),
        "fallback": row.fallback or None,
        "feasible_nodes": row.feasible,
        "others": [{"reason": reason, "nodes": count} for reason, count in row.others],
        "message": row.message or None,
        "terminating": row.leaving,
    }
