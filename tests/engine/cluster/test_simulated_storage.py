"""Claims and volumes of the simulated cluster: bound, made, freed and taken away as by the stock controllers."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from engine.cluster.errors import ApiError
from engine.cluster.protocol import ResourceKind
from engine.cluster.simulated import Options, SimulatedCluster
from engine.cluster.simulated.provisioning import FAILS
from engine.cluster.simulated.storage import DEFAULT_CLASS
from engine.model.objects import LabelSelector
from engine.model.storage import (
    BOUND_BY_CONTROLLER,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    StorageObject,
)
from tests.engine import storage as make

NOW = make.storage_class("now", delayed=False)
LATE = make.storage_class("late")
HAND = make.storage_class("hand", "kubernetes.io/no-provisioner", delayed=False)


class World:
    """A cluster with nothing but storage."""

    def __init__(self, *objects: StorageObject, **options: Any) -> None:
        self.cluster = SimulatedCluster(Options(**options))
        for item in objects:
            self.cluster.apply(item)

    def run(self, seconds: float = 10.0) -> None:
        self.cluster.run_until(self.cluster.clock.now() + seconds)

    def claim(self, name: str = "data") -> PersistentVolumeClaim:
        found = self.cluster.get_claim("default", name)
        assert found is not None
        return found

    def volume(self, name: str) -> PersistentVolume:
        found = self.cluster.get_volume(name)
        assert found is not None
        return found

    def volumes(self) -> list[str]:
        return [item.metadata.name for item in self.cluster.list(ResourceKind.VOLUMES).items]


def with_notes(item: StorageClass, **notes: str) -> StorageClass:
    return replace(item, metadata=replace(item.metadata, annotations=notes))


IMMEDIATE = {
    "the smallest that does": (
        make.claim("data", "hand", "2Gi"),
        (
            make.volume("v5", "5Gi", "hand"),
            make.volume("v2", "2Gi", "hand"),
            make.volume("v1", "1Gi", "hand"),
        ),
        "v2",
    ),
    "of its class": (make.claim("data", "hand"), (make.volume("v", storage_class="other"),), ""),
    "by its labels": (
        make.claim("data", "hand", selector=LabelSelector({"tier": "x"})),
        (make.volume("a", storage_class="hand"), make.volume("b", "9Gi", "hand", labels={"tier": "x"})),
        "b",
    ),
    "with its access modes": (
        make.claim("data", "hand", modes=("ReadWriteMany",)),
        (make.volume("v", storage_class="hand"),),
        "",
    ),
    "with its mode": (
        make.claim("data", "hand", mode="Block"),
        (make.volume("v", storage_class="hand"), make.volume("b", "9Gi", "hand", mode="Block")),
        "b",
    ),
    "reserved for it": (
        make.claim("data", "hand"),
        (make.volume("a", storage_class="hand"), make.volume("b", "9Gi", "hand", claim="data")),
        "b",
    ),
    "nobody else's": (
        make.claim("data", "hand"),
        (make.volume("v", storage_class="hand", claim="other"),),
        "",
    ),
}


@pytest.mark.parametrize(("claim", "volumes", "bound"), IMMEDIATE.values(), ids=IMMEDIATE)
def test_which_volume_a_claim_gets(
    claim: PersistentVolumeClaim, volumes: tuple[PersistentVolume, ...], bound: str
) -> None:
    world = World(HAND, *volumes, claim)
    world.run()
    assert world.claim().spec.volume_name == bound
    assert world.claim().status.phase == ("Bound" if bound else "Pending")
    if bound:
        assert world.claim().bound
        assert world.volume(bound).is_for(world.claim())
        assert world.volume(bound).status.phase == "Bound"
        marked = BOUND_BY_CONTROLLER in (world.volume(bound).metadata.annotations or {})
        assert marked == (volumes[-1].spec.claim_ref is None)


def test_a_claim_waits_for_its_volume_to_come() -> None:
    world = World(HAND, make.claim("data", "hand"))
    world.run()
    assert [str(note) for note in world.cluster.notes] == [
        "PersistentVolumeClaim default/data: stays pending, as no volume does and the class hand makes none"
    ]
    world.cluster.apply(make.volume("v", storage_class="hand"))
    world.run()
    assert world.claim().bound


def test_a_volume_is_made_in_time() -> None:
    world = World(NOW, make.claim("data", "now", "3Gi"), provisioning=5.0)
    world.run(4)
    assert world.volumes() == []
    world.run(2)
    volume = world.volume(world.claim().spec.volume_name)
    assert (volume.spec.capacity, volume.storage_class, volume.status.phase) == (
        {"storage": "3Gi"},
        "now",
        "Bound",
    )
    assert volume.spec.csi is not None
    assert volume.spec.csi.driver == make.DRIVER


def test_a_claim_that_waits_for_its_consumer_gets_nothing_before() -> None:
    world = World(LATE, make.volume("v"), make.claim("data"))
    world.run(60)
    assert world.claim().status.phase == "Pending"
    world.cluster.give_volume(world.volume("v"), world.claim())
    world.run()
    assert world.claim().spec.volume_name == "v"


@pytest.mark.parametrize("of_class", [True, False], ids=["by its class", "by itself"])
def test_making_a_volume_fails_as_often_as_is_said(of_class: bool) -> None:
    claim = make.claim("data", annotations={} if of_class else {FAILS: "1"})
    world = World(with_notes(LATE, **{FAILS: "1"}) if of_class else LATE, claim)
    world.cluster.select_node(world.claim(), "n1")
    world.run()
    assert (world.claim().selected_node, world.claim().spec.volume_name) == (None, "")
    world.cluster.select_node(world.claim(), "n1")
    world.run()
    assert world.claim().bound


def test_claims_without_a_class_get_the_default_one() -> None:
    world = World(
        with_notes(NOW, **{DEFAULT_CLASS: "true"}), make.claim("data", None), make.claim("none", "")
    )
    world.run()
    assert world.claim().storage_class == "now"
    assert world.claim().bound
    assert world.claim("none").storage_class == ""


def test_what_becomes_of_volumes_without_their_claim() -> None:
    world = World(NOW, HAND, make.volume("kept", storage_class="hand"))
    for name, storage_class in (("made", "now"), ("data", "hand")):
        world.cluster.apply(make.claim(name, storage_class))
    world.run()
    assert len(world.volumes()) == 2
    for name in ("made", "data"):
        world.cluster.delete("PersistentVolumeClaim", "default", name)
    world.run()
    assert world.volumes() == ["kept"]
    assert world.volume("kept").status.phase == "Released"
    world.cluster.apply(make.claim("data", "hand", uid="another"))
    world.run()
    assert not world.claim().bound, "a new claim of the name is another one"


def test_a_claim_without_its_volume_is_lost() -> None:
    world = World(HAND, make.volume("v", storage_class="hand"), make.claim("data", "hand"))
    world.run()
    world.cluster.delete("PersistentVolume", "", "v")
    world.run()
    assert world.claim().status.phase == "Lost"


def test_applying_again_keeps_what_is_bound() -> None:
    world = World(HAND, make.volume("v", storage_class="hand"), make.claim("data", "hand"))
    world.run()
    before = world.claim()
    world.cluster.apply(make.claim("data", "hand"))
    world.cluster.apply(make.volume("v", storage_class="hand"))
    world.run()
    assert world.claim().bound
    assert world.claim().metadata.uid == before.metadata.uid
    assert world.volume("v").is_for(world.claim())


def test_what_is_not_there_cannot_be_deleted() -> None:
    with pytest.raises(ApiError, match="not found"):
        World().cluster.delete("PersistentVolume", "", "v")
