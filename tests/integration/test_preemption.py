"""Preemption beside the real kube-scheduler: it makes room where we would, takes away whom we would, or says why not.

``pytest tests/integration/test_preemption.py --clusters 300 --seed 7 -s``
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from random import Random
from typing import Any

import pytest

from engine.cluster import wire
from engine.cluster.api import ApiCluster, connect
from engine.cluster.protocol import ResourceKind
from engine.compile import compile_policy
from engine.model.objects import Namespace, Node, Pod, PodDisruptionBudget
from engine.placement import Placer, Preemption
from engine.state.cache import Cache
from grammar.policy import CheckedPolicy
from tests.controlplane.api import Object
from tests.controlplane.plane import ControlPlane
from tests.integration.test_differential import Peer, condition, pods_of, remove

pytestmark = pytest.mark.integration

SPACE = "preemption"
PRIORITIES = {"meekest": -1000, "lowest": -10, "low": 0, "middle": 100, "high": 500}
HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
SECONDS = 20.0


@pytest.fixture(scope="module")
def peer(control_plane: ControlPlane) -> Iterator[Peer]:
    control_plane.reset()
    control_plane.create_namespace(SPACE)
    for name, value in PRIORITIES.items():
        control_plane.api.post(
            "/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": name}, "value": value}
        )
    control_plane.start_scheduler()
    with closing(Peer(control_plane)) as peer:
        yield peer
    control_plane.stop_scheduler()
    control_plane.reset()


@pytest.fixture(scope="module")
def ours(control_plane: ControlPlane) -> Iterator[ApiCluster]:
    cluster = connect(control_plane.kubeconfig)
    yield cluster
    cluster.close()


def node(r: Random, name: str) -> Object:
    amounts = {"cpu": r.choice("2234"), "memory": "8Gi", "pods": r.choice(("3", "110"))}
    tainted = [{"key": "dedicated", "effect": "NoSchedule"}] if r.random() < 0.15 else []
    return {
        "metadata": {"name": name, "labels": {HOST: name, ZONE: r.choice(("z1", "z2"))}},
        "spec": {"taints": tainted},
        "status": {"capacity": amounts, "allocatable": amounts},
    }


def pod(r: Random, name: str, priority: str, cpu: str, rich: float) -> Object:
    ports = [{"containerPort": 80, "hostPort": 80}] if r.random() < rich else []
    spec: dict[str, Any] = {
        "priorityClassName": priority,
        "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}, "ports": ports}],
    }
    if r.random() < rich:
        term = {
            "labelSelector": {"matchLabels": {"app": r.choice("ab")}},
            "topologyKey": r.choice((HOST, ZONE)),
        }
        spec["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    if r.random() < rich:
        spec["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": r.choice((HOST, ZONE)),
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": r.choice("ab")}},
            }
        ]
    return {"metadata": {"name": name, "labels": {"app": r.choice("ab")}}, "spec": spec}


def set_up(peer: Peer, r: Random, seed: int) -> list[str]:
    """Nodes full of pods, some protected; returns the nodes' names when kube-scheduler knows of all."""
    api = peer.api
    for number in range(r.choice((0, 1, 1))):
        budget: Object = {"metadata": {"name": f"budget-{seed}-{number}"}}
        budget["spec"] = {"minAvailable": 1, "selector": {"matchLabels": {"app": r.choice("ab")}}}
        made = api.post(f"/apis/policy/v1/namespaces/{SPACE}/poddisruptionbudgets", budget)
        status: Object = {"disruptionsAllowed": r.choice((0, 0, 1)), "observedGeneration": 1}
        status |= {"currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}
        path = f"/apis/policy/v1/namespaces/{SPACE}/poddisruptionbudgets/{made['metadata']['name']}/status"
        api.patch(path, {"status": status})
    names = [f"n{seed}-{number}" for number in range(r.randint(1, 4))]
    for name in names:
        api.post("/api/v1/nodes", node(r, name))
    start = 0
    for name in names:
        for number in range(r.randint(1, 4)):
            priority, cpu = (
                r.choice(("lowest", "low", "low", "middle", "high")),
                r.choice(("250m", "500m", "1")),
            )
            running = pod(r, f"{name}-{number}", priority, cpu, 0.12)
            running["spec"]["nodeName"] = name
            made = api.post(pods_of(SPACE), running)
            start += r.randint(1, 100)  # no two start together, so that they have an order
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_700_000_000 + start))
            api.patch(
                f"{pods_of(SPACE)}/{made['metadata']['name']}/status",
                {"status": {"startTime": at, "phase": "Running"}},
            )
    probe: Object = {"metadata": {"name": f"probe-{seed}"}}
    probe["spec"] = {
        "nodeSelector": {HOST: names[-1]},
        "containers": [{"name": "c", "image": "i"}],
        "tolerations": [{"operator": "Exists"}],
        "priorityClassName": "meekest",  # so that it takes nobody away
    }
    made = api.post(pods_of(SPACE), probe)
    peer.decided(made)
    remove(api, made)
    return names


