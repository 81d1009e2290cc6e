"""What every implementation of the cluster protocol must do with pods that are made, read whole, and taken away."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, cast

import pytest

from engine.cluster.errors import ApiError
from engine.cluster.protocol import Change, Cluster, ResourceKind
from engine.model.objects import OwnerReference, PodKey

if TYPE_CHECKING:
    from tests.engine.cluster.protocol_suite import Manifest, Site


def made_manifest(name: str, **spec: Any) -> Manifest:
    requests = {"requests": {"cpu": "100m", "memory": "64Mi"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": {"app": name},
            "annotations": {"note": "ä"},
        },
        "spec": {
            "schedulerName": "custom-scheduler",
            "containers": [{"name": "app", "image": "registry.example/app:1", "resources": requests}],
            **spec,
        },
    }


def called(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def status_of(manifest: Manifest, cluster: Cluster) -> int:
    with pytest.raises(ApiError) as caught:
        cluster.create_pod(manifest)
    return caught.value.status


class MakingProtocol:
    """The tests of making; `ClusterProtocol` has its fixtures."""

    # Creation

    def test_a_pod_is_made_of_its_manifest(self, cluster: Cluster) -> None:
        name = called("made")
        version = cluster.list(ResourceKind.PODS).resource_version
        made = cluster.create_pod(made_manifest(name))
        assert made.key == PodKey("default", name, made.metadata.uid)
        assert made.metadata.uid
        assert made.metadata.annotations == {"note": "ä"}
        assert (made.spec.scheduler_name, made.spec.node_name) == ("custom-scheduler", "")
        assert made.status.phase == "Pending"
        assert cluster.get_pod("default", name) == made
        events = [e for e in cluster.watch(ResourceKind.PODS, version, 1.0) if e.object and e.object == made]
        assert [event.change for event in events] == [Change.ADDED]

    def test_a_pod_is_made_on_its_node_and_owned_by_it(self, cluster: Cluster, node: str) -> None:
        (item,) = (n for n in cluster.list(ResourceKind.NODES).items if n.metadata.name == node)
        manifest = made_manifest(called("made"), nodeName=node, terminationGracePeriodSeconds=0)
        owner = {"apiVersion": "v1", "kind": "Node", "name": node, "uid": item.metadata.uid}
        manifest["metadata"]["ownerReferences"] = [{**owner, "controller": True, "blockOwnerDeletion": False}]
        made = cluster.create_pod(manifest)
        assert made.spec.node_name == node
        (reference,) = made.metadata.owner_references
        assert reference == OwnerReference("Node", node, item.metadata.uid, True, "v1")

    def test_a_pod_without_a_namespace_is_made_in_the_default_one(self, cluster: Cluster) -> None:
        manifest = made_manifest(called("made"))
        del manifest["metadata"]["namespace"], manifest["apiVersion"], manifest["kind"]
        assert cluster.create_pod(manifest).metadata.namespace == "default"

    def test_what_the_server_decides_is_not_taken_from_a_manifest(self, cluster: Cluster) -> None:
        manifest = made_manifest(called("made"))
        uid = str(uuid.uuid4())
        manifest["metadata"] |= {"uid": uid, "creationTimestamp": "2001-01-01T00:00:00Z"}
        manifest["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        made = cluster.create_pod(manifest)
        assert made.metadata.uid != uid
        assert made.metadata.creation_timestamp is not None
        assert made.metadata.creation_timestamp.year > 2001
        assert made.status.phase == "Pending"
        assert made.condition("Ready") is None

    def test_a_name_that_is_taken(self, site: Site, cluster: Cluster) -> None:
        manifest = made_manifest(called("made"))
        first = cluster.create_pod(manifest)
        assert status_of(manifest, cluster) == 409
        site.delete_pod(first.key)
        assert cluster.create_pod(manifest).metadata.uid != first.metadata.uid

    @pytest.mark.parametrize(
        ("change", "status"),
        [
            ({"spec": {"containers": []}}, 422),
            ({"spec": {"nodeName": "n", "schedulingGates": [{"name": "example.org/wait"}]}}, 422),
            ({"spec": {"containers": "none"}}, 400),
            ({"spec": {"priorityClassName": "nobody-made-it"}}, 403),
            ({"metadata": {"name": ""}}, 422),
            ({"metadata": {"resourceVersion": "7"}}, 500),
            ({"kind": "Service"}, 400),
        ],
        ids=[
            "no containers",
            "gated on a node",
            "wrong type",
            "no class",
            "no name",
            "a version",
            "another kind",
        ],
    )
    def test_a_manifest_that_is_refused(self, cluster: Cluster, change: Manifest, status: int) -> None:
        manifest = made_manifest(called("made"))
        for field, value in change.items():
            manifest[field] = {**manifest[field], **value} if isinstance(value, dict) else value
        before = cluster.list(ResourceKind.PODS).items
        assert status_of(manifest, cluster) == status
        assert len(cluster.list(ResourceKind.PODS).items) == len(before)

    # Reading whole

    def test_a_manifest_is_the_pod_as_json(self, cluster: Cluster) -> None:
        name = called("made")
        made = cluster.create_pod(made_manifest(name, restartPolicy="Never", terminationGracePeriodSeconds=7))
        found = cluster.get_manifest("default", name)
        assert found is not None
        assert (found["apiVersion"], found["kind"]) == ("v1", "Pod")
        metadata, spec = cast("Manifest", found["metadata"]), cast("Manifest", found["spec"])
        assert metadata["uid"] == made.metadata.uid
        assert metadata["resourceVersion"] == made.metadata.resource_version
        assert (spec["restartPolicy"], spec["terminationGracePeriodSeconds"]) == ("Never", 7)
        assert spec["containers"][0]["image"] == "registry.example/app:1"
        assert json.loads(json.dumps(found)) == found
        assert cluster.get_manifest("default", called("nobody")) is None

    # Deletion at once

    def test_a_pod_on_a_node_is_deleted_at_once(self, cluster: Cluster, node: str, pod: PodKey) -> None:
        cluster.bind(pod, node)
        cluster.delete_pod(pod)
        assert cluster.get_pod(pod.namespace, pod.name) is not None
        cluster.delete_pod(pod, 0)
        assert cluster.get_pod(pod.namespace, pod.name) is None

    def test_a_pod_is_deleted_with_another_grace_period(
        self, cluster: Cluster, node: str, pod: PodKey
    ) -> None:
        cluster.bind(pod, node)
        cluster.delete_pod(pod)
        first = cluster.get_pod(pod.namespace, pod.name)
        cluster.delete_pod(pod, 2)
        second = cluster.get_pod(pod.namespace, pod.name)
        assert first is not None
        assert second is not None
        assert first.metadata.deletion_timestamp is not None
        assert second.metadata.deletion_timestamp is not None
        assert second.metadata.deletion_timestamp < first.metadata.deletion_timestamp
        cluster.delete_pod(pod, 0)

    def test_the_uid_is_a_precondition_of_deletion_at_once(self, cluster: Cluster, pod: PodKey) -> None:
        with pytest.raises(ApiError) as caught:
            cluster.delete_pod(pod._replace(uid=str(uuid.uuid4())), 0)
        assert caught.value.status == 409
        assert cluster.get_pod(pod.namespace, pod.name) is not None

    # Priority classes

    def test_a_priority_class_is_made_once(self, cluster: Cluster) -> None:
        name = called("class")
        for description in ("first", "another, which changes nothing"):
            cluster.ensure_priority_class(name, -7, description)
        made = cluster.create_pod(made_manifest(called("made"), priorityClassName=name))
        assert (made.spec.priority, made.spec.preemption_policy) == (-7, "Never")
        other = cluster.create_pod(made_manifest(called("made")))
        assert other.spec.priority == 0, "it has become everybody's default"

    def test_a_priority_class_of_another_value_is_told(self, cluster: Cluster) -> None:
        name = called("class")
        cluster.ensure_priority_class(name, -7, "")
        with pytest.raises(
            ApiError, match=f"{name} is there with the value -7, and not -8.*kubectl delete"
        ) as caught:
            cluster.ensure_priority_class(name, -8, "")
        assert caught.value.status == 409
