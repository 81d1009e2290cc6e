from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.constraints.protocol import Depends
from engine.model.objects import PodKey
from engine.placement.hints import Hint
from engine.scheduler.queue import FLUSH_SECONDS, IN_A_ROW_AT_MOST, QueuedPod, SchedulingQueue


def key(name: str) -> PodKey:
    return PodKey("default", name, f"uid-{name}")


def popped(queue: SchedulingQueue) -> QueuedPod:
    pod = queue.pop()
    assert pod is not None
    return pod


def failed(queue: SchedulingQueue, now: float, helped_by: Depends = Depends.NODE) -> QueuedPod:
    pod = popped(queue)
    queue.failed(pod, now, helped_by)
    return pod


def test_higher_priority_first_then_the_longer_queued() -> None:
    queue = SchedulingQueue()
    queue.add(key("late"), 0, 3.0)
    queue.add(key("early"), 0, 1.0)
    queue.add(key("important"), 10, 5.0)
    assert [popped(queue).key.name for _ in range(3)] == ["important", "early", "late"]
    assert queue.pop() is None


def test_a_pod_is_queued_once() -> None:
    queue = SchedulingQueue()
    queue.add(key("a"), 0, 0.0)
    queue.add(key("a"), 5, 1.0)
    assert len(queue) == 1
    assert popped(queue).priority == 0
    assert queue.pop() is None


def test_a_removed_pod_is_not_popped() -> None:
    queue = SchedulingQueue()
    queue.add(key("a"), 0, 0.0)
    queue.remove(key("a"))
    assert key("a") not in queue
    assert queue.pop() is None


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [
        pytest.param(1, 1.0, id="first failure"),
        pytest.param(2, 2.0, id="second"),
        pytest.param(4, 8.0, id="fourth"),
        pytest.param(5, 10.0, id="at the maximum"),
        pytest.param(5000, 10.0, id="no overflow"),
    ],
)
def test_backoff_doubles_to_its_maximum(attempts: int, seconds: float) -> None:
    queue = SchedulingQueue(initial=1.0, maximum=10.0)
    queue.add(key("a"), 0, 0.0)
    pod = popped(queue)
    pod.attempts = attempts
    queue.failed(pod, 100.0, Depends.NODE)
    queue.wake(Depends.NODE, 100.0)
    assert queue.pop() is None
    queue.advance(100.0 + seconds - 0.01)
    assert queue.pop() is None
    queue.advance(100.0 + seconds)
    assert popped(queue).key == key("a")


@pytest.mark.parametrize(
    ("helped_by", "change", "woken"),
    [
        pytest.param(Depends.NODE, Depends.NODE, True, id="the change that helps"),
        pytest.param(Depends.NODE | Depends.USAGE, Depends.USAGE, True, id="one of several"),
        pytest.param(Depends.NODE, Depends.USAGE, False, id="another change"),
        pytest.param(Depends(0), Depends.NODE, False, id="nothing helps"),
    ],
)
def test_only_a_change_that_can_help_wakes(helped_by: Depends, change: Depends, woken: bool) -> None:
    queue = SchedulingQueue()
    queue.add(key("a"), 0, 0.0)
    failed(queue, 0.0, helped_by)
    queue.wake(change, 50.0)
    assert (queue.pop() is not None) is woken


def test_everything_is_looked_at_again_after_five_minutes() -> None:
    queue = SchedulingQueue()
    queue.add(key("a"), 0, 0.0)
    failed(queue, 0.0, Depends(0))
    assert queue.next_due() == FLUSH_SECONDS
    queue.advance(FLUSH_SECONDS)
    assert popped(queue).attempts == 2


def test_a_fallback_opens_at_its_time() -> None:
    queue = SchedulingQueue()
    queue.add(key("a"), 0, 0.0)
    queue.failed(popped(queue), 0.0, Depends.NODE, retry_at=30.0)
    assert queue.restless
    assert queue.next_due() == 30.0
    queue.advance(29.9)
    assert queue.pop() is None
    queue.advance(30.0)
    assert popped(queue).waiting_since == 0.0


