"""What people and other schedulers are told of a pod: events, its condition, and what an earlier run of ours wrote."""

from __future__ import annotations

from typing import Protocol

from engine.binder import Recorder
from engine.clock import utc
from engine.cluster.protocol import ClusterEvent, EventType
from engine.model.objects import Condition, Pod, PodKey
from engine.placement import Decision
from engine.state.pods import PlacedPod


class Observer(Protocol):
    """Whoever wants to see every decision: explanations, metrics, the simulator's table."""

    def decided(self, pod: PlacedPod, decision: Decision, now: float) -> None:
        """A pod was placed, or not. Called before the decision is carried out."""
        ...


class Telling:
    """Says it through a recorder, which neither waits nor says the same thing again and again."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def scheduled(self, key: PodKey, scheduler: str, message: str, now: float) -> None:
        """The pod is bound; it names that scheduler, and may be gone already."""
        self._recorder.event(
            ClusterEvent(key, EventType.NORMAL, "Scheduled", "Binding", message, utc(now), scheduler)
        )

    def unschedulable(self, pod: Pod, message: str, now: float, since: float) -> None:
        """No node takes the pod, ``since`` when it was first found so: a restart reads that time."""
        self._failed(pod, "Scheduling", message, now)
        self._condition(pod, "Unschedulable", message, since)

    def erred(self, pod: Pod, action: str, message: str, now: float) -> None:
        """Something went wrong that is no lack of a node."""
        self._failed(pod, action, message, now)
        self._condition(pod, "SchedulerError", message, now)

    def _failed(self, pod: Pod, action: str, message: str, now: float) -> None:
        kind, name = EventType.WARNING, pod.spec.scheduler_name
        self._recorder.event(ClusterEvent(pod.key, kind, "FailedScheduling", action, message, utc(now), name))

    def _condition(self, pod: Pod, reason: str, message: str, since: float) -> None:
        """Patched only on a change."""
        current = pod.condition("PodScheduled")
        told = ("False", reason, message)
        if current is None or (current.status, current.reason, current.message) != told:
            self._recorder.condition(pod.key, Condition("PodScheduled", *told, utc(since)))


def unschedulable_since(pod: Pod) -> float | None:
    """Since when the pod is known to be unschedulable: what an earlier run of ours wrote."""
    condition = pod.condition("PodScheduled")
    if condition is None or condition.status != "False" or condition.reason != "Unschedulable":
        return None
    return condition.last_transition_time.timestamp() if condition.last_transition_time else None


def assigned(placed: PlacedPod, decision: Decision) -> str:
    """What the event of a pod that got its node says."""
    message = f"Successfully assigned {placed.key} to {decision.node}"
    if decision.opened:
        message += f", falling back to {decision.opened}"
    return message + (f"; by {', '.join(decision.rules)}" if decision.rules else "")
