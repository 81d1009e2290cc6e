"""Beside the real kube-scheduler: it finds a node exactly where we do, our best is its best, our reasons are its.

``pytest tests/integration/test_differential.py --clusters 300 --seed 7 -s``
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Generator, Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.cluster import wire
from engine.cluster.api import ApiCluster, connect
from engine.cluster.protocol import ResourceKind
from engine.compile import compile_policy
from engine.compile.plan import stock_scores
from engine.model.objects import (
    Namespace,
    Node,
    Pod,
    ReplicaSet,
    ReplicationController,
    Service,
    StatefulSet,
)
from engine.placement import Decision, Placer
from engine.placement.evaluation import totals
from engine.state.cache import Cache
from grammar.policy import CheckedPolicy
from tests.controlplane.api import Api, ApiError, Object
from tests.controlplane.plane import ControlPlane
from tests.integration.generated import NAMESPACES, Generated, generate

pytestmark = pytest.mark.integration

MARK = "berth-test/marked"
SECONDS = 30
_REASON = re.compile(r"(\d+) (.+)")


class Peer:
    """kube-scheduler on a control plane, and what becomes of pods."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.api: Api = plane.api
        version = self.api.get("/api/v1/pods?limit=1")["metadata"]["resourceVersion"]
        self._events: Generator[Object] = self.api.watch("/api/v1/pods", version)

    def decided(self, made: Object) -> Object:
        """The pod as it is once kube-scheduler has bound it, or has said that it cannot."""
        uid = made["metadata"]["uid"]
        for event in self._events:
            pod = event["object"]
            ours = event["type"] != "DELETED" and pod["metadata"]["uid"] == uid
            if ours and (pod["spec"].get("nodeName") or condition(pod)):
                found: Object = pod
                return found
        raise AssertionError("the watch of pods ended")


def condition(pod: Object) -> Object | None:
    """The condition that the pod cannot be placed, if it has it."""
    for one in pod["status"].get("conditions", ()):
        if one["type"] == "PodScheduled" and one["status"] == "False":
            found: Object = one
            return found
    return None


@pytest.fixture(scope="module")
def peer(control_plane: ControlPlane) -> Iterator[Peer]:
    control_plane.reset()
    for name in NAMESPACES:
        try:
            control_plane.create_namespace(name)
        except ApiError as error:
            if error.status != 409:
                raise
    control_plane.start_scheduler()
    yield Peer(control_plane)
    control_plane.stop_scheduler()
    control_plane.reset()


@pytest.fixture(scope="module")
def ours(control_plane: ControlPlane) -> Iterator[ApiCluster]:
    cluster = connect(control_plane.kubeconfig)
    yield cluster
    cluster.close()


def post(api: Api, path: str, item: msgspec.Struct, **more: Any) -> Object:
    body = msgspec.to_builtins(item)
    for constraint in body.get("spec", {}).get("topologySpreadConstraints", ()):  # ours leave defaults out
        constraint.setdefault("maxSkew", 1)
        constraint.setdefault("whenUnsatisfiable", "DoNotSchedule")
    for key, value in more.items():
        body[key] = {**body.get(key, {}), **value} if isinstance(value, dict) else value
    return api.post(path, body)


def set_up(peer: Peer, cluster: Generated) -> None:
    """Make everything, and wait until kube-scheduler knows of it."""
    api = peer.api
    for name, labels in cluster.namespaces.items():
        api.patch(f"/api/v1/namespaces/{name}", {"metadata": {"labels": {"team": None, **labels}}})
    for service in cluster.services:
        space = service.metadata.namespace
        body = msgspec.to_builtins(service)
        body["spec"]["ports"] = [{"port": 80}]
        api.post(f"/api/v1/namespaces/{space}/services", body)
    for maker in cluster.makers:
        selector = maker.spec.selector
        assert selector is not None
        body = msgspec.to_builtins(maker)
        template = {
            "metadata": {"labels": selector.match_labels},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        }
        body["spec"] |= {"template": template, "replicas": 0}
        kind = f"{type(maker).__name__.lower()}s"
        api.post(f"/apis/apps/v1/namespaces/{maker.metadata.namespace}/{kind}", body)
    for node in cluster.nodes:
        marked = {**(node.metadata.labels or {}), MARK: node.name}
        post(api, "/api/v1/nodes", node, metadata={"labels": marked})
    for pod in cluster.running:
        post(api, pods_of(pod.metadata.namespace), pod)
        if pod.metadata.name in cluster.leaving:
            api.delete(f"{pods_of(pod.metadata.namespace)}/{pod.metadata.name}")
    # A pod that only the last node can take: bound, it proves that all nodes are known, and gone again, that all pods.
    probe = {
        "metadata": {"name": f"probe-{cluster.seed}"},
        "spec": {
            "nodeSelector": {MARK: cluster.nodes[-1].name},
            "containers": [{"name": "c", "image": "i"}],
            "tolerations": [{"operator": "Exists"}],
        },
    }
    made = api.post(pods_of(NAMESPACES[-1]), probe)
    peer.decided(made)
    remove(api, made)


