"""[sig-scheduling] SchedulerPredicates: what pods ask for is never more than what a node has."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.part import Part, container

pytestmark = pytest.mark.integration

BEARD_SECONDS = "example.com/beard-seconds"


def test_cpu_requests_never_exceed_a_nodes_allocatable(part: Part) -> None:
    """Resource limits of pods that are allowed to run: with 70% of each node taken, half a node is too much."""
    part.add_nodes({"a": {"cpu": "4"}, "b": {"cpu": "4"}, "c": {"cpu": "2"}})
    for node, cpu in (("a", "2800m"), ("b", "2800m"), ("c", "1400m")):
        part.add_pod(f"filler-{node}", cpu=cpu, affinity=part.only_on(node))
    assert [part.node_of(f"filler-{node}") for node in "abc"] == ["a", "b", "c"]
    part.add_pod("additional", cpu="2")
    part.refused("additional", "0/3 nodes are available: 3 Insufficient cpu.")
    part.delete_pod("filler-b")
    assert part.node_of("additional") == "b"


ROOM: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "memory": ({"memory": "1Gi"}, {"memory": "500Mi"}, "Insufficient memory"),
    "local ephemeral storage": (
        {"extended": {"ephemeral-storage": "10Gi"}},
        {"ephemeral-storage": "5Gi"},
        "Insufficient ephemeral-storage",
    ),
    "huge pages": (
        {"extended": {"hugepages-2Mi": "8Mi"}},
        {"hugepages-2Mi": "4Mi", "memory": "1Mi"},
        "Insufficient hugepages-2Mi",
    ),
    "an extended resource": (
        {"extended": {BEARD_SECONDS: "1000"}},
        {BEARD_SECONDS: "500"},
        f"Insufficient {BEARD_SECONDS}",
    ),
    "the number of pods": ({"pods": "2"}, {}, "Too many pods"),
}


@pytest.mark.parametrize(("node", "limits", "reason"), ROOM.values(), ids=ROOM)
def test_two_halves_fill_a_node_and_a_third_waits(
    part: Part, node: dict[str, Any], limits: dict[str, str], reason: str
) -> None:
    """Local ephemeral storage limits of pods that are allowed to run, and the same of every other resource."""
    part.add_nodes("ab", **node)
    for number in range(4):
        part.add_pod(f"half-{number}", limits=limits)
    placed = [part.node_of(f"half-{number}") for number in range(4)]
    assert sorted(placed) == ["a", "a", "b", "b"]
    part.add_pod("additional", limits=limits)
    part.refused("additional", f"0/2 nodes are available: 2 {reason}.")
    part.delete_pod("half-1")
    assert part.node_of("additional") == placed[1]


def test_a_resource_that_no_node_has(part: Part) -> None:
    """Extended resources: a node that does not offer one is short of it, until its device plugin says that it has."""
    part.add_nodes("ab")
    part.add_pod("p", limits={BEARD_SECONDS: "1"})
    part.refused("p", f"0/2 nodes are available: 2 Insufficient {BEARD_SECONDS}.")
    part.patch_node(
        "b", {"status": {"capacity": {BEARD_SECONDS: "1"}, "allocatable": {BEARD_SECONDS: "1"}}}, "/status"
    )
    assert part.node_of("p") == "b"


def test_a_pods_overhead_counts_beside_its_limits(part: Part) -> None:
    """Pod overhead: 70% is taken and 20% is asked for, but the runtime class adds 25%."""
    part.add_nodes("a", extended={BEARD_SECONDS: "1000"})
    runtime = f"heavy-{part.namespace}"
    part.create_global(
        "/apis/node.k8s.io/v1/runtimeclasses",
        {"metadata": {"name": runtime}, "handler": "heavy", "overhead": {"podFixed": {BEARD_SECONDS: "250"}}},
    )
    part.add_pod("filler", limits={BEARD_SECONDS: "700"})
    part.node_of("filler")
    part.add_pod("additional", limits={BEARD_SECONDS: "200"}, runtimeClassName=runtime)
    part.refused("additional", f"0/1 nodes are available: 1 Insufficient {BEARD_SECONDS}.")
    part.add_pod("light", limits={BEARD_SECONDS: "200"})
    assert part.node_of("light") == "a"
    part.delete_pod("filler")
    assert part.node_of("additional") == "a", "as 200 + 200 + 250 are less than 1000"


def test_init_containers_and_sidecars_count_as_they_run(part: Part) -> None:
    """Resource limits: a pod asks for the most that runs at once, sidecars beside all that begins after them."""
    part.add_nodes("a", cpu="2")
    init = container({"cpu": "1500m"}, name="init")
    sidecar = container({"cpu": "1"}, name="sidecar", restartPolicy="Always")
    main = container({"cpu": "500m"})
    part.add_pod("beside", initContainers=[sidecar, init], containers=[main])
    part.refused("beside", "1 Insufficient cpu")
    part.add_pod("after", initContainers=[init, sidecar], containers=[main])
    assert part.node_of("after") == "a", "1.5, then 1 + 0.5"
    part.add_pod("rest", cpu="500m")
    assert part.node_of("rest") == "a"
    part.add_pod("one-too-many", cpu="10m")
    part.refused("one-too-many", "1 Insufficient cpu")


def test_resources_of_the_whole_pod_stand_above_its_containers(part: Part) -> None:
    """Pod-level resources: what spec.resources asks for counts instead of the containers' sum."""
    part.add_nodes("a", cpu="2")
    part.add_pod("whole", cpu="500m", resources={"requests": {"cpu": "1500m"}})
    assert part.node_of("whole") == "a"
    part.add_pod("additional", cpu="600m")
    part.refused("additional", "1 Insufficient cpu")


