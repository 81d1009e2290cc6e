"""Ten thousand objects that make no sense: none ends the loop, and none costs another pod its place."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import msgspec
import pytest

from engine.cluster.protocol import Object
from engine.cluster.reflector import Deleted, Synced, Upserted
from engine.cluster.simulated import SimulatedCluster
from engine.compile import compile_policy
from engine.model.objects import Node, Pod, PodDisruptionBudget, ReplicaSet
from engine.model.storage import CSINode, PersistentVolume, PersistentVolumeClaim
from engine.scheduler.simulation import Simulation
from engine.scheduler.watched import WATCHED
from engine.settings import Settings
from grammar.policy import CheckedPolicy
from tests.engine.scheduler.bare import OURS, Bare
from tests.engine.scheduler.nonsense import NODE, OTHERS, POD, mutated
from tests.engine.scheduler.test_simulation import plan

ZONES = "topology.kubernetes.io/zone"
KINDS: tuple[type[Object], ...] = (Pod, Node, *(type_ for type_, _, _ in OTHERS))


def drawn(number: int, random_: random.Random) -> tuple[type[Object], dict[str, Any]]:
    """One object of some kind, whole as yet: half are pods, and names are few, so that they are about each other."""
    chance = random_.random()
    if chance < 0.4:
        metadata = {**POD["metadata"], "name": f"p{number % 50}", "uid": str(number)}
        return Pod, {**POD, "metadata": metadata}
    if chance < 0.5:
        return Node, {**NODE, "metadata": {**NODE["metadata"], "name": f"n{number % 7}"}}
    type_, name, rest = random_.choice(OTHERS)
    plain = name if "." in name or name == "default" else f"{name}{random_.randrange(3)}"
    metadata = {
        **rest.get("metadata", {}),
        "name": plain,
        "uid": f"uid-{plain}",
        "resourceVersion": str(number),
    }
    return type_, {**rest, "metadata": metadata}


def test_ten_thousand_mutated_objects(caplog: pytest.LogCaptureFixture) -> None:
    random_ = random.Random(20)
    cluster = SimulatedCluster()
    simulation = Simulation(cluster, plan(), None, Settings())
    scheduler = simulation.scheduler
    for kind in WATCHED:
        scheduler.handle(Synced(kind, 0))
    for name in ("n0", "n1"):
        good = {**NODE, "metadata": {**NODE["metadata"], "name": name}, "spec": {}}
        scheduler.handle(Upserted(msgspec.json.decode(json.dumps(good), type=Node)))
    decoded: Counter[type[Object]] = Counter()
    for number in range(10_000):
        type_, origin = drawn(number, random_)
        try:
            item: Object = msgspec.json.decode(mutated(origin, random_), type=type_)
        except (msgspec.DecodeError, RecursionError):
            continue  # which the way from the API server logs, and leaves out
        decoded[type_] += 1
        scheduler.handle(Upserted(item))
        scheduler.run_pass(2)
        if random_.random() < 0.4:
            scheduler.handle(Deleted(item))
    assert decoded.total() > 4000, "most mutations must get through to the loop"
    assert {type_: decoded[type_] > 80 for type_ in KINDS} == dict.fromkeys(KINDS, True)
    simulation.swap_plan(compile_policy(CheckedPolicy()))
    # Of a zone of its own: whoever of the mutated wants nobody near, is not near.
    labels = {"kubernetes.io/hostname": "fresh", ZONES: "fresh"}
    good = {**NODE, "metadata": {**NODE["metadata"], "name": "fresh", "labels": labels}, "spec": {}}
    scheduler.handle(Upserted(msgspec.json.decode(json.dumps(good), type=Node)))
    spec = {
        "schedulerName": "custom-scheduler",
        "priority": 1000,
        "nodeSelector": {"kubernetes.io/hostname": "fresh"},
    }
    plain = {"metadata": {"name": "plain", "namespace": "other", "uid": "plain"}, "spec": spec}
    scheduler.handle(Upserted(msgspec.json.decode(json.dumps(plain), type=Pod)))
    for _ in range(1000):
        scheduler.run_pass(16)
    placed = next(pod for pod in simulation.cache.pods() if pod.key.name == "plain")
    assert placed.node, "a pod that is well is placed, whatever came before"
    assert [record.getMessage() for record in caplog.records if "unexpectedly" in record.getMessage()] == []


MAIN = {"name": "main", "resources": {"requests": {"cpu": "1"}}}


def spread(**more: Any) -> dict[str, Any]:
    constraint = {"maxSkew": 1, "topologyKey": ZONES, "whenUnsatisfiable": "DoNotSchedule"}
    return {
        "topologySpreadConstraints": [{**constraint, "labelSelector": {"matchLabels": {"app": "a"}}, **more}]
    }


def anti(key: str, selector: dict[str, Any] | None) -> dict[str, Any]:
    term = {"topologyKey": key, "labelSelector": selector}
    return {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}


def near(key: str, selector: dict[str, Any] | None) -> dict[str, Any]:
    term = {"topologyKey": key, "labelSelector": selector}
    return {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}


NOTHING = {"matchExpressions": [{"key": "app", "operator": "In", "values": []}]}
NEVER = {
    "matchExpressions": [{"key": "app", "operator": "Exists"}, {"key": "app", "operator": "DoesNotExist"}]
}
ODD: dict[str, tuple[dict[str, Any], list[tuple[type[Object], dict[str, Any]]], str | None]] = {
    "anti-affinity to nothing": (anti(ZONES, NOTHING), [], None),
    "anti-affinity to what contradicts itself": (anti(ZONES, NEVER), [], None),
    "affinity to nothing": (near(ZONES, NEVER), [], "didn't match pod affinity rules"),
    "affinity by a key that no node has": (
        near("example.com/rack", {"matchLabels": {"app": "a"}}), [], "didn't match pod affinity rules"),
    "anti-affinity by a key that no node has": (anti("example.com/rack", {"matchLabels": {"app": "a"}}), [], None),
    "spread over a key that no node has": (
        spread(topologyKey="example.com/rack"), [],
        "didn't match pod topology spread constraints (missing required label)"),
    "spread of nothing": (spread(labelSelector=NOTHING), [], None),
    "spread by a selector that is not there": (spread(labelSelector=None), [], None),
    "a quantity of two suffixes": (
        {"containers": [{"name": "main", "resources": {"requests": {"cpu": "1e3Ki"}}}]}, [], "left out"),
    "a claim that points nowhere": (
        {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "gone"}}]}, [],
        'persistentvolumeclaim "gone" not found'),
    "a claim of a volume that is gone": (
        {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "pvc"}}]},
        [(PersistentVolumeClaim, {
            "metadata": {"name": "pvc", "namespace": "default", "uid": "c",
                         "annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
            "spec": {"volumeName": "gone"}, "status": {"phase": "Bound"}})],
        'persistentvolume "gone" not found'),
    "a limit of more than 64 bits": (
        {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "pvc"}}]},
        [(CSINode, {"metadata": {"name": name}, "spec": {"drivers": [
            {"name": "csi.example.com", "allocatable": {"count": count}}]}})
         for name, count in (("n0", 2**70), ("n1", -(2**70)))] +
        [(PersistentVolume, {"metadata": {"name": "pv"}, "spec": {
            "csi": {"driver": "csi.example.com", "volumeHandle": "h"}}}),
         (PersistentVolumeClaim, {
             "metadata": {"name": "pvc", "namespace": "default", "uid": "c",
                          "annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
             "spec": {"volumeName": "pv"}, "status": {"phase": "Bound"}})],
        None),
    "a claim of devices that points nowhere": (
        {"resourceClaims": [{"name": "g", "resourceClaimName": "gone"}]}, [], 'resourceclaim "gone" not found'),
    "a claim of a class that is not there, of an odd size": (
        {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "pvc"}}]},
        [(PersistentVolumeClaim, {
            "metadata": {"name": "pvc", "namespace": "default", "uid": "c"},
            "spec": {"storageClassName": "gone", "resources": {"requests": {"storage": "1e3Ki"}}}})],
        "pod has unbound immediate PersistentVolumeClaims"),
    "an owner that is gone": (
        {}, [(ReplicaSet, {"metadata": {"name": "other", "namespace": "default", "uid": "x"},
                           "spec": {"selector": NEVER}})], None),
    "budgets that match a pod in two ways": (
        {}, [(PodDisruptionBudget, {
            "metadata": {"name": name, "namespace": "default", "uid": name},
            "spec": {"minAvailable": "200%", "maxUnavailable": -1, "selector": {
                "matchLabels": {"app": "a"},
                "matchExpressions": [{"key": "app", "operator": operator, "values": ["a"]}]}},
            "status": {"disruptionsAllowed": -5, "disruptedPods": {"odd": None}}})
             for name, operator in (("one", "In"), ("two", "NotIn"))], None),
    "fields of a newer version": (
        {"newerField": {"deep": [1, {"x": None}]}, "containers": [{**MAIN, "newer": True}]}, [], None),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "items", "said"), ODD.values(), ids=ODD)
def test_nonsense_by_name(
    spec: dict[str, Any],
    items: list[tuple[type[Object], dict[str, Any]]],
    said: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each has the fate that it has in Kubernetes, and another pod its place."""
    bare = Bare()
    for name in ("n0", "n1"):
        labels = {ZONES: name, "newer": "x"}
        made = {
            "metadata": {"name": name, "labels": labels, "newerField": 1},
            "status": {**NODE["status"], "newerField": {}},
            "newerField": [],
        }
        bare.handle(Upserted(msgspec.json.decode(json.dumps(made), type=Node)))
    for type_, item in items:
        bare.handle(Upserted(msgspec.json.decode(json.dumps(item), type=type_)))
    owner = {"kind": "ReplicaSet", "name": "gone", "uid": "g", "controller": True, "apiVersion": "apps/v1"}
    for name, own in (("odd", spec), ("plain", {})):
        about: dict[str, Any] = {"name": name, "namespace": "default", "uid": name}
        about["labels"] = {"app": name[:1]}
        if name == "odd":
            about |= {"labels": {"app": "a"}, "ownerReferences": [owner]}
        made = {"metadata": about, "spec": {"schedulerName": OURS, "containers": [MAIN], **own}}
        bare.handle(Upserted(msgspec.json.decode(json.dumps(made), type=Pod)))
    placed = bare.run()
    told = [event.message for event in bare.told.events if event.reason == "FailedScheduling"]
    assert "plain" in placed
    assert ("odd" in placed) == (said is None), told
    if said is not None:
        logged = [record.getMessage() for record in caplog.records]
        assert any(said in text for text in (*told, *logged)), (told, logged)
    assert [text for text in caplog.messages if "unexpectedly" in text] == []
