"""Beside the real kube-scheduler: it finds a node exactly where we do, our best is its best, our reasons are its.

``pytest tests/integration/test_differential.py --clusters 300 --seed 7 -s``
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from threading import Timer
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.cluster import wire
from engine.cluster.api import ApiCluster, connect
from engine.cluster.protocol import ResourceKind
from engine.compile import compile_policy
from engine.constraints.device_demand import device_demand_of
from engine.constraints.devices import DeviceMatching, device_bindings
from engine.constraints.volume_demand import demand_of
from engine.constraints.volume_matching import VolumeMatching
from engine.constraints.volumes import volume_bindings
from engine.model.devices import DeviceClass, ResourceClaim, ResourceSlice
from engine.model.objects import (
    Namespace,
    Node,
    Pod,
    PodDisruptionBudget,
    ReplicaSet,
    ReplicationController,
    Service,
    StatefulSet,
)
from engine.model.storage import ClaimName
from engine.placement import Decision, Placer
from engine.placement.evaluation import totals
from engine.state.cache import Cache
from engine.state.pods import PlacedPod
from grammar.policy import CheckedPolicy
from tests.controlplane.api import Api, ApiError, Object
from tests.controlplane.plane import ControlPlane
from tests.integration.claimed import (
    bind_claim,
    make,
    make_owned,
    make_standing,
    probes,
    remove_all,
    remove_from,
    remove_standing,
)
from tests.integration.generated import NAMESPACES, Generated, generate
from tests.integration.generated_devices import ADMIN, DEVICES
from tests.integration.generated_storage import VOLUMES

pytestmark = pytest.mark.integration

MARK = "berth-test/marked"
SECONDS = 30
_REASON = re.compile(r"(\d+) (.+)")
_NAMES = re.compile(r'"[^"]*"|[\w.-]+/[\w./-]+')
_OF_WHAT = re.compile(r"request \S+: |selector #\d+: ")
_CLAIMS = (ResourceKind.VOLUMES, ResourceKind.CLAIMS, ResourceKind.DEVICE_CLAIMS)
"""What changes while pods are placed."""


class Peer:
    """kube-scheduler on a control plane, and what becomes of pods."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.api: Api = plane.api
        version = self.api.get("/api/v1/pods?limit=1")["metadata"]["resourceVersion"]
        self._watching = plane.api_as(plane.admin_token)
        self._events: Generator[Object] = self._watching.watch("/api/v1/pods", version)

    def close(self) -> None:
        """Stop watching: the API server waits for whoever watches before it ends."""
        self._events.close()  # else its socket is left to the garbage collector, which warns of it at any later time
        self._watching.close()

    def decided(self, made: Object, early: bool = False) -> Object:
        """The pod as it is once kube-scheduler has bound it, or has said that it cannot.

        Args:
            made: The pod.
            early: Whether it is enough that a node is decided: it is named before the pod's volumes are waited for,
                for which kube-scheduler looks once a second only.
        """
        return self.until(
            made,
            lambda pod: bool(
                pod["spec"].get("nodeName")
                or condition(pod)
                or (early and pod["status"].get("nominatedNodeName"))
            ),
        )

    def until(self, made: Object, holds: Callable[[Object], bool]) -> Object:
        """The pod as it is once something holds of it."""
        uid = made["metadata"]["uid"]
        patience = Timer(SECONDS, self._watching.close)
        patience.start()
        try:
            for event in self._events:
                pod = event["object"]
                if event["type"] != "DELETED" and pod["metadata"]["uid"] == uid and holds(pod):
                    found: Object = pod
                    return found
        finally:
            patience.cancel()
        raise RuntimeError(f"nothing came of pod {made['metadata']['name']} in {SECONDS} s")


