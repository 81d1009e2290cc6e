"""The demo's workloads, placed on the simulated cluster as their README files say."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from engine.cluster.simulated import SimulatedCluster
from engine.cluster.simulated.scenario_file import load_scenario
from engine.compile import compile_policy
from engine.delay import DelayMap, load
from engine.manifests import reader
from engine.model.objects import Pod
from engine.model.placeholder import holds_for
from engine.scheduler.simulation import Simulation
from engine.settings import Settings
from grammar import check_paths

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "demo"
PROTOTYPE = DEMO / "prototype"
POLICIES = sorted(file.name for file in (ROOT / "policies").glob("*.policy"))
"""Each policy that ships places the prototype's requests as they ask."""


class World:
    """A simulated cluster with the scheduler on it."""

    def __init__(self, nodes: Path, delays: DelayMap, policy: str) -> None:
        self.cluster = SimulatedCluster()
        self.start = self.cluster.clock.now()
        self.apply([nodes])
        checked = check_paths([ROOT / "policies" / policy])
        assert checked.policy is not None, checked.diagnostics
        self.simulation = Simulation(self.cluster, compile_policy(checked.policy), delays, Settings())

    def apply(self, files: Iterable[Path]) -> None:
        for item in reader.read(files).objects:
            self.cluster.apply(item)

    def run_until(self, seconds: float) -> None:
        self.simulation.run_until(self.start + seconds)

    def places(self) -> dict[str, list[str]]:
        """The nodes of each workload's pods, "" for none; without what reserves hold."""
        found: dict[str, list[str]] = {}
        for pod in self.cluster.pods():
            if holds_for(pod.metadata.labels) is not None:
                continue
            found.setdefault(self.owner(pod), []).append(pod.spec.node_name)
        return {workload: sorted(nodes) for workload, nodes in found.items()}

    @staticmethod
    def owner(pod: Pod) -> str:
        """The name of the workload that a person applied."""
        [owner] = pod.metadata.owner_references
        return owner.name.rpartition("-")[0] if owner.kind == "ReplicaSet" else owner.name


def within_limits(places: dict[str, list[str]], case: dict[str, Any], delays: DelayMap) -> None:
    """Assert what a case of ``expected.json`` says."""
    assert set(places) == set(case["places"])
    for workload, expected in case["places"].items():
        nodes = places[workload]
        assert len(nodes) == expected["pods"], workload
        overflow = expected.get("overflow", {"pods": 0, "nodes": []})
        away = [node for node in nodes if node in overflow["nodes"]]
        assert len(away) == overflow["pods"], workload
        for node in nodes:
            assert node in expected["nodes"] or node in away, workload
            for source, limit in expected["limits"].items():
                origins = places.get(source, [source])
                if node not in away:
                    assert min(delays.between(origin, node) or 0.0 for origin in origins) <= limit, workload


def test_the_workloads() -> None:
    delays = load([DEMO / "delays.csv"])
    [case] = json.loads((DEMO / "expected.json").read_text())
    world = World(DEMO / "nodes.yaml", delays, "edge.policy")
    world.apply([DEMO / "workloads"])
    world.run_until(29)
    assert world.places()["image-indexer"] == ["", "edge-5", "edge-6"], "the cloud is for later"
    world.run_until(35)
    within_limits(world.places(), case, delays)
    shop = [node for workload in ("api", "db") for node in world.places()[workload]]
    assert len(set(shop)) == 4, "at most one a node"
    by_zone = {"edge-1": 0, "edge-2": 0, "edge-3": 1, "edge-4": 1, "edge-5": 2, "edge-6": 2}
    counts = [[by_zone[node] for node in shop].count(zone) for zone in range(3)]
    assert sorted(counts) == [1, 1, 2], "spread over the zones"


@pytest.mark.parametrize(
    "case", json.loads((PROTOTYPE / "expected.json").read_text()), ids=lambda case: case["case"]
)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("backwards", [False, True], ids=["in-order", "backwards"])
def test_the_prototypes_requests(case: dict[str, Any], policy: str, backwards: bool) -> None:
    delays = load([PROTOTYPE / "matrix.txt", PROTOTYPE / "metadata.json"])
    world = World(PROTOTYPE / "nodes.yaml", delays, policy)
    for name in reversed(case["apply"]) if backwards else case["apply"]:
        world.apply([PROTOTYPE / name])
        world.run_until(world.cluster.clock.now() - world.start + 5)
    world.run_until(60)
    within_limits(world.places(), case, delays)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_moved_source_moves_the_deployment(policy: str) -> None:
    delays = load([PROTOTYPE / "matrix.txt", PROTOTYPE / "metadata.json"])
    world = World(PROTOTYPE / "nodes.yaml", delays, policy)
    for number, (name, nodes) in enumerate(
        [
            ("req3", {"edge-1"}),
            ("req3-worker-1", {"kube-worker-1"}),
            ("req3-worker-2", {"kube-worker-2", "kube-worker-3"}),
            ("req3", {"edge-1"}),
        ],
        1,
    ):
        world.apply([PROTOTYPE / f"{name}.yaml"])
        world.run_until(60.0 * number)
        [place] = world.places()["deployment3"]
        assert place in nodes, name


def test_a_node_that_joins_takes_the_pod_that_waits() -> None:
    scenario = load_scenario(DEMO / "edge.scenario.yaml")
    checked = check_paths(list(scenario.policies))
    assert checked.policy is not None
    swapped: list[DelayMap] = []
    cluster = scenario.build(on_delays=lambda delays: swapped.append(delays.load()))
    simulation = Simulation(cluster, compile_policy(checked.policy), scenario.delays.load(), Settings())
    start = cluster.clock.now()

    def places(seconds: float) -> dict[str, list[str]]:
        simulation.run_until(start + seconds)
        found: dict[str, list[str]] = {}
        for pod in cluster.pods():
            found.setdefault(World.owner(pod), []).append(pod.spec.node_name)
        return {workload: sorted(nodes) for workload, nodes in found.items()}

    assert places(29)["image-indexer"][0] == "", "the cloud is for later"
    at_59 = places(59)
    assert at_59["image-indexer"][0].startswith("cloud")
    assert at_59["stream-recorder"] == ["", "edge-4"]
    assert places(64)["stream-recorder"] == ["", "edge-4"], "joined, but not measured yet"
    places(66)
    [delays] = swapped
    simulation.swap_delays(delays)
    assert places(80)["stream-recorder"] == ["edge-4", "edge-7"]
