"""The control plane works: what later tests stand on."""

from __future__ import annotations

import http.client
import ssl
import threading
from pathlib import Path

import pytest

from tests.controlplane import ApiError, ControlPlane, Options, make_node, make_pod, make_pods, zone_nodes
from tests.controlplane.cluster import node_condition
from tests.controlplane.credentials import other_authority, trust
from tests.controlplane.processes import ProcessError

pytestmark = pytest.mark.integration


def test_versions_are_the_pinned_ones(control_plane: ControlPlane) -> None:
    assert control_plane.api.get("/version")["gitVersion"] == "v1.36.3"
    assert "etcd" in [process.name for process in control_plane.processes()]


def test_hand_made_nodes_are_ready_without_taints(empty_control_plane: ControlPlane) -> None:
    plane = empty_control_plane
    plane.create_nodes([*zone_nodes(4, zones=2), make_node("broken", ready=False, cpu="500m")])
    assert node_condition(plane.node("node-00003"), "Ready") == "True"
    assert "taints" not in plane.node("node-00003")["spec"]
    assert plane.node("node-00003")["metadata"]["labels"]["topology.kubernetes.io/zone"] == "zone-1"
    assert node_condition(plane.node("broken"), "Ready") == "False"
    assert plane.node("broken")["status"]["allocatable"]["cpu"] == "500m"


def test_pods_are_made_without_service_accounts_and_can_be_bound(empty_control_plane: ControlPlane) -> None:
    plane = empty_control_plane
    plane.create_nodes([make_node("here")])
    plane.create_pods(make_pods(3))
    plane.bind("pod-00001", "here")
    assert [pod["spec"].get("nodeName") for pod in plane.pods("default")] == [None, "here", None]


def test_reset_deletes_pods_in_all_namespaces_and_nodes(empty_control_plane: ControlPlane) -> None:
    plane = empty_control_plane
    plane.create_namespace("other")
    plane.create_nodes(zone_nodes(2))
    plane.create_pods([make_pod("a"), make_pod("b", namespace="other")])
    plane.bind("a", "node-00000")
    plane.reset()
    assert plane.pods() == []
    assert plane.api.items("/api/v1/nodes") == []


def test_manifests_are_applied_with_kubectl(empty_control_plane: ControlPlane, tmp_path: Path) -> None:
    plane = empty_control_plane
    assert plane.apply([make_pod("a"), make_pod("b")]) == "pod/a created\npod/b created\n"
    file = tmp_path / "pod.yaml"
    file.write_text(
        "{apiVersion: v1, kind: Pod, metadata: {name: c}, spec: {containers: [{name: m, image: i}]}}"
    )
    plane.apply(file)
    assert plane.kubectl("get", "pods", "-o", "name").split() == ["pod/a", "pod/b", "pod/c"]


def test_kubectl_that_fails_says_why(control_plane: ControlPlane) -> None:
    with pytest.raises(
        ProcessError, match=r"kubectl get pod absent ended with status 1: .*\"absent\" not found"
    ):
        control_plane.kubectl("get", "pod", "absent")


def test_an_ordinary_user_may_do_what_rbac_says_and_no_more(empty_control_plane: ControlPlane) -> None:
    plane = empty_control_plane
    api = plane.api_as(plane.berth_token)
    try:
        with pytest.raises(ApiError, match='User "berth" cannot list resource "nodes"') as refused:
            api.get("/api/v1/nodes")
        assert (refused.value.status, refused.value.reason) == (403, "Forbidden")
        plane.apply(
            """
            apiVersion: rbac.authorization.k8s.io/v1
            kind: ClusterRole
            metadata: {name: read-nodes}
            rules: [{apiGroups: [""], resources: [nodes], verbs: [list]}]
            ---
            apiVersion: rbac.authorization.k8s.io/v1
            kind: ClusterRoleBinding
            metadata: {name: read-nodes}
            roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: read-nodes}
            subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: berth}]
            """
        )

        def allowed() -> bool:
            try:
                return api.items("/api/v1/nodes") == []
            except ApiError:
                return False

        plane.eventually(allowed, "the role is in force")
        with pytest.raises(ApiError, match='cannot list resource "pods"'):
            api.get("/api/v1/pods")
    finally:
        api.close()
        plane.kubectl(
            "delete", "clusterrolebinding/read-nodes", "clusterrole/read-nodes", "--ignore-not-found"
        )


@pytest.mark.parametrize(
    ("expires_in", "status"),
    [
        pytest.param(600, 403, id="good"),
        pytest.param(-50, 403, id="within leeway"),
        pytest.param(-65, 401, id="expired"),
    ],
)
def test_service_account_tokens_expire(control_plane: ControlPlane, expires_in: int, status: int) -> None:
    api = control_plane.api_as(
        control_plane.service_account_token("default", "tester", expires_in=expires_in)
    )
    with pytest.raises(ApiError) as refused:  # known and without rights, or not even known
        api.get("/api/v1/nodes")
    api.close()
    assert refused.value.status == status