def condition(pod: Object) -> Object | None:
    """The condition that the pod cannot be placed, if it has it."""
    for one in pod["status"].get("conditions", ()):
        if one["type"] == "PodScheduled" and one["status"] == "False" and one["reason"] != "SchedulingGated":
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
        control_plane.api.patch(f"/api/v1/namespaces/{name}", {"metadata": {"labels": {ADMIN: "true"}}})
    remove_all(control_plane.api, NAMESPACES)  # what other tests left
    make_standing(control_plane.api)
    control_plane.start_scheduler()
    with closing(Peer(control_plane)) as peer:
        yield peer
    control_plane.stop_scheduler()
    control_plane.reset()
    remove_standing(control_plane.api)


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
    last = cluster.nodes[-1].name
    claims, using = probes(cluster.seed, last, NAMESPACES[0])
    if cluster.claims:
        make(api, (*cluster.storage.made, *cluster.devices.made, *claims))
    for node in cluster.nodes:
        marked = {**(node.metadata.labels or {}), MARK: node.name}
        post(api, "/api/v1/nodes", node, metadata={"labels": marked})
    for pod in cluster.running:
        post(api, pods_of(pod.metadata.namespace), pod, spec=cluster.more[pod.metadata.name])
        if pod.metadata.name in cluster.leaving:
            api.delete(f"{pods_of(pod.metadata.namespace)}/{pod.metadata.name}")
    # A pod that only the last node can take: bound, it proves that all nodes are known, and gone again, that all pods.
    probe = {
        "metadata": {"name": f"probe-{cluster.seed}"},
        "spec": {
            **(using if cluster.claims else {}),
            "nodeSelector": {MARK: last},
            "containers": [{"name": "c", "image": "i"}],
            "tolerations": [{"operator": "Exists"}],
        },
    }
    made = api.post(pods_of(NAMESPACES[0]), probe)
    peer.until(made, lambda pod: bool(pod["spec"].get("nodeName") or _hopeless(pod)))
    remove(api, made)


def _hopeless(pod: Object) -> bool:
    """Whether the pod is told that other pods are in its way, rather than that it lacks what it claims."""
    told = condition(pod)
    return told is not None and any(word in told["message"] for word in ("Too many pods", "anti-affinity"))


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
    remove_from(api, (VOLUMES, *cluster.collections()))


def our_cache(ours: ApiCluster) -> Cache:
    """All that the API server has, as our watches tell it."""
    cache = Cache()
    see(ours, cache, ResourceKind)
    return cache


def see(ours: ApiCluster, cache: Cache, kinds: Iterable[ResourceKind]) -> None:
    """Take over what there is of some kinds by now."""
    for kind in kinds:
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
                case PodDisruptionBudget():
                    pass  # all pods have the same priority
                case DeviceClass() | ResourceSlice() | ResourceClaim():
                    cache.devices.put(item)
                case _:
                    cache.volumes.put(item)


def our_best(placer: Placer, cache: Cache, placed: PlacedPod, decision: Decision) -> set[str]:
    """The nodes of the highest score."""
    assert decision.refusals is not None
    feasible = np.flatnonzero(decision.refusals.feasible)
    sums = totals(placer.requirements(placed, 0.0).stock, feasible)
    return {cache.columns.names[slot] for slot in feasible[sums == sums.max()]}


def counts(message: str) -> dict[str, int]:
    """The reasons in a message of the stock form, by how many nodes each is told of; 0 where no node was looked at."""
    sentence = message.partition(". ")[0].removesuffix(".")  # what follows is of preemption and claims
    _, _, told = sentence.partition(" nodes are available: ")
    found = [(part, _REASON.fullmatch(part)) for part in re.split(r", (?=\d+ )", told)] if told else []
    return {match[2] if match else part: int(match[1]) if match else 0 for part, match in found}


def _error_in(text: str) -> str:
    """What is wrong, without whose request or selector it is wrong with."""
    return _OF_WHAT.split(text)[-1]


