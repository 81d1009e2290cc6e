"""A real API server takes the demo's manifests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.controlplane import ControlPlane

DEMO = Path(__file__).parents[2] / "demo"


@pytest.mark.integration
@pytest.mark.parametrize("folder", ["", "workloads", "later", "prototype"])
def test_an_api_server_takes_the_manifests(control_plane: ControlPlane, folder: str) -> None:
    files = [
        file for file in sorted((DEMO / folder).glob("*.yaml")) if not file.name.endswith(".scenario.yaml")
    ]
    assert files
    for file in files:
        told = control_plane.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", file)
        assert told.count("(server dry run)") == file.read_text().count("\nkind: "), told
        assert "Warning" not in told
