"""Claims of devices with the cluster's own controllers, for Berth and for kube-scheduler: both do the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.controlplane import ControlPlane
from tests.controlplane.api import Object
from tests.e2e.part import SCHEDULER, Part

pytestmark = pytest.mark.integration

STOCK = "default-scheduler"
DEVICES = "/apis/resource.k8s.io/v1"


@pytest.fixture(scope="module")
def _stock(full_control_plane: ControlPlane) -> Iterator[None]:
    full_control_plane.start_scheduler()
    yield
    full_control_plane.stop_scheduler()


class Devices:
    """A part's devices, and the scheduler that its pods name."""

    def __init__(self, part: Part, scheduler: str) -> None:
        self.part = part
        self.scheduler = scheduler
        self.driver = f"{part.namespace}.gpu.example.com"
        self.class_name = f"gpu-{part.namespace}"
        expression = f'device.driver == "{self.driver}"'
        self.part.create_global(
            f"{DEVICES}/deviceclasses",
            {
                "metadata": {"name": self.class_name},
                "spec": {"selectors": [{"cel": {"expression": expression}}]},
            },
        )

    def slice(self, name: str, *devices: Object, node: str = "", **spec: Any) -> None:
        """A slice of a pool of its own; of a node where one is named."""
        full = f"{name}.{self.part.namespace}"
        where = {"nodeName": self.part.full(node)} if node else {}
        body = {
            "driver": self.driver,
            "pool": {"name": full, "generation": 1, "resourceSliceCount": 1},
            "devices": list(devices),
            **where,
            **spec,
        }
        self.part.create_global(f"{DEVICES}/resourceslices", {"metadata": {"name": full}, "spec": body})

    def gpus(self, node: str, *models: str) -> None:
        """Devices of one node, of these models."""
        devices = [
            {
                "name": f"gpu-{index}",
                "attributes": {
                    "model": {"string": model},
                    "index": {"int": index},
                    "v": {"version": "1.10.0"},
                },
                "capacity": {"memory": {"value": f"{10 * (index + 1)}Gi"}},
            }
            for index, model in enumerate(models)
        ]
        self.slice(node, *devices, node=node)

    def asked(self, *expressions: str, **more: Any) -> Object:
        """What a request is for; in expressions, ``own`` is the driver's attributes and ``size`` its amounts."""
        own, size = f'device.attributes["{self.driver}"]', f'device.capacity["{self.driver}"]'
        written = [one.replace("own.", f"{own}.").replace("size.", f"{size}.") for one in expressions]
        selectors = [{"cel": {"expression": one}} for one in written]
        return {"deviceClassName": self.class_name, **({"selectors": selectors} if selectors else {}), **more}

    def spec(self, *requests: Object, **more: Any) -> Object:
        return {"devices": {"requests": list(requests) or [self.exactly()], **more}}

    def exactly(self, *expressions: str, name: str = "gpu", **more: Any) -> Object:
        return {"name": name, "exactly": self.asked(*expressions, **more)}

    def claim(self, name: str, *requests: Object, **more: Any) -> None:
        body = {"metadata": {"name": name}, "spec": self.spec(*requests, **more)}
        self.part.create("resourceclaims", body, "resource.k8s.io/v1")

    def template(self, name: str, *requests: Object) -> None:
        body = {"metadata": {"name": name}, "spec": {"spec": self.spec(*requests)}}
        self.part.create("resourceclaimtemplates", body, "resource.k8s.io/v1")

    def pod(self, name: str, *claims: str, template: str = "", **options: Any) -> None:
        references: list[Object] = [{"name": one, "resourceClaimName": one} for one in claims]
        if template:
            references.append({"name": template, "resourceClaimTemplateName": template})
        self.part.add_pod(name, **{"scheduler": self.scheduler, "resourceClaims": references, **options})

    def found(self, claim: str) -> Object:
        path = f"{DEVICES}/namespaces/{self.part.namespace}/resourceclaims/{claim}"
        return self.part.plane.api.get(path)

    def results(self, claim: str) -> list[tuple[str, str, str]]:
        """What a claim has: request, pool by its short name, and device."""
        allocation = self.found(claim)["status"]["allocation"]
        return [
            (one["request"], self.part.short(one["pool"]), one["device"])
            for one in allocation["devices"]["results"]
        ]