class Trial:
    """One cluster, in which pod after pod is placed by both.

    Attributes:
        seen: What came of it: how often each constraint refused a node, and what became of pods.
    """

    def __init__(self, peer: Peer, ours: ApiCluster, cluster: Generated, seen: Counter[str]) -> None:
        self._peer = peer
        self._ours = ours
        self._cluster = cluster
        self._cache = our_cache(ours)
        self._placer = Placer(self._cache, compile_policy(CheckedPolicy()))
        self._late = set(cluster.storage.late)
        self.refused: Counter[str] = Counter()
        self.seen = seen

    def run(self) -> None:
        """Place all pods."""
        pending = self._cluster.pending
        for number, asked in enumerate(pending):
            later = {
                (one.metadata.namespace, claim)
                for one in pending[number + 1 :]
                for claim in self._claims(one)
            }
            self._place(asked, later)

    def _claims(self, pod: Pod) -> list[str]:
        """The names of the claims of volumes that a pod has."""
        volumes = self._cluster.more[pod.metadata.name].get("volumes", ())
        own = [
            one.body["metadata"]["name"] for one in self._cluster.storage.to_own.get(pod.metadata.name, ())
        ]
        named = [
            one["persistentVolumeClaim"]["claimName"] for one in volumes if "persistentVolumeClaim" in one
        ]
        return named + own

    def _made(self, asked: Pod) -> Object:
        """The pod, with what is its own."""
        api, name, space = self._peer.api, asked.metadata.name, asked.metadata.namespace
        own = self._cluster.storage.to_own.get(name, []), self._cluster.devices.to_own.get(name, {})
        more = dict(self._cluster.more[name])
        if not any(own):
            return post(api, pods_of(space), asked, spec=more)
        more["schedulingGates"] = [{"name": "example.com/claims"}]
        make_owned(api, post(api, pods_of(space), asked, spec=more), *own)
        see(self._ours, self._cache, _CLAIMS)
        return api.patch(f"{pods_of(space)}/{name}", {"spec": {"schedulingGates": None}})

    def _place(self, asked: Pod, later: set[tuple[str, str]]) -> None:
        api, cache = self._peer.api, self._cache
        about = f"seed {self._cluster.seed}, pod {asked.metadata.name}"
        more = self._cluster.more[asked.metadata.name]
        if more:
            see(self._ours, cache, _CLAIMS)
        made = self._made(asked)
        pod = wire.decode_pod(json.dumps(made).encode())
        placed = cache.put_pod(pod)
        decision = self._placer.place(placed, 0.0, diagnose=True)
        if asked.metadata.name in self._cluster.devices.unsaid:
            assert decision.trouble is not None, about
            self.seen["not even tried"] += 1
            cache.remove_pod(pod.key)
            return
        if decision.refusals is None:
            assert decision.trouble is not None
            self.refused[_NAMES.sub("…", decision.trouble)] += decision.nodes
        else:
            for constraint, slots in decision.refusals.by_filter():
                self.refused[constraint.name] += len(slots)
        late = [
            (asked.metadata.namespace, claim)
            for claim in self._claims(asked)
            if (asked.metadata.namespace, claim) in self._late
        ]
        theirs = self._peer.decided(made, early=bool(late))
        if decision.trouble == "resourceclaim in use":
            self._compare_full(theirs)
            return
        node = theirs["spec"].get("nodeName") or theirs["status"].get("nominatedNodeName")
        if node is None:
            self._compare_refusal(about, decision, theirs)
            cache.remove_pod(pod.key)
            remove(api, made)
            return
        self.seen["placed"] += 1
        assert decision.node is not None, f"{about}: {decision.message()}, but it went to {node}"
        best = our_best(self._placer, cache, placed, decision)
        assert node in best, f"{about}: it went to {node}, our best are {sorted(best)}"
        self.seen["contested"] += decision.feasible > len(best)
        if late:
            self._compare_volumes(about, placed, node, late)
            # It has to be bound where its other claims are looked at, or others ask for the same: after a second.
            if "resourceClaims" in more or later.intersection(late):
                theirs = self._peer.until(made, lambda pod: bool(pod["spec"].get("nodeName")))
        if "resourceClaims" in more:
            self._compare_devices(about, placed, node)
        theirs["spec"]["nodeName"] = node
        cache.put_pod(wire.decode_pod(json.dumps(theirs).encode()))

    def _compare_refusal(self, about: str, decision: Decision, theirs: Object) -> None:
        told = condition(theirs)
        assert told is not None
        if told["reason"] == "SchedulerError":
            self._compare_errors(about, decision, told["message"])
            return
        self.seen["unplaced"] += 1
        assert decision.node is None, f"{about}: we would take {decision.node}, but {told['message']}"
        assert counts(decision.message()) == counts(told["message"]), about

    def _compare_full(self, theirs: Object) -> None:
        """A claim that has all the users that it can have: kube-scheduler finds out from the API server.

        It looks for a node all the same, and says what is wrong with them, or what the API server says.
        """
        assert theirs["spec"].get("nodeName") is None
        self.seen["full"] += 1

    def _compare_errors(self, about: str, decision: Decision, told: str) -> None:
        """One node where claims cannot even be understood makes kube-scheduler give up, whatever others are like.

        We refuse that node alone, for the same reason. Only where all devices are asked for, and they differ where
        they must not, do we hold that for an answer as any other, where kube-scheduler gives up.
        """
        if "a claim constraint would not be satisfied" in told:
            self.seen["gave up on a constraint"] += 1
            return
        self.seen["gave up on an error"] += 1
        reasons = [reason for reason, _ in decision.refusals.reasons()] if decision.refusals else []
        assert _error_in(told) in map(_error_in, reasons), f"{about}: {told}, but we say {reasons}"

    def _compare_volumes(self, about: str, placed: PlacedPod, node: str, late: list[tuple[str, str]]) -> None:
        """The claims get the volumes that we would have given them there."""
        cache, slot = self._cache, self._cache.columns.slot(node)
        assert slot is not None
        demand = demand_of(cache.volumes, placed.claims)
        bindings = volume_bindings(placed.claims, demand, cache, VolumeMatching(cache), slot)
        given = {claim.name: volume.metadata.name for volume, claim in bindings.given} if bindings else {}
        self._late.difference_update(late)
        for space, name in late:
            volume = bind_claim(self._peer.api, space, name)
            expected = given.get(ClaimName(space, name), f"made-{name}")
            assert volume == expected, f"{about} on {node}: {name} got {volume}, we would give it {expected}"
            self.seen["volumes made" if volume.startswith("made-") else "volumes found"] += 1

    def _compare_devices(self, about: str, placed: PlacedPod, node: str) -> None:
        """The claims get the devices that we would have given them there."""
        cache, slot = self._cache, self._cache.columns.slot(node)
        assert slot is not None
        demand = device_demand_of(cache.devices, placed.devices, placed.key)
        matching = DeviceMatching(cache)
        bindings = device_bindings(placed.devices, placed.key, demand, cache, matching, slot)
        for claim, allocation in bindings.claims if bindings is not None else ():
            if allocation is None:
                continue
            path = f"{DEVICES}/namespaces/{claim.name.namespace}/resourceclaims/{claim.name.name}"
            theirs = self._peer.api.get(path)["status"]["allocation"]
            expected = [(one.request, *one.id) for one in allocation.devices.results or ()]
            found = [
                (one["request"], one["driver"], one["pool"], one["device"])
                for one in theirs["devices"].get("results", ())
            ]
            assert found == expected, f"{about} on {node}: {claim.name}"
            selector = json.loads(msgspec.json.encode(allocation.node_selector))
            assert theirs.get("nodeSelector") == selector, f"{about} on {node}: {claim.name}"
            self.seen["devices given"] += len(found)


