"""Beside others: pods that another scheduler, a person, a kubelet or a controller places."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.controlplane import ApiError
from tests.e2e.part import SECOND_SCHEDULER, Part
from tests.engine.running.berth import Berth

pytestmark = pytest.mark.integration

PEER = "default-scheduler"
NOBODY = "nobodys-scheduler"


def test_pods_of_other_schedulers_count(part: Part) -> None:
    """What kube-scheduler placed holds its room, its port and its part in anti-affinity; it is not ours to place."""
    part.add_nodes("ab", cpu="2")
    part.add_pod("theirs", cpu="1500m", scheduler=NOBODY, labels={"app": "web"})
    part.plane.bind("theirs", part.full("a"), part.namespace)
    away = [{"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}]
    shy = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": away}}
    part.add_pod("shy", affinity=shy)
    assert part.node_of("shy") == "b"
    part.add_pod("big", cpu="1900m")
    assert part.node_of("big") == "b"
    part.add_pod("waits", cpu="1")
    part.refused("waits", "0/2 nodes are available: 2 Insufficient cpu.")
    part.add_pod("not-ours", scheduler=NOBODY)
    part.node_of(part.add_pod("witness"))
    assert "nodeName" not in part.pod("not-ours")["spec"]
    assert part.events("not-ours") == []
    part.delete_pod("theirs")
    assert part.node_of("waits") == "a"


def test_several_names_are_served_by_one_process(part: Part) -> None:
    """Each of the names in the settings is ours, and what is placed under one counts for the other."""
    part.add_nodes("a", cpu="2")
    part.add_pod("first", cpu="1")
    part.add_pod("second", cpu="1", scheduler=SECOND_SCHEDULER)
    assert part.node_of("first") == part.node_of("second") == "a"
    part.add_pod("third", cpu="1", scheduler=SECOND_SCHEDULER)
    part.refused("third", "1 Insufficient cpu")
    part.delete_pod("first")
    assert part.node_of("third") == "a"


def test_the_race_for_the_last_room_is_lost_gracefully(part: Part, berth: Berth) -> None:
    """kube-scheduler and we want the same rooms at once. Nothing checks a binding against a node's room but kubelets.

    Where both bound a pod to one node, its kubelet turns the later one away, as OutOfcpu. Whoever lost has to come to
    rest: no pod of ours that is turned away keeps its room, none is tried in a hot loop, and when the others go all
    find their place.
    """
    rooms = 12
    part.add_nodes([f"room-{number}" for number in range(rooms)], cpu="1")
    part.plane.start_scheduler()
    try:
        for number in range(rooms):
            part.add_pod(f"theirs-{number}", cpu="1", scheduler=PEER, labels={"app": "theirs"})
        part.workload("replicasets", "ours", rooms, cpu="1")
        rejected: set[str] = set()

        def at_rest() -> bool:
            rejected.update(reject_what_does_not_fit(part))
            alive = [pod for pod in part.pods() if pod["status"]["phase"] not in ("Failed", "Succeeded")]
            bound = [pod["spec"]["nodeName"] for pod in alive if pod["spec"].get("nodeName")]
            waiting = [pod for pod in alive if not pod["spec"].get("nodeName")]
            return (
                len(bound) == len(set(bound)) == rooms
                and len(alive) >= 2 * rooms - len(rejected)
                and all(part.condition(pod["metadata"]["name"]).get("reason") for pod in waiting)
            )

        part.eventually(at_rest, "each room has one pod, and the others are told that there is none")
    finally:
        part.plane.stop_scheduler()
    alone = {pod["metadata"]["name"] for pod in part.pods("theirs")}
    for name in alone:
        part.delete_pod(name)

    def all_placed() -> bool:
        reject_what_does_not_fit(part)
        nodes = [
            pod["spec"]["nodeName"]
            for pod in part.pods("ours")
            if pod["spec"].get("nodeName") and pod["status"]["phase"] == "Running"
        ]
        return len(nodes) == len(set(nodes)) == rooms

    part.eventually(all_placed, "all of ours have a room")
    assert berth.metric("berth_internal_errors_total") == 0


def reject_what_does_not_fit(part: Part) -> list[str]:
    """What a kubelet does with pods that its node has no room for: KWOK's run everything. Returns the names."""
    first: dict[str, str] = {}
    rejected = []
    scheduled = [
        (part.condition_time(pod, "PodScheduled"), pod["metadata"]["name"], pod["spec"]["nodeName"])
        for pod in part.pods()
        if pod["spec"].get("nodeName") and pod["status"]["phase"] not in ("Failed", "Succeeded")
    ]
    for _, name, node in sorted(scheduled):
        if first.setdefault(node, name) != name:
            status = {
                "phase": "Failed",
                "reason": "OutOfcpu",
                "message": "Node didn't have enough resource: cpu",
            }
            part.patch_pod(name, {"status": status}, "/status")
            rejected.append(name)
    return rejected


