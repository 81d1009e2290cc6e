"""The benchmark's checks of where pods ended can fail."""

from __future__ import annotations

import pytest

from tests.benchmarks.workloads import WORKLOADS, over_capacity
from tests.controlplane import make_node, make_pod, zone_nodes
from tests.controlplane.api import Object


def _on(*nodes: str, cpu: str = "1") -> list[Object]:
    return [make_pod(f"p{i}", cpu=cpu, nodeName=node) for i, node in enumerate(nodes)]


_NODES = {node["metadata"]["name"]: node for node in zone_nodes(20, zones=10, cpu="2")}
_N = list(_NODES)


@pytest.mark.parametrize(
    ("workload", "good", "bad", "says"),
    [
        pytest.param(
            "node-affinity",
            [_N[0], _N[12]],
            [_N[0], _N[3], _N[9]],
            "2 pods are in other zones",
            id="affinity",
        ),
        pytest.param("hard-spread", _N[:19], [_N[0], _N[10]], "skew is 2", id="spread"),
        pytest.param("pod-affinity", [_N[4], _N[14]], [_N[4], _N[5]], "in 2 zones", id="together"),
        pytest.param("anti-affinity", [_N[4], _N[14]], [_N[4], _N[4]], f"such as {_N[4]}", id="apart"),
    ],
)
def test_a_workload_knows_where_its_pods_may_be(
    workload: str, good: list[str], bad: list[str], says: str
) -> None:
    check = WORKLOADS[workload].check
    assert check(_on(*good), _NODES) == []
    assert says in check(_on(*bad), _NODES)[0]


@pytest.mark.parametrize(
    ("node", "pods", "says"),
    [
        pytest.param(
            make_node("n", cpu="2"),
            _on("n", "n", cpu="1001m"),
            "n: 2.002 of cpu requested, 2 alloc",
            id="cpu",
        ),
        pytest.param(
            make_node("n", memory="100Mi"), _on("n", "n"), "of memory requested, 100Mi alloc", id="memory"
        ),
        pytest.param(make_node("n", pods="1"), _on("n", "n"), "n: 2 of pods requested, 1 alloc", id="pods"),
        pytest.param(make_node("n", cpu="2", memory="128Mi", pods="2"), _on("n", "n"), None, id="just fits"),
    ],
)
def test_over_capacity_is_seen(node: Object, pods: list[Object], says: str | None) -> None:
    problems = over_capacity(pods, {"n": node})
    assert len(problems) == (says is not None)
    assert says is None or says in problems[0]


@pytest.mark.parametrize("name", WORKLOADS)
def test_pods_ask_for_what_the_workload_says(name: str) -> None:
    first, second = WORKLOADS[name].pods(2, "custom-scheduler", "x-", "200m")
    assert [pod["metadata"]["name"] for pod in (first, second)] == ["x-00000", "x-00001"]
    assert first["spec"]["schedulerName"] == "custom-scheduler"
    assert first["spec"]["containers"][0]["resources"]["requests"]["cpu"] == (WORKLOADS[name].cpu or "200m")
