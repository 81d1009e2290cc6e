"""``berth dump``: what bears on placement in a live cluster, as a file that can be given away."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click
import msgspec

from engine.cli.command import Command
from engine.cli.explain_subject import plan_from
from engine.cli.inputs import fail
from engine.cli.kept_fields import KINDS, KeptKind, annotation_filter, kept
from engine.cli.known_cluster import lists
from engine.cli.live import FAILED, connected, live_progress, reached
from engine.cli.parameters import FILE

Written = dict[tuple[str, str, str], bytes]


@click.command(cls=Command)
@click.option(
    "--kubeconfig", type=FILE, metavar="FILE", help="How to reach the cluster. In a pod: its service account."
)
@click.option("--context", metavar="NAME", help="The kubeconfig's context, if not its current one.")
@click.option("--output", "-o", type=FILE, metavar="FILE", help="Where to write; else to standard output.")
@click.option(
    "--policies",
    type=FILE,
    multiple=True,
    metavar="FILE|FOLDER",
    help="Also keep the annotations that these read.",
)
@click.option(
    "--annotation",
    "annotations",
    multiple=True,
    metavar="KEY",
    help="Also keep this one, or a pattern with *.",
)
def dump(
    kubeconfig: Path | None,
    context: str | None,
    output: Path | None,
    policies: tuple[Path, ...],
    annotations: tuple[str, ...],
) -> None:
    """Write what bears on placement in a live cluster to a file, which `berth explain --cluster` reads.

    The cluster is only read. The file is a Kubernetes List of nodes, pods, namespaces, services, volumes and what else
    decides where pods go. Of each only the fields that matter are kept: no environment, no commands, no arguments, no
    secrets and no annotations but those by which pods are placed.

    Ends with 0; with 3 where something that was given cannot be used or may not be read; with 1 where the command was
    called wrongly or the cluster does not answer.

    \b
    berth dump --output dump.json --policies policies/edge.policy
    berth explain --cluster dump.json shop/web-3
    """  # noqa: D301  (click's mark for text that is not to be wrapped)
    keeps = annotation_filter(frozenset(annotations) | plan_from(policies).annotations)
    cluster, server = connected(kubeconfig, context)
    taken = datetime.now(UTC)
    written: Written = {}
    notes: list[str] = []
    try:
        with live_progress() as listens, reached():
            for kind, raw in lists(cluster, notes, listens):
                _keep(kept(kind, msgspec.json.decode(raw), keeps), written)
    finally:
        cluster.close()
    body = _list(written.values(), taken, server)
    if output is None:
        click.echo(body.decode())
    else:
        _write(output, body)
        click.echo(f"{output}: {_contents(written)}, {len(body) / 1e6:.1f} MB", err=True)
    for note in notes:
        click.echo(f"note: {note}", err=True)


def _keep(item: dict[str, object], written: Written) -> None:
    metadata = item["metadata"]
    assert isinstance(metadata, dict)
    key = (str(item["kind"]), str(metadata.get("namespace", "")), str(metadata.get("name", "")))
    written[key] = msgspec.json.encode(item)


def _list(items: Iterable[bytes], taken: datetime, server: str) -> bytes:
    """A List with an object a line, so that a person can search it and versions of it can be compared."""
    head = {
        "at": taken.isoformat(timespec="milliseconds"),
        "by": f"berth {version('berth-scheduler')}",
        "server": server,
    }
    return b"".join(
        (
            b'{"apiVersion":"v1","kind":"List","metadata":{"resourceVersion":""},"dumped":',
            msgspec.json.encode(head),
            b',"items":[\n',
            b",\n".join(items),
            b"\n]}\n",
        )
    )


def _write(path: Path, body: bytes) -> None:
    """All of it or nothing: a dump that broke off would explain another cluster."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(body)
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        fail(f"{path}: {(error.strerror or str(error)).lower()}; give another --output", FAILED)


def _contents(written: Written) -> str:
    counts = Counter(kind for kind, _, _ in written)
    return ", ".join(
        f"{counts[kind.kind]:,} {_plural(kind, counts[kind.kind])}" for kind in KINDS if counts[kind.kind]
    )


def _plural(kind: KeptKind, count: int) -> str:
    return kind.kind.lower() if count == 1 else kind.plural
