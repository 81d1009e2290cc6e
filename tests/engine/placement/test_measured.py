"""What the prototype got wrong, case by case, with the policies that stand in for it: `policies/seed.policy`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from engine.model.objects import Node, Pod, Taint
from grammar import check_paths
from grammar.policy import CheckedPolicy
from tests.engine.build import Bench, node, pod

SEED = Path(__file__).parents[3] / "policies" / "seed.policy"
DELAYS = [
    ("edge-1", "edge-2", 4.0),
    ("edge-1", "cloud-1", 40.0),
    ("edge-2", "cloud-1", 30.0),
    ("edge-1", "edge_3", 0.4),
    ("edge_3", "cloud-1", 20.0),
    ("edge-2", "edge_3", 9.0),
]


@pytest.fixture(scope="module")
def seed() -> CheckedPolicy:
    result = check_paths([SEED])
    assert result.policy is not None, result.diagnostics
    return result.policy


def edge(name: str, memory: str | int = "4Gi", *, ready: bool | None = None) -> Node:
    allocatable = {"cpu": "4", "memory": memory, "pods": "110"}
    taints = [Taint("node.kubernetes.io/not-ready", "", "NoSchedule")] if ready is False else []
    return node(name, {"kubernetes.io/role": "edge"}, allocatable=allocatable, ready=ready, taints=taints)


def cloud(name: str = "cloud-1", memory: str | int = "16Gi") -> Node:
    allocatable = {"cpu": "4", "memory": memory, "pods": "110"}
    return node(name, {"kubernetes.io/role": "cloud"}, allocatable=allocatable)


def limited(name: str = "pod", memory: str = "1Gi", **limits: str) -> Pod:
    labels = {f"delay_{origin.replace('__', '-')}": limit for origin, limit in limits.items()}
    return pod(name, labels, requests={"memory": memory})


def three() -> list[Node]:
    return [edge("edge-1"), edge("edge-2"), edge("edge_3"), cloud()]


def test_a_limit_to_an_unknown_name_waits_and_never_goes_to_the_cloud(seed: CheckedPolicy) -> None:
    bench = Bench(three(), seed, DELAYS)
    asked = limited(edge__9="25")
    assert bench.message(asked) == (
        "0/4 nodes are available: no node, workload of namespace default or zone is named edge-9; "
        "did you mean edge-2?."
    )
    bench.cache.put_node(edge("edge-9"))
    assert bench.where(asked) == "edge-9"


LIMITS: dict[str, tuple[Mapping[str, str], str | None]] = {
    "both limits bind": ({"edge__1": "5", "edge__2": "5"}, "edge-1"),
    "whatever their order": ({"edge__2": "5", "edge__1": "5"}, "edge-1"),
    "the second alone can refuse": ({"edge__1": "50", "cloud__1": "20"}, "cloud-1"),
    "two that exclude each other": ({"edge__1": "1", "cloud__1": "1"}, None),
    "0 ms is the node itself": ({"edge__2": "0"}, "edge-2"),
    "less than a millisecond": ({"edge__1": "0.3"}, "edge-1"),
    "an underscore in the name": ({"edge_3": "0"}, "edge_3"),
    "a dash in the name": ({"edge__1": "0"}, "edge-1"),
}


@pytest.mark.parametrize(("limits", "expected"), LIMITS.values(), ids=LIMITS)
def test_limits(seed: CheckedPolicy, limits: Mapping[str, str], expected: str | None) -> None:
    nodes = [edge("edge-1", "8Gi"), edge("edge-2"), edge("edge_3"), cloud()]
    assert Bench(nodes, seed, DELAYS).where(limited(**limits)) == expected


def test_delays_under_a_millisecond_are_told_apart(seed: CheckedPolicy) -> None:
    nodes = [edge("edge-1", "1Mi"), edge("edge-2", "64Gi"), edge("edge_3")]
    assert Bench(nodes, seed, DELAYS).where(limited(edge__1="0.4")) == "edge_3"
    message = Bench(nodes, seed, DELAYS).message(limited(edge__1="0.39"))
    assert "not within 0.39ms of edge-1, the nearest at 0.4ms (rule within-delay, seed.policy:" in message


def test_a_dead_node_is_no_candidate(seed: CheckedPolicy) -> None:
    bench = Bench([edge("edge-1", "1Mi"), edge("edge-2", ready=False), edge("edge_3")], seed, DELAYS)
    assert bench.where(limited(edge__1="10")) == "edge_3"


def test_a_dead_node_is_no_reference(seed: CheckedPolicy) -> None:
    bench = Bench([edge("edge-1", ready=False), edge("edge-2"), cloud()], seed, DELAYS)
    assert bench.message(limited(edge__1="10")) == (
        "0/3 nodes are available: edge-1 is not ready, so no delay can be measured from it."
    )


def test_two_nodes_lost_at_once_are_both_noticed(seed: CheckedPolicy) -> None:
    bench = Bench(three(), seed, DELAYS)
    asked = limited(edge__1="5")
    assert bench.place(asked).feasible == 3
    bench.cache.put_node(edge("edge-2", ready=False))
    bench.cache.put_node(edge("edge_3", ready=False))
    assert bench.place(asked).feasible == 1
    bench.cache.remove_node("edge-2")
    bench.cache.remove_node("edge_3")
    assert bench.where(asked) == "edge-1"


def test_a_node_that_joins_is_a_candidate_at_once(seed: CheckedPolicy) -> None:
    bench = Bench([edge("edge-1", "1Mi")], seed, DELAYS)
    asked = limited(edge__1="5")
    assert bench.place(asked).node is None
    bench.cache.put_node(edge("edge-2"))
    assert bench.where(asked) == "edge-2"


def test_a_node_that_joins_without_a_measured_delay_is_refused_for_that(seed: CheckedPolicy) -> None:
    bench = Bench([edge("edge-1", "1Mi"), edge("edge-7")], seed, DELAYS)
    assert "1 node(s) without a measured delay to edge-1" in bench.message(limited(edge__1="5"))


MEMORY: dict[str, tuple[str, str | int, bool]] = {
    "500M into 500M": ("500M", "500M", True),
    "500Mi not into 500M": ("500Mi", "500M", False),
    "1G into 1Gi": ("1G", "1Gi", True),
    "1.5Gi": ("1.5Gi", "1536Mi", True),
    "plain bytes": ("1073741824", 1073741824, True),
    "one byte too many": ("1073741825", "1Gi", False),
}


@pytest.mark.parametrize(("asked", "room", "fits"), MEMORY.values(), ids=MEMORY)
def test_memory(seed: CheckedPolicy, asked: str, room: str | int, fits: bool) -> None:
    bench = Bench([edge("edge-1", room)], seed, DELAYS)
    decision = bench.place(limited(memory=asked, edge__1="5"))
    assert decision.node == ("edge-1" if fits else None)
    if not fits:
        assert decision.message() == "0/1 nodes are available: 1 Insufficient memory."


def test_a_pod_without_limit_goes_to_the_cloud(seed: CheckedPolicy) -> None:
    assert Bench([edge("edge-1", "64Gi"), cloud()], seed, DELAYS).where(limited()) == "cloud-1"


def test_a_pod_without_limit_where_there_is_no_cloud(seed: CheckedPolicy) -> None:
    decision = Bench([edge("edge-1")], seed, DELAYS).place(limited())
    assert decision.node == "edge-1"
    assert decision.opened.startswith("edge (rule cloud-first, seed.policy:")


def test_a_pod_without_limit_where_the_cloud_is_full(seed: CheckedPolicy) -> None:
    bench = Bench([edge("edge-1"), cloud()], seed, DELAYS)
    assert bench.bind(limited("big", "16Gi")) == "cloud-1"
    assert bench.where(limited()) == "edge-1"


def test_a_pod_without_limit_where_everything_is_full(seed: CheckedPolicy) -> None:
    bench = Bench([edge("edge-1"), cloud()], seed, DELAYS)
    assert bench.message(limited(memory="32Gi")) == "0/2 nodes are available: 2 Insufficient memory."


def test_memory_decides_among_the_nodes_within_reach(seed: CheckedPolicy) -> None:
    nodes = [edge("edge-1", "2Gi"), edge("edge-2", "3Gi"), edge("edge_3", "8Gi"), cloud(memory="64Gi")]
    assert Bench(nodes, seed, DELAYS).where(limited(edge__1="5")) == "edge_3"
    assert Bench(nodes, seed, DELAYS).where(limited(edge__2="5")) == "edge-2"


def test_dependants_are_placed_by_where_their_source_is_now(seed: CheckedPolicy) -> None:
    bench = Bench(three(), seed, DELAYS)
    dependant = limited(source="0")
    source = limited("source", edge__2="0")
    bench.cache.put_pod(source)
    assert bench.message(dependant) == (
        "0/4 nodes are available: workload default/source has no placed pod yet."
    )
    assert bench.bind(source) == "edge-2"
    assert bench.where(dependant) == "edge-2"
    bench.cache.remove_pod(source.key)
    bench.bind(limited("source", edge_3="0"))
    assert bench.where(dependant) == "edge_3"


def test_a_pod_without_requests_is_placed(seed: CheckedPolicy) -> None:
    assert Bench(three(), seed, DELAYS).where(pod(labels={"delay_edge-1": "0"})) == "edge-1"


def test_a_node_without_allocatable_takes_nothing(seed: CheckedPolicy) -> None:
    bench = Bench([node("edge-1", allocatable={})], seed, DELAYS)
    assert bench.message(pod(labels={"delay_edge-1": "0"})) == "0/1 nodes are available: 1 Too many pods."
