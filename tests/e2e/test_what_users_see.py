"""What users see of a pod: its events, its condition, and the message in the words that they know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.part import MARKED, Part, container
from tests.engine.running.berth import Berth

pytestmark = pytest.mark.integration


def test_a_pod_that_is_placed(part: Part, berth: Berth) -> None:
    """An event Scheduled in the stock words, the condition PodScheduled True, a count in the metrics."""
    part.add_nodes("a")
    before = berth.metric("berth_schedule_attempts_total", result="scheduled")
    part.add_pod("p")
    assert part.node_of("p") == "a"
    event = part.event("p", "Scheduled")
    assert (event["type"], event["action"]) == ("Normal", "Binding")
    assert event["note"].startswith(f"Successfully assigned {part.namespace}/p to {part.full('a')}")
    assert event["regarding"]["uid"] == part.pod("p")["metadata"]["uid"]
    assert part.condition("p")["status"] == "True"
    assert len(part.events("p")) == 1
    assert berth.metric("berth_schedule_attempts_total", result="scheduled") == before + 1


def test_a_pod_that_waits(part: Part, berth: Berth) -> None:
    """An event FailedScheduling and the condition PodScheduled False, Unschedulable, with the same message."""
    before = berth.metric("berth_schedule_attempts_total", result="unschedulable")
    part.add_nodes("ab", cpu="1")
    since = {}
    for name in ("p", "q"):
        part.add_pod(name, cpu="2")
        message = part.refused(name, "0/2 nodes are available: 2 Insufficient cpu.")
        event = part.event(name, "FailedScheduling")
        assert (event["type"], event["action"], event["note"]) == ("Warning", "Scheduling", message)
        assert part.condition(name)["status"] == "False"
        since[name] = part.condition(name)["lastTransitionTime"]
    # Room for one of them. The other is told what is true now; since when it waits stays.
    part.add_nodes("c", cpu="3")
    part.eventually(lambda: any("nodeName" in pod["spec"] for pod in part.pods()), "one of them has a node")
    placed, waits = ("p", "q") if part.pod("p")["spec"].get("nodeName") else ("q", "p")
    part.refused(waits, "0/3 nodes are available: 3 Insufficient cpu.")
    assert part.condition(waits)["lastTransitionTime"] == since[waits]
    assert berth.metric("berth_schedule_attempts_total", result="unschedulable") >= before + 3
    part.patch_node("b", {"status": {"allocatable": {"cpu": "4"}}}, "/status")
    assert (part.node_of(placed), part.node_of(waits)) == ("c", "b")
    for name in (placed, waits):
        assert part.condition(name)["status"] == "True"
        assert part.event(name, "Scheduled")["type"] == "Normal"


def test_rules_stand_after_the_stock_reasons(part: Part) -> None:
    """What refuses nodes is counted in the stock form, and then the policies' rules by name."""
    part.add_nodes({"a": {}, "b": {}, "small": {"cpu": "100m"}})
    part.add_pod("p", cpu="1", labels=MARKED)
    message = part.refused("p", "0/3 nodes are available: 1 Insufficient cpu, ")
    assert "2 " in message
    assert "marked-nodes" in message
    assert message.index("Insufficient cpu") < message.index("marked-nodes")
    part.patch_node("b", {"metadata": {"labels": MARKED}})
    assert part.node_of("p") == "b"
    assert "marked-nodes" in part.event("p", "Scheduled")["note"]


def test_kubectl_shows_it(part: Part) -> None:
    """`kubectl describe` and `kubectl get events` show a pod that waits as they do under the stock scheduler."""
    part.add_nodes("a", cpu="1")
    part.add_pod("p", cpu="2")
    part.refused("p")
    part.event("p", "FailedScheduling")
    described = part.plane.kubectl("describe", "pod", "p", "-n", part.namespace)
    events = described[described.index("Events:") :]
    assert "Warning" in events
    assert "FailedScheduling" in events
    assert "berth" in events, "who says it"
    assert "0/1 nodes are available: 1 Insufficient cpu." in events
    listed = part.plane.kubectl("events", "-n", part.namespace, "--for", "pod/p")
    assert "FailedScheduling" in listed


@pytest.fixture
def peer(part: Part) -> Iterator[Part]:
    """A part whose nodes refuse in many ways, and kube-scheduler beside us."""
    taint = {"key": "dedicated", "value": "x", "effect": "NoSchedule"}
    part.add_nodes(
        {
            "small": {"cpu": "200m", "memory": "64Mi"},
            "few-pods": {"pods": "1"},
            "tainted": {"taints": [taint]},
            "cordoned": {"unschedulable": True},
            "busy": {"cpu": "2", "labels": {"disk": "fast"}},
            "zoned": {"cpu": "2", "labels": {"zone": "east", "disk": "fast"}},
        }
    )
    ports = [{"containerPort": 80, "hostPort": 9000}]
    for node in ("few-pods", "busy", "zoned"):
        held = container({"cpu": "500m", "memory": "1Mi"}, ports=ports)
        name = part.add_pod(
            f"on-{node}", labels={"app": "web"}, containers=[held], affinity=part.only_on(node)
        )
        part.node_of(name)
    part.plane.start_scheduler()
    yield part
    part.plane.stop_scheduler()


HOSTNAME = "kubernetes.io/hostname"
SELECTOR = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": HOSTNAME}
NOWHERE: dict[str, dict[str, Any]] = {
    "nothing-matches": {"nodeSelector": {"disk": "none"}},
    "too-much": {"cpu": "100", "memory": "1Ti"},
    "much-memory": {"cpu": "1", "memory": "1Ti", "nodeSelector": {"disk": "fast"}},
    "a-port": {"containers": [container({"cpu": "300m"}, ports=[{"containerPort": 80, "hostPort": 9000}])]},
    "keeps-away": {
        "cpu": "300m",
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [SELECTOR]}},
    },
    "wants-near": {
        "affinity": {
            "podAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {**SELECTOR, "labelSelector": {"matchLabels": {"app": "none"}}}
                ]
            }
        }
    },
    "spread": {
        "labels": {"app": "web"},
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "minDomains": 2,
                "topologyKey": "zone",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": "web"}},
            }
        ],
    },
    "unknown-resource": {"limits": {"example.com/none": "1"}},
    "unknown-key": {
        "labels": {"app": "web"},
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "nowhere",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": "web"}},
            }
        ],
    },
}


def test_the_message_is_the_stock_schedulers(peer: Part) -> None:
    """The same pods for kube-scheduler and for us: the same nodes are counted for the same reasons, word for word."""
    part = peer
    nowhere = {**NOWHERE, "by-name": {"cpu": "3", "affinity": part.only_on("busy")}}
    for name, options in nowhere.items():
        part.add_pod(f"ours-{name}", **options)
        part.add_pod(f"theirs-{name}", **options, scheduler="default-scheduler")
    differing = {}
    for name in nowhere:
        ours, theirs = part.refused(f"ours-{name}"), part.refused(f"theirs-{name}")
        if ours != theirs.replace(UNASKED, ""):
            differing[name] = (ours, theirs)
    assert not differing


UNASKED = "no new claims to deallocate, "
"""Which kube-scheduler says of each pod, although none of these has a claim of devices."""
