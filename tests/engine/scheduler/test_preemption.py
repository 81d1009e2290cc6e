"""Preemption on the simulated cluster, from the pod that finds no room to the room that it gets."""

from __future__ import annotations

import pytest

from engine.clock import utc
from engine.model.objects import Affinity, LabelSelector, PodAffinity, PodAffinityTerm, Taint, Toleration
from tests.engine.scheduler.preempting import World, budget, deployment, node, pod


def test_the_victim_goes_and_the_pod_takes_its_place() -> None:
    world = World(node("e1", "1"))
    world.add(pod("old", "low"))
    world.until(10)
    world.add(pod("new", "high"))
    world.until(11)
    assert world.leaving("old")
    condition = world.get("old").condition("DisruptionTarget")
    assert condition is not None
    assert (condition.status, condition.reason) == ("True", "PreemptionByScheduler")
    assert condition.message == "custom-scheduler: preempting to accommodate a higher priority pod"
    assert condition.last_transition_time == utc(world.start + 10)
    assert world.get("new").status.nominated_node_name == "e1"
    assert world.node_of("new") == "", "its victim still holds the room"
    assert world.told("Preempted", "old") == [f"Preempted by pod {world.get('new').metadata.uid} on node e1"]
    assert world.told("FailedScheduling", "new") == [
        "0/1 nodes are available: 1 Insufficient cpu. "
        "preemption: 1 pod of lower priority must leave e1, which is promised to this one."
    ]
    world.until(17)
    assert not world.exists("old")
    assert world.node_of("new") == "e1"
    assert world.get("new").status.nominated_node_name == "", "the promise is kept, and over"


def test_the_pod_is_placed_in_the_moment_in_which_the_room_is_there() -> None:
    world = World(node("e1", "1"))
    world.add(pod("old", "low", grace=30))
    world.until(10)
    world.add(pod("new", "high"))
    world.simulation.settle()
    while world.exists("old"):
        assert world.simulation.step(world.start + 100)
    assert world.node_of("new") == "e1"


def test_nobody_is_taken_away_where_there_is_room() -> None:
    world = World(node("e1", "1"), node("e2", "1"))
    world.add(pod("old", "low"))
    world.until(5)
    world.add(pod("new", "high"))
    world.until(10)
    assert not world.leaving("old")
    assert {world.node_of("old"), world.node_of("new")} == {"e1", "e2"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param(
            "high", "high", "1 No preemption victims found for incoming pod", id="not those of equal priority"
        ),
        pytest.param("high", "low", "1 No preemption victims found for incoming pod", id="nor of higher"),
        pytest.param("low", "polite", None, id="nor with the policy Never"),
    ],
)
def test_whom_it_may_not_take_away(old: str, new: str, message: str | None) -> None:
    world = World(node("e1", "1"))
    world.add(pod("old", old))
    world.until(5)
    world.add(pod("new", new))
    world.until(60)
    assert not world.leaving("old")
    assert world.node_of("new") == ""
    told = world.told("FailedScheduling", "new")[0]
    if message is None:
        assert told.endswith("preemption: not eligible due to preemptionPolicy=Never.")
    else:
        assert told.endswith(f"preemption: 0/1 nodes are available: {message}.")


def test_no_more_go_than_have_to_and_the_least_important_first() -> None:
    world = World(node("e1", "3"))
    world.add(pod("middle", "middle"), pod("low-1", "low"), pod("low-2", "low"))
    world.until(10)
    world.add(pod("new", "high", "2"))
    world.until(11)
    assert (world.leaving("middle"), world.leaving("low-1"), world.leaving("low-2")) == (False, True, True)
    world.until(20)
    assert world.node_of("new") == "e1"


def test_the_node_where_the_lowest_priority_goes() -> None:
    world = World(node("e1", "1"), node("e2", "1"))
    world.add(pod("middle", "middle"))
    world.until(2)
    world.add(pod("low", "low"))
    world.until(10)
    world.add(pod("new", "high"))
    world.until(20)
    assert not world.exists("low")
    assert world.exists("middle")


