"""Every case that the prototype gets wrong, by name, on a cluster that runs with the policies that stand in for it.

Its reserve and healing are in force, so that each case also holds for what is kept and for what moves. More of what
places a pod is in `tests.engine.placement.test_measured`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from engine.delay import DelayMap
from engine.model.objects import Node, NodeStatus, ObjectMeta
from tests.engine.scheduler.scenes import GIB, World, deployment, spec

ROOT = Path(__file__).parents[2]
SEED = (ROOT / "policies" / "seed.policy").read_text()
GRACE = 40.0
"""A silent node counts as lost after that."""
DELAYS = {
    ("edge-1", "edge-2"): 4.0,
    ("edge-1", "edge_3"): 0.4,
    ("edge-2", "edge_3"): 9.0,
    ("edge-1", "cloud-1"): 40.0,
    ("edge-2", "cloud-1"): 30.0,
    ("edge_3", "cloud-1"): 20.0,
}


def edge(name: str, memory: str = "4Gi") -> Node:
    labels = {"kubernetes.io/hostname": name}
    return Node(
        ObjectMeta(name=name, labels=labels),
        status=NodeStatus(allocatable={"cpu": "8", "memory": memory, "pods": "110"}),
    )


def cloud(name: str = "cloud-1", memory: str = "16Gi") -> Node:
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/role": "cloud"}
    return Node(
        ObjectMeta(name=name, labels=labels),
        status=NodeStatus(allocatable={"cpu": "32", "memory": memory, "pods": "110"}),
    )


def delays(more: Mapping[tuple[str, str], float] | None = None) -> DelayMap:
    return DelayMap.from_pairs((*pair, ms) for pair, ms in {**DELAYS, **(more or {})}.items())


def world(*nodes: Node) -> World:
    given = nodes or (edge("edge-1"), edge("edge-2"), edge("edge_3"), cloud())
    return World(SEED, given, delays())


def ask(made: World, name: str, memory: str = "1Gi", **limits: str) -> str:
    """Apply a workload of one pod and tell where it is a while later; ``__`` stands for a dash."""
    wanted = {origin.replace("__", "-"): limit for origin, limit in limits.items()}
    made.cluster.apply(deployment(name, 1, wanted, spec("100m", memory)))
    made.run(5)
    [node] = made.nodes_of(name)
    return node


def uncovered(made: World, name: str) -> list[str]:
    """What people are told of a workload that nothing is kept for."""
    return [text for text in made.events("Uncovered") if f"/{name}-" in text]


# The cases


def unknown_name() -> None:
    made = world()
    assert ask(made, "app", edge__9="25") == "", "not in the cloud"
    assert "is named edge-9; did you mean edge-2?" in made.events("FailedScheduling")[0]
    made.cluster.add_node(edge("edge-9"))
    made.run(60)
    assert made.nodes_of("app") == ["edge-9"]


def second_limit() -> None:
    made = world()
    assert ask(made, "both", edge__1="5", edge__2="5") in ("edge-1", "edge-2")
    assert ask(made, "neither", edge__1="1", cloud__1="1") == ""
    assert ask(made, "second", edge__1="50", cloud__1="20") in ("edge_3", "cloud-1")


def dead_candidate() -> None:
    made = world()
    made.cluster.fail_node("edge_3")
    made.run(GRACE + 1)
    assert ask(made, "app", edge__1="1") == "edge-1", "edge_3 would be near enough"
    assert "edge_3" not in made.placeholders(), "and nothing is kept there"
    assert uncovered(made, "app"), "so that nothing can be kept for it"


def dead_reference() -> None:
    made = world()
    made.cluster.fail_node("edge-1")
    made.run(GRACE + 1)
    assert ask(made, "app", edge__1="50") == ""
    assert "edge-1 is not ready, so no delay can be measured from it" in made.events("FailedScheduling")[0]
    made.cluster.recover_node("edge-1")
    made.run(60)
    assert made.nodes_of("app") != [""]


def two_lost_at_once() -> None:
    made = world(edge("edge-1", "1Gi"), edge("edge-2", "2Gi"), edge("edge_3", "2Gi"))
    where = {name: ask(made, name, edge__1="9") for name in ("a", "b", "c", "d")}
    lost = ["edge-2", "edge_3"]
    assert set(lost) <= set(where.values())
    made.cluster.add_node(edge("edge-4", "16Gi"))
    made.swap_delays(delays({("edge-1", "edge-4"): 5.0}))
    made.run(60)
    for node in lost:
        made.cluster.fail_node(node)
    made.run(GRACE + 5)
    assert not {*lost, ""} & {node for name in where for node in made.nodes_of(name)}
    assert made.broken() == []


def node_that_joins() -> None:
    made = world(edge("edge-1", "1Gi"))
    assert ask(made, "first", edge__1="5") == "edge-1"
    assert ask(made, "second", edge__1="5") == ""
    made.cluster.add_node(edge("edge-2", "8Gi"))
    made.run(60)
    assert made.nodes_of("second") == ["edge-2"]
    assert made.proven() == []


def odd_names() -> None:
    made = world()
    assert ask(made, "underscore", edge_3="0") == "edge_3"
    assert ask(made, "dash", edge__1="0") == "edge-1"


def zero() -> None:
    assert ask(world(), "app", edge__2="0") == "edge-2"


def under_a_millisecond() -> None:
    made = world(edge("edge-1", "1Mi"), edge("edge-2"), edge("edge_3"))
    assert ask(made, "near", edge__1="0.4") == "edge_3"
    assert ask(made, "nearer", edge__1="0.39") == ""


def no_cloud() -> None:
    assert ask(world(edge("edge-1"), edge("edge-2")), "app") in ("edge-1", "edge-2")


def full_cloud() -> None:
    made = world(edge("edge-1"), cloud())
    assert ask(made, "filler", "16Gi") == "cloud-1"
    assert ask(made, "app") == "edge-1"


def no_second_node() -> None:
    made = world()
    assert ask(made, "app", edge__2="0") == "edge-2", "it is placed"
    [told] = uncovered(made, "app")
    assert "reserve second-place" in told, "and said not to be covered"
    made.cluster.fail_node("edge-2")
    made.run(GRACE + 5)
    why, *_ = (text for text in made.events("NotMoved") if "/app-" in text)
    assert "node edge-2 is lost" in why, "and its loss is not passed over in silence"
    made.cluster.recover_node("edge-2")
    made.run(60)
    assert made.nodes_of("app") == ["edge-2"], "nor is it forgotten"


def dependants() -> None:
    made = world(edge("edge-1"), edge("edge-2", "3Gi"), edge("edge_3", "5Gi"))
    assert ask(made, "source", edge__1="1") == "edge_3"
    assert ask(made, "dependant", "512Mi", source="0") == "edge_3"
    made.swap_delays(delays({("edge-1", "edge_3"): 30.0}))
    made.run(30)
    assert made.nodes_of("source") == ["edge-1"]
    assert made.nodes_of("dependant") == ["edge-1"], "it is asked, too"


def hash_order() -> None:
    command = [str(Path(sys.executable).parent / "berth"), "simulate", "--timeline"]
    told = {
        subprocess.run(
            [*command, "--scenario", "demo/prototype/loss.scenario.yaml"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "31337")
    }
    assert len(told) == 1
    assert "Moving" in told.pop()


CASES: Mapping[str, Callable[[], None]] = {
    "a limit to an unknown name": unknown_name,
    "the second of two limits": second_limit,
    "a dead node is no candidate, and keeps nothing": dead_candidate,
    "a dead node is no reference": dead_reference,
    "two nodes lost at once": two_lost_at_once,
    "a node that joins": node_that_joins,
    "names with _ or -": odd_names,
    "a pod without limit where there is no cloud": no_cloud,
    "a pod without limit where the cloud is full": full_cloud,
    "0 ms": zero,
    "delays under a millisecond": under_a_millisecond,
    "a pod that no second node can back": no_second_node,
    "a moved pod's dependants": dependants,
    "answers do not depend on hash order": hash_order,
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_case(case: Callable[[], None]) -> None:
    case()


MEMORY = {
    "500M": ("500M", 500_000_000),
    "1G": ("1G", 1_000_000_000),
    "1.5Gi": ("1.5Gi", 3 * GIB // 2),
    "plain bytes": ("1073741824", GIB),
}


@pytest.mark.parametrize(("asked", "kept"), MEMORY.values(), ids=MEMORY)
def test_memory_is_placed_and_kept_to_the_byte(asked: str, kept: int) -> None:
    made = world(edge("edge-1", str(kept)), edge("edge_3", str(kept)), edge("edge-2", "1Mi"))
    assert ask(made, "too-large", str(kept + 1), edge__2="10") == ""
    here = ask(made, "app", asked, edge__2="10")
    [other] = {"edge-1", "edge_3"} - {here}
    assert made.placeholders() == {other: kept}
    made.cluster.fail_node(here)
    made.run(GRACE + 5)
    assert made.nodes_of("app") == [other]
