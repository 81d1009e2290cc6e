"""Watches of the simulated cluster: whoever replays the events has what a list would give, whenever they began."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cluster.errors import ApiError, Expired
from engine.cluster.protocol import Change, Object, ResourceKind
from engine.cluster.simulated import SimulatedCluster
from engine.cluster.simulated.admission import RUNS_FOR
from engine.manifests.objects import Deployment, DeploymentSpec, Job, JobSpec, StatefulSet, StatefulSetSpec
from engine.model.objects import ObjectMeta, Taint
from tests.engine.cluster.simulated_world import SELECTOR, World, node, pod, template

State = dict[tuple[str, str], Object]


def state(cluster: SimulatedCluster, kind: ResourceKind) -> State:
    return {(o.metadata.namespace, o.metadata.name): o for o in cluster.list(kind).items}


def replay(cluster: SimulatedCluster, kind: ResourceKind, begin: State, version: str) -> State:
    known = dict(begin)
    latest = int(version)
    for event in cluster.watch(kind, version, 0):
        assert event.object is not None
        assert int(event.resource_version) > latest
        assert event.resource_version == event.object.metadata.resource_version
        latest = int(event.resource_version)
        name = (event.object.metadata.namespace, event.object.metadata.name)
        match event.change:
            case Change.ADDED:
                assert name not in known
                known[name] = event.object
            case Change.MODIFIED:
                assert name in known
                known[name] = event.object
            case Change.DELETED:
                assert known.pop(name).metadata.uid == event.object.metadata.uid
    return known


ACTIONS = st.one_of(
    st.tuples(st.just("wait"), st.floats(0, 60)),
    st.tuples(
        st.sampled_from(["fail", "recover", "remove", "join", "cordon", "uncordon", "drain", "taint"]),
        st.integers(1, 4),
    ),
    st.tuples(st.sampled_from(["pod", "delete", "finish", "scale"]), st.integers(0, 4)),
)


def act(world: World, action: str, value: float) -> None:
    cluster, name = world.cluster, f"n{int(value)}"
    pods = world.names()
    chosen = pods[int(value) % len(pods)] if pods else ""
    match action:
        case "wait":
            world.run(world.time + value)
        case "fail":
            cluster.fail_node(name)
        case "recover":
            cluster.recover_node(name)
        case "remove":
            cluster.remove_node(name)
        case "join":
            cluster.add_node(node(name))
        case "cordon" | "uncordon":
            cluster.cordon(name, action == "cordon")
        case "drain":
            cluster.drain(name)
        case "taint":
            cluster.taint_node(name, [Taint("own", "", "NoExecute")])
        case "pod":
            cluster.apply(pod(f"bare{int(value)}", annotations={RUNS_FOR: "20s"}, restart_policy="Never"))
        case "delete":
            cluster.delete("Pod", "default", chosen)
        case "finish":
            cluster.finish_pod("default", chosen)
        case "scale":
            cluster.scale("Deployment", "default", "web", int(value))


def populated() -> World:
    world = World(nodes=3)
    world.cluster.apply(Deployment(ObjectMeta(name="web"), DeploymentSpec(SELECTOR, template(), 2)))
    world.cluster.apply(StatefulSet(ObjectMeta(name="db"), StatefulSetSpec(SELECTOR, template(), 2)))
    work = template(annotations={RUNS_FOR: "15s"}, restart_policy="OnFailure")
    world.cluster.apply(Job(ObjectMeta(name="work"), JobSpec(work, completions=4, parallelism=2)))
    return world


@settings(max_examples=60, deadline=None)
@given(st.lists(ACTIONS, max_size=25))
def test_replaying_from_any_version_gives_what_a_list_gives(actions: list[tuple[str, float]]) -> None:
    world = populated()
    kinds = tuple(ResourceKind)
    seen = [(kind, state(world.cluster, kind), world.cluster.list(kind).resource_version) for kind in kinds]
    for action, value in actions:
        with contextlib.suppress(ApiError):  # A node that is not there, a name that is taken.
            act(world, action, value)
        seen += [
            (kind, state(world.cluster, kind), world.cluster.list(kind).resource_version) for kind in kinds
        ]
    for kind, then, version in seen:
        assert replay(world.cluster, kind, then, version) == state(world.cluster, kind)


@settings(max_examples=20, deadline=None)
@given(st.lists(ACTIONS, max_size=25))
def test_the_same_actions_give_the_same_events(actions: list[tuple[str, float]]) -> None:
    logs = []
    for _ in range(2):
        world = populated()
        for action, value in actions:
            with contextlib.suppress(ApiError):
                act(world, action, value)
        world.run(world.time + 400)
        watched = [list(world.cluster.watch(kind, "1", 0)) for kind in ResourceKind]
        logs.append((watched, world.cluster.events, world.cluster.notes))
    assert logs[0] == logs[1]


def test_the_history_goes_back_only_so_far() -> None:
    world = World(nodes=0, history=5, binding=False)
    versions = [world.cluster.list(ResourceKind.PODS).resource_version]
    for number in range(20):
        world.cluster.apply(pod(f"x{number}"))
        versions.append(world.cluster.list(ResourceKind.PODS).resource_version)
    for back, version in enumerate(reversed(versions)):
        if back <= 5:
            assert len(list(world.cluster.watch(ResourceKind.PODS, version, 0))) == back
        else:
            with pytest.raises(Expired, match="too old resource version"):
                list(world.cluster.watch(ResourceKind.PODS, version, 0))


def test_a_slow_reader_is_overtaken() -> None:
    world = World(nodes=0, history=5, binding=False)
    version = world.cluster.list(ResourceKind.PODS).resource_version
    world.cluster.apply(pod("first"))
    watch = world.cluster.watch(ResourceKind.PODS, version, 0)
    next(watch)
    for number in range(20):
        world.cluster.apply(pod(f"x{number}"))
    with pytest.raises(Expired):
        next(watch)


def test_a_watch_goes_on_while_it_is_read() -> None:
    world = World(nodes=0, binding=False)
    version = world.cluster.list(ResourceKind.PODS).resource_version
    world.cluster.apply(pod("first"))
    watch = world.cluster.watch(ResourceKind.PODS, version, 0)
    next(watch)
    world.cluster.apply(pod("second"))
    event = next(watch)
    assert event.object is not None
    assert event.object.metadata.name == "second"


@pytest.mark.parametrize("version", ["", "0"])
def test_a_watch_without_a_version_begins_with_everything(version: str) -> None:
    world = populated()
    world.run(20)
    for kind in ResourceKind:
        events = list(world.cluster.watch(kind, version, 0))
        assert [event.change for event in events] == [Change.ADDED] * len(events)
        assert [event.object for event in events] == list(world.cluster.list(kind).items)


def test_a_version_that_is_none() -> None:
    with pytest.raises(ApiError) as caught:
        World().cluster.watch(ResourceKind.PODS, "latest", 0)
    assert (caught.value.status, caught.value.reason) == (400, "BadRequest")


def test_an_ended_pod_is_told_as_it_was_and_never_again() -> None:
    world = World(nodes=1)
    world.cluster.apply(pod("x"))
    world.run(5)
    version = world.cluster.list(ResourceKind.PODS).resource_version
    world.cluster.finish_pod("default", "x")
    world.cluster.delete("Pod", "default", "x")
    (event,) = world.cluster.watch(ResourceKind.PODS, version, 0)
    assert event.change is Change.DELETED
    assert event.object is not None
    assert event.object.status.phase == "Running"  # type: ignore[union-attr]
    assert int(event.resource_version) == int(version) + 1
