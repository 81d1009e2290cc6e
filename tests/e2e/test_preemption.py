"""[sig-scheduling] SchedulerPreemption: pods of lower priority make room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.controlplane.api import Object
from tests.controlplane.manifests import HOSTNAME
from tests.e2e.part import CRITICAL, HIGH, LOW, MARKED, MEDIUM, MEEK, SCHEDULER, Part, container

pytestmark = pytest.mark.integration

SCARCE = "example.com/scarce"
FINALIZER = "e2e.example/held"


def ask(amount: int, priority: str, **options: Any) -> dict[str, Any]:
    return {"limits": {SCARCE: str(amount)}, "priorityClassName": priority, **options}


def leaving(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def gone(part: Part, name: str) -> None:
    part.eventually(lambda: not part.exists(name), f"{name} is gone")


def undisturbed(part: Part, *names: str) -> None:
    for name in names:
        pod = part.pod(name)
        assert pod["spec"].get("nodeName"), name
        assert not leaving(pod), name


@pytest.fixture
def crowded(part: Part) -> Part:
    """Two nodes, four fifths of each taken by two pods: one of low priority on `a`, all others of medium."""
    part.add_nodes("ab", extended={SCARCE: "5"})
    for node in "ab":
        for number in range(2):
            priority = LOW if (node, number) == ("a", 0) else MEDIUM
            part.add_pod(f"{node}{number}", **ask(2, priority, affinity=part.only_on(node)))
    part.running("a0", "a1", "b0", "b1")
    return part


def test_basic_preemption(crowded: Part) -> None:
    """Basic preemption works: the one pod of low priority goes, and its place is the newcomer's."""
    part = crowded
    part.add_pod("preemptor", **ask(2, HIGH))
    assert part.node_of("preemptor") == "a"
    gone(part, "a0")
    undisturbed(part, "a1", "b0", "b1")
    told = part.event("a0", "Preempted")
    assert told["type"] == "Normal"
    assert (
        told["note"]
        == f"Preempted by pod {part.pod('preemptor')['metadata']['uid']} on node {part.full('a')}"
    )


@pytest.fixture
def critical(crowded: Part) -> Iterator[str]:
    """The path of a critical pod in kube-system that wants the room of one of the crowd."""
    part = crowded
    name = f"critical-{part.namespace}"
    pod = part.manifest(name, **ask(2, CRITICAL))
    pods = "/api/v1/namespaces/kube-system/pods"
    part.plane.api.post(pods, {**pod, "metadata": {**pod["metadata"], "namespace": "kube-system"}})
    yield f"{pods}/{name}"
    part.plane.api.delete(f"{pods}/{name}?gracePeriodSeconds=0")


def test_a_critical_pod_preempts(crowded: Part, critical: str) -> None:
    """Lower priority pod preemption by critical pod."""
    part = crowded
    part.eventually(lambda: "nodeName" in part.plane.api.get(critical)["spec"], "the critical pod has a node")
    assert part.plane.api.get(critical)["spec"]["nodeName"] == part.full("a")
    gone(part, "a0")
    undisturbed(part, "a1", "b0", "b1")


def test_the_highest_get_the_room_that_is_made(part: Part) -> None:
    """Various priority pods preempt expectedly: what is made free for some goes to those of higher priority.

    All pods of low priority are asked to leave for those of medium priority, but finalizers hold them. Those of high
    priority that come meanwhile are promised nodes, and get them; half of the medium ones get the rest.
    """
    part.add_nodes("ab", extended={SCARCE: "4"})
    for node in "ab":
        for number in range(4):
            held = ask(1, LOW, affinity=part.only_on(node))
            part.add_pod(f"low-{node}{number}", finalizers=[FINALIZER], **held)
    low = [f"low-{node}{number}" for node in "ab" for number in range(4)]
    part.running(*low)
    medium = [part.add_pod(f"medium-{number}", **ask(1, MEDIUM)) for number in range(8)]
    part.eventually(
        lambda: all(leaving(part.pod(name)) for name in low), "all of low priority were asked to leave"
    )
    high = [part.add_pod(f"high-{number}", **ask(1, HIGH)) for number in range(4)]

    def promised() -> bool:
        return all(part.pod(name)["status"].get("nominatedNodeName") for name in high)

    part.eventually(promised, "those of high priority are promised nodes")
    assert not any(part.pod(name)["spec"].get("nodeName") for name in medium + high)
    part.let_go()
    part.running(*high)

    def placed() -> int:
        return sum("nodeName" in part.pod(name)["spec"] for name in medium)

    part.eventually(lambda: placed() >= 4, "half of medium priority have nodes")
    waiting = next(name for name in medium if "nodeName" not in part.pod(name)["spec"])
    part.refused(waiting, f"2 Insufficient {SCARCE}")
    assert placed() == 4
    assert not any(leaving(part.pod(name)) for name in medium + high)


