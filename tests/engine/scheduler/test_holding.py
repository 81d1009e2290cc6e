"""Which placeholders have to go for a pod that moves: as few as make room, and never one that carries a pod."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec
import pytest

from engine.binder.errands import Errand
from engine.cluster.wire import decode_pod
from engine.healing.placeholders import manifest
from engine.model.objects import Node, ObjectMeta, Pod
from engine.model.placeholder import FOR_ONE, PRIORITY
from engine.placement import Placer
from engine.scheduler.holding import Holding
from engine.state.cache import Cache
from engine.state.pods import PlacedPod
from tests.engine.scheduler.scenes import GIB, RESERVE, RULES, node, plan, spec


class Errands:
    def submit(self, errand: Errand) -> None:
        raise AssertionError("nothing is sent")

    def stop(self, timeout: float = 0.0) -> int:
        return 0


def on(name: str, memory: str) -> Pod:
    metadata = ObjectMeta(name=name, namespace="default", uid=name)
    return Pod(metadata, msgspec.structs.replace(spec("100m", memory), node_name="n"))


def placeholder(at: Node, name: str, label: str, gib: int) -> Pod:
    written = manifest(name, "kube-system", label, at, {"memory": gib * GIB} if gib else {}, "pause")
    written["metadata"]["uid"] = name  # type: ignore[index]
    written["spec"]["priority"] = PRIORITY  # type: ignore[index]
    return decode_pod(json.dumps(written).encode())


def world(held: Mapping[str, tuple[str, int]], places: int) -> tuple[Cache, Holding]:
    """A node of 8Gi, 4Gi of which one pod has; and placeholders: name → label, Gi of memory."""
    cache = Cache()
    at = node("n")
    allocatable = {**(at.status.allocatable or {}), "pods": str(places)}
    at = msgspec.structs.replace(at, status=msgspec.structs.replace(at.status, allocatable=allocatable))
    cache.put_node(at)
    cache.put_pod(on("there", "4Gi"))
    holding = Holding(cache, Errands(), "kube-system", "pause")
    for name, (label, gib) in held.items():
        holding.pod(cache.put_pod(placeholder(at, name, label, gib)), label)
    return cache, holding


def coming(gib: int) -> PlacedPod:
    pod = on("coming", f"{gib}Gi")
    return Cache().put_pod(msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, node_name="")))


HELD = {"a": ("backup", 1), "b": ("backup", 2), "p1": ("backup", 0), "p2": ("backup", 0)}


@pytest.mark.parametrize(
    ("held", "places", "gib", "goes"),
    [
        (HELD, 110, 1, []),
        (HELD, 110, 2, ["a"]),
        (HELD, 110, 3, ["a", "b"]),
        (HELD, 5, 1, ["p1"]),
        (HELD, 5, 2, ["a"]),
        ({"a": ("backup", 1), "b": (FOR_ONE, 3)}, 110, 1, ["a"]),
        ({"b": (FOR_ONE, 4)}, 110, 1, []),
        ({}, 110, 8, []),
    ],
    ids=[
        "room beside them",
        "a little",
        "all of it",
        "only a place",
        "a place and room",
        "beside what carries a pod",
        "nothing but what carries a pod",
        "nothing to go",
    ],
)
def test_what_goes(held: dict[str, tuple[str, int]], places: int, gib: int, goes: list[str]) -> None:
    _, holding = world(held, places)
    assert [key.name for key in holding.in_the_way(coming(gib), "n")] == goes


def test_what_was_promised_before_counts() -> None:
    cache, holding = world({"a": ("backup", 1), "b": ("backup", 2)}, 110)
    first = coming(2)
    cache.nominations.put(first, "n")
    assert [key.name for key in holding.in_the_way(coming(1), "n")] == ["a", "b"]


@pytest.mark.parametrize("priority", [0, 2_000_000_000], ids=["a covered pod", "what the cluster needs"])
def test_what_carries_a_pod_is_not_preempted(priority: int) -> None:
    cache, _ = world({"a": ("backup", 1), "b": (FOR_ONE, 1)}, 110)
    labels = {"delay_gateway": "25"}
    asking = Pod(
        ObjectMeta(name="asking", namespace="default", uid="asking", labels=labels), spec("1", "4Gi")
    )
    asking = msgspec.structs.replace(asking, spec=msgspec.structs.replace(asking.spec, priority=priority))
    pod = cache.put_pod(asking)
    placer = Placer(cache, plan(RULES + RESERVE))
    taken = [
        one.key.name for one in cache.pods_on("n") if placer.may_take(pod, one) and one.key.name != "there"
    ]
    assert taken == ["a"]
