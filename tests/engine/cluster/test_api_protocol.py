"""The protocol's suite on a real API server, with no more privileges than deploy/rbac.yaml gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from engine.cluster.protocol import ClusterEvent, EventType
from engine.model.objects import PodKey
from tests.controlplane.plane import ControlPlane
from tests.engine.cluster.protocol_suite import MOMENT, ClusterProtocol, Site, pod_manifest, unique
from tests.engine.cluster.real import RealSite, roles_for_berth

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def real_site(control_plane: ControlPlane) -> Iterator[RealSite]:
    roles = roles_for_berth()
    # The suite makes leases and priority classes of many names, which is more than Berth itself may.
    roles += _lease_role() + _class_role()
    control_plane.apply(roles)
    site = RealSite(control_plane)
    yield site
    site.cluster.close()
    control_plane.kubectl("delete", "role,rolebinding", "suite-leases", "-n", "kube-system")
    control_plane.kubectl("delete", "clusterrole,clusterrolebinding", "suite-classes")


def _lease_role() -> list[dict[str, Any]]:
    group = "rbac.authorization.k8s.io"
    metadata = {"name": "suite-leases", "namespace": "kube-system"}
    rule = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "update"]}
    return [
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "suite-leases"},
            "subjects": [{"kind": "User", "name": "berth", "apiGroup": group}],
        },
    ]


def _class_role() -> list[dict[str, Any]]:
    group = "rbac.authorization.k8s.io"
    rule = {"apiGroups": ["scheduling.k8s.io"], "resources": ["priorityclasses"], "verbs": ["get"]}
    metadata = {"name": "suite-classes"}
    return [
        {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": metadata, "rules": [rule]},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "suite-classes"},
            "subjects": [{"kind": "User", "name": "berth", "apiGroup": group}],
        },
    ]


class TestApiCluster(ClusterProtocol):
    @pytest.fixture
    def site(self, real_site: RealSite) -> RealSite:
        return real_site

    def expire(self, site: Site) -> str:
        assert isinstance(site, RealSite)
        site.restart()  # a server that just started knows no changes of before
        return "1"


def posted(plane: ControlPlane, key: PodKey) -> list[dict[str, Any]]:
    events = plane.api.items(f"/apis/events.k8s.io/v1/namespaces/{key.namespace}/events")
    return [event for event in events if event["regarding"]["uid"] == key.uid]


def test_an_event_reads_as_the_stock_schedulers_do(real_site: RealSite, control_plane: ControlPlane) -> None:
    key = real_site.create_pod(pod_manifest(unique("pod")))
    event = ClusterEvent(key, EventType.WARNING, "FailedScheduling", "Scheduling", "0/1 nodes: full", MOMENT)
    real_site.cluster.post_event(event)
    real_site.cluster.post_event(event)  # as after a lost answer
    (found,) = posted(control_plane, key)
    assert found["reportingController"] == "berth"
    assert found["reportingInstance"].startswith("berth-")
    assert (found["type"], found["reason"], found["action"]) == ("Warning", "FailedScheduling", "Scheduling")
    assert found["note"] == "0/1 nodes: full"
    assert found["eventTime"] == "2031-05-06T07:08:09.123456Z"
    described = control_plane.kubectl("describe", "pod", key.name)
    assert "FailedScheduling" in described
    assert "0/1 nodes: full" in described


def test_pages_are_followed(
    real_site: RealSite, control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.cluster import api
    from engine.cluster.protocol import ResourceKind

    names = [real_site.create_pod(pod_manifest(unique("page"))).name for _ in range(7)]
    monkeypatch.setattr(api, "PAGE", 2)
    listed = [pod.metadata.name for pod in real_site.cluster.list(ResourceKind.PODS).items]
    assert set(names) <= set(listed)
    assert len(listed) == len(set(listed))


def test_the_server_says_its_version(real_site: RealSite) -> None:
    assert real_site.cluster.server_version().startswith("v1.")
