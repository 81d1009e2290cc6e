"""The values that decided about claims: of volumes, and of devices."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from importlib.resources import files

import jsonschema
import pytest
from msgspec.structs import replace

from engine.constraints.telling import Value
from engine.model.devices import DeviceObject, DeviceTaint
from engine.model.objects import GceDisk, Pod, Volume
from engine.model.storage import ONE_POD, StorageObject
from engine.placement.explanation import explain
from tests.engine import build
from tests.engine import devices as devs
from tests.engine import storage as make
from tests.engine.build import ZONE, Bench

SCHEMA = json.loads(files("engine.cli").joinpath("explain.schema.json").read_text())
HOST = "kubernetes.io/hostname"
LATE = make.storage_class()
BY_HAND = make.storage_class("late", "kubernetes.io/no-provisioner")
POD = make.using(build.pod("web"), "data")
GPU = devs.using(build.pod("web"), "gpus")


def told(
    items: Iterable[StorageObject | DeviceObject], pod: Pod, pods: Iterable[Pod] = (), node: str = "a"
) -> tuple[str, tuple[Value, ...]]:
    """Who refused the node, and why."""
    bench = Bench([build.node(name, {HOST: name}, zone="z1") for name in ("a", "b")])
    for item in items:
        if isinstance(item, StorageObject):
            bench.cache.volumes.put(item)
        else:
            bench.cache.devices.put(item)
    for one in pods:
        bench.cache.put_pod(one)
    verdict = explain(bench.placer, bench.cache.put_pod(pod), build.NOW).node(node)
    assert verdict is not None
    assert not verdict.fits
    refusal = verdict.refusals[0]
    schema = {"$ref": "#/$defs/value", "$defs": SCHEMA["$defs"]}
    for value in refusal.values:
        written = json.loads(json.dumps({"kind": value.kind, **asdict(value)}))
        jsonschema.Draft202012Validator(schema).validate(written)
    return refusal.source.name, refusal.values


BOUND = make.claim("data", volume="pv")
VOLUMES: dict[str, tuple[list[StorageObject], Pod, list[Pod], str, list[str]]] = {
    "a volume of another host": (
        [BOUND, make.volume("pv", terms=make.on(HOST, "b"))],
        POD,
        [],
        "VolumeBinding",
        [f"claim default/data: volume pv wants {HOST} in [b]; here {HOST}=a"],
    ),
    "a volume of another zone, by its label": (
        [BOUND, make.volume("pv", labels={ZONE: "z9"})],
        POD,
        [],
        "VolumeZone",
        [f"claim default/data: volume pv wants {ZONE} in [z9]; here {ZONE}=z1"],
    ),
    "no volume at all": (
        [make.claim("data"), BY_HAND],
        POD,
        [],
        "VolumeBinding",
        ["claim default/data of class late: 1Gi requested, no volume is free here, and the class makes none"],
    ),
    "only one that is too small": (
        [make.claim("data", size="5Gi"), BY_HAND, make.volume("pv", "2Gi"), make.volume("p2", "1Gi")],
        POD,
        [],
        "VolumeBinding",
        [
            "claim default/data of class late: 5Gi requested, the largest that is free here has 2Gi, "
            "and the class makes none"
        ],
    ),
    "one of other access modes": (
        [make.claim("data", modes=("ReadWriteMany",)), BY_HAND, make.volume("pv", "2Gi")],
        POD,
        [],
        "VolumeBinding",
        [
            "claim default/data of class late: 1Gi requested, the largest that is free here has 2Gi (but not its "
            "access modes, volume mode or labels, or another claim takes it), and the class makes none"
        ],
    ),
    "none is made there": (
        [make.claim("data"), make.storage_class(allowed=[{ZONE: ("z7", "z8")}])],
        POD,
        [],
        "VolumeBinding",
        [
            "claim default/data of class late: 1Gi requested, and volumes are made only where "
            f"{ZONE} in [z7, z8]"
        ],
    ),
    "too little room": (
        [make.claim("data", size="5Gi"), LATE, make.csi_driver(), make.capacity("c", "4Gi", {ZONE: "z1"})],
        POD,
        [],
        "VolumeBinding",
        ["claim default/data of class late: 5Gi requested, room for 4Gi here"],
    ),
    "the largest volume counts, not the room": (
        [
            make.claim("data", size="5Gi"),
            LATE,
            make.csi_driver(),
            make.capacity("c", "40Gi", {ZONE: "z1"}, largest="3Gi"),
        ],
        POD,
        [],
        "VolumeBinding",
        ["claim default/data of class late: 5Gi requested, room for 3Gi here"],
    ),
    "it is made for another node": (
        [make.claim("data", selected="b"), LATE],
        POD,
        [],
        "VolumeBinding",
        ["claim default/data of class late: 1Gi requested, and its volume is being made for b"],
    ),
    "a driver that takes no more": (
        [
            BOUND,
            make.volume("pv", handle="h1"),
            make.claim("old", volume="pw"),
            make.volume("pw", handle="h2"),
            make.csi_node("a", csi_example_com=1),
        ],
        POD,
        [make.using(build.pod("other", on="a"), "old")],
        "NodeVolumeLimits",
        [f"volumes of {make.DRIVER}: 1 more, 1 of 1 there"],
    ),
    "a claim for one pod": (
        [make.claim("data", volume="pv", modes=(ONE_POD,)), make.volume("pv", modes=(ONE_POD,))],
        POD,
        [make.using(build.pod("other", on="b"), "data")],
        "VolumeRestrictions",
        ["claim default/data is ReadWriteOncePod, and another pod uses it"],
    ),
}


@pytest.mark.parametrize(("items", "pod", "pods", "plugin", "texts"), VOLUMES.values(), ids=VOLUMES)
def test_volumes(
    items: list[StorageObject], pod: Pod, pods: list[Pod], plugin: str, texts: list[str]
) -> None:
    name, values = told(items, pod, pods)
    assert (name, [str(value) for value in values]) == (plugin, texts)


def test_a_disk_that_another_pod_has() -> None:
    def with_disk(name: str, on: str = "") -> Pod:
        made = build.pod(name, on=on)
        disk = Volume(name="disk", gce_persistent_disk=GceDisk("d-1"))
        return replace(made, spec=replace(made.spec, volumes=(disk,)))

    name, (value,) = told([], with_disk("web"), [with_disk("other", "a")])
    assert name == "VolumeRestrictions"
    assert "d-1" in str(value)
    assert str(value).endswith("is in use on the node")


CLASS = devs.device_class()
DEVICES: dict[str, tuple[list[DeviceObject], list[str]]] = {
    "too few": (
        [CLASS, devs.claim("gpus", devs.exactly(count=3)), devs.gpus("a", 2)],
        ["claim default/gpus, request gpu: 3 of class gpu requested, 2 free of 2 that match (2 on the node)"],
    ),
    "none on the node": (
        [CLASS, devs.claim("gpus"), devs.gpus("b", 2)],
        ["claim default/gpus, request gpu: 1 of class gpu requested, 0 free of 0 that match (0 on the node)"],
    ),
    "none that match": (
        [CLASS, devs.claim("gpus", devs.exactly("device.attributes['gpu.example.com'].index > 7")),
         devs.gpus("a", 2)],
        ["claim default/gpus, request gpu: 1 of class gpu requested, 0 free of 0 that match (2 on the node)"],
    ),
    "taken by another claim": (
        [CLASS, devs.claim("gpus", devs.exactly(count=2)), devs.gpus("a", 3),
         devs.claim("other", allocation=devs.allocated("a", "gpu-0", "gpu-1"), users=["x"])],
        ["claim default/gpus, request gpu: 2 of class gpu requested, 1 free of 3 that match (3 on the node)"],
    ),
    "all are asked for, and one is taken": (
        [CLASS, devs.claim("gpus", devs.exactly(allocation_mode="All")), devs.gpus("a", 2),
         devs.claim("other", allocation=devs.allocated("a", "gpu-0"), users=["x"])],
        ["claim default/gpus, request gpu: all of class gpu requested, 1 free of 2 that match (2 on the node)"],
    ),
    "each by itself would do": (
        [CLASS, devs.claim("gpus", devs.exactly(name="one"), devs.exactly(name="two")), devs.gpus("a", 1)],
        ["claim default/gpus, request one: 1 of class gpu requested, 1 free of 1 that match (1 on the node); "
         "together with what else is asked for, they do not do",
         "claim default/gpus, request two: 1 of class gpu requested, 1 free of 1 that match (1 on the node); "
         "together with what else is asked for, they do not do"],
    ),
    "given on another node": (
        [CLASS, devs.claim("gpus", allocation=devs.allocated("b", "gpu-1")), devs.gpus("b", 2)],
        ["claim default/gpus has gpu.example.com/b/gpu-1, which want metadata.name in [b]"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("items", "texts"), DEVICES.values(), ids=DEVICES)
def test_devices(items: list[DeviceObject], texts: list[str]) -> None:
    name, values = told(items, GPU)
    assert (name, [str(value) for value in values]) == ("DynamicResources", texts)


def test_a_tainted_device_is_not_free() -> None:
    tainted = devs.gpus("a", 1)
    (device,) = tainted.spec.devices or ()
    device = replace(device, taints=(DeviceTaint("broken", "", "NoSchedule"),))
    tainted = replace(tainted, spec=replace(tainted.spec, devices=(device,)))
    _, (value,) = told([CLASS, devs.claim("gpus"), tainted], GPU)
    assert "0 free of 1 that match (1 on the node)" in str(value)