def test_a_budget_turns_the_choice_and_is_violated_only_where_nothing_else_helps() -> None:
    world = World(node("e1", "1"), node("e2", "1"))
    world.cluster.apply(budget("guarded", "guarded", 1))
    world.add(pod("guarded", "low", labels={"app": "guarded"}))
    world.until(5)
    world.add(pod("free", "middle"))
    world.until(10)
    world.add(pod("first", "high"))
    world.until(20)
    assert world.exists("guarded"), "a budget counts more than a lower priority"
    assert not world.exists("free")
    world.add(pod("second", "high"))
    world.until(30)
    assert not world.exists("guarded"), "but it is no absolute protection"
    assert world.node_of("second") != ""


def test_what_the_victims_controller_makes_does_not_take_the_room() -> None:
    world = World(node("e1", "1"))
    world.cluster.apply(deployment("web", 1, "low"))
    world.until(10)
    world.add(pod("new", "high"))
    world.until(60)
    assert world.node_of("new") == "e1"
    pending = [one for one in world.cluster.pods() if one.metadata.name.startswith("web")]
    assert [one.spec.node_name for one in pending] == [""]


def test_a_lower_pod_does_not_take_the_room_that_is_promised() -> None:
    world = World(node("e1", "2"))
    world.add(pod("old-1", "low", grace=2), pod("old-2", "low", grace=30))
    world.until(10)
    world.add(pod("new", "high", "2"))
    world.until(15)
    assert not world.exists("old-1"), "half of the room is there"
    assert world.leaving("old-2")
    world.add(pod("thief", "middle"))
    world.until(30)
    assert world.node_of("thief") == ""
    assert world.told("FailedScheduling", "thief")[0].startswith(
        "0/1 nodes are available: 1 Insufficient cpu."
    )
    world.until(60)
    assert world.node_of("new") == "e1"


def test_a_higher_pod_may_take_it_and_the_promise_is_taken_back() -> None:
    world = World(node("e1", "1"))
    world.add(pod("old", "low", grace=20))
    world.until(10)
    world.add(pod("middle", "middle"))
    world.until(12)
    assert world.get("middle").status.nominated_node_name == "e1"
    world.add(pod("high", "high"))
    world.until(15)
    assert world.get("high").status.nominated_node_name == "e1"
    assert world.get("middle").status.nominated_node_name == ""
    assert world.told("Preempted", "old") == [
        f"Preempted by pod {world.get('middle').metadata.uid} on node e1"
    ], "nobody is asked to leave twice"
    world.until(60)
    assert (world.node_of("high"), world.node_of("middle")) == ("e1", "")


def test_while_its_victims_leave_a_pod_preempts_nobody_else() -> None:
    world = World(node("e1", "1"), node("e2", "1"))
    world.add(pod("old-1", "low", grace=120), pod("old-2", "low", grace=120))
    world.until(10)
    world.add(pod("new", "high"))
    world.until(12)
    world.cluster.label_node("e1", {"some": "label"})
    world.until(40)
    assert len(world.told("FailedScheduling", "new")) == 1, "it is not even tried"
    world.simulation.swap_plan(world.simulation.placer.plan)
    world.until(60)
    assert [world.leaving(name) for name in ("old-1", "old-2")].count(True) == 1
    assert len(world.told("Preempted")) == 1
    assert world.told("FailedScheduling", "new")[-1].endswith(
        "preemption: not eligible due to a terminating pod on the nominated node."
    )


def test_each_of_many_equal_pods_gets_room_of_its_own() -> None:
    world = World(node("e1", "3"), node("e2", "3"))
    for number in range(6):
        world.add(pod(f"old{number}", "low", grace=60))
    world.until(10)
    for number in range(5):
        world.add(pod(f"new{number}", "high"))
    world.until(12)
    assert sum(world.leaving(f"old{number}") for number in range(6)) == 5
    world.until(80)
    assert all(world.node_of(f"new{number}") for number in range(5))


