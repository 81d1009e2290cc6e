"""Pods with claims on the simulated cluster: from the decision to the bound pod, whatever happens between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.cluster.errors import ApiError, Unreachable
from engine.cluster.protocol import ResourceKind
from engine.cluster.reflector import Deleted, Synced, Trouble, Upserted
from engine.cluster.simulated import Options, SimulatedCluster
from engine.cluster.simulated.provisioning import FAILS, TOPOLOGY_KEY
from engine.compile import compile_policy
from engine.manifests import parse
from engine.model.objects import Node, NodeStatus, ObjectMeta, Pod, PodKey, Volume
from engine.model.storage import PersistentVolume, PersistentVolumeClaim, StorageClass, StorageObject
from engine.scheduler.simulation import Simulation
from engine.settings import Settings
from grammar.policy import CheckedPolicy
from tests.engine import storage as make
from tests.engine.cluster import simulated_world

HOST = "kubernetes.io/hostname"
BY_HAND = make.storage_class("local", "kubernetes.io/no-provisioner")
MADE = make.storage_class("made")


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """The binder's waits between tries are real time, of which a test has none to lose."""
    with (
        patch("tenacity.nap.time.sleep"),
        patch("engine.cluster.backoff.sleep_using_event", lambda _: lambda _: None),
    ):
        yield


def fill(cluster: SimulatedCluster, *objects: Pod | StorageObject, nodes: int = 2) -> None:
    for number in range(1, nodes + 1):
        cluster.add_node(
            Node(
                ObjectMeta(name=f"n{number}"),
                status=NodeStatus(allocatable={"cpu": "4", "memory": "8Gi", "pods": "110"}),
            )
        )
    for item in objects:
        cluster.apply(item)


def pod(name: str, *claims: str, ephemeral: tuple[Volume, ...] = ()) -> Pod:
    plain = simulated_world.pod(name, scheduler_name="custom-scheduler")
    volumes = (*(make.using(plain, *claims).spec.volumes or ()), *ephemeral)
    return replace(plain, spec=replace(plain.spec, volumes=volumes))


def local(name: str, node: str, size: str = "1Gi") -> PersistentVolume:
    return make.volume(name, size, "local", terms=make.on(HOST, node))


class World:
    """A simulated cluster with a scheduler on it."""

    def __init__(self, *objects: Pod | StorageObject, nodes: int = 2, **options: Any) -> None:
        self.cluster = SimulatedCluster(Options(**options))
        self.start = self.cluster.clock.now()
        fill(self.cluster, *objects, nodes=nodes)
        self.simulation = simulation_on(self.cluster)

    def until(self, seconds: float) -> None:
        self.simulation.run_until(self.start + seconds)

    def node_of(self, name: str) -> str:
        return node_of(self.cluster, name)

    def claim(self, name: str) -> PersistentVolumeClaim:
        found = self.cluster.get_claim("default", name)
        assert found is not None
        return found

    def told(self, reason: str = "FailedScheduling") -> list[str]:
        return [event.message for event in self.cluster.events if event.reason == reason]

    def settled(self) -> bool:
        volumes = self.simulation.cache.volumes
        return volumes.assumed == 0 and self.simulation.scheduler.binding == 0


def simulation_on(cluster: SimulatedCluster) -> Simulation:
    return Simulation(cluster, compile_policy(CheckedPolicy()), None, Settings())


def node_of(cluster: SimulatedCluster, name: str) -> str:
    found = cluster.get_pod("default", name)
    assert found is not None
    return found.spec.node_name


# Volumes that are there


def test_a_pod_goes_where_its_volume_is() -> None:
    world = World(BY_HAND, local("v2", "n2"), make.claim("data", "local"), pod("p", "data"))
    world.until(5)
    assert world.node_of("p") == "n2"
    assert world.claim("data").spec.volume_name == "v2"
    assert world.claim("data").bound
    assert world.told("Scheduled") == ["Successfully assigned default/p to n2"]
    assert world.settled()


def test_two_pods_never_get_one_volume() -> None:
    claims = [make.claim(f"data-{one}", "local") for one in range(3)]
    pods = [pod(f"p{one}", f"data-{one}") for one in range(3)]
    world = World(BY_HAND, local("v1", "n1"), local("v2", "n2"), *claims, *pods)
    world.until(3)
    bound = {world.claim(f"data-{one}").spec.volume_name for one in range(3)}
    assert bound == {"v1", "v2", ""}
    assert sorted(world.node_of(f"p{one}") for one in range(3)) == ["", "n1", "n2"]
    assert world.told()[0].startswith(
        "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind."
    )
    world.cluster.apply(local("v3", "n1"))
    world.until(20)
    assert all(world.node_of(f"p{one}") for one in range(3))
    assert world.settled()


