"""``berth reserve`` and ``berth heal --plan`` on a real API server: as on its dump, and nothing is changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.controlplane.manifests import ZONE, make_node, make_pod
from tests.controlplane.plane import ControlPlane
from tests.engine.cli.berth import run
from tests.engine.cli.test_reserve import written

pytestmark = pytest.mark.integration

GI = 1 << 30
POLICY = """
reserve backup for pods where pod.labels["app"] == "web" {
  survive loss of 1 zone
}

heal emptying on node draining for 1min {
  move pods
  recreate bare pods
}
"""


@pytest.fixture
def world(empty_control_plane: ControlPlane, tmp_path: Path) -> ControlPlane:
    """Two pods in zone a, a placeholder for them in zone b, and a cordoned node in zone c with one more."""
    plane = empty_control_plane
    plane.create_nodes(
        [
            make_node(f"n-{zone}", labels={ZONE: zone}, memory="8Gi", unschedulable=zone == "c")
            for zone in "abc"
        ]
    )
    web: dict[str, Any] = {
        "labels": {"app": "web"},
        "scheduler": "custom-scheduler",
        "memory": "2Gi",
        "cpu": "500m",
    }
    plane.create_pods(
        [
            make_pod("web-1", nodeName="n-a", **web),
            make_pod("web-2", nodeName="n-a", **web),
            make_pod("web-3", nodeName="n-c", **web),
            make_pod(
                "placeholder",
                nodeName="n-b",
                labels={"berth.dev/placeholder": "backup"},
                memory="4Gi",
                cpu="1",
                tolerations=[{"operator": "Exists"}],
            ),
        ]
    )
    (tmp_path / "rules.policy").write_text(POLICY)
    return plane


def told(name: str, arguments: list[str], folder: Path) -> Any:
    value = written(name, [*arguments, "--policies", "rules.policy"], folder)
    value.pop("time")
    return value


def test_live_as_in_its_dump(world: ControlPlane, tmp_path: Path) -> None:
    live = ["--kubeconfig", str(world.kubeconfig)]
    assert run(["dump", *live, "--output", "dump.json"], tmp_path).exit_code == 0
    before = world.kubectl("get", "pods,nodes", "-A", "-o", "json")
    dumped = ["--cluster", "dump.json"]

    kept = told("reserve", ["reserve", *live], tmp_path)
    assert kept == told("reserve", ["reserve", *dumped], tmp_path)
    [one] = kept["reserves"]
    assert one["pods"] == {"covered": 3, "backed_up": 3, "uncovered": 0}
    assert [(node["name"], node["held"]) for node in one["nodes"] if node["held"]] == [
        ("n-b", {"memory": 4 * GI, "cpu": 1000, "pods": 1})
    ]

    check = ["reserve", "check", "--witness", "a"]
    proof = told("reserve_check", [*check, *live], tmp_path)
    assert proof == told("reserve_check", [*check, *dumped], tmp_path)
    losses = {loss["value"]: loss for loss in proof["reserves"][0]["losses"]}
    assert {name: loss["verdict"] for name, loss in losses.items()} == dict.fromkeys("abc", "holds")
    assert {place["to"] for place in losses["a"]["witness"]} == {"n-b"}

    plan = told("heal", ["heal", "--plan", *live], tmp_path)
    assert plan == told("heal", ["heal", "--plan", *dumped], tmp_path)
    [move] = plan["moves"]
    assert (move["pod"]["name"], move["from"], move["way"], move["due_s"]) == ("web-3", "n-c", "recreate", 60)
    assert move["backup"] is True
    assert move["to"] in {node["name"] for node in kept["reserves"][0]["nodes"] if node["planned"]}

    assert (
        json.loads(world.kubectl("get", "pods,nodes", "-A", "-o", "json"))["items"]
        == json.loads(before)["items"]
    )