@pytest.fixture(params=[SCHEDULER, STOCK], ids=["berth", "kube-scheduler"])
def devices(part: Part, request: pytest.FixtureRequest, _stock: None) -> Devices:
    return Devices(part, request.param)


def test_a_claim_gets_the_first_device_that_is_meant(devices: Devices) -> None:
    part = devices.part
    part.add_nodes("ab")
    devices.gpus("a", "small", "small")
    devices.gpus("b", "small", "large", "large")
    devices.claim("mine", devices.exactly('own.model == "large"', "own.index >= 1"))
    devices.pod("p", "mine")
    assert part.node_of("p") == "b"
    assert devices.results("mine") == [("gpu", "b", "gpu-1")]
    claim = devices.found("mine")
    assert claim["metadata"]["finalizers"] == ["resource.kubernetes.io/delete-protection"]
    assert [one["name"] for one in claim["status"]["reservedFor"]] == ["p"]
    only = {"key": "metadata.name", "operator": "In", "values": [part.full("b")]}
    assert claim["status"]["allocation"]["nodeSelector"] == {"nodeSelectorTerms": [{"matchFields": [only]}]}
    part.running("p")


EXPRESSIONS = {
    "an amount": ('size.memory.compareTo(quantity("20Gi")) >= 0', "gpu-1"),
    "a version": ('own.v.isGreaterThan(semver("1.9.0")) && own.index == 2', "gpu-2"),
    "a bound name": ("cel.bind(it, own.index, it > 0 && it < 2)", "gpu-1"),
    "what may be missing": ('!has(own.other) && own.model.matches("^m.*2$")', "gpu-2"),
    "a domain that nobody has": ('!has(device.attributes["other.example.org"].x) && own.index == 1', "gpu-1"),
    "one of several": ('own.model in ["m1", "m2"]', "gpu-1"),
}


