"""Volumes with the cluster's own controllers, each scenario for Berth and for kube-scheduler: both do the same."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.controlplane import ApiError, ControlPlane
from tests.controlplane.api import Object
from tests.controlplane.manifests import HOSTNAME, ZONE
from tests.e2e.part import SCHEDULER, Part

pytestmark = pytest.mark.integration

STOCK = "default-scheduler"
STORAGE = "/apis/storage.k8s.io/v1"
SELECTED = "volume.kubernetes.io/selected-node"


@pytest.fixture(scope="module")
def _stock(full_control_plane: ControlPlane) -> Iterator[None]:
    full_control_plane.start_scheduler()
    yield
    full_control_plane.stop_scheduler()


class Storage:
    """A part's volumes, and the scheduler that its pods name."""

    def __init__(self, part: Part, scheduler: str) -> None:
        self.part = part
        self.scheduler = scheduler

    def full(self, name: str) -> str:
        return f"{name}-{self.part.namespace}"

    def storage_class(
        self, name: str, provisioner: str = "kubernetes.io/no-provisioner", **more: Any
    ) -> None:
        self.part.create_global(
            f"{STORAGE}/storageclasses",
            {
                "metadata": {"name": self.full(name)},
                "provisioner": provisioner,
                "volumeBindingMode": "WaitForFirstConsumer",
                **more,
            },
        )

    def volume(
        self,
        name: str,
        node: str = "",
        size: str = "1Gi",
        storage_class: str = "local",
        handle: str = "",
        labels: dict[str, str] | None = None,
        source: Object | None = None,
        **more: Any,
    ) -> None:
        spec: Object = {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": self.full(storage_class),
            **more,
        }
        if handle:
            spec["csi"] = {"driver": self.full("driver"), "volumeHandle": handle}
        else:
            spec |= source or {"hostPath": {"path": "/tmp"}}
        if node:
            term = {"key": HOSTNAME, "operator": "In", "values": [self.part.full(node)]}
            spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [term]}]}}
        self.part.create_global(
            "/api/v1/persistentvolumes",
            {"metadata": {"name": self.full(name), "labels": labels or {}}, "spec": spec},
        )

    def claim(self, name: str, storage_class: str = "local", size: str = "1Gi", **more: Any) -> None:
        spec = {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
            "storageClassName": self.full(storage_class),
            **more,
        }
        self.part.create("persistentvolumeclaims", {"metadata": {"name": name}, "spec": spec})

    def pod(self, name: str, *claims: str, **options: Any) -> None:
        volumes = [{"name": one, "persistentVolumeClaim": {"claimName": one}} for one in claims]
        self.part.add_pod(name, scheduler=self.scheduler, **{"volumes": volumes, **options})

    def bound_to(self, claim: str) -> str:
        """Wait until a claim is bound. Returns its volume, by its short name."""

        def found() -> Object:
            path = f"/api/v1/namespaces/{self.part.namespace}/persistentvolumeclaims/{claim}"
            return self.part.plane.api.get(path)

        self.part.eventually(lambda: found()["status"]["phase"] == "Bound", f"{claim} is bound")
        return str(found()["spec"]["volumeName"]).removesuffix(f"-{self.part.namespace}")


@pytest.fixture(params=[SCHEDULER, STOCK], ids=["berth", "kube-scheduler"])
def storage(part: Part, request: pytest.FixtureRequest, _stock: None) -> Storage:
    return Storage(part, request.param)


class Provisioner:
    """Makes volumes for claims that ask for it, as an external provisioner does, or refuses to a few times.

    Attributes:
        asked: The nodes that were selected, in order.
    """

    def __init__(self, storage: Storage, refusals: int = 0, affine: bool = True) -> None:
        self._storage = storage
        self._plane = storage.part.plane
        self._refusals = refusals
        self._affine = affine
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.asked: list[str] = []

    def __enter__(self) -> Provisioner:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        api = self._plane.api_as(self._plane.admin_token)
        try:
            while not self._stop.wait(0.1):
                path = f"/api/v1/namespaces/{self._storage.part.namespace}/persistentvolumeclaims"
                for claim in api.items(path):
                    node = claim["metadata"].get("annotations", {}).get(SELECTED)
                    if node and not claim["spec"].get("volumeName"):
                        self._serve(api, path, claim, node)
        finally:
            api.close()

    def _serve(self, api: Any, path: str, claim: Object, node: str) -> None:
        if self._refusals:
            self._refusals -= 1
            self.asked.append(node)
            clear = {"metadata": {"annotations": {SELECTED: None}}}
            api.patch(f"{path}/{claim['metadata']['name']}", clear)
            return
        metadata = claim["metadata"]
        spec: Object = {
            "capacity": claim["spec"]["resources"]["requests"],
            "accessModes": claim["spec"]["accessModes"],
            "storageClassName": claim["spec"]["storageClassName"],
            "persistentVolumeReclaimPolicy": "Delete",
            "csi": {"driver": self._storage.full("driver"), "volumeHandle": metadata["uid"]},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
        }
        if self._affine:
            term = {"key": HOSTNAME, "operator": "In", "values": [node]}
            spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [term]}]}}
        notes = {"pv.kubernetes.io/provisioned-by": self._storage.full("driver")}
        body = {"metadata": {"name": f"pvc-{metadata['uid']}", "annotations": notes}, "spec": spec}
        with contextlib.suppress(ApiError):  # it is there already, and about to be bound
            api.post("/api/v1/persistentvolumes", body)
            self.asked.append(node)


