"""What is only said waits while pods of lost nodes are on their way, and is said in the end."""

from __future__ import annotations

import pytest

from engine.binder.errands import Errand, Tell
from engine.cluster.simulated.admission import RUNS_FOR
from engine.manifests.objects import Job, JobSpec, PodTemplate
from engine.model.objects import Condition, ObjectMeta, PodKey
from engine.scheduler.hurry import MOST_SECONDS, Hurry
from tests.engine.scheduler.scenes import NODE_LOSS, RESERVE, RULES, Mortal, spec
from tests.engine.scheduler.test_healing import settled

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
