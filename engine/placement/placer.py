"""Places pods: stages in order, the best feasible node of the first stage that has one."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.compile.nodes import WithinDelay
from engine.compile.origins import AgesOf, Origin, Origins
from engine.compile.plan import BoundPlan, Key, Plan
from engine.compile.requirements import Requirements, Stage
from engine.compile.subject import Moment, PodSelector, PodSubject
from engine.constraints.protocol import Depends, Filter, Slots, Vector, is_global
from engine.delay.map import DelayMap
from engine.model.placeholder import FOR_ONE, holds_for
from engine.placement.decision import (
    NEVER,
    VICTIMS_GOING,
    Decision,
    MeasuredLimit,
    Preemption,
    Refusals,
)
from engine.placement.evaluation import Evaluation, totals
from engine.placement.hints import hint
from engine.placement.preemption import Preemptor, among
from engine.placement.promises import Promised, unpromised
from engine.state.cache import Cache
from engine.state.columns import Columns
from engine.state.pods import Phase, PlacedPod
from grammar.policy import Reserve

_KEPT_BYTES: Final = 256 * 2**20
_REQUIREMENTS_BYTES: Final = 16 * 2**10
"""About what the objects of one pod's requirements take: rules that read a pod's name make them for every pod."""
_ELSEWHERE: Final = Depends.CENSUS | Depends.TIME | Depends.VOLUMES | Depends.DEVICES
"""What is not seen on one node alone."""
_SYSTEM_PRIORITY: Final = 2_000_000_000
"""That of Kubernetes' own class ``system-cluster-critical``; users' classes end below it."""
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)
"""Multiplying by it (2⁶⁴ divided by the golden ratio) scatters neighbouring hashes."""


class _Kept:
    """What is kept of one kind of pods: its requirements, and the vectors of each stage that was needed so far."""

    __slots__ = ("_local", "evaluations", "nbytes", "requirements")

    def __init__(self, requirements: Requirements) -> None:
        self.requirements = requirements
        self._local: list[tuple[Filter, bool]] | None = None
        self.evaluations: dict[int, Evaluation] = {}
        self.nbytes = _REQUIREMENTS_BYTES

    def local(self) -> list[tuple[Filter, bool]]:
        """The filters that judge a node by itself and hold in every stage, each with whether by what runs there."""
        if self._local is None:
            requirements = self.requirements
            waived = frozenset[str]().union(*(stage.waived for stage in requirements.stages))
            self._local = [
                (constraint, bool(constraint.depends & Depends.USAGE))
                for constraint in (*requirements.kubernetes, *requirements.policies)
                if not is_global(constraint)
                and not constraint.depends & _ELSEWHERE
                and constraint.name not in waived
            ]
        return self._local


class Placer:
    """Answers where a pod goes, on one cache under one plan.

    Nothing here changes the cache. Vectors are kept per shape within a budget of memory, the least recently used
    going first.

    Args:
        cache: The pods and nodes.
        plan: The compiled policies.
        delays: Round-trip times.
        seed: Ties are broken by a hash of it, the pod and the node: the same run gives the same places, and pods
            spread evenly over equals.
        ages: Who knows how old the delays are, None where nobody does: for explanations.
    """

    def __init__(
        self,
        cache: Cache,
        plan: Plan,
        delays: DelayMap | None = None,
        seed: int = 0,
        ages: AgesOf | None = None,
    ) -> None:
        self._cache = cache
        self._columns = cache.columns
        self._moment = Moment()
        self._origins = Origins(cache.columns, cache.workloads, delays)
        self._origins.ages = ages
        self._plan = BoundPlan(plan, cache, self._origins, self._moment)
        self._seed = seed.to_bytes(8, "little", signed=True)
        self._preemptor = Preemptor(cache, self.may_take)
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._bytes = 0

    @property
    def columns(self) -> Columns:
        """The nodes that it decides about."""
        return self._columns

    @property
    def delay_map(self) -> DelayMap:
        """The round-trip times in force."""
        return self._origins.delays

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        return self._plan.plan

    @property
    def reserves(self) -> Sequence[tuple[Reserve, PodSelector]]:
        """The reserves of the plan in force, each with whom it covers."""
        return self._plan.reserves

    def covered(self, pod: PlacedPod) -> bool:
        """Whether a reserve is kept for the pod, too."""
        return any(covers(pod) for _, covers in self._plan.reserves)

    def may_take(self, pod: PlacedPod, one: PlacedPod) -> bool:
        """Whether a pod may have the room that another one holds, as far as priorities and reserves say.

        What is kept is for those that it is kept for, and for what the cluster itself cannot do without. A placeholder
        that carries a pod which is being made anew is all that is left of that pod, and nobody takes it away.
        """
        if one.shape.priority >= pod.shape.priority:
            return False
        holds = holds_for(one.shape.labels)
        if holds is None:
            return True
        return holds != FOR_ONE and (pod.shape.priority >= _SYSTEM_PRIORITY or self.covered(pod))

    def swap_plan(self, plan: Plan) -> None:
        """Decide by another plan from now on."""
        self._clear()
        self._plan.close()
        self._plan = BoundPlan(plan, self._cache, self._origins, self._moment)

    def swap_delays(self, delays: DelayMap) -> None:
        """Decide by other delays from now on; nothing is thrown away that does not depend on them."""
        self._origins.swap(delays)

    def place(
        self,
        pod: PlacedPod,
        now: float,
        waited_ms: float = 0.0,
        diagnose: bool = False,
        preempt: bool = False,
        avoid: Collection[str] = (),
    ) -> Decision:
        """Where the pod goes, or why it goes nowhere.

        Args:
            pod: A cached pod that holds no room yet.
            now: Seconds since the epoch.
            waited_ms: Since when the pod has been found unschedulable; opens the fallbacks with a duration.
            diagnose: Whether a decision for a node has to say why not the others, too.
            preempt: Whether to find out, where there is no node, whom to take away so that there is one.
            avoid: Nodes that are not to be chosen, for a reason that no constraint knows of.
        """
        self._moment.now = now
        self._plan.tick()
        nodes = len(self._columns)
        subject = PodSubject.of(pod, now)
        kept = self._requirements(subject)
        requirements = kept.requirements
        trouble = requirements.trouble
        helped_by = requirements.trouble_depends
        if trouble is None:
            for origin in requirements.needed:
                trouble = origin.missing()
                if trouble is not None:
                    helped_by = Depends.DELAY | Depends.NODE
                    break
        if trouble is not None:
            return Decision(None, nodes, trouble=trouble, rules=requirements.rules, helped_by=helped_by)
        tried: list[tuple[int, Evaluation, Refusals]] = []
        retry_ms: float | None = None
        next_opens = ""
        for position, stage in enumerate(requirements.stages):
            if stage.after_ms > waited_ms:
                if retry_ms is None or stage.after_ms - waited_ms < retry_ms:
                    retry_ms, next_opens = stage.after_ms - waited_ms, stage.opens
                continue
            evaluation = self._evaluation(kept, position, stage)
            evaluation.refresh()
            feasible, promised = self._yielded(pod, evaluation, evaluation.feasible(), requirements.needed)
            if avoid:
                avoided = [slot for name in avoid if (slot := self._columns.slot(name)) is not None]
                feasible = feasible[~np.isin(feasible, avoided)]
                if not len(feasible):
                    continue
            if len(feasible):
                slot, score = self._choose(pod, kept, evaluation, feasible)
                return Decision(
                    node=self._columns.names[slot],
                    nodes=nodes,
                    score=score,
                    feasible=len(feasible),
                    stage=position,
                    opened=stage.opens,
                    rules=requirements.rules,
                    refusals=_with_promised(evaluation, promised) if diagnose else None,
                    volumes=self._plan.volumes(subject, slot) if pod.claims else None,
                    devices=self._plan.devices(subject, slot),
                )
            tried.append((position, evaluation, _with_promised(evaluation, promised)))
        if not tried:  # the first stage is always open, so all that it lets pass is to be avoided
            return Decision(
                None,
                nodes,
                trouble="all that fit are avoided",
                rules=requirements.rules,
                helped_by=Depends.NODE,
            )
        helped_by = Depends.NODE
        for _, _, refusals in tried:
            # The last is told, but a change of what refused in an earlier stage helps as well.
            helped_by |= refusals.depends()
        position, _, refusals = tried[-1]
        return Decision(
            node=None,
            nodes=nodes,
            stage=position,
            opened=requirements.stages[position].opens,
            rules=requirements.rules,
            refusals=refusals,
            retry_ms=retry_ms,
            next_opens=next_opens,
            helped_by=helped_by,
            preemption=self._make_room(pod, requirements, tried) if preempt and nodes else None,
            hint=hint(
                (self._plan.key(subject), len(tried)),
                (pod.shape.requests.get("cpu", 0), pod.shape.requests.get("memory", 0)),
                [refusals for _, _, refusals in tried],
                requirements.origins,
            ),
        )

    def worth_trying(self, pod: PlacedPod, now: float, slots: Collection[int], preempt: bool) -> bool:
        """Whether one of a few nodes might take the pod, by what can be seen on the node alone.

        Cheaper than `place`, and never False where that would find one of these nodes.

        Args:
            pod: As for `place`.
            now: Likewise.
            slots: Where something happened.
            preempt: Whether room that pods of lower priority hold counts as free.
        """
        self._moment.now = now
        kept = self._requirements(PodSubject.of(pod, now))
        requirements = kept.requirements
        if requirements.trouble is not None or any(one.missing() for one in requirements.needed):
            return False
        where = np.array([slot for slot in slots if slot < self._columns.size], dtype=np.int64)
        mask = self._columns.alive[where]
        lower = np.array(
            [preempt and self._anybody_below(pod, slot) for slot in where.tolist()], dtype=np.bool_
        )
        for constraint, by_use in kept.local():
            passes = constraint.passes(where)
            mask = mask & (passes | lower if by_use else passes)
            if not mask.any():
                return False
        return bool(mask.any())

    def _anybody_below(self, pod: PlacedPod, slot: int) -> bool:
        return any(self.may_take(pod, one) for one in self._cache.pods_on(self._columns.names[slot]))

    def _yielded(
        self, pod: PlacedPod, evaluation: Evaluation, feasible: Slots, needed: Sequence[Origin]
    ) -> tuple[Slots, Promised | None]:
        """The feasible slots without those whose room is promised to others, or only the one promised to the pod."""
        feasible, promised = unpromised(self._cache, pod, evaluation, feasible, needed)
        own = self._columns.slot(self._cache.nominations.node_of(pod.key))
        if own is not None and among(own, feasible):
            feasible = np.array([own], dtype=np.int64)
        return feasible, promised

    def _make_room(
        self,
        pod: PlacedPod,
        requirements: Requirements,
        tried: Sequence[tuple[int, Evaluation, Refusals]],
    ) -> Preemption:
        """Where room can be made, by the first stage that can."""
        if pod.pod.spec.preemption_policy == "Never":
            return Preemption(trouble=NEVER)
        nominated = self._cache.nominations.node_of(pod.key)
        slot = self._columns.slot(nominated)
        if (
            slot is not None
            and any(bool(evaluation.bearable(np.array([slot]))[0]) for _, evaluation, _ in tried)
            and any(
                one.shape.priority < pod.shape.priority and going(one)
                for one in self._cache.pods_on(nominated)
            )
        ):
            return Preemption(trouble=VICTIMS_GOING)
        found = Preemption()
        for _, evaluation, refusals in tried:
            found = self._preemptor.find(
                pod, evaluation, refusals, requirements.needed, lambda slots: self._scatter(pod, slots)
            )
            if found.node is not None:
                break
        return found

    def delays(self, pod: PlacedPod, node: str, now: float) -> list[MeasuredLimit]:
        """The delay limits that the rules set for a pod, with what it would have on a node."""
        slot = self._columns.slot(node)
        return [
            MeasuredLimit(
                constraint.origin.name,
                constraint.limit_ms,
                float("nan") if slot is None else float(constraint.origin.vector()[slot]),
            )
            for constraint in self._requirements(PodSubject.of(pod, now)).requirements.policies
            if isinstance(constraint, WithinDelay)
        ]

    def requirements(self, pod: PlacedPod, now: float) -> Requirements:
        """All that bears on the placement of a pod, as it is decided by."""
        return self._requirements(PodSubject.of(pod, now)).requirements

    def evaluation(self, pod: PlacedPod, now: float, stage: int) -> Evaluation:
        """The vectors of one of the pod's stages, up to date: for whoever explains what `place` decided."""
        self._moment.now = now
        self._plan.tick()
        kept = self._requirements(PodSubject.of(pod, now))
        evaluation = self._evaluation(kept, stage, kept.requirements.stages[stage])
        evaluation.refresh()
        return evaluation

    def fitting(self, pod: PlacedPod, now: float, stage: int) -> int:
        """How many nodes could take the pod in one of its stages, likewise; a node promised to it is one of them."""
        evaluation, needed = self.evaluation(pod, now, stage), self.requirements(pod, now).needed
        return len(unpromised(self._cache, pod, evaluation, evaluation.feasible(), needed)[0])

    def nominated(self, pod: PlacedPod) -> str:
        """The node that is promised to the pod, "" where there is none."""
        return self._cache.nominations.node_of(pod.key)

    def _choose(
        self, pod: PlacedPod, kept: _Kept, evaluation: Evaluation, feasible: Slots
    ) -> tuple[int, float]:
        """The best of the feasible slots: by score, where policies rank then by the stock scores, then by hash."""
        if len(feasible) == 1:
            return int(feasible[0]), float(evaluation.totals(feasible)[0])
        best, score = _best(feasible, evaluation.totals(feasible))
        if len(best) > 1 and kept.requirements.ranks:
            best, _ = _best(best, totals(kept.requirements.stock, best, relative=True))
        if len(best) > 1:
            best = best[np.argmin(self._scatter(pod, best))][None]
        return int(best[0]), score

    def _scatter(self, pod: PlacedPod, slots: Slots) -> NDArray[np.uint64]:
        """A number for each slot that depends on the seed, the pod and the node, and on nothing else."""
        name = f"{pod.key.namespace}/{pod.key.name}".encode()
        digest = hashlib.blake2b(name, digest_size=8, key=self._seed).digest()
        mixed = self._columns.hashes[slots] ^ np.uint64(int.from_bytes(digest, "little"))
        scattered: NDArray[np.uint64] = mixed * _ODD
        return scattered ^ (scattered >> np.uint64(29))

    def _requirements(self, subject: PodSubject) -> _Kept:
        key = self._plan.key(subject)
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = _Kept(self._plan.requirements(subject))
            self._bytes += _REQUIREMENTS_BYTES
            self._evict()
        else:
            self._kept.move_to_end(key)
        return kept

    def _evaluation(self, kept: _Kept, position: int, stage: Stage) -> Evaluation:
        evaluation = kept.evaluations.get(position)
        if evaluation is None:
            requirements = kept.requirements
            binding = [
                constraint for constraint in requirements.policies if constraint.name not in stage.waived
            ]
            evaluation = kept.evaluations[position] = Evaluation(
                self._columns,
                [*requirements.kubernetes, *binding, *stage.members],
                requirements.ranks or requirements.stock,
                requirements.origins,
            )
            kept.nbytes += evaluation.nbytes
            self._bytes += evaluation.nbytes
            self._evict()
        return evaluation

    def _evict(self) -> None:
        while self._bytes > _KEPT_BYTES and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= dropped.nbytes

    def _clear(self) -> None:
        self._kept.clear()
        self._bytes = 0


def _with_promised(evaluation: Evaluation, promised: Promised | None) -> Refusals:
    """The refusals, with those of nodes whose room is promised to others after all filters."""
    refusals = evaluation.refusals()
    if promised is None:
        return refusals
    refusals.codes[list(promised.slots)] = len(refusals.filters) + 1
    return Refusals(refusals.codes, (*refusals.filters, promised))


def going(pod: PlacedPod) -> bool:
    """Whether the pod is on its way out for the sake of another."""
    condition = pod.pod.condition("DisruptionTarget") if pod.phase is Phase.TERMINATING else None
    return (
        condition is not None and condition.status == "True" and condition.reason == "PreemptionByScheduler"
    )


def _best(slots: Slots, totals: Vector) -> tuple[Slots, float]:
    """The slots with the highest total, and the total."""
    highest = totals.max()
    best: Slots = slots[totals == highest]
    return best, float(highest)
