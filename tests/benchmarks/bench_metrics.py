"""What measuring costs the deciding thread for each pod, and what a scrape costs.

``python -m tests.benchmarks.bench_metrics`` prints microseconds: the smallest of several runs.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from engine.binder import Outcome
from engine.clock import SystemClock
from engine.constraints.citation import Citation
from engine.placement import Decision
from engine.placement.decision import Refusals
from engine.serving import Measurements, make_registry
from grammar.span import Span
from tests.engine.serving.world import Figures

_RUNS = 7


@dataclass
class _Rule:
    name: str
    citation: Citation


def _microseconds(call: Callable[[], object], number: int) -> float:
    return min(timeit.repeat(call, number=number, repeat=_RUNS)) / number * 1e6


def main() -> None:
    """Measures and prints."""
    clock = SystemClock()
    measured = Measurements(clock)
    placed = Decision("node-1", 5000)

    def bound_pod() -> None:
        began = clock.monotonic()
        measured.decided(placed, clock.monotonic() - began)
        measured.bound(Outcome.BOUND, 1, 0.01, 0.008, 0.02)

    rules = tuple(_Rule("near", Citation("near", Span("edge.policy", line, 1, line, 9))) for line in range(3))
    codes = np.resize(np.array([1, 2, 3], np.int16), 5000)
    refused = Decision(None, 5000, refusals=Refusals(codes, rules))  # type: ignore[arg-type]
    theirs = Histogram("theirs", "For comparison.", registry=CollectorRegistry())
    for line in range(1000):
        measured.refusals["near", "edge.policy", str(line)] = 1
    registry = make_registry(measured, Figures(), clock)
    rows = (
        ("a pod that is bound", _microseconds(bound_pod, 20_000)),
        (
            "a pod that finds no node among 5,000",
            _microseconds(lambda: measured.decided(refused, 0.001), 500),
        ),
        ("one prometheus_client histogram, to compare", _microseconds(lambda: theirs.observe(0.02), 20_000)),
        ("a scrape with 1,000 rules", _microseconds(lambda: generate_latest(registry), 10)),
    )
    for what, cost in rows:
        print(f"{what:45} {cost:10,.2f} µs")


if __name__ == "__main__":
    main()
