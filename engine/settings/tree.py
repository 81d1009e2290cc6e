"""Every setting, with its default, its bounds and the reason for both.

The schema (``settings.schema.json``) and the table in ``docs/settings.md`` are made of these fields, so a setting is
written once. In the file keys are in camel case and durations have units (``60s``); here durations are seconds.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from engine.settings.fields import Setting, choice, duration, integer, switch, text

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
"""A scheduler's name: a DNS subdomain, as the API server demands of spec.schedulerName's users."""

_PORT = r"(6553[0-5]|655[0-2]\d|65[0-4]\d\d|6[0-4]\d{3}|[1-5]?\d{1,4})"
ADDRESS_PATTERN = rf"^(none|([-a-zA-Z0-9.]+|\[[0-9a-fA-F:.]+\]):{_PORT})$"
"""Where to listen: a host, or an IPv6 address in brackets, and a port."""

URL_PATTERN = r"^(https?://[-a-zA-Z0-9._~:/@%\[\]]+)?$"
"""A server's base, without a query; or nothing."""

ENDPOINT_PATTERN = rf"^(([-a-zA-Z0-9.]+|\[[0-9a-fA-F:.]+\]):{_PORT})?$"
"""A host and a port, or nothing."""

PATH_PATTERN = r"^[^\n\r\t]{0,4096}$"
LABEL_PATTERN = r"^[a-zA-Z_][a-zA-Z0-9_]*$"
QUERY_PATTERN = r"^[\s\S]{0,16384}$"

IMAGE_PATTERN = r"^[-a-zA-Z0-9._:/@]{1,512}$"
"""A container image's name."""

IDENTITY_PATTERN = r"^[-a-zA-Z0-9._:@/]{0,128}$"
"""What may stand in a Lease as its holder, without blanks, so that it is one word in a log."""


@dataclass(frozen=True, slots=True)
class BinderSettings:
    """How pods are bound to their nodes."""

    workers: int = integer(
        16,
        1,
        64,
        "Bindings that are under way at once. 16 keep the API server busy, and let etcd write several at a time; more "
        "only lengthen its queue.",
    )
    attempts: int = integer(
        5,
        1,
        20,
        "Requests that are sent for one binding before the pod goes back to the queue. Five, with growing waits, "
        "outlast a rolling restart of the API server.",
    )
    deadline: float = duration(
        30.0,
        1.0,
        600.0,
        "The last of these attempts begins within this time: later, what was decided about the pod is too old.",
    )
    volume_timeout: float = duration(
        600.0,
        1.0,
        86_400.0,
        "A pod whose claims are not bound so long after its node was chosen goes back to the queue. As "
        "kube-scheduler's bindTimeoutSeconds: volumes of clouds take minutes.",
    )


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """When a pod that found no node is looked at again."""

    backoff_initial: float = duration(
        1.0,
        0.05,
        60.0,
        "After its first failure a pod waits so long, then twice as long each time. As kube-scheduler's "
        "podInitialBackoffSeconds.",
    )
    backoff_max: float = duration(
        10.0,
        0.05,
        3600.0,
        "No pod waits longer between two tries that something in the cluster woke it for. As kube-scheduler's "
        "podMaxBackoffSeconds.",
    )


@dataclass(frozen=True, slots=True)
class DelaySettings:
    """Where delays come from, and how they are kept fresh. See docs/delays.md."""

    source: str = choice(
        "files",
        ("files", "goldpinger", "prometheus", "probe"),
        "What measures: files that --delays names, a Goldpinger, a Prometheus, or Berth's own probes.",
    )
    period: float = duration(
        60.0,
        1.0,
        86_400.0,
        "How often what measures is asked. With files: how often their contents are compared with what is in force, "
        "whatever their timestamps say, for some network file systems serve old ones.",
    )
    glance: float = duration(
        5.0,
        0.1,
        3600.0,
        "How often their timestamps are looked at, which costs microseconds; a changed file is in force after so long "
        "at most.",
    )
    max_age: float = duration(
        300.0,
        1.0,
        86_400.0,
        "What was measured longer ago counts as unmeasured, so that a limit on it refuses the node. Five periods "
        "outlast a restart of what measures. Files hold until they are changed.",
    )
    window: int = integer(
        3,
        1,
        100,
        "How many measurements of a pair count. Of three, one spike moves nobody, and a change that lasts is seen at "
        "the second.",
    )
    percentile: int = integer(
        50,
        1,
        100,
        "Which of them is taken, by nearest rank: 50 the median, 100 the largest. Higher means slower back to less.",
    )
    timeout: float = duration(
        10.0,
        0.1,
        300.0,
        "How long connecting to what measures, and each wait for more of its answer, may take. Goldpinger asks all its "
        "pods first.",
    )
    token_file: str = text(
        "",
        PATH_PATTERN,
        "/var/run/secrets/tokens/prometheus",
        "A file with a bearer token for Goldpinger or Prometheus, read for each request; empty for none.",
    )
    ca_file: str = text(
        "",
        PATH_PATTERN,
        "/etc/berth/ca.crt",
        "The certificates that their https is checked against; empty for the system's.",
    )


