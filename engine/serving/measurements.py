"""Counts and distributions of the scheduler's work, cheap to add to: plain numbers, made into metrics when scraped.

The deciding thread alone adds to most of them. Whoever scrapes reads while it goes on, so two numbers of one scrape may
be a pod apart. A counter of prometheus_client takes a lock each time and its histogram looks at each bucket: a pod
would cost some twenty times as much.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

import numpy as np

from engine.binder import Outcome
from engine.clock import Clock
from engine.cluster.protocol import ResourceKind
from engine.constraints.protocol import Filter, GlobalFilter
from engine.placement import Decision
from engine.placement.decision import NO_NODE, Refusals
from engine.scheduler.watched import WATCHED

RULES_AT_MOST: Final = 1000
"""Statements of policies that refusals are counted for one by one; those of more are counted together."""
OTHERS: Final = ("(others)", "", "")

SCHEDULED: Final = "scheduled"
UNSCHEDULABLE: Final = "unschedulable"
ERROR: Final = "error"


def doubling(first: float, count: int) -> tuple[float, ...]:
    """Upper bounds of buckets, each twice the one before."""
    return tuple(first * 2**power for power in range(count))


class Distribution:
    """How often values fell where.

    Attributes:
        bounds: Upper bounds of the buckets, rising; one more bucket has what is above them.
        counts: As many as bounds, and one.
        total: The sum of all values.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


_SECONDS: Final = doubling(0.001, 15)
"""From a millisecond to 16 seconds, as kube-scheduler's."""
_ALGORITHM: Final = doubling(0.00001, 18)
"""From ten microseconds to a second."""
_WAITS: Final = doubling(0.01, 20)
"""From ten milliseconds to an hour and a half, as kube-scheduler's."""
_ATTEMPTS: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
_VICTIMS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
_MANY_ATTEMPTS: Final = 15


