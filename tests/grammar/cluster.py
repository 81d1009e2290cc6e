"""A small cluster that policies are compared with: edge nodes in two cities, a cloud, and a few pods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from grammar import Result
from grammar.beside import beside
from grammar.inventory import ZONE, Inventory, Node, Pod

ROLE: Final = "kubernetes.io/role"
PLACES: Final = {
    "edge-1": ("edge", "vienna"),
    "edge-2": ("edge", "vienna"),
    "edge-3": ("edge", "graz"),
    "cloud-1": ("cloud", "frankfurt"),
    "cloud-2": ("cloud", "frankfurt"),
}
DELAYS: Final = {
    ("edge-1", "edge-2"): 4.5,
    ("edge-1", "edge-3"): 10.5,
    ("edge-1", "cloud-1"): 41.0,
    ("edge-2", "edge-3"): 12.0,
    ("edge-2", "cloud-1"): 42.5,
    ("edge-3", "cloud-1"): 44.0,
}
"""In ms, both ways. Of ``cloud-2`` nothing is known."""


def delays(name: str) -> Mapping[str, float]:
    both = {**DELAYS, **{(there, here): ms for (here, there), ms in DELAYS.items()}}
    return {there: ms for (here, there), ms in both.items() if here == name}


def node(name: str, ready: bool = True, **labels: str) -> Node:
    role, zone = PLACES[name]
    return Node(name, {ROLE: role, ZONE: zone, "example.com/site": "all", **labels}, ready)


NODES: Final = tuple(node(name) for name in PLACES)
PODS: Final = (
    Pod("shop", "video", {"app": "video", "delay_edge-3": "5", "delay_camera": "10"}),
    Pod("shop", "audio", {"app": "audio", "delay_edeg-2": "25"}),
    Pod("shop", "voice", {"app": "audio", "delay_edeg-2": "30"}),
)
WORKLOADS: Final = frozenset({("shop", "camera"), ("shop", "video"), ("shop", "audio")})
CLUSTER: Final = Inventory(NODES, PODS, WORKLOADS, delays)


def compared(result: Result, code: str) -> Result:
    """The result beside the cluster, for the codes that are about one."""
    return beside(result, CLUSTER) if code.startswith("P7") else result
