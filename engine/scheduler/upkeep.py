"""What keeps a cluster as the policies want it beside placing pods: reserves, healing, pods that are made anew."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from engine.binder.errands import ErrandExecutor, ErrandResult
from engine.cluster.protocol import ResourceKind
from engine.constraints.protocol import Depends
from engine.healing.placeholders import Keep
from engine.healing.plan import Move
from engine.model.objects import Pod, PodKey
from engine.placement import Decision, Placer
from engine.scheduler.healing import Healing, Told
from engine.scheduler.metrics import Metrics
from engine.scheduler.queue import SchedulingQueue
from engine.scheduler.remaking import Remaking
from engine.scheduler.reserving import Reserving
from engine.scheduler.telling import Telling
from engine.settings.tree import ReserveSettings
from engine.state.cache import Cache
from engine.state.pods import Phase, PlacedPod

log = logging.getLogger(__name__)

_REFUSED_AT_MOST: Final = 8
"""Nodes that reserves may refuse before a pod waits: each costs a new plan for it."""
_GONE_REMEMBERED: Final = 4096
"""Pods in the placeholders' namespace that went last: more than go while one errand is under way."""
UNTOLD_SECONDS: Final = 60.0
"""A pod that we made and no watch has told of for so long is not there: far longer than a watch is ever behind."""
FAULT_SECONDS: Final = 1.0
"""Pause after a fault of ours: what fails will likely fail again, and pods are to be placed meanwhile."""
_ROOM_OR_NODE: Final = Depends.NODE | Depends.USAGE | Depends.DELAY