def test_bad_kubeconfigs_are_bad_in_the_way_they_say(control_plane: ControlPlane) -> None:
    api = control_plane.api_as("no such token")
    with pytest.raises(ApiError, match="401 Unauthorized"):
        api.get("/api/v1/nodes")
    api.close()
    with pytest.raises(ssl.SSLCertVerificationError):
        _get_once(control_plane, trust(other_authority()))
    for file, says in [
        (control_plane.kubeconfig_with(token="no such token"), "Unauthorized"),
        (control_plane.kubeconfig_with_wrong_authority(), "certificate signed by unknown authority"),
        (control_plane.kubeconfig_with_nobody_there(), "refused"),
    ]:
        with pytest.raises(ProcessError, match=says):
            control_plane.kubectl("--kubeconfig", file, "get", "nodes")


def test_a_token_file_is_a_credential(control_plane: ControlPlane, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(control_plane.berth_token)
    with pytest.raises(ProcessError, match='User "berth" cannot list'):
        control_plane.kubectl("--kubeconfig", control_plane.kubeconfig_with(token_file=token), "get", "nodes")


def test_a_watch_yields_changes(empty_control_plane: ControlPlane) -> None:
    plane = empty_control_plane
    version = plane.api.get("/api/v1/pods")["metadata"]["resourceVersion"]
    plane.create_pods([make_pod("a")])
    plane.api.patch("/api/v1/namespaces/default/pods/a", {"metadata": {"labels": {"x": "y"}}})
    plane.api.delete("/api/v1/namespaces/default/pods/a?gracePeriodSeconds=0")
    watch = plane.api.watch("/api/v1/pods", version)
    # A pod that is deleted may first be seen as terminating.
    seen = [next(watch)]
    while seen[-1]["type"] != "DELETED":
        seen.append(next(watch))
    watch.close()
    assert [change["type"] for change in seen[:2]] == ["ADDED", "MODIFIED"]
    assert seen[-1]["object"]["metadata"]["labels"] == {"x": "y"}


def test_closing_ends_a_watch_that_another_thread_waits_on(control_plane: ControlPlane) -> None:
    api = control_plane.api_as(control_plane.admin_token)
    seen: list[bytes] = []
    started = threading.Event()

    def watch() -> None:
        for line in api.watch_lines("/api/v1/namespaces", "0"):
            seen.append(line)
            started.set()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    assert started.wait(20)
    closing = threading.Thread(target=api.close, daemon=True)
    closing.start()
    closing.join(20)
    thread.join(20)
    assert not closing.is_alive()
    assert not thread.is_alive()


def test_long_lists_come_page_by_page(empty_control_plane: ControlPlane) -> None:
    empty_control_plane.create_nodes(zone_nodes(1200))
    assert len({node["metadata"]["name"] for node in empty_control_plane.api.items("/api/v1/nodes")}) == 1200


def _get_once(plane: ControlPlane, context: ssl.SSLContext) -> None:
    connection = http.client.HTTPSConnection("127.0.0.1", plane.port, context=context, timeout=10)
    try:
        connection.request("GET", "/version")
    finally:
        connection.close()


def test_stopping_leaves_no_process_and_no_folder() -> None:
    with ControlPlane(Options(controllers=True, kwok=True, scheduler=True)) as plane:
        folder = plane.folder
        processes = plane.processes()
        assert [process.name for process in processes] == [
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kwok",
            "kube-scheduler",
        ]
        assert all(Path(f"/proc/{process.pid}").exists() for process in processes)
    assert not any(Path(f"/proc/{process.pid}").exists() for process in processes)
    assert not folder.exists()


def test_the_api_server_can_go_away_and_come_back_with_everything(tmp_path: Path) -> None:
    with ControlPlane(Options(folder=tmp_path)) as plane:
        plane.create_pods([make_pod("kept")])
        plane.stop_api_server()
        with pytest.raises(OSError, match="refused"):
            plane.pod("kept")
        plane.start_api_server()
        assert plane.pod("kept")["metadata"]["name"] == "kept"
        assert "kept" in plane.kubectl("get", "pods")


def test_a_node_is_marked_by_hand(empty_control_plane: ControlPlane) -> None:
    plane = empty_control_plane
    plane.create_nodes([make_node("a"), make_node("b")])
    plane.mark_node("a", "Unknown")
    plane.await_nodes(["a"], "Unknown", 5)
    plane.await_nodes(["b"], "True", 5)
    (condition,) = plane.node("a")["status"]["conditions"]
    assert condition["lastTransitionTime"] > "2025"
