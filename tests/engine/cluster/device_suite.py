"""What every implementation of the cluster protocol must do with devices, and claims of them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from engine.cluster.errors import ApiError
from engine.cluster.protocol import DEVICES, Change, Cluster, ResourceKind
from engine.constraints.extended_resources import claim_for
from engine.model.device_uses import DeviceMapping
from engine.model.devices import (
    AllocatedDevice,
    AllocatedDevices,
    Allocation,
    ClaimedDevices,
    DeviceRequest,
    DeviceRequirements,
    ResourceClaim,
)
from engine.model.objects import NodeSelector, NodeSelectorTerm, PodKey, Requirement

if TYPE_CHECKING:
    from tests.engine.cluster.protocol_suite import Manifest, Site


def resource_claim_manifest(name: str, **metadata: Any) -> Manifest:
    exactly = {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 2}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": name, "namespace": "default", **metadata},
        "spec": {"devices": {"requests": [{"name": "gpus", "exactly": exactly}]}},
    }


def device_class_manifest(name: str) -> Manifest:
    expression = 'device.driver == "gpu.example.com"'
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceClass",
        "metadata": {"name": name},
        "spec": {"selectors": [{"cel": {"expression": expression}}]},
    }


def slice_manifest(name: str) -> Manifest:
    device = {
        "name": "gpu-0",
        "attributes": {
            "model": {"string": "a100"},
            "index": {"int": 3},
            "spare": {"bool": False},
            "firmware": {"version": "1.2.3"},
        },
        "capacity": {"memory": {"value": "40Gi"}},
    }
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": name},
        "spec": {
            "driver": "gpu.example.com",
            "nodeName": "n1",
            "pool": {"name": name, "generation": 2, "resourceSliceCount": 1},
            "devices": [device],
        },
    }


def special_claim(pod: PodKey) -> ResourceClaim:
    """A claim for a pod's extended resources, as a scheduler makes it."""
    request = DeviceRequest("gpus", DeviceRequirements(device_class_name="gpu", count=2))
    return claim_for(pod, ClaimedDevices((request,)))


def asking_manifest(name: str) -> Manifest:
    """A pod that asks for an extended resource."""
    amount = {"example.com/gpu": "1"}
    container = {
        "name": "app",
        "image": "registry.example/app:1",
        "resources": {"requests": amount, "limits": amount},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"schedulerName": "custom-scheduler", "containers": [container]},
    }


def timeless(claim: ResourceClaim) -> Allocation | None:
    """What a claim has, without since when."""
    found = claim.allocation
    return None if found is None else structs.replace(found, allocation_timestamp=None)


MANIFESTS = {
    ResourceKind.DEVICE_CLAIMS: resource_claim_manifest,
    ResourceKind.DEVICE_CLASSES: device_class_manifest,
    ResourceKind.DEVICE_SLICES: slice_manifest,
}


def fields(item: Any) -> object:
    """What has to be told of an object."""
    match type(item).__name__:
        case "ResourceClaim":
            (request,) = item.spec.devices.requests
            return request.name, request.exactly.device_class_name, request.exactly.count, item.allocation
        case "DeviceClass":
            return item.spec.selectors[0].cel.expression
    (device,) = item.spec.devices
    return (
        item.spec.node_name,
        item.spec.pool.generation,
        item.spec.pool.resource_slice_count,
        {name: attribute.value for name, attribute in device.attributes.items()},
        device.capacity["memory"].value,
    )


VALUES: dict[ResourceKind, object] = {
    ResourceKind.DEVICE_CLAIMS: ("gpus", "gpu", 2, None),
    ResourceKind.DEVICE_CLASSES: 'device.driver == "gpu.example.com"',
    ResourceKind.DEVICE_SLICES: (
        "n1",
        2,
        1,
        {
            "model": ("string", "a100"),
            "index": ("int", 3),
            "spare": ("bool", False),
            "firmware": ("version", "1.2.3"),
        },
        "40Gi",
    ),
}
ALLOCATION = Allocation(
    AllocatedDevices(
        tuple(AllocatedDevice("gpus", "gpu.example.com", "n1", f"gpu-{index}") for index in range(2))
    ),
    NodeSelector((NodeSelectorTerm(match_fields=(Requirement("metadata.name", "In", ("n1",)),)),)),
)


def user(name: str = "p") -> PodKey:
    return PodKey("default", name, str(uuid.uuid4()))