def test_waiting_counts_from_the_first_failure_and_from_what_an_earlier_run_wrote() -> None:
    queue = SchedulingQueue()
    queue.add(key("fresh"), 1, 0.0)
    queue.add(key("known"), 0, 0.0, waiting_since=-20.0)
    assert failed(queue, 5.0).waiting_since == 5.0
    assert failed(queue, 5.0).waiting_since == -20.0
    queue.wake_all(100.0)
    assert failed(queue, 100.0).waiting_since == 5.0


def test_a_changed_pod_is_tried_at_once_and_waits_anew() -> None:
    queue = SchedulingQueue()
    queue.add(key("a"), 0, 0.0)
    failed(queue, 0.0, Depends(0))
    queue.wake_pod(key("a"), 0.1)
    pod = popped(queue)
    assert pod.waiting_since is None


def test_a_failed_binding_is_tried_again_after_its_backoff_whatever_happens() -> None:
    queue = SchedulingQueue()
    queue.add(key("a"), 0, 0.0)
    queue.again(popped(queue), 10.0)
    assert queue.counts() == {"active": 0, "backoff": 1, "unschedulable": 0}
    assert queue.next_due() == 11.0
    queue.advance(11.0)
    assert popped(queue).key == key("a")


_ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["add", "pop-fail", "pop-again", "pop-done", "remove", "wake", "wake-pod", "time"]),
        st.integers(0, 5),
        st.sampled_from([Depends.NODE, Depends.USAGE, Depends.CENSUS]),
    ),
    max_size=60,
)


@given(_ACTIONS)
def test_no_pod_is_ever_lost_or_queued_twice(actions: list[tuple[str, int, Depends]]) -> None:
    """Whatever happens, exactly the pods that were added and neither removed nor taken come out in the end."""
    queue = SchedulingQueue()
    expected: set[PodKey] = set()
    now = 0.0
    for action, number, change in actions:
        pod = key(str(number))
        match action:
            case "add":
                queue.add(pod, number % 3, now)
                expected.add(pod)
            case "remove":
                queue.remove(pod)
                expected.discard(pod)
            case "wake":
                queue.wake(change, now)
            case "wake-pod":
                queue.wake_pod(pod, now)
            case "time":
                now += number * 3.0
                queue.advance(now)
            case _:
                taken = queue.pop()
                if taken is None:
                    continue
                if action == "pop-fail":
                    queue.failed(taken, now, change)
                elif action == "pop-again":
                    queue.again(taken, now)
                else:
                    expected.discard(taken.key)
        assert len(queue) == len(expected)
        assert all(pod in queue for pod in expected)
    queue.advance(now + FLUSH_SECONDS + 1.0)
    left = []
    while (taken := queue.pop()) is not None:
        left.append(taken.key)
    assert sorted(left) == sorted(expected)


def test_who_was_never_tried_takes_turns_with_who_was() -> None:
    queue = SchedulingQueue()
    for number in range(3):
        queue.add(key(f"old-{number}"), 0, 0.0)
    for _ in range(3):
        failed(queue, 0.0)
    for number in range(3):
        queue.add(key(f"new-{number}"), 0, 10.0)
    queue.wake(Depends.NODE, 20.0)
    names = [popped(queue).key.name for _ in range(6)]
    assert names == ["old-0", "new-0", "old-1", "new-1", "old-2", "new-2"]


def test_hopeless_pods_of_a_high_priority_leave_a_turn_to_a_new_one_of_a_low() -> None:
    queue = SchedulingQueue()
    for number in range(30):
        queue.add(key(f"high-{number}"), 100, 0.0)
    for _ in range(30):
        failed(queue, 0.0)
    queue.add(key("low"), 0, 10.0)
    queue.wake(Depends.NODE, 20.0)
    names = [popped(queue).key.name for _ in range(31)]
    assert names.index("low") == IN_A_ROW_AT_MOST
    queue = SchedulingQueue()
    queue.add(key("low"), 0, 0.0)
    queue.add(key("high"), 100, 5.0)
    assert popped(queue).key.name == "high", "of those that were never tried, the higher one is first"


