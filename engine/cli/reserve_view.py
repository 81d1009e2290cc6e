"""What the reserves of the policies keep in a cluster: as its placeholders hold it, and as it would be planned anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from engine.cli.explain_subject import World
from engine.cli.progress import Doing
from engine.healing import Reserve
from engine.healing.placeholders import label_of
from engine.healing.reserve_check import moves
from engine.model.objects import PodKey
from engine.model.placeholder import FOR_ONE, holds_for
from engine.state.cache import Cache
from engine.state.columns import PODS
from engine.state.pods import Phase, PlacedPod
from grammar import policy

Amounts = Mapping[str, int]
"""Resource → amount, in the units of the columns."""
MEMORY: Final = "memory"
CPU: Final = "cpu"


@dataclass(frozen=True, slots=True)
class Planned:
    """A reserve, and its plan if it was made.

    Attributes:
        rule: What the policy says.
        covers: Whom.
        placeholders: The pods that hold it on their nodes, those on their way out included.
        plan: Where how much would be kept, planned anew; None where nobody asked for it.
    """

    rule: policy.Reserve
    covers: Callable[[PlacedPod], bool]
    placeholders: tuple[PlacedPod, ...]
    plan: Reserve | None = None


@dataclass(frozen=True, slots=True)
class KeptOn:
    """What is kept on a node.

    Attributes:
        planned: As planned, by resource; ``pods`` is for how many pods.
        held: What placeholders hold, by resource; ``pods`` is how many placeholders.
        losses: The losses that ask for most of it, sorted; none where nothing is planned.
    """

    node: str
    planned: Amounts
    held: Amounts
    losses: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether placeholders hold something else than is planned. How many they are says nothing."""
        return _without_places(self.planned) != _without_places(self.held)


@dataclass(frozen=True, slots=True)
class Uncovered:
    """A pod that nothing is kept for.

    Attributes:
        node: Where it is.
        why: A clause for people.
    """

    pod: PodKey
    node: str
    why: str


@dataclass(frozen=True, slots=True)
class ReserveView:
    """A reserve.

    Attributes:
        covered: How many pods it is to cover.
        uncovered: Those of them that nothing can be kept for, by name.
        requested: What all pods on nodes ask for, the reserve's placeholders aside.
        limit: Bytes of memory that may be kept, None for no limit.
        nodes: Where something is kept, by name.
        placeholders: How many pods hold it.
    """

    rule: policy.Reserve
    covered: int
    uncovered: tuple[Uncovered, ...]
    requested: Amounts
    limit: int | None
    nodes: tuple[KeptOn, ...]
    placeholders: int

    def planned(self, resource: str) -> int:
        """How much is planned in all."""
        return sum(one.planned.get(resource, 0) for one in self.nodes)

    def held(self, resource: str) -> int:
        """How much placeholders hold in all."""
        return sum(one.held.get(resource, 0) for one in self.nodes)

    def share(self, resource: str, amount: int) -> float | None:
        """An amount as a share of what is requested, 0…1 and beyond; None where nothing is."""
        requested = self.requested[resource]
        return amount / requested if requested else None


def placeholders(cache: Cache) -> dict[str, list[PlacedPod]]:
    """The pods that hold room on their nodes, by the reserve that they name."""
    found: dict[str, list[PlacedPod]] = {}
    for pod in cache.pods():
        label = holds_for(pod.shape.labels)
        if label is not None and pod.node:
            found.setdefault(label, []).append(pod)
    return found


def ruled(world: World) -> list[Planned]:
    """The reserves in force, without plans."""
    by_label = placeholders(world.cache)
    return [
        Planned(rule, covers, tuple(by_label.get(label_of(rule.name), ())))
        for rule, covers in world.placer.reserves
    ]


def plans(world: World, doing: Doing) -> list[Planned]:
    """The reserves in force, planned as a `berth run` does that starts now."""
    cache = world.cache
    ordinary = [pod for pod in cache.pods() if pod.counts and holds_for(pod.shape.labels) is None]
    found = []
    for one in ruled(world):
        rule = one.rule
        pods = [pod for pod in ordinary if one.covers(pod)]
        doing.doing(f"planning reserve {rule.name}: {len(pods):,} pods are to be covered", long=True)
        share = None if rule.at_most is None else rule.at_most / 100
        holding = set(one.placeholders)
        plan = Reserve(cache, world.placer, one.covers, rule.domain.label, share, holding)
        plan.put_all(pods, world.now)
        if plan.uncovered:
            plan.retry(world.now)
        found.append(replace(one, plan=plan))
    return found