def test_the_smallest_volume_that_fits_on_the_only_node_that_has_two(storage: Storage) -> None:
    storage.part.add_nodes("abc")
    storage.storage_class("local")
    storage.volume("a1", "a", "5Gi")
    storage.volume("b1", "b", "1Gi")
    storage.volume("b2", "b", "9Gi")
    storage.volume("b3", "b", "5Gi")
    storage.volume("c1", "c", "1Gi")
    storage.claim("large", size="2Gi")
    storage.claim("small", size="1Gi")
    storage.pod("p", "large", "small")
    assert storage.part.node_of("p") == "b"
    assert (storage.bound_to("large"), storage.bound_to("small")) == ("b3", "b1")


def test_no_volume_fits(storage: Storage) -> None:
    storage.part.add_nodes("ab")
    storage.storage_class("local")
    storage.volume("a1", "a")
    storage.volume("b1", "b", "5Gi", volumeMode="Block")
    storage.claim("data", size="2Gi")
    storage.pod("p", "data")
    storage.part.refused("p", "2 node(s) didn't find available persistent volumes to bind")
    storage.volume("b2", "b", "2Gi")
    assert storage.part.node_of("p") == "b"
    assert storage.bound_to("data") == "b2"


def test_a_bound_volume_keeps_later_pods_to_its_node(storage: Storage) -> None:
    storage.part.add_nodes({"a": {}, "b": {}, "c": {"cpu": "100m"}})
    storage.storage_class("local")
    storage.volume("c1", "c")
    storage.claim("data")
    storage.pod("first", "data")
    assert storage.part.node_of("first") == "c"
    storage.pod("second", "data", cpu="1")
    storage.part.refused("second", "2 node(s) didn't match PersistentVolume's node affinity")
    storage.part.delete_pod("first")
    storage.pod("third", "data")
    assert storage.part.node_of("third") == "c"


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ((), 'persistentvolumeclaim "data" not found'),
        (({"storage_class": "now"},), "pod has unbound immediate PersistentVolumeClaims"),
    ],
    ids=["missing", "immediate"],
)
def test_claims_that_no_node_helps(storage: Storage, claims: tuple[dict[str, str], ...], told: str) -> None:
    storage.part.add_nodes("ab")
    storage.storage_class("now", volumeBindingMode="Immediate")
    for options in claims:
        storage.claim("data", **options)
    storage.pod("p", "data")
    assert "0/" in storage.part.refused("p", f"nodes are available: {told}.")


def test_a_claim_for_one_pod(storage: Storage) -> None:
    storage.part.add_nodes("ab")
    storage.storage_class("local")
    storage.volume("v1", handle="h1", accessModes=["ReadWriteOncePod"])
    storage.claim("data", accessModes=["ReadWriteOncePod"])
    storage.pod("first", "data")
    storage.part.node_of("first")
    storage.pod("second", "data")
    storage.part.refused(
        "second",
        "2 node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by "
        "another pod",
    )
    storage.part.delete_pod("first")
    storage.part.node_of("second")


def test_zones_of_volumes(storage: Storage) -> None:
    storage.part.add_nodes({"a": {"labels": {ZONE: "z1"}}, "b": {"labels": {ZONE: "z2"}}})
    storage.storage_class("local", volumeBindingMode="Immediate")
    storage.volume("v1", labels={ZONE: "z2__z3"})
    storage.claim("data")
    assert storage.bound_to("data") == "v1"
    storage.pod("p", "data")
    assert storage.part.node_of("p") == "b"
    storage.pod("there", "data", nodeSelector={ZONE: "z1"})
    storage.part.refused("there", "1 node(s) had no available volume zone")


