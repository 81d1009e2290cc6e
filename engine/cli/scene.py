"""A policy's test on a cluster of its own, in virtual time: its nodes and pods, and how each pod came to its node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from engine.cli.aftermath import Chronicle, Moved
from engine.cli.logs import as_notes
from engine.cli.placements import Placements
from engine.cli.progress import Progress
from engine.cluster.simulated import Options, SimulatedCluster
from engine.cluster.simulated.controllers.base import active
from engine.compile import Plan
from engine.delay import DelayMap
from engine.healing.plan import Stay
from engine.manifests.objects import Deployment, DeploymentSpec, FullPodSpec, PodTemplate
from engine.model.objects import (
    Container,
    Node,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    Pod,
    PodKey,
    ResourceRequirements,
)
from engine.model.shape import Workload, workload
from engine.placement import Decision
from engine.placement.explanation import Explanation
from engine.placement.explanation import explain as explanation_of
from engine.placement.explanation_pods import set_apart
from engine.placement.part import Part, parts
from engine.scheduler.simulation import Simulation
from engine.settings import Settings
from engine.state.pods import PlacedPod
from grammar.policy_tests import After, Expect, LoseNode, SceneNode, ScenePod, Test

ROOM: Final[Mapping[str, str]] = {"cpu": "8", "memory": "16Gi", "ephemeral-storage": "100Gi", "pods": "110"}
"""What a node has of what the test does not mention; ``docs/testing.md`` has the same."""
_NONE: Final = dict.fromkeys(ROOM, "0")


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a pod of a test is at a moment, and how it came there.

    Attributes:
        there: Whether there is such a pod; if not, it is on its way out and nothing has taken its place.
        node: None while it is pending.
        since: When that was decided, in seconds since the start; None where nothing was.
        trouble: Why no node was looked at, "" where nodes were.
        explanation: What speaks for and against each node: when the pod was placed, or while it is pending, now.
        refused: Nodes that were better, and where a reserve refused it then.
        parts: Of the rules.
        moved: How a heal brought it to its node, None where none did.
        helped: How heals moved others so that it has room there.
        stays: What heals have to say of why it stays where it is.
        silent_since: When its node was lost, in seconds since the start; None where it was not.
    """

    there: bool = False
    node: str | None = None
    since: float | None = None
    trouble: str = ""
    explanation: Explanation | None = None
    refused: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    moved: Moved | None = None
    helped: tuple[Moved, ...] = ()
    stays: tuple[Stay, ...] = ()
    silent_since: float | None = None


@dataclass(slots=True)
class _Judged:
    """The last decision about a pod.

    Attributes:
        refused_since: When it was first found that no node takes it, seconds since the epoch; None if it never was.
        explanation: Of a decision for a node.
        refused: The nodes that a reserve refused before, likewise.
    """

    time: float
    decision: Decision
    refused_since: float | None
    explanation: Explanation | None = None
    refused: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()


@dataclass(slots=True)
class _Watch:
    """Sees every decision, and takes those for a node apart while all is as it was (an `Observer`)."""

    placements: Placements
    besides: frozenset[str]
    judged: dict[PodKey, _Judged] = field(default_factory=dict)

    def decided(self, pod: PlacedPod, decision: Decision, now: float) -> None:
        """Note a decision."""
        self.placements.decided(pod, decision, now)
        before = self.judged.get(pod.key)
        since = before.refused_since if before is not None else None
        if decision.node is None:
            self.judged[pod.key] = _Judged(now, decision, now if since is None else since)
            return
        placer = self.placements.placer
        assert placer is not None
        waited = 0.0 if since is None else (now - since) * 1000
        explanation = explanation_of(placer, pod, now, waited, all_reasons=True)
        refused: list[str] = []
        while explanation.decision.node not in (None, decision.node):
            refused.append(explanation.decision.node or "")
            explanation = explanation_of(placer, pod, now, waited, all_reasons=True, avoid=refused)
        had = parts(placer, pod, decision, now, waited, self.besides)
        self.judged[pod.key] = _Judged(now, decision, since, explanation, tuple(refused), had)


