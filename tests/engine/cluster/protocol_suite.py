"""What every implementation of the cluster protocol must do. One class, run on each implementation.

An implementation's test file subclasses `ClusterProtocol` (the name of the subclass begins with ``Test``) and offers
one fixture, ``site``, which yields a `Site`: the cluster to test, and the hands that make and change its objects from
outside, as users and kubelets would. A site may hold other objects too; the tests look at their own only.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest
from msgspec import structs

from engine.cluster.errors import ApiError, Expired
from engine.cluster.protocol import (
    STORAGE,
    Change,
    Cluster,
    ClusterEvent,
    EventType,
    LeaseRecord,
    ResourceKind,
    WatchEvent,
)
from engine.model.objects import Condition, Node, Pod, PodKey
from engine.model.storage import BOUND_BY_CONTROLLER, PersistentVolume, PersistentVolumeClaim
from tests.engine.cluster.device_suite import DeviceProtocol
from tests.engine.cluster.making_suite import MakingProtocol

Manifest = dict[str, Any]
MOMENT = datetime(2031, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)


class Site(Protocol):
    """A cluster under test and the hands that change it from outside. Changes are visible when a method returns."""

    @property
    def cluster(self) -> Cluster: ...

    def create_node(self, manifest: Manifest) -> None:
        """Create a core/v1 Node from its manifest."""
        ...

    def label_node(self, name: str, labels: dict[str, str]) -> None:
        """Set labels of a node."""
        ...

    def delete_node(self, name: str) -> None:
        """Delete a node."""
        ...

    def create_pod(self, manifest: Manifest) -> PodKey:
        """Create a core/v1 Pod from its manifest; its key, with the uid that it got."""
        ...

    def delete_pod(self, key: PodKey) -> None:
        """Delete a pod at once, without grace."""
        ...

    def finish_pod(self, key: PodKey) -> None:
        """Let the pod succeed: its phase becomes Succeeded."""
        ...

    def create_storage(self, manifest: Manifest) -> None:
        """Create a claim, a volume, or anything else of storage, from its manifest."""
        ...

    def delete_storage(self, manifest: Manifest) -> None:
        """Delete it at once."""
        ...


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def node_manifest(name: str, labels: dict[str, str] | None = None) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}},
    }


def pod_manifest(name: str, **spec: Any) -> Manifest:
    container = {
        "name": "app",
        "image": "registry.example/app:1",
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {"schedulerName": "custom-scheduler", "containers": [container], **spec},
    }


def claim_manifest(name: str, storage_class: str = "late") -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


def volume_manifest(name: str, storage_class: str = "late") -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "labels": {"tier": "fast"}},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "capacity": {"storage": "5Gi"},
            "csi": {"driver": "csi.example.com", "volumeHandle": name},
            "nodeAffinity": {
                "required": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}
                    ]
                }
            },
        },
    }


STORAGE_MANIFESTS: dict[ResourceKind, Callable[[str], Manifest]] = {
    ResourceKind.CLAIMS: claim_manifest,
    ResourceKind.VOLUMES: volume_manifest,
    ResourceKind.CLASSES: lambda name: {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": "csi.example.com",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": ["a"]}]}],
    },
    ResourceKind.CSI_NODES: lambda name: {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSINode",
        "metadata": {"name": name},
        "spec": {"drivers": [{"name": "csi.example.com", "nodeID": "1", "allocatable": {"count": 7}}]},
    },
    ResourceKind.CSI_DRIVERS: lambda name: {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIDriver",
        "metadata": {"name": name},
        "spec": {"storageCapacity": True},
    },
    ResourceKind.CSI_CAPACITIES: lambda name: {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIStorageCapacity",
        "metadata": {"name": name, "namespace": "default"},
        "storageClassName": "late",
        "nodeTopology": {"matchLabels": {"zone": "a"}},
        "capacity": "10Gi",
    },
    ResourceKind.ATTACHMENTS: lambda name: {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "VolumeAttachment",
        "metadata": {"name": name},
        "spec": {"attacher": "csi.example.com", "nodeName": "n", "source": {"persistentVolumeName": "v"}},
    },
}
STORAGE_FIELDS: dict[ResourceKind, Callable[[Any], object]] = {
    ResourceKind.CLAIMS: lambda one: (one.storage_class, one.size, one.spec.access_modes, one.status.phase),
    ResourceKind.VOLUMES: lambda one: (
        one.storage_class,
        one.spec.capacity,
        one.spec.csi.volume_handle == one.metadata.name,
        one.spec.node_affinity.required.node_selector_terms[0].match_expressions[0].values,
        one.metadata.labels,
    ),
    ResourceKind.CLASSES: lambda one: (
        one.provisioner,
        one.delayed,
        one.allowed_topologies[0].match_label_expressions[0].values,
    ),
    ResourceKind.CSI_NODES: lambda one: (one.spec.drivers[0].name, one.spec.drivers[0].allocatable.count),
    ResourceKind.CSI_DRIVERS: lambda one: one.spec.storage_capacity,
    ResourceKind.CSI_CAPACITIES: lambda one: (
        one.storage_class_name,
        one.capacity,
        one.node_topology.match_labels,
    ),
    ResourceKind.ATTACHMENTS: lambda one: (
        one.spec.attacher,
        one.spec.node_name,
        one.spec.source.persistent_volume_name,
    ),
}
STORAGE_VALUES: dict[ResourceKind, object] = {
    ResourceKind.CLAIMS: ("late", "1Gi", ("ReadWriteOnce",), "Pending"),
    ResourceKind.VOLUMES: ("late", {"storage": "5Gi"}, True, ("a", "b"), {"tier": "fast"}),
    ResourceKind.CLASSES: ("csi.example.com", True, ("a",)),
    ResourceKind.CSI_NODES: ("csi.example.com", 7),
    ResourceKind.CSI_DRIVERS: True,
    ResourceKind.CSI_CAPACITIES: ("late", "10Gi", {"zone": "a"}),
    ResourceKind.ATTACHMENTS: ("csi.example.com", "n", "v"),
}


def named(objects: Iterable[object], name: str) -> list[Any]:
    return [item for item in objects if isinstance(item, Pod | Node) and item.metadata.name == name]


class ClusterProtocol(MakingProtocol, DeviceProtocol):
    """The tests. Subclass it and give it a ``site`` fixture."""

    @pytest.fixture
    def cluster(self, site: Site) -> Cluster:
        return site.cluster

    @pytest.fixture
    def node(self, site: Site) -> str:
        name = unique("node")
        site.create_node(node_manifest(name, {"zone": "a"}))
        return name

    @pytest.fixture
    def pod(self, site: Site) -> PodKey:
        return site.create_pod(pod_manifest(unique("pod")))

    def changes(self, cluster: Cluster, kind: ResourceKind, version: str, name: str) -> list[WatchEvent]:
        return [
            event
            for event in cluster.watch(kind, version, 1.0)
            if event.object and named([event.object], name)
        ]

    # Lists and watches

    def test_lists_a_node_with_its_fields(self, cluster: Cluster, node: str) -> None:
        (found,) = named(cluster.list(ResourceKind.NODES).items, node)
        assert found.metadata.labels["zone"] == "a"
        assert (found.status.allocatable["cpu"], found.status.allocatable["memory"]) == ("4", "8Gi")

    def test_lists_a_pod_with_its_fields(self, cluster: Cluster, pod: PodKey) -> None:
        (found,) = named(cluster.list(ResourceKind.PODS).items, pod.name)
        assert found.key == pod
        assert found.spec.scheduler_name == "custom-scheduler"
        assert found.spec.containers[0].resources.requests == {"cpu": "100m", "memory": "64Mi"}
        assert found.spec.node_name == ""
        assert found.status.phase == "Pending"

    def test_finished_pods_are_not_listed(self, site: Site, cluster: Cluster, pod: PodKey) -> None:
        site.finish_pod(pod)
        assert named(cluster.list(ResourceKind.PODS).items, pod.name) == []

    def test_watch_tells_what_happened_since_the_list_in_order(self, site: Site, cluster: Cluster) -> None:
        version = cluster.list(ResourceKind.NODES).resource_version
        name = unique("node")
        site.create_node(node_manifest(name))
        site.label_node(name, {"zone": "b"})
        site.delete_node(name)
        events = self.changes(cluster, ResourceKind.NODES, version, name)
        # A status that is set apart from the node, as real ones are, is one more change.
        assert [event.change for event in events if event.change is not Change.MODIFIED] == [
            Change.ADDED,
            Change.DELETED,
        ]
        assert events[-1].change is Change.DELETED
        modified = [event.object for event in events if event.change is Change.MODIFIED]
        assert any(item is not None and (item.metadata.labels or {}).get("zone") == "b" for item in modified)

    @pytest.mark.parametrize("kind", STORAGE, ids=lambda kind: kind.value)
    def test_storage_is_listed_and_watched_with_its_fields(
        self, site: Site, cluster: Cluster, kind: ResourceKind
    ) -> None:
        version = cluster.list(kind).resource_version
        name = unique("storage")
        site.create_storage(STORAGE_MANIFESTS[kind](name))
        events = [
            event
            for event in cluster.watch(kind, version, 1.0)
            if event.object is not None and event.object.metadata.name == name
        ]
        assert [event.change for event in events][:1] == [Change.ADDED]
        (found,) = [item for item in cluster.list(kind).items if item.metadata.name == name]
        assert STORAGE_FIELDS[kind](found) == STORAGE_VALUES[kind]
        assert STORAGE_FIELDS[kind](events[0].object) == STORAGE_VALUES[kind]

    # Volumes

    @pytest.fixture
    def claim(self, site: Site, cluster: Cluster) -> PersistentVolumeClaim:
        name = unique("claim")
        site.create_storage(claim_manifest(name, unique("late")))
        found = cluster.get_claim("default", name)
        assert found is not None
        return found

    @pytest.fixture
    def volume(self, site: Site, cluster: Cluster) -> PersistentVolume:
        name = unique("volume")
        site.create_storage(volume_manifest(name, unique("late")))
        found = cluster.get_volume(name)
        assert found is not None
        return found

    def test_what_is_not_there_is_none(self, cluster: Cluster) -> None:
        assert cluster.get_claim("default", unique("none")) is None
        assert cluster.get_volume(unique("none")) is None

    def test_a_volume_is_given_to_a_claim(
        self, cluster: Cluster, claim: PersistentVolumeClaim, volume: PersistentVolume
    ) -> None:
        given = cluster.give_volume(volume, claim)
        assert given.is_for(claim)
        assert given.spec.claim_ref is not None
        assert given.spec.claim_ref.uid == claim.metadata.uid
        assert (given.metadata.annotations or {}).get(BOUND_BY_CONTROLLER) == "yes"
        now = cluster.get_volume(volume.metadata.name)
        assert now is not None
        assert now.is_for(claim)
        assert (now.spec.capacity, now.metadata.labels) == (volume.spec.capacity, volume.metadata.labels)

    def test_a_volume_that_changed_meanwhile_is_not_given(
        self, cluster: Cluster, claim: PersistentVolumeClaim, volume: PersistentVolume
    ) -> None:
        cluster.give_volume(volume, claim)
        with pytest.raises(ApiError) as refusal:
            cluster.give_volume(volume, claim)
        assert refusal.value.status == 409

    def test_a_volume_of_another_uid_is_not_given(
        self, cluster: Cluster, claim: PersistentVolumeClaim, volume: PersistentVolume
    ) -> None:
        other = structs.replace(volume, metadata=structs.replace(volume.metadata, uid=str(uuid.uuid4())))
        with pytest.raises(ApiError) as refusal:
            cluster.give_volume(other, claim)
        assert refusal.value.status == 409

    def test_a_volume_that_is_gone_is_not_given(
        self, site: Site, cluster: Cluster, claim: PersistentVolumeClaim, volume: PersistentVolume
    ) -> None:
        site.delete_storage(volume_manifest(volume.metadata.name))
        with pytest.raises(ApiError) as refusal:
            cluster.give_volume(volume, claim)
        assert refusal.value.status == 404

    def test_a_node_is_selected_for_a_claim(self, cluster: Cluster, claim: PersistentVolumeClaim) -> None:
        selected = cluster.select_node(claim, "n1")
        assert selected.selected_node == "n1"
        now = cluster.get_claim(*claim.name)
        assert now is not None
        assert now.selected_node == "n1"
        assert (now.spec.access_modes, now.size) == (claim.spec.access_modes, claim.size)

    def test_a_claim_that_changed_meanwhile_gets_no_node(
        self, cluster: Cluster, claim: PersistentVolumeClaim
    ) -> None:
        cluster.select_node(claim, "n1")
        with pytest.raises(ApiError) as refusal:
            cluster.select_node(claim, "n2")
        assert refusal.value.status == 409

    def test_watch_goes_on_where_the_last_one_ended(self, site: Site, cluster: Cluster) -> None:
        version = cluster.list(ResourceKind.PODS).resource_version
        first = site.create_pod(pod_manifest(unique("pod")))
        events = list(cluster.watch(ResourceKind.PODS, version, 1.0))
        assert named([event.object for event in events], first.name)
        second = site.create_pod(pod_manifest(unique("pod")))
        later = list(cluster.watch(ResourceKind.PODS, events[-1].resource_version, 1.0))
        assert named([event.object for event in later], second.name)
        assert not named([event.object for event in later], first.name)

    def test_a_bookmark_has_no_object(self, cluster: Cluster, node: str) -> None:
        version = cluster.list(ResourceKind.NODES).resource_version
        for event in cluster.watch(ResourceKind.NODES, version, 1.0):
            assert (event.object is None) == (event.change is Change.BOOKMARK)
            assert event.resource_version

    def test_a_pod_that_finishes_is_told_as_deleted(self, site: Site, cluster: Cluster, pod: PodKey) -> None:
        version = cluster.list(ResourceKind.PODS).resource_version
        site.finish_pod(pod)
        events = self.changes(cluster, ResourceKind.PODS, version, pod.name)
        assert [event.change for event in events] == [Change.DELETED]

    def test_a_version_that_is_too_old_is_expired(self, cluster: Cluster, site: Site) -> None:
        expired = self.expire(site)
        with pytest.raises(Expired):
            list(cluster.watch(ResourceKind.PODS, expired, 1.0))

    def expire(self, site: Site) -> str:
        """A version that the cluster has forgotten; how to get one is the implementation's own affair."""
        return "1"

    def test_get_pod(self, cluster: Cluster, pod: PodKey) -> None:
        found = cluster.get_pod(pod.namespace, pod.name)
        assert found is not None
        assert found.key == pod

    def test_get_pod_where_there_is_none(self, cluster: Cluster) -> None:
        assert cluster.get_pod("default", unique("nothing")) is None

    # Binding

    def test_bind_sets_the_node_and_the_condition(self, cluster: Cluster, node: str, pod: PodKey) -> None:
        version = cluster.list(ResourceKind.PODS).resource_version
        cluster.bind(pod, node)
        found = cluster.get_pod(pod.namespace, pod.name)
        assert found is not None
        assert found.spec.node_name == node
        scheduled = found.condition("PodScheduled")
        assert scheduled is not None
        assert scheduled.status == "True"
        events = self.changes(cluster, ResourceKind.PODS, version, pod.name)
        assert events
        assert isinstance(events[0].object, Pod)
        assert events[0].object.spec.node_name == node

    @pytest.mark.parametrize("again", [True, False], ids=["to the same node", "to another node"])
    def test_a_bound_pod_is_not_bound_again(
        self, site: Site, cluster: Cluster, node: str, pod: PodKey, again: bool
    ) -> None:
        other = unique("node")
        site.create_node(node_manifest(other))
        cluster.bind(pod, node)
        assert self.refused(lambda: cluster.bind(pod, node if again else other)).status == 409
        found = cluster.get_pod(pod.namespace, pod.name)
        assert found is not None
        assert found.spec.node_name == node

    def test_the_uid_is_a_precondition_of_binding(self, site: Site, cluster: Cluster, node: str) -> None:
        name = unique("pod")
        old = site.create_pod(pod_manifest(name))
        site.delete_pod(old)
        new = site.create_pod(pod_manifest(name))
        assert self.refused(lambda: cluster.bind(old, node)).status == 409
        found = cluster.get_pod(new.namespace, name)
        assert found is not None
        assert found.spec.node_name == ""

    def test_a_gated_pod_is_not_bound(self, site: Site, cluster: Cluster, node: str) -> None:
        gated = site.create_pod(pod_manifest(unique("pod"), schedulingGates=[{"name": "example.org/wait"}]))
        assert self.refused(lambda: cluster.bind(gated, node)).status == 409

    def test_a_pod_that_is_gone_is_not_bound(
        self, site: Site, cluster: Cluster, node: str, pod: PodKey
    ) -> None:
        site.delete_pod(pod)
        assert self.refused(lambda: cluster.bind(pod, node)).status == 404

    # Eviction

    def test_evict_takes_the_pod_away(self, cluster: Cluster, pod: PodKey) -> None:
        cluster.evict(pod, grace_seconds=0)
        assert cluster.get_pod(pod.namespace, pod.name) is None

    def test_the_uid_is_a_precondition_of_eviction(self, cluster: Cluster, pod: PodKey) -> None:
        stranger = pod._replace(uid=str(uuid.uuid4()))
        assert self.refused(lambda: cluster.evict(stranger, grace_seconds=0)).status == 409
        assert cluster.get_pod(pod.namespace, pod.name) is not None

    def test_a_pod_that_is_gone_is_not_evicted(self, site: Site, cluster: Cluster, pod: PodKey) -> None:
        site.delete_pod(pod)
        assert self.refused(lambda: cluster.evict(pod)).status == 404

    # Deletion and nomination

    def test_delete_takes_a_pod_that_runs_nowhere_away(self, cluster: Cluster, pod: PodKey) -> None:
        cluster.delete_pod(pod)
        assert cluster.get_pod(pod.namespace, pod.name) is None
        assert self.refused(lambda: cluster.delete_pod(pod)).status == 404

    def test_delete_gives_a_bound_pod_its_grace_period(
        self, site: Site, cluster: Cluster, node: str, pod: PodKey
    ) -> None:
        cluster.bind(pod, node)
        cluster.delete_pod(pod)
        found = cluster.get_pod(pod.namespace, pod.name)
        assert found is not None
        assert found.metadata.deletion_timestamp is not None
        site.delete_pod(pod)

    def test_the_uid_is_a_precondition_of_deletion(self, cluster: Cluster, pod: PodKey) -> None:
        stranger = pod._replace(uid=str(uuid.uuid4()))
        assert self.refused(lambda: cluster.delete_pod(stranger)).status == 409
        assert cluster.get_pod(pod.namespace, pod.name) is not None

    def test_nominate_promises_a_node_and_takes_the_promise_back(self, cluster: Cluster, pod: PodKey) -> None:
        for node in ("somewhere", "elsewhere", ""):
            cluster.nominate(pod, node)
            found = cluster.get_pod(pod.namespace, pod.name)
            assert found is not None
            assert found.status.nominated_node_name == node

    def test_the_uid_is_a_precondition_of_nomination(self, site: Site, cluster: Cluster, pod: PodKey) -> None:
        stranger = pod._replace(uid=str(uuid.uuid4()))
        assert self.refused(lambda: cluster.nominate(stranger, "somewhere")).status == 409
        site.delete_pod(pod)
        assert self.refused(lambda: cluster.nominate(pod, "somewhere")).status == 404

    # Conditions and events

    def test_patch_sets_one_condition_and_keeps_the_others(self, cluster: Cluster, pod: PodKey) -> None:
        cluster.patch_pod_condition(pod, Condition("example.org/other", "Unknown", "Because", "kept"))
        unschedulable = Condition("PodScheduled", "False", "Unschedulable", "0/1 nodes: no room", MOMENT)
        cluster.patch_pod_condition(pod, unschedulable)
        found = cluster.get_pod(pod.namespace, pod.name)
        assert found is not None
        condition = found.condition("PodScheduled")
        assert condition is not None
        assert (condition.status, condition.reason, condition.message) == (
            "False",
            "Unschedulable",
            "0/1 nodes: no room",
        )
        other = found.condition("example.org/other")
        assert other is not None
        assert (other.status, other.message) == ("Unknown", "kept")

    def test_the_uid_is_a_precondition_of_the_patch(self, cluster: Cluster, pod: PodKey) -> None:
        stranger = pod._replace(uid=str(uuid.uuid4()))
        condition = Condition("PodScheduled", "False", "Unschedulable", "not for you")
        assert self.refused(lambda: cluster.patch_pod_condition(stranger, condition)).status == 409
        found = cluster.get_pod(pod.namespace, pod.name)
        assert found is not None
        told = found.condition("PodScheduled")
        assert told is None or told.message != "not for you"

    def test_events_about_pods_and_nodes_are_accepted(self, cluster: Cluster, pod: PodKey, node: str) -> None:
        about_pod = ClusterEvent(pod, EventType.NORMAL, "Scheduled", "Binding", "assigned", MOMENT)
        about_node = ClusterEvent(node, EventType.WARNING, "Unreachable", "Healing", "no heartbeat", MOMENT)
        cluster.post_event(about_pod)
        cluster.post_event(about_node)

    def test_an_event_may_be_posted_again_and_be_long(self, cluster: Cluster, pod: PodKey) -> None:
        event = ClusterEvent(pod, EventType.WARNING, "FailedScheduling", "Scheduling", "ä" * 3000, MOMENT)
        cluster.post_event(event)
        cluster.post_event(event)

    # Leases

    def test_a_lease_is_made_read_and_renewed(self, cluster: Cluster) -> None:
        name = unique("lease")
        assert cluster.get_lease("kube-system", name) is None
        made = cluster.put_lease("kube-system", name, LeaseRecord("us", 15, MOMENT, MOMENT))
        assert made.version
        assert cluster.get_lease("kube-system", name) == made
        later = replace(made, renew_time=MOMENT + timedelta(seconds=5), transitions=1)
        renewed = cluster.put_lease("kube-system", name, later)
        assert renewed.version != made.version
        assert replace(renewed, version=made.version) == later
        assert cluster.get_lease("kube-system", name) == renewed

    def test_the_faster_one_wins_a_lease(self, cluster: Cluster) -> None:
        name = unique("lease")
        record = LeaseRecord("us", 15, MOMENT, MOMENT)
        made = cluster.put_lease("kube-system", name, record)
        assert self.refused(lambda: cluster.put_lease("kube-system", name, record)).status == 409
        cluster.put_lease("kube-system", name, replace(made, holder="them"))
        assert self.refused(lambda: cluster.put_lease("kube-system", name, made)).status == 409
        found = cluster.get_lease("kube-system", name)
        assert found is not None
        assert found.holder == "them"

    def refused(self, action: Callable[[], object]) -> ApiError:
        """The refusal that the action is answered with."""
        with pytest.raises(ApiError) as caught:
            action()
        return caught.value