def test_volumes_that_a_node_takes(storage: Storage) -> None:
    storage.part.add_nodes("ab")
    for node, count in (("a", 1), ("b", 0)):
        drivers = [{"name": storage.full("driver"), "nodeID": node, "allocatable": {"count": count}}]
        metadata = {"name": storage.part.full(node)}
        storage.part.create_global(
            f"{STORAGE}/csinodes", {"metadata": metadata, "spec": {"drivers": drivers}}
        )
    storage.storage_class("local", volumeBindingMode="Immediate")
    for number in (1, 2):
        storage.volume(f"v{number}", handle=f"h{number}")
        storage.claim(f"data-{number}")
        storage.bound_to(f"data-{number}")
    storage.pod("first", "data-1")
    assert storage.part.node_of("first") == "a"
    storage.pod("second", "data-2")
    storage.part.refused("second", "2 node(s) exceed max volume count")
    storage.pod("shares", "data-1")
    assert storage.part.node_of("shares") == "a"
    storage.part.delete_pod("first")
    storage.part.delete_pod("shares")
    assert storage.part.node_of("second") == "a"


def test_a_volume_is_made_where_the_class_allows(storage: Storage) -> None:
    storage.part.add_nodes({"a": {"labels": {ZONE: "z1"}}, "b": {"labels": {ZONE: "z2"}}})
    allowed = [{"matchLabelExpressions": [{"key": ZONE, "values": ["z2"]}]}]
    storage.storage_class("made", storage.full("driver"), allowedTopologies=allowed)
    storage.claim("data", "made")
    storage.pod("p", "data")
    with Provisioner(storage) as provisioner:
        assert storage.part.node_of("p") == "b"
    assert provisioner.asked == [storage.part.full("b")]
    storage.bound_to("data")


def test_a_volume_is_made_where_there_is_room(storage: Storage) -> None:
    storage.part.add_nodes("abc")
    driver = {"metadata": {"name": storage.full("driver")}, "spec": {"storageCapacity": True}}
    storage.part.create_global(f"{STORAGE}/csidrivers", driver)
    storage.storage_class("made", storage.full("driver"))
    for node, room in (("a", "1Gi"), ("b", "10Gi")):
        storage.part.create(
            "csistoragecapacities",
            {
                "metadata": {"name": node},
                "storageClassName": storage.full("made"),
                "nodeTopology": {"matchLabels": {HOSTNAME: storage.part.full(node)}},
                "capacity": room,
            },
            "storage.k8s.io/v1",
        )
    storage.claim("data", "made", "5Gi")
    storage.claim("huge", "made", "50Gi")
    storage.pod("p", "data")
    with Provisioner(storage):
        assert storage.part.node_of("p") == "b"
    storage.pod("q", "huge")
    storage.part.refused("q", "3 node(s) did not have enough free storage")


def test_a_provisioner_that_gives_the_claim_back(storage: Storage) -> None:
    storage.part.add_nodes("ab")
    storage.storage_class("made", storage.full("driver"))
    storage.claim("data", "made")
    storage.pod("p", "data")
    with Provisioner(storage, refusals=2) as provisioner:
        storage.part.node_of("p")
        storage.part.event("p", "Scheduled")  # behind which those of the tries before it are written, too
    assert len(provisioner.asked) == 3
    notes = [event["note"] for event in storage.part.events("p") if event["reason"] == "FailedScheduling"]
    assert any("provisioning failed" in note for note in notes)


def test_generic_ephemeral_volumes(storage: Storage) -> None:
    storage.part.add_nodes("ab")
    storage.storage_class("made", storage.full("driver"))
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": storage.full("made"),
    }
    volume = {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": spec}}}
    with Provisioner(storage):
        storage.pod("p", volumes=[volume])
        storage.part.node_of("p")
    storage.bound_to("p-scratch")


def test_pods_of_a_stateful_set_each_get_their_local_volume(storage: Storage) -> None:
    storage.part.add_nodes("abc")
    storage.storage_class("local")
    for node in "abc":
        storage.volume(f"{node}1", node)
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": storage.full("local"),
    }
    more = {
        "serviceName": "db",
        "podManagementPolicy": "Parallel",
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": spec}],
    }
    storage.part.workload("statefulsets", "db", 3, more=more, scheduler=storage.scheduler)
    assert set(storage.part.nodes_of("db", 3)) == {"a", "b", "c"}
    for number in range(3):
        node = storage.part.node_of(f"db-{number}")
        assert storage.bound_to(f"data-db-{number}") == f"{node}1"