def test_the_smallest_volume_is_given() -> None:
    world = World(
        BY_HAND,
        local("large", "n1", "9Gi"),
        local("small", "n1", "2Gi"),
        local("tiny", "n1", "500Mi"),
        make.claim("data", "local"),
        pod("p", "data"),
    )
    world.until(5)
    assert world.claim("data").spec.volume_name == "small"


def test_two_pods_that_share_a_claim_are_together_where_the_volume_is() -> None:
    world = World(
        BY_HAND,
        local("v1", "n1"),
        local("v2", "n2"),
        make.claim("data", "local", modes=("ReadWriteOnce",)),
        pod("p1", "data"),
        pod("p2", "data"),
    )
    world.until(5)
    assert world.node_of("p1") == world.node_of("p2") != ""


def test_a_volume_that_somebody_took_meanwhile() -> None:
    world = World(
        BY_HAND,
        local("v1", "n1"),
        make.claim("data", "local"),
        make.claim("theirs", "local"),
        pod("p", "data"),
    )
    cluster, give = world.cluster, world.cluster.give_volume

    def others_first(volume: PersistentVolume, claim: PersistentVolumeClaim) -> PersistentVolume:
        theirs = cluster.get_claim("default", "theirs")
        assert theirs is not None
        give(volume, theirs)
        return give(volume, claim)

    with patch.object(cluster, "give_volume", others_first):
        world.until(0.5)
    assert world.told() == ["binding to n1 failed: persistentvolume v1 is no longer free"]
    cluster.apply(local("v2", "n2"))
    world.until(20)
    assert world.node_of("p") == "n2"
    assert world.claim("theirs").spec.volume_name == "v1"


# Volumes that are made


def test_a_volume_is_made_for_the_node_and_the_pod_bound_after_it() -> None:
    world = World(MADE, make.claim("data", "made"), pod("p", "data"), provisioning=5.0)
    world.until(4)
    assert world.node_of("p") == ""
    node = world.claim("data").selected_node
    assert node in ("n1", "n2")
    assert world.simulation.scheduler.binding == 1
    world.until(6)
    assert world.node_of("p") == node
    assert world.claim("data").bound
    assert world.settled()


def test_pods_that_wait_for_volumes_take_room_and_hold_up_nobody() -> None:
    claims = [make.claim(f"data-{one}", "made") for one in range(50)]
    waiting = [pod(f"w{one}", f"data-{one}") for one in range(50)]
    world = World(MADE, *claims, *waiting, pod("plain"), provisioning=100.0)
    world.until(1)
    assert world.node_of("plain")
    assert world.simulation.scheduler.binding == 50
    assert sum(1 for placed in world.simulation.cache.pods() if placed.node) == 51
    world.until(110)
    assert all(world.node_of(f"w{one}") for one in range(50))


def test_a_cleared_annotation_means_another_try() -> None:
    claim = make.claim("data", "made", annotations={FAILS: "2"})
    world = World(MADE, claim, pod("p", "data"))
    world.until(60)
    assert world.node_of("p")
    assert {message.partition(" failed: ")[2] for message in world.told()} == {
        "provisioning failed for persistentvolumeclaim default/data"
    }
    assert world.settled()


def test_a_pod_gives_up_after_a_while_and_its_room_is_free_again() -> None:
    world = World(MADE, make.claim("data", "made"), pod("p", "data"), provisioning=1e6)
    world.until(599)
    assert world.told() == []
    world.until(601)
    assert len(world.told()) == 1
    assert world.told()[0].endswith("persistentvolumeclaim default/data not bound within 600 s")
    # The provisioner still works on it: the claim keeps its node, and the pod waits for it again.
    node = world.claim("data").selected_node
    world.until(700)
    assert world.claim("data").selected_node == node
    assert world.simulation.scheduler.binding == 1


