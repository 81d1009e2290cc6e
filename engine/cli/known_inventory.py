"""What a policy is compared with, taken from a cluster as somebody saw it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.cli.explain_subject import World
from engine.delay import DelayMap
from engine.model.placeholder import holds_for
from engine.state.pods import Phase
from grammar.inventory import Inventory, Node, Pod


def inventory_of(world: World) -> Inventory:
    """The inventory of a cluster. Pods are those that Berth places and that stay.

    Its own placeholders are left out, which would be programs of the names of their nodes.
    """
    nodes = tuple(
        Node(node.name, node.metadata.labels or {}, node.ready)
        for node in sorted(world.cache.nodes(), key=lambda node: node.name)
    )
    ours = (pod for pod in world.cache.pods() if holds_for(pod.pod.metadata.labels) is None)
    placed = sorted(ours, key=lambda pod: pod.key)
    pods = tuple(
        Pod(pod.key.namespace, pod.key.name, pod.pod.metadata.labels or {})
        for pod in placed
        if pod.pod.spec.scheduler_name in world.schedulers and pod.phase is not Phase.TERMINATING
    )
    workloads = frozenset((pod.key.namespace, pod.workload.name) for pod in placed)
    delays = world.placer.delay_map
    return Inventory(nodes, pods, workloads, _rows(delays, nodes) if len(delays) else None)


def _rows(delays: DelayMap, nodes: tuple[Node, ...]) -> Callable[[str], Mapping[str, float]]:
    positions = [(node.name, at) for node in nodes if (at := delays.index(node.name)) is not None]

    def row(origin: str) -> Mapping[str, float]:
        measured = delays.row(origin)
        if measured is None:
            return {}
        return {name: ms for name, at in positions if (ms := float(measured[at])) == ms}  # NaN is not itself

    return row
