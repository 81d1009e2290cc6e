"""What a scrape of /metrics gives: each metric with its name, its kind and what it means, made of the measurements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from engine.clock import Clock
from engine.serving.measurements import RULES_AT_MOST, Distribution, Measurements

PREFIX: Final = "berth_"


class Readings(Protocol):
    """What is read when somebody scrapes, and kept nowhere."""

    @property
    def leads(self) -> bool:
        """Whether this instance decides."""
        ...

    @property
    def bindings(self) -> int:
        """Bindings that wait or are under way."""
        ...

    @property
    def turned(self) -> float:
        """When the deciding thread last went round, monotonic seconds."""
        ...

    @property
    def policies_good(self) -> bool:
        """Whether the policies' files, as they were read last, have no errors."""
        ...

    @property
    def delays_good(self) -> bool:
        """The same of the delay files."""
        ...

    @property
    def events_pending(self) -> int:
        """Events and conditions that wait to be written."""
        ...

    @property
    def events_lost(self) -> int:
        """Those that will not be."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """All that metrics are made of."""

    measured: Measurements
    readings: Readings
    clock: Clock


Labels = tuple[str, ...]
Samples = Iterable[tuple[Labels, float | Distribution]]


@dataclass(frozen=True, slots=True)
class Family:
    """A metric.

    Attributes:
        name: Without the prefix; a counter's ends in ``_total``.
        kind: ``counter``, ``gauge`` or ``histogram``.
        labels: Their names.
        says: What it means, for people.
        read: Makes the samples: the labels' values, and a number or a distribution.
    """

    name: str
    kind: str
    labels: Labels
    says: str
    read: Callable[[Source], Samples]


def _one(read: Callable[[Source], float | Distribution]) -> Callable[[Source], Samples]:
    return lambda source: [((), read(source))]


def _each(
    read: Callable[[Source], Mapping[str, int] | Mapping[str, Distribution]],
) -> Callable[[Source], Samples]:
    def samples(source: Source) -> Samples:
        found: Mapping[str, int | Distribution] = read(source)
        # A copy: the deciding thread may add a key meanwhile.
        return [((key,), value) for key, value in list(found.items())]

    return samples


def _delays_age(source: Source) -> Samples:
    read_at = source.measured.delays_read_at
    return [] if read_at is None else [((), max(0.0, source.clock.now() - read_at))]


FAMILIES: Final = (
    Family(
        "schedule_attempts_total",
        "counter",
        ("result",),
        "Attempts to place a pod: scheduled (bound to its node), unschedulable (no node), error (the binding failed).",
        _each(lambda s: s.measured.attempts),
    ),
    Family(
        "scheduling_attempt_duration_seconds",
        "histogram",
        ("result",),
        "How long an attempt took, with the binding where there was one.",
        _each(lambda s: s.measured.attempt_seconds),
    ),
    Family(
        "scheduling_algorithm_duration_seconds",
        "histogram",
        (),
        "How long it took to decide, without the binding.",
        _one(lambda s: s.measured.algorithm_seconds),
    ),
    Family(
        "pending_pods",
        "gauge",
        ("queue",),
        "Pods that wait: active (to be tried now), backoff (soon), unschedulable (until something helps).",
        _each(lambda s: s.measured.queue),
    ),
    Family(
        "pod_scheduling_attempts",
        "histogram",
        (),
        "How many attempts it took until a pod was bound.",
        _one(lambda s: s.measured.pod_attempts),
    ),
    Family(
        "pod_scheduling_sli_duration_seconds",
        "histogram",
        ("attempts",),
        "From when a pod was queued until it was bound, by how many attempts that took.",
        _each(lambda s: s.measured.pod_waits),
    ),
    Family(
        "binding_duration_seconds",
        "histogram",
        (),
        "From the decision until the API server has confirmed the binding, or it failed.",
        _one(lambda s: s.measured.binding_seconds),
    ),
    Family(
        "bind_results_total",
        "counter",
        ("outcome",),
        "How bindings ended: bound, lost (another scheduler was faster), dropped (the pod is gone), requeue (not now), "
        "refused (not allowed), gave up (no answer), stopped (we ended).",
        _each(lambda s: {outcome.value: count for outcome, count in s.measured.outcomes.items()}),
    ),
    Family(
        "bindings_pending",
        "gauge",
        (),
        "Bindings that wait for a worker or for an answer.",
        _one(lambda s: s.readings.bindings),
    ),
    Family(
        "preemption_attempts_total",
        "counter",
        (),
        "How often room was looked for by taking pods of lower priority away.",
        _one(lambda s: s.measured.preemptions),
    ),
    Family(
        "preemption_victims",
        "histogram",
        (),
        "How many pods had to go for each pod that room was made for.",
        _one(lambda s: s.measured.victims),
    ),
    Family(
        "refusals_total",
        "counter",
        ("rule", "file", "line"),
        "Attempts that found no node and in which this constraint refused one or more: a policy's rule with its place, "
        f"or a Kubernetes plugin by name. Beyond {RULES_AT_MOST:,} of them, the rest is counted as (others).",
        lambda s: list(s.measured.refusals.items()),
    ),
    Family(
        "events_pending",
        "gauge",
        (),
        "Events and pod conditions that wait to be written; in a burst they trail the bindings.",
        _one(lambda s: s.readings.events_pending),
    ),
    Family(
        "events_lost_total",
        "counter",
        (),
        "Events and pod conditions that were not written: refused, or too many.",
        _one(lambda s: s.readings.events_lost),
    ),
    Family(
        "watch_up",
        "gauge",
        ("kind",),
        "1 while the watch stands; 0 while what is known of these objects may be old.",
        _each(lambda s: {kind.value: int(well) for kind, well in s.measured.watches.items()}),
    ),
    Family(
        "watch_troubles_total",
        "counter",
        ("kind",),
        "How often a watch broke, or broke in another way, and could not be renewed at once.",
        _each(lambda s: {kind.value: count for kind, count in s.measured.troubles.items()}),
    ),
    Family(
        "policy_rules",
        "gauge",
        (),
        "Rules in force.",
        _one(lambda s: s.measured.policy_rules),
    ),
    Family(
        "policy_last_change_ok",
        "gauge",
        (),
        "0 while the policy files have errors and the last good set stays in force.",
        _one(lambda s: int(s.readings.policies_good)),
    ),
    Family(
        "policy_problems_total",
        "counter",
        (),
        "How often changed policies had errors.",
        _one(lambda s: s.measured.policy_problems),
    ),
    Family(
        "policy_in_force_timestamp_seconds",
        "gauge",
        (),
        "When the policies in force were read, seconds since the epoch.",
        _one(lambda s: s.measured.policy_read_at),
    ),
    Family(
        "delays_last_change_ok",
        "gauge",
        (),
        "0 while the source of delays cannot be used: bad files, or nobody answers.",
        _one(lambda s: int(s.readings.delays_good)),
    ),
    Family(
        "delays_problems_total",
        "counter",
        (),
        "How often the source of delays went bad.",
        _one(lambda s: s.measured.delays_problems),
    ),
    Family(
        "delays_age_seconds",
        "gauge",
        (),
        "Since other delays came into force; absent without delays.",
        _delays_age,
    ),
    Family(
        "delays_endpoints",
        "gauge",
        (),
        "Endpoints that have delays.",
        _one(lambda s: s.measured.delays_endpoints),
    ),
    Family(
        "reserve_covered_pods",
        "gauge",
        ("reserve",),
        "Pods that a reserve has a place for, to be held by placeholders.",
        _each(lambda s: s.measured.covered),
    ),
    Family(
        "reserve_uncovered_pods",
        "gauge",
        ("reserve",),
        "Pods that a reserve should keep a place for, and cannot; `berth reserve` says why.",
        _each(lambda s: s.measured.uncovered),
    ),
    Family(
        "reserve_memory_bytes",
        "gauge",
        ("reserve",),
        "Memory that a reserve is to keep.",
        _each(lambda s: s.measured.reserved_memory),
    ),
    Family(
        "reserve_held_memory_bytes",
        "gauge",
        ("reserve",),
        "Memory that placeholders of a reserve hold; where that stays below what is to be kept, the log says why.",
        _each(lambda s: s.measured.held_memory),
    ),
    Family(
        "moves_total",
        "counter",
        ("heal", "way", "result"),
        "Moves by the rule that asked for them: sent (the pod was asked to leave), then placed (its replacement has "
        "its node), refused (it was not let go) or lapsed (no replacement came).",
        lambda s: list(s.measured.moves.items()),
    ),
    Family(
        "unhealed_pods",
        "gauge",
        ("heal", "reason"),
        "Pods that something is wrong with, and that stay where they are; `berth heal --plan` says why.",
        lambda s: list(s.measured.stays.items()),
    ),
    Family(
        "held_nodes",
        "gauge",
        ("heal",),
        "Silent nodes whose pods are left alone: a cut link, not a crash.",
        _each(lambda s: s.measured.held),
    ),
    Family(
        "leader",
        "gauge",
        (),
        "1 while this instance decides: it holds the lease, or there is no election.",
        _one(lambda s: int(s.readings.leads)),
    ),
    Family(
        "loop_age_seconds",
        "gauge",
        (),
        "Since the deciding thread last went round; seconds mean that it is stuck.",
        _one(lambda s: max(0.0, s.clock.monotonic() - s.readings.turned)),
    ),
    Family(
        "internal_errors_total",
        "counter",
        (),
        "Faults of our own that cost a pod an attempt; each is in the log in full. Please report them.",
        _one(lambda s: s.measured.errors),
    ),
    Family(
        "build_info",
        "gauge",
        ("version",),
        "1, with the version that runs.",
        lambda s: [((_version(),), 1)],  # noqa: ARG005  (a source, as the others)
    ),
)


def make_table() -> str:
    """The Markdown table of all metrics."""
    lines = ["| metric | kind | labels | what it says |", "|---|---|---|---|"]
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        lines.append(f"| `{PREFIX}{family.name}` | {family.kind} | {labels} | {family.says} |")
    return "\n".join(lines) + "\n"


def _version() -> str:
    try:
        return version("berth-scheduler")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"


class _Families(Collector):
    """Makes all families when somebody scrapes."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        for family in FAMILIES:
            yield _made(family, self._source)


