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
from engine.model.objects import Node, Pod
from engine.scheduler.simulation import Simulation
from engine.scheduler.watched import WATCHED
from engine.settings import Settings
from grammar.policy import CheckedPolicy
from tests.engine.scheduler.nonsense import NODE, OTHERS, POD, mutated
from tests.engine.scheduler.test_simulation import plan

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
    good = {**NODE, "metadata": {**NODE["metadata"], "name": "fresh"}, "spec": {}}
    scheduler.handle(Upserted(msgspec.json.decode(json.dumps(good), type=Node)))
    spec = {
        "schedulerName": "custom-scheduler",
        "priority": 1000,
        "nodeSelector": {"kubernetes.io/hostname": "n"},
    }
    plain = {"metadata": {"name": "plain", "namespace": "other", "uid": "plain"}, "spec": spec}
    scheduler.handle(Upserted(msgspec.json.decode(json.dumps(plain), type=Pod)))
    for _ in range(1000):
        scheduler.run_pass(16)
    placed = next(pod for pod in simulation.cache.pods() if pod.key.name == "plain")
    assert placed.node, "a pod that is well is placed, whatever came before"
    assert [record.getMessage() for record in caplog.records if "unexpectedly" in record.getMessage()] == []