class Upkeep:
    """Tells each of the three what happens, and gives them their turn.

    Args:
        cache: What is known of the cluster.
        placer: Whose plan says what is reserved and healed.
        queue: Who waits.
        executor: Runs errands; results come back through `ended`.
        telling: Tells people.
        metrics: Takes counts.
        ours: Whether a pod is ours to schedule.
        settings: Of placeholders.
        forget: Takes in that a pod is gone.
        seed: Of the optimiser.

    Attributes:
        healing: Moves.
        reserving: Reserves and their placeholders.
    """

    def __init__(
        self,
        cache: Cache,
        placer: Placer,
        queue: SchedulingQueue,
        executor: ErrandExecutor,
        telling: Telling,
        metrics: Metrics,
        ours: Callable[[PlacedPod], bool],
        settings: ReserveSettings,
        forget: Callable[[Pod, float], None],
        seed: int = 0,
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._namespace = settings.namespace
        self._rests_until = float("-inf")
        self._gone: dict[PodKey, None] = {}
        self._forget = forget
        self._untold: dict[PodKey, float] = {}
        self.reserving = Reserving(
            cache, placer, executor, telling, metrics, settings.namespace, settings.image, seed
        )
        self._remaking = Remaking(cache, executor, self.reserving, settings.namespace, settings.image)
        self.healing = Healing(
            cache, placer, queue, executor, telling, metrics, self.reserving, self._remaking, ours
        )

    def allowed(
        self, placed: PlacedPod, decision: Decision, now: float, again: Callable[[Sequence[str]], Decision]
    ) -> Decision:
        """A decision that the reserves allow: the one that was made, or the next best; none where they refuse many.

        Only reserves that want every pod covered refuse. What moves takes a place that was kept for it, so that there
        need not be one more.

        Args:
            placed: The pod.
            decision: For a node.
            now: Seconds since the epoch.
            again: Decides again, some nodes being avoided.
        """
        refused: list[str] = []
        why = ""
        while decision.node is not None:
            why = (
                "" if self.healing.expects(placed.key) else self.reserving.refusal(placed, decision.node, now)
            )
            if not why:
                return decision
            refused.append(decision.node)
            if len(refused) >= _REFUSED_AT_MOST:
                break
            decision = again(refused)
        nodes = len(self._cache.columns)
        return Decision(None, nodes, trouble=why, rules=decision.rules, helped_by=_ROOM_OR_NODE)

    # What happens

    def pod(self, placed: PlacedPod) -> None:
        """A pod came or changed."""
        self._untold.pop(placed.key, None)
        self.reserving.pod(placed)
        self._remaking.pod(placed)
        if placed.phase is Phase.QUEUED:
            self.healing.arrived(placed)
        self.healing.something_changed()

    def placed(self, placed: PlacedPod) -> None:
        """A pod got its node, which is being told to the cluster."""
        self.reserving.pod(placed)
        self.healing.placed(placed.key, placed.node)

    def gone(self, key: PodKey) -> None:
        """A pod is gone."""
        if key.namespace == self._namespace:
            self._gone[key] = None
            if len(self._gone) > _GONE_REMEMBERED:
                del self._gone[next(iter(self._gone))]
        self._untold.pop(key, None)
        self.reserving.gone(key)
        self._remaking.gone(key)
        self.healing.gone(key)

    def listed(self, kind: ResourceKind, now: float) -> None:
        """All objects of a kind have been told anew.

        What we made and no watch has told of yet may have come and gone while the watch was broken. If it is only
        younger than the list, it is told of next.
        """
        if kind is ResourceKind.PODS:
            self._drop_untold(now, now)

    def node_changed(self) -> None:
        """A node came, went or changed."""
        self.healing.something_changed()

    def delays_changed(self) -> None:
        """Other delays are in force."""
        self.reserving.delays_changed()
        self.healing.something_changed()

    def plan_changed(self) -> None:
        """Other policies are in force."""
        self.reserving.plan_changed()
        self.healing.plan_changed()

    def ended(self, result: ErrandResult, now: float) -> None:
        """An errand ended; what was made counts from now on, before the watch tells of it.

        Where the watch was faster it knows better: an errand of many steps ends long after its first one, and what
        that made may have changed since, or be gone again.
        """
        for pod in result.created:
            if pod.spec.node_name and pod.key not in self._gone and self._cache.pod(pod.key) is None:
                placed = self._cache.put_pod(pod)
                self.reserving.pod(placed)
                self._remaking.pod(placed)
                self._untold[pod.key] = now
        match result.errand.subject:
            case Keep():
                self.reserving.ended(result, now)
            case Move():
                self.healing.ended(result, now)
            case Told():
                pass  # what could not be said is said by an event, too
            case _:
                self._remaking.ended(result, now)

    # The work

    def tend(self, now: float, idle: bool) -> None:
        """Give each its turn.

        Args:
            now: Seconds since the epoch.
            idle: Whether no pod waits to be placed.
        """
        if now < self._rests_until:
            return
        self._rests_until = now + FAULT_SECONDS  # unless all goes well
        self._drop_untold(now, now - UNTOLD_SECONDS)
        self.healing.tend(now, self._waiting)
        self.reserving.tend(now, idle, self.healing.moves)
        self._rests_until = float("-inf")

    def next_due(self, now: float) -> float | None:
        """When there is something to do even if nothing comes in."""
        due = [self.healing.next_due(now), self.reserving.next_due(now)]
        due += [since + UNTOLD_SECONDS for since in self._untold.values()]
        first = min((one for one in due if one is not None), default=None)
        return None if first is None else max(first, self._rests_until)

    def _drop_untold(self, now: float, until: float) -> None:
        """Forget the pods that we made until then and no watch has told of."""
        for key in [key for key, since in self._untold.items() if since <= until]:
            placed = self._cache.pod(key)
            if placed is not None:
                log.debug("pod %s was made by us, and is gone without a word", key)
                self._forget(placed.pod, now)
            self._untold.pop(key, None)
            self._gone.pop(key, None)  # should it be there all the same, it counts once anything tells of it

    def _waiting(self) -> Mapping[PodKey, float]:
        """Pods of ours that no node takes, and since when."""
        return {
            queued.key: queued.waiting_since
            for queued in self._queue.pods()
            if queued.waiting_since is not None
        }
