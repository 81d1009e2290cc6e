"""Every setting, with its default, its bounds and the reason for both.

The schema (``settings.schema.json``) and the table in ``docs/settings.md`` are made of these fields, so a setting is
written once. In the file keys are in camel case and durations have units (``60s``); here durations are seconds.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
"""A scheduler's name: a DNS subdomain, as the API server demands of spec.schedulerName's users."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the schema and the documentation know of a field.

    Attributes:
        kind: ``duration``, ``integer``, ``name`` (a choice) or ``names`` (scheduler names).
        reason: What it does and why the default is what it is.
        least: The smallest value, seconds for a duration.
        most: The largest.
        choices: The values of a name.
    """

    kind: str
    reason: str
    least: float = 0
    most: float = 0
    choices: tuple[str, ...] = ()


def _duration(default: float, least: float, most: float, reason: str) -> Any:
    return dataclasses.field(
        default=default, metadata={"setting": Setting("duration", reason, least=least, most=most)}
    )


def _integer(default: int, least: int, most: int, reason: str) -> Any:
    return dataclasses.field(
        default=default, metadata={"setting": Setting("integer", reason, least=least, most=most)}
    )


def _choice(default: str, choices: tuple[str, ...], reason: str) -> Any:
    return dataclasses.field(default=default, metadata={"setting": Setting("name", reason, choices=choices)})


@dataclass(frozen=True, slots=True)
class BinderSettings:
    """How pods are bound to their nodes."""

    workers: int = _integer(
        8,
        1,
        64,
        "Bindings that are under way at once. The API server answers one in milliseconds, so 8 keep it busy; more only "
        "lengthen its queue.",
    )
    attempts: int = _integer(
        5,
        1,
        20,
        "Requests that are sent for one binding before the pod goes back to the queue. Five, with growing waits, "
        "outlast a rolling restart of the API server.",
    )
    deadline: float = _duration(
        30.0,
        1.0,
        600.0,
        "The last of these attempts begins within this time: later, what was decided about the pod is too old.",
    )


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """When a pod that found no node is looked at again."""

    backoff_initial: float = _duration(
        1.0,
        0.05,
        60.0,
        "After its first failure a pod waits so long, then twice as long each time. As kube-scheduler's "
        "podInitialBackoffSeconds.",
    )
    backoff_max: float = _duration(
        10.0,
        0.05,
        3600.0,
        "No pod waits longer between two tries that something in the cluster woke it for. As kube-scheduler's "
        "podMaxBackoffSeconds.",
    )


@dataclass(frozen=True, slots=True)
class DelaySettings:
    """How delays are kept fresh."""

    period: float = _duration(
        60.0,
        1.0,
        86_400.0,
        "How often the delay files' contents are compared with what is in force, whatever their timestamps say: some "
        "network file systems serve old ones.",
    )
    glance: float = _duration(
        5.0,
        0.1,
        3600.0,
        "How often their timestamps are looked at, which costs microseconds; a changed file is in force after so long "
        "at most.",
    )


@dataclass(frozen=True, slots=True)
class EventSettings:
    """Events that tell people about a pod."""

    capacity: int = _integer(
        50_000,
        100,
        1_000_000,
        "Events and conditions that may wait to be written. In a burst they trail the bindings; 50,000 take some ten "
        "megabytes.",
    )
    repeat: float = _duration(
        300.0,
        1.0,
        3600.0,
        "The same event about the same pod is written once in this time: a pod that stays pending is no stream of "
        "writes.",
    )


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is written to standard error."""

    level: str = _choice(
        "info",
        ("debug", "info", "warning", "error"),
        "The least that is worth a line. At info there is a line for what changes how pods are placed, none for each "
        "pod.",
    )
    format: str = _choice(
        "text", ("text", "json"), "Lines for people, or one JSON object a line for a collector of logs."
    )


@dataclass(frozen=True, slots=True)
class SimulationSettings:
    """The simulated cluster's components; they mean nothing to a real one. A scenario may set its own."""

    node_grace: float = _duration(
        40.0,
        0.1,
        3600.0,
        "A node that is silent for so long is not ready. As kube-controller-manager's node-monitor-grace-period.",
    )
    start_up: float = _duration(
        1.0, 0.0, 3600.0, "From a pod's binding until it runs: a cached image starts in about a second."
    )
    stop: float = _duration(
        1.0,
        0.0,
        3600.0,
        "From a pod's deletion until it is gone, never longer than its grace period: most programs end at SIGTERM.",
    )
    job_duration: float = _duration(
        30.0, 0.0, 86_400.0, "How long a Job's pod runs that says nothing of its own: long enough to be seen."
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """All of them. `Settings()` is what holds without a file."""

    schedulers: tuple[str, ...] = dataclasses.field(
        default=("custom-scheduler",),
        metadata={
            "setting": Setting(
                "names",
                "The values of a pod's spec.schedulerName that are ours. The default is what the prototype's manifests "
                "say.",
            )
        },
    )
    seed: int = _integer(
        0,
        -(2**63),
        2**63 - 1,
        "Decides between nodes that are equally good, by a hash: runs with the same seed repeat, and load still "
        "spreads.",
    )
    shutdown_grace: float = _duration(
        2.0,
        0.1,
        60.0,
        "After SIGTERM bindings that are under way may end, and events be written, for so long. What is left "
        "undone the next start does.",
    )
    binder: BinderSettings = dataclasses.field(default_factory=BinderSettings)
    queue: QueueSettings = dataclasses.field(default_factory=QueueSettings)
    delays: DelaySettings = dataclasses.field(default_factory=DelaySettings)
    events: EventSettings = dataclasses.field(default_factory=EventSettings)
    log: LogSettings = dataclasses.field(default_factory=LogSettings)
    simulation: SimulationSettings = dataclasses.field(default_factory=SimulationSettings)


SECTIONS: dict[str, type] = {
    "binder": BinderSettings,
    "queue": QueueSettings,
    "delays": DelaySettings,
    "events": EventSettings,
    "log": LogSettings,
    "simulation": SimulationSettings,
}
"""The settings that have settings of their own."""


def key_of(field: str) -> str:
    """The file's spelling of a field: ``backoff_max`` is ``backoffMax``."""
    first, *rest = field.split("_")
    return first + "".join(word.title() for word in rest)
