"""What `berth explain` is asked about: the cluster in its state, and the pod in it or beside it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from msgspec import structs

from engine.cli.delay_sources import known_delays
from engine.cli.inputs import fail, plan_of, read_delays
from engine.cli.known_cluster import ClusterFileError, Objects, read_cluster, read_files
from engine.cli.live import connected, live_progress, reached
from engine.cli.logs import as_notes
from engine.cluster.errors import ApiError
from engine.cluster.simulated import Delays, ScenarioError, load_scenario
from engine.cluster.simulated.admission import PodAdmission
from engine.compile import Plan, compile_policy
from engine.compile.origins import AgesOf
from engine.delay import DelayFileError, DelayMap
from engine.manifests import Item, ManifestError, read
from engine.manifests.objects import DaemonSet, Deployment, Job, PriorityClass, ReplicaSet, StatefulSet
from engine.model.objects import ObjectMeta, OwnerReference, Pod, PodKey
from engine.model.pod_terms import with_label_keys
from engine.model.requests import RequestError
from engine.placement import Placer
from engine.placement.explanation_pods import set_apart, visiting
from engine.scheduler.simulation import Simulation
from engine.settings import Settings
from engine.state.cache import Cache
from engine.state.pods import PlacedPod
from engine.suggest import suggestion
from grammar import check_paths
from grammar.policy import CheckedPolicy

_LONGEST: Final = 3600.0
_NAMED: Final = 5
_TOLERATED_SECONDS: Final = 300
"""For how long the API server lets pods tolerate nodes that are not ready, where they don't say."""

_Templated = Deployment | ReplicaSet | StatefulSet | DaemonSet | Job


@dataclass(frozen=True, slots=True)
class World:
    """A cluster at a moment, with whoever places pods in it.

    Attributes:
        now: Seconds since the epoch.
        classes: Of priorities, by name.
        notes: What was left out, and why.
        contacts: Seconds since each node answered another one, by the source of delays; None where nobody was asked,
            or nobody can know.
    """

    cache: Cache
    placer: Placer
    now: float
    schedulers: tuple[str, ...]
    classes: dict[str, PriorityClass] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    contacts: Mapping[str, float] | None = None


def plan_from(policies: Sequence[Path]) -> Plan:
    """The policies of files and folders, or an exit with all that is wrong with them."""
    return plan_of(check_paths(policies)) if policies else compile_policy(CheckedPolicy())


def from_cluster(
    kubeconfig: Path | None,
    context: str | None,
    policies: Sequence[Path],
    delays: Sequence[Path],
    settings: Settings,
) -> World:
    """A live cluster, which is only read."""
    plan, delay_map = plan_from(policies), read_delays(delays)
    cluster, _ = connected(kubeconfig, context)
    try:
        with live_progress() as listens, reached():
            objects = read_cluster(cluster, listens)
    finally:
        cluster.close()
    measured = known_delays(settings, objects.of("Node")) if delay_map is None else None
    if measured is None:
        return _world(objects, plan, delay_map, settings, time.time())
    world = _world(objects, plan, measured.delays, settings, time.time(), measured.ages)
    return replace(world, contacts=measured.contacts)


def from_files(
    paths: Sequence[Path],
    policies: Sequence[Path],
    delays: Sequence[Path],
    settings: Settings,
    at: datetime | None,
) -> World:
    """A dump, at the moment when it was taken unless told otherwise."""
    plan, delay_map = plan_from(policies), read_delays(delays)
    try:
        objects = read_files(paths)
    except ClusterFileError as error:
        fail(str(error))
    if not any(objects.of("Node")):
        names = ", ".join(str(path) for path in paths)
        fail(
            f"{names}: no node in it; dump the nodes, too (`berth dump`, or kubectl get nodes,pods -A -o json)"
        )
    when = at or objects.taken
    return _world(objects, plan, delay_map, settings, when.timestamp() if when else time.time())


def _world(
    objects: Objects,
    plan: Plan,
    delays: DelayMap | None,
    settings: Settings,
    now: float,
    ages: AgesOf | None = None,
) -> World:
    cache = objects.cache(plan.annotations)
    classes = {one.metadata.name: one for one in objects.of("PriorityClass")}
    placer = Placer(cache, plan, delays, settings.seed, ages)
    return World(cache, placer, now, settings.schedulers, classes, objects.notes)


def from_scenario(
    path: Path,
    policies: tuple[Path, ...],
    delays: tuple[Path, ...],
    settings: Settings,
    at: float | None,
) -> World:
    """A simulated cluster, some time after its start; else when all is quiet."""
    warned: list[str] = []
    try:
        scenario = load_scenario(path)
        scenario = replace(
            scenario,
            policies=policies or scenario.policies,
            delays=Delays(delays) if delays else scenario.delays,
        )
        plan = plan_from(scenario.policies)
        swaps: list[DelayMap] = []
        cluster = scenario.build(
            schedulers=settings.schedulers, on_delays=lambda changed: swaps.append(changed.load())
        )
        delay_map = scenario.delays.load() if scenario.delays else None
        simulation = Simulation(cluster, plan, delay_map, settings)
        until = at if at is not None else scenario.until
        end = scenario.start + (_LONGEST if until is None else until)
        with as_notes(warned):
            simulation.settle()
            while until is not None or not simulation.quiet():
                due = simulation.next_time()
                if due is None or due > end:
                    break
                cluster.run_until(max(due, cluster.clock.now()))
                while swaps:
                    simulation.swap_delays(swaps.pop(0))
                simulation.settle()
            if until is not None:
                simulation.run_until(end)
    except (ScenarioError, DelayFileError) as error:
        fail(str(error))
    notes = [*scenario.notes, *(str(note) for note in cluster.notes), *warned]
    classes = {
        item.object.metadata.name: item.object
        for item in scenario.items
        if isinstance(item.object, PriorityClass)
    }
    now = cluster.clock.now()
    return World(simulation.cache, simulation.placer, now, settings.schedulers, classes, notes)