def test_a_volume_that_its_node_does_not_reach() -> None:
    zoned = replace(MADE, metadata=replace(MADE.metadata, annotations={TOPOLOGY_KEY: HOST}))
    world = World(zoned, make.claim("data", "made"), pod("p", "data"))
    world.until(1)
    node = world.claim("data").selected_node
    assert node is not None
    world.cluster.label_node(node, {HOST: "elsewhere"})
    world.cluster.label_node("n1" if node == "n2" else "n2", {"other": "1"})
    world.until(2.5)
    assert world.node_of("p") == node  # its volume was made for the label that the node has by then
    volume = world.cluster.get_volume(world.claim("data").spec.volume_name)
    assert volume is not None
    assert volume.spec.node_affinity is not None


@pytest.mark.parametrize(
    "happens",
    [
        lambda cluster: cluster.delete("Pod", "default", "p"),
        lambda cluster: cluster.delete("PersistentVolumeClaim", "default", "data"),
        lambda cluster: [cluster.remove_node(node) for node in ("n1", "n2")],
        lambda cluster: cluster.delete("StorageClass", "", "made"),
    ],
    ids=["the pod is deleted", "the claim is deleted", "the nodes are gone", "the class is deleted"],
)
def test_what_may_happen_while_a_pod_waits(happens: Callable[[SimulatedCluster], object]) -> None:
    world = World(MADE, make.claim("data", "made"), pod("p", "data"), provisioning=10.0)
    world.until(5)
    assert world.simulation.scheduler.binding == 1
    happens(world.cluster)
    world.until(700)
    assert world.simulation.scheduler.binding == 0
    assert world.simulation.cache.volumes.assumed == 0
    assert not any(placed.node for placed in world.simulation.cache.pods())


def test_a_claim_for_one_pod_is_used_by_one_pod_at_a_time() -> None:
    world = World(
        MADE,
        make.claim("data", "made", modes=("ReadWriteOncePod",)),
        pod("p1", "data"),
        pod("p2", "data"),
        provisioning=1.0,
    )
    world.until(5)
    placed = [name for name in ("p1", "p2") if world.node_of(name)]
    assert len(placed) == 1
    assert "ReadWriteOncePod access mode already in-use by another pod" in world.told()[0]
    world.cluster.delete("Pod", "default", placed[0])
    world.until(60)
    assert world.node_of("p2" if placed == ["p1"] else "p1")


def test_ephemeral_volumes_come_and_go_with_their_pod() -> None:
    template = {
        "volumeClaimTemplate": {
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "made",
                "resources": {"requests": {"storage": "1Gi"}},
            }
        }
    }
    world = World(MADE, pod("p", ephemeral=(Volume(name="scratch", ephemeral=template),)))  # type: ignore[arg-type]
    world.until(10)
    assert world.node_of("p")
    assert world.claim("p-scratch").bound
    world.cluster.delete("Pod", "default", "p")
    world.until(60)
    assert world.cluster.get_claim("default", "p-scratch") is None
    assert world.cluster.list(ResourceKind.VOLUMES).items == ()


STATEFUL = """
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: disk
  annotations:
    storageclass.kubernetes.io/is-default-class: "true"
    simulated.berth/topology-key: kubernetes.io/hostname
provisioner: csi.example.com
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 3
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      schedulerName: custom-scheduler
      containers: [{name: main, resources: {requests: {cpu: "1"}}}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec:
        accessModes: [ReadWriteOnce]
        resources: {requests: {storage: 1Gi}}
"""


def test_pods_of_a_stateful_set_come_back_to_their_volumes() -> None:
    world = World()
    for item in parse(STATEFUL, "db.yaml").objects:
        world.cluster.apply(item)
    world.until(60)
    before = {name: world.node_of(name) for name in ("db-0", "db-1", "db-2")}
    assert all(before.values())
    assert [world.claim(f"data-db-{one}").bound for one in range(3)] == [True] * 3
    for name in before:
        world.cluster.delete("Pod", "default", name)
    world.until(200)
    assert {name: world.node_of(name) for name in before} == before
    assert len(world.cluster.list(ResourceKind.CLAIMS).items) == 3


# What is known


def test_pods_with_claims_wait_until_storage_is_known() -> None:
    world = World(BY_HAND, local("v1", "n1"), make.claim("data", "local"), pod("p", "data"), pod("plain"))
    simulation = world.simulation
    listings = {kind: world.cluster.list(kind) for kind in ResourceKind}
    late = [
        kind
        for kind in ResourceKind
        if "volume" in kind.value or "storage" in kind.value or "csi" in kind.value
    ]
    for kind, listing in listings.items():
        if kind not in late:
            for item in listing.items:
                simulation.scheduler.handle(Upserted(item))
            simulation.scheduler.handle(Synced(kind, len(listing.items)))
    simulation.scheduler.run_pass(10)
    assert world.node_of("plain")
    assert world.told() == []
    for kind in late:
        for item in listings[kind].items:
            simulation.scheduler.handle(Upserted(item))
        simulation.scheduler.handle(Synced(kind, 0))
    simulation.scheduler.run_pass(10)
    assert {placed.key.name: placed.node for placed in simulation.cache.pods()}["p"] == "n1"