def _made(family: Family, source: Source) -> Metric:
    name = PREFIX + family.name
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(name, family.says, labels=family.labels)
        for labels, value in family.read(source):
            assert isinstance(value, Distribution), family.name
            histogram.add_metric(labels, _cumulated(value), value.total)
        return histogram
    made: CounterMetricFamily | GaugeMetricFamily
    if family.kind == "counter":
        made = CounterMetricFamily(name, family.says, labels=family.labels)
    else:
        made = GaugeMetricFamily(name, family.says, labels=family.labels)
    for labels, value in family.read(source):
        assert not isinstance(value, Distribution), family.name
        made.add_metric(labels, value)
    return made


def _cumulated(distribution: Distribution) -> list[tuple[str, float]]:
    buckets: list[tuple[str, float]] = []
    below = 0
    for bound, count in zip((*distribution.bounds, float("inf")), list(distribution.counts), strict=True):
        below += count
        buckets.append((floatToGoString(bound), below))  # type: ignore[no-untyped-call]
    return buckets


def make_registry(measured: Measurements, readings: Readings, clock: Clock) -> CollectorRegistry:
    """A registry with our metrics and those of the process (CPU, memory, descriptors)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(Source(measured, readings, clock)))
    ProcessCollector(registry=registry)
    return registry