def test_beside_kube_scheduler(peer: Peer, ours: ApiCluster, request: pytest.FixtureRequest) -> None:
    number, first = request.config.getoption("--clusters"), request.config.getoption("--seed")
    refused: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    wrong: list[str] = []
    for seed in range(first, first + number):
        cluster = generate(seed)
        set_up(peer, cluster)
        try:
            trial = Trial(peer, ours, cluster, seen)
            trial.run()
            refused += trial.refused
        except AssertionError as error:  # the other clusters may tell more
            wrong.append(str(error))
        finally:
            tear_down(peer, cluster)
    print(f"\n{number} clusters from seed {first}: {dict(seen)}; nodes refused first by:")
    print(json.dumps(dict(refused.most_common()), indent=1, ensure_ascii=False))
    assert not wrong, "\n".join(wrong)
    if number >= 30:
        assert set(refused) >= {
            "NodeUnschedulable",
            "TaintToleration",
            "NodeAffinity",
            "NodePorts",
            "NodeResourcesFit",
            "VolumeRestrictions",
            "NodeVolumeLimits",
            "VolumeBinding",
            "VolumeZone",
            "PodTopologySpread",
            "InterPodAffinity",
            "DynamicResources",
        }
        assert min(seen[what] for what in ("placed", "unplaced", "contested")) >= number // 2
        assert min(seen[what] for what in ("volumes made", "volumes found", "devices given")) >= number // 5