# The pod


@contextmanager
def the_pod(world: World, name: str | None, manifest: Path | None) -> Iterator[tuple[PlacedPod, Pod]]:
    """The pod as if it were to be placed now, and as it is; or an exit that says which pods there are."""
    if manifest is None:
        key = _find(world, name)
        known = world.cache.pod(key)
        assert known is not None
        pod = known.pod if known.pod.spec.node_name or not known.node else _on(known.pod, known.node)
        with set_apart(world.cache, key) as placed:
            yield placed, pod
        return
    pod = _from_manifest(world, name, manifest)
    try:
        with visiting(world.cache, pod) as placed:
            yield placed, pod
    except RequestError as error:
        fail(f"{manifest}: {error}")


def _on(pod: Pod, node: str) -> Pod:
    return structs.replace(pod, spec=structs.replace(pod.spec, node_name=node))


def _find(world: World, name: str | None) -> PodKey:
    keys = sorted(placed.key for placed in world.cache.pods())
    if name is None:
        waiting = [str(placed.key) for placed in world.cache.pods() if not placed.node]
        examples = ", ".join(sorted(waiting)[:_NAMED])
        fail(
            f"no pod is named; give [NAMESPACE/]POD or --pod FILE{f'; pending are {examples}' if waiting else ''}"
        )
    namespace, _, pod = name.rpartition("/")
    found = [key for key in keys if key.name == pod and key.namespace == (namespace or "default")]
    if not found and not namespace:
        found = [key for key in keys if key.name == pod]
    if not found:
        names = [str(key) if "/" in name or key.namespace != "default" else key.name for key in keys]
        made = sorted(
            str(placed.key) for placed in world.cache.pods() if placed.workload.name == pod
        )  # people know the names of workloads
        remedy = suggestion(name, names) or "; --pod FILE takes a manifest of one"
        if made:
            remedy = f"; those of the workload {pod} are {', '.join(made[:_NAMED])}"
        fail(f"no pod {namespace or 'default'}/{pod} in the cluster{remedy}")
    if len(found) > 1:
        fail(f"pods named {pod} are in {', '.join(key.namespace for key in found)}; write NAMESPACE/{pod}")
    return found[0]


def _from_manifest(world: World, name: str | None, manifest: Path) -> Pod:
    """The pod of a file as the API server would store it."""
    try:
        items = read((manifest,)).items
    except ManifestError as error:
        fail(str(error))
    made = [item for item in items if isinstance(item.object, Pod | _Templated)]
    wanted = None if name is None else name.rpartition("/")[2]
    chosen = made if wanted is None else [item for item in made if item.object.metadata.name == wanted]
    if len(chosen) != 1:
        names = ", ".join(item.object.metadata.name for item in made)
        if not made:
            fail(f"{manifest}: no pod in it, and nothing that makes pods")
        fail(f"{manifest}: {'which of them' if chosen else f'no {wanted} in it'}? name one of {names}")
    classes = {
        item.object.metadata.name: item.object for item in items if isinstance(item.object, PriorityClass)
    }
    return _admitted(_template(chosen[0]), {**world.classes, **classes}, chosen[0])


def _template(item: Item) -> Pod:
    """The pod that a workload would make; it owns it as it owns its others."""
    made = item.object
    if isinstance(made, Pod):
        return made
    assert isinstance(made, _Templated)
    metadata, template = made.metadata, made.spec.template
    version = "batch/v1" if isinstance(made, Job) else "apps/v1"
    owner = OwnerReference(made.kind, metadata.name, metadata.uid, True, version)
    return Pod(
        ObjectMeta(
            name=f"{metadata.name}-0" if isinstance(made, StatefulSet) else f"{metadata.name}-new",
            namespace=metadata.namespace,
            labels=template.metadata.labels,
            annotations=template.metadata.annotations,
            owner_references=(owner,),
        ),
        template.spec,
    )


def _admitted(pod: Pod, classes: dict[str, PriorityClass], item: Item) -> Pod:
    try:
        pod = PodAdmission(classes, _TOLERATED_SECONDS).admit(pod)
    except ApiError as refusal:
        fail(f"{item.place}: {refusal.message}")
    spec = with_label_keys(pod.spec, pod.metadata.labels or {})
    metadata = structs.replace(pod.metadata, uid="not-in-the-cluster")
    return Pod(metadata, spec, pod.status)
