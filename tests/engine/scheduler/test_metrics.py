"""What the scheduler tells of its work, and what a fault of its own costs: one pod's attempt, nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import pytest

from engine.binder import Outcome
from engine.cluster.protocol import ResourceKind
from engine.cluster.simulated import SimulatedCluster
from engine.placement import Decision
from engine.scheduler.metrics import Unmeasured
from engine.scheduler.simulation import Simulation
from engine.settings import Settings
from tests.engine.scheduler.test_simulation import node, plan, pod


class Notes(Unmeasured):
    """Writes down what it is told (an `engine.scheduler.metrics.Metrics`)."""

    def __init__(self) -> None:
        self.decisions: list[tuple[str | None, float]] = []
        self.bindings: list[tuple[Outcome, int, float, float, float]] = []
        self.errors = 0
        self.plans: list[int] = []
        self.delays: list[int] = []

    def decided(self, decision: Decision, seconds: float) -> None:
        self.decisions.append((decision.node, seconds))

    def bound(self, outcome: Outcome, attempts: int, whole: float, binding: float, waited: float) -> None:
        self.bindings.append((outcome, attempts, whole, binding, waited))

    def erred(self) -> None:
        self.errors += 1

    def watching(self, kind: ResourceKind, well: bool) -> None:
        raise AssertionError("a simulated watch never breaks")

    def queued(self, counts: Mapping[str, int]) -> None:
        raise AssertionError("the loop tells that")

    def plan_in_force(self, rules: int) -> None:
        self.plans.append(rules)

    def delays_in_force(self, endpoints: int) -> None:
        self.delays.append(endpoints)


@pytest.fixture
def cluster() -> SimulatedCluster:
    cluster = SimulatedCluster()
    cluster.add_node(node("edge-1"))
    return cluster


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def simulation(cluster: SimulatedCluster, notes: Notes) -> Simulation:
    return Simulation(cluster, plan(), None, Settings(), metrics=notes)


def test_a_pod_that_waits_and_then_fits(
    cluster: SimulatedCluster, simulation: Simulation, notes: Notes
) -> None:
    cluster.add_pod(pod("big", cpu="8"))
    simulation.settle()
    assert [found for found, _ in notes.decisions] == [None]
    assert notes.bindings == []
    cluster.add_node(node("edge-2", cpu="16"))
    simulation.run_until(cluster.clock.now() + 30.0)
    assert [found for found, _ in notes.decisions] == [None, "edge-2"]
    [(outcome, attempts, whole, binding, waited)] = notes.bindings
    assert (outcome, attempts, whole, binding) == (Outcome.BOUND, 2, 0.0, 0.0)
    assert waited == 1.0, "the backoff after the first attempt"


def test_policies_that_change(simulation: Simulation, notes: Notes) -> None:
    simulation.swap_plan(plan())
    simulation.settle()
    assert notes.plans == [2]


def test_a_fault_while_placing_costs_that_pod_its_attempt(
    cluster: SimulatedCluster,
    simulation: Simulation,
    notes: Notes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = simulation.placer.place
    faults = ["bad"] * 3

    def stumble(placed, *rest, **named):  # type: ignore[no-untyped-def]
        if placed.key.name == "bad" and faults:
            faults.pop()
            raise ZeroDivisionError("a fault of ours")
        return place(placed, *rest, **named)

    monkeypatch.setattr(simulation.placer, "place", stumble)
    cluster.add_pod(pod("bad"))
    cluster.add_pod(pod("good"))
    simulation.settle()
    assert {found.metadata.name: found.spec.node_name for found in cluster.pods()} == {
        "bad": "",
        "good": "edge-1",
    }
    assert notes.errors == 1
    assert "placing pod default/bad failed unexpectedly" in caplog.text
    [event] = [event for event in cluster.events if event.reason == "FailedScheduling"]
    assert "internal error" in event.message
    bad = cluster.get_pod("default", "bad")
    assert bad is not None
    condition = bad.condition("PodScheduled")
    assert condition is not None
    assert (condition.status, condition.reason) == ("False", "SchedulerError")
    simulation.run_until(cluster.clock.now() + 60.0)
    assert notes.errors == 3
    assert {found.spec.node_name for found in cluster.pods()} == {"edge-1"}, "it is tried again, and again"


def test_a_fault_while_telling_of_it_costs_no_pod_its_place(
    cluster: SimulatedCluster, simulation: Simulation, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pod is assumed on a node, or queued, when the fault comes: it is neither lost nor counted twice."""
    faults = ["told", "submitted"]
    scheduler = simulation.scheduler
    assume, failed = simulation.cache.assume, scheduler.queue.failed

    def stumble_after(call: Callable[..., None]) -> Callable[..., None]:
        def stumbling(*args: object) -> None:
            call(*args)
            if faults:
                raise ZeroDivisionError(faults.pop())

        return stumbling

    monkeypatch.setattr(simulation.cache, "assume", stumble_after(assume))
    monkeypatch.setattr(scheduler.queue, "failed", stumble_after(failed))
    cluster.add_pod(pod("big", cpu="8"))
    cluster.add_pod(pod("good", cpu="3"))
    simulation.settle()
    assert notes.errors == 2
    assert scheduler.queue.counts() == {"active": 0, "backoff": 2, "unschedulable": 0}
    simulation.run_until(cluster.clock.now() + 5.0)
    good = cluster.get_pod("default", "good")
    assert good is not None
    assert good.spec.node_name == "edge-1"
    assert scheduler.queue.counts() == {"active": 0, "backoff": 0, "unschedulable": 1}
    assert scheduler.binding == 0


