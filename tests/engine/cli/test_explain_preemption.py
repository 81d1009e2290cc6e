"""``berth explain`` of pods for which others would have to go, are going, or have gone."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.engine.cli.berth import run

SCHEMA = json.loads(files("engine.cli").joinpath("explain.schema.json").read_text())
PARTS = """
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: high}
value: 1000
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: middle}
value: 10
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: keep, namespace: default}
spec: {minAvailable: 1, selector: {matchLabels: {app: kept}}}
"""
WORLD = """
until: 20s
manifests: [parts.yaml]
nodes:
  - {name: "e{n}", count: 3, cpu: 2, memory: 8Gi}
  - {name: t1, cpu: 8, memory: 8Gi, taints: ["dedicated=batch:NoSchedule"]}
pods:
  - {name: kept, labels: {app: kept}, cpu: 1500m, node-selector: {kubernetes.io/hostname: e1}}
  - {name: better, priority-class: middle, cpu: 1500m, node-selector: {kubernetes.io/hostname: e2}}
  - {name: poor, cpu: 1500m, node-selector: {kubernetes.io/hostname: e3}}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: vip, namespace: default}
spec:
  schedulerName: custom-scheduler
  %s
  containers: [{name: c, image: i, resources: {requests: {cpu: "1"}}}]
"""


def explained(folder: Path, spec: str, *options: str, world: str = WORLD) -> tuple[str, Any]:
    """What is printed, and what is written."""
    (folder / "parts.yaml").write_text(PARTS)
    (folder / "world.yaml").write_text(world)
    (folder / "vip.yaml").write_text(POD % spec)
    arguments = ["explain", "--scenario", "world.yaml", "vip", *options]
    printed, written = run(arguments, folder, 200), run([*arguments, "--format", "json"], folder)
    assert (printed.exit_code, written.exit_code) == (0, 0), printed.stderr + written.stderr
    value = json.loads(written.stdout)
    jsonschema.Draft202012Validator(SCHEMA).validate(value)
    return printed.stdout, value


def test_who_would_go_and_why_from_there(tmp_path: Path) -> None:
    printed, value = explained(tmp_path, "priorityClassName: high", "--pod", "vip.yaml")
    assert value["preemption"] == {
        "node": "e3",
        "why": "lowest-highest-priority",
        "candidates": 3,
        "victims": [{"namespace": "default", "name": "poor", "priority": 0, "violated_budgets": []}],
        "refusals": [{"reason": "Preemption is not helpful for scheduling", "nodes": 1}],
        "trouble": None,
    }
    assert value["pod"]["priority"] == 1000
    assert (
        "  on e3: 1 pod of a priority below its 1000 would have to go; of 3 nodes that were compared, "
        "elsewhere a pod of a higher priority would have to go\n" in printed
    )
    assert "    default/poor, priority 0\n" in printed
    assert "which is promised" not in printed, "nothing is promised to a pod that is only asked about"


@pytest.mark.parametrize(
    ("spec", "said", "preemption"),
    [
        pytest.param(
            "priorityClassName: high\n  preemptionPolicy: Never",
            "its preemptionPolicy is Never: no pod is taken away for it",
            {"node": None, "trouble": "not eligible due to preemptionPolicy=Never."},
            id="not allowed",
        ),
        pytest.param(
            "priority: 0",
            "none: taking pods away from one node helps on none of 4",
            {
                "node": None,
                "refusals": [
                    {"reason": "Preemption is not helpful for scheduling", "nodes": 1},
                    {"reason": "No preemption victims found for incoming pod", "nodes": 3},
                ],
            },
            id="nobody is lower",
        ),
        pytest.param(
            "priorityClassName: high\n  nodeSelector: {kubernetes.io/hostname: e1}",
            "    default/kept, priority 0, against the disruption budget keep\n",
            {
                "node": "e1",
                "why": "only-node",
                "victims": [
                    {"namespace": "default", "name": "kept", "priority": 0, "violated_budgets": ["keep"]}
                ],
            },
            id="a budget is violated where nothing else helps",
        ),
    ],
)
def test_why_not_and_at_what_price(
    tmp_path: Path, spec: str, said: str, preemption: dict[str, object]
) -> None:
    printed, value = explained(tmp_path, spec, "--pod", "vip.yaml")
    assert said in printed
    assert {key: value["preemption"][key] for key in preemption} == preemption


def test_nobody_asks_where_there_is_a_node(tmp_path: Path) -> None:
    spec = "priorityClassName: high\n  tolerations: [{operator: Exists}]"
    printed, value = explained(tmp_path, spec, "--pod", "vip.yaml")
    assert value["outcome"]["node"] == "t1"
    assert value["preemption"] is None
    assert "room that others could make" not in printed


def test_a_pod_that_others_are_leaving_for(tmp_path: Path) -> None:
    world = WORLD + "events:\n  - {at: 5s, apply: vip.yaml}\n"
    printed, value = explained(tmp_path, "priorityClassName: high", "--at", "5s", world=world)
    assert value["pod"]["nominated_node"] == "e3"
    assert value["preemption"]["trouble"] == "not eligible due to a terminating pod on the nominated node."
    note = "e3 is promised to it: default/poor is leaving for it"
    assert note in value["notes"]
    assert f"note: {note}\n" in printed
