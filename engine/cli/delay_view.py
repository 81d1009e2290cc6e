"""What ``berth delays`` is asked about: the source's map, the cluster's nodes where they are needed, and one place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.cli.delay_sources import asked_once, delay_source, learn
from engine.cli.inputs import fail
from engine.cli.kept_fields import KINDS
from engine.cli.known_cluster import ClusterFileError, Objects, read_cluster, read_files
from engine.cli.live import connected, live_progress, reached
from engine.cli.settings_file import read_settings
from engine.clock import SystemClock
from engine.compile.origins import Origins
from engine.delay import DelayMap, DelaySource, NodeAddresses, check_names
from engine.delay.map import Milliseconds
from engine.suggest import suggestion


@dataclass(frozen=True, slots=True)
class Asked:
    """The command's options."""

    files: tuple[Path, ...] = ()
    settings: Path | None = None
    kubeconfig: Path | None = None
    context: str | None = None
    cluster: tuple[Path, ...] = ()
    origin: str | None = None
    namespace: str = "default"
    within: float | None = None


@dataclass(frozen=True, slots=True)
class FromHere:
    """Round trips from one place.

    Attributes:
        name: As it was asked for.
        what: "" for a node or another endpoint; else ``zone``, ``workload``.
        names: n endpoints or nodes.
        milliseconds: Shape (n,), as `DelayMap.row` has them.
        errors: Shape (n,), as `DelayMap.errors`; None where nothing is estimated or nobody can say.
        ages: Shape (n,), seconds; None where nobody knows.
        within: The limit that was asked for, ms.
    """

    name: str
    what: str
    names: tuple[str, ...]
    milliseconds: Milliseconds
    errors: Milliseconds | None
    ages: Milliseconds | None
    within: float | None


@dataclass(frozen=True, slots=True)
class View:
    """All that is shown.

    Attributes:
        source: Where the delays come from, for people.
        delays: They.
        asked: The source, for ages.
        now: The moment of asking, by its clock.
        doubts: What is odd, missing or unknown; a sentence each.
        here: The place that was asked about, None for all.
    """

    source: str
    delays: DelayMap
    asked: DelaySource
    now: float
    doubts: tuple[str, ...]
    here: FromHere | None


def look(asked: Asked) -> View:
    """Ask the source and, where it or the place needs it, the cluster; or exit with what went wrong."""
    settings = read_settings(asked.settings)
    addresses = NodeAddresses()
    clock = SystemClock()
    source = delay_source(settings, asked.files, addresses, clock)
    if source is None:
        fail("no source of delays; give --delays FILE, or --settings with delays.source")
    objects = _objects(asked, needed=settings.delays.source in ("goldpinger", "prometheus"))
    learn(addresses, objects.of("Node") if objects is not None else ())
    now = clock.monotonic()
    delays = asked_once(source, now)
    doubts = [*delays.warnings, *source.doubts]
    if objects is not None:
        doubts += [*objects.notes, *check_names(delays, sorted(addresses.names()))]
    shown = ", ".join(str(path) for path in asked.files) if source.steady else source.name
    here = None if asked.origin is None else _from_here(asked, asked.origin, delays, source, objects, now)
    return View(shown, delays, source, now, tuple(doubts), here)


def _objects(asked: Asked, needed: bool) -> Objects | None:
    """The cluster's objects; None where nobody asked for them and the source needs none."""
    if asked.cluster:
        if asked.kubeconfig or asked.context:
            fail("--cluster is a cluster already; leave --kubeconfig and --context out")
        try:
            return read_files(asked.cluster)
        except ClusterFileError as error:
            fail(str(error))
    if not (needed or asked.kubeconfig or asked.context):
        return None
    cluster, _ = connected(asked.kubeconfig, asked.context)
    try:
        with live_progress() as listens, reached():
            # Zones and workloads need more than the nodes.
            wanted = KINDS if asked.origin is not None else [kind for kind in KINDS if kind.kind == "Node"]
            return read_cluster(cluster, listens, wanted)
    finally:
        cluster.close()


def _from_here(
    asked: Asked, name: str, delays: DelayMap, source: DelaySource, objects: Objects | None, now: float
) -> FromHere:
    row = delays.row(name)
    if row is not None:
        names, errors, ages = delays.names, delays.errors(name), source.ages(name, now)
        others = np.array([other != name for other in names])
        return FromHere(
            name, "", tuple(other for other in names if other != name), row[others],
            None if errors is None else errors[others], None if ages is None else ages[others], asked.within,
        )  # fmt: skip
    if objects is None:
        hint = suggestion(name, delays.names)
        fail(
            f"{name} is no endpoint of the delays{hint}; for a workload or a zone give the cluster too: "
            "--kubeconfig, --context or --cluster"
        )
    cache = objects.cache(())
    origin = Origins(cache.columns, cache.workloads, delays).origin(name, asked.namespace)
    missing = origin.missing()
    if missing is not None:
        fail(missing)
    vector = origin.vector()
    slots = [slot for slot, node in enumerate(cache.columns.names) if node]
    what = "workload" if cache.workloads.get(asked.namespace, name) is not None else "zone"
    if cache.columns.slot(name) is not None:
        what = ""
    shown = tuple(cache.columns.names[slot] or "" for slot in slots)
    return FromHere(name, what, shown, vector[slots], None, None, asked.within)
