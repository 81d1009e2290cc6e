"""Room on a node: requests, host ports, and the scores of its use."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from engine.constraints.resources import BalancedAllocation, LeastAllocated
from engine.model.objects import ContainerPort
from engine.state.columns import NodeError
from tests.engine import build
from tests.engine.build import Bench, node, pod

GPU = "nvidia.com/gpu"
Amounts = Mapping[str, str | int | float]


def refused(*reasons: str) -> str:
    return f"0/1 nodes are available: {', '.join(reasons)}."


FITS: dict[str, tuple[Amounts, Amounts, str | None]] = {
    "room": ({"cpu": "1"}, {"cpu": "2", "pods": "1"}, None),
    "just enough": ({"cpu": "1", "memory": "1Gi"}, {"cpu": "1", "memory": "1Gi", "pods": "1"}, None),
    "too little cpu": ({"cpu": "1001m"}, {"cpu": "1", "pods": "1"}, refused("1 Insufficient cpu")),
    "every resource that is short is told": (
        {"memory": "2Gi", "cpu": "2", GPU: "1"},
        {"cpu": "1", "memory": "1Gi", "pods": "0"},
        refused("1 Insufficient cpu", "1 Insufficient memory", f"1 Insufficient {GPU}", "1 Too many pods"),
    ),
    "pods that are absent are 0": ({}, {"cpu": "1"}, refused("1 Too many pods")),
    "no allocatable at all": ({"cpu": "1"}, {}, refused("1 Insufficient cpu", "1 Too many pods")),
    "a request of zero passes": ({"cpu": "0", GPU: "0"}, {"pods": "1"}, None),
    "no request": ({}, {"pods": "1"}, None),
    "an extended resource": ({GPU: "2"}, {"pods": "1", GPU: "2"}, None),
    "too few of it": ({GPU: "3"}, {"pods": "1", GPU: "2"}, refused(f"1 Insufficient {GPU}")),
    "ephemeral storage": (
        {"ephemeral-storage": "2G"},
        {"pods": "1", "ephemeral-storage": "1Gi"},
        refused("1 Insufficient ephemeral-storage"),
    ),
    "500M is less than 500Mi": ({"memory": "500Mi"}, {"pods": "1", "memory": "500M"}, refused("1 Insufficient memory")),
    "1G fits into 1Gi": ({"memory": "1G"}, {"pods": "1", "memory": "1Gi"}, None),
    "1.5Gi": ({"memory": "1.5Gi"}, {"pods": "1", "memory": str(3 * 2**29)}, None),
    "1.5Gi and a byte": ({"memory": 3 * 2**29 + 1}, {"pods": "1", "memory": "1.5Gi"}, refused("1 Insufficient memory")),
}  # fmt: skip


@pytest.mark.parametrize(("requests", "allocatable", "message"), FITS.values(), ids=FITS)
def test_fit(requests: Amounts, allocatable: Amounts, message: str | None) -> None:
    bench = Bench([node("n", allocatable=allocatable)])
    if message is None:
        assert bench.where(pod(requests=requests)) == "n"
    else:
        assert bench.message(pod(requests=requests)) == message


def test_terminating_pods_hold_their_room_until_they_are_gone() -> None:
    going = pod("going", requests={"cpu": "1"}, on="n", terminating=True)
    bench = Bench([node("n", allocatable={"cpu": "1", "pods": "9"})], pods=[going])
    assert bench.message(pod(requests={"cpu": "1"})) == refused("1 Insufficient cpu")
    bench.cache.remove_pod(going.key)
    assert bench.where(pod(requests={"cpu": "1"})) == "n"


def test_pods_of_other_schedulers_seen_before_their_node_count() -> None:
    bench = Bench([], pods=[pod("early", requests={"cpu": "1"}, on="n")])
    bench.cache.put_node(node("n", allocatable={"cpu": "1", "pods": "9"}))
    assert bench.message(pod(requests={"cpu": "1"})) == refused("1 Insufficient cpu")


def test_an_overcommitted_node_takes_a_pod_that_asks_for_nothing() -> None:
    bench = Bench(
        [node("n", allocatable={"cpu": "1", "pods": "9"})], pods=[pod("big", requests={"cpu": "3"}, on="n")]
    )
    assert bench.where(pod()) == "n"


def port(number: int, ip: str = "", protocol: str = "") -> ContainerPort:
    return ContainerPort(number, ip, protocol)


PORTS = {
    "another port": (port(80), port(81), True),
    "the same": (port(80), port(80), False),
    "another protocol": (port(80, protocol="UDP"), port(80), True),
    "empty protocol is TCP": (port(80, protocol="TCP"), port(80), False),
    "two addresses": (port(80, "10.0.0.1"), port(80, "10.0.0.2"), True),
    "one address": (port(80, "10.0.0.1"), port(80, "10.0.0.1"), False),
    "every address against one": (port(80), port(80, "10.0.0.1"), False),
    "one against every address": (port(80, "10.0.0.1"), port(80, "0.0.0.0"), False),
    "no host port": (port(0), port(0), True),
}


@pytest.mark.parametrize(("asked", "taken", "free"), PORTS.values(), ids=PORTS)
def test_host_ports(asked: ContainerPort, taken: ContainerPort, free: bool) -> None:
    bench = Bench([node("n")], pods=[pod("old", ports=[taken], on="n")])
    if free:
        assert bench.where(pod(ports=[asked])) == "n"
        return
    reason = "1 node(s) didn't have free ports for the requested pod ports"
    assert bench.message(pod(ports=[asked])) == refused(reason)
    bench.cache.remove_pod(pod("old").key)
    assert bench.where(pod(ports=[asked])) == "n"


def test_a_port_that_two_pods_hold_is_free_when_both_are_gone() -> None:
    old = [pod(name, ports=[port(80)], on="n") for name in ("a", "b")]
    bench = Bench([node("n")], pods=old)
    bench.cache.remove_pod(old[0].key)
    assert bench.place(pod(ports=[port(80)])).node is None
    bench.cache.remove_pod(old[1].key)
    assert bench.where(pod(ports=[port(80)])) == "n"


def score(
    requests: Amounts, allocatable: Amounts, *, used: Amounts | None = None
) -> tuple[float, float | None]:
    """Least allocated and balanced allocation; None for the latter where it does not apply."""
    cache = Bench([node("n", allocatable={**allocatable, "pods": "9"})]).cache
    if used:
        cache.put_pod(pod("old", requests=used, on="n"))
    shape = cache.put_pod(pod(requests=requests)).shape
    first = np.array([0])
    least = float(LeastAllocated(shape, cache.columns).raw(first)[0])
    if not BalancedAllocation.applies(shape):
        return least, None
    return least, float(BalancedAllocation(shape, cache.columns).raw(first)[0])


SCORES: dict[str, tuple[Amounts, Amounts, Amounts | None, tuple[float, float | None]]] = {
    "half of both, in balance": (
        {"cpu": "1", "memory": "1Gi"},
        {"cpu": "2", "memory": "2Gi"},
        None,
        (50, 75),
    ),
    "whole numbers": ({"cpu": "1", "memory": "1Gi"}, {"cpu": "3", "memory": "3Gi"}, None, (66, 75)),
    "out of balance": ({"cpu": "1", "memory": "0"}, {"cpu": "1", "memory": "1Gi"}, None, (50, 50)),
    "back into balance": (
        {"cpu": "0", "memory": "1Gi"},
        {"cpu": "2", "memory": "2Gi"},
        {"cpu": "1", "memory": "0"},
        (50, 87),
    ),
    "absent requests count a default, and no balance": (
        {},
        {"cpu": "1", "memory": "2000Mi"},
        None,
        (90, None),
    ),
    "without cpu, memory alone": ({"memory": "1Gi"}, {"memory": "4Gi"}, None, (75, 75)),
    "with neither": ({}, {}, None, (0, None)),
}


@pytest.mark.parametrize(("requests", "room", "used", "expected"), SCORES.values(), ids=SCORES)
def test_stock_score(
    requests: Amounts, room: Amounts, used: Amounts | None, expected: tuple[float, float | None]
) -> None:
    assert score(requests, room, used=used) == expected


def test_the_emptier_node_is_better() -> None:
    full = pod("old", requests={"cpu": "2", "memory": "4Gi"}, on="a")
    assert Bench([node("a"), node("b")], pods=[full]).where(pod(requests={"cpu": "1"})) == "b"


def test_a_node_that_cannot_be_read_is_refused_whole() -> None:
    bench = Bench([node("n")])
    bad = node("n", {"new": "label"}, allocatable={"cpu": "4", "memory": "fast"})
    with pytest.raises(NodeError, match=r"^node n: status\.allocatable\.memory: 'fast' is not a quantity"):
        bench.cache.put_node(bad)
    assert bench.cache.node("n") == node("n")
    assert bench.where(pod(requests={"cpu": "4", "memory": "8Gi"})) == "n"
    assert bench.place(build.pod("picky", selector={"new": "label"})).node is None
