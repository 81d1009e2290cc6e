"""What must be true of every plan of moves, found out on a fresh cluster that knows nothing of the planner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from engine.compile import compile_policy
from engine.healing.plan import Move, Plan, Way
from engine.model.objects import Node, Pod, PodDisruptionBudget, PodKey
from engine.model.selectors import selector_of
from engine.placement import Placer
from engine.placement.decision import PASSES
from engine.state.cache import Cache
from grammar.policy import CheckedPolicy, Heal, Trigger
from tests.engine.placement.compare import delay_map


@dataclass
class Cluster:
    """A cluster in plain objects, by name. ``waited`` are the seconds since each pod or node was first found wrong."""

    policy: CheckedPolicy
    heals: tuple[Heal, ...]
    nodes: dict[str, Node] = field(default_factory=dict)
    pods: dict[PodKey, Pod] = field(default_factory=dict)
    delays: dict[tuple[str, str], float] = field(default_factory=dict)
    budgets: list[PodDisruptionBudget] = field(default_factory=list)
    backups: dict[PodKey, str] = field(default_factory=dict)
    placeholders: list[PodKey] = field(default_factory=list)
    waiting: dict[PodKey, float] = field(default_factory=dict)

    def build(self) -> tuple[Cache, Placer]:
        cache = Cache()
        for node in self.nodes.values():
            cache.put_node(node)
        for pod in self.pods.values():
            cache.put_pod(pod)
        for budget in self.budgets:
            cache.budgets.put(budget)
        return cache, Placer(cache, compile_policy(self.policy), delay_map(self.delays))


def check_plan(cluster: Cluster, plan: Plan, now: float, waited_ms: float) -> None:
    """Carry the plan out, move by move, asking the placer each time.

    Raises:
        AssertionError: Something is wrong with it.
    """
    assert len({move.pod for move in plan.moves}) == len(plan.moves), "somebody moves twice"
    assert not {stay.pod for stay in plan.stays} & {move.pod for move in plan.moves}
    assert all(
        [one.why for one in plan.moves] + [one.why for one in plan.stays] + [one.why for one in plan.held]
    )
    assert plan.due is None or plan.due > now
    _rates(plan)
    _held(plan)
    _budgets(cluster, plan)
    for move in plan.moves:
        _sane(cluster, move)
    cache, placer = cluster.build()
    by_heal = Counter(move.heal.name for move in plan.moves if move.heal.trigger is Trigger.NODE_LOST)
    left: set[PodKey] = set()
    helped: Counter[PodKey] = Counter(move.helps for move in plan.moves if move.helps is not None)
    for move in plan.moves:
        if by_heal.get(move.heal.name) and move.heal.trigger is Trigger.NODE_LOST and move.pod not in left:
            # Those of lost nodes leave all before the first of them is placed.
            for other in plan.moves:
                if other.heal is move.heal:
                    leave(cluster, cache, other)
                    left.add(other.pod)
        if move.pod not in left:
            leave(cluster, cache, move)
        come(cluster, cache, placer, move, now, waited_ms)
        if move.helps is not None:
            helped[move.helps] -= 1
            if not helped[move.helps]:
                waiting = cluster.pods[move.helps]
                _arrive(cache, placer, waiting, waiting, move.source, now, waited_ms)


def leave(cluster: Cluster, cache: Cache, move: Move) -> None:
    pod = cluster.pods[move.pod]
    if move.way is Way.DELETE:
        deleted = replace(pod.metadata, deletion_timestamp=pod.metadata.creation_timestamp)
        cache.put_pod(replace(pod, metadata=deleted))
    else:
        cache.remove_pod(move.pod)


def come(cluster: Cluster, cache: Cache, placer: Placer, move: Move, now: float, waited_ms: float) -> None:
    pod = cluster.pods[move.pod]
    fresh = replace(
        pod,
        metadata=replace(pod.metadata, uid=pod.metadata.uid + "-new"),
        spec=replace(pod.spec, node_name=""),
    )
    late = move.heal.trigger is not Trigger.POD_UNSCHEDULABLE
    holding = [key for key in cluster.placeholders if (one := cache.pod(key)) and one.node == move.target]
    if move.backup or (
        move.pod in cluster.backups
        and holding
        and not takes(cache, placer, fresh, move.target, now, waited_ms)
    ):
        # What is kept gives way to covered pods, and to no others.
        for key in holding:
            cache.remove_pod(key)
    _arrive(cache, placer, pod, fresh, move.target, now, waited_ms if late else 0.0)


def takes(cache: Cache, placer: Placer, fresh: Pod, target: str, now: float, waited_ms: float) -> bool:
    """Whether a node takes a pod that is nowhere yet."""
    placed = cache.put_pod(fresh)
    slot = cache.columns.slot(target)
    requirements = placer.requirements(placed, now)
    if slot is None or requirements.trouble is not None or any(one.missing() for one in requirements.needed):
        return False
    return any(
        placer.evaluation(placed, now, position).refusals().codes[slot] == PASSES
        for position, stage in enumerate(requirements.stages)
        if stage.after_ms <= waited_ms
    )


def _arrive(
    cache: Cache, placer: Placer, old: Pod, fresh: Pod, target: str, now: float, waited_ms: float
) -> None:
    assert takes(cache, placer, fresh, target, now, waited_ms), f"{target} refuses {old.key}"
    cache.assume(fresh.key, target)


def _rates(plan: Plan) -> None:
    for heal, number in Counter(move.heal for move in plan.moves).items():
        assert heal.moves is None or number <= heal.moves
        if heal.relocate is not None:
            helped = Counter(move.helps for move in plan.moves if move.heal == heal)
            assert all(count <= heal.relocate for count in helped.values())


def _held(plan: Plan) -> None:
    for held in plan.held:
        assert not any(move.heal == held.heal and move.source in held.nodes for move in plan.moves)


def _budgets(cluster: Cluster, plan: Plan) -> None:
    for budget in cluster.budgets:
        selector = selector_of(budget.spec.selector)
        evicted = [
            move
            for move in plan.moves
            if move.way is Way.EVICT and selector.matches(cluster.pods[move.pod].metadata.labels or {})
        ]
        assert len(evicted) <= budget.status.disruptions_allowed


def _sane(cluster: Cluster, move: Move) -> None:
    pod = cluster.pods[move.pod]
    assert pod.metadata.deletion_timestamp is None
    assert pod.spec.node_name == move.source != move.target
    assert cluster.nodes[move.target].ready
    assert move.pod not in cluster.placeholders
    kinds = [one.kind for one in pod.metadata.owner_references]
    assert "DaemonSet" not in kinds
    assert (move.way is Way.RECREATE) == (not kinds)
    assert move.way is not Way.RECREATE or move.heal.recreate
    source: Mapping[str, Node] = cluster.nodes
    if move.heal.trigger is Trigger.NODE_LOST:
        assert move.source not in source or not source[move.source].ready
        if "StatefulSet" in kinds:
            assert move.way is Way.FORCE
            assert move.heal.force or move.source not in source
    else:
        assert move.way in (Way.EVICT, Way.RECREATE)
    if move.heal.trigger is Trigger.NODE_DRAINING:
        assert source[move.source].spec.unschedulable
    if move.backup:
        assert cluster.backups[move.pod] == move.target


__all__ = ["Cluster", "check_plan"]
