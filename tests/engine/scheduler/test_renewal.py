"""What is said of pods that wait is kept true while there is nothing else to do, at a low rate and without events."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from engine.cluster.reflector import Deleted, Upserted
from engine.model.objects import Condition, Pod, PodKey, Taint
from engine.scheduler.renewal import AT_ONCE, ROUND_SECONDS
from tests.engine import build
from tests.engine.scheduler.bare import OURS, Bare


def asking(name: str, cpu: str = "3") -> Pod:
    made = build.pod(name, requests={"cpu": cpu})
    return replace(made, spec=replace(made.spec, scheduler_name=OURS))


class World(Bare):
    """One that remembers conditions, and renews each second as the loop does."""

    def __init__(self) -> None:
        super().__init__()
        self.conditions: dict[str, list[str]] = {}
        self.told.condition = self._condition  # type: ignore[method-assign]
        self.looked = 0
        self.handle(Upserted(build.node("full", allocatable={"cpu": "1", "memory": "1Gi", "pods": "9"})))

    def _condition(self, pod: PodKey, condition: Condition) -> None:
        self.conditions.setdefault(pod.name, []).append(condition.message)

    def idle(self, seconds: int) -> None:
        for _ in range(seconds):
            self.later(1)
            self.scheduler.renew()


def tainted(name: str) -> Upserted:
    return Upserted(build.node(name, taints=[Taint("k", "", "NoSchedule")]))


def test_a_message_is_renewed_without_an_event() -> None:
    world = World()
    world.handle(Upserted(asking("p")))
    world.run()
    before = "0/1 nodes are available: 1 Insufficient cpu."
    assert world.conditions["p"] == [before]
    world.handle(tainted("t"))
    tried = world.tried("p")
    world.idle(int(ROUND_SECONDS) + 1)
    assert world.conditions["p"][-1] == (
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s)."
    )
    assert world.tried("p") == tried, "nothing happened, so no event"


def test_many_are_gone_through_a_few_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    names = [f"p{number}" for number in range(3 * AT_ONCE)]
    for position, name in enumerate(names):
        # Each of a kind of its own, so that none is told with another.
        world.handle(Upserted(asking(name, f"{3000 + position}m")))
    world.run()
    asked: list[str] = []
    place = world.placer.place

    def counting(pod, *arguments, **options):  # type: ignore[no-untyped-def]
        asked.append(pod.key.name)
        return place(pod, *arguments, **options)

    monkeypatch.setattr(world.placer, "place", counting)
    world.scheduler.renew()
    assert asked == names[:AT_ONCE]
    world.scheduler.renew()
    assert asked == names[:AT_ONCE], "not before a second is over"
    world.idle(2)
    assert asked == names, "each once a round"
    world.idle(int(ROUND_SECONDS) - 4)
    assert asked == names, "and rounds do not begin all the time"
    world.idle(4)
    assert len(asked) > len(names)


def test_whoever_is_gone_is_passed_over() -> None:
    world = World()
    for name in ("p", "q"):
        world.handle(Upserted(asking(name)))
    world.run()
    world.handle(Deleted(asking("p")))
    world.handle(tainted("t"))
    world.idle(int(ROUND_SECONDS) + 1)
    assert len(world.conditions["p"]) == 1
    assert world.conditions["q"][-1].startswith("0/2")


def test_a_pod_that_would_fit_after_all_is_tried() -> None:
    """Hints may be wrong, of which this is the remedy: the node's room grows, and nobody is told."""
    world = World()
    world.handle(Upserted(asking("p")))
    world.run()
    world.cache.put_node(build.node("full", allocatable={"cpu": "9", "memory": "1Gi", "pods": "9"}))
    world.scheduler.renew()
    assert world.later(2) == ["p"]


def test_nobody_is_asked_about_while_others_are_to_be_placed() -> None:
    world = World()
    world.handle(Upserted(asking("p")))
    world.run()
    world.handle(tainted("t"), Upserted(asking("q")))
    world.scheduler.renew()
    assert len(world.conditions["p"]) == 1


def test_a_fault_of_ours_is_logged_and_the_pod_tried_in_earnest(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    world.handle(Upserted(asking("p")))
    world.run()

    def broken(*arguments: object, **options: object) -> None:
        raise RuntimeError("broken")

    with monkeypatch.context() as patched:
        patched.setattr(world.placer, "place", broken)
        world.scheduler.renew()
    assert "renewing what is said of pod default/p failed unexpectedly" in caplog.messages
    tried = world.tried("p")
    world.later(2)
    assert world.tried("p") == tried + 1
