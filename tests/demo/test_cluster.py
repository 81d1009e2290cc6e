"""`berth run` on a real control plane places the demo's worlds as their `expected.json` files say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.controlplane.plane import ControlPlane

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "demo"
PROTOTYPE = DEMO / "prototype"


@contextmanager
def berth_run(plane: ControlPlane, *options: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """The scheduler as its own process; its log is shown where the test fails. Ends it with SIGTERM, in time."""
    command = [Path(sys.executable).parent / "berth", "run", "--kubeconfig", plane.kubeconfig, *options]
    process = subprocess.Popen(
        list(map(str, command)), cwd=ROOT, env={**os.environ, "PYTHONWARNINGS": "error"}
    )
    try:
        yield process
        assert process.poll() is None, "the scheduler ended by itself"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0


def cases() -> list[Any]:
    worlds: Sequence[tuple[Path, Path, list[str], str]] = (
        (DEMO, DEMO / "workloads", ["delays.csv"], "edge.policy"),
        (PROTOTYPE, PROTOTYPE, ["matrix.txt", "metadata.json"], "seed.policy"),
    )
    return [
        pytest.param(world, folder, delays, policy, case, id=f"{world.name}: {case['case']}")
        for world, folder, delays, policy in worlds
        for case in json.loads((world / "expected.json").read_text())
    ]


@pytest.mark.integration
@pytest.mark.parametrize(("world", "folder", "delays", "policy", "case"), cases())
def test_pods_are_where_their_manifests_say(
    empty_full_control_plane: ControlPlane,
    world: Path,
    folder: Path,
    delays: list[str],
    policy: str,
    case: dict[str, Any],
) -> None:
    plane = empty_full_control_plane
    plane.apply(world / "nodes.yaml")
    expected = {workload: choices(place) for workload, place in case["places"].items()}
    options: list[str | Path] = ["--policies", ROOT / "policies" / policy]
    for file in delays:
        options += ["--delays", world / file]
    with berth_run(plane, *options):
        for file in case["apply"]:
            plane.apply(folder / file)

        def placed() -> bool:
            return all(len(places(plane, workload)) == len(allowed) for workload, allowed in expected.items())

        plane.eventually(placed, f"all pods of {case['case']} have a node", timeout=90)
    for workload, allowed in expected.items():
        found = places(plane, workload)
        assert matches(found, allowed), f"{workload} is on {found}, it may be on {allowed}"


def choices(place: dict[str, Any]) -> list[list[str]]:
    """For each pod of a workload the nodes that it may be on."""
    overflow = place.get("overflow", {"pods": 0, "nodes": []})
    return [place["nodes"]] * (place["pods"] - overflow["pods"]) + [overflow["nodes"]] * overflow["pods"]


def places(plane: ControlPlane, workload: str) -> list[str]:
    """The nodes of the placed pods of a workload."""
    return [
        pod["spec"]["nodeName"]
        for pod in plane.pods("default")
        if pod["metadata"]["name"].startswith(f"{workload}-") and pod["spec"].get("nodeName")
    ]


def matches(found: list[str], allowed: list[list[str]]) -> bool:
    """Whether each pod can be given one of the allowed places of its own."""
    if not found:
        return not allowed
    first, *others = found
    return any(
        first in choice and matches(others, [*allowed[:position], *allowed[position + 1 :]])
        for position, choice in enumerate(allowed)
    )
