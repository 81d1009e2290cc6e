"""The simulated cluster: `engine.cluster.protocol.Cluster` in virtual time, and what can happen to it.

Who drives it alternates between asking it (list, watch, bind, …) and letting time pass::

    cluster = SimulatedCluster(Options(seed=1))
    cluster.add_node(node)
    cluster.apply(deployment)
    while (due := cluster.next_time()) is not None and due <= until:
        cluster.run_until(due)      # controllers make pods, kubelets start them, nodes fail
        …                           # watch, decide, bind

Not safe for several threads.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from engine.clock import utc
from engine.cluster.protocol import Change, ClusterEvent, LeaseRecord, Listing, ResourceKind, WatchEvent
from engine.cluster.simulated.admission import PodAdmission
from engine.cluster.simulated.agenda import Agenda, Appointment
from engine.cluster.simulated.applying import Applying
from engine.cluster.simulated.budgets import Budgets
from engine.cluster.simulated.clock import VirtualClock
from engine.cluster.simulated.controllers import ALL, Controller, Surroundings
from engine.cluster.simulated.devices import DEVICE_KINDS, ClaimController, DeviceRegistry
from engine.cluster.simulated.draining import Draining
from engine.cluster.simulated.eviction import TaintEviction
from engine.cluster.simulated.garbage import GarbageCollection
from engine.cluster.simulated.kubelet import Kubelets
from engine.cluster.simulated.leases import Leases
from engine.cluster.simulated.lifecycle import NodeLifecycle
from engine.cluster.simulated.options import Options
from engine.cluster.simulated.pod_making import PodMaking
from engine.cluster.simulated.provisioning import VolumeControllers
from engine.cluster.simulated.refusals import bad_request, not_found
from engine.cluster.simulated.registry import PodRegistry
from engine.cluster.simulated.storage import STORAGE_KINDS, StorageRegistry
from engine.cluster.simulated.store import Store, ended
from engine.manifests.kinds import Object
from engine.manifests.objects import DaemonSet, Job, Workload
from engine.model.device_uses import DeviceMapping
from engine.model.devices import Allocation, ResourceClaim
from engine.model.objects import Condition, Node, Pod, PodKey, Taint
from engine.model.shape import workload
from engine.model.storage import ClaimName, PersistentVolume, PersistentVolumeClaim


@dataclass(frozen=True, slots=True)
class Note:
    """Something about the simulation itself that whoever reads its outcome should know.

    Attributes:
        time: Seconds since the epoch.
        regarding: The object, as ``kind namespace/name``.
        text: A clause, lower case.
    """

    time: float
    regarding: str
    text: str

    def __str__(self) -> str:
        return f"{self.regarding}: {self.text}"


class SimulatedCluster:
    """A cluster without machines.

    Args:
        options: How its components are set.
        clock: Its time; one of its own by default.

    Attributes:
        clock: Virtual time. Pass it to whatever needs a clock.
        events: Every Event that was posted or that a component recorded, in order.
        notes: What the simulation has to say about itself.
        options: As given.
    """

    def __init__(self, options: Options | None = None, clock: VirtualClock | None = None) -> None:
        self.options = options or Options()
        self.clock = clock or VirtualClock()
        self.events: builtins.list[ClusterEvent] = []
        self.notes: builtins.list[Note] = []
        self._noted: set[tuple[str, str]] = set()
        self._cut: set[str] = set()
        self._agenda = Agenda(self.clock)
        self._store = Store(self.options.history, self.options.seed)
        self._leases = Leases(self._store)
        self._budgets = Budgets(self._store, self._agenda)
        admission = PodAdmission(self._store.priority_classes, self.options.default_toleration)
        self._registry = PodRegistry(self._store, self._agenda, admission, self._wanted)
        post = self.events.append
        self._kubelets = Kubelets(self._store, self._agenda, self._registry, self.options, post)
        self._lifecycle = NodeLifecycle(self._store, self._agenda, self._kubelets, self.options, post)
        self._storage = StorageRegistry(self._store, self._agenda)
        self._devices = DeviceRegistry(self._store, self._agenda)
        self._applying = Applying(
            self._store,
            self._agenda,
            self._registry,
            self._lifecycle,
            self._kubelets,
            self._storage,
            self._devices,
        )
        self._volumes = VolumeControllers(self._store, self._storage, self._agenda, self.options, self.note)
        self._claims = ClaimController(self._store, self._devices, self._agenda, self.note)
        self._eviction = TaintEviction(self._store, self._agenda, self._registry, post)
        self._garbage = GarbageCollection(self._store, self._agenda, self._registry, self.options)
        surroundings = Surroundings(self._store, self._agenda, self._registry, self._storage, self.note)
        self._draining = Draining(self._store, self._agenda, self.evict, self.note)
        self._made = PodMaking(self._store, self._registry)
        self._controllers: tuple[Controller, ...] = tuple(controller(surroundings) for controller in ALL)

    # Time

    def next_time(self) -> float | None:
        """When the next thing is due, in the clock's seconds since the epoch; None where nothing ever is."""
        return self._agenda.next_time()

    def run_until(self, time: float) -> None:
        """Let everything happen that is due until then, in order, and leave the clock there."""
        self._agenda.run_until(time)

    def at(self, time: float, action: Callable[[], None]) -> Appointment:
        """Have something happen at a time: part of a scenario, say. It can be cancelled."""
        return self._agenda.at(time, action)

    # engine.cluster.protocol.Cluster

    def list(self, kind: ResourceKind) -> Listing:
        """All objects of the kind; pods that have ended are left out."""
        store = self._store
        version = str(store.version)
        if kind is ResourceKind.NODES:
            return Listing(tuple(store.nodes.values()), version)
        if kind is not ResourceKind.PODS:
            return Listing(tuple(store.shown.get(kind, {}).values()), version)
        return Listing(tuple(pod for pod in store.pods.values() if not ended(pod)), version)

    def watch(self, kind: ResourceKind, resource_version: str, timeout: float = 0.0) -> Iterator[WatchEvent]:  # noqa: ARG002
        """Events after the version until none is left; it never waits, whatever the timeout.

        Version "0" or none at all begins with everything that is, as ADDED.

        Raises:
            Expired: The version is too old.
            ApiError: 400 where it is no version.
        """
        history = self._store.histories[kind]
        if resource_version in ("", "0"):
            return self._everything_then_watch(kind)
        if not resource_version.isdecimal():
            raise bad_request(f'invalid resource version "{resource_version}"')
        return history.read(history.seek(int(resource_version)))

    def _everything_then_watch(self, kind: ResourceKind) -> Iterator[WatchEvent]:
        listing = self.list(kind)
        history = self._store.histories[kind]
        position = history.seek(self._store.version)
        for item in listing.items:
            yield WatchEvent(Change.ADDED, item, item.metadata.resource_version)
        yield from history.read(position)

    def get_pod(self, namespace: str, name: str) -> Pod | None:
        """The pod as it is now, also one that has ended; None where there is none."""
        return self._store.pods.get((namespace, name))

    def get_manifest(self, namespace: str, name: str) -> Mapping[str, object] | None:
        """The pod as JSON, as far as it is kept; None where there is none."""
        return self._made.manifest(namespace, name)

    def create_pod(self, manifest: Mapping[str, object]) -> Pod:
        """Create the pod of a manifest. Refusals as the API server has them; namespaces are not asked for."""
        return self._made.create(manifest)

    def ensure_priority_class(self, name: str, value: int, description: str) -> None:  # noqa: ARG002
        """See to it that the priority class is there, with that value; the description is not kept."""
        self._made.ensure_priority_class(name, value)

    def bind(self, pod: PodKey, node: str) -> None:
        """Bind the pod to the node. Refusals are those of `engine.cluster.protocol.Cluster.bind`."""
        self._registry.bind(pod, node)

    def evict(self, pod: PodKey, grace_seconds: int | None = None) -> None:
        """Evict the pod. ApiError 429 where a disruption budget forbids it now."""
        self._budgets.check(pod)
        self._registry.delete((pod.namespace, pod.name), grace_seconds, pod.uid or None)

    def delete_pod(self, pod: PodKey, grace_seconds: int | None = None) -> None:
        """Delete the pod; the uid is a precondition."""
        self._registry.delete((pod.namespace, pod.name), grace_seconds, pod.uid or None)

    def nominate(self, pod: PodKey, node: str) -> None:
        """Set the node that is promised to the pod, "" for none."""
        self._registry.nominate(pod, node)

    def patch_pod_condition(self, pod: PodKey, condition: Condition) -> None:
        """Set one condition; its transition time moves only with its status."""
        self._registry.set_condition(pod, condition)

    def get_claim(self, namespace: str, name: str) -> PersistentVolumeClaim | None:
        """The claim as it is now, None where there is none."""
        return self._storage.claim(ClaimName(namespace, name))

    def get_volume(self, name: str) -> PersistentVolume | None:
        """The volume as it is now, None where there is none."""
        return self._storage.volume(name)

    def give_volume(self, volume: PersistentVolume, claim: PersistentVolumeClaim) -> PersistentVolume:
        """Reserve the volume for the claim; its uid and version are preconditions."""
        return self._storage.give_volume(volume, claim)

    def select_node(self, claim: PersistentVolumeClaim, node: str) -> PersistentVolumeClaim:
        """Ask for a volume to be made for the claim; its uid and version are preconditions."""
        return self._storage.select_node(claim, node)

    def get_resource_claim(self, namespace: str, name: str) -> ResourceClaim | None:
        """The claim of devices as it is now, None where there is none."""
        return self._devices.claim(ClaimName(namespace, name))

    def reserve_resource_claim(
        self, claim: ResourceClaim, pod: PodKey, allocation: Allocation | None
    ) -> ResourceClaim:
        """Let the pod use the claim, with what it is to get; its uid and version are preconditions."""
        return self._devices.reserve(claim, pod, allocation)

    def release_resource_claim(self, claim: ResourceClaim) -> ResourceClaim:
        """Take the claim's devices away, and its pods; its uid and version are preconditions."""
        return self._devices.release(claim)

    def create_resource_claim(self, claim: ResourceClaim) -> ResourceClaim:
        """Make the claim of devices; the claim as it is then."""
        return self._devices.create(claim)

    def delete_resource_claim(self, claim: ResourceClaim) -> None:
        """Delete the claim of devices, whatever it has; its uid and version are preconditions."""
        self._devices.discard(claim)

    def tell_extended_claim(self, pod: PodKey, claim: str, mappings: Sequence[DeviceMapping]) -> None:
        """Say in the pod's status which claim has what it asks for; the uid is a precondition."""
        self._registry.tell_extended_claim(pod, claim, mappings)

    def post_event(self, event: ClusterEvent) -> None:
        """Record an Event."""
        self.events.append(event)

    def get_lease(self, namespace: str, name: str) -> LeaseRecord | None:
        """The lease, None where there is none."""
        return self._leases.get(namespace, name)

    def put_lease(self, namespace: str, name: str, record: LeaseRecord) -> LeaseRecord:
        """Create or replace the lease. ApiError 409 where somebody else was faster."""
        return self._leases.put(namespace, name, record)

    # What an administrator does

    def apply(self, item: Object) -> None:
        """Create the object, or change the one of its name to it, as ``kubectl apply`` does.

        Raises:
            ApiError: The API server would refuse it.
        """
        self._applying.apply(item)

    def add_node(self, node: Node) -> None:
        """A node joins: it is heard unless its own Ready condition says that it is not.

        Raises:
            ApiError: 409 where the name is taken.
        """
        self._applying.add_node(node)

    def fail_node(self, name: str, cut: bool = False) -> None:
        """The node falls silent: its pods are neither started, ended nor let go of until it is back.

        Args:
            name: Its name.
            cut: Only its link is cut, so that its containers run on unseen; else it crashed, and they will have to
                start anew. Nobody can tell the one from the other before it is back.
        """
        self._node(name)
        self._lifecycle.fail(name)
        (self._cut.add if cut else self._cut.discard)(name)

    def recover_node(self, name: str) -> None:
        """The node is heard again."""
        self._node(name)
        restarted = name not in self._cut
        self._cut.discard(name)
        self._lifecycle.recover(name, restarted)

    def remove_node(self, name: str) -> None:
        """The node is gone for good; its pods are collected after the quarantine."""
        self._node(name)
        self._cut.discard(name)
        self._store.remove_node(name)

    def cordon(self, name: str, unschedulable: bool = True) -> None:
        """Close the node to new pods, or with False open it again."""
        node = self._node(name)
        if node.spec.unschedulable != unschedulable:
            self._lifecycle.rewrite(replace(node, spec=replace(node.spec, unschedulable=unschedulable)))

    def drain(self, name: str) -> None:
        """Cordon the node and evict its pods; see `engine.cluster.simulated.draining` for what stays."""
        self.cordon(name)
        self._draining.drain(name)

    def label_node(self, name: str, labels: Mapping[str, str | None]) -> None:
        """Set labels of the node; None takes one away."""
        node = self._node(name)
        merged: dict[str, str | None] = {**(node.metadata.labels or {}), **labels}
        kept = {key: value for key, value in merged.items() if value is not None}
        if kept != (node.metadata.labels or {}):
            self._store.put_node(replace(node, metadata=replace(node.metadata, labels=kept)))

    def taint_node(self, name: str, add: Iterable[Taint] = (), remove: Iterable[str] = ()) -> None:
        """Change the node's taints.

        Args:
            name: Its name.
            add: Taints; one of the same key and effect gives way.
            remove: Keys, all of whose taints go.
        """
        node = self._node(name)
        added, keys = tuple(add), frozenset(remove)
        replaced = {(taint.key, taint.effect) for taint in added}
        kept = tuple(
            taint
            for taint in node.spec.taints or ()
            if taint.key not in keys and (taint.key, taint.effect) not in replaced
        )
        self._lifecycle.rewrite(replace(node, spec=replace(node.spec, taints=(*kept, *added) or None)))

    def nodes(self) -> tuple[Node, ...]:
        """All nodes, oldest first."""
        return tuple(self._store.nodes.values())

    def set_node_condition(self, name: str, condition: Condition) -> None:
        """Report a condition of the node, such as MemoryPressure; the taint that goes with it follows."""
        node = self._node(name)
        others = tuple(c for c in node.status.conditions or () if c.type != condition.type)
        condition = replace(condition, last_transition_time=utc(self.clock.now()))
        self._lifecycle.rewrite(replace(node, status=replace(node.status, conditions=(*others, condition))))

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete a pod or a workload and what it made, as ``kubectl delete`` does.

        Raises:
            ApiError: 404 where there is none.
        """
        if kind == "Pod":
            self._registry.delete((namespace, name))
        elif kind in DEVICE_KINDS:
            self._devices.delete(DEVICE_KINDS[kind], namespace, name)
        elif kind in STORAGE_KINDS:
            self._storage.delete(STORAGE_KINDS[kind], namespace, name)
        else:
            self._workload(kind, namespace, name)
            self._store.remove_workload((kind, namespace, name))

    def scale(self, kind: str, namespace: str, name: str, replicas: int) -> None:
        """Set how many pods a workload wants; a Job's parallelism.

        Raises:
            ApiError: 404 where there is none; 400 for a DaemonSet, which has no such number.
        """
        found = self._workload(kind, namespace, name)
        if isinstance(found, DaemonSet):
            raise bad_request(f"a DaemonSet cannot be scaled: {name}")
        if isinstance(found, Job):
            self._store.put_workload(replace(found, spec=replace(found.spec, parallelism=replicas)))
        else:
            self._store.put_workload(replace(found, spec=replace(found.spec, replicas=replicas)))

    def add_pod(self, pod: Pod) -> Pod | None:
        """Create the pod; None where pods of its scheduler are left out. Refusals as in `apply`."""
        return self._registry.create(pod)

    def finish_pod(self, namespace: str, name: str, phase: str = "Succeeded") -> None:
        """Let the pod end, wherever it is: its phase becomes Succeeded, or Failed.

        Raises:
            ApiError: 404 where there is none.
        """
        pod = self._store.pods.get((namespace, name))
        if pod is None:
            raise not_found("pods", name)
        self._store.put_pod(replace(pod, status=replace(pod.status, phase=phase)))

    # What a reader of the outcome wants to see

    def pods(self) -> tuple[Pod, ...]:
        """All pods, also those that have ended, oldest first."""
        return tuple(self._store.pods.values())

    def workloads(self) -> tuple[Workload, ...]:
        """All workloads, oldest first."""
        return tuple(self._store.workloads.values())

    def compact(self) -> None:
        """Forget the watch histories, so that every version but the newest is expired."""
        for history in self._store.histories.values():
            history.compact(self._store.version)

    def note(self, regarding: str, text: str) -> None:
        """Add a note, once."""
        if (regarding, text) not in self._noted:
            self._noted.add((regarding, text))
            self.notes.append(Note(self.clock.now(), regarding, text))

    # Internals

    def _node(self, name: str) -> Node:
        node = self._store.nodes.get(name)
        if node is None:
            raise not_found("nodes", name)
        return node

    def _workload(self, kind: str, namespace: str, name: str) -> Workload:
        found = self._store.workloads.get((kind, namespace, name))
        if found is None:
            raise not_found(f"{kind.lower()}s", name)
        return found

    def _wanted(self, pod: Pod) -> bool:
        """Whether a new pod is taken in; notes who would have to place it where nobody does."""
        scheduler = pod.spec.scheduler_name
        if pod.spec.node_name:
            return True
        made_by = workload(pod)
        kind, name = made_by if made_by is not None else ("Pod", pod.metadata.name)
        regarding = f"{kind} {pod.metadata.namespace}/{name}"
        if scheduler in self.options.ignored_schedulers:
            self.note(regarding, f"left out, as its pods are for the scheduler {scheduler}")
            return False
        if self.options.schedulers and scheduler not in self.options.schedulers:
            self.note(regarding, f"stays pending, as no scheduler {scheduler} is part of the simulation")
        return True
