"""Nodes are lost, links change and room runs out on a real control plane, and pods are healed.

Where seconds are counted, it is from the API server's own times: from the transition of the node's Ready condition,
after which the rule's duration has to pass, to the transition of the pod's PodScheduled condition. Both are whole
seconds, rounded down, so a difference is exact to a second; how busy the machine of the test is plays no part in it
but for the scheduler's and the controllers' own work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.controlplane import ControlPlane, make_node, make_pod
from tests.controlplane.manifests import ZONE
from tests.engine.running.berth import Start
from tests.engine.running.site import (
    NODE_LOSS,
    RESERVE,
    RULES,
    SCHEDULER,
    Site,
    budget,
    labels,
    workload,
)

pytestmark = pytest.mark.integration

NEAR = {f"e{number}": 10.0 for number in range(6)}
FAR = {"e6": 50.0, "e7": 50.0}
LOST_FOR = 2.0
WITHIN = 2.0
"""Seconds from the moment that a loss is declared until all are bound."""
DRIFT = """
heal drift on broken near-source for 2s {
  move pods improving by 10%
}
"""
ROOM = """
heal room on pod unschedulable for 2s {
  relocate at most 2 pods
}
"""
DRAINING = """
heal emptying on node draining for 0s {
  move pods
}
"""

Build = Callable[..., Site]


@pytest.fixture
def build(empty_full_control_plane: ControlPlane, start: Start, tmp_path: Path) -> Iterator[Build]:
    """Makes a site, and ends what watches it after the test."""
    made: list[Site] = []

    def build(policies: str = RULES + RESERVE + NODE_LOSS, **options: Any) -> Site:
        options.setdefault("milliseconds", NEAR | FAR)
        made.append(Site(empty_full_control_plane, start, tmp_path, policies, **options))
        return made[-1]

    yield build
    for site in made:
        site.diary.end()


def settled(site: Site, held: bool = True) -> dict[str, int]:
    """Twelve pods within 25 ms of the gateway, and six anywhere; the counts."""
    site.plane.apply([workload("Deployment", "video", 12, "25"), workload("Deployment", "batch", 6)])
    counts = {"video": 12, "batch": 6}
    site.await_right(counts)
    if held:
        site.await_held()
    return counts


def check_times(site: Site, covered: set[str], before: set[str], lost: list[str]) -> None:
    """Every covered pod was bound again in time."""
    declared = max(site.declared(node) for node in lost) + LOST_FOR
    seconds = [at - declared for at in site.bound("video", before)]
    print(f"{len(covered)} covered pods bound {max(seconds):g} s after their loss was declared")
    assert len(seconds) == len(covered)
    assert max(seconds) <= WITHIN, seconds


@pytest.mark.parametrize("domain", ["node", "zone"])
def test_what_is_lost(build: Build, domain: str) -> None:
    site = build(RULES + RESERVE.replace("1 node", f"1 {domain}") + NODE_LOSS)
    counts = settled(site)
    site.check_reserve()
    lost = ["e0", "e1"] if domain == "zone" else ["e0"]
    before = site.uids()
    leave = {uid for node in lost for uid in site.uids(node=node)}
    covered = {uid for node in lost for uid in site.uids("video", node)}
    assert covered
    if domain == "zone":
        assert site.plane.cut_zone("zone-0") == lost
    else:
        site.plane.crash_node("e0")
    site.plane.await_nodes(lost, "Unknown")
    site.await_right(counts, lost)
    check_times(site, covered, before, lost)
    assert site.uids() & before == before - leave, "nobody else moves"
    site.await_held()
    assert len([text for text in site.events("Moving") if text.startswith("video")]) == len(covered)
    for node in lost:
        site.plane.restore_node(node)
    site.plane.await_nodes(lost, "True")
    site.plane.eventually(lambda: len(site.plane.pods("default")) == 18, "what was left there is gone")
    site.await_right(counts)
    site.await_held()
    site.check_reserve()
    assert site.diary.made("video") == 12 + len(covered), "nothing piles up on the return"
    assert site.diary.bound_twice() == []


def test_a_cut_link(build: Build) -> None:
    hold = NODE_LOSS.replace("move pods", "move pods\n  hold when 55% of zone is lost")
    site = build(RULES + RESERVE + hold)
    counts = settled(site)
    before = site.uids()
    cut = site.plane.cut_zone("zone-1")
    site.plane.await_nodes(cut, "Unknown")
    due = max(site.declared(node) for node in cut) + LOST_FOR
    site.plane.eventually(lambda: len(site.events("HealingHeld")) == 2, "it is told for both nodes")
    for node in cut:
        [told] = [text for text in site.events("HealingHeld") if text.startswith(f"{node}: ")]
        assert "2 of 2 nodes of zone zone-1 are silent: a cut link, not a crash" in told
    # Other things are seen and done after the moment at which it would have been a loss.
    site.plane.eventually(lambda: time.time() > due + 1, "the moment is over")
    site.plane.apply([workload("Deployment", "later", 2, "25")])
    site.await_right({**counts, "later": 2})
    assert site.berth.metric("berth_held_nodes") == 2
    assert site.uids() - site.uids("later") == before
    assert not set(cut) & set(site.nodes_of("later"))
    site.plane.restore_zone("zone-1")
    site.plane.await_nodes(cut, "True")
    site.berth.wait_until(lambda: site.berth.metric("berth_held_nodes") == 0, "content with the nodes")
    site.await_held()
    assert site.uids() - site.uids("later") == before
    assert len(site.plane.pods("default")) == 20
    assert (site.diary.made("video"), site.diary.made("batch")) == (12, 6)
    assert site.events("Moving") == []


def test_delays_that_change_move_exactly_those_out_of_their_limits(build: Build) -> None:
    """One after the other, as the budget lets them go; where it lets none go, it is told."""
    site = build(RULES + RESERVE + DRIFT)
    counts = settled(site)
    site.plane.apply([budget("video", 12)])
    before, violators = site.uids(), site.uids("video", "e1")
    assert violators
    site.write_delays(e1=40.0)
    site.plane.eventually(
        lambda: (
            {text.split(":")[0] for text in site.events("NotMoved")}
            == {pod["metadata"]["name"] for pod in site.pods("video") if pod["metadata"]["uid"] in violators}
        ),
        "it is told who stays",
    )
    assert all("disruption budget" in text for text in site.events("NotMoved"))
    assert site.uids() == before
    site.plane.apply([budget("video", 11)])
    site.await_right(counts)
    assert before - site.uids() == violators, "exactly these have moved"
    assert len(site.events("Moving")) == len(violators)
    site.await_held()
    site.check_reserve()
    assert site.diary.made("video") == 12 + len(violators)
    # What is within its limits again moves nobody back.
    site.write_delays(e1=10.0)
    site.plane.apply([workload("Deployment", "later", 2, "25")])
    site.await_right({**counts, "later": 2})
    site.await_held()
    assert len(site.events("Moving")) == len(violators)


def test_room_is_made_by_one_move(build: Build) -> None:
    site = build(RULES + ROOM, milliseconds={"e0": 50.0, "e1": 50.0, "e2": 50.0}, cpu="2")
    site.plane.apply([workload("Deployment", "filler", 3, cpu="1")])
    site.await_right({"filler": 3})
    full = site.nodes_of("filler")[0]
    before = site.uids()
    tight = workload("Deployment", "tight", 1, cpu="1500m")
    tight["spec"]["template"]["metadata"]["labels"] |= {f"delay_{full}": "10"}
    site.plane.apply([tight])
    # The others have just been placed themselves.
    site.plane.eventually(lambda: bool(site.events("NotMoved")), "it is told who stays")
    assert site.events("NotMoved")[0].endswith("lately are left where they are for now")
    assert site.uids("filler") == before
    site.age("filler")
    site.await_right({"filler": 3, "tight": 1})
    assert site.nodes_of("tight") == [full]
    assert len(before - site.uids()) == 1
    assert len(site.events("Moving")) == 1
    assert site.diary.made("filler") == 4


def test_a_node_that_is_emptied(build: Build) -> None:
    """A cordoned node is left ahead of time, as budgets allow; `kubectl drain` is not kept from its work."""
    site = build(RULES + RESERVE + DRAINING)
    counts = settled(site)
    site.plane.apply([budget("video", 12)])
    site.plane.cordon("e0")
    leave, stay = site.uids("batch", "e0"), site.uids("video", "e0")
    assert stay
    site.plane.eventually(lambda: len(site.events("NotMoved")) == len(stay), "it is told who stays")
    site.plane.eventually(lambda: site.uids(node="e0") == stay, "the others leave")
    site.await_right(counts)
    site.plane.apply([budget("video", 11)])
    site.await_right(counts, ["e0"])
    assert not site.uids() & (leave | stay)
    site.await_held()
    assert "e0" not in {pod["spec"]["nodeName"] for pod in site.placeholders()}, "nothing is kept there"
    # Whoever drains by hand finds nothing in the way, the placeholders included.
    before, there = site.uids(), site.uids(node="e1")
    assert "e1" in {pod["spec"]["nodeName"] for pod in site.placeholders()}
    site.plane.drain("e1")
    site.await_right(counts, ["e0", "e1"])
    assert before - site.uids() == there
    site.await_held()
    site.check_reserve()
    assert site.diary.bound_twice() == []


def test_pods_that_must_not_be_two(build: Build) -> None:
    """Of a StatefulSet, and bare ones: told why they stay, until it is known that nothing of them runs any more."""
    site = build(RULES + RESERVE + NODE_LOSS)
    site.plane.apply([workload("StatefulSet", "db", 3, "25")])
    site.plane.create_pods([make_pod("solo", labels=labels("solo", "25"), scheduler=SCHEDULER)])
    counts = {"db": 3, "solo": 1}
    site.await_right(counts)
    before = site.uids()
    lost = {*site.nodes_of("db-0"), *site.nodes_of("solo")}
    leave = {uid for node in lost for uid in site.uids("db", node)}
    for node in lost:
        site.plane.crash_node(node)
    site.plane.await_nodes(lost, "Unknown")
    site.plane.eventually(
        lambda: {"db-0", "solo"} <= {text.split(":")[0] for text in site.events("NotMoved")}, "it is told"
    )
    told = {text.split(":")[0]: text for text in site.events("NotMoved")}
    assert "there must never be two of it" in told["db-0"]
    assert "recreate bare pods" in told["solo"]
    assert site.uids() == before
    taint = {"key": "node.kubernetes.io/out-of-service", "value": "off", "effect": "NoSchedule"}
    for node in lost:
        taints = site.plane.node(node)["spec"].get("taints", [])
        site.plane.api.patch(f"/api/v1/nodes/{node}", {"spec": {"taints": [*taints, taint]}})
    site.await_right({"db": 3}, lost)
    assert before - site.uids("db") - site.uids("solo") == leave
    assert site.diary.twice == []
    assert site.uids("solo") <= before
    site.await_held()


def test_the_rule_may_say_that_they_move_all_the_same(build: Build) -> None:
    lines = "move pods\n  recreate bare pods\n  force stateful pods"
    site = build(RULES + RESERVE + NODE_LOSS.replace("move pods", lines))
    site.plane.apply([workload("StatefulSet", "db", 3, "25")])
    site.plane.create_pods([make_pod("solo", labels=labels("solo", "25"), scheduler=SCHEDULER)])
    counts = {"db": 3, "solo": 1}
    site.await_right(counts)
    site.await_held()
    before = site.uids()
    lost = sorted({*site.nodes_of("db-0"), *site.nodes_of("solo")})
    leave = {uid for node in lost for uid in site.uids(node=node)}
    for node in lost:
        site.plane.crash_node(node)
    site.plane.await_nodes(lost, "Unknown")
    site.await_right(counts, lost)
    assert before - site.uids() == leave
    assert site.diary.twice == []
    site.await_held()
    [solo] = site.pods("solo")
    # The API server itself labels a pod with the zone of its node.
    [zone] = {node["metadata"]["labels"][ZONE] for node in [site.plane.node(solo["spec"]["nodeName"])]}
    assert solo["metadata"]["labels"] == labels("solo", "25") | {ZONE: zone}
    for node in lost:
        site.plane.restore_node(node)
    site.plane.await_nodes(lost, "True")
    site.await_right(counts)
    site.await_held()
    assert site.diary.made("solo") == 2
    assert site.diary.made("db") == 3 + len(leave) - 1
    assert site.diary.twice == []


def test_a_job_goes_on(build: Build) -> None:
    """Its pod waits on a node that nobody plays, which so falls silent; on one of the others it is done."""
    site = build(RULES + NODE_LOSS, milliseconds={"e0": 10.0, "e1": 10.0})
    site.plane.cordon("e0")
    site.plane.cordon("e1")
    site.plane.create_nodes([make_node("silent")])
    pod = make_pod("job", labels=labels("job"), scheduler=SCHEDULER)
    template = {
        "metadata": {"labels": pod["metadata"]["labels"]},
        "spec": {**pod["spec"], "restartPolicy": "Never"},
    }
    site.plane.apply(
        [
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {"name": "job"},
                "spec": {"template": template},
            }
        ]
    )
    site.plane.eventually(lambda: site.nodes_of("job") == ["silent"], "it is placed")
    site.plane.cordon("e0", False)
    site.plane.cordon("e1", False)
    site.plane.await_nodes(["silent"], "Unknown")
    path = "/apis/batch/v1/namespaces/default/jobs/job"
    site.plane.eventually(
        lambda: site.plane.api.get(path)["status"].get("succeeded") == 1, "the job is done", 90
    )
    assert site.diary.made("job") == 2
