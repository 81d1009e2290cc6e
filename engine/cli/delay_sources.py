"""Which source of delays the settings and the command line name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.cli.inputs import fail
from engine.clock import Clock, SystemClock
from engine.compile.origins import AgesOf
from engine.delay import (
    DelayFileError,
    DelayFileSource,
    DelayMap,
    DelaySource,
    DelayTrouble,
    MeasuredSource,
    NodeAddresses,
    Terms,
)
from engine.delay.goldpinger import Goldpinger
from engine.delay.probes import Probes
from engine.delay.prometheus import Prometheus
from engine.delay.web import Web
from engine.model.objects import Node
from engine.probe.keys import Keys
from engine.settings import DelaySettings, Settings


def delay_source(
    settings: Settings,
    files: Sequence[Path],
    addresses: NodeAddresses,
    clock: Clock,
    on_trouble: Callable[[DelayTrouble], None] | None = None,
) -> DelaySource | None:
    """The source; None where there is none (no files). Exits where files are given that nobody would read.

    Args:
        settings: All of them.
        files: What ``--delays`` names.
        addresses: The nodes', for sources that name hosts by them.
        clock: The time.
        on_trouble: Told of changes for the worse.
    """
    delays = settings.delays
    if delays.source == "files":
        if not files:
            return None
        return DelayFileSource(files, period=delays.period, glance=delays.glance, on_trouble=on_trouble)
    if files:
        fail(
            f"delays.source is {delays.source}, so --delays would not be read; "
            "leave it out, or set delays.source: files"
        )
    terms = Terms(delays.period, delays.max_age, delays.window, float(delays.percentile))
    match delays.source:
        case "goldpinger":
            fetch = Goldpinger(_web(settings.goldpinger.url, delays), addresses, clock.now)
            return MeasuredSource(fetch, "delays of Goldpinger", terms, on_trouble=on_trouble)
        case "prometheus":
            chosen = settings.prometheus
            query = Prometheus(
                _web(chosen.url, delays),
                chosen.query,
                chosen.from_label,
                chosen.to_label,
                chosen.unit,
                addresses,
            )
            return MeasuredSource(query, "delays of Prometheus", terms, on_trouble=on_trouble)
        case "probe":
            host, _, port = settings.probe.service.rpartition(":")
            key_file = Path(settings.probe.key_file)
            probes = Probes(
                (host.removeprefix("[").removesuffix("]"), int(port)),
                lambda: Keys.read(key_file),
                delays.max_age,
                delays.timeout,
                now=clock.monotonic,
            )
            return MeasuredSource(
                probes,
                "delays of the probes",
                terms,
                on_trouble=on_trouble,
                make_map=probes.make_map,
                hurry=probes.hurry,
            )
    raise AssertionError(delays.source)


def asked_once(source: DelaySource, now: float) -> DelayMap:
    """What a source says now, or an exit with why it says nothing."""
    try:
        delays = source.open(now)
    except DelayFileError as error:
        fail(str(error))
    if delays is None:
        delays = source.refresh(now)
        if source.trouble is not None:
            fail(source.trouble)
    return delays if delays is not None else DelayMap.empty()


def learn(addresses: NodeAddresses, nodes: Iterable[Node]) -> None:
    """Tell the addresses of nodes that are all there are."""
    for node in nodes:
        addresses.put(node.name, [one.address for one in node.status.addresses or ()])
    addresses.complete = True


@dataclass(frozen=True, slots=True)
class Measured:
    """What a source that measures says now.

    Attributes:
        delays: The map.
        ages: Knows how old it is.
        contacts: Seconds since each node answered another one; None where the source cannot know.
    """

    delays: DelayMap
    ages: AgesOf
    contacts: Mapping[str, float] | None


def known_delays(settings: Settings, nodes: Iterable[Node]) -> Measured | None:
    """What the source that the settings name measures now; None where they name files."""
    addresses, clock = NodeAddresses(), SystemClock()
    learn(addresses, nodes)
    source = delay_source(settings, (), addresses, clock)
    if source is None:
        return None
    now = clock.monotonic()
    asked = source
    delays = asked_once(source, now)
    return Measured(delays, lambda origin: asked.ages(origin, now), source.contacts(now))


def _web(url: str, delays: DelaySettings) -> Web:
    return Web(
        url,
        timeout=delays.timeout,
        token_file=Path(delays.token_file) if delays.token_file else None,
        ca_file=Path(delays.ca_file) if delays.ca_file else None,
    )
