"""Two schedulers on one API server: one works, the other takes over."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.controlplane import ControlPlane, make_pods, zone_nodes
from tests.engine.cluster.real import roles_for_berth
from tests.engine.running.berth import Berth, Start

pytestmark = pytest.mark.integration

LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/berth"
TIMES = {"leaseDuration": "4s", "renewDeadline": "3s", "retryPeriod": "500ms"}
SCHEDULER = "custom-scheduler"


@pytest.fixture
def plane(empty_control_plane: ControlPlane) -> ControlPlane:
    plane = empty_control_plane
    plane.kubectl("delete", "lease", "berth", "-n", "kube-system", "--ignore-not-found")
    plane.create_nodes(zone_nodes(5))
    return plane


def candidate(start: Start, plane: ControlPlane, name: str, **options: Any) -> Berth:
    leader = {"elect": True, "identity": name, **TIMES}
    berth = start(
        plane, name=name, settings={"leader": leader, "server": {"address": "127.0.0.1:0"}}, **options
    )
    berth.wait_ready()
    return berth


def bound(plane: ControlPlane, prefix: str) -> int:
    return sum(
        bool(pod["spec"].get("nodeName"))
        for pod in plane.pods("default")
        if pod["metadata"]["name"].startswith(prefix)
    )


def make_and_await(plane: ControlPlane, prefix: str, count: int = 20) -> None:
    plane.create_pods(make_pods(count, prefix=prefix, scheduler=SCHEDULER))
    plane.eventually(lambda: bound(plane, prefix) == count, f"the pods {prefix} are bound")


def leads(berth: Berth) -> bool:
    return berth.metric("berth_leader") == 1


def test_the_other_takes_over_within_the_lease_when_the_leader_is_killed(
    plane: ControlPlane, start: Start
) -> None:
    first = candidate(start, plane, "first")
    first.wait_until(lambda: leads(first), "leading")
    second = candidate(start, plane, "second")
    assert second.says("held by first_")
    assert second.get("/readyz")[0] == 200, "who waits is ready"
    make_and_await(plane, "a-")
    assert (first.metric("berth_bind_results_total"), second.metric("berth_bind_results_total")) == (20, 0)
    second.wait_until(lambda: second.metric("berth_pending_pods") == 0, "in step with what the leader did")
    first.process.kill()
    began = time.monotonic()
    make_and_await(plane, "b-")
    took = time.monotonic() - began
    assert leads(second)
    assert 1.0 < took < 4.0 + 0.6 + 2.0, "the lease, a retry, and the machine's own time"
    assert plane.api.get(LEASE)["spec"]["leaseTransitions"] == 1


def test_the_other_takes_over_at_once_when_the_leader_ends(plane: ControlPlane, start: Start) -> None:
    first = candidate(start, plane, "first")
    first.wait_until(lambda: leads(first), "leading")
    second = candidate(start, plane, "second")
    plane.create_pods(make_pods(300, prefix="a-", scheduler=SCHEDULER))
    assert first.terminate() < 2.3
    began = time.monotonic()
    assert first.process.returncode == 0
    assert first.says("the lease kube-system/berth is given back")
    second.wait_until(lambda: leads(second), "leading")
    assert time.monotonic() - began < 2.0, "a retry, not the lease"
    plane.eventually(lambda: bound(plane, "a-") == 300, "what was left undone is done")


def test_a_leader_that_loses_its_lease_ends(plane: ControlPlane, start: Start) -> None:
    berth = candidate(start, plane, "only")
    berth.wait_until(lambda: leads(berth), "leading")
    plane.api.patch(LEASE, {"spec": {"holderIdentity": "somebody else"}})
    assert berth.process.wait(10) == 5
    assert berth.says("the lease kube-system/berth is lost: somebody else holds it")


def test_a_leader_that_cannot_renew_ends(plane: ControlPlane, start: Start) -> None:
    berth = candidate(start, plane, "only")
    berth.wait_until(lambda: leads(berth), "leading")
    plane.stop_api_server()
    try:
        assert berth.process.wait(10) == 5
        assert berth.says("connection refused")
        assert berth.says("ended, since another may lead")
    finally:
        plane.start_api_server()
        plane.api.close()


def test_who_may_not_read_the_lease_says_so_and_waits(plane: ControlPlane, start: Start) -> None:
    roles = [role for role in roles_for_berth() if not role["kind"].startswith("Role")]
    plane.kubectl(
        "delete", "role,rolebinding", "berth", "suite-leases", "-n", "kube-system", "--ignore-not-found"
    )
    plane.apply(roles)
    berth = candidate(start, plane, "only", kubeconfig=plane.berth_kubeconfig)
    berth.wait_for('cannot get resource "leases"')
    plane.create_pods(make_pods(1, scheduler=SCHEDULER))
    status, text = berth.get("/readyz")
    assert status == 200
    assert '[!]leader-election: 403 Forbidden: leases.coordination.k8s.io "berth" is forbidden' in text
    assert bound(plane, "pod-") == 0
    plane.apply(roles_for_berth())
    plane.eventually(lambda: bound(plane, "pod-") == 1, "bound once it may lead")
