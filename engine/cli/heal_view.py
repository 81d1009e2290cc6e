"""What would move in a cluster, by the planner that `berth run` has: now, and once what is wrong has lasted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from engine.cli.explain_subject import World
from engine.cli.progress import Doing
from engine.cli.reserve_view import backups, placeholders, plans
from engine.healing.plan import Held, Move, Stay
from engine.healing.planner import Planner
from engine.healing.situation import Situation
from engine.model.objects import PodKey
from engine.model.placeholder import FOR_ONE, holds_for
from engine.scheduler.telling import unschedulable_since
from engine.state.pods import PlacedPod
from grammar.policy import Heal

_LOOKS: Final = 12
"""Times at which it is asked what has fallen due; the last of them is when all durations are over."""
PERIODS: Final = 2
"""For how many periods of measurements a contact counts, as with `engine.scheduler.loop`."""


@dataclass(frozen=True, slots=True)
class PlannedMove:
    """A move.

    Attributes:
        due_s: When it is due, seconds from the moment that is asked about, if things stay as they are.
    """

    move: Move
    due_s: float


@dataclass(frozen=True, slots=True)
class HealView:
    """What is told.

    Attributes:
        heals: The rules, in their order.
        now: The moment that is asked about, seconds since the epoch.
        ahead_s: So many seconds were looked ahead.
        moves: In the order in which they fall due. Those of one time are planned one after the other; those of a later
            time as if none had been made.
        stays: What is wrong at the end of that time, and stays.
        held: The silent nodes that are left alone then.
        due: When something more falls due after that, seconds since the epoch; None for never.
    """

    heals: tuple[Heal, ...]
    now: float
    ahead_s: float
    moves: tuple[PlannedMove, ...]
    stays: tuple[Stay, ...]
    held: tuple[Held, ...]
    due: float | None


def look(world: World, only_now: bool, doing: Doing, period: float = 60.0) -> HealView:
    """Plan.

    Since when a rule is broken, or a node cordoned or gone, no cluster says; a planner that sees it for the first time
    counts from then. So it is asked again once the durations of the rules are over, as if nothing had changed.

    Args:
        world: The cluster, with the policies.
        only_now: Whether only what is due at this moment counts.
        doing: Is told of what takes time.
        period: How often the delays are measured, seconds.
    """
    heals = world.placer.plan.policy.heals
    situation = _situation(world, backups(plans(world, doing)), PERIODS * period)
    planner = Planner(world.cache, world.placer, heals)
    ahead = 0.0 if only_now else max((heal.after_ms / 1000 for heal in heals), default=0.0)
    doing.doing(f"planning moves by {len(heals)} rules", long=True)
    plan = planner.plan(world.now, situation)
    moves = {one.pod: PlannedMove(one, 0.0) for one in plan.moves}
    for number in range(_LOOKS):
        if plan.due is None or plan.due > world.now + ahead:
            break
        time = plan.due if number < _LOOKS - 1 else world.now + ahead
        plan = planner.plan(time, _aged(situation, time - world.now))
        for one in plan.moves:
            moves.setdefault(one.pod, PlannedMove(one, time - world.now))
    return HealView(
        heals,
        world.now,
        ahead,
        tuple(moves.values()),
        tuple(one for one in plan.stays if one.pod not in moves),
        plan.held,
        plan.due,
    )


# Inside


def _situation(world: World, kept: dict[PodKey, str], contact_s: float) -> Situation:
    by_label = placeholders(world.cache)
    return Situation(
        backups=kept,
        placeholders=[pod for label, pods in by_label.items() if label != FOR_ONE for pod in pods],
        waiting=_waiting(world),
        contacts=world.contacts,
        contact_s=contact_s,
        ours=lambda pod: _ours(world, pod),
    )


def _aged(situation: Situation, seconds: float) -> Situation:
    """As it is so much later, if no node is reached once more until then."""
    if situation.contacts is None:
        return situation
    return replace(situation, contacts={node: age + seconds for node, age in situation.contacts.items()})


def _ours(world: World, pod: PlacedPod) -> bool:
    return pod.pod.spec.scheduler_name in world.schedulers and not pod.pod.spec.scheduling_gates


def _waiting(world: World) -> dict[PodKey, float]:
    """Pods of ours without a node; the planner itself leaves those out that a node takes."""
    found = {}
    for pod in world.cache.pods():
        if pod.node or not _ours(world, pod) or pod.pod.metadata.deletion_timestamp is not None:
            continue
        if holds_for(pod.shape.labels) is None:
            since = unschedulable_since(pod.pod)
            found[pod.key] = world.now if since is None else min(since, world.now)
    return found