class Scene:
    """The cluster of a test, with a scheduler on it.

    Args:
        test: Whose.
        plan: Of the policies.
        settings: Of the scheduler.
        progress: Is told of each decision.

    Attributes:
        nodes: The names of the test's nodes.
        notes: What was odd, for people.
    """

    def __init__(self, test: Test, plan: Plan, settings: Settings, progress: Progress) -> None:
        self._test = test
        self._scheduler = settings.schedulers[0]
        self.cluster = SimulatedCluster(Options(schedulers=settings.schedulers))
        self._start = self.cluster.clock.now()
        made = [step for step in test.steps if isinstance(step, SceneNode)]
        self.nodes = tuple(node.name for node in made)
        delays = [(origin, node.name, ms) for node in made for origin, ms in node.delays]
        beside = dict.fromkeys(origin for origin, _, _ in delays if origin not in self.nodes)
        for name in beside:
            self.cluster.add_node(_endpoint(name))
        placements = Placements(self._start, settings.schedulers, progress)
        self._watch = _Watch(placements, frozenset(beside))
        self._simulation = Simulation(self.cluster, plan, DelayMap.from_pairs(delays), settings, self._watch)
        placements.placer = self._simulation.placer
        self._chronicle = Chronicle(self._simulation, placements, self._start)
        self._silent: dict[str, float] = {}
        self._warned: list[str] = []
        self._faults: list[BaseException] = []

    @property
    def seconds(self) -> float:
        """Virtual time since the start."""
        return self.cluster.clock.now() - self._start

    @property
    def notes(self) -> tuple[str, ...]:
        """What the simulated cluster and the engine have to say beside what happened."""
        return (*(str(note) for note in self.cluster.notes), *self._warned)

    def run(self, look: Callable[[Expect], None]) -> None:
        """Take the test's steps.

        Args:
            look: Is asked at each ``expect``, when nothing moves any more without time passing.

        Raises:
            Exception: The engine failed, also where it survived that.
        """
        cluster = self.cluster
        with as_notes(self._warned, self._faults):
            for step in self._test.steps:
                match step:
                    case SceneNode():
                        cluster.add_node(_node(step))
                    case ScenePod():
                        cluster.apply(_deployment(step, self._scheduler))
                    case After():
                        self._settle()
                        self._run_until(cluster.clock.now() + step.ms / 1000)
                    case LoseNode():
                        self._settle()
                        cluster.fail_node(step.node)
                        self._silent.setdefault(step.node, self.seconds)
                    case Expect():
                        self._settle()
                        look(step)

    def standing(self, name: str) -> Standing:
        """Where a pod of the test is now."""
        pod = self._find(name)
        if pod is None:
            return Standing()
        judged = self._watch.judged.get(pod.key)
        standing = self._placed(pod, judged) if pod.spec.node_name else self._pending(pod, judged)
        upkeep = self._simulation.scheduler.upkeep
        stays = () if upkeep is None else upkeep.healing.plan.stays
        return replace(
            standing,
            stays=tuple(one for one in stays if one.pod == pod.key),
            silent_since=self._silent.get(pod.spec.node_name),
        )

    # Inside

    def _settle(self) -> None:
        self._run_until(self.cluster.clock.now())

    def _run_until(self, until: float) -> None:
        simulation = self._simulation
        simulation.settle()
        self._look()
        while simulation.step(until):
            self._look()
        simulation.run_until(until)
        self._look()

    def _look(self) -> None:
        self._chronicle.look(self.cluster.clock.now())
        if self._faults:
            raise self._faults[0]

    def _find(self, name: str) -> Pod | None:
        """The pod of that name in the test: what its workload has made last and does not let go of."""
        namespaces = [s.namespace for s in self._test.steps if isinstance(s, ScenePod) and s.name == name]
        made_by = Workload("Deployment", name)
        found = [
            pod
            for pod in self.cluster.pods()
            if pod.metadata.namespace in namespaces and workload(pod) == made_by and active(pod)
        ]
        return found[-1] if found else None

    def _placed(self, pod: Pod, judged: _Judged | None) -> Standing:
        node, moved, helped = pod.spec.node_name, None, []
        for one in self._chronicle.aftermath(self.cluster.pods(), self.cluster.clock.now()).moves:
            if one.successor is not None and one.successor.key == pod.key and one.move.target == node:
                moved = one
            if one.move.helps == pod.key and one.move.source == node:
                helped.append(one)
        if judged is None:
            return Standing(True, node, moved=moved, helped=tuple(helped))
        return Standing(
            True,
            node,
            judged.time - self._start,
            explanation=judged.explanation,
            refused=judged.refused,
            parts=judged.parts,
            moved=moved,
            helped=tuple(helped),
        )

    def _pending(self, pod: Pod, judged: _Judged | None) -> Standing:
        cache, placer, now = self._simulation.cache, self._simulation.placer, self.cluster.clock.now()
        since = None if judged is None else judged.refused_since
        waited = 0.0 if since is None else (now - since) * 1000
        if judged is None or cache.pod(pod.key) is None:
            return Standing(True)
        with set_apart(cache, pod.key) as placed:
            return Standing(
                True,
                None,
                judged.time - self._start,
                judged.decision.trouble or "",
                explanation_of(placer, placed, now, waited, all_reasons=True),
                (),
                parts(placer, placed, judged.decision, now, waited, self._watch.besides),
            )


def _endpoint(name: str) -> Node:
    """What stands for a name that delays are measured from and that is no node of the test: it takes nothing."""
    return Node(ObjectMeta(name=name), NodeSpec(unschedulable=True), NodeStatus(allocatable=dict(_NONE)))


def _node(step: SceneNode) -> Node:
    return Node(
        ObjectMeta(name=step.name, labels=dict(step.labels) or None),
        NodeSpec(),
        NodeStatus(allocatable={**ROOM, **dict(step.amounts)}),
    )


def _deployment(step: ScenePod, scheduler: str) -> Deployment:
    """A Deployment of one, so that a pod that is lost is made anew."""
    requests: dict[str, str | int | float] = dict(step.requests)
    container = Container("main", ResourceRequirements(requests=requests) if requests else None)
    labels = dict(step.labels) or None
    return Deployment(
        ObjectMeta(name=step.name, namespace=step.namespace, labels=labels),
        DeploymentSpec(
            template=PodTemplate(
                ObjectMeta(labels=labels), FullPodSpec(containers=(container,), scheduler_name=scheduler)
            )
        ),
    )
