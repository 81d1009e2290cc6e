"""Pods with claims of devices on the simulated cluster: from the decision to the bound pod."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from engine.cluster.errors import ApiError, ClusterError, Unreachable
from engine.cluster.protocol import DEVICES, ResourceKind
from engine.cluster.reflector import Synced, Trouble, Upserted
from engine.cluster.simulated import Options, SimulatedCluster
from engine.compile import compile_policy
from engine.model.device_capacity import CapacityRequirements
from engine.model.devices import DeviceId, DeviceObject, ResourceClaim, ResourceClaimTemplate
from engine.model.objects import Node, NodeStatus, ObjectMeta, Pod
from engine.scheduler.simulation import Simulation
from engine.settings import Settings
from grammar.policy import CheckedPolicy
from tests.engine import devices as make
from tests.engine.cluster import simulated_world

CLASS = make.device_class()
Item = Pod | DeviceObject | ResourceClaimTemplate


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """The binder's waits between tries are real time, of which a test has none to lose."""
    with (
        patch("tenacity.nap.time.sleep"),
        patch("engine.cluster.backoff.sleep_using_event", lambda _: lambda _: None),
    ):
        yield


def pod(name: str, *claims: str, templates: tuple[str, ...] = (), cpu: str = "") -> Pod:
    plain = simulated_world.pod(name, scheduler_name="custom-scheduler")
    return make.using(plain, *claims, templates=templates)


class World:
    """A simulated cluster with a scheduler on it."""

    def __init__(self, *objects: Item, nodes: int = 2, **options: Any) -> None:
        self.cluster = SimulatedCluster(Options(**options))
        self.start = self.cluster.clock.now()
        for number in range(1, nodes + 1):
            status = NodeStatus(allocatable={"cpu": "4", "memory": "8Gi", "pods": "110"})
            self.cluster.add_node(Node(ObjectMeta(name=f"n{number}"), status=status))
        for item in objects:
            self.cluster.apply(item)
        self.restart()

    def restart(self) -> None:
        """Another instance takes over; what the first had not written is lost."""
        self.simulation = Simulation(self.cluster, compile_policy(CheckedPolicy()), None, Settings())

    def until(self, seconds: float) -> None:
        self.simulation.run_until(self.start + seconds)

    def node_of(self, name: str) -> str:
        found = self.cluster.get_pod("default", name)
        assert found is not None
        return found.spec.node_name

    def claim(self, name: str) -> ResourceClaim:
        found = self.cluster.get_resource_claim("default", name)
        assert found is not None
        return found

    def claims(self) -> list[ResourceClaim]:
        found = self.cluster.list(ResourceKind.DEVICE_CLAIMS).items
        return [one for one in found if isinstance(one, ResourceClaim)]

    def held(self) -> Counter[DeviceId]:
        return Counter(one.device for claim in self.claims() for one in claim.held)

    def told(self, reason: str = "FailedScheduling") -> list[str]:
        return [event.message for event in self.cluster.events if event.reason == reason]

    def settled(self) -> bool:
        return self.simulation.cache.devices.assumed == 0 and self.simulation.scheduler.binding == 0


def test_a_pod_goes_where_its_devices_are_and_its_claim_says_so() -> None:
    world = World(CLASS, make.gpus("n2", 2), make.claim("mine"), pod("p", "mine"))
    world.until(5)
    assert world.node_of("p") == "n2"
    claim = world.claim("mine")
    assert claim.allocation is not None
    assert [str(one.id) for one in claim.allocation.devices.results or ()] == ["gpu.example.com/n2/gpu-0"]
    assert [one.name for one in claim.status.reserved_for or ()] == ["p"]
    assert world.settled()


def test_two_claims_never_get_one_device() -> None:
    pods = [pod(f"p{one}", f"c{one}") for one in range(4)]
    world = World(CLASS, make.gpus("n2", 3), *(make.claim(f"c{one}") for one in range(4)), *pods)
    world.until(20)
    assert [world.node_of(f"p{one}") for one in range(4)].count("n2") == 3
    assert set(world.held().values()) == {1}
    assert len(world.held()) == 3
    assert "0/2 nodes are available: 2 cannot allocate all claims." in world.told()[0]


