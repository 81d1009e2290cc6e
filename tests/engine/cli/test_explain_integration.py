"""``berth explain`` and ``berth dump`` on a real API server: a dump explains what the cluster does."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.controlplane.manifests import ZONE, make_node, make_pod
from tests.controlplane.plane import ControlPlane
from tests.engine.cli.berth import run

pytestmark = pytest.mark.integration

SCHEMA = json.loads(files("engine.cli").joinpath("explain.schema.json").read_text())
POLICY = """
rule gold for pods where pod.annotations["example.com/tier"] == "gold" {
  require node.labels["tier"] == "gold"
}

rule emptiest for all pods {
  prefer low node.used.cpu weight 2
}
"""
SECRET = "s3cr3t"


@pytest.fixture
def world(empty_control_plane: ControlPlane, tmp_path: Path) -> ControlPlane:
    plane = empty_control_plane
    plane.create_nodes(
        [
            make_node("n-1", labels={"tier": "gold", ZONE: "a"}, cpu="4"),
            make_node("n-2", labels={"tier": "gold", ZONE: "b"}, cpu="8"),
            make_node("n-3", labels={ZONE: "b"}, unschedulable=True),
            make_node("n-4", labels={ZONE: "c"}, taints=[{"key": "dedicated", "effect": "NoSchedule"}]),
        ]
    )
    gold = {"example.com/tier": "gold", "example.com/token": SECRET}
    spread: dict[str, Any] = {
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": ZONE,
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": "web"}},
            }
        ]
    }
    pods = [
        make_pod("web-1", labels={"app": "web"}, scheduler="berth", cpu="3", annotations=gold),
        make_pod("web-2", labels={"app": "web"}, scheduler="berth", cpu="2", annotations=gold, **spread),
        make_pod("huge", scheduler="berth", cpu="64", annotations=gold),
    ]
    for pod in pods:
        pod["spec"]["containers"][0]["env"] = [{"name": "PASSWORD", "value": SECRET}]
        pod["spec"]["containers"][0]["args"] = [SECRET]
    plane.create_pods(pods)
    plane.bind("web-1", "n-1")
    (tmp_path / "rules.policy").write_text(POLICY)
    return plane


def explained(folder: Path, *arguments: str | Path) -> Any:
    result = run(["explain", *arguments, "--policies", "rules.policy", "--format", "json"], folder)
    assert result.exit_code == 0, result.stderr
    value = json.loads(result.stdout)
    jsonschema.Draft202012Validator(SCHEMA).validate(value)
    return value


def test_a_dump_explains_what_the_cluster_does(world: ControlPlane, tmp_path: Path) -> None:
    live: list[str | Path] = ["--kubeconfig", world.kubeconfig]
    result = run(["dump", *live, "--policies", "rules.policy", "--output", "dump.json"], tmp_path)
    assert result.exit_code == 0, result.stderr
    assert "4 nodes" in result.stderr
    assert "3 pods" in result.stderr
    text = (tmp_path / "dump.json").read_text()
    assert SECRET not in text
    dumped = json.loads(text)
    assert (dumped["apiVersion"], dumped["kind"]) == ("v1", "List")
    (tmp_path / "kubectl.json").write_text(
        world.kubectl("get", "nodes,pods,namespaces,services", "-A", "-o", "json")
    )
    (tmp_path / "kubectl.yaml").write_text(
        world.kubectl("get", "nodes,pods,namespaces,services", "-A", "-o", "yaml")
    )
    expected = {"web-1": "n-2", "web-2": "n-2", "huge": None}
    for pod, node in expected.items():
        asked = explained(tmp_path, *live, pod)
        assert asked["outcome"]["node"] == node
        for file in ("dump.json", "kubectl.json", "kubectl.yaml"):
            other = explained(tmp_path, "--cluster", file, pod)
            for one in (asked, other):
                one.pop("time", None)
            assert other == asked, file
    nodes = {node["name"]: node for node in explained(tmp_path, *live, "web-2", "--all-reasons")["nodes"]}
    refused = {name: [one["source"]["name"] for one in node["refusals"]] for name, node in nodes.items()}
    # Of the taint that cordoning sets, kube-controller-manager's lifecycle controller makes one, which is not here.
    assert refused == {
        "n-1": ["NodeResourcesFit", "PodTopologySpread"],
        "n-2": [],
        "n-3": ["NodeUnschedulable", "gold"],
        "n-4": ["TaintToleration", "gold"],
    }


def test_lint_finds_in_a_cluster_what_it_finds_in_its_dump(world: ControlPlane, tmp_path: Path) -> None:
    live: list[str | Path] = ["--kubeconfig", world.kubeconfig]
    assert run(["dump", *live, "--output", "dump.json"], tmp_path).exit_code == 0
    (tmp_path / "wrong.policy").write_text(POLICY.replace('node.labels["', 'node.labels["x-'))
    asked = run(["lint", "wrong.policy", *live], tmp_path)
    assert asked.exit_code == 0, asked.stderr
    assert "warning[P701]: no node here has the label `x-" in asked.stdout
    assert asked.stdout.endswith("beside 4 nodes and 0 pods that Berth places, without delays\n")
    assert run(["lint", "wrong.policy", "--cluster", "dump.json"], tmp_path).stdout == asked.stdout


def test_who_may_read_little_is_told_what_is_missing(world: ControlPlane, tmp_path: Path) -> None:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["list"]}],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"},
        "subjects": [{"kind": "User", "name": "berth", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    little: list[str | Path] = ["--kubeconfig", world.berth_kubeconfig]
    refused = run(["explain", *little, "web-1"], tmp_path)
    assert refused.exit_code == 3
    assert "forbidden" in refused.stderr
    world.apply([role, binding])
    try:
        value = explained(tmp_path, *little, "web-1")
        assert value["outcome"]["node"] == "n-2"
        assert any(note.startswith("services may not be listed") for note in value["notes"])
    finally:
        world.kubectl("delete", "clusterrolebinding/reader", "clusterrole/reader")


def test_nobody_there_is_a_status_of_its_own(world: ControlPlane, tmp_path: Path) -> None:
    result = run(["explain", "--kubeconfig", world.kubeconfig_with_nobody_there(), "web-1"], tmp_path)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