def test_many_pods_at_once_get_a_volume_each(storage: Storage) -> None:
    storage.part.add_nodes("abcd")
    storage.storage_class("local")
    for number in range(20):
        storage.volume(f"v{number}", "abcd"[number % 4], f"{1 + number % 3}Gi")
        storage.claim(f"data-{number}")
    for number in range(20):
        storage.pod(f"p-{number}", f"data-{number}")
    for number in range(20):
        storage.part.node_of(f"p-{number}")
    assert len({storage.bound_to(f"data-{number}") for number in range(20)}) == 20


# Drivers that were once part of Kubernetes


MIGRATED = "storage.alpha.kubernetes.io/migrated-plugins"
OLD: dict[str, tuple[str, str, Object]] = {
    "kubernetes.io/gce-pd": (
        "pd.csi.storage.gke.io",
        "topology.gke.io/zone",
        {"gcePersistentDisk": {"pdName": "d"}},
    ),
    "kubernetes.io/aws-ebs": (
        "ebs.csi.aws.com",
        "topology.ebs.csi.aws.com/zone",
        {"awsElasticBlockStore": {"volumeID": "aws://z1/vol-1"}},
    ),
    "kubernetes.io/cinder": (
        "cinder.csi.openstack.org",
        "topology.cinder.csi.openstack.org/zone",
        {"cinder": {"volumeID": "d"}},
    ),
    "kubernetes.io/azure-disk": (
        "disk.csi.azure.com",
        "",
        {"azureDisk": {"diskName": "d", "diskURI": "/subscriptions/s/d", "kind": "Managed"}},
    ),
    "kubernetes.io/portworx-volume": ("pxd.portworx.com", "", {"portworxVolume": {"volumeID": "d"}}),
}


def csi_node(storage: Storage, node: str, plugin: str, driver: str = "", most: int = 0) -> None:
    name = storage.part.full(node)
    drivers = [{"name": driver, "nodeID": name, "allocatable": {"count": most}}] if driver else []
    metadata = {"name": name, "annotations": {MIGRATED: plugin} if plugin else {}}
    storage.part.create_global(f"{STORAGE}/csinodes", {"metadata": metadata, "spec": {"drivers": drivers}})


@pytest.mark.parametrize("plugin", [name for name, (_, label, _) in OLD.items() if label])
def test_zones_of_a_driver_that_was_once_part_of_kubernetes(storage: Storage, plugin: str) -> None:
    """Where the new driver serves, its label says the zone; elsewhere that of Kubernetes does."""
    part = storage.part
    _, label, source = OLD[plugin]
    # The labels of VolumeZone are not there, so that it refuses nothing.
    part.add_nodes({"a": {"labels": {label: "z1"}}, "b": {"labels": {label: "z2"}}})
    for node in "ab":
        csi_node(storage, node, plugin)
    storage.storage_class("local")
    term = {"key": ZONE, "operator": "In", "values": ["z1"]}
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [term]}]}}
    storage.volume("pv", source=source, nodeAffinity=affinity)
    storage.claim("data", volumeName=storage.full("pv"))
    storage.bound_to("data")
    storage.pod("p", "data")
    assert part.node_of("p") == "a"
    storage.pod("q", "data", affinity=part.only_on("b"))
    part.refused("q", "node(s) didn't match PersistentVolume's node affinity")


@pytest.mark.parametrize("how", ["claimed", "inline"])
@pytest.mark.parametrize("plugin", OLD)
def test_limits_of_a_driver_that_was_once_part_of_kubernetes(storage: Storage, plugin: str, how: str) -> None:
    """Its volumes count against what a node takes of the new driver's."""
    part = storage.part
    driver, _, source = OLD[plugin]
    part.add_nodes("ab")
    csi_node(storage, "a", plugin, driver, 0)
    csi_node(storage, "b", plugin, driver, 1)
    if how == "claimed":
        storage.storage_class("local")
        storage.volume("pv", source=source)
        storage.claim("data", volumeName=storage.full("pv"))
        storage.bound_to("data")
        storage.pod("p", "data")
    else:
        storage.pod("p", volumes=[{"name": "v", **source}])
    assert part.node_of("p") == "b"
    # The same volume once more is no more: what stops this one is a limit of nothing at all.
    volume = [{"name": "v", **source}] if how == "inline" else None
    claims = () if how == "inline" else ("data",)
    options: dict[str, Any] = {"affinity": part.only_on("a"), **({"volumes": volume} if volume else {})}
    storage.pod("q", *claims, **options)
    part.refused("q", "node(s) exceed max volume count")
