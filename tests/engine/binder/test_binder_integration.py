"""A burst of pods on a real API server: each is bound, and each gets its event behind that."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from engine.binder import Assignment, Binder, BindResult, EventRecorder, Outcome, ThreadedBinder
from engine.cluster.api import connect
from engine.cluster.protocol import ClusterEvent, EventType
from engine.model.objects import Condition, PodKey
from tests.controlplane.manifests import make_pods
from tests.controlplane.plane import ControlPlane

pytestmark = pytest.mark.integration

PODS = 120


def test_each_pod_is_bound_once_and_each_event_arrives(empty_control_plane: ControlPlane) -> None:
    plane = empty_control_plane
    plane.create_pods(make_pods(PODS))
    keys = [
        PodKey(pod["metadata"]["namespace"], pod["metadata"]["name"], pod["metadata"]["uid"])
        for pod in plane.pods()
    ]
    cluster = connect(plane.kubeconfig)
    results: list[BindResult] = []

    def done(result: BindResult) -> None:
        pod, node = result.assignment.pod, result.assignment.node
        message = f"Successfully assigned {pod} to {node}"
        recorder.event(
            ClusterEvent(pod, EventType.NORMAL, "Scheduled", "Binding", message, datetime.now(UTC))
        )
        results.append(result)

    executor = ThreadedBinder(Binder(cluster), done)
    recorder = EventRecorder(cluster, wait_idle=executor.wait_idle)
    for number, key in enumerate(keys):
        executor.submit(Assignment(key, f"edge-{number % 7}"))
    assert executor.wait_idle(60)
    assert recorder.drain(60)
    assert executor.stop() == ()
    assert recorder.stop() == 0
    cluster.close()

    assert Counter(result.outcome for result in results) == {Outcome.BOUND: PODS}
    nodes = {pod["metadata"]["uid"]: pod["spec"]["nodeName"] for pod in plane.pods()}
    assert nodes == {key.uid: f"edge-{number % 7}" for number, key in enumerate(keys)}
    events = plane.api.items("/apis/events.k8s.io/v1/namespaces/default/events")
    assert Counter(event["regarding"]["uid"] for event in events) == {key.uid: 1 for key in keys}


def test_a_pod_that_waits_says_why_in_its_condition(empty_control_plane: ControlPlane) -> None:
    plane = empty_control_plane
    plane.create_pods(make_pods(1))
    (pod,) = plane.pods()
    key = PodKey("default", pod["metadata"]["name"], pod["metadata"]["uid"])
    cluster = connect(plane.kubeconfig)
    recorder = EventRecorder(cluster)
    condition = Condition(
        "PodScheduled", "False", "Unschedulable", "0/1 nodes are near enough", datetime.now(UTC)
    )
    recorder.condition(key, condition)
    assert recorder.stop(10) == 0
    cluster.close()
    (told,) = plane.pod(key.name)["status"]["conditions"]
    assert (told["reason"], told["message"]) == ("Unschedulable", "0/1 nodes are near enough")
