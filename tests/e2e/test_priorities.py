"""[sig-scheduling] SchedulerPriorities: which of the nodes that may take a pod is the best.

Nodes are equally used where nothing else is said, so that one preference decides.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.controlplane.manifests import HOSTNAME
from tests.e2e.part import Part

pytestmark = pytest.mark.integration


def weighted(kind: str, weight: int, app: str) -> dict[str, Any]:
    expressions = [
        {"key": "app", "operator": "In", "values": [app, "value2"]},
        {"key": "app", "operator": "NotIn", "values": ["S2"]},
        {"key": "app", "operator": "Exists"},
    ]
    term = {"labelSelector": {"matchExpressions": expressions}, "topologyKey": HOSTNAME}
    preferred = [{"weight": weight, "podAffinityTerm": term}]
    return {kind: {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}


def place(part: Part, app: str, *nodes: str, **options: Any) -> None:
    """A pod with a label on each of these nodes."""
    for node in nodes:
        name = part.add_pod(f"{app}-on-{node}", labels={"app": app}, affinity=part.only_on(node), **options)
        part.node_of(name)


def test_nodes_of_disliked_pods_are_avoided(part: Part) -> None:
    """A pod is scheduled to a node that doesn't match its preferred PodAntiAffinity terms."""
    part.add_nodes("abc")
    place(part, "s1", "a", "c")
    place(part, "filler", "b")
    part.add_pod("pod-with-pod-antiaffinity", affinity=weighted("podAntiAffinity", 10, "s1"))
    assert part.node_of("pod-with-pod-antiaffinity") == "b"


def test_nodes_of_liked_pods_are_preferred(part: Part) -> None:
    """A pod is scheduled to a node that matches its preferred PodAffinity terms, if that has room."""
    part.add_nodes({"a": {}, "b": {"pods": "2"}, "c": {}})
    place(part, "s1", "b")
    place(part, "filler", "a", "c")
    part.add_pod("first", affinity=weighted("podAffinity", 10, "s1"))
    assert part.node_of("first") == "b"
    part.add_pod("second", affinity=weighted("podAffinity", 10, "s1"))
    assert part.node_of("second") in "ac"


def test_the_liking_of_running_pods_counts(part: Part) -> None:
    """InterPodAffinity's score is symmetric: what running pods prefer draws an incoming pod that says nothing."""
    part.add_nodes("abc")
    liking = weighted("podAffinity", 10, "liked")
    part.add_pod("fan", affinity={**liking, **part.only_on("c")})
    part.node_of("fan")
    place(part, "filler", "a", "b")
    part.add_pod("liked", labels={"app": "liked"})
    assert part.node_of("liked") == "c"


def test_tolerable_taints_are_preferred(part: Part) -> None:
    """A pod is preferably scheduled to nodes whose PreferNoSchedule taints it tolerates."""

    def taints(node: str) -> list[dict[str, str]]:
        return [
            {"key": f"e2e.example/{node}-{n}", "value": "v", "effect": "PreferNoSchedule"} for n in range(10)
        ]

    part.add_nodes({node: {"taints": taints(node)} for node in "abc"})
    part.add_pod("with-tolerations", tolerations=taints("b"))
    assert part.node_of("with-tolerations") == "b"
    part.add_nodes("d")
    part.add_pod("without")
    assert part.node_of("without") == "d"


def test_preferred_labels_by_weight(part: Part) -> None:
    """NodeAffinity's preferred terms: the sum of the weights that match decides."""
    part.add_nodes(
        {
            "a": {"labels": {"disk": "fast", "half": "1"}},
            "b": {"labels": {"cpu": "new", "half": "1"}},
            "c": {"labels": {"disk": "fast", "cpu": "new"}},
        }
    )

    def prefer(weight: int, key: str, value: str) -> dict[str, Any]:
        return {
            "weight": weight,
            "preference": {"matchExpressions": [{"key": key, "operator": "In", "values": [value]}]},
        }

    preferred = [prefer(50, "disk", "fast"), prefer(60, "cpu", "new")]
    wanted = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
    part.add_pod("both", affinity=wanted)
    assert part.node_of("both") == "c"
    part.add_pod("heavier", affinity=wanted, nodeSelector={"half": "1"})
    assert part.node_of("heavier") == "b"


def test_the_least_used_node_is_preferred(part: Part) -> None:
    """NodeResourcesFit, least allocated: of equal nodes the one with the most left takes the pod."""
    part.add_nodes("abc", cpu="10", memory="10Gi")
    for node, cpu, memory in (("a", "6", "6Gi"), ("b", "2", "2Gi"), ("c", "4", "4Gi")):
        place(part, "filler", node, cpu=cpu, memory=memory)
    part.add_pod("p", cpu="1", memory="1Gi")
    assert part.node_of("p") == "b"


def test_a_balanced_node_is_preferred(part: Part) -> None:
    """NodeResourcesBalancedAllocation: with as much left in sum, a pod goes where it balances cpu and memory."""
    part.add_nodes("ab", cpu="10", memory="10Gi")
    place(part, "filler", "a", cpu="6", memory="2Gi")
    place(part, "filler", "b", cpu="2", memory="6Gi")
    part.add_pod("p", cpu="2", memory="1Mi")
    assert part.node_of("p") == "b"


def test_a_node_that_has_the_image_is_preferred(part: Part) -> None:
    """ImageLocality: the node that need not fetch a big image takes the pod."""
    part.add_nodes("abc")
    images = [{"names": ["example.invalid/big:1"], "sizeBytes": 900 * 2**20}]
    part.patch_node("b", {"status": {"images": images}}, "/status")
    part.patch_node("b", {"metadata": {"labels": {"image": "told"}}})
    part.until_seen("b", nodeSelector={"image": "told"})
    image = {"name": "main", "image": "example.invalid/big:1", "resources": {"requests": {"cpu": "10m"}}}
    part.add_pod("p", containers=[image])
    assert part.node_of("p") == "b"