@pytest.mark.parametrize(("expression", "device"), EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_expressions(devices: Devices, expression: str, device: str) -> None:
    devices.part.add_nodes("a")
    devices.gpus("a", "m0", "m1", "m2")
    devices.claim("mine", devices.exactly(expression))
    devices.pod("p", "mine")
    assert devices.part.node_of("p") == "a"
    assert devices.results("mine") == [("gpu", "a", device)]


def test_claims_of_a_template_never_share_a_device(devices: Devices) -> None:
    part = devices.part
    part.add_nodes("ab")
    devices.gpus("a", "m", "m")
    devices.gpus("b", "m")
    devices.template("each")
    for number in range(4):
        devices.pod(f"p{number}", template="each", labels={"app": "p"})
    placed = part.nodes_of("p", 3)
    assert placed == {"a": 2, "b": 1}
    (waiting,) = [pod["metadata"]["name"] for pod in part.pods("p") if not pod["spec"].get("nodeName")]
    part.refused(waiting, "cannot allocate all claims")
    bound = next(pod["metadata"]["name"] for pod in part.pods("p") if pod["spec"].get("nodeName"))
    part.delete_pod(bound)
    part.node_of(waiting)
    paths = part.plane.api.items(f"{DEVICES}/namespaces/{part.namespace}/resourceclaims")
    held = [
        (one["pool"], one["device"])
        for claim in paths
        for one in claim["status"].get("allocation", {}).get("devices", {}).get("results", ())
    ]
    assert len(held) == len(set(held))


def test_pods_share_a_claim(devices: Devices) -> None:
    part = devices.part
    part.add_nodes("ab")
    devices.gpus("b", "m")
    devices.claim("mine")
    for name in "pqr":
        devices.pod(name, "mine")
    assert {part.node_of(name) for name in "pqr"} == {"b"}
    assert {one["name"] for one in devices.found("mine")["status"]["reservedFor"]} == {"p", "q", "r"}


def test_pods_of_both_schedulers_share_a_claim(devices: Devices) -> None:
    """Whichever gives the devices: the other lets its pods use them, too."""
    part = devices.part
    part.add_nodes("ab")
    devices.gpus("b", "m")
    devices.claim("mine")
    devices.pod("p", "mine")
    assert part.node_of("p") == "b"
    other = STOCK if devices.scheduler == SCHEDULER else SCHEDULER
    devices.pod("q", "mine", scheduler=other)
    assert part.node_of("q") == "b"


def test_the_first_alternative_that_can_be_had(devices: Devices) -> None:
    part = devices.part
    part.add_nodes("ab")
    devices.gpus("a", "small", "small")
    devices.gpus("b", "small")
    alternatives = [
        {"name": "large", **devices.asked('own.model == "large"')},
        {"name": "two", **devices.asked('own.model == "small"', count=2)},
        {"name": "one", **devices.asked('own.model == "small"')},
    ]
    devices.claim("mine", {"name": "gpu", "firstAvailable": alternatives})
    devices.pod("p", "mine")
    assert part.node_of("p") == "a"
    assert devices.results("mine") == [("gpu/two", "a", "gpu-0"), ("gpu/two", "a", "gpu-1")]


def test_all_devices_and_one_that_is_taken(devices: Devices) -> None:
    part = devices.part
    part.add_nodes("ab")
    devices.gpus("a", "m", "m", "m")
    devices.gpus("b", "m", "m")
    devices.claim("one")
    devices.pod("first", "one", nodeName=None, affinity=part.only_on("a"))
    assert part.node_of("first") == "a"
    devices.claim("every", devices.exactly(allocationMode="All"))
    devices.pod("p", "every")
    assert part.node_of("p") == "b"
    assert devices.results("every") == [("gpu", "b", "gpu-0"), ("gpu", "b", "gpu-1")]


@pytest.mark.parametrize("kind", ["matchAttribute", "distinctAttribute"])
def test_devices_that_must_be_alike_or_not(devices: Devices, kind: str) -> None:
    devices.part.add_nodes("a")
    devices.gpus("a", "x", "y", "y", "z")
    requests = [devices.exactly(name=name) for name in ("one", "two")]
    devices.claim("mine", *requests, constraints=[{kind: f"{devices.driver}/model"}])
    devices.pod("p", "mine")
    devices.part.node_of("p")
    expected = {"matchAttribute": ["gpu-1", "gpu-2"], "distinctAttribute": ["gpu-0", "gpu-1"]}
    assert [device for _, _, device in devices.results("mine")] == expected[kind]


def test_parts_of_a_device_share_its_amounts(devices: Devices) -> None:
    part = devices.part
    part.add_nodes("a")
    full = f"a.{part.namespace}"
    pool = {"name": full, "generation": 1, "resourceSliceCount": 2}
    counters = [{"name": "gpu", "counters": {"memory": {"value": "40Gi"}}}]

    def device(name: str, memory: str) -> Object:
        consumes = [{"counterSet": "gpu", "counters": {"memory": {"value": memory}}}]
        return {"name": name, "consumesCounters": consumes}

    parts = [device("whole", "40Gi"), device("half-0", "20Gi"), device("half-1", "20Gi")]
    devices.slice("a", *parts, node="a", pool=pool)
    body = {"driver": devices.driver, "pool": pool, "nodeName": part.full("a"), "sharedCounters": counters}
    path = f"{DEVICES}/resourceslices"
    part.create_global(path, {"metadata": {"name": f"counters.{part.namespace}"}, "spec": body})
    for name in ("one", "two"):
        devices.claim(name)
    devices.pod("whole", "one")
    assert part.node_of("whole") == "a"
    assert devices.results("one") == [("gpu", "a", "whole")]
    devices.pod("half", "two")
    part.refused("half", "cannot allocate all claims")
    part.delete_pod("whole")
    assert part.node_of("half") == "a"


def test_a_tainted_device_needs_a_toleration(devices: Devices) -> None:
    part = devices.part
    part.add_nodes("a")
    taint = {"key": "example.com/ill", "value": "yes", "effect": "NoSchedule"}
    devices.slice("a", {"name": "ill", "taints": [taint]}, {"name": "well"}, node="a")
    toleration = {"key": "example.com/ill", "operator": "Exists", "effect": "NoSchedule"}
    devices.claim("plain")
    devices.claim("tolerant", devices.exactly(tolerations=[toleration]))
    devices.pod("p", "plain")
    assert part.node_of("p") == "a"
    assert devices.results("plain") == [("gpu", "a", "well")]
    devices.pod("q", "tolerant")
    assert part.node_of("q") == "a"
    assert devices.results("tolerant") == [("gpu", "a", "ill")]


def test_a_device_of_the_network_is_for_the_nodes_that_reach_it(devices: Devices) -> None:
    part = devices.part
    part.add_nodes({"a": {}, "b": {"labels": {"rack": "two"}}, "c": {"labels": {"rack": "two"}}})
    reached = {"key": "rack", "operator": "In", "values": ["two"]}
    selector = {"nodeSelectorTerms": [{"matchExpressions": [reached]}]}
    devices.slice("net", {"name": "nic"}, nodeSelector=selector)
    devices.claim("mine")
    devices.pod("p", "mine", affinity=part.only_on("c"))
    assert part.node_of("p") == "c"
    assert devices.found("mine")["status"]["allocation"]["nodeSelector"] == selector
    devices.pod("q", "mine", affinity=part.only_on("a"))
    part.refused("q", "resourceclaim not available on the node")


def test_idle_devices_are_given_back_where_the_pod_cannot_go(devices: Devices) -> None:
    part = devices.part
    part.add_nodes("ab")
    for node in "ab":
        devices.gpus(node, "m")
    devices.claim("mine")
    result = {
        "request": "gpu",
        "driver": devices.driver,
        "pool": f"a.{part.namespace}",
        "device": "gpu-0",
    }
    only = {"key": "metadata.name", "operator": "In", "values": [part.full("a")]}
    allocation = {
        "devices": {"results": [result]},
        "nodeSelector": {"nodeSelectorTerms": [{"matchFields": [only]}]},
    }
    path = f"{DEVICES}/namespaces/{part.namespace}/resourceclaims/mine"
    protected = {"metadata": {"finalizers": ["resource.kubernetes.io/delete-protection"]}}
    part.patch_node("a", {"spec": {"unschedulable": True}})
    # A claim that is not used is given back by its controller too, some time: the pod is there before.
    part.plane.api.patch(path, protected)
    part.plane.api.patch(f"{path}/status", {"status": {"allocation": allocation}})
    devices.pod("p", "mine")
    assert part.node_of("p") == "b"
    assert devices.results("mine") == [("gpu", "b", "gpu-0")]


@pytest.mark.parametrize("devices", [SCHEDULER], indirect=True)
def test_a_pod_is_told_that_its_claim_is_not_there(devices: Devices) -> None:
    """kube-scheduler does not even try such a pod, and says nothing of it: this is ours alone."""
    devices.part.add_nodes("ab")
    devices.pod("p", "other")
    devices.part.refused("p", 'resourceclaim "other" not found')


TROUBLE = {
    "no class": ("classless", "request gpu: device class none-such does not exist"),
    "nothing meant": ("nothing", "cannot allocate all claims"),
}


@pytest.mark.parametrize(("claim", "said"), TROUBLE.values(), ids=TROUBLE)
def test_what_is_said_of_a_pod_that_cannot_have_devices(devices: Devices, claim: str, said: str) -> None:
    devices.part.add_nodes("ab")
    devices.gpus("a", "m")
    devices.claim("classless", {"name": "gpu", "exactly": {"deviceClassName": "none-such"}})
    devices.claim("nothing", devices.exactly('own.model == "other"'))
    devices.pod("p", claim)
    devices.part.refused("p", said)