def test_a_restart_in_the_middle_goes_on() -> None:
    world = World(node("e1", "1"), node("e2", "1"))
    world.add(pod("old-1", "low", grace=60), pod("old-2", "low", grace=60))
    world.until(10)
    world.add(pod("new", "high"))
    world.until(12)
    again = world.restarted()
    again.until(40)
    assert len(again.told("Preempted")) == 1, "the other node is left alone"
    again.until(90)
    assert again.node_of("new") != ""


POLICY = """
rule one-each for pods where pod.labels["app"] == "solo" {
  at most 1 per node
}

rule edge-only for pods where pod.labels["edge"] == "yes" {
  require node.labels["role"] == "edge"
}
"""


def test_room_is_never_made_where_a_rule_forbids_the_pod() -> None:
    world = World(node("cloud", "1", role="cloud"), policy=POLICY)
    world.add(pod("old", "low"))
    world.until(5)
    world.add(pod("new", "high", labels={"edge": "yes"}))
    world.until(60)
    assert world.exists("old")
    assert not world.leaving("old")
    assert world.told("FailedScheduling", "new")[0].endswith(
        "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    )


def test_a_rule_that_counts_pods_is_asked_with_the_victims_away() -> None:
    world = World(node("e1", "2"), node("e2", "2"), policy=POLICY)
    world.add(pod("solo-1", "middle", labels={"app": "solo"}))
    world.until(3)
    world.add(*(pod(f"filler-{number}", "low") for number in range(3)))
    world.until(6)
    first = world.node_of("solo-1")
    beside = [name for name in (f"filler-{n}" for n in range(3)) if world.node_of(name) == first]
    assert len(beside) == 1
    world.add(pod("solo-2", "middle", labels={"app": "solo"}))
    world.until(20)
    # Where the first of them is, no second may come, whoever else goes.
    assert world.node_of("solo-2") not in ("", first)
    assert world.exists(beside[0])


def test_a_pod_of_the_same_rule_is_taken_away_where_only_that_makes_room() -> None:
    world = World(node("e1", "4"), policy=POLICY)
    world.add(pod("solo-low", "low", labels={"app": "solo"}), pod("bystander", "low"))
    world.until(5)
    world.add(pod("solo-high", "high", labels={"app": "solo"}))
    world.until(20)
    assert not world.exists("solo-low")
    assert world.exists("bystander")
    assert world.node_of("solo-high") == "e1"


def test_anti_affinity_of_a_lower_pod_gives_way() -> None:
    apart = Affinity(
        pod_anti_affinity=PodAffinity(
            (PodAffinityTerm(LabelSelector({"app": "x"}), topology_key="kubernetes.io/hostname"),)
        )
    )
    world = World(node("e1", "4", **{"kubernetes.io/hostname": "e1"}))
    world.add(pod("hermit", "low", affinity=apart), pod("bystander", "low"))
    world.until(5)
    world.add(pod("new", "high", labels={"app": "x"}))
    world.until(20)
    assert not world.exists("hermit")
    assert world.exists("bystander")
    assert world.node_of("new") == "e1"


def test_taints_are_not_cured() -> None:
    world = World(node("e1", "1"))
    world.add(pod("old", "low", tolerations=(Toleration("gone", "Exists"),)))
    world.until(5)
    world.cluster.taint_node("e1", [Taint("gone", "", "NoSchedule")])
    world.add(pod("new", "high"))
    world.until(30)
    assert not world.leaving("old")
    assert world.told("FailedScheduling", "new")[0] == (
        "0/1 nodes are available: 1 node(s) had untolerated taint(s). "
        "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    )


def test_a_promise_that_no_longer_helps_is_taken_back() -> None:
    world = World(node("e1", "1"))
    world.add(pod("old", "low", grace=5))
    world.until(10)
    world.add(pod("new", "high"))
    world.until(11)
    assert world.get("new").status.nominated_node_name == "e1"
    world.cluster.cordon("e1")
    world.until(60)
    assert world.node_of("new") == ""
    assert world.get("new").status.nominated_node_name == ""