def tear_down(peer: Peer, names: list[str]) -> None:
    peer.plane.delete_pods(SPACE)
    budgets = peer.api.get(f"/apis/policy/v1/namespaces/{SPACE}/poddisruptionbudgets")["items"]
    for budget in budgets:
        peer.api.delete(
            f"/apis/policy/v1/namespaces/{SPACE}/poddisruptionbudgets/{budget['metadata']['name']}"
        )
    for name in names:
        peer.api.delete(f"/api/v1/nodes/{name}")


def our_answer(ours: ApiCluster, made: Object) -> tuple[str | None, Preemption | None]:
    cache = Cache()
    for kind in (ResourceKind.NAMESPACES, ResourceKind.NODES, ResourceKind.PODS, ResourceKind.BUDGETS):
        for item in ours.list(kind).items:
            match item:
                case Pod() if item.metadata.name != made["metadata"]["name"]:
                    cache.put_pod(item)
                case Node():
                    cache.put_node(item)
                case Namespace():
                    cache.put_namespace(item.metadata.name, item.metadata.labels or {})
                case PodDisruptionBudget():
                    cache.budgets.put(item)
    placer = Placer(cache, compile_policy(CheckedPolicy()))
    asked = cache.put_pod(wire.decode_pod(json.dumps(made).encode()))
    decision = placer.place(asked, 0.0, preempt=True)
    return decision.node, decision.preemption


def their_victims(peer: Peer) -> set[str]:
    items = peer.api.get(pods_of(SPACE))["items"]
    return {one["metadata"]["name"] for one in items if one["metadata"].get("deletionTimestamp")}


def test_beside_kube_scheduler(peer: Peer, ours: ApiCluster, request: pytest.FixtureRequest) -> None:
    number, first = request.config.getoption("--clusters"), request.config.getoption("--seed")
    seen: Counter[str] = Counter()
    victims: Counter[int] = Counter()
    for seed in range(first, first + number):
        r = Random(seed)
        names = set_up(peer, r, seed)
        try:
            asked = pod(r, f"new-{seed}", r.choice(("middle", "high", "high")), r.choice("1223"), 0.2)
            before = dict(asked, metadata={**asked["metadata"], "namespace": SPACE, "uid": "before"})
            before["spec"] = {**asked["spec"], "priority": PRIORITIES[asked["spec"]["priorityClassName"]]}
            node_of_ours, found = our_answer(ours, before)
            theirs = peer.decided(peer.api.post(pods_of(SPACE), asked))
            about = f"seed {seed}"
            if theirs["spec"].get("nodeName"):
                seen["placed"] += 1
                assert node_of_ours is not None, about
                continue
            told = condition(theirs)
            assert told is not None
            assert node_of_ours is None, f"{about}: {told['message']}"
            assert found is not None
            if found.node is None:
                seen["hopeless"] += 1
                _, _, reason = told["message"].partition("preemption: ")
                assert found.message() == f"preemption: {reason}", about
                continue
            seen["preempts"] += 1
            expected = {victim.key.name for victim in found.victims}
            victims[len(expected)] += 1
            deadline = time.monotonic() + SECONDS
            while their_victims(peer) != expected and time.monotonic() < deadline:
                pass
            new = peer.api.get(f"{pods_of(SPACE)}/{asked['metadata']['name']}")
            assert their_victims(peer) == expected, f"{about}: {told['message']}, {new['status']}"
            while "nominatedNodeName" not in new["status"] and time.monotonic() < deadline:
                new = peer.api.get(f"{pods_of(SPACE)}/{asked['metadata']['name']}")
            assert new["status"].get("nominatedNodeName") == found.node, about
        finally:
            tear_down(peer, names)
    print(f"\n{number} clusters from seed {first}: {dict(seen)}; numbers of victims: {dict(victims)}")
    if number >= 30:
        assert min(seen[what] for what in ("placed", "hopeless", "preempts")) >= number // 10