def test_a_pod_that_has_ended_holds_nothing(part: Part) -> None:
    """Resource limits: pods that succeeded or failed are not counted."""
    part.add_nodes("a", cpu="2")
    for name, phase in (("good", "Succeeded"), ("bad", "Failed")):
        part.add_pod(name, cpu="2")
        part.running(name)
        part.add_pod(f"after-{name}", cpu="1500m")
        part.refused(f"after-{name}", "1 Insufficient cpu")
        part.patch_pod(name, {"status": {"phase": phase}}, "/status")
        assert part.node_of(f"after-{name}") == "a"
        part.delete_pod(f"after-{name}")


def test_a_pod_that_is_resized_counts_at_once(part: Part) -> None:
    """In-place resize: what a running pod is to get counts from when it is asked for, unless its kubelet cannot."""
    part.add_nodes("a", cpu="4")
    part.add_pod("growing", cpu="1")
    part.add_pod("other", cpu="2")
    part.running("growing", "other")
    # KWOK does not tell what a container has; without that, the API server resizes nothing.
    [status] = part.pod("growing")["status"]["containerStatuses"]
    given = {"requests": {"cpu": "1", "memory": "1Mi"}}
    part.patch_pod("growing", {"status": {"containerStatuses": [{**status, "resources": given}]}}, "/status")
    resized = {"spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "2"}}}]}}
    resize = f"/api/v1/namespaces/{part.namespace}/pods/growing/resize"
    part.plane.api.request("PATCH", resize, resized, "application/strategic-merge-patch+json")
    part.add_pod("additional", cpu="1")
    part.refused("additional", "1 Insufficient cpu")
    pending = {"type": "PodResizePending", "status": "True", "reason": "Infeasible"}
    conditions = [*part.pod("growing")["status"]["conditions"], pending]
    part.patch_pod("growing", {"status": {"conditions": conditions}}, "/status")
    assert part.node_of("additional") == "a"


def test_a_pod_without_requests_fits_where_nothing_is_left(part: Part) -> None:
    """Resource limits: a request of nothing passes, whatever the node has left, while there is room for a pod."""
    part.add_nodes("a", cpu="1", pods="3")
    part.add_pod("filler", cpu="1")
    part.node_of("filler")
    part.add_pod("best-effort", cpu=None, memory=None)
    assert part.node_of("best-effort") == "a"