def backups(planned: Iterable[Planned]) -> dict[PodKey, str]:
    """The node that each covered pod's backup lies on; of several reserves the first that has one."""
    found: dict[PodKey, str] = {}
    for one in reversed(list(planned)):
        found.update(one.plan.places() if one.plan is not None else {})
    return found


def view(cache: Cache, one: Planned) -> ReserveView:
    """All that is told of a reserve, which was planned."""
    plan = one.plan
    assert plan is not None  # INVARIANT: callers plan first
    uncovered = []
    for key, why in sorted(plan.uncovered.items()):
        pod = cache.pod(key)
        uncovered.append(Uncovered(key, pod.node if pod is not None else "", why))
    requested = {
        MEMORY: plan.requested_memory,
        CPU: int(cache.columns.used[CPU][cache.columns.alive].sum())
        - sum(pod.requests.get(CPU, 0) for pod in one.placeholders if pod.slot >= 0),
    }
    limit = None if one.rule.at_most is None else int(one.rule.at_most / 100 * plan.requested_memory)
    planned, held = plan.kept(), held_by(one.placeholders)
    nodes = tuple(
        KeptOn(name, planned.get(name, {}), held.get(name, {}), _losses(cache, plan, name, planned))
        for name in sorted(planned.keys() | held.keys())
    )
    return ReserveView(
        one.rule,
        len(plan.backups) + len(plan.uncovered),
        tuple(uncovered),
        requested,
        limit,
        nodes,
        len(_holding(one.placeholders)),
    )


def held_by(pods: Iterable[PlacedPod]) -> dict[str, dict[str, int]]:
    """What placeholders hold: node → resource → amount; ``pods`` is how many they are."""
    found: dict[str, dict[str, int]] = {}
    for pod in _holding(pods):
        amounts = found.setdefault(pod.node, {PODS: 0})
        amounts[PODS] += 1
        for resource, value in pod.requests.items():
            if value > 0 and resource != PODS:
                amounts[resource] = amounts.get(resource, 0) + value
    return found


def with_places(cache: Cache, held: Mapping[str, Amounts]) -> dict[str, dict[str, int]]:
    """What is held, with the places among its node's pods that are free: few placeholders hold for many pods."""
    columns = cache.columns
    found: dict[str, dict[str, int]] = {}
    for node, amounts in held.items():
        slot = columns.slot(node)
        if slot is not None:
            free = int(columns.allocatable[PODS][slot] - columns.used[PODS][slot])
            found[node] = {**amounts, PODS: amounts[PODS] + max(free, 0)}
    return found


def strangers(cache: Cache, rules: Iterable[policy.Reserve]) -> list[str]:
    """What there is to say of placeholders that no reserve of the policies asks for; a sentence each."""
    known = {label_of(rule.name) for rule in rules}
    told = []
    for label, pods in sorted(placeholders(cache).items()):
        if label == FOR_ONE:
            told.append(f"{_pods(len(pods))} being made anew on {_nodes(pods)}")
        elif label not in known:
            told.append(
                f"placeholders for {label}, which is no reserve of these policies: {len(pods)} on {_nodes(pods)}; "
                "a Berth that runs with these policies deletes them"
            )
    return told


def outside(cache: Cache, one: Planned) -> int:
    """How many covered pods are on nodes without the label of the domain, and so are in no loss."""
    label = one.rule.domain.label
    if label is None:
        return 0
    holding = set(one.placeholders)
    return sum(
        1
        for pod in cache.pods()
        if pod.counts
        and pod not in holding
        and moves(pod)
        and label not in cache.columns.labels.of(pod.slot)
        and one.covers(pod)
    )


# Inside


def _losses(cache: Cache, plan: Reserve, node: str, planned: Mapping[str, Amounts]) -> tuple[str, ...]:
    slot = cache.columns.slot(node)
    if slot is None or node not in planned or not np.any(plan.ledger.kept[:, slot]):
        return ()
    return tuple(sorted(plan.ledger.peaks(slot)))


def _holding(pods: Iterable[PlacedPod]) -> list[PlacedPod]:
    return [pod for pod in pods if pod.phase is not Phase.TERMINATING and pod.slot >= 0]


def _without_places(amounts: Amounts) -> dict[str, int]:
    return {resource: value for resource, value in amounts.items() if resource != PODS and value}


def _pods(count: int) -> str:
    return "1 pod is" if count == 1 else f"{count} pods are"


def _nodes(pods: Iterable[PlacedPod]) -> str:
    names = sorted({pod.node for pod in pods})
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more nodes" if len(names) > 3 else "")