def test_a_pod_that_waits_gets_the_devices_of_one_that_ends() -> None:
    world = World(
        CLASS, make.gpus("n2", 1), make.template("t"), *(pod(f"p{one}", templates=("t",)) for one in (1, 2))
    )
    world.until(10)
    bound = [name for name in ("p1", "p2") if world.node_of(name)]
    assert len(bound) == 1
    world.cluster.delete("Pod", "default", bound[0])
    world.until(120)
    (other,) = {"p1", "p2"} - set(bound)
    assert world.node_of(other) == "n2"
    assert set(world.held().values()) == {1}


def test_pods_share_a_claim_and_its_node() -> None:
    world = World(
        CLASS, make.gpus("n2", 1), make.claim("mine"), *(pod(f"p{one}", "mine") for one in range(3))
    )
    world.until(30)
    assert {world.node_of(f"p{one}") for one in range(3)} == {"n2"}
    assert {one.name for one in world.claim("mine").status.reserved_for or ()} == {"p0", "p1", "p2"}


WAITS: dict[str, tuple[tuple[Item, ...], str]] = {
    "no claim": ((CLASS, pod("p", "mine")), 'resourceclaim "mine" not found'),
    "no class": ((make.claim("mine"), pod("p", "mine")), "request gpu: device class gpu does not exist"),
    "no claim of the template yet": (
        (CLASS, pod("p", templates=("t",))),
        'pod "default/p": ResourceClaim not created yet',
    ),
    "another's claim": (
        (
            CLASS,
            make.gpus("n1", 1),
            replace(make.claim("mine"), metadata=replace(make.claim("mine").metadata, name="mine")),
            pod("p", "mine", "other"),
        ),
        'resourceclaim "other" not found',
    ),
    "no devices": ((CLASS, make.claim("mine"), pod("p", "mine")), "2 cannot allocate all claims"),
    "a broken expression": (
        (
            make.device_class("gpu", "device.attributes['gpu.example.com'].model == 'x'"),
            make.gpus("n1", 1),
            make.claim("mine"),
            pod("p", "mine"),
        ),
        "1 cannot allocate all claims, 1 class gpu: selector #0: CEL runtime error: no such key: model",
    ),
    "amounts": (
        (
            CLASS,
            make.gpus("n1", 1),
            make.claim("mine", make.exactly(capacity=CapacityRequirements({"memory": "1Gi"}))),
            pod("p", "mine"),
        ),
        "2 cannot allocate all claims",
    ),
}


@pytest.mark.parametrize(("objects", "said"), WAITS.values(), ids=WAITS)
def test_a_pod_that_cannot_have_devices_waits_and_is_told_why(objects: tuple[Item, ...], said: str) -> None:
    world = World(*objects)
    world.until(5)
    assert world.node_of("p") == ""
    assert said in world.told()[0]
    assert world.settled()


LATER: dict[str, tuple[Item, ...]] = {
    "the claim": (make.claim("mine"),),
    "the class": (CLASS,),
    "the devices": (make.gpus("n2", 1),),
}


@pytest.mark.parametrize("last", LATER)
def test_what_comes_later_wakes_the_pod(last: str) -> None:
    world = World(
        *(item for name, items in LATER.items() if name != last for item in items), pod("p", "mine")
    )
    world.until(5)
    assert world.node_of("p") == ""
    for item in LATER[last]:
        world.cluster.apply(item)
    world.until(30)
    assert world.node_of("p") == "n2"


# Bad answers, and kills


def failing(world: World, method: str, answers: list[Any], landed: bool) -> Callable[..., Any]:
    """The method, which fails as often as there are answers, after having done its work or not."""
    real = getattr(world.cluster, method)

    def call(*arguments: Any) -> Any:
        if not answers:
            return real(*arguments)
        error = answers.pop(0)
        if landed:
            real(*arguments)
        raise error

    return call


