"""deploy/rbac.yaml gives what Berth needs, nothing that it does not need, and what is missing is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from engine.cluster.api import ApiCluster
from engine.cluster.errors import ApiError
from engine.cluster.protocol import ClusterEvent, EventType, LeaseRecord, ResourceKind
from engine.model.device_uses import DeviceMapping
from engine.model.devices import ResourceClaim
from engine.model.objects import Condition, PodKey
from engine.model.placeholder import PRIORITY, PRIORITY_CLASS
from engine.model.storage import PersistentVolume, PersistentVolumeClaim
from tests.controlplane.plane import ControlPlane
from tests.engine.cluster.device_suite import (
    ALLOCATION,
    asking_manifest,
    resource_claim_manifest,
    special_claim,
)
from tests.engine.cluster.protocol_suite import (
    MOMENT,
    claim_manifest,
    node_manifest,
    pod_manifest,
    unique,
    volume_manifest,
)
from tests.engine.cluster.real import RealSite, roles_for_berth

pytestmark = pytest.mark.integration

SYSTEM = "kube-system"
Roles = list[dict[str, Any]]
OTHERS = [kind for kind in ResourceKind if kind not in (ResourceKind.PODS, ResourceKind.NODES)]


@pytest.fixture(scope="module")
def site(control_plane: ControlPlane) -> Iterator[RealSite]:
    control_plane.kubectl("delete", "--ignore-not-found", "rolebinding", "suite-leases", "-n", SYSTEM)
    control_plane.kubectl("delete", "--ignore-not-found", "clusterrolebinding", "suite-classes")
    control_plane.apply(roles_for_berth())
    site = RealSite(control_plane)
    yield site
    site.cluster.close()
    control_plane.apply(roles_for_berth())


class Calls:
    """Every call of the protocol, each on objects of its own."""

    def __init__(self, site: RealSite) -> None:
        self.site = site
        self.cluster: ApiCluster = site.cluster

    def pod(self) -> PodKey:
        return self.site.create_pod(pod_manifest(unique("pod")))

    def get_pod(self) -> None:
        pod = self.pod()
        assert self.cluster.get_pod(pod.namespace, pod.name) is not None

    def list(self, kind: ResourceKind) -> None:
        self.cluster.list(kind)

    def watch(self, kind: ResourceKind) -> None:
        self._watch(kind)

    def list_pods(self) -> None:
        self.cluster.list(ResourceKind.PODS)

    def list_nodes(self) -> None:
        self.cluster.list(ResourceKind.NODES)

    def watch_pods(self) -> None:
        self._watch(ResourceKind.PODS)

    def watch_nodes(self) -> None:
        self._watch(ResourceKind.NODES)

    def _watch(self, kind: ResourceKind) -> None:
        version = self.cluster.list(kind).resource_version
        if kind is ResourceKind.PODS:
            self.pod()
        elif kind is ResourceKind.NODES:
            self.site.create_node(node_manifest(unique("node")))
        events = self.cluster.watch(kind, version, 1.0)
        if kind in (ResourceKind.PODS, ResourceKind.NODES):
            next(events)
        events.close()  # type: ignore[attr-defined]  # an iterator that can be closed

    def bind(self) -> None:
        self.cluster.bind(self.pod(), "anywhere")

    def evict(self) -> None:
        self.cluster.evict(self.pod(), 0)

    def delete_pod(self) -> None:
        self.cluster.delete_pod(self.pod())

    def create_pod(self) -> None:
        self.cluster.create_pod(pod_manifest(unique("made")))

    def get_manifest(self) -> None:
        pod = self.pod()
        assert self.cluster.get_manifest(pod.namespace, pod.name) is not None

    def ensure_priority_class(self) -> None:
        delete = ("delete", "--ignore-not-found", "priorityclass", PRIORITY_CLASS)
        self.site.plane.kubectl(*delete)
        self.cluster.ensure_priority_class(PRIORITY_CLASS, PRIORITY, "for the test")

    def nominate(self) -> None:
        self.cluster.nominate(self.pod(), "anywhere")

    def patch_pod_condition(self) -> None:
        self.cluster.patch_pod_condition(
            self.pod(), Condition("PodScheduled", "False", "Unschedulable", "no")
        )

    def claim(self) -> PersistentVolumeClaim:
        name = unique("claim")
        self.site.create_storage(claim_manifest(name))
        found = self.cluster.get_claim("default", name)
        assert found is not None
        return found

    def volume(self) -> PersistentVolume:
        name = unique("volume")
        self.site.create_storage(volume_manifest(name))
        found = self.cluster.get_volume(name)
        assert found is not None
        return found

    def get_claim(self) -> None:
        self.claim()

    def get_volume(self) -> None:
        self.volume()

    def give_volume(self) -> None:
        self.cluster.give_volume(self.volume(), self.claim())

    def select_node(self) -> None:
        self.cluster.select_node(self.claim(), "anywhere")

    def resource_claim(self) -> ResourceClaim:
        name = unique("claim")
        self.site.create_storage(resource_claim_manifest(name))
        found = self.cluster.get_resource_claim("default", name)
        assert found is not None
        return found

    def get_resource_claim(self) -> None:
        self.resource_claim()

    def reserve_resource_claim(self) -> None:
        self.cluster.reserve_resource_claim(self.resource_claim(), self.pod(), ALLOCATION)

    def create_resource_claim(self) -> None:
        self.cluster.create_resource_claim(special_claim(self.pod()))

    def delete_resource_claim(self) -> None:
        self.cluster.delete_resource_claim(self.resource_claim())

    def tell_extended_claim(self) -> None:
        pod = self.site.create_pod(asking_manifest(unique("asking")))
        self.cluster.tell_extended_claim(pod, "its-claim", [DeviceMapping("app", "example.com/gpu", "gpus")])

    def post_event(self) -> None:
        for about in (self.pod(), unique("node")):
            self.cluster.post_event(
                ClusterEvent(about, EventType.NORMAL, "Tested", "Testing", "hello", MOMENT)
            )

    def get_lease(self) -> None:
        self.cluster.get_lease(SYSTEM, "berth")

    def create_lease(self) -> None:
        try:
            self.cluster.put_lease(SYSTEM, "berth", LeaseRecord("us", 15, MOMENT, MOMENT))
        except ApiError as error:
            if error.status != 409:  # it is there from before, and we were let through
                raise

    def update_lease(self) -> None:
        try:
            self.cluster.put_lease(SYSTEM, "berth", LeaseRecord("us", 15, MOMENT, MOMENT, version="1"))
        except ApiError as error:
            if error.status not in (404, 409):
                raise


NEEDS: dict[str, tuple[str, str, str, Callable[[Calls], None]]] = {
    "get pods": ("ClusterRole", "get", "pods", Calls.get_pod),
    "list pods": ("ClusterRole", "list", "pods", Calls.list_pods),
    "watch pods": ("ClusterRole", "watch", "pods", Calls.watch_pods),
    "list nodes": ("ClusterRole", "list", "nodes", Calls.list_nodes),
    "watch nodes": ("ClusterRole", "watch", "nodes", Calls.watch_nodes),
    **{
        f"{verb} {kind.value}": need
        for kind in OTHERS
        for verb, need in (
            ("list", ("ClusterRole", "list", kind.value, partial(Calls.list, kind=kind))),
            ("watch", ("ClusterRole", "watch", kind.value, partial(Calls.watch, kind=kind))),
        )
    },
    "get pods whole": ("ClusterRole", "get", "pods", Calls.get_manifest),
    "create pods": ("ClusterRole", "create", "pods", Calls.create_pod),
    "get priorityclasses": ("ClusterRole", "get", "priorityclasses", Calls.ensure_priority_class),
    "create priorityclasses": ("ClusterRole", "create", "priorityclasses", Calls.ensure_priority_class),
    "create bindings": ("ClusterRole", "create", "pods/binding", Calls.bind),
    "create evictions": ("ClusterRole", "create", "pods/eviction", Calls.evict),
    "delete pods": ("ClusterRole", "delete", "pods", Calls.delete_pod),
    "patch pods' status": ("ClusterRole", "patch", "pods/status", Calls.patch_pod_condition),
    "patch pods' status, to nominate": ("ClusterRole", "patch", "pods/status", Calls.nominate),
    "get persistentvolumes": ("ClusterRole", "get", "persistentvolumes", Calls.get_volume),
    "get persistentvolumeclaims": ("ClusterRole", "get", "persistentvolumeclaims", Calls.get_claim),
    "patch persistentvolumes": ("ClusterRole", "patch", "persistentvolumes", Calls.give_volume),
    "patch persistentvolumeclaims": ("ClusterRole", "patch", "persistentvolumeclaims", Calls.select_node),
    "get resourceclaims": ("ClusterRole", "get", "resourceclaims", Calls.get_resource_claim),
    "create resourceclaims": ("ClusterRole", "create", "resourceclaims", Calls.create_resource_claim),
    "delete resourceclaims": ("ClusterRole", "delete", "resourceclaims", Calls.delete_resource_claim),
    "patch pods' status, to tell of a claim": (
        "ClusterRole",
        "patch",
        "pods/status",
        Calls.tell_extended_claim,
    ),
    **{
        f"patch {resource}": ("ClusterRole", "patch", resource, Calls.reserve_resource_claim)
        for resource in ("resourceclaims", "resourceclaims/status", "resourceclaims/binding")
    },
    "create events": ("ClusterRole", "create", "events", Calls.post_event),
    "create leases": ("Role", "create", "leases", Calls.create_lease),
    "get leases": ("Role", "get", "leases", Calls.get_lease),
    "update leases": ("Role", "update", "leases", Calls.update_lease),
}


def without(kind: str, verb: str, resource: str) -> Roles:
    """The roles with one verb on one resource taken out."""
    roles = roles_for_berth()
    taken = 0
    for document in roles:
        if document["kind"] != kind:
            continue
        for rule in document["rules"]:
            if resource in rule["resources"] and verb in rule["verbs"]:
                rule["verbs"].remove(verb)
                taken += 1
        document["rules"] = [rule for rule in document["rules"] if rule["verbs"]]
    assert taken == 1
    return roles


def refusal(call: Callable[[Calls], None], calls: Calls) -> ApiError | None:
    try:
        call(calls)
    except ApiError as error:
        if error.status != 403:
            raise
        return error
    return None


def test_the_roles_suffice(site: RealSite, control_plane: ControlPlane) -> None:
    control_plane.apply(roles_for_berth())
    calls = Calls(site)
    for name, (*_, call) in NEEDS.items():
        # The server's authorizer follows changed roles within some milliseconds.
        control_plane.eventually(lambda call=call: refusal(call, calls) is None, f"{name} is allowed")  # type: ignore[misc]


def test_every_verb_of_the_roles_is_needed() -> None:
    granted = {
        (document["kind"], verb, resource)
        for document in roles_for_berth()
        if document["kind"] in ("Role", "ClusterRole")
        for rule in document["rules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
    }
    assert granted == {(kind, verb, resource) for kind, verb, resource, _ in NEEDS.values()}


@pytest.mark.parametrize("name", NEEDS)
def test_what_is_missing_is_named(site: RealSite, control_plane: ControlPlane, name: str) -> None:
    kind, verb, resource, call = NEEDS[name]
    control_plane.apply(without(kind, verb, resource))
    calls = Calls(site)
    found: list[ApiError] = []

    def is_refused() -> bool:
        error = refusal(call, calls)
        if error is not None and f"cannot {verb}" in error.message:
            found.append(error)
        return bool(found)

    control_plane.eventually(is_refused, f"{name} is refused")
    assert f'cannot {verb} resource "{resource}"' in found[0].message
    assert found[0].message.endswith("grant it to our service account, as deploy/rbac.yaml does")
    control_plane.apply(roles_for_berth())
    control_plane.eventually(lambda: refusal(call, calls) is None, f"{name} is allowed again")


def test_other_leases_than_ours_are_out_of_reach(site: RealSite, control_plane: ControlPlane) -> None:
    control_plane.eventually(lambda: refusal(Calls.get_lease, Calls(site)) is None, "our lease can be read")
    with pytest.raises(ApiError, match='cannot get resource "leases"'):
        site.cluster.get_lease(SYSTEM, "kube-controller-manager")
