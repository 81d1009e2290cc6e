"""The cache of pods and nodes, and the state machine of a pod.

::

            seen, no node                    bind sent                 watch: nodeName is set
    (new) ───────────────▶ QUEUED ──assume──▶ ASSUMED ─────confirm────▶ BOUND
      │                      ▲                   │                        │
      │                      └──────forget───────┘                        │ deletionTimestamp
      │  seen with a node                                                 ▼
      └───────────────────────────────────────▶ BOUND             TERMINATING ──deleted──▶ (gone)

A pod holds its requests on its node in every state but QUEUED; a terminating one until it is gone. An assumed pod is
forgotten when its bind failed, and the watch's word wins over ours: a pod that turns up on another node moves there.
Pods of all schedulers are here, for all of them take room.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from engine.model.device_uses import DeviceBindings, device_uses
from engine.model.objects import Node, Pod, PodKey
from engine.model.requests import pod_requests, scoring_requests
from engine.model.shape import Shape, ShapeTable
from engine.model.storage import VolumeBindings, claims_of
from engine.state.budgets import Budgets
from engine.state.census import Census, Selects
from engine.state.changes import ChangeLog
from engine.state.columns import Columns
from engine.state.devices import Devices
from engine.state.memberships import Grouping, Memberships
from engine.state.namespaces import Namespaces
from engine.state.nominations import Nominations
from engine.state.pods import Phase, PlacedPod
from engine.state.tallies import Tallies
from engine.state.volumes import Volumes
from engine.state.workloads import Workloads


class Cache:
    """Pods and nodes as last seen, with what we assume, and the columns that follow them.

    Attributes:
        columns: The snapshot.
        workloads: Where the pods of each workload are.
        namespaces: Their labels.
        memberships: What services and workloads say belongs together.
        tallies: Counts of placed pods that affinity and spread ask for, and the terms that placed pods hold.
        volumes: Storage, and who uses it.
        devices: Devices, and who has them.
        budgets: Which pods should not be taken from their nodes.
        nominations: Which pending pods have a node promised.
        pod_changes: The slots of pods that hold what they held, but have other labels, restarts or another start time.
    """

    def __init__(self, annotations: Iterable[str] = ()) -> None:
        self.columns = Columns()
        self.workloads = Workloads()
        self.namespaces = Namespaces()
        self.memberships = Memberships()
        self.tallies = Tallies(self.columns, self.namespaces)
        self.volumes = Volumes(self.columns)
        self.devices = Devices(self.columns)
        self.budgets = Budgets()
        self.nominations = Nominations(self.columns)
        self.pod_changes = ChangeLog()
        self._shapes = ShapeTable(frozenset(annotations))
        self._pods: dict[PodKey, PlacedPod] = {}
        self._by_node: dict[str, dict[PodKey, PlacedPod]] = {}
        self._nodes: dict[str, Node] = {}
        self._censuses: list[Census] = []

    # Reading

    def __len__(self) -> int:
        """How many pods are cached."""
        return len(self._pods)

    def pod(self, key: PodKey) -> PlacedPod | None:
        """The pod, None where it is not (or no longer) known."""
        return self._pods.get(key)

    def pods(self) -> Iterator[PlacedPod]:
        """All pods."""
        return iter(self._pods.values())

    def pods_on(self, node: str) -> Iterator[PlacedPod]:
        """The pods that hold room on a node, which need not be known itself."""
        return iter(self._by_node.get(node, {}).values())

    def node(self, name: str) -> Node | None:
        """The node, None where it is not known."""
        return self._nodes.get(name)

    def nodes(self) -> Iterator[Node]:
        """All nodes."""
        return iter(self._nodes.values())

    # Nodes

    def put_node(self, node: Node) -> bool:
        """Add a node or take over its changes. Pods seen before their node are counted now.

        Returns:
            Whether anything changed that placement reads: a heartbeat alone changes nothing.

        Raises:
            NodeError: It cannot be read; nothing changed.
        """
        before = self._nodes.get(node.name)
        if before is not None and _facts(before) == _facts(node):
            self._nodes[node.name] = node
            slot = self.columns.slot(node.name)
            if slot is not None and before.status.images != node.status.images:
                self.columns.images.set(slot, node.status.images or ())
            return False
        known = self.columns.slot(node.name)
        slot = self.columns.put_node(node)
        self._nodes[node.name] = node
        if known is None:
            for placed in self._by_node.get(node.name, {}).values():
                self._settle(placed, slot)
        return True

    def remove_node(self, name: str) -> None:
        """Forget a node. Its pods stay known until they are deleted themselves."""
        if name not in self._nodes:
            return
        for placed in self._by_node.get(name, {}).values():
            self._unsettle(placed)
        self.columns.remove_node(name)
        del self._nodes[name]

    # Pods, as watched

    def put_pod(self, pod: Pod) -> PlacedPod:
        """Add a pod or take over its changes.

        Raises:
            RequestError: A quantity in it cannot be read; nothing changed.
        """
        shape = self._shapes.intern(pod)
        requests, scoring = _held(pod, shape)
        claims = claims_of(pod)
        key = pod.key
        placed = self._pods.get(key)
        if placed is None:
            placed = PlacedPod(pod, key, shape, requests, scoring, Phase.QUEUED, claims)
            placed.devices = device_uses(pod)
            self._pods[key] = placed
            self.workloads.add(placed)
            self._move(placed, pod.spec.node_name, _phase(pod))
            self._nominated(placed, "")
            return placed
        told = placed.pod.status.nominated_node_name
        if pod.spec.resource_claims:
            placed.devices = device_uses(pod)
        node, phase = pod.spec.node_name, _phase(pod)
        if not node and placed.phase is Phase.ASSUMED and phase is not Phase.TERMINATING:
            # The binding is on its way: what came is an older word, or a change of something else.
            node, phase = placed.node, Phase.ASSUMED
        elif placed.claims:
            self.volumes.forget(key)
        if (
            node == placed.node
            and (phase is Phase.TERMINATING) == (placed.phase is Phase.TERMINATING)
            and placed.claims == claims
            and placed.requests == requests
            and placed.scoring == scoring
            and (placed.shape is shape or _holds_as(placed.shape, shape))
        ):
            if placed.slot >= 0 and placed.pod.status.start_time != pod.status.start_time:
                self.pod_changes.touch(placed.slot)
            # A policy may count pods by their restarts, so those are part of what is counted.
            if placed.shape is shape and placed.pod.restarts == pod.restarts:
                placed.pod, placed.phase = pod, phase
            else:
                self._relabel(placed, pod, shape, phase)
            self._nominated(placed, told)
            return placed
        self._move(placed, "", Phase.QUEUED)
        self._reshape(placed, shape)
        placed.pod, placed.requests, placed.scoring, placed.claims = pod, requests, scoring, claims
        self._move(placed, node, phase)
        self._nominated(placed, told)
        return placed

    def remove_pod(self, key: PodKey) -> PlacedPod | None:
        """Forget a pod that is gone. Returns what was known of it, None where nothing was."""
        placed = self._pods.pop(key, None)
        if placed is not None:
            self._move(placed, "", placed.phase)
            self.volumes.forget(key)
            self.devices.forget(key)
            self.workloads.remove(placed)
            self.nominations.drop(key)
        return placed

    # What says which pods belong together

    def put_namespace(self, name: str, labels: Mapping[str, str] | None) -> bool:
        """Take over the labels of a namespace, None where it is gone. Returns whether that changed anything."""
        changed = self.namespaces.put(name, labels)
        if changed:
            self.tallies.relabelled(name)
        return changed

    def put_grouping(self, item: Grouping) -> None:
        """Take over a service or a workload, of which only its selector is kept."""
        self.memberships.put(item)

    def remove_grouping(self, item: Grouping) -> None:
        """Forget a service or a workload."""
        self.memberships.remove(item)

    # Our own decisions

    def assume(
        self,
        key: PodKey,
        node: str,
        volumes: VolumeBindings | None = None,
        devices: DeviceBindings | None = None,
    ) -> None:
        """Count the pod on the node at once, so that the next decision sees it.

        Args:
            key: The pod.
            node: Its node.
            volumes: What its claims get there; None where they have all, or it has none.
            devices: What its claims of devices get there; likewise.

        Raises:
            KeyError: The pod is not known.
            ValueError: It is not queued.
        """
        placed = self._pods[key]
        if placed.phase is not Phase.QUEUED or placed.node:
            raise ValueError(f"pod {key} is {placed.phase.value}, only a queued pod can be assumed")
        self._move(placed, node, Phase.ASSUMED)
        if volumes is not None:
            self.volumes.assume(key, volumes)
        if devices is not None:
            self.devices.assume(key, devices)
        self.nominations.drop(key)

    def forget(self, key: PodKey, devices: bool = True) -> None:
        """Take back an assumption whose bind failed. A pod that was confirmed meanwhile stays where it is.

        Args:
            key: The pod.
            devices: Whether its claims did not get their devices for sure. Else those stay taken.
        """
        placed = self._pods.get(key)
        if devices:
            self.devices.forget(key)
        if placed is not None and placed.phase is Phase.ASSUMED:
            self._move(placed, "", Phase.QUEUED)
            self.volumes.forget(key)
            self.nominations.put(placed, placed.pod.status.nominated_node_name)

    # Suppositions

    def lift(self, placed: PlacedPod) -> None:
        """Count a pod on its node no longer, and nothing else. For those who suppose, and undo it."""
        self._unsettle(placed)

    def lower(self, placed: PlacedPod, slot: int) -> None:
        """Count a pod in a slot, and nothing else. For those who suppose, and undo it."""
        self._settle(placed, slot)

    # Counting

    def census(self, selects: Selects) -> Census:
        """A census of the placed pods that ``selects`` accepts, counted now and kept up until dropped."""
        census = Census(self.columns, selects)
        self.recount(census)
        self._censuses.append(census)
        return census

    def recount(self, census: Census) -> None:
        """Count anew, for a census whose selection changes with time. Costs a look at every pod."""
        census.clear()
        for placed in self._pods.values():
            if placed.counts and census.selects(placed):
                census.add(placed.slot, 1)

    def drop_census(self, census: Census) -> None:
        """Stop keeping a census up."""
        self._censuses.remove(census)

    def read_annotations(self, keys: Iterable[str]) -> None:
        """Which annotations tell shapes apart from now on; all pods get their shapes anew where that changed."""
        wanted = frozenset(keys)
        if wanted == self._shapes.annotations:
            return
        self._shapes = ShapeTable(wanted)
        for placed in self._pods.values():
            shape = self._shapes.intern(placed.pod)
            if placed.slot >= 0:
                leaving = placed.phase is Phase.TERMINATING
                self.tallies.count(placed.shape, placed.slot, -1, leaving)
                self.tallies.count(shape, placed.slot, 1, leaving)
            placed.shape = shape

    # Inside

    def _nominated(self, placed: PlacedPod, told: str) -> None:
        """Take over what the API server says of a nomination, where it says something new.

        What it says while our own is on its way to it is old.
        """
        if placed.phase is not Phase.QUEUED:
            self.nominations.drop(placed.key)
        elif placed.pod.status.nominated_node_name != told:
            self.nominations.put(placed, placed.pod.status.nominated_node_name)

    def _move(self, placed: PlacedPod, node: str, phase: Phase) -> None:
        """Take the pod from where it is to a node ("" for none), in a new phase, with all that is counted."""
        if placed.slot >= 0:
            self._unsettle(placed)
        if placed.node:
            on_node = self._by_node[placed.node]
            del on_node[placed.key]
            if not on_node:
                del self._by_node[placed.node]
        placed.node, placed.phase = node, phase
        if node:
            self._by_node.setdefault(node, {})[placed.key] = placed
            slot = self.columns.slot(node)
            if slot is not None:
                self._settle(placed, slot)

    def _relabel(self, placed: PlacedPod, pod: Pod, shape: Shape, phase: Phase) -> None:
        """Take over a pod that counts as another, but holds what it held: its node has as much room as before.

        The API server does that to each pod that is bound: it gets the zone and the region of its node as labels.
        """
        left = self._count(placed, -1) if placed.slot >= 0 else []
        self._reshape(placed, shape)
        placed.pod, placed.phase = pod, phase
        if placed.slot >= 0:
            came = self._count(placed, 1)
            self.pod_changes.touch(placed.slot)
            if came != left:  # a policy counts another number there
                self.columns.usage_changes.touch(placed.slot)

    def _reshape(self, placed: PlacedPod, shape: Shape) -> None:
        if placed.shape is not shape:
            self.workloads.remove(placed)
            placed.shape = shape
            self.workloads.add(placed)

    def _settle(self, placed: PlacedPod, slot: int) -> None:
        self.columns.hold(slot, placed.requests, placed.scoring, placed.shape.host_ports)
        placed.slot = slot
        self._count(placed, 1)
        if placed.claims or placed.shape.disks or placed.shape.inline:
            self.volumes.use(placed.claims, placed.shape.disks, slot, 1, placed.shape.inline)

    def _unsettle(self, placed: PlacedPod) -> None:
        if placed.claims or placed.shape.disks or placed.shape.inline:
            self.volumes.use(placed.claims, placed.shape.disks, placed.slot, -1, placed.shape.inline)
        self._count(placed, -1)
        self.columns.release(placed.slot, placed.requests, placed.scoring, placed.shape.host_ports)
        placed.slot = -1

    def _count(self, placed: PlacedPod, number: int) -> list[Census]:
        """Count the pod in its slot. Returns the censuses that it is in."""
        self.tallies.count(placed.shape, placed.slot, number, placed.phase is Phase.TERMINATING)
        if not placed.counts:
            return []
        self.workloads.count(placed, number)
        counting = [census for census in self._censuses if census.selects(placed)]
        for census in counting:
            census.add(placed.slot, number)
        return counting


def _facts(node: Node) -> tuple[object, ...]:
    """All of a node that has a column."""
    metadata = node.metadata
    return metadata.labels, metadata.creation_timestamp, node.spec, node.status.allocatable, node.ready


def _phase(pod: Pod) -> Phase:
    if pod.metadata.deletion_timestamp is not None:
        return Phase.TERMINATING
    return Phase.BOUND if pod.spec.node_name else Phase.QUEUED


def _holds_as(one: Shape, other: Shape) -> bool:
    """Whether pods of both take the same of a node beside what they request."""
    return one.host_ports == other.host_ports and one.disks == other.disks and one.inline == other.inline


def _held(pod: Pod, shape: Shape) -> tuple[Mapping[str, int], tuple[int, int]]:
    """What the pod holds on its node: its shape's requests, unless the kubelet tells of a resize."""
    status = pod.status
    if status.container_statuses or status.init_container_statuses or status.resources is not None:
        return pod_requests(pod), scoring_requests(pod)
    return shape.requests, shape.scoring