ANSWERS: dict[str, tuple[ClusterError, int]] = {
    "silence": (Unreachable("nobody answers"), 1),
    "silence for long": (Unreachable("nobody answers"), 12),
    "overload": (ApiError(503, "ServiceUnavailable", "later"), 2),
    "a conflict": (ApiError(409, "Conflict", "changed"), 2),
    "a refusal": (ApiError(403, "Forbidden", "no"), 1),
}


@pytest.mark.parametrize("landed", [False, True], ids=["lost", "landed"])
@pytest.mark.parametrize(("error", "times"), ANSWERS.values(), ids=ANSWERS)
def test_bad_answers_cost_time_and_nothing_else(error: ClusterError, times: int, landed: bool) -> None:
    world = World(
        CLASS,
        make.gpus("n1", 1),
        make.gpus("n2", 1),
        *(make.claim(f"c{one}") for one in (1, 2)),
        *(pod(f"p{one}", f"c{one}") for one in (1, 2)),
    )
    call = failing(world, "reserve_resource_claim", [error] * times, landed)
    with patch.object(world.cluster, "reserve_resource_claim", call):
        world.until(300)
    assert {world.node_of("p1"), world.node_of("p2")} == {"n1", "n2"}
    assert set(world.held().values()) == {1}
    assert world.settled()


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("method", ["reserve_resource_claim", "bind"])
@pytest.mark.parametrize("landed", [False, True], ids=["before", "after"])
def test_a_kill_at_any_write_leaves_what_the_next_goes_on_from(method: str, landed: bool) -> None:
    world = World(
        CLASS,
        make.gpus("n2", 2),
        *(make.claim(f"c{one}") for one in (1, 2)),
        *(pod(f"p{one}", f"c{one}") for one in (1, 2)),
    )
    with (
        patch.object(world.cluster, method, failing(world, method, [Killed()], landed)),
        pytest.raises(Killed),
    ):
        world.until(5)
    world.restart()
    world.until(60)
    assert {world.node_of("p1"), world.node_of("p2")} == {"n2"}
    assert set(world.held().values()) == {1}


# What is not known


def test_pods_with_claims_wait_until_devices_are_known_and_others_do_not() -> None:
    world = World(CLASS, make.gpus("n1", 1), make.claim("mine"), pod("p", "mine"), pod("plain"))
    scheduler = world.simulation.scheduler
    for kind in ResourceKind:
        for item in world.cluster.list(kind).items:
            scheduler.handle(Upserted(item))
        if kind not in DEVICES:
            scheduler.handle(Synced(kind, 0))
    scheduler.run_pass(10)
    assert (world.node_of("plain") != "", world.node_of("p")) == (True, "")
    assert world.told() == []
    for kind in DEVICES:
        scheduler.handle(Trouble(kind, "listing resourceslices: 404 not found"))
    scheduler.run_pass(10)
    assert "0/2 nodes are available: listing resourceslices: 404 not found." in world.told()[0]
    for kind in DEVICES:
        scheduler.handle(Synced(kind, 0))
    world.until(60)
    assert world.node_of("p") == "n1"


# Devices that are where nobody can go


def test_an_idle_claim_is_freed_for_a_pod_that_cannot_go_where_its_devices_are() -> None:
    kept = make.claim("kept", allocation=make.allocated("n1", "gpu-0"))
    world = World(CLASS, make.gpus("n1", 1), make.gpus("n2", 1), kept)
    world.cluster.cordon("n1")
    world.cluster.add_pod(pod("p", "kept"))
    world.until(120)
    assert world.node_of("p") == "n2"
    assert world.held() == {DeviceId(make.DRIVER, "n2", "gpu-0"): 1}


def test_a_claim_that_another_pod_uses_is_not_freed() -> None:
    world = World(CLASS, make.gpus("n1", 1), make.gpus("n2", 1), make.claim("mine"), pod("p", "mine"))
    world.until(5)
    world.cluster.cordon(world.node_of("p"))
    before = world.claim("mine").allocation
    world.cluster.add_pod(pod("q", "mine"))
    world.until(60)
    assert world.node_of("q") == ""
    assert world.claim("mine").allocation == before
    assert "1 resourceclaim not available on the node" in world.told()[0]
