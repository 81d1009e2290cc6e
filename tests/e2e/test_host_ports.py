"""[sig-scheduling] SchedulerPredicates: ports of the host."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.part import Part, container

pytestmark = pytest.mark.integration

CONFLICT = "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."


def listening(port: int, host_ip: str = "", protocol: str = "TCP", **fields: Any) -> dict[str, Any]:
    opened: dict[str, Any] = {"containerPort": 8080, "hostPort": port, "protocol": protocol}
    if host_ip:
        opened["hostIP"] = host_ip
    return container({"cpu": "10m"}, ports=[opened], **fields)


def test_the_same_port_with_another_address_or_protocol(part: Part) -> None:
    """There is no conflict between pods with the same hostPort but different hostIP and protocol."""
    part.add_nodes("a")
    part.add_pod("pod1", containers=[listening(54321, "127.0.0.1")])
    part.add_pod("pod2", containers=[listening(54321, "10.0.0.7")])
    part.add_pod("pod3", containers=[listening(54321, "10.0.0.7", "UDP")])
    part.add_pod("pod4", containers=[listening(54321, "10.0.0.7", "SCTP")])
    part.add_pod("pod5", containers=[listening(54322, "10.0.0.7")])
    assert {part.node_of(f"pod{number}") for number in range(1, 6)} == {"a"}
    part.add_pod("pod6", containers=[listening(54321, "10.0.0.7", "UDP")])
    part.refused("pod6", CONFLICT)


def test_all_addresses_conflict_with_each(part: Part) -> None:
    """There is a conflict between pods with the same hostPort and protocol where one uses the hostIP 0.0.0.0."""
    part.add_nodes("a")
    part.add_pod("pod4", containers=[listening(54322)])
    part.node_of("pod4")
    part.add_pod("pod5", containers=[listening(54322, "10.0.0.7")])
    part.add_pod("any", containers=[listening(54322, "0.0.0.0")])
    part.refused("pod5", CONFLICT)
    part.refused("any", CONFLICT)
    part.delete_pod("pod4")
    part.eventually(
        lambda: len([p for p in part.pods() if p["spec"].get("nodeName")]) == 1, "one of them got the port"
    )
    part.refused("any" if part.pod("pod5")["spec"].get("nodeName") else "pod5", CONFLICT)


def test_ports_of_sidecars_count_and_of_init_containers_do_not(part: Part) -> None:
    """Host ports are those of containers and of restartable init containers; the host's network claims them, too."""
    part.add_nodes("a")
    main = container({"cpu": "10m"})
    sidecar = listening(7001, name="sidecar", restartPolicy="Always")
    part.add_pod("sidecar", initContainers=[sidecar], containers=[main])
    part.add_pod("init", initContainers=[listening(7002, name="init")], containers=[main])
    on_host = container({"cpu": "10m"}, ports=[{"containerPort": 7003}])
    part.add_pod("on-host", hostNetwork=True, containers=[on_host])
    for name in ("sidecar", "init", "on-host"):
        part.node_of(name)
    for port in (7001, 7002, 7003):
        part.add_pod(f"port-{port}", containers=[listening(port)])
    part.refused("port-7001", CONFLICT)
    assert part.node_of("port-7002") == "a"
    part.refused("port-7003", CONFLICT)


def test_a_port_spreads_a_deployment(part: Part) -> None:
    """Replicas that listen on one port of the host are on as many nodes; one more than nodes waits."""
    part.add_nodes("abc")
    part.workload("deployments", "web", 4, containers=[listening(80)])
    assert part.nodes_of("web", 3) == {"a": 1, "b": 1, "c": 1}
    waiting = next(pod["metadata"]["name"] for pod in part.pods("web") if not pod["spec"].get("nodeName"))
    part.refused(waiting, "3 node(s) didn't have free ports for the requested pod ports")
