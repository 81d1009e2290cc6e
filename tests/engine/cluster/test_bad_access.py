"""A real API server that is not there, that we may not enter, that goes away while we watch."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tenacity.wait import wait_fixed

from engine.binder import Assignment, Binder, Outcome
from engine.clock import SystemClock
from engine.cluster.api import connect
from engine.cluster.errors import ApiError, ClusterError, ConfigurationError, Unreachable
from engine.cluster.protocol import ResourceKind
from engine.cluster.reflector import Recovered, Reflector, Synced, Trouble, Update, Upserted
from engine.model.objects import PodKey
from tests.controlplane.plane import ControlPlane
from tests.engine.cluster.protocol_suite import pod_manifest, unique
from tests.engine.cluster.real import RealSite, path, start_again

pytestmark = pytest.mark.integration


def expired(plane: ControlPlane) -> Path:
    return plane.kubeconfig_with(token=plane.service_account_token("kube-system", "late", expires_in=-61))


BAD: dict[str, tuple[Callable[[ControlPlane], Path], type[ClusterError], str]] = {
    "nobody there": (
        ControlPlane.kubeconfig_with_nobody_there,
        Unreachable,
        r"https://127\.0\.0\.1:\d+: connection refused; is the API server running, and is 'server' in kubeconfig .*",
    ),
    "another authority": (
        ControlPlane.kubeconfig_with_wrong_authority,
        ConfigurationError,
        "the server's certificate is not the one expected: .*'certificate-authority' and 'server' in kubeconfig ",
    ),
    "an unknown token": (
        lambda plane: plane.kubeconfig_with(token="unknown"),
        ApiError,
        "401 Unauthorized: .* does not accept our credentials .* renew it in kubeconfig ",
    ),
    "an expired token": (
        expired,
        ApiError,
        "401 Unauthorized: .*token or the certificate may have expired: renew it",
    ),
}


@pytest.mark.parametrize(("kubeconfig", "kind", "message"), BAD.values(), ids=BAD.keys())
def test_the_fault_and_its_remedy_are_named(
    control_plane: ControlPlane,
    kubeconfig: Callable[[ControlPlane], Path],
    kind: type[ClusterError],
    message: str,
) -> None:
    file = kubeconfig(control_plane)
    cluster = connect(file)
    with pytest.raises(kind, match=message) as caught:
        cluster.list(ResourceKind.PODS)
    assert str(file) in str(caught.value)
    cluster.close()


def test_a_token_that_is_rotated_in_its_file_is_taken_up(control_plane: ControlPlane, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(control_plane.service_account_token("kube-system", "rotated", expires_in=-61) + "\n")
    cluster = connect(control_plane.kubeconfig_with(token_file=token))
    token.write_text(control_plane.service_account_token("kube-system", "rotated") + "\n")
    with pytest.raises(ApiError, match=r"system:serviceaccount:kube-system:rotated") as caught:
        cluster.list(ResourceKind.PODS)
    assert caught.value.status == 403  # it is let in, as somebody who may do nothing
    cluster.close()


class Watcher:
    """A reflector in its thread, and what it tells."""

    def __init__(self, site: RealSite) -> None:
        self.told: queue.SimpleQueue[Update] = queue.SimpleQueue()
        self.stop = threading.Event()
        self.cluster = site.cluster
        reflector = Reflector(
            self.cluster, ResourceKind.PODS, self.told.put, SystemClock(), wait=wait_fixed(0.2)
        )
        self.thread = threading.Thread(target=reflector.run, args=(self.stop,))
        self.thread.start()

    def wait_for(self, what: Callable[[Update], bool]) -> Update:
        while True:
            update = self.told.get(timeout=20)
            if what(update):
                return update

    def end(self) -> None:
        self.stop.set()
        self.cluster.interrupt_watches()
        self.thread.join(2)
        assert not self.thread.is_alive()


def is_pod(key: PodKey) -> Callable[[Update], bool]:
    return lambda update: isinstance(update, Upserted) and update.object.metadata.uid == key.uid


def test_a_watch_that_breaks_is_told_and_loses_nothing(control_plane: ControlPlane) -> None:
    site = RealSite(control_plane, control_plane.kubeconfig)
    watcher = Watcher(site)
    try:
        before = site.create_pod(pod_manifest(unique("before")))
        watcher.wait_for(is_pod(before))
        control_plane.stop_api_server()
        trouble = watcher.wait_for(lambda update: isinstance(update, Trouble))
        assert isinstance(trouble, Trouble)
        assert f"https://127.0.0.1:{control_plane.port}" in trouble.message
        start_again(control_plane)
        watcher.wait_for(lambda update: isinstance(update, Recovered))
        after = site.create_pod(pod_manifest(unique("after")))
        watcher.wait_for(is_pod(after))
    finally:
        watcher.end()
        site.cluster.close()


def test_a_watcher_is_stopped_within_two_seconds(control_plane: ControlPlane) -> None:
    site = RealSite(control_plane, control_plane.kubeconfig)
    watcher = Watcher(site)
    watcher.wait_for(lambda update: isinstance(update, Synced))
    watcher.end()
    site.cluster.close()


class TestBinding:
    """The binder's cases that a real server decides."""

    @pytest.fixture
    def site(self, control_plane: ControlPlane) -> RealSite:
        return RealSite(control_plane, control_plane.kubeconfig)

    def bind(self, site: RealSite, key: PodKey, node: str = "edge-1") -> tuple[Outcome, str]:
        result = Binder(site.cluster).bind(Assignment(key, node))
        site.cluster.close()
        return result.outcome, result.message

    def test_bound(self, site: RealSite) -> None:
        assert self.bind(site, site.create_pod(pod_manifest(unique("pod")))) == (Outcome.BOUND, "")

    def test_bound_before(self, site: RealSite) -> None:
        key = site.create_pod(pod_manifest(unique("pod")))
        site.cluster.bind(key, "edge-1")
        assert self.bind(site, key) == (Outcome.BOUND, "an earlier attempt had landed")

    def test_lost(self, site: RealSite) -> None:
        key = site.create_pod(pod_manifest(unique("pod")))
        site.cluster.bind(key, "edge-2")
        assert self.bind(site, key) == (Outcome.LOST, f"{key} is bound to edge-2")

    def test_deleted_while_it_is_bound(self, site: RealSite) -> None:
        key = site.create_pod(pod_manifest(unique("pod")))
        site.delete_pod(key)
        assert self.bind(site, key) == (Outcome.DROPPED, f"{key} is gone")

    def test_deleted_and_made_anew_while_it_is_bound(self, site: RealSite) -> None:
        key = site.create_pod(pod_manifest(unique("pod")))
        site.delete_pod(key)
        site.create_pod(pod_manifest(key.name))
        assert self.bind(site, key) == (
            Outcome.DROPPED,
            f"{key} was deleted, and another of its name is there",
        )

    def test_being_deleted_while_it_is_bound(self, site: RealSite, control_plane: ControlPlane) -> None:
        manifest = pod_manifest(unique("pod"))
        manifest["metadata"]["finalizers"] = ["example.org/hold"]
        key = site.create_pod(manifest)
        control_plane.api.delete(path(key))
        assert self.bind(site, key) == (Outcome.DROPPED, f"{key} is being deleted")
        control_plane.api.patch(path(key), {"metadata": {"finalizers": None}})

    def test_gated(self, site: RealSite) -> None:
        gates = [{"name": "example.org/wait"}]
        key = site.create_pod(pod_manifest(unique("pod"), schedulingGates=gates))
        outcome, message = self.bind(site, key)
        assert outcome is Outcome.REQUEUE
        assert "cannot be bound now" in message
        assert "schedulingGates" in message

    def test_refused(self, site: RealSite, control_plane: ControlPlane) -> None:
        key = site.create_pod(pod_manifest(unique("pod")))
        site.cluster.close()
        stranger = RealSite(control_plane, control_plane.kubeconfig_with(token="unknown"))
        outcome, message = self.bind(stranger, key)
        assert outcome is Outcome.REFUSED
        assert "does not accept our credentials" in message
