"""A scheduler that is started, ended and killed, in a burst of pods too: nothing bound twice, nothing forgotten."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from tests.benchmarks.workloads import over_capacity
from tests.controlplane import ControlPlane, make_pod, make_pods, zone_nodes
from tests.engine.running.berth import Start

pytestmark = pytest.mark.integration

SCHEDULER = "custom-scheduler"
PODS = "/api/v1/namespaces/default/pods"


class Placings:
    """Every node that any pod was ever bound to, seen on a watch."""

    def __init__(self, plane: ControlPlane) -> None:
        self.nodes: defaultdict[str, set[str]] = defaultdict(set)
        self._api = plane.api_as(plane.admin_token)
        version = self._api.get(f"{PODS}?limit=1")["metadata"]["resourceVersion"]

        def watch() -> None:
            for line in self._api.watch_lines(PODS, version):
                pod = msgspec.json.decode(line)["object"]
                if node := pod.get("spec", {}).get("nodeName"):
                    self.nodes[pod["metadata"]["name"]].add(node)

        self._thread = threading.Thread(target=watch, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._api.close()
        self._thread.join(10)


def pods_of(plane: ControlPlane) -> list[Any]:
    return plane.pods("default")


def bound(plane: ControlPlane) -> int:
    return sum(bool(pod["spec"].get("nodeName")) for pod in pods_of(plane))


def check_all_bound_once(plane: ControlPlane, placings: Placings, count: int) -> None:
    pods = pods_of(plane)
    assert len(pods) == count
    assert [pod["metadata"]["name"] for pod in pods if not pod["spec"].get("nodeName")] == []
    plane.eventually(lambda: len(placings.nodes) == count, "the watch has seen all bindings")
    placings.end()
    assert {name: nodes for name, nodes in placings.nodes.items() if len(nodes) != 1} == {}
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
    assert berth.terminate() < 2.0
    assert berth.process.returncode == 0
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in berth.lines())


@pytest.mark.parametrize("moment", [0.05, 0.3, 0.6])
def test_ended_in_a_burst(empty_control_plane: ControlPlane, start: Start, moment: float) -> None:
    plane = empty_control_plane
    plane.create_nodes(zone_nodes(20))
    placings = Placings(plane)
    plane.create_pods(make_pods(500, scheduler=SCHEDULER))
    berth = start(plane)
    berth.wait_ready()
    time.sleep(moment)
    took = berth.terminate()
    assert took < 2.3  # two seconds of grace, and the end of the interpreter
    assert berth.process.returncode == 0
    assert berth.says("stopped; ")
    assert not berth.says("Traceback")
    start(plane, name="second")
    plane.eventually(lambda: bound(plane) == 500, "all are bound")
    check_all_bound_once(plane, placings, 500)


def test_killed_in_a_burst_again_and_again(empty_control_plane: ControlPlane, start: Start) -> None:
    """Kill -9 at any moment, twenty times; room is scarce, so that whoever forgot a pod would overfill a node."""
    plane = empty_control_plane
    count, kills = 600, 20
    plane.create_nodes(zone_nodes(20, cpu="3"))  # exactly as much as the pods ask for
    placings = Placings(plane)
    plane.create_pods(make_pods(count // 2, scheduler=SCHEDULER))
    instants = random.Random(4)
    progress = [0]
    for number in range(kills):
        berth = start(plane, name="mortal")
        # While it lists, and while it binds.
        berth.wait_for("in step with the cluster" if number % 2 else "API server")
        time.sleep(instants.uniform(0.0, 0.2))
        berth.process.kill()
        progress.append(bound(plane))
        made = count // 2 // kills
        plane.create_pods(make_pods(made, prefix=f"later-{number:02}-", scheduler=SCHEDULER))
    amid = sum(
        before < after < count // 2 + 15 * kill for kill, (before, after) in enumerate(pairwise(progress))
    )
    assert amid >= 5, f"too few were killed while they worked: {progress}"
    start(plane, name="last")
    plane.eventually(lambda: bound(plane) == count, "all are bound")
    check_all_bound_once(plane, placings, count)


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