@dataclass(frozen=True, slots=True)
class GoldpingerSettings:
    """The Goldpinger that delays.source names."""

    url: str = text(
        "",
        URL_PATTERN,
        "http://goldpinger.default:80",
        "Its Service; any of its pods asks all others.",
    )


@dataclass(frozen=True, slots=True)
class PrometheusSettings:
    """The Prometheus that delays.source names."""

    url: str = text(
        "", URL_PATTERN, "http://prometheus.monitoring:9090", "The base of its API, without /api/v1."
    )
    query: str = text(
        "",
        QUERY_PATTERN,
        "avg by (source, target) (ping_rtt_seconds)",
        "An instant query that yields one value for each measured pair.",
    )
    from_label: str = text(
        "source",
        LABEL_PATTERN,
        "source",
        "The label of a value that holds the node at one end: its name, or its address with or without a port.",
    )
    to_label: str = text("target", LABEL_PATTERN, "target", "The label that holds the other.")
    unit: str = choice("s", ("s", "ms", "us"), "The values' unit. Prometheus' own convention is seconds.")


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """Berth's own probes, where delays.source names them. See docs/probe.md."""

    service: str = text(
        "",
        ENDPOINT_PATTERN,
        "berth-probe.kube-system:10270",
        "The headless Service of the probes, with their port: its name resolves to all of them.",
    )
    key_file: str = text(
        "",
        PATH_PATTERN,
        "/etc/berth/probe/key",
        "The key that the probes share: what they answer is checked with it.",
    )


@dataclass(frozen=True, slots=True)
class EventSettings:
    """Events that tell people about a pod."""

    capacity: int = integer(
        50_000,
        100,
        1_000_000,
        "Events and conditions that may wait to be written. In a burst they trail the bindings; 50,000 take some ten "
        "megabytes.",
    )
    repeat: float = duration(
        300.0,
        1.0,
        3600.0,
        "The same event about the same pod is written once in this time: a pod that stays pending is no stream of "
        "writes.",
    )


@dataclass(frozen=True, slots=True)
class ReserveSettings:
    """The pods that hold what policies reserve."""

    namespace: str = text(
        "kube-system",
        NAME_PATTERN,
        "kube-system",
        "Where they are, that of deploy/; a quota there would have to leave room for them.",
    )
    image: str = text(
        "rancher/mirrored-pause:3.6",
        IMAGE_PATTERN,
        "rancher/mirrored-pause:3.6",
        "What they run: a container that does nothing. Set the pause image that your nodes have already. The room is "
        "held even where it cannot be pulled.",
    )


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is written to standard error."""

    level: str = choice(
        "info",
        ("debug", "info", "warning", "error"),
        "The least that is worth a line. At info there is a line for what changes how pods are placed, none for each "
        "pod.",
    )
    format: str = choice(
        "auto",
        ("auto", "text", "json"),
        "Lines for people, or one JSON object a line for a collector of logs. With auto it is text on a terminal and "
        "JSON elsewhere.",
    )


@dataclass(frozen=True, slots=True)
class LeaderSettings:
    """Which of several instances schedules: the one that holds a Lease (coordination.k8s.io)."""

    elect: bool = switch(
        False,
        "Whether to schedule only while holding the lease. One instance needs none; deploy/ runs two and switches it "
        "on.",
    )
    namespace: str = text(
        "kube-system",
        NAME_PATTERN,
        "kube-system",
        "The lease's namespace, that of deploy/; the service account's role has to be there too.",
    )
    name: str = text(
        "berth",
        NAME_PATTERN,
        "berth",
        "The lease's name. Schedulers of different names need different leases.",
    )
    identity: str = text(
        "",
        IDENTITY_PATTERN,
        "edge-1",
        "Our name in the lease; empty for the pod's, or else the host's. A random number is put behind it, so that two "
        "instances never take themselves for one another.",
    )
    lease_duration: float = duration(
        15.0,
        1.0,
        300.0,
        "An instance that is not the leader takes the lease when it has seen no renewal for so long. As "
        "kube-scheduler's.",
    )
    renew_deadline: float = duration(
        10.0,
        0.5,
        200.0,
        "A leader that could not renew for so long stops deciding, and ends. As kube-scheduler's; what it is shorter "
        "than the lease is what clocks may differ in speed.",
    )
    retry_period: float = duration(
        2.0,
        0.1,
        60.0,
        "How often the lease is renewed, or looked at by who waits for it. As kube-scheduler's.",
    )


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Metrics and health over HTTP, for Prometheus and a kubelet's probes."""

    address: str = text(
        "127.0.0.1:10269",
        ADDRESS_PATTERN,
        "0.0.0.0:10269",
        "Where /metrics, /healthz, /livez and /readyz answer; none for nowhere, port 0 for any that is free. Loopback, "
        "since nothing there asks who you are; deploy/ opens it to the pod's network.",
    )
    stuck: float = duration(
        30.0,
        1.0,
        600.0,
        "Where the thread that decides has not gone round for so long, /livez says so and a kubelet starts the pod "
        "anew. It goes round every second even if nothing happens, so thirty are a fault.",
    )


