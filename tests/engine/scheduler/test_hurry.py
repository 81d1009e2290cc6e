"""What is only said waits while pods of lost nodes are on their way, and is said in the end."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import msgspec
import pytest

from engine.binder.errands import Errand, Tell
from engine.cluster.errors import ApiError
from engine.cluster.protocol import ClusterEvent, Object
from engine.cluster.simulated.admission import RUNS_FOR
from engine.manifests.objects import Job, JobSpec, PodTemplate
from engine.model.objects import Condition, NodeStatus, ObjectMeta, OwnerReference, PodKey, PodStatus
from engine.scheduler import hurry as hurrying
from engine.scheduler.hurry import MOST_SECONDS, Hurry
from tests.engine.scheduler.scenes import NODE_LOSS, RESERVE, RULES, Mortal, spec
from tests.engine.scheduler.test_healing import settled
from tests.engine.scheduler.test_loop import Running, Server
from tests.engine.scheduler.test_simulation import node, pod

OWNER = OwnerReference("ReplicaSet", "web-1", "u", True, "apps/v1")
WORD = Errand("a", (Tell(PodKey("default", "a", "1"), Condition("DisruptionTarget", "True")),))


@pytest.mark.parametrize(
    ("after", "on_the_way", "said"),
    [
        pytest.param(0.0, True, False, id="at once"),
        pytest.param(0.0, False, True, id="all have their places"),
        pytest.param(MOST_SECONDS - 0.01, True, False, id="a little before the end"),
        pytest.param(MOST_SECONDS, True, True, id="somebody's replacement does not come"),
    ],
)
def test_words_wait_until_all_are_there_or_for_some_seconds(
    after: float, on_the_way: bool, said: bool
) -> None:
    hurry = Hurry()
    hurry.begin(100.0)
    hurry.say(WORD)
    assert hurry.next_end == 100.0 + MOST_SECONDS
    assert hurry.lasts(100.0 + after, on_the_way) is not said
    assert hurry.over(100.0 + after, on_the_way) == ([WORD] if said else [])
    assert hurry.over(100.0 + MOST_SECONDS, False) == ([] if said else [WORD]), "once"
    assert hurry.next_end is None


def test_there_is_no_hurry_where_none_was_lost() -> None:
    hurry = Hurry()
    assert not hurry.lasts(0.0, True)
    assert hurry.over(0.0, True) == []


RATED = NODE_LOSS.replace("move pods", "move pods\n  at most 60 moves per 1s")


@pytest.mark.parametrize(
    ("heal", "amid"),
    [
        pytest.param(NODE_LOSS, False, id="told when all have their places"),
        pytest.param(RATED, True, id="told at once, for the rate"),
    ],
)
def test_all_are_asked_to_leave_before_any_is_told_why(
    heal: str, amid: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = settled(RULES + RESERVE + heal)
    lost = world.nodes_of("video")[-1]
    leaving = {pod.metadata.name for pod in world.pods() if pod.spec.node_name == lost}
    sent: list[tuple[str, str]] = []
    delete, tell = Mortal.delete_pod, Mortal.patch_pod_condition

    def deleting(cluster: Mortal, pod: PodKey, grace: int | None = None) -> None:
        if pod.namespace == "default":
            sent.append(("delete", pod.name))
        delete(cluster, pod, grace)

    def telling(cluster: Mortal, pod: PodKey, condition: Condition) -> None:
        if condition.type == "DisruptionTarget":
            sent.append(("tell", pod.name))
            upkeep = world.simulation.scheduler.upkeep
            assert upkeep is not None
            assert upkeep.healing.hurries(world.cluster.clock.now()) is amid
        tell(cluster, pod, condition)

    monkeypatch.setattr(Mortal, "delete_pod", deleting)
    monkeypatch.setattr(Mortal, "patch_pod_condition", telling)
    world.cluster.fail_node(lost)
    world.run(60)
    assert len(leaving) >= 2
    assert [kind for kind, _ in sent] == ["delete"] * len(leaving) + ["tell"] * len(leaving)
    assert {name for kind, name in sent if kind == "tell"} == leaving
    told = [pod for pod in world.cluster.pods() if pod.metadata.name in leaving]
    assert all(pod.condition("DisruptionTarget") is not None for pod in told)


def test_the_pod_of_a_job_is_told_before_it_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure policy that forgives disruptions looks at the condition."""
    world = settled()
    template = PodTemplate(ObjectMeta(annotations={RUNS_FOR: "1h"}), spec())
    world.cluster.apply(Job(ObjectMeta(name="work", namespace="default"), JobSpec(template)))
    world.run(10)
    [pod] = [one for one in world.pods() if one.metadata.name.startswith("work")]
    reasons: list[str] = []
    delete = Mortal.delete_pod

    def deleting(cluster: Mortal, key: PodKey, grace: int | None = None) -> None:
        if key == pod.key:
            found = cluster.get_pod(key.namespace, key.name)
            condition = None if found is None else found.condition("DisruptionTarget")
            reasons.append("" if condition is None else condition.reason)
        delete(cluster, key, grace)

    monkeypatch.setattr(Mortal, "delete_pod", deleting)
    world.cluster.fail_node(pod.spec.node_name)
    world.run(60)
    assert reasons == ["Healing"]


class Slow(Server):
    """A server that takes its time over a deletion, and then refuses it."""

    def __init__(self, *objects: Object) -> None:
        super().__init__(*objects)
        self.asked = threading.Event()
        self.told: list[str] = []

    def delete_pod(self, key: PodKey, grace: int | None = None) -> None:
        self.asked.set()
        self.answer.wait(60)
        raise ApiError(403, "Forbidden", f"{key} stays")

    def post_event(self, event: ClusterEvent) -> None:
        self.told.append(event.reason)


def test_events_wait_while_a_pod_of_a_lost_node_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hurrying, "MOST_SECONDS", 60.0)
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)
    silent = Condition("Ready", "Unknown", "NodeStatusUnknown", last_transition_time=long_ago)
    lost, other = node("lost"), node("other")
    status = NodeStatus(allocatable=lost.status.allocatable, conditions=(silent,))
    one = pod("web", status=PodStatus(phase="Running"))
    metadata = msgspec.structs.replace(one.metadata, uid="1", owner_references=(OWNER,))
    one = msgspec.structs.replace(
        one, metadata=metadata, spec=msgspec.structs.replace(one.spec, node_name="lost")
    )
    server = Slow(msgspec.structs.replace(lost, status=status), other, one)
    running = Running(server, policy="heal gone on node lost for 1s {\n  move pods\n}\n")
    try:
        running.until(server.asked.is_set, "the pod is asked to leave")
        running.until(lambda: running.loop.recorder.pending > 0, "there is something to tell")
        running.thread.join(0.3)  # longer than whoever writes events waits for an idle moment
        assert server.told == []
        server.answer.set()
        running.until(lambda: "Moving" in server.told, "it is told, as nobody is on the way any more")
    finally:
        server.answer.set()
        running.end()
    assert running.error is None
