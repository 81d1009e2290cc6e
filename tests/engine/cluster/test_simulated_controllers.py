"""The simulated controllers: which pods there are, and when."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from engine.cluster.errors import ApiError
from engine.cluster.simulated.admission import FAILS_AFTER, RUNS_FOR
from engine.manifests.objects import (
    DaemonSet,
    DaemonSetSpec,
    Deployment,
    DeploymentSpec,
    Job,
    JobSpec,
    PodTemplate,
    ReplicaSet,
    ReplicaSetSpec,
    RollingUpdate,
    StatefulSet,
    StatefulSetSpec,
    UpdateStrategy,
    Workload,
)
from engine.model.objects import ObjectMeta, Pod, Taint
from engine.model.shape import workload
from tests.engine.cluster.simulated_world import SELECTOR, World, node, pod, template


def deployment(replicas: int = 3, made_of: PodTemplate | None = None, **fields: object) -> Deployment:
    made = DeploymentSpec(SELECTOR, made_of or template(), replicas)
    return Deployment(ObjectMeta(name="web"), replace(made, **fields))


def stateful(
    replicas: int = 3, made_of: PodTemplate | None = None, policy: str = "OrderedReady"
) -> StatefulSet:
    return StatefulSet(
        ObjectMeta(name="db"), StatefulSetSpec(SELECTOR, made_of or template(), replicas, policy)
    )


def daemons(made_of: PodTemplate | None = None) -> DaemonSet:
    return DaemonSet(ObjectMeta(name="agent"), DaemonSetSpec(SELECTOR, made_of or template()))


def job(annotations: dict[str, str] | None = None, **fields: object) -> Job:
    made = JobSpec(template(annotations=annotations, restart_policy="Never"))
    return Job(ObjectMeta(name="work"), replace(made, **fields))


# Deployments and ReplicaSets


def test_a_deployment_makes_pods_as_the_real_one_does() -> None:
    world = World()
    world.cluster.apply(deployment())
    world.run(0)
    made = world.pods("web")
    assert len(made) == 3
    (replica_set,) = (w for w in world.cluster.workloads() if isinstance(w, ReplicaSet))
    (owner,) = replica_set.metadata.owner_references
    assert (owner.kind, owner.name, owner.controller) == ("Deployment", "web", True)
    for one in made:
        assert re.fullmatch(r"web-[b-z2-9]{10}-[b-z2-9]{5}", one.metadata.name)
        labels = one.metadata.labels or {}
        assert labels["app"] == "a"
        assert replica_set.metadata.name == f"web-{labels['pod-template-hash']}"
        (reference,) = one.metadata.owner_references
        assert (reference.kind, reference.uid, reference.controller) == (
            "ReplicaSet",
            replica_set.metadata.uid,
            True,
        )
        assert workload(one) == ("Deployment", "web")


def test_names_do_not_depend_on_what_else_there_is() -> None:
    alone, crowded = World(), World()
    for number in range(5):
        crowded.cluster.apply(pod(f"other-{number}"))
    for world in (alone, crowded):
        world.cluster.apply(deployment())
        world.run(0)
    assert alone.names("web") == crowded.names("web")


def test_another_seed_makes_other_names() -> None:
    worlds = [World(seed=seed) for seed in (1, 2)]
    for world in worlds:
        world.cluster.apply(deployment())
        world.run(0)
    assert not set(worlds[0].names()) & set(worlds[1].names())


@pytest.mark.parametrize("kind", ["ReplicaSet", "Deployment", "StatefulSet"])
@pytest.mark.parametrize(("first", "then"), [(3, 5), (3, 1), (3, 0), (0, 2)])
def test_scaling(kind: str, first: int, then: int) -> None:
    world = World()
    bare = ReplicaSet(ObjectMeta(name="rs"), ReplicaSetSpec(SELECTOR, template(), first))
    choices: tuple[Workload, ...] = (bare, deployment(first), stateful(first))
    (made,) = (choice for choice in choices if choice.kind == kind)
    world.cluster.apply(made)
    world.run(20)
    assert len(world.pods()) == first
    world.cluster.scale(kind, "default", made.metadata.name, then)
    world.run(60)
    assert len(world.pods()) == then


def test_scaling_down_takes_what_serves_least() -> None:
    world = World(nodes=1)
    world.cluster.apply(deployment(2))
    world.run(5)
    serving = world.names()
    world.cluster.cordon("n1")
    world.cluster.scale("Deployment", "default", "web", 4)
    world.run(6)
    world.cluster.scale("Deployment", "default", "web", 2)
    world.run(7)
    assert world.names() == serving


@pytest.mark.parametrize("how", ["delete", "evict", "ended"])
def test_a_lost_pod_is_made_anew(how: str) -> None:
    world = World()
    world.cluster.apply(deployment())
    world.run(5)
    before = world.names()
    lost = world.get(before[0])
    match how:
        case "delete":
            world.cluster.delete("Pod", "default", before[0])
        case "evict":
            world.cluster.evict(lost.key)
        case "ended":
            world.cluster.finish_pod("default", before[0], "Failed")
    world.run(6.5)
    after = world.names()
    assert len(after) == 3
    assert set(before) - set(after) == {before[0]}


def test_deleting_a_deployment_deletes_all_below() -> None:
    world = World()
    world.cluster.apply(deployment())
    world.run(5)
    world.cluster.delete("Deployment", "default", "web")
    world.run(7)
    assert (world.names(), world.cluster.workloads()) == ([], ())
    with pytest.raises(ApiError) as caught:
        world.cluster.delete("Deployment", "default", "web")
    assert (caught.value.status, caught.value.message) == (404, 'deployments "web" not found')


@pytest.mark.parametrize(
    ("strategy", "least", "most"),
    [
        (UpdateStrategy(), 3, 5),
        (UpdateStrategy(rolling_update=RollingUpdate(max_surge=0, max_unavailable=2)), 2, 4),
        (UpdateStrategy(rolling_update=RollingUpdate(max_surge="100%", max_unavailable=0)), 4, 8),
        (UpdateStrategy("Recreate"), 0, 4),
    ],
    ids=["defaults", "no surge", "all at once", "recreate"],
)
def test_a_rollout_keeps_its_bounds(strategy: UpdateStrategy, least: int, most: int) -> None:
    world = World()
    world.cluster.apply(deployment(4, strategy=strategy))
    world.run(5)
    old = set(world.names())
    changed = template(annotations={"version": "2"})
    world.cluster.apply(deployment(4, changed, strategy=strategy))
    serving, active = [], []
    end = world.cluster.clock.now() + 60
    while (due := world.cluster.next_time()) is not None and due <= end:
        world.run(due - world.cluster.clock.start)
        alive = [p for p in world.pods() if p.metadata.deletion_timestamp is None]
        active.append(len(alive))
        serving.append(
            sum(1 for p in alive if (c := p.condition("Ready")) is not None and c.status == "True")
        )
    assert (min(serving), max(active)) == (least, most)
    assert len(world.names()) == 4
    assert not set(world.names()) & old


def test_going_back_reuses_the_old_replica_set() -> None:
    world = World()
    for made_of in (template(), template(annotations={"version": "2"}), template()):
        world.cluster.apply(deployment(2, made_of))
        world.run(world.time + 60)
    sets = [w for w in world.cluster.workloads() if isinstance(w, ReplicaSet)]
    assert sorted(one.spec.replicas for one in sets) == [0, 2]


def test_a_paused_deployment_does_not_roll() -> None:
    world = World()
    world.cluster.apply(deployment(2))
    world.run(5)
    before = world.names()
    world.cluster.apply(deployment(2, template(annotations={"version": "2"}), paused=True))
    world.run(60)
    assert world.names() == before


# StatefulSets


def test_a_stateful_set_starts_one_after_another() -> None:
    world = World()
    world.cluster.apply(stateful())
    starts = []
    for _ in range(3):
        world.run(world.time)
        starts.append(world.names())
        world.run(world.time + 1)
    assert starts == [["db-0"], ["db-0", "db-1"], ["db-0", "db-1", "db-2"]]
    labels = world.get("db-1").metadata.labels or {}
    assert labels["apps.kubernetes.io/pod-index"] == "1"
    assert labels["statefulset.kubernetes.io/pod-name"] == "db-1"


def test_a_stateful_set_in_parallel_starts_at_once() -> None:
    world = World()
    world.cluster.apply(stateful(policy="Parallel"))
    world.run(0)
    assert world.names() == ["db-0", "db-1", "db-2"]


def test_a_stateful_pod_comes_back_under_its_name() -> None:
    world = World()
    world.cluster.apply(stateful())
    world.run(5)
    before = {p.metadata.name: p.metadata.uid for p in world.pods()}
    world.cluster.delete("Pod", "default", "db-1")
    world.run(5.5)
    assert world.get("db-1").metadata.deletion_timestamp is not None  # The name is taken until it is gone.
    world.run(10)
    after = {p.metadata.name: p.metadata.uid for p in world.pods()}
    assert after["db-0"] == before["db-0"]
    assert after["db-1"] != before["db-1"]


def test_a_stateful_set_is_updated_from_the_top() -> None:
    world = World()
    world.cluster.apply(stateful())
    world.run(5)
    old = {p.metadata.name: p.metadata.uid for p in world.pods()}
    world.cluster.apply(stateful(made_of=template(annotations={"version": "2"})))
    replaced: list[str] = []
    while len(replaced) < 3:
        world.run(world.time + 0.5)
        new = [p.metadata.name for p in world.pods() if p.metadata.uid != old[p.metadata.name]]
        replaced += [name for name in new if name not in replaced]
    assert replaced == ["db-2", "db-1", "db-0"]


# DaemonSets


def test_a_daemon_set_has_a_pod_on_each_node_pinned_there() -> None:
    world = World(binding=False)
    world.cluster.apply(daemons())
    world.run(0)
    targets: list[str] = []
    for one in world.pods():
        assert one.spec.affinity is not None
        affinity = one.spec.affinity.node_affinity
        assert affinity is not None
        required = affinity.required_during_scheduling_ignored_during_execution
        assert required is not None
        (term,) = required.node_selector_terms
        (field,) = term.match_fields or ()
        assert (field.key, field.operator) == ("metadata.name", "In")
        targets += field.values or ()
        tolerated = {(t.key, t.effect, t.operator) for t in one.spec.tolerations or ()}
        assert ("node.kubernetes.io/unschedulable", "NoSchedule", "Exists") in tolerated
        assert ("node.kubernetes.io/unreachable", "NoExecute", "Exists") in tolerated
    assert sorted(targets) == ["n1", "n2", "n3"]


def daemon_nodes(world: World) -> list[str]:
    return sorted(p.spec.node_name for p in world.pods("agent"))


def test_daemons_follow_the_nodes() -> None:
    world = World(nodes=2)
    world.cluster.apply(daemons(template(node_selector={"agent": "yes"})))
    world.run(2)
    assert daemon_nodes(world) == []
    world.cluster.label_node("n1", {"agent": "yes"})
    world.run(4)
    assert daemon_nodes(world) == ["n1"]
    world.cluster.add_node(replace(node("n3"), metadata=ObjectMeta(name="n3", labels={"agent": "yes"})))
    world.run(6)
    assert daemon_nodes(world) == ["n1", "n3"]
    world.cluster.label_node("n1", {"agent": None})
    world.cluster.remove_node("n3")
    world.run(60)
    assert daemon_nodes(world) == []


@pytest.mark.parametrize(
    ("effect", "with_pod_there", "stays"),
    [("NoSchedule", True, True), ("NoSchedule", False, False), ("NoExecute", True, False)],
)
def test_daemons_and_taints(effect: str, with_pod_there: bool, stays: bool) -> None:
    world = World(nodes=1)
    if with_pod_there:
        world.cluster.apply(daemons())
        world.run(2)
    world.cluster.taint_node("n1", [Taint("dedicated", "", effect)])
    world.cluster.apply(daemons())
    world.run(5)
    assert daemon_nodes(world) == (["n1"] if stays else [])


def test_a_failed_daemon_is_made_again() -> None:
    world = World(nodes=1)
    world.cluster.apply(daemons())
    world.run(2)
    (name,) = world.names("agent")
    world.cluster.finish_pod("default", name, "Failed")
    world.run(5)
    (again,) = world.names("agent")
    assert again != name


def test_daemons_are_updated_one_after_another() -> None:
    world = World(nodes=3)
    world.cluster.apply(daemons())
    world.run(3)
    old = set(world.names())
    world.cluster.apply(daemons(template(annotations={"version": "2"})))
    least = 3
    while set(world.names()) & old:
        world.run(world.time + 0.25)
        ready = [p for p in world.pods() if p.status.phase == "Running" and not p.metadata.deletion_timestamp]
        least = min(least, len(ready))
        assert world.time < 60
    world.run(world.time + 5)
    assert least == 2
    assert daemon_nodes(world) == ["n1", "n2", "n3"]


# Jobs


def phases(world: World) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in world.cluster.pods():
        counts[one.status.phase] = counts.get(one.status.phase, 0) + 1
    return counts


@pytest.mark.parametrize(
    ("fields", "at_once", "in_the_end"),
    [
        ({}, 1, 1),
        ({"completions": 5, "parallelism": 2}, 2, 5),
        ({"completions": 1, "parallelism": 4}, 1, 1),
        ({"parallelism": 3}, 3, 3),
        ({"suspend": True}, 0, 0),
        ({"completions": 0}, 0, 0),
    ],
    ids=["one", "five by twos", "never more than completions", "work queue", "suspended", "nothing to do"],
)
def test_a_job_runs_so_many_pods(fields: dict[str, object], at_once: int, in_the_end: int) -> None:
    world = World()
    world.cluster.apply(job({RUNS_FOR: "10s"}, **fields))
    world.run(5)
    assert len(world.pods("work")) == at_once
    world.run(120)
    assert phases(world) == ({"Succeeded": in_the_end} if in_the_end else {})


def test_a_job_without_a_duration_takes_the_clusters() -> None:
    world = World(job_duration=7)
    world.cluster.apply(job())
    world.run(7.9)
    assert phases(world) == {"Running": 1}
    world.run(8.1)
    assert phases(world) == {"Succeeded": 1}


def test_a_failing_job_backs_off_and_gives_up() -> None:
    world = World()
    world.cluster.apply(job({FAILS_AFTER: "1s"}, backoff_limit=2))
    failures: list[float] = []
    for _ in range(400):
        world.run(world.time + 0.5)
        if phases(world).get("Failed", 0) > len(failures):
            failures.append(world.time)
    # Start-up and a second of running, then 10 s and 20 s of waiting.
    assert failures == [2.0, 14.0, 36.0]
    assert phases(world) == {"Failed": 3}


def test_a_jobs_lost_pod_is_made_anew() -> None:
    world = World()
    world.cluster.apply(job({RUNS_FOR: "10s"}))
    world.run(5)
    (first,) = world.names("work")
    world.cluster.delete("Pod", "default", first)
    world.run(30)
    assert phases(world) == {"Succeeded": 1}
    (ended,) = world.cluster.pods()
    assert ended.metadata.name != first


# Bare pods, and pods nobody places


def test_a_bare_pod_is_not_made_anew() -> None:
    world = World()
    world.cluster.apply(pod("alone"))
    world.run(3)
    world.cluster.delete("Pod", "default", "alone")
    world.run(60)
    assert world.cluster.pods() == ()


def test_pods_for_another_scheduler_wait_with_a_note() -> None:
    world = World(binding=False, schedulers=("ours",))
    world.cluster.apply(deployment(2, template(scheduler_name="default-scheduler")))
    world.cluster.apply(pod("mine", scheduler_name="ours"))
    world.cluster.apply(pod("bound", node_name="n1"))
    world.run(5)
    assert [str(note) for note in world.cluster.notes] == [
        "Deployment default/web: stays pending, as no scheduler default-scheduler is part of the simulation"
    ]
    assert {p.status.phase for p in world.pods("web")} == {"Pending"}
    assert world.get("bound").status.phase == "Running"


def test_pods_of_ignored_schedulers_are_left_out_with_a_note() -> None:
    world = World(ignored_schedulers=("default-scheduler",))
    for made in (deployment(2), stateful(), daemons(), job(), pod("alone")):
        world.cluster.apply(made)
    world.run(5)
    assert world.cluster.pods() == ()
    assert len(world.cluster.notes) == 5
    assert all(
        note.text == "left out, as its pods are for the scheduler default-scheduler"
        for note in world.cluster.notes
    )


def test_pods_that_admission_refuses_become_a_note() -> None:
    world = World()
    world.cluster.apply(deployment(2, template(priority_class_name="nobody")))
    world.run(5)
    (note,) = world.cluster.notes
    assert note.regarding == "Deployment default/web"
    assert note.text.startswith("its pods are refused: ")
    assert "no PriorityClass with name nobody was found" in note.text
    assert world.cluster.pods() == ()


def test_all_pods_are_pods_of_the_model() -> None:
    world = World()
    world.cluster.apply(deployment(1))
    world.run(1)
    assert [type(one) for one in world.cluster.pods()] == [Pod]