def same(number: int = 0) -> Hint:
    return Hint(("group", number), 0, 0, np.array([255], dtype=np.uint8), False, Depends(0), ())


def waiting(queue: SchedulingQueue, count: int, now: float = 0.0) -> None:
    for number in range(count):
        queue.add(key(f"p{number}"), 0, now)
    for _ in range(count):
        queue.failed(popped(queue), now, Depends.NODE | Depends.USAGE, hint=same())


def free(priority: int) -> tuple[int, int]:
    return 1000, 1000


def test_of_a_group_one_is_tried_for_all() -> None:
    queue = SchedulingQueue()
    waiting(queue, 3)
    queue.freed(1, free, 50.0)
    probe = popped(queue)
    assert probe.key.name == "p0"
    assert queue.causes(probe) == {1}
    assert queue.pop() is None
    queue.placed(probe, 50.0)
    assert popped(queue).key.name == "p1", "that worked, so the next may be placed as well"


def test_a_group_in_which_nothing_comes_of_it_lies_down_again() -> None:
    queue = SchedulingQueue()
    waiting(queue, 3)
    queue.freed(1, free, 50.0)
    queue.failed(popped(queue), 50.0, Depends.USAGE, hint=same())
    assert queue.pop() is None
    queue.freed(1, free, 51.0)
    assert queue.pop() is None, "the group backs off"
    queue.advance(52.0)
    assert popped(queue).key.name == "p1", "and then another of it is tried"


def test_after_a_closer_look_a_pod_was_never_woken() -> None:
    queue = SchedulingQueue()
    waiting(queue, 1)
    queue.freed(1, free, 50.0)
    pod = popped(queue)
    queue.asleep(pod, 50.0)
    assert (pod.attempts, queue.counts()["unschedulable"]) == (1, 1)
    queue.freed(2, free, 50.0)
    assert queue.causes(popped(queue)) == {2}, "without another backoff"


@pytest.mark.parametrize("ended", ["let_go", "again"])
def test_a_probe_that_is_not_tried_leaves_its_turn(ended: str) -> None:
    queue = SchedulingQueue()
    waiting(queue, 2)
    queue.freed(1, free, 50.0)
    getattr(queue, ended)(popped(queue), 50.0)
    assert popped(queue).key.name == "p1"


def test_who_waits_for_any_room_is_woken_by_nodes_that_came_while_nobody_waited() -> None:
    queue = SchedulingQueue()
    for slot in range(100):
        queue.node_changed(slot, free, 0.0)
    queue.add(key("p"), 0, 0.0)
    queue.failed(popped(queue), 0.0, Depends.USAGE)
    queue.freed(99, free, 50.0)
    assert queue.causes(popped(queue)) == {99}


def test_many_causes_are_no_causes() -> None:
    queue = SchedulingQueue()
    waiting(queue, 1)
    for slot in range(100):
        queue.freed(slot % 8, free, 50.0)
    assert queue.causes(popped(queue)) == set(range(8))
    waiting(queue := SchedulingQueue(), 1)
    queue.freed(3, free, 50.0)
    queue.wake(Depends.NODE, 50.0)
    assert queue.causes(popped(queue)) is None, "something happened that is on no node in particular"


def test_room_that_others_made_is_taken_at_once_but_not_again_and_again() -> None:
    queue = SchedulingQueue()
    queue.add(key("a"), 0, 0.0)
    pod = popped(queue)
    queue.failed(pod, 0.0, Depends.USAGE)
    queue.activate(key("a"), 0.1)
    assert popped(queue) is pod, "before its backoff is over"
    queue.failed(pod, 0.1, Depends.USAGE)
    queue.activate(key("a"), 0.2)
    assert queue.pop() is None, "the second time it waits"
    queue.advance(0.2 + 1.0)
    assert popped(queue) is pod
