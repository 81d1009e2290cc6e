"""Whatever the API server answers: nothing is bound twice, and nothing is forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.cluster.protocol import ResourceKind
from engine.compile import compile_policy
from engine.model.objects import Container, Node, NodeStatus, ObjectMeta, Pod, PodSpec, ResourceRequirements
from engine.scheduler.simulation import Simulation
from engine.settings import Settings
from grammar.policy import CheckedPolicy
from tests.engine.scheduler.hostile import Fault, HostileCluster


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """The binder's waits between tries are real time, of which a test has none to lose."""
    with (
        patch("tenacity.nap.time.sleep"),
        patch("engine.cluster.backoff.sleep_using_event", lambda _: lambda _: None),
    ):
        yield


def _cluster(faults: Sequence[Fault], pods: int) -> HostileCluster:
    cluster = HostileCluster(chain(faults, repeat(Fault.NONE)))
    for number in range(3):
        cluster.add_node(
            Node(
                ObjectMeta(name=f"node-{number}"),
                status=NodeStatus(allocatable={"cpu": "4", "memory": "8Gi", "pods": "110"}),
            )
        )
    for number in range(pods):
        requests = ResourceRequirements(requests={"cpu": "100m", "memory": "64Mi"})
        cluster.add_pod(
            Pod(
                ObjectMeta(name=f"pod-{number}", namespace="default"),
                PodSpec(scheduler_name="custom-scheduler", containers=(Container("main", requests),)),
            )
        )
    return cluster


def _run(cluster: HostileCluster, seconds: float) -> Simulation:
    simulation = Simulation(cluster, compile_policy(CheckedPolicy()), None, Settings())
    simulation.run_until(cluster.clock.now() + seconds)
    return simulation


def _assert_all_bound_once(cluster: HostileCluster, simulation: Simulation, pods: int) -> None:
    listed = [pod for pod in cluster.list(ResourceKind.PODS).items if isinstance(pod, Pod)]
    assert len(listed) == pods
    assert all(pod.spec.node_name for pod in listed), "a pod was forgotten"
    assert set(cluster.bound.values()) == {1}, "a pod was bound twice"
    assert len(simulation.scheduler.queue) == 0
    assert simulation.scheduler.binding == 0
    for pod in listed:
        placed = simulation.cache.pod(pod.key)
        assert placed is not None
        assert placed.node == pod.spec.node_name, "the cache believes something else"


@given(st.lists(st.sampled_from(Fault), max_size=60))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_pod_is_bound_exactly_once(faults: list[Fault]) -> None:
    cluster = _cluster(faults, pods=12)
    simulation = _run(cluster, 900.0)
    _assert_all_bound_once(cluster, simulation, 12)


def test_a_thousand_faults() -> None:
    kinds = [fault for fault in Fault if fault is not Fault.NONE]
    faults = [kinds[(number * 7 + number // 5) % len(kinds)] for number in range(1000)]
    cluster = _cluster(faults, pods=100)
    simulation = _run(cluster, 3600.0)
    _assert_all_bound_once(cluster, simulation, 100)


def test_a_refused_binding_is_told_and_tried_again() -> None:
    cluster = _cluster([Fault.FORBIDDEN], pods=1)
    simulation = _run(cluster, 5.0)
    _assert_all_bound_once(cluster, simulation, 1)
    told = [(event.reason, event.message) for event in cluster.events if event.reason != "Started"]
    assert told[0][0] == "FailedScheduling"
    assert "403" in told[0][1]
    assert any(reason == "Scheduled" for reason, _ in told)