def test_a_victim_is_told_why(part: Part) -> None:
    """Pod disruption condition is added to the preempted pod, and the preemptor is promised the node meanwhile."""
    part.add_nodes("ab", extended={SCARCE: "1"})
    part.add_pod("victim", finalizers=[FINALIZER], **ask(1, LOW, affinity=part.only_on("a")))
    part.running("victim")
    part.add_pod("preemptor", **ask(1, HIGH, affinity=part.only_on("a")))
    part.eventually(lambda: leaving(part.pod("victim")), "the victim is asked to leave")
    disruption = part.condition("victim", "DisruptionTarget")
    assert (disruption["status"], disruption["reason"]) == ("True", "PreemptionByScheduler")
    assert SCHEDULER in disruption["message"]
    part.eventually(
        lambda: part.pod("preemptor")["status"].get("nominatedNodeName") == part.full("a"), "it is promised a"
    )
    assert "nodeName" not in part.pod("preemptor")["spec"], "as a pod that leaves still holds its room"
    # Room that is promised is not for those of lower priority, room elsewhere is.
    part.add_pod("other", **ask(1, LOW))
    assert part.node_of("other") == "b"
    part.add_pod("late", **ask(1, MEDIUM, affinity=part.only_on("a")))
    part.refused("late", f"1 Insufficient {SCARCE}")
    part.let_go()
    assert part.node_of("preemptor") == "a"
    gone(part, "victim")


def test_a_spread_decides_who_leaves(part: Part) -> None:
    """PodTopologySpread preemption: proper pods are preempted, so many that the preemptor's spread holds after it."""
    part.add_nodes("ab", extended={SCARCE: "10"})
    part.add_pod("high", **ask(9, HIGH, labels={"spread": ""}))
    part.node_of("high")
    for number in range(3):
        part.add_pod(f"low-{number}", **ask(3, LOW, labels={"spread": ""}))
    part.running("high", "low-0", "low-1", "low-2")
    selector = {"matchExpressions": [{"key": "spread", "operator": "Exists"}]}
    constraint = {
        "maxSkew": 1,
        "topologyKey": HOSTNAME,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": selector,
    }
    medium = ask(3, MEDIUM, labels={"spread": ""}, topologySpreadConstraints=[constraint])
    part.add_pod("medium", **medium)
    assert part.node_of("medium") != part.node_of("high")
    part.eventually(lambda: len(part.pods()) == 3, "two of low priority are gone")
    kinds = sorted(pod["metadata"]["name"].partition("-")[0] for pod in part.pods())
    assert kinds == ["high", "low", "medium"]


def test_replica_sets_lose_no_more_pods_than_needed(part: Part) -> None:
    """Preemption running path: of three ReplicaSets of rising priority the lower two lose their pod, once."""
    part.add_nodes("a", extended={SCARCE: "1000"})
    seen: dict[str, set[str]] = {"rs1": set(), "rs2": set(), "rs3": set()}

    def look() -> None:
        for name, uids in seen.items():
            uids.update(pod["metadata"]["uid"] for pod in part.pods(name))

    for name, amount, priority in (("rs1", 200, LOW), ("rs2", 300, MEEK), ("rs3", 450, MEDIUM)):
        part.workload("replicasets", name, 1, **ask(amount, priority))
        part.nodes_of(name, 1)
        look()
    part.add_pod("preemptor", **ask(500, HIGH))
    assert part.node_of("preemptor") == "a"

    def replaced() -> bool:
        look()
        return len(seen["rs1"]) == len(seen["rs2"]) == 2

    part.eventually(replaced, "the pods that were preempted are made anew")
    for name in ("rs1", "rs2"):
        part.eventually(lambda name=name: len(part.pods(name)) == 1, f"{name} has one pod")  # type: ignore[misc]
        part.refused(part.pods(name)[0]["metadata"]["name"], f"1 Insufficient {SCARCE}")
    look()
    assert {name: len(uids) for name, uids in seen.items()} == {"rs1": 2, "rs2": 2, "rs3": 1}


def test_a_meek_pod_waits(part: Part) -> None:
    """preemptionPolicy Never: however high its priority, such a pod takes nobody's place."""
    part.add_nodes("a", extended={SCARCE: "1"})
    part.add_pod("low", **ask(1, LOW))
    part.running("low")
    part.add_pod("meek", **ask(1, MEEK))
    part.refused("meek", f"1 Insufficient {SCARCE}")
    assert not part.pod("meek")["status"].get("nominatedNodeName")
    undisturbed(part, "low")
    part.delete_pod("low")
    assert part.node_of("meek") == "a"


def test_equals_take_nothing_from_each_other(part: Part) -> None:
    """Preemption is of lower priority only, and not where it would not help."""
    part.add_nodes("a", extended={SCARCE: "2"})
    part.add_pod("first", **ask(2, MEDIUM))
    part.running("first")
    part.add_pod("equal", **ask(1, MEDIUM))
    part.add_pod("too-big", **ask(3, HIGH))
    part.refused("equal", f"0/1 nodes are available: 1 Insufficient {SCARCE}.")
    assert "preemption: 0/1 nodes are available" in part.refused("too-big")
    undisturbed(part, "first")