def pods_of(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"


def remove(api: Api, pod: Object) -> None:
    metadata = pod["metadata"]
    api.delete(f"{pods_of(metadata['namespace'])}/{metadata['name']}?gracePeriodSeconds=0")


def tear_down(peer: Peer, cluster: Generated) -> None:
    api = peer.api
    for name in NAMESPACES:
        peer.plane.delete_pods(name)
    for service in cluster.services:
        api.delete(f"/api/v1/namespaces/{service.metadata.namespace}/services/{service.metadata.name}")
    for maker in cluster.makers:
        kind = f"{type(maker).__name__.lower()}s"
        api.delete(f"/apis/apps/v1/namespaces/{maker.metadata.namespace}/{kind}/{maker.metadata.name}")
    for node in cluster.nodes:
        api.delete(f"/api/v1/nodes/{node.name}")


def our_cache(ours: ApiCluster) -> Cache:
    """All that the API server has, as our watches tell it."""
    cache = Cache()
    for kind in ResourceKind:
        for item in ours.list(kind).items:
            match item:
                case Pod():
                    cache.put_pod(item)
                case Node():
                    cache.put_node(item)
                case Namespace():
                    cache.put_namespace(item.metadata.name, item.metadata.labels or {})
                case Service() | ReplicationController() | ReplicaSet() | StatefulSet():
                    cache.put_grouping(item)
                case _:
                    pass  # storage, devices and budgets, for which none of these pods asks
    return cache


def our_best(cache: Cache, pod: Pod, decision: Decision) -> set[str]:
    """The nodes of the highest score."""
    assert decision.refusals is not None
    feasible = np.flatnonzero(decision.refusals.feasible)
    placed = cache.pod(pod.key)
    assert placed is not None
    sums = totals(stock_scores(placed.shape, cache), feasible)
    return {cache.columns.names[slot] for slot in feasible[sums == sums.max()]}


def counts(message: str) -> dict[str, int]:
    """The reasons in a message of the stock form, by how many nodes each is told of."""
    sentence = message.partition(". ")[0].removesuffix(".")  # what follows is of preemption and claims
    _, _, told = sentence.partition(" nodes are available: ")
    found = [_REASON.fullmatch(part) for part in told.split(", ")] if told else []
    return {match[2]: int(match[1]) for match in found if match}


def test_beside_kube_scheduler(peer: Peer, ours: ApiCluster, request: pytest.FixtureRequest) -> None:
    number, first = request.config.getoption("--clusters"), request.config.getoption("--seed")
    refused: Counter[str] = Counter()
    placed = unplaced = contested = 0
    for seed in range(first, first + number):
        cluster = generate(seed)
        set_up(peer, cluster)
        try:
            cache = our_cache(ours)
            placer = Placer(cache, compile_policy(CheckedPolicy()))
            for asked in cluster.pending:
                made = post(peer.api, pods_of(asked.metadata.namespace), asked)
                pod = wire.decode_pod(json.dumps(made).encode())
                decision = placer.place(cache.put_pod(pod), 0.0, diagnose=True)
                theirs = peer.decided(made)
                about = f"seed {seed}, pod {asked.metadata.name}"
                assert decision.refusals is not None
                for constraint, slots in decision.refusals.by_filter():
                    refused[constraint.name] += len(slots)
                node = theirs["spec"].get("nodeName")
                if node is None:
                    unplaced += 1
                    told = condition(theirs)
                    assert told is not None
                    assert decision.node is None, (
                        f"{about}: we would take {decision.node}, but {told['message']}"
                    )
                    assert counts(decision.message()) == counts(told["message"]), about
                    cache.remove_pod(pod.key)
                    remove(peer.api, made)
                    continue
                placed += 1
                assert decision.node is not None, f"{about}: {decision.message()}, but it went to {node}"
                best = our_best(cache, pod, decision)
                assert node in best, f"{about}: it went to {node}, our best are {sorted(best)}"
                contested += decision.feasible > len(best)
                cache.put_pod(wire.decode_pod(json.dumps(theirs).encode()))
        finally:
            tear_down(peer, cluster)
    print(f"\n{number} clusters from seed {first}: {placed} pods placed ({contested} where scores decided), ")
    print(f"{unplaced} not; nodes refused first by: {dict(refused.most_common())}")
    if number >= 30:
        assert set(refused) >= {
            "NodeUnschedulable",
            "TaintToleration",
            "NodeAffinity",
            "NodePorts",
            "NodeResourcesFit",
            "PodTopologySpread",
            "InterPodAffinity",
        }
        assert min(placed, unplaced, contested) >= number // 2