class Measurements:
    """All that is measured (an `engine.scheduler.metrics.Metrics`).

    Args:
        clock: For ages.

    Attributes:
        attempts: Result → how often.
        attempt_seconds: Result → how long an attempt took, its binding included.
        algorithm_seconds: How long deciding took.
        pod_attempts: How many attempts bound pods had needed.
        pod_waits: Attempts (the label) → seconds from a pod's being queued until it was bound.
        binding_seconds: How long bindings took.
        outcomes: How they ended.
        preemptions: How often room was looked for.
        victims: How many pods have to go for each pod that room is made for.
        refusals: (rule, file, line) → in how many attempts that found no node it refused one.
        queue: Pods that wait, by the part of the queue.
        watches: Which watches stand.
        troubles: How often one fell into trouble.
        errors: Faults of our own.
        policy_rules: Rules in force.
        policy_read_at: When those in force were read, seconds since the epoch.
        policy_problems: How often a changed set had errors; whoever reads it counts.
        delays_read_at: When the delays in force were read, None where there are none.
        delays_endpoints: How many endpoints have delays.
        delays_problems: How often changed delay files had errors; whoever reads them counts.
        covered: Reserve → pods that a place is kept for.
        uncovered: Reserve → pods that none could be kept for.
        reserved_memory: Reserve → bytes that are to be kept.
        held_memory: Reserve → bytes that placeholders hold.
        moves: (heal, way, result) → how often.
        stays: (heal, reason) → pods that something is wrong with now, and that stay where they are.
        held: Heal → silent nodes whose pods are left alone now.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.attempts: dict[str, int] = dict.fromkeys((SCHEDULED, UNSCHEDULABLE, ERROR), 0)
        self.attempt_seconds = {result: Distribution(_SECONDS) for result in self.attempts}
        self.algorithm_seconds = Distribution(_ALGORITHM)
        self.pod_attempts = Distribution(_ATTEMPTS)
        self.pod_waits: defaultdict[str, Distribution] = defaultdict(lambda: Distribution(_WAITS))
        self.binding_seconds = Distribution(_SECONDS)
        self.outcomes: dict[Outcome, int] = dict.fromkeys(Outcome, 0)
        self.preemptions = 0
        self.victims = Distribution(_VICTIMS)
        self.refusals: dict[tuple[str, str, str], int] = {}
        self.queue: Mapping[str, int] = {"active": 0, "backoff": 0, "unschedulable": 0}
        self.watches = dict.fromkeys(WATCHED, True)
        self.troubles = dict.fromkeys(WATCHED, 0)
        self.errors = 0
        self.policy_rules = 0
        self.policy_read_at = clock.now()
        self.policy_problems = 0
        self.delays_read_at: float | None = None
        self.delays_endpoints = 0
        self.delays_problems = 0
        self.covered: dict[str, int] = {}
        self.uncovered: dict[str, int] = {}
        self.reserved_memory: dict[str, int] = {}
        self.held_memory: dict[str, int] = {}
        self.moves: dict[tuple[str, str, str], int] = {}
        self.stays: Mapping[tuple[str, str], int] = {}
        self.held: Mapping[str, int] = {}

    # What the scheduler tells

    def decided(self, decision: Decision, seconds: float) -> None:
        """A pod was placed, or found no node."""
        self.algorithm_seconds.add(seconds)
        if decision.node is None:
            self.attempts[UNSCHEDULABLE] += 1
            self.attempt_seconds[UNSCHEDULABLE].add(seconds)
            room = decision.preemption
            if room is not None and not room.trouble:
                self.preemptions += 1
                if room.node is not None:
                    self.victims.add(len(room.victims))
            if decision.refusals is not None:
                self._refusing(decision.refusals)

    def bound(self, outcome: Outcome, attempts: int, whole: float, binding: float, waited: float) -> None:
        """A binding ended."""
        self.outcomes[outcome] += 1
        if outcome is Outcome.BOUND:
            self.attempts[SCHEDULED] += 1
            self.attempt_seconds[SCHEDULED].add(whole)
            self.binding_seconds.add(binding)
            self.pod_attempts.add(attempts)
            self.pod_waits[str(attempts) if attempts < _MANY_ATTEMPTS else f"{_MANY_ATTEMPTS}+"].add(waited)
        elif outcome is not Outcome.STOPPED:
            self.attempts[ERROR] += 1
            self.attempt_seconds[ERROR].add(whole)
            self.binding_seconds.add(binding)

    def erred(self) -> None:
        """A fault of our own."""
        self.errors += 1

    def watching(self, kind: ResourceKind, well: bool) -> None:
        """A watch fell into trouble, or stands again."""
        self.watches[kind] = well
        self.troubles[kind] += not well

    def queued(self, counts: Mapping[str, int]) -> None:
        """How many pods wait."""
        self.queue = counts

    def plan_in_force(self, rules: int) -> None:
        """Other policies are in force."""
        self.policy_rules, self.policy_read_at = rules, self._clock.now()
        # Those of the policies before are no longer kept, and told of anew.
        self.covered, self.uncovered, self.reserved_memory, self.held_memory = {}, {}, {}, {}
        self.stays, self.held = {}, {}

    def delays_in_force(self, endpoints: int) -> None:
        """Other delays are in force."""
        self.delays_endpoints, self.delays_read_at = endpoints, self._clock.now()

    def reserved(self, reserve: str, covered: int, uncovered: int, memory: int, held: int) -> None:
        """What a reserve keeps."""
        self.covered[reserve], self.uncovered[reserve] = covered, uncovered
        self.reserved_memory[reserve], self.held_memory[reserve] = memory, held

    def moved(self, heal: str, way: str, result: str) -> None:
        """A move began, or came to something."""
        key = (heal, way, result)
        self.moves[key] = self.moves.get(key, 0) + 1

    def unhealed(self, stays: Mapping[tuple[str, str], int], held: Mapping[str, int]) -> None:
        """What is wrong now and stays."""
        self.stays, self.held = stays, held

    def _refusing(self, refusals: Refusals) -> None:
        filters = refusals.filters
        # Not `Refusals.by_filter`, which sorts all codes to find the slots of each: ten times as much.
        counts = np.bincount(refusals.codes[refusals.codes <= len(filters)])
        for code in np.flatnonzero(counts).tolist():
            if code != NO_NODE:
                self._refused(filters[code - 1])

    def _refused(self, constraint: Filter | GlobalFilter) -> None:
        citation = constraint.citation
        if citation is None:
            label = (constraint.name, "", "")
        else:
            label = (citation.rule, citation.span.file, str(citation.span.line))
        if label not in self.refusals and len(self.refusals) >= RULES_AT_MOST:
            label = OTHERS
        self.refusals[label] = self.refusals.get(label, 0) + 1
