"""Who leads: one at most whatever happens, and somebody again soon after."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cluster.errors import ApiError, Unreachable
from engine.cluster.leader import Elector, LeaseTerms, Standing, fresh_identity
from engine.cluster.protocol import LeaseRecord
from engine.cluster.simulated import SimulatedCluster
from tests.engine.cluster.double import ManualClock

TERMS = LeaseTerms("kube-system", "berth", "a", duration=15.0, deadline=10.0, period=2.0)


class Way:
    """The way from one elector to the cluster, on which things happen.

    Attributes:
        before: Called before each request takes effect.
        after: Called before its answer arrives.
    """

    def __init__(self, cluster: SimulatedCluster) -> None:
        self.cluster = cluster
        self.before: Callable[[], object] = lambda: None
        self.after: Callable[[], object] = lambda: None

    def get_lease(self, namespace: str, name: str) -> LeaseRecord | None:
        self.before()
        found = self.cluster.get_lease(namespace, name)
        self.after()
        return found

    def put_lease(self, namespace: str, name: str, record: LeaseRecord) -> LeaseRecord:
        self.before()
        made = self.cluster.put_lease(namespace, name, record)
        self.after()
        return made


class Two:
    """Two electors on one cluster, and their clock."""

    def __init__(self) -> None:
        self.cluster = SimulatedCluster()
        self.clock = ManualClock()
        self.ways = (Way(self.cluster), Way(self.cluster))
        self.a, self.b = (
            Elector(way, replace(TERMS, identity=name), self.clock)
            for way, name in zip(self.ways, "ab", strict=True)
        )

    def lease(self) -> LeaseRecord:
        found = self.cluster.get_lease("kube-system", "berth")
        assert found is not None
        return found


@pytest.fixture
def two() -> Two:
    return Two()


def fail(error: Exception) -> Callable[[], object]:
    def raise_() -> None:
        raise error

    return raise_


def test_the_first_to_come_leads(two: Two) -> None:
    assert two.a.standing is Standing.WAITING
    assert two.a.step() is Standing.LEADING
    assert two.b.step() is Standing.WAITING
    assert (two.a.leading, two.b.leading, two.b.holder) == (True, False, "a")
    lease = two.lease()
    assert (lease.holder, lease.duration_seconds, lease.transitions) == ("a", 15, 0)


def test_a_leader_renews(two: Two) -> None:
    two.a.step()
    acquired = two.lease().acquire_time
    for _ in range(20):
        two.clock.time += 2.0
        assert two.a.step() is Standing.LEADING
        assert two.b.step() is Standing.WAITING
    lease = two.lease()
    assert (lease.acquire_time, lease.transitions) == (acquired, 0)
    assert (lease.renew_time - acquired).total_seconds() == 40.0


def test_another_takes_over_when_the_lease_has_run_out(two: Two) -> None:
    two.a.step()
    two.b.step()
    two.clock.time += 14.9
    assert two.b.step() is Standing.WAITING
    two.clock.time += 0.1
    assert two.b.step() is Standing.LEADING
    assert (two.lease().holder, two.lease().transitions) == ("b", 1)


def test_a_lease_counts_from_when_it_was_seen(two: Two) -> None:
    """The wall clock of its holder may be anything."""
    two.a.step()
    two.clock.time += 100.0
    assert two.b.step() is Standing.WAITING
    two.clock.time += 15.0
    assert two.b.step() is Standing.LEADING


def test_a_leader_that_cannot_renew_stops_before_another_begins(two: Two) -> None:
    two.a.step()
    two.b.step()
    two.ways[0].before = fail(Unreachable("connection refused"))
    two.clock.time += 9.9
    assert two.a.step() is Standing.LEADING
    two.clock.time += 0.1
    assert two.a.standing is Standing.LOST
    two.ways[0].before = lambda: None
    assert two.a.step() is Standing.LOST, "what is lost stays lost, though the lease could be had"
    assert two.lease().holder == "a"


def test_a_leader_whose_request_hangs_has_lost(two: Two) -> None:
    two.a.step()
    two.ways[0].after = lambda: setattr(two.clock, "time", two.clock.time + 30.0)
    assert two.a.step() is Standing.LOST


def test_a_leaders_time_counts_from_when_it_asked(two: Two) -> None:
    two.a.step()
    two.ways[0].after = lambda: setattr(two.clock, "time", two.clock.time + 3.0)
    assert two.a.step() is Standing.LEADING  # a look and a write: six seconds
    two.clock.time += 3.9
    assert two.a.leading
    two.clock.time += 0.1
    assert two.a.standing is Standing.LOST


def test_a_leader_that_sees_another_has_lost(two: Two, caplog: pytest.LogCaptureFixture) -> None:
    two.a.step()
    two.cluster.put_lease("kube-system", "berth", replace(two.lease(), holder="c"))
    assert two.a.step() is Standing.LOST
    assert "the lease kube-system/berth is lost: c holds it" in caplog.text


def test_an_acquisition_that_is_answered_too_late_is_none(two: Two) -> None:
    two.ways[0].after = lambda: setattr(two.clock, "time", two.clock.time + 6.0)
    assert two.a.step() is Standing.WAITING
    two.ways[0].after = lambda: None
    assert two.a.step() is Standing.LEADING, "the lease is ours all the same"


def test_an_answer_that_is_lost_costs_nothing(two: Two) -> None:
    two.ways[0].after = fail(Unreachable("reset"))
    assert two.a.step() is Standing.WAITING
    two.ways[0].after = lambda: None
    assert two.a.step() is Standing.LEADING
    assert two.b.step() is Standing.WAITING


def test_who_comes_second_in_a_race_waits(two: Two) -> None:
    def race() -> None:
        two.ways[1].before = lambda: None
        two.a.step()

    two.ways[1].before = lambda: setattr(two.ways[1], "before", race)  # between b's look and its write
    assert two.b.step() is Standing.WAITING
    assert two.a.leading
    assert two.b.trouble == ""


def test_a_lease_that_is_given_back_is_taken_at_once(two: Two) -> None:
    two.a.step()
    two.b.step()
    two.a.give_back()
    assert two.a.standing is Standing.RELEASED
    assert two.b.step() is Standing.LEADING
    assert two.lease().transitions == 1
    assert two.a.step() is Standing.RELEASED, "who gave back never takes again"


def test_who_does_not_lead_gives_nothing_back(two: Two) -> None:
    two.a.step()
    two.b.step()
    two.b.give_back()
    assert two.lease().holder == "a"


def test_who_cannot_give_back_says_so(two: Two, caplog: pytest.LogCaptureFixture) -> None:
    two.a.step()
    two.ways[0].before = fail(Unreachable("connection refused"))
    two.a.give_back()
    assert "could not be given back, it runs out by itself: connection refused" in caplog.text


def test_what_is_written_is_no_shorter_than_what_is_meant() -> None:
    """Whole seconds go into the lease: rounded down, others would come while we still lead."""
    cluster, clock = SimulatedCluster(), ManualClock()
    elector = Elector(cluster, replace(TERMS, duration=1.4, deadline=1.2, period=0.1), clock)
    elector.step()
    found = cluster.get_lease("kube-system", "berth")
    assert found is not None
    assert found.duration_seconds == 2


def test_trouble_is_told_once(two: Two, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    two.ways[0].before = fail(ApiError(403, "Forbidden", "cannot get leases"))
    for _ in range(3):
        assert two.a.step() is Standing.WAITING
    assert two.a.trouble == "403 Forbidden: cannot get leases"
    two.ways[0].before = lambda: None
    two.a.step()
    assert caplog.messages == [
        "lease kube-system/berth: 403 Forbidden: cannot get leases",
        "leading: this is a, which holds the lease kube-system/berth",
        "lease kube-system/berth: can be reached again",
    ]


def test_identities_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAME", "berth-7")
    assert fresh_identity().startswith("berth-7_")
    assert fresh_identity("me").startswith("me_")
    assert fresh_identity() != fresh_identity()


def test_the_loop_gives_back_when_all_is_quiet() -> None:
    cluster, clock, stop = SimulatedCluster(), ManualClock(), threading.Event()
    elector = Elector(cluster, replace(TERMS, period=0.01), clock)
    thread = threading.Thread(target=elector.run, args=(stop,))
    thread.start()
    while not elector.leading:
        stop.wait(0.001)
    stop.set()
    found = cluster.get_lease("kube-system", "berth")
    assert found is not None
    assert found.holder == "a", "bindings may still be under way"
    assert elector.release(5.0)
    thread.join(5.0)
    found = cluster.get_lease("kube-system", "berth")
    assert found is not None
    assert found.holder == ""
    assert elector.standing is Standing.RELEASED


class Skewed:
    """A clock that runs at its own speed and has its own idea of the date."""

    def __init__(self, truth: ManualClock, rate: float, offset: float) -> None:
        self.truth, self.rate, self.offset = truth, rate, offset

    def now(self) -> float:
        return self.truth.time * self.rate + self.offset

    def monotonic(self) -> float:
        return self.truth.time * self.rate


KINDS = ["pass"] * 20 + ["step"] * 4 + ["sleep", "lose"]
MOVES = st.tuples(st.sampled_from(KINDS), st.sampled_from([0.1, 2.0, 9.5]), st.sampled_from([0, 1, 2]))
"""What happens next: nothing, time passes, an elector tries, or a request on its way fails after so long."""


class World:
    """Electors whose clocks differ, on one cluster, and what happens to them."""

    def __init__(self, rates: list[float], moves: list[tuple[str, float, int]], terms: LeaseTerms) -> None:
        self.cluster, self.truth, self.terms = SimulatedCluster(), ManualClock(), terms
        self.clocks = [
            Skewed(self.truth, rate, number * 5000.0 * (-1) ** number) for number, rate in enumerate(rates)
        ]
        self.left = list(reversed(moves))
        self.stepping: set[int] = set()
        self.started = 0
        self.electors = [self.start(number) for number in range(len(rates))]

    def start(self, number: int) -> Elector:
        way = Way(self.cluster)
        way.before = way.after = lambda: self.move(on_the_way=True)
        self.started += 1
        return Elector(way, replace(self.terms, identity=f"{number}-{self.started}"), self.clocks[number])

    def move(self, on_the_way: bool) -> None:
        """One thing happens; on the way of a request, that may be another elector's whole try."""
        if not self.left:
            return
        kind, seconds, number = self.left.pop()
        if kind == "sleep":
            self.truth.time += seconds
        elif kind == "step" and number not in self.stepping:
            self.step(number)
        elif kind == "lose" and on_the_way:
            self.truth.time += seconds
            self.check()
            raise Unreachable("timed out")
        self.check()

    def step(self, number: int) -> None:
        self.stepping.add(number)
        if self.electors[number].step() is Standing.LOST:
            self.electors[number] = self.start(number)  # its process ended, and is started anew
        self.stepping.discard(number)
        self.check()

    def check(self) -> None:
        leaders = [elector.terms.identity for elector in self.electors if elector.leading]
        assert len(leaders) <= 1, leaders

    def run(self) -> None:
        while self.left:
            self.move(on_the_way=False)
        # Where nothing happens any more, somebody leads soon.
        for _ in range(20):
            self.truth.time += 2.0
            for number in range(len(self.electors)):
                self.step(number)
        assert any(elector.leading for elector in self.electors)


@given(
    rates=st.lists(st.sampled_from([0.85, 1.0, 1.15]), min_size=3, max_size=3),
    moves=st.lists(MOVES, min_size=60, max_size=120),
)
@settings(max_examples=300, deadline=None)
def test_never_two_leaders(rates: list[float], moves: list[tuple[str, float, int]]) -> None:
    World(rates, moves, TERMS).run()


def test_two_leaders_would_be_seen() -> None:
    """A lease hardly longer than its holder's deadline does not bear clocks that differ in speed as ours do."""
    world = World([0.85, 1.15], [], replace(TERMS, duration=11.0))
    world.step(0)
    world.step(1)
    world.truth.time += 10.0
    with pytest.raises(AssertionError):
        world.step(1)
