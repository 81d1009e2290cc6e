"""Extended resources for which a class of devices stands, for Berth and for kube-scheduler: both do the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.controlplane import ControlPlane
from tests.controlplane.api import Object
from tests.e2e.part import SCHEDULER, Part, container
from tests.e2e.test_devices import DEVICES, STOCK, Devices

pytestmark = pytest.mark.integration

ANNOTATION = "resource.kubernetes.io/extended-resource-claim"


@pytest.fixture(scope="module")
def _stock(full_control_plane: ControlPlane) -> Iterator[None]:
    full_control_plane.start_scheduler()
    yield
    full_control_plane.stop_scheduler()


class Resources(Devices):
    """Devices, and the resource for which their class stands."""

    @property
    def resource(self) -> str:
        return f"{self.part.namespace}.example.com/gpu"

    def stand_for(self) -> None:
        """The class stands for the resource from now on."""
        path = f"{DEVICES}/deviceclasses/{self.class_name}"
        self.part.plane.api.patch(path, {"spec": {"extendedResourceName": self.resource}})

    def asking(
        self, *counts: int | None, initial: tuple[int, ...] = (), resource: str = ""
    ) -> dict[str, Any]:
        """The containers of a pod, each with so many of the resource; none of it for None."""
        name = resource or self.resource

        def one(count: int | None, called: str) -> Object:
            amount = {} if count is None else {name: str(count)}
            return container({"cpu": "1m", **amount}, amount, called)

        made: dict[str, Any] = {
            "containers": [one(count, f"c{index}") for index, count in enumerate(counts)],
        }
        if initial:
            made["initContainers"] = [one(count, f"i{index}") for index, count in enumerate(initial)]
        return made

    def made_for(self, pod: str) -> Object:
        """The claim that was made for a pod, by what the pod says."""
        told = self.part.pod(pod)["status"]["extendedResourceClaimStatus"]
        return self.found(told["resourceClaimName"])

    def mapped(self, pod: str) -> set[tuple[str, str]]:
        told = self.part.pod(pod)["status"]["extendedResourceClaimStatus"]
        assert {one["resourceName"] for one in told["requestMappings"]} == {self.resource}
        return {(one["containerName"], one["requestName"]) for one in told["requestMappings"]}

    def claims(self) -> list[Object]:
        path = f"{DEVICES}/namespaces/{self.part.namespace}/resourceclaims"
        return self.part.plane.api.items(path)


@pytest.fixture(params=[SCHEDULER, STOCK], ids=["berth", "kube-scheduler"])
def devices(part: Part, request: pytest.FixtureRequest, _stock: None) -> Resources:
    return Resources(part, request.param)


def had(claim: Object) -> list[tuple[str, str]]:
    results = claim["status"]["allocation"]["devices"]["results"]
    return [(one["request"], one["device"]) for one in results]


def test_a_pod_gets_devices_for_the_resource_that_it_asks_for(devices: Resources) -> None:
    part = devices.part
    part.add_nodes("ab")
    devices.gpus("b", "m", "m", "m")
    devices.stand_for()
    devices.pod("p", **devices.asking(1, None, 2))
    assert part.node_of("p") == "b"
    claim = devices.made_for("p")
    assert claim["metadata"]["annotations"][ANNOTATION] == "true"
    (owner,) = claim["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Pod", "p", True)
    assert [one["name"] for one in claim["status"]["reservedFor"]] == ["p"]
    assert had(claim) == [
        ("container-0-request-1", "gpu-0"),
        ("container-2-request-1", "gpu-1"),
        ("container-2-request-1", "gpu-2"),
    ]
    asked = [one["exactly"] for one in claim["spec"]["devices"]["requests"]]
    assert asked == [
        {"deviceClassName": devices.class_name, "allocationMode": "ExactCount", "count": count}
        for count in (1, 2)
    ]
    assert devices.mapped("p") == {("c0", "container-0-request-1"), ("c2", "container-2-request-1")}
    devices.pod("q", **devices.asking(1))
    part.refused("q", "cannot allocate all claims")
    part.delete_pod("p")
    assert part.node_of("q") == "b"


def test_containers_that_initialise_use_what_lasts(devices: Resources) -> None:
    part = devices.part
    part.add_nodes("a")
    devices.gpus("a", *"mmmmm")
    devices.stand_for()
    devices.pod("p", **devices.asking(1, 1, initial=(2, 3, 5)))
    assert part.node_of("p") == "a"
    claim = devices.made_for("p")
    counts = {one["name"]: one["exactly"]["count"] for one in claim["spec"]["devices"]["requests"]}
    assert counts == {"container-2-request-1": 3, "container-3-request-1": 1, "container-4-request-1": 1}
    lasting = {"container-3-request-1", "container-4-request-1"}
    initial = {(f"i{index}", name) for index in range(3) for name in lasting}
    assert devices.mapped("p") == {
        ("c0", "container-3-request-1"),
        ("c1", "container-4-request-1"),
        ("i1", "container-2-request-1"),
        ("i2", "container-2-request-1"),
        *initial,
    }


def test_a_node_that_offers_the_resource_needs_no_devices_for_it(devices: Resources) -> None:
    part = devices.part
    part.add_nodes({"a": {"extended": {devices.resource: "2"}}, "b": {}})
    devices.gpus("b", "m")
    devices.stand_for()
    devices.pod("p", **{**devices.asking(2), "affinity": part.only_on("a")})
    assert part.node_of("p") == "a"
    assert not devices.claims()
    assert "extendedResourceClaimStatus" not in part.pod("p")["status"]
    devices.pod("q", **devices.asking(1))
    assert part.node_of("q") == "b"
    assert had(devices.made_for("q")) == [("container-0-request-1", "gpu-0")]
    devices.pod("r", **devices.asking(1))
    message = part.refused("r", f"1 Insufficient {devices.resource}")
    assert "1 cannot allocate all claims" in message


def test_a_class_stands_for_a_resource_by_its_own_name(devices: Resources) -> None:
    part = devices.part
    part.add_nodes("a")
    devices.gpus("a", "m")
    resource = f"deviceclass.resource.kubernetes.io/{devices.class_name}"
    devices.pod("p", **devices.asking(1, resource=resource))
    assert part.node_of("p") == "a"
    assert had(devices.made_for("p")) == [("container-0-request-1", "gpu-0")]


def test_a_class_that_comes_later_helps(devices: Resources) -> None:
    part = devices.part
    part.add_nodes("a")
    devices.gpus("a", "m")
    devices.pod("p", **devices.asking(1))
    part.refused("p", f"Insufficient {devices.resource}")
    devices.stand_for()
    assert part.node_of("p") == "a"


def test_beside_claims_of_its_own(devices: Resources) -> None:
    part = devices.part
    part.add_nodes("a")
    devices.gpus("a", "m", "m")
    devices.stand_for()
    devices.claim("mine")
    devices.pod("p", "mine", **devices.asking(1))
    assert part.node_of("p") == "a"
    assert devices.results("mine") == [("gpu", "a", "gpu-0")]
    assert had(devices.made_for("p")) == [("container-0-request-1", "gpu-1")]


@pytest.mark.parametrize("devices", [SCHEDULER], indirect=True)
def test_a_claim_of_an_earlier_try_is_made_anew(devices: Resources) -> None:
    """kube-scheduler deletes it, too, but tries the pod again only when something else happens: this is ours alone."""
    part = devices.part
    part.add_nodes("a")
    devices.gpus("a", "m")
    # Held back until the claim is there.
    devices.pod("p", **devices.asking(1), schedulingGates=[{"name": "example.com/later"}])
    owner = {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "p",
        "uid": part.pod("p")["metadata"]["uid"],
        "controller": True,
    }
    metadata = {
        "name": "p-extended-resources-left",
        "annotations": {ANNOTATION: "true"},
        "ownerReferences": [owner],
        "finalizers": ["resource.kubernetes.io/delete-protection"],
    }
    part.create("resourceclaims", {"metadata": metadata, "spec": devices.spec()}, "resource.k8s.io/v1")
    devices.stand_for()
    part.patch_pod("p", {"spec": {"schedulingGates": []}})
    assert part.node_of("p") == "a"
    assert [one["metadata"]["name"] for one in devices.claims()] == [
        devices.made_for("p")["metadata"]["name"]
    ]
    assert had(devices.made_for("p")) == [("container-0-request-1", "gpu-0")]