def test_a_pod_that_somebody_else_binds_first(part: Part) -> None:
    """A pod of ours that waits is bound by hand: it leaves our queue, counts where it is, and is told no more."""
    part.add_nodes({"a": {"cpu": "1"}, "b": {"cpu": "1"}})
    part.add_pod("filler", cpu="1", affinity=part.only_on("a"))
    part.node_of("filler")
    part.add_pod("ours", cpu="2")
    part.refused("ours", "2 Insufficient cpu")
    part.plane.bind("ours", part.full("b"), part.namespace)
    assert part.node_of("ours") == "b"
    part.running("ours")
    told = part.events("ours")
    part.add_pod("next", cpu="10m")
    part.refused("next", "0/2 nodes are available: 2 Insufficient cpu.")
    assert part.events("ours") == told
    part.delete_pod("ours")
    assert part.node_of("next") == "b"


def test_a_pod_that_is_born_with_a_node(part: Part) -> None:
    """spec.nodeName: no scheduler is asked, whoever is named; what it takes is counted, cordon or not."""
    part.add_nodes("a", cpu="1", unschedulable=True)
    part.add_pod("by-hand", cpu="800m", nodeName=part.full("a"))
    part.running("by-hand")
    assert part.events("by-hand") == []
    part.patch_node("a", {"spec": {"unschedulable": None}})
    part.until_seen("a", tolerations=[])
    part.add_pod("waits", cpu="500m")
    part.refused("waits", "1 Insufficient cpu")


def test_static_pods_count(part: Part) -> None:
    """A kubelet's own pods are seen as mirror pods: their room and their ports are taken."""
    part.add_nodes("a", cpu="1")
    manifest = part.manifest(
        "static-web", cpu="600m", annotations={"kubernetes.io/config.mirror": "0123"}, nodeName=part.full("a")
    )
    spec: dict[str, Any] = {**manifest["spec"], "hostNetwork": True, "tolerations": [{"operator": "Exists"}]}
    spec["containers"][0]["ports"] = [{"containerPort": 8080}]
    del spec["schedulerName"], spec["nodeSelector"]
    part.create("pods", {**manifest, "spec": spec})
    part.running("static-web")
    part.add_pod("waits", cpu="500m")
    part.refused("waits", "1 Insufficient cpu")
    port = [{"containerPort": 80, "hostPort": 8080}]
    one = {"name": "main", "image": "example.invalid/none:1", "ports": port}
    part.add_pod("listens", containers=[one])
    part.refused("listens", "1 node(s) didn't have free ports for the requested pod ports")
    part.delete_pod("static-web")
    assert part.node_of("waits") == "a"
    assert part.node_of("listens") == "a"


def test_pods_of_a_daemon_set(part: Part) -> None:
    """A DaemonSet has a pod on each node, on cordoned ones too; one that does not fit waits and stops no other."""
    part.add_nodes({"a": {}, "cordoned": {"unschedulable": True}, "full": {"cpu": "1"}})
    part.add_pod("filler", cpu="1", affinity=part.only_on("full"))
    part.node_of("filler")
    part.workload("daemonsets", "agent", None, cpu="100m")
    assert part.nodes_of("agent", 2) == {"a": 1, "cordoned": 1}
    waiting = next(pod["metadata"]["name"] for pod in part.pods("agent") if not pod["spec"].get("nodeName"))
    part.refused(
        waiting,
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity].",
    )
    part.add_nodes(["late"])
    assert part.nodes_of("agent", 3) == {"a": 1, "cordoned": 1, "late": 1}
    part.delete_pod("filler")
    assert part.node_of(waiting) == "full"


def test_every_pod_of_a_burst_is_bound_once(part: Part) -> None:
    """Pods that are deleted while they are bound, and pods that others bind meanwhile: the rest is not held up."""
    part.add_nodes({"by-hand": {"unschedulable": True}, "a": {}, "b": {}, "c": {}}, pods="20")
    names = [f"burst-{number}" for number in range(60)]
    taken = set()
    for number, name in enumerate(names):
        part.add_pod(name)
        if number % 5 == 0:
            part.delete_pod(name)
        elif number % 5 == 1:
            try:
                part.plane.bind(name, part.full("by-hand"), part.namespace)
                taken.add(name)
            except ApiError as error:
                if error.status != 409:  # else we were faster
                    raise
    placed = {name: part.node_of(name) for number, name in enumerate(names) if number % 5}
    assert {name for name, node in placed.items() if node == "by-hand"} == taken
    counts = Counter(placed.values())
    assert counts.total() == 48
    assert max(counts.values()) <= 20