def test_a_pod_is_told_why_storage_is_not_known() -> None:
    world = World(make.claim("data", "local"), pod("p", "data"))
    scheduler = world.simulation.scheduler
    for kind in ResourceKind:
        if kind not in (ResourceKind.CLAIMS, ResourceKind.VOLUMES):
            for item in world.cluster.list(kind).items:
                scheduler.handle(Upserted(item))
            scheduler.handle(Synced(kind, 0))
    scheduler.run_pass(10)
    assert world.told() == []
    why = "not allowed to list and watch persistentvolumes"
    scheduler.handle(Trouble(ResourceKind.VOLUMES, why))
    scheduler.run_pass(10)
    assert world.told() == [f"0/2 nodes are available: {why}."]


def test_a_deleted_volume_is_not_given() -> None:
    world = World(BY_HAND, local("v1", "n1"), make.claim("data", "local"))
    world.until(1)
    volume = world.cluster.get_volume("v1")
    assert volume is not None
    world.simulation.scheduler.handle(Deleted(volume))
    assert world.simulation.cache.volumes.volume("v1") is None


# Kills, and answers that go wrong


class Killed(BaseException):
    """We are gone, in the middle of it."""


OBJECTS: tuple[Pod | StorageClass | PersistentVolume | PersistentVolumeClaim, ...] = (
    BY_HAND,
    MADE,
    *(local(f"v{number}", f"n{1 + number % 2}", f"{1 + number}Gi") for number in range(6)),
    *(make.claim(f"here-{number}", "local") for number in range(4)),
    *(make.claim(f"new-{number}", "made") for number in range(4)),
    *(pod(f"p{number}", f"here-{number}", f"new-{number}") for number in range(4)),
)


class Mortal(SimulatedCluster):
    """Kills its caller at one of its writes, before or after it takes effect."""

    def __init__(self, at: int, after: bool) -> None:
        super().__init__(Options(provisioning=1.0))
        self.left = at
        self.after = after
        self.given: Counter[str] = Counter()
        self.bound: Counter[PodKey] = Counter()

    def _call(self, name: str, *arguments: object) -> Any:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Killed
        result = getattr(SimulatedCluster, name)(self, *arguments)
        if self.left == 0 and self.after:
            raise Killed
        return result

    def give_volume(self, volume: PersistentVolume, claim: PersistentVolumeClaim) -> PersistentVolume:
        return self._call("give_volume", volume, claim)  # type: ignore[no-any-return]

    def select_node(self, claim: PersistentVolumeClaim, node: str) -> PersistentVolumeClaim:
        return self._call("select_node", claim, node)  # type: ignore[no-any-return]

    def bind(self, pod: PodKey, node: str) -> None:
        self._call("bind", pod, node)
        self.bound[pod] += 1


def check_all(cluster: SimulatedCluster) -> None:
    for number in range(4):
        assert node_of(cluster, f"p{number}"), "a pod was forgotten"
    owners: dict[str, str] = {}
    for item in cluster.list(ResourceKind.CLAIMS).items:
        assert isinstance(item, PersistentVolumeClaim)
        assert item.bound
        assert item.spec.volume_name not in owners, "one volume for two claims"
        owners[item.spec.volume_name] = item.metadata.name
    for item in cluster.list(ResourceKind.VOLUMES).items:
        assert isinstance(item, PersistentVolume)
        if item.spec.claim_ref is not None:
            assert owners.get(item.metadata.name) == item.spec.claim_ref.name, "a volume is lost"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 13))
def test_killed_at_any_write_the_next_start_goes_on(at: int, after: bool) -> None:
    cluster = Mortal(at, after)
    fill(cluster, *OBJECTS)
    end = cluster.clock.now() + 120
    died = False
    try:
        simulation_on(cluster).run_until(end)
    except Killed:
        died = True
        simulation = simulation_on(cluster)
        simulation.run_until(end)
        assert simulation.scheduler.binding == 0
        assert simulation.cache.volumes.assumed == 0
    assert died
    check_all(cluster)