class DeviceProtocol:
    """The part of the suite that is about devices."""

    @pytest.mark.parametrize("kind", DEVICES, ids=lambda kind: kind.value)
    def test_devices_are_listed_and_watched_with_their_fields(
        self, site: Site, cluster: Cluster, kind: ResourceKind
    ) -> None:
        version = cluster.list(kind).resource_version
        name = f"devices-{uuid.uuid4().hex[:10]}"
        site.create_storage(MANIFESTS[kind](name))
        events = [
            event
            for event in cluster.watch(kind, version, 1.0)
            if event.object is not None and event.object.metadata.name == name
        ]
        assert [event.change for event in events][:1] == [Change.ADDED]
        (found,) = [item for item in cluster.list(kind).items if item.metadata.name == name]
        assert fields(found) == VALUES[kind]
        assert fields(events[0].object) == VALUES[kind]

    @pytest.fixture
    def device_claim(self, site: Site, cluster: Cluster) -> ResourceClaim:
        name = f"claim-{uuid.uuid4().hex[:10]}"
        site.create_storage(resource_claim_manifest(name))
        found = cluster.get_resource_claim("default", name)
        assert found is not None
        return found

    def test_a_claim_of_devices_that_is_not_there_is_none(self, cluster: Cluster) -> None:
        assert cluster.get_resource_claim("default", f"none-{uuid.uuid4().hex}") is None

    def test_a_claim_gets_devices_and_a_pod(self, cluster: Cluster, device_claim: ResourceClaim) -> None:
        pod = user()
        given = cluster.reserve_resource_claim(device_claim, pod, ALLOCATION)
        assert timeless(given) == ALLOCATION
        assert given.allocation is not None
        assert given.allocation.allocation_timestamp is not None
        assert given.reserved(pod)
        now = cluster.get_resource_claim(*device_claim.name)
        assert now is not None
        assert (now.allocation, now.status.reserved_for, now.spec) == (
            given.allocation,
            given.status.reserved_for,
            device_claim.spec,
        )

    def test_a_claim_that_has_devices_gets_one_more_pod(
        self, cluster: Cluster, device_claim: ResourceClaim
    ) -> None:
        one, other = user("p"), user("q")
        given = cluster.reserve_resource_claim(device_claim, one, ALLOCATION)
        again = cluster.reserve_resource_claim(given, other, None)
        assert again.allocation == given.allocation
        assert {consumer.uid for consumer in again.status.reserved_for or ()} == {one.uid, other.uid}

    def test_a_claim_that_changed_meanwhile_gets_nothing(
        self, cluster: Cluster, device_claim: ResourceClaim
    ) -> None:
        cluster.reserve_resource_claim(device_claim, user(), ALLOCATION)
        with pytest.raises(ApiError) as refusal:
            cluster.reserve_resource_claim(device_claim, user(), ALLOCATION)
        assert refusal.value.status == 409

    def test_a_claim_of_another_uid_gets_nothing(self, cluster: Cluster, device_claim: ResourceClaim) -> None:
        metadata = structs.replace(device_claim.metadata, uid=str(uuid.uuid4()))
        with pytest.raises(ApiError) as refusal:
            cluster.reserve_resource_claim(
                structs.replace(device_claim, metadata=metadata), user(), ALLOCATION
            )
        assert refusal.value.status == 409

    def test_a_claim_that_is_gone_gets_nothing(
        self, site: Site, cluster: Cluster, device_claim: ResourceClaim
    ) -> None:
        site.delete_storage(resource_claim_manifest(device_claim.metadata.name))
        with pytest.raises(ApiError) as refusal:
            cluster.reserve_resource_claim(device_claim, user(), ALLOCATION)
        assert refusal.value.status == 404

    def test_devices_are_taken_away_again(self, cluster: Cluster, device_claim: ResourceClaim) -> None:
        given = cluster.reserve_resource_claim(device_claim, user(), ALLOCATION)
        released = cluster.release_resource_claim(given)
        assert (released.allocation, released.status.reserved_for or ()) == (None, ())
        with pytest.raises(ApiError) as refusal:
            cluster.release_resource_claim(given)
        assert refusal.value.status == 409

    def test_a_claim_is_made_for_a_pod_and_deleted_with_all_it_has(
        self, cluster: Cluster, pod: PodKey
    ) -> None:
        given = cluster.create_resource_claim(special_claim(pod))
        assert given.metadata.uid
        assert given.of_extended_resources
        assert given.made_for(pod)
        assert given.spec == special_claim(pod).spec
        with pytest.raises(ApiError) as refusal:
            cluster.create_resource_claim(special_claim(pod))
        assert refusal.value.status == 409
        given = cluster.reserve_resource_claim(given, pod, ALLOCATION)
        cluster.delete_resource_claim(given)
        assert cluster.get_resource_claim(*given.name) is None
        with pytest.raises(ApiError) as refusal:
            cluster.delete_resource_claim(given)
        assert refusal.value.status == 404

    def test_a_pod_says_which_claim_has_its_extended_resources(self, site: Site, cluster: Cluster) -> None:
        pod = site.create_pod(asking_manifest(f"asking-{uuid.uuid4().hex[:10]}"))
        cluster.tell_extended_claim(pod, "its-claim", [DeviceMapping("app", "example.com/gpu", "gpus")])
        found = cluster.get_pod(pod.namespace, pod.name)
        assert found is not None
        told = found.status.extended_resource_claim_status
        assert told is not None
        assert told.resource_claim_name == "its-claim"
        assert [structs.astuple(one) for one in told.request_mappings or ()] == [
            ("app", "example.com/gpu", "gpus")
        ]
        with pytest.raises(ApiError) as refusal:
            cluster.tell_extended_claim(pod._replace(uid=str(uuid.uuid4())), "other", [])
        assert refusal.value.status == 409
