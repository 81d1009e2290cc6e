"""Scenarios: a cluster, what is placed on it, and what happens when, in one file or in parts.

The form is described in ``docs/scenario.md`` and, for machines, in ``scenario.schema.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from engine.cluster.errors import ApiError
from engine.cluster.simulated.admission import FAILS_AFTER, RUNS_FOR, SYSTEM_CLASSES
from engine.cluster.simulated.clock import DEFAULT_START, VirtualClock
from engine.cluster.simulated.cluster import SimulatedCluster
from engine.cluster.simulated.happenings import Happening, SwapDelays
from engine.cluster.simulated.options import Options
from engine.delay import DelayMap, load
from engine.durations import DurationError, seconds
from engine.manifests import Item, ManifestError, Problem, read
from engine.manifests.objects import (
    DaemonSet,
    Deployment,
    FullPodSpec,
    Job,
    Namespace,
    PriorityClass,
    ReplicaSet,
    StatefulSet,
)
from engine.model.objects import Node, ObjectMeta, Pod
from engine.model.storage import StorageClass


class ScenarioError(Exception):
    """A scenario that cannot be used. Its text has one line a problem.

    Attributes:
        problems: All of the scenario and of the files that it names.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Delays:
    """Where delays come from: files as `engine.delay.load` takes them, or pairs.

    Attributes:
        files: A table, or a matrix with its metadata.
        pairs: From, to, milliseconds.
    """

    files: tuple[Path, ...] = ()
    pairs: tuple[tuple[str, str, float], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.files or self.pairs)

    def load(self) -> DelayMap:
        """The map.

        Raises:
            DelayFileError: A file is bad.
        """
        return load(self.files) if self.files else DelayMap.from_pairs(self.pairs)

    def __str__(self) -> str:
        return ", ".join(file.name for file in self.files) or f"{len(self.pairs)} pairs"


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a simulation starts from, and what happens in it.

    Attributes:
        items: Nodes, and what is applied at the start, with their places.
        delays: At the start.
        policies: Files and folders.
        happenings: By time; of one time, in the file's order.
        until: Seconds that it lasts; None: until nothing more happens.
        options: How the cluster is set.
        start: Seconds since the epoch.
        notes: What was left out while reading, one sentence each.
    """

    items: tuple[Item, ...] = ()
    delays: Delays = Delays()
    policies: tuple[Path, ...] = ()
    happenings: tuple[Happening, ...] = ()
    until: float | None = None
    options: Options = field(default_factory=Options)
    start: float = DEFAULT_START
    notes: tuple[str, ...] = ()

    @classmethod
    def from_parts(
        cls,
        nodes: Iterable[Path] = (),
        manifests: Iterable[Path] = (),
        delays: Iterable[Path] = (),
        policies: Iterable[Path] = (),
        *,
        until: float | None = None,
        options: Options | None = None,
    ) -> Scenario:
        """A scenario in which nothing happens but what is applied at the start.

        Args:
            nodes: Files and folders of Node manifests.
            manifests: Files and folders of other manifests, which may hold nodes too.
            delays: As `engine.delay.load` takes them.
            policies: Files and folders.
            until: Seconds that it lasts.
            options: How the cluster is set.

        Raises:
            ScenarioError: Anything is wrong with the manifests, or there is no node.
        """
        nodes, manifests = tuple(nodes), tuple(manifests)
        try:
            found = read((*nodes, *manifests))
        except ManifestError as error:
            raise ScenarioError(error.problems) from None
        problems = check_items(found.items)
        if not any(isinstance(item.object, Node) for item in found.items):
            where = str((*nodes, *manifests)[0]) if nodes or manifests else "scenario"
            problems.append(
                Problem(
                    where, 0, "", "no node in it; give a file of Node manifests (kubectl get nodes -o yaml)"
                )
            )
        if problems:
            raise ScenarioError(problems)
        return cls(
            found.items,
            Delays(tuple(delays)),
            tuple(policies),
            until=until,
            options=options or Options(),
            notes=tuple(str(skipped) for skipped in found.skipped),
        )

    def build(
        self,
        *,
        schedulers: Sequence[str] = (),
        on_delays: Callable[[Delays], None] | None = None,
        on_happening: Callable[[Happening], None] | None = None,
    ) -> SimulatedCluster:
        """A cluster at the start of the scenario, with all that will happen on its agenda.

        Args:
            schedulers: The scheduler names that will be served, so that notes tell of pods that wait for others.
            on_delays: Called when the delays are swapped.
            on_happening: Called with everything that happens, after it has.

        Raises:
            ScenarioError: The cluster refuses something of the start.
        """
        options = replace(self.options, schedulers=tuple(schedulers) or self.options.schedulers)
        cluster = SimulatedCluster(options, VirtualClock(self.start))
        problems = []
        for item in sorted(self.items, key=_order):
            try:
                cluster.apply(item.object)
            except ApiError as refusal:
                problems.append(Problem(item.file, item.line, "", refusal.message))
        if problems:
            raise ScenarioError(problems)

        def happen(happening: Happening) -> None:
            happening.run(cluster)
            if on_delays is not None and isinstance(happening.action, SwapDelays):
                on_delays(happening.action.delays)
            if on_happening is not None:
                on_happening(happening)

        for happening in self.happenings:
            cluster.at(self.start + happening.at, lambda happening=happening: happen(happening))  # type: ignore[misc]
        return cluster


def _order(item: Item) -> int:
    """What others refer to comes first."""
    if isinstance(item.object, Namespace | PriorityClass | StorageClass):
        return 0
    return 1 if isinstance(item.object, Node) else 2


def check_items(items: Sequence[Item], others: Sequence[Item] = ()) -> list[Problem]:
    """What is wrong with objects that only a simulation reads so: annotations, and classes that are not there.

    Args:
        items: What is checked.
        others: What is there besides.
    """
    classes = {i.object.metadata.name for i in (*items, *others) if isinstance(i.object, PriorityClass)}
    problems = []
    for item in items:
        for prefix, metadata, spec in _pod_parts(item):
            for key in (RUNS_FOR, FAILS_AFTER):
                try:
                    seconds((metadata.annotations or {}).get(key, "0s"))
                except DurationError as error:
                    path = f'{prefix}metadata.annotations["{key}"]'
                    problems.append(Problem(item.file, item.line, path, str(error)))
            name = spec.priority_class_name
            if name and name not in classes and name not in SYSTEM_CLASSES and spec.priority is None:
                message = f'there is no PriorityClass "{name}"; add its manifest'
                problems.append(Problem(item.file, item.line, f"{prefix}spec.priorityClassName", message))
    return problems


def _pod_parts(item: Item) -> list[tuple[str, ObjectMeta, FullPodSpec]]:
    made = item.object
    if isinstance(made, Pod):
        return [("", made.metadata, made.spec)] if isinstance(made.spec, FullPodSpec) else []
    if not isinstance(made, Deployment | ReplicaSet | StatefulSet | DaemonSet | Job):
        return []
    template = made.spec.template
    return [("spec.template.", template.metadata, template.spec)]