def test_a_disruption_budget_is_spared_where_it_can_be(part: Part) -> None:
    """Of two nodes with victims the one is chosen where no PodDisruptionBudget is violated."""
    part.add_nodes("ab", extended={SCARCE: "2"})
    budget = {"minAvailable": 1, "selector": {"matchLabels": {"app": "protected"}}}
    budgets = f"/apis/policy/v1/namespaces/{part.namespace}/poddisruptionbudgets"
    part.create("poddisruptionbudgets", {"metadata": {"name": "keep"}, "spec": budget}, "policy/v1")
    protected = ask(2, LOW, labels={"app": "protected"})
    part.add_pod("guarded", **protected, affinity=part.only_on("a"))
    part.add_pod("free", **ask(2, LOW, affinity=part.only_on("b")))
    part.running("guarded", "free")

    def counted() -> bool:
        status = part.plane.api.get(f"{budgets}/keep").get("status", {})
        return (status.get("expectedPods"), status.get("currentHealthy")) == (1, 1)

    part.eventually(counted, "the budget's pod is counted")
    part.add_pod("preemptor", **ask(2, HIGH))
    assert part.node_of("preemptor") == "b"
    gone(part, "free")
    undisturbed(part, "guarded")
    part.add_pod("second", **ask(2, HIGH))
    assert part.node_of("second") == "a", "where there is no other way, budgets do not keep a pod out"
    gone(part, "guarded")


def test_ports_and_neighbours_are_made_room_of_too(part: Part) -> None:
    """Preemption cures whatever pods on a node cause: a port that is taken, anti-affinity of those that run."""
    part.add_nodes("ab")
    port = [{"containerPort": 80, "hostPort": 7777}]
    part.add_pod(
        "listener", containers=[container(ports=port)], priorityClassName=LOW, affinity=part.only_on("a")
    )
    away = [{"labelSelector": {"matchLabels": {"app": "loud"}}, "topologyKey": HOSTNAME}]
    shy = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": away}}
    part.add_pod("shy", priorityClassName=LOW, affinity={**shy, **part.only_on("b")})
    part.running("listener", "shy")
    listener = [container(ports=port)]
    part.add_pod("important", containers=listener, priorityClassName=HIGH, affinity=part.only_on("a"))
    part.add_pod("loud", labels={"app": "loud"}, priorityClassName=HIGH, affinity=part.only_on("b"))
    assert part.node_of("important") == "a"
    assert part.node_of("loud") == "b"
    gone(part, "listener")
    gone(part, "shy")


def test_a_promise_ends_with_its_pod(part: Part) -> None:
    """Pods with a nominated node: when such a pod is deleted, what was made free is anybody's."""
    part.add_nodes("a", extended={SCARCE: "1"})
    part.add_pod("victim", finalizers=[FINALIZER], **ask(1, LOW))
    part.running("victim")
    part.add_pod("preemptor", **ask(1, HIGH))
    part.eventually(
        lambda: bool(part.pod("preemptor")["status"].get("nominatedNodeName")), "it is promised a"
    )
    part.add_pod("late", **ask(1, LOW))
    part.refused("late", f"1 Insufficient {SCARCE}")
    part.delete_pod("preemptor")
    part.let_go()
    assert part.node_of("late") == "a"


def test_pods_of_other_schedulers_make_room_too(part: Part) -> None:
    """Priority holds among the pods of all schedulers: who placed a pod of lower priority does not matter."""
    part.add_nodes("a", extended={SCARCE: "1"})
    part.add_pod("theirs", scheduler="nobodys-scheduler", **ask(1, LOW))
    part.plane.bind("theirs", part.full("a"), part.namespace)
    part.running("theirs")
    part.add_pod("ours", **ask(1, HIGH))
    assert part.node_of("ours") == "a"
    gone(part, "theirs")


def test_no_room_is_made_where_a_rule_forbids_the_pod(part: Part) -> None:
    """Policies hold during preemption: where a rule refuses a node, nobody there has to leave."""
    part.add_nodes({"a": {}, "b": {"labels": MARKED}}, extended={SCARCE: "1"})
    for node in "ab":
        part.add_pod(f"low-{node}", **ask(1, LOW, affinity=part.only_on(node)))
    part.running("low-a", "low-b")
    part.add_pod("first", **ask(1, HIGH, labels=MARKED))
    assert part.node_of("first") == "b"
    part.add_pod("second", **ask(1, HIGH, labels=MARKED))
    part.refused("second", f"2 Insufficient {SCARCE}. preemption: 0/2 nodes are available")
    undisturbed(part, "low-a", "first")