def test_a_fault_while_taking_in_costs_that_object(
    cluster: SimulatedCluster,
    simulation: Simulation,
    notes: Notes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    put = simulation.cache.put_pod

    def stumble(found, *rest):  # type: ignore[no-untyped-def]
        if found.metadata.name == "bad":
            raise KeyError("a fault of ours")
        return put(found, *rest)

    monkeypatch.setattr(simulation.cache, "put_pod", stumble)
    cluster.add_pod(pod("bad"))
    cluster.add_pod(pod("good"))
    simulation.settle()
    assert notes.errors == 1
    assert "taking in Pod default/bad failed unexpectedly" in caplog.text
    good = cluster.get_pod("default", "good")
    assert good is not None
    assert good.spec.node_name == "edge-1"


def test_who_takes_over_goes_on_with_the_waiting_of_pods(caplog: pytest.LogCaptureFixture) -> None:
    """Two schedulers on one cluster: the second has queued the pod before the first found out that it must wait."""
    caplog.set_level(logging.ERROR)
    cluster = SimulatedCluster()
    cluster.add_node(node("cloud-1", role="cloud"))
    first, second = (Simulation(cluster, plan(), None, Settings()) for _ in range(2))

    def take_in(simulation: Simulation) -> None:
        for reflector in simulation._reflectors:
            while reflector.step():
                pass
        while simulation._inbox:
            simulation.scheduler.handle(simulation._inbox.popleft())

    take_in(second)
    cluster.add_pod(pod("a", {"cloudable": "yes"}))
    take_in(second)
    first.settle()
    take_in(second)
    cluster.run_until(cluster.clock.now() + 20.0)
    [queued] = second.scheduler.queue.pods()
    before = queued.waiting_since
    assert before is None
    second.scheduler.resume()
    assert queued.waiting_since == cluster.clock.now() - 20.0
    second.run_until(cluster.clock.now() + 9.0)
    found = cluster.get_pod("default", "a")
    assert found is not None
    assert found.spec.node_name == ""
    second.run_until(cluster.clock.now() + 2.0)
    found = cluster.get_pod("default", "a")
    assert found is not None
    assert found.spec.node_name == "cloud-1", (
        "thirty seconds after it was first found to wait, not after the change"
    )


def test_what_was_found_before_stays_when_another_takes_over() -> None:
    cluster = SimulatedCluster()
    simulation = Simulation(cluster, plan(), None, Settings())
    cluster.add_node(node("cloud-1", role="cloud"))
    cluster.add_pod(pod("a", {"cloudable": "yes"}))
    simulation.settle()
    [queued] = simulation.scheduler.queue.pods()
    since = queued.waiting_since
    assert since is not None
    cluster.run_until(cluster.clock.now() + 5.0)
    simulation.scheduler.resume()
    assert queued.waiting_since == since
