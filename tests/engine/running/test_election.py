"""Two schedulers on one API server: one works, the other takes over."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest

from tests.controlplane import ControlPlane, make_pods, zone_nodes
from tests.engine.cluster.real import roles_for_berth
from tests.engine.running.berth import MACHINE_SECONDS, Berth, Start
from tests.engine.running.site import moment

pytestmark = pytest.mark.integration

LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/berth"
TIMES = {"leaseDuration": "4s", "renewDeadline": "3s", "retryPeriod": "500ms"}
LONG = {"leaseDuration": "60s", "renewDeadline": "40s", "retryPeriod": "500ms"}
LEASE_SECONDS = 4.0
LOOK_SECONDS = 0.6
"""Who waits looks at the lease at least so often: the retry period, and a fifth more at random."""
SCHEDULER = "custom-scheduler"


@pytest.fixture
def plane(empty_control_plane: ControlPlane) -> ControlPlane:
    plane = empty_control_plane
    plane.kubectl("delete", "lease", "berth", "-n", "kube-system", "--ignore-not-found")
    plane.create_nodes(zone_nodes(5))
    return plane


def candidate(
    start: Start, plane: ControlPlane, name: str, times: Mapping[str, str] = TIMES, **options: Any
) -> Berth:
    leader = {"elect": True, "identity": name, **times}
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


def lease(plane: ControlPlane) -> tuple[str, float, float]:
    """Who holds it, and when it was taken and last renewed, as whoever did it wrote: seconds since the epoch."""
    spec = plane.api.get(LEASE)["spec"]
    return spec["holderIdentity"], moment(spec["acquireTime"]), moment(spec["renewTime"])


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
    # The API server shows a binding before Berth has the answer to it.
    first.wait_until(lambda: first.metric("berth_bind_results_total") == 20, "counting")
    assert second.metric("berth_bind_results_total") == 0
    second.wait_until(lambda: second.metric("berth_pending_pods") == 0, "in step with what the leader did")
    first.process.kill()
    holder, _, renewed = lease(plane)
    assert holder.startswith("first_")
    make_and_await(plane, "b-")
    assert leads(second)
    holder, taken, _ = lease(plane)
    assert holder.startswith("second_")
    assert taken - renewed >= LEASE_SECONDS, "never earlier: the other might still be at work"
    most = LEASE_SECONDS + 2 * LOOK_SECONDS
    assert taken - renewed < most + MACHINE_SECONDS, "the lease, from when it was seen, and a look after it"
    assert plane.api.get(LEASE)["spec"]["leaseTransitions"] == 1


def test_the_other_takes_over_at_once_when_the_leader_ends(plane: ControlPlane, start: Start) -> None:
    first = candidate(start, plane, "first", LONG)
    first.wait_until(lambda: leads(first), "leading")
    second = candidate(start, plane, "second", LONG)
    plane.create_pods(make_pods(300, prefix="a-", scheduler=SCHEDULER))
    assert first.terminate() < 2.0 + MACHINE_SECONDS, "the grace for what is under way"
    ended = time.time()
    assert first.process.returncode == 0
    assert first.says("the lease kube-system/berth is given back")
    second.wait_until(lambda: leads(second), "leading")
    holder, taken, _ = lease(plane)
    assert holder.startswith("second_")
    assert taken - ended < LOOK_SECONDS + MACHINE_SECONDS, "a look, not the lease of a minute"
    plane.eventually(lambda: bound(plane, "a-") == 300, "what was left undone is done")


def test_a_leader_that_loses_its_lease_ends(plane: ControlPlane, start: Start) -> None:
    berth = candidate(start, plane, "only")
    berth.wait_until(lambda: leads(berth), "leading")
    plane.api.patch(LEASE, {"spec": {"holderIdentity": "somebody else"}})
    assert berth.process.wait(30) == 5
    assert berth.says("the lease kube-system/berth is lost: somebody else holds it")


def test_a_leader_that_cannot_renew_ends(plane: ControlPlane, start: Start) -> None:
    berth = candidate(start, plane, "only")
    berth.wait_until(lambda: leads(berth), "leading")
    plane.stop_api_server()
    try:
        assert berth.process.wait(30) == 5
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
