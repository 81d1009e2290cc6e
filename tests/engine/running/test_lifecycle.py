"""A scheduler that is started, ended and killed, in a burst of pods too: nothing bound twice, nothing forgotten."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.benchmarks.workloads import over_capacity
from tests.controlplane import ControlPlane, make_pod, make_pods, zone_nodes
from tests.engine.running.berth import MACHINE_SECONDS, Start
from tests.engine.running.site import Diary

pytestmark = pytest.mark.integration

SCHEDULER = "custom-scheduler"
PODS = "/api/v1/namespaces/default/pods"
GRACE_SECONDS = 2.0
"""What is under way has so long to be answered."""


def pods_of(plane: ControlPlane) -> list[Any]:
    return plane.pods("default")


def bound(plane: ControlPlane) -> int:
    return sum(bool(pod["spec"].get("nodeName")) for pod in pods_of(plane))


def check_all_bound_once(plane: ControlPlane, diary: Diary, count: int) -> None:
    pods = pods_of(plane)
    assert len(pods) == count
    assert [pod["metadata"]["name"] for pod in pods if not pod["spec"].get("nodeName")] == []
    plane.eventually(lambda: diary.bound() == count, "the watch has seen all bindings")
    assert len(diary.lives) == count
    assert diary.bound_twice() == []
    nodes = {node["metadata"]["name"]: node for node in plane.api.items("/api/v1/nodes")}
    assert over_capacity(pods, nodes) == []


def test_it_places_pods_and_tells_so(empty_control_plane: ControlPlane, start: Start) -> None:
    plane = empty_control_plane
    plane.create_nodes(zone_nodes(3))
    berth = start(plane)
    berth.wait_ready()
    plane.create_pods(make_pods(20, scheduler=SCHEDULER))
    plane.create_pods(make_pods(1, prefix="big-", scheduler=SCHEDULER, cpu="1000"))
    plane.eventually(lambda: bound(plane) == 20, "20 pods are bound")
    berth.wait_until(
        lambda: berth.metric("berth_schedule_attempts_total", result="scheduled") == 20, "counting"
    )
    assert berth.metric("berth_schedule_attempts_total", result="unschedulable") == 1
    berth.wait_until(
        lambda: berth.metric("berth_bind_results_total", outcome="bound") == 20, "counting bindings"
    )
    assert berth.metric("berth_pod_scheduling_sli_duration_seconds_count", attempts="1") == 20
    assert berth.metric("berth_refusals_total", rule="NodeResourcesFit", file="", line="") == 1
    assert berth.metric("berth_leader") == 1
    assert berth.metric("berth_watch_up", kind="pods") == 1
    berth.wait_until(lambda: berth.metric("berth_pending_pods", queue="unschedulable") == 1, "counting")
    assert berth.metric("process_resident_memory_bytes") > 1e6
    status, text = berth.get("/readyz")
    assert (status, text.splitlines()[-1]) == (200, "readyz check passed")
    assert berth.get("/livez") == berth.get("/healthz")
    assert berth.get("/livez")[0] == 200
    assert berth.get("/elsewhere")[0] == 404
    assert berth.terminate() < MACHINE_SECONDS, "nothing was under way"
    assert berth.process.returncode == 0
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in berth.lines())


@pytest.fixture
def diary(empty_control_plane: ControlPlane) -> Iterator[Diary]:
    diary = Diary(empty_control_plane)
    yield diary
    diary.end()


@pytest.mark.parametrize("moment", [0.05, 0.3, 0.6])
def test_ended_in_a_burst(
    empty_control_plane: ControlPlane, start: Start, diary: Diary, moment: float
) -> None:
    plane = empty_control_plane
    plane.create_nodes(zone_nodes(20))
    plane.create_pods(make_pods(500, scheduler=SCHEDULER))
    berth = start(plane)
    berth.wait_ready()
    time.sleep(moment)
    took = berth.terminate()
    assert took < GRACE_SECONDS + MACHINE_SECONDS
    assert berth.process.returncode == 0
    assert berth.says("stopped; ")
    assert not berth.says("Traceback")
    start(plane, name="second")
    plane.eventually(lambda: bound(plane) == 500, "all are bound")
    check_all_bound_once(plane, diary, 500)


def test_killed_in_a_burst_again_and_again(
    empty_control_plane: ControlPlane, start: Start, diary: Diary
) -> None:
    """Kill -9 at any moment, twenty times at least; room is scarce: whoever forgot a pod would overfill a node.

    Every other time it dies while it starts, else soon after it has bound a few of the pods that wait. How many it
    binds until the signal arrives is the machine's to say: kills that came too late do not count.
    """
    plane = empty_control_plane
    kills, burst = 20, 60
    instants = random.Random(4)
    made = killed = amid = 0
    while killed < kills or amid < kills // 4:
        assert killed < 3 * kills, f"of {killed} only {amid} were killed while they worked"
        nodes = zone_nodes(2, prefix=f"node-{killed:02}-", cpu="3")  # exactly as much as the burst asks for
        plane.create_nodes(nodes)
        plane.create_pods(make_pods(burst, prefix=f"burst-{killed:02}-", scheduler=SCHEDULER))
        made += burst
        before = bound(plane)
        berth = start(plane, name="mortal")
        if killed % 2:
            diary.await_bound(before + 1 + instants.randrange(burst // 2))
        else:
            berth.wait_for("API server")
            time.sleep(instants.uniform(0.0, 0.2))
        berth.process.kill()
        killed += 1
        amid += before < bound(plane) < made
    start(plane, name="last")
    plane.eventually(lambda: bound(plane) == made, "all are bound")
    check_all_bound_once(plane, diary, made)


def test_pods_that_are_deleted_while_they_are_bound(empty_control_plane: ControlPlane, start: Start) -> None:
    plane = empty_control_plane
    plane.create_nodes(zone_nodes(5))
    berth = start(plane)
    berth.wait_ready()
    instants = random.Random(4)

    def come_and_go(number: int) -> None:
        """A pod is made, and deleted about when the scheduler binds it."""
        pod = make_pod(f"brief-{number:05}", scheduler=SCHEDULER)
        plane.api.post(PODS, pod)
        time.sleep(instants.uniform(0.0, 0.01))
        plane.api.delete(f"{PODS}/{pod['metadata']['name']}?gracePeriodSeconds=0")

    made = 0
    while made < 200 or (made < 3000 and not berth.metric("berth_bind_results_total", outcome="dropped")):
        for _ in range(100):
            come_and_go(made)
            made += 1
    plane.create_pods(make_pods(10, prefix="after-", scheduler=SCHEDULER))
    plane.eventually(lambda: bound(plane) == 10, "those that stay are bound")
    berth.wait_until(
        lambda: sum(berth.metric("berth_pending_pods", queue=q) for q in ("active", "backoff")) == 0, "idle"
    )
    assert berth.metric("berth_pending_pods") == 0
    assert berth.metric("berth_bindings_pending") == 0
    assert berth.metric("berth_internal_errors_total") == 0
    assert berth.metric("berth_bind_results_total", outcome="dropped") > 0
    assert [line for line in berth.lines() if line["level"] in ("error", "critical")] == []