class Hostile(SimulatedCluster):
    """Answers writes wrongly, as it is told to."""

    def __init__(self, faults: list[int]) -> None:
        super().__init__(Options(provisioning=1.0))
        self.faults = iter(faults)

    def _call(self, name: str, *arguments: object) -> Any:
        fault = next(self.faults, 0)
        refusals = {
            1: Unreachable("reset"),
            2: ApiError(500, "InternalError", "tired"),
            3: ApiError(409, "Conflict", "no"),
        }
        if fault in refusals:
            raise refusals[fault]
        result = getattr(SimulatedCluster, name)(self, *arguments)
        if fault == 4:
            raise Unreachable("timed out")
        return result

    def give_volume(self, volume: PersistentVolume, claim: PersistentVolumeClaim) -> PersistentVolume:
        return self._call("give_volume", volume, claim)  # type: ignore[no-any-return]

    def select_node(self, claim: PersistentVolumeClaim, node: str) -> PersistentVolumeClaim:
        return self._call("select_node", claim, node)  # type: ignore[no-any-return]

    def bind(self, pod: PodKey, node: str) -> None:
        self._call("bind", pod, node)


@given(st.lists(st.integers(0, 4), max_size=40))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_answered_every_pod_gets_its_volumes(faults: list[int]) -> None:
    cluster = Hostile(faults)
    fill(cluster, *OBJECTS)
    simulation = simulation_on(cluster)
    simulation.run_until(cluster.clock.now() + 900)
    check_all(cluster)
    assert simulation.scheduler.binding == 0
    assert simulation.cache.volumes.assumed == 0


# Who is tried again, and who is not


def attempts(world: World, until: float) -> int:
    """How many decisions are made until then."""
    placer = world.simulation.placer
    with patch.object(placer, "place", wraps=placer.place) as place:
        world.until(until)
    return place.call_count


def test_a_claim_that_changes_wakes_its_own_pod_alone() -> None:
    claims = [make.claim(f"data-{one}", "local") for one in range(30)]
    pods = [pod(f"p{one}", f"data-{one}") for one in range(30)]
    world = World(BY_HAND, *claims, *pods)
    world.until(100)
    world.cluster.apply(make.claim("data-7", "made"))
    assert attempts(world, 105) <= 2
    world.cluster.apply(MADE)
    world.cluster.apply(make.claim("new", "made"))
    world.cluster.apply(pod("q", "new"))
    world.until(130)
    assert world.node_of("q")
    # Its volume is somebody's, and no use to the others.
    assert world.simulation.scheduler.queue.counts()["unschedulable"] == 29  # all but p7


def test_pods_that_waited_alike_are_tried_when_the_claim_of_one_is_bound() -> None:
    late = replace(BY_HAND, metadata=replace(BY_HAND.metadata, name="late"))
    world = World(
        late, make.claim("one", "late"), make.claim("two", "late"), pod("p1", "one"), pod("p2", "two")
    )
    world.until(30)
    assert (world.node_of("p1"), world.node_of("p2")) == ("", "")
    # By hand, for the second of them.
    world.cluster.apply(make.volume("v", storage_class="late", claim="two", phase="Available"))
    world.until(60)
    assert (world.node_of("p1"), bool(world.node_of("p2"))) == ("", True)


@pytest.mark.parametrize(
    "helps",
    [
        lambda cluster: cluster.apply(make.claim("data", "made")),
        lambda cluster: cluster.apply(make.claim("data", "local")),
    ],
    ids=["one that is made", "one that is there"],
)
def test_a_missing_claim_that_appears(helps: Callable[[SimulatedCluster], object]) -> None:
    world = World(BY_HAND, MADE, local("v1", "n1"), pod("p", "data"))
    world.until(30)
    assert world.told() == ['0/2 nodes are available: persistentvolumeclaim "data" not found.']
    helps(world.cluster)
    world.until(45)
    assert world.node_of("p")


def test_a_class_that_appears_and_room_that_grows() -> None:
    world = World(make.claim("data", "made", "5Gi"), pod("p", "data"))
    world.until(30)
    assert "unbound immediate" in world.told()[0]
    world.cluster.apply(make.csi_driver())
    world.cluster.apply(make.capacity("c", "1Gi", {}, storage_class="made"))
    world.cluster.apply(MADE)
    world.until(60)
    assert "did not have enough free storage" in world.told()[-1]
    world.cluster.apply(make.capacity("c", "9Gi", {}, storage_class="made"))
    world.until(90)
    assert world.node_of("p")
