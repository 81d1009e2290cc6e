"""What people and other schedulers are told of a pod: events, its condition, and what an earlier run of ours wrote."""

from __future__ import annotations

from typing import Protocol

from engine.binder import Recorder
from engine.clock import utc
from engine.cluster.protocol import ClusterEvent, EventType
from engine.healing.plan import Held, Move, Stay
from engine.model.objects import Condition, Pod, PodKey
from engine.placement import Decision
from engine.state.pods import PlacedPod
from grammar.policy import Heal, Reserve


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

    def awaiting_devices(self, pod: Pod, node: str, now: float) -> None:
        """The pod has a node, and devices that their drivers have to make ready first."""
        message = f"waiting for binding conditions for device on node {node}"
        self._tell(pod, EventType.NORMAL, "BindingConditionsPending", "Scheduling", message, now)

    def unschedulable(self, pod: Pod, message: str, now: float, since: float) -> None:
        """No node takes the pod, ``since`` when it was first found so: a restart reads that time."""
        self._failed(pod, "Scheduling", message, now)
        self._condition(pod, "Unschedulable", message, since)

    def still_unschedulable(self, pod: Pod, message: str, since: float) -> None:
        """No node takes the pod still, perhaps for other reasons: no event, for nothing happened."""
        self._condition(pod, "Unschedulable", message, since)

    def uncovered(self, pod: Pod, reserve: Reserve, why: str, now: float) -> None:
        """No room is kept for the loss of the pod's node."""
        cited = f"reserve {reserve.name} ({reserve.span})"
        message = f"{cited} keeps no room for it, were its {reserve.domain.name} lost: {why}"
        self._tell(pod, EventType.WARNING, "Uncovered", "Reserving", message, now)

    def covered(self, pod: Pod, reserve: Reserve, node: str, now: float) -> None:
        """Now it is, which was not so before."""
        message = f"reserve {reserve.name} ({reserve.span}) keeps room for it on {node}"
        self._tell(pod, EventType.NORMAL, "Covered", "Reserving", message, now)

    def moving(self, pod: Pod, move: Move, now: float) -> None:
        """The pod is taken from its node."""
        where = f"{move.target}, which was kept for it" if move.backup else move.target
        stage = f" ({move.stage})" if move.stage else ""
        message = f"heal {_cited(move.heal)}: {move.why}; it moves from {move.source} to {where}{stage}"
        self._tell(pod, EventType.NORMAL, "Moving", "Healing", message, now)

    def staying(self, pod: Pod, stay: Stay, now: float) -> None:
        """Something is wrong with the pod's place, and it stays there all the same."""
        message = f"heal {_cited(stay.heal)}: {stay.why}"
        self._tell(pod, EventType.WARNING, "NotMoved", "Healing", message, now)

    def held(self, node: str, held: Held, now: float) -> None:
        """A node is silent, and its pods are left alone."""
        message = f"heal {_cited(held.heal)} moves nothing: {held.why}"
        self._recorder.event(
            ClusterEvent(node, EventType.WARNING, "HealingHeld", "Healing", message, utc(now))
        )

    def healing(self, node: str, heal: Heal, pods: int, now: float) -> None:
        """A node's pods begin to move."""
        message = f"heal {_cited(heal)} moves {pods} {'pod' if pods == 1 else 'pods'} from it"
        self._recorder.event(ClusterEvent(node, EventType.WARNING, "Healing", "Healing", message, utc(now)))

    def _tell(self, pod: Pod, kind: EventType, reason: str, action: str, message: str, now: float) -> None:
        self._recorder.event(
            ClusterEvent(pod.key, kind, reason, action, message, utc(now), pod.spec.scheduler_name)
        )

    def erred(self, pod: Pod, action: str, message: str, now: float) -> None:
        """Something went wrong that is no lack of a node."""
        self._failed(pod, action, message, now)
        self._condition(pod, "SchedulerError", message, now)

    def _failed(self, pod: Pod, action: str, message: str, now: float) -> None:
        self._tell(pod, EventType.WARNING, "FailedScheduling", action, message, now)

    def _condition(self, pod: Pod, reason: str, message: str, since: float) -> None:
        """Patched only on a change."""
        current = pod.condition("PodScheduled")
        told = ("False", reason, message)
        if current is None or (current.status, current.reason, current.message) != told:
            self._recorder.condition(pod.key, Condition("PodScheduled", *told, utc(since)))


def _cited(heal: Heal) -> str:
    return f"{heal.name} ({heal.span})"


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