@dataclass(frozen=True, slots=True)
class SimulationSettings:
    """The simulated cluster's components; they mean nothing to a real one. A scenario may set its own."""

    node_grace: float = duration(
        40.0,
        0.1,
        3600.0,
        "A node that is silent for so long is not ready. As kube-controller-manager's node-monitor-grace-period.",
    )
    start_up: float = duration(
        1.0, 0.0, 3600.0, "From a pod's binding until it runs: a cached image starts in about a second."
    )
    stop: float = duration(
        1.0,
        0.0,
        3600.0,
        "From a pod's deletion until it is gone, never longer than its grace period: most programs end at SIGTERM.",
    )
    job_duration: float = duration(
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
    seed: int = integer(
        0,
        -(2**63),
        2**63 - 1,
        "Decides between nodes that are equally good, by a hash: runs with the same seed repeat, and load still "
        "spreads.",
    )
    shutdown_grace: float = duration(
        2.0,
        0.1,
        60.0,
        "After SIGTERM bindings that are under way may end, and events be written, for so long. What is left "
        "undone the next start does.",
    )
    binder: BinderSettings = dataclasses.field(default_factory=BinderSettings)
    queue: QueueSettings = dataclasses.field(default_factory=QueueSettings)
    delays: DelaySettings = dataclasses.field(default_factory=DelaySettings)
    goldpinger: GoldpingerSettings = dataclasses.field(default_factory=GoldpingerSettings)
    prometheus: PrometheusSettings = dataclasses.field(default_factory=PrometheusSettings)
    probe: ProbeSettings = dataclasses.field(default_factory=ProbeSettings)
    reserve: ReserveSettings = dataclasses.field(default_factory=ReserveSettings)
    events: EventSettings = dataclasses.field(default_factory=EventSettings)
    log: LogSettings = dataclasses.field(default_factory=LogSettings)
    leader: LeaderSettings = dataclasses.field(default_factory=LeaderSettings)
    server: ServerSettings = dataclasses.field(default_factory=ServerSettings)
    simulation: SimulationSettings = dataclasses.field(default_factory=SimulationSettings)


SECTIONS: dict[str, type] = {
    "binder": BinderSettings,
    "queue": QueueSettings,
    "delays": DelaySettings,
    "goldpinger": GoldpingerSettings,
    "prometheus": PrometheusSettings,
    "probe": ProbeSettings,
    "reserve": ReserveSettings,
    "events": EventSettings,
    "log": LogSettings,
    "leader": LeaderSettings,
    "server": ServerSettings,
    "simulation": SimulationSettings,
}
"""The settings that have settings of their own."""


def key_of(field: str) -> str:
    """The file's spelling of a field: ``backoff_max`` is ``backoffMax``."""
    first, *rest = field.split("_")
    return first + "".join(word.title() for word in rest)
