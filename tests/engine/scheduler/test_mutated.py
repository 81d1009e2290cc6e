"""Ten thousand objects that make no sense: none ends the loop, and none costs another pod its place."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from engine.cluster.reflector import Deleted, Synced, Upserted
from engine.cluster.simulated import SimulatedCluster
from engine.compile import compile_policy
from engine.model.objects import Node, Pod
from engine.scheduler.simulation import Simulation
from engine.scheduler.watched import WATCHED
from engine.settings import Settings
from grammar.policy import CheckedPolicy
from tests.engine.scheduler.test_simulation import plan

NODE: dict[str, Any] = {
    "metadata": {
        "name": "n",
        "uid": "u",
        "labels": {"kubernetes.io/hostname": "n", "topology.kubernetes.io/zone": "a", "role": "edge"},
        "creationTimestamp": "2026-01-01T00:00:00Z",
    },
    "spec": {"unschedulable": False, "taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]},
    "status": {
        "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110", "example.com/gpu": "2"},
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}
POD: dict[str, Any] = {
    "metadata": {
        "name": "p",
        "namespace": "default",
        "uid": "u",
        "labels": {"app": "a", "delay_n0": "25", "cloudable": "yes"},
        "ownerReferences": [{"kind": "ReplicaSet", "name": "a-1", "uid": "o", "controller": True}],
    },
    "spec": {
        "schedulerName": "custom-scheduler",
        "priority": 0,
        "nodeSelector": {"role": "edge"},
        "tolerations": [{"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}],
        "containers": [
            {
                "name": "main",
                "resources": {"requests": {"cpu": "1", "memory": "64Mi", "example.com/gpu": "1"}},
                "ports": [{"containerPort": 80, "hostPort": 80, "protocol": "TCP", "hostIP": "127.0.0.1"}],
            }
        ],
        "initContainers": [
            {"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}}
        ],
        "overhead": {"cpu": "10m"},
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "role", "operator": "In", "values": ["edge"]}]},
                        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]},
                    ]
                },
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 5,
                        "preference": {"matchExpressions": [{"key": "x", "operator": "Gt", "values": ["5"]}]},
                    }
                ],
            },
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "topologyKey": "topology.kubernetes.io/zone",
                        "labelSelector": {
                            "matchLabels": {"app": "b"},
                            "matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["c"]}],
                        },
                        "namespaceSelector": {},
                    }
                ]
            },
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": "a"}},
                "minDomains": 2,
            }
        ],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "nowhere"}}],
        "schedulingGates": [],
    },
    "status": {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}],
        "containerStatuses": [{"name": "main", "restartCount": 1, "resources": {"requests": {"cpu": "1"}}}],
    },
}
JUNK: tuple[Any, ...] = (
    None, True, -1, 0, 2**70, 1.5, "", "x", "fast", "-3", "1e9", "1e3Ki", "٣", "🙂" * 40, [], {}, ["x"], {"x": "y"},
    "NotIn", "Gt", "Exists", "0", "9" * 40, "a/b/c", "DoNotSchedule", "ScheduleAnyway", "2026-13-45T99:00:00Z", "::",
)  # fmt: skip


def spots(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything within a value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield (*path, key)
        yield from spots(inner, (*path, key))


def mutated(origin: dict[str, Any], random_: random.Random) -> bytes:
    """The object with one to four things replaced, left out or added; its identity stays what it is."""
    changed = json.loads(json.dumps(origin))
    for _ in range(random_.randint(1, 4)):
        *way, last = random_.choice(
            [path for path in spots(changed) if path[0] != "metadata" or len(path) > 2]
        )
        holder = changed
        for key in way:
            holder = holder[key]
        match random_.randrange(3):
            case 0:
                holder[last] = random_.choice(JUNK)
            case 1:
                del holder[last]
            case _ if isinstance(holder, dict):
                holder[random_.choice(["x", "newerField", str(last) + "2"])] = random_.choice(JUNK)
            case _:
                holder.append(random_.choice(JUNK))
    return json.dumps(changed).encode()


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
    decoded = 0
    for number in range(10_000):
        type_: type[Pod] | type[Node]
        if number % 4:
            origin, type_ = (
                {**POD, "metadata": {**POD["metadata"], "name": f"p{number % 50}", "uid": str(number)}},
                Pod,
            )
        else:
            origin, type_ = {**NODE, "metadata": {**NODE["metadata"], "name": f"n{number % 7}"}}, Node
        try:
            item: Pod | Node = msgspec.json.decode(mutated(origin, random_), type=type_)
        except (msgspec.DecodeError, RecursionError):
            continue  # which the way from the API server logs, and leaves out
        decoded += 1
        scheduler.handle(Upserted(item))
        scheduler.run_pass(2)
        if random_.random() < 0.4:
            scheduler.handle(Deleted(item))
    assert decoded > 3000, "most mutations must get through to the loop"
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
