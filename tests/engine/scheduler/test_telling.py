"""Who is said to report what happens to a pod: the scheduler that the pod asks for."""

from __future__ import annotations

from msgspec.structs import replace

from engine.model.objects import Pod, PodKey
from engine.scheduler.simulation import Simulation
from engine.settings import Settings
from tests.engine.scheduler.preempting import World, node, pod


def asking(scheduler: str, one: Pod) -> Pod:
    return replace(one, spec=replace(one.spec, scheduler_name=scheduler))


def test_several_names_are_served_and_each_reports_of_its_own_pods() -> None:
    world = World(node("e1", "2"))
    settings = Settings(schedulers=("blue", "red"))
    world.simulation = Simulation(world.cluster, world.simulation.placer.plan, None, settings)
    world.add(asking("blue", pod("low", "low", "2")))
    world.until(10)
    world.add(asking("red", pod("high", "high", "2")), asking("blue", pod("huge", "low", "99")))
    world.until(20)
    reported = {
        (event.reason, event.regarding.name, event.controller)
        for event in world.cluster.events
        if isinstance(event.regarding, PodKey) and event.action
    }
    assert reported >= {
        ("Scheduled", "low", "blue"),
        ("FailedScheduling", "high", "red"),
        ("FailedScheduling", "huge", "blue"),
        ("Preempted", "low", "red"),  # whoever takes it away says so, as in the stock scheduler
        ("Scheduled", "high", "red"),
    }
