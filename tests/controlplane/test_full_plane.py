"""The controllers, KWOK and the peer do their part."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.controlplane import ControlPlane, make_node, make_pod, make_pods, zone_nodes
from tests.controlplane.cluster import node_condition

pytestmark = pytest.mark.integration


def _wait_ready(plane: ControlPlane, count: int) -> None:
    def ready() -> bool:
        nodes = plane.api.items("/api/v1/nodes")
        good = [n for n in nodes if node_condition(n, "Ready") == "True" and not n["spec"].get("taints")]
        return len(good) == count

    plane.eventually(ready, f"{count} nodes are ready and without taints")


def test_a_pod_bound_through_the_api_runs_on_a_node_of_kwok(empty_full_control_plane: ControlPlane) -> None:
    plane = empty_full_control_plane
    plane.create_nodes([make_node("a", kwok=True)])
    _wait_ready(plane, 1)
    plane.create_pods([make_pod("p")])
    plane.bind("p", "a")
    plane.eventually(lambda: plane.pod("p")["status"]["phase"] == "Running", "the pod runs")


def test_kwok_deletes_a_pod_that_is_to_go_once(empty_full_control_plane: ControlPlane) -> None:
    """A second deletion by name would take away the next pod that is called so, as a StatefulSet makes it at once."""
    plane = empty_full_control_plane
    plane.create_nodes([make_node("a", kwok=True)])
    _wait_ready(plane, 1)

    def run(name: str) -> None:
        plane.create_pods([make_pod(name)])
        plane.bind(name, "a")
        plane.eventually(lambda: plane.pod(name)["status"]["phase"] == "Running", "the pod runs")

    names = [f"p{number}" for number in range(10)]
    for name in names:
        run(name)
    before = _deletions(plane)
    for name in names:
        plane.api.delete(f"/api/v1/namespaces/default/pods/{name}")
    plane.eventually(lambda: not plane.pods("default"), "they are gone")
    run("later")  # KWOK has dealt with all that came before
    assert _deletions(plane) - before == 2 * len(names), "ours, and KWOK's"


def _deletions(plane: ControlPlane) -> float:
    """How many requests to delete a pod were answered so far, whatever the answer."""
    text = plane.kubectl("get", "--raw", "/metrics")
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "apiserver_request_total"
        and (sample.labels["verb"], sample.labels["resource"]) == ("DELETE", "pods")
    )


def test_a_deployment_makes_its_pods_again(empty_full_control_plane: ControlPlane) -> None:
    plane = empty_full_control_plane
    pod = make_pod("x", labels={"app": "web"}, scheduler="custom-scheduler")
    plane.apply(
        [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "web"},
                "spec": {
                    "replicas": 3,
                    "selector": {"matchLabels": {"app": "web"}},
                    "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod["spec"]},
                },
            }
        ]
    )
    plane.eventually(lambda: len(plane.pods("default")) == 3, "there are three pods")
    gone = plane.pods("default")[0]["metadata"]
    plane.api.delete(f"/api/v1/namespaces/default/pods/{gone['name']}?gracePeriodSeconds=0")

    def replaced() -> bool:
        pods = plane.pods("default")
        return len(pods) == 3 and gone["uid"] not in [pod["metadata"]["uid"] for pod in pods]

    plane.eventually(replaced, "the deleted pod is replaced")


def test_a_crashed_node_is_noticed_and_comes_back(empty_full_control_plane: ControlPlane) -> None:
    plane = empty_full_control_plane
    plane.create_nodes(zone_nodes(2, kwok=True))
    _wait_ready(plane, 2)
    plane.crash_node("node-00001")
    plane.eventually(
        lambda: node_condition(plane.node("node-00001"), "Ready") == "Unknown", "it is unknown", 60
    )
    plane.eventually(lambda: bool(plane.node("node-00001")["spec"].get("taints")), "it is tainted")
    assert node_condition(plane.node("node-00000"), "Ready") == "True"
    plane.restore_node("node-00001")
    _wait_ready(plane, 2)


def test_a_zone_falls_silent_and_comes_back(empty_full_control_plane: ControlPlane) -> None:
    plane = empty_full_control_plane
    plane.create_nodes(zone_nodes(6, zones=2, kwok=True))
    _wait_ready(plane, 6)
    cut = plane.cut_zone("zone-1")
    assert cut == ["node-00001", "node-00003", "node-00005"]
    plane.await_nodes(cut, "Unknown")
    plane.await_nodes(plane.zone("zone-0"), "True")
    assert plane.restore_zone("zone-1") == cut
    plane.await_nodes(cut, "True")


def test_a_drain_takes_all_but_daemons_and_owned_pods_pass(empty_full_control_plane: ControlPlane) -> None:
    plane = empty_full_control_plane
    plane.create_nodes([make_node(name, kwok=True) for name in ("a", "b")])
    _wait_ready(plane, 2)
    owned = make_pod("owned", nodeName="a", terminationGracePeriodSeconds=0)
    owner = {"apiVersion": "v1", "kind": "Node", "name": "a", "uid": plane.node("a")["metadata"]["uid"]}
    owned["metadata"]["ownerReferences"] = [{**owner, "controller": True}]
    plane.create_pods([owned, make_pod("bare", nodeName="a"), make_pod("other", nodeName="b")])
    said = plane.drain("a")
    assert (
        "deleting Pods that declare no controller: default/bare" in said
        or "evicting pod default/owned" in said
    )
    assert [pod["metadata"]["name"] for pod in plane.pods("default")] == ["other"]
    assert plane.node("a")["spec"]["unschedulable"]
    plane.cordon("a", False)
    assert "unschedulable" not in plane.node("a")["spec"]


def test_what_a_node_owns_goes_with_it(empty_full_control_plane: ControlPlane) -> None:
    plane = empty_full_control_plane
    plane.create_nodes([make_node("a", kwok=True)])
    _wait_ready(plane, 1)
    owned = make_pod("owned", nodeName="a", terminationGracePeriodSeconds=0)
    owner = {"apiVersion": "v1", "kind": "Node", "name": "a", "uid": plane.node("a")["metadata"]["uid"]}
    owned["metadata"]["ownerReferences"] = [{**owner, "controller": True}]
    plane.create_pods([owned, make_pod("other", nodeName="a")])
    plane.delete_node("a")
    plane.eventually(
        lambda: "owned" not in [p["metadata"]["name"] for p in plane.pods("default")], "it is gone"
    )


def test_the_peer_binds_its_pods_and_leaves_ours(empty_full_control_plane: ControlPlane) -> None:
    plane = empty_full_control_plane
    plane.create_nodes(zone_nodes(3, kwok=True))
    _wait_ready(plane, 3)
    plane.create_pods([*make_pods(4), make_pod("ours", scheduler="custom-scheduler")])
    plane.start_scheduler()
    try:
        plane.eventually(
            lambda: sum("nodeName" in pod["spec"] for pod in plane.pods("default")) == 4,
            "the peer has bound four pods",
        )
        assert "nodeName" not in plane.pod("ours")["spec"]
    finally:
        plane.stop_scheduler()


def test_namespaces_are_usable_at_once_and_go_away(empty_full_control_plane: ControlPlane) -> None:
    plane = empty_full_control_plane
    plane.create_namespace("team")
    plane.create_pods([make_pod("p", namespace="team")])
    plane.reset()
    assert "team" not in [space["metadata"]["name"] for space in plane.api.items("/api/v1/namespaces")]
