"""``prefer current`` end to end: of two pods that could make room for a waiting one, the one that minds is spared."""

from __future__ import annotations

import pytest

from tests.engine.scheduler.scenes import ROOM, World, delays, deployment, node, spec

STAY = """
rule stay for pods where pod.labels["app"] == "small" {
  prefer current weight 2
}
"""


@pytest.mark.parametrize(
    ("policy", "spared", "moved"),
    [(ROOM, "large", "small"), (STAY + ROOM, "small", "large")],
    ids=["without it the smaller moves", "with it the larger"],
)
def test_who_makes_room(policy: str, spared: str, moved: str) -> None:
    world = World(policy, [node("n1", memory="4Gi")], delays(["n1", "n2"], [[0, 5], [5, 0]]))
    for name, memory in (("small", "1Gi"), ("large", "1536Mi")):
        world.cluster.apply(deployment(name, 1, wanted=spec("100m", memory)))
    world.run(30)
    world.cluster.add_node(node("n2", memory="3Gi"))
    at_n2 = spec("100m", "768Mi", node_selector={"kubernetes.io/hostname": "n2"})
    world.cluster.apply(deployment("other", 1, wanted=at_n2))
    world.run(60)
    assert {name: world.nodes_of(name) for name in ("small", "large")} == {"small": ["n1"], "large": ["n1"]}
    world.cluster.apply(deployment("waiting", 1, wanted=spec("100m", "2560Mi")))
    world.run(30)
    expected = {spared: ["n1"], moved: ["n2"], "waiting": ["n1"]}
    assert {name: world.nodes_of(name) for name in expected} == expected
    [told] = world.events("Moving")
    assert "points" not in told
