"""The cluster protocol on a real API server."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

import msgspec

from engine.clock import Clock, SystemClock, utc
from engine.cluster import wire
from engine.cluster.ahead import ListsAhead
from engine.cluster.configuration import find_credentials
from engine.cluster.errors import ApiError, Expired, Unreachable, other_value
from engine.cluster.protocol import ClusterEvent, LeaseRecord, Listing, Object, ResourceKind, WatchEvent
from engine.cluster.transport import Answer, Stream, Transport
from engine.model.device_uses import DeviceMapping
from engine.model.devices import Allocation, ResourceClaim
from engine.model.objects import Condition, Pod, PodKey
from engine.model.storage import PersistentVolume, PersistentVolumeClaim

PAGE = 500
LIST_RESTARTS = 3
SILENCE_SECONDS = 15.0  # beyond a watch's own timeout

_PATHS = {
    ResourceKind.PODS: "/api/v1/pods",
    ResourceKind.NODES: "/api/v1/nodes",
    ResourceKind.NAMESPACES: "/api/v1/namespaces",
    ResourceKind.SERVICES: "/api/v1/services",
    ResourceKind.REPLICATION_CONTROLLERS: "/api/v1/replicationcontrollers",
    ResourceKind.REPLICA_SETS: "/apis/apps/v1/replicasets",
    ResourceKind.STATEFUL_SETS: "/apis/apps/v1/statefulsets",
    ResourceKind.BUDGETS: "/apis/policy/v1/poddisruptionbudgets",
    ResourceKind.CLAIMS: "/api/v1/persistentvolumeclaims",
    ResourceKind.VOLUMES: "/api/v1/persistentvolumes",
    ResourceKind.CLASSES: "/apis/storage.k8s.io/v1/storageclasses",
    ResourceKind.CSI_NODES: "/apis/storage.k8s.io/v1/csinodes",
    ResourceKind.CSI_DRIVERS: "/apis/storage.k8s.io/v1/csidrivers",
    ResourceKind.CSI_CAPACITIES: "/apis/storage.k8s.io/v1/csistoragecapacities",
    ResourceKind.ATTACHMENTS: "/apis/storage.k8s.io/v1/volumeattachments",
    ResourceKind.DEVICE_CLASSES: "/apis/resource.k8s.io/v1/deviceclasses",
    ResourceKind.DEVICE_SLICES: "/apis/resource.k8s.io/v1/resourceslices",
    ResourceKind.DEVICE_CLAIMS: "/apis/resource.k8s.io/v1/resourceclaims",
}
_PRIORITY_CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
_SELECTORS = {ResourceKind.PODS: "status.phase!=Succeeded,status.phase!=Failed"}


class _Events(Iterator[WatchEvent]):
    """The events of a watch. Ended, closed or dropped, it gives its connection up, even if nobody ever read it."""

    def __init__(self, events: Iterator[WatchEvent], end: Callable[[], None]) -> None:
        self._events = events
        self._end: Callable[[], None] | None = end

    def __next__(self) -> WatchEvent:
        try:
            return next(self._events)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the watch."""
        end, self._end = self._end, None
        if end is not None:
            end()

    def __del__(self) -> None:
        self.close()


class ApiCluster:
    """A Kubernetes cluster through its API server; see `engine.cluster.protocol.Cluster` for the methods.

    Every method may be called from several threads; each thread keeps a connection of its own.

    Args:
        transport: The way to the server.
        instance: Which of several Berths this is, in events.
        clock: Says when devices are given.
    """

    def __init__(self, transport: Transport, instance: str = "", clock: Clock | None = None) -> None:
        self._transport = transport
        self._clock = clock or SystemClock()
        self._instance = (instance or f"berth-{socket.gethostname()}")[:128]
        self._lock = threading.Lock()
        self._streams: set[Stream] = set()
        self._interrupted = False
        self._ahead = ListsAhead(self._list)

    def server_version(self) -> str:
        """The server's version, such as ``v1.36.3``. The cheapest proof that it is there and lets us in."""
        answer = self._send("GET", "/version")
        try:
            return str(msgspec.json.decode(answer.body)["gitVersion"])
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            raise Unreachable(f"{self._transport.access.url}: /version is not an API server's") from error

    def get(self, target: str) -> bytes:
        """The body of a GET, for what the protocol has no method for."""
        return self._send("GET", target).body

    def list_ahead(self, kinds: Iterable[ResourceKind]) -> None:
        """Ask for lists now that `list` is going to be called for soon, once each."""
        self._ahead.begin(kinds)

    def list(self, kind: ResourceKind) -> Listing:
        """All objects of the kind, in pages; a token that expires on the way restarts the list."""
        asked = self._ahead.take(kind)
        return self._list(kind) if asked is None else asked

    def _list(self, kind: ResourceKind) -> Listing:
        for restart in range(LIST_RESTARTS):
            # A list that does not get to its end in time is asked for as a whole at last, as client-go's pager does.
            size = PAGE if restart < LIST_RESTARTS - 1 else 0
            with contextlib.suppress(Expired):
                return self._list_pages(kind, size)
        raise Expired(f"the list of {kind.value} expired {LIST_RESTARTS} times before its end")

    def _list_pages(self, kind: ResourceKind, size: int) -> Listing:
        items: list[Object] = []
        token = ""
        while True:
            query = {"limit": str(size)} if size else {}
            if kind in _SELECTORS:
                query["fieldSelector"] = _SELECTORS[kind]
            if token:
                query["continue"] = token
            answer = self._send("GET", f"{_PATHS[kind]}?{urlencode(query)}")
            page, version, token = wire.decode_page(kind, answer.body)
            items.extend(page)
            if not token:
                return Listing(tuple(items), version)

    def watch(self, kind: ResourceKind, resource_version: str, timeout: float) -> Iterator[WatchEvent]:
        """Events after the version. The watch stands when this returns; refusals are raised here, not on reading.

        Args:
            kind: What to watch.
            resource_version: Where to begin.
            timeout: Seconds, after which the server ends the watch; rounded up.
        """
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(max(1, int(timeout + 0.999))),
        }
        if kind in _SELECTORS:
            query["fieldSelector"] = _SELECTORS[kind]
        opened = self._transport.stream(f"{_PATHS[kind]}?{urlencode(query)}", timeout + SILENCE_SECONDS)
        if isinstance(opened, Answer):
            access = self._transport.access
            raise wire.error_of(opened, access.url, access.origin)
        with self._lock:
            self._streams.add(opened)
            interrupted = self._interrupted
        if interrupted:
            opened.interrupt()
        return _Events(self._read(kind, opened), lambda: self._end(opened))

    def _read(self, kind: ResourceKind, stream: Stream) -> Iterator[WatchEvent]:
        try:
            yield from wire.decode_events(kind, stream.lines())
        except Unreachable:
            if not self._interrupted:
                raise

    def _end(self, stream: Stream) -> None:
        with self._lock:
            self._streams.discard(stream)
        stream.close()

    def get_pod(self, namespace: str, name: str) -> Pod | None:
        """The pod as it is now, None where there is none."""
        try:
            return wire.decode_pod(self._send("GET", _pod(namespace, name)).body)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def get_manifest(self, namespace: str, name: str) -> Mapping[str, object] | None:
        """The pod as the server's JSON, None where there is none."""
        try:
            return wire.decode_manifest(self._send("GET", _pod(namespace, name)).body)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def create_pod(self, manifest: Mapping[str, object]) -> Pod:
        """Create the pod of a manifest; the pod as the server made it."""
        namespace, body = wire.creation(manifest)
        return wire.decode_pod(self._send("POST", _pod(namespace, ""), body).body)

    def ensure_priority_class(self, name: str, value: int, description: str) -> None:
        """See to it that the priority class is there, with that value."""
        found = self._priority_value(name)
        if found is None:
            try:
                self._send("POST", _PRIORITY_CLASSES, wire.priority_class(name, value, description))
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
                found = self._priority_value(name)  # made by somebody else, or by us, and the answer was lost
        if found is not None and found != value:
            raise other_value(name, found, value)

    def _priority_value(self, name: str) -> int | None:
        try:
            return wire.decode_priority(self._send("GET", f"{_PRIORITY_CLASSES}/{quote(name, '')}").body)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def bind(self, pod: PodKey, node: str) -> None:
        """Bind the pod to the node; the uid is a precondition."""
        self._send("POST", _pod(pod.namespace, pod.name) + "/binding", wire.binding(pod, node))

    def evict(self, pod: PodKey, grace_seconds: int | None = None) -> None:
        """Evict the pod; 429 where a disruption budget forbids it now."""
        self._send("POST", _pod(pod.namespace, pod.name) + "/eviction", wire.eviction(pod, grace_seconds))

    def patch_pod_condition(self, pod: PodKey, condition: Condition) -> None:
        """Set one condition; the uid is a precondition."""
        self._patch_status(pod, wire.condition_patch(pod, condition))

    def delete_pod(self, pod: PodKey, grace_seconds: int | None = None) -> None:
        """Delete the pod; the uid is a precondition."""
        self._send("DELETE", _pod(pod.namespace, pod.name), wire.deletion(pod, grace_seconds))

    def nominate(self, pod: PodKey, node: str) -> None:
        """Set the node that is promised to the pod, "" for none; the uid is a precondition."""
        self._patch_status(pod, wire.nomination_patch(pod, node))

    def _patch_status(self, pod: PodKey, body: bytes) -> None:
        try:
            self._send("PATCH", _pod(pod.namespace, pod.name) + "/status", body, wire.MERGE)
        except ApiError as error:
            # Of a patch, the server says of another uid that the field is immutable; of all else it says conflict.
            if error.status == 422 and "metadata.uid" in error.message:
                raise ApiError(409, "Conflict", f"another pod is called {pod} now") from error
            raise

    def get_claim(self, namespace: str, name: str) -> PersistentVolumeClaim | None:
        """The claim as it is now, None where there is none."""
        try:
            return wire.decode_claim(self._send("GET", _claim(namespace, name)).body)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def get_volume(self, name: str) -> PersistentVolume | None:
        """The volume as it is now, None where there is none."""
        try:
            return wire.decode_volume(self._send("GET", _volume(name)).body)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def give_volume(self, volume: PersistentVolume, claim: PersistentVolumeClaim) -> PersistentVolume:
        """Reserve the volume for the claim; its uid and version are preconditions."""
        body = wire.claim_reference_patch(volume, claim)
        return wire.decode_volume(self._patch(_volume(volume.metadata.name), body, "volume").body)

    def select_node(self, claim: PersistentVolumeClaim, node: str) -> PersistentVolumeClaim:
        """Ask for a volume to be made for the claim; its uid and version are preconditions."""
        body = wire.selected_node_patch(claim, node)
        return wire.decode_claim(self._patch(_claim(*claim.name), body, "claim").body)

    def get_resource_claim(self, namespace: str, name: str) -> ResourceClaim | None:
        """The claim of devices as it is now, None where there is none."""
        try:
            return wire.decode_resource_claim(self._send("GET", _resource_claim(namespace, name)).body)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def reserve_resource_claim(
        self, claim: ResourceClaim, pod: PodKey, allocation: Allocation | None
    ) -> ResourceClaim:
        """Let the pod use the claim, with what it is to get; its uid and version are preconditions."""
        path = _resource_claim(*claim.name)
        if allocation is not None:
            body = wire.protection_patch(claim)
            claim = wire.decode_resource_claim(self._patch(path, body, "resource claim").body)
        body = wire.reservation_patch(claim, pod, allocation, utc(self._clock.now()))
        return wire.decode_resource_claim(self._patch(f"{path}/status", body, "resource claim").body)

    def create_resource_claim(self, claim: ResourceClaim) -> ResourceClaim:
        """Make the claim of devices; 409 where one of its name is there."""
        path = _resource_claims(claim.metadata.namespace)
        return wire.decode_resource_claim(self._send("POST", path, wire.resource_claim(claim)).body)

    def delete_resource_claim(self, claim: ResourceClaim) -> None:
        """Delete the claim of devices, whatever it has; its uid and version are preconditions."""
        path = _resource_claim(*claim.name)
        self._patch(path, wire.unprotection_patch(claim), "resource claim")
        try:
            self._send("DELETE", path, wire.claim_deletion(claim))
        except ApiError as error:
            if error.status != 404:  # the last that kept it may have been what was taken off
                raise

    def tell_extended_claim(self, pod: PodKey, claim: str, mappings: Sequence[DeviceMapping]) -> None:
        """Say in the pod's status which claim has its extended resources; the uid is a precondition."""
        self._patch_status(pod, wire.extended_claim_patch(pod, claim, mappings))

    def release_resource_claim(self, claim: ResourceClaim) -> ResourceClaim:
        """Take the claim's devices away, and its pods; its uid and version are preconditions."""
        path, body = _resource_claim(*claim.name), wire.release_patch(claim)
        return wire.decode_resource_claim(self._patch(f"{path}/status", body, "resource claim").body)

    def _patch(self, path: str, body: bytes, what: str) -> Answer:
        try:
            return self._send("PATCH", path, body, wire.MERGE)
        except ApiError as error:
            # As for pods: another uid is called an immutable field.
            if error.status == 422 and "metadata.uid" in error.message:
                raise ApiError(409, "Conflict", f"another {what} has that name now") from error
            raise

    def post_event(self, event: ClusterEvent) -> None:
        """Record an Event. One that is there already (its first answer was lost) is no error."""
        namespace, body = wire.event(event, self._instance)
        try:
            self._send("POST", f"/apis/events.k8s.io/v1/namespaces/{quote(namespace, '')}/events", body)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise

    def get_lease(self, namespace: str, name: str) -> LeaseRecord | None:
        """The lease, None where there is none."""
        try:
            return wire.decode_lease(self._send("GET", _lease(namespace, name)).body)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def put_lease(self, namespace: str, name: str, record: LeaseRecord) -> LeaseRecord:
        """Create the lease, or replace the version that the record names."""
        method, path = ("PUT", _lease(namespace, name)) if record.version else ("POST", _lease(namespace, ""))
        return wire.decode_lease(self._send(method, path, wire.lease(namespace, name, record)).body)

    def interrupt_watches(self) -> None:
        """End all watches at once, and each later one as it begins: for shutting down. Other calls go on."""
        with self._lock:
            self._interrupted = True
            streams = list(self._streams)
        for stream in streams:
            stream.interrupt()

    def close(self) -> None:
        """End the watches and close all connections. Requests on their way fail as Unreachable."""
        self.interrupt_watches()
        self._transport.close()

    def _send(
        self, method: str, target: str, body: bytes | None = None, content_type: str = wire.JSON
    ) -> Answer:
        answer = self._transport.request(method, target, body, content_type)
        if 200 <= answer.status < 300 and answer.content_type == wire.JSON:
            return answer
        access = self._transport.access
        return wire.check_success(answer, access.url, access.origin)


def _pod(namespace: str, name: str) -> str:
    path = f"/api/v1/namespaces/{quote(namespace, '')}/pods"
    return f"{path}/{quote(name, '')}" if name else path


def _claim(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{quote(namespace, '')}/persistentvolumeclaims/{quote(name, '')}"


def _resource_claims(namespace: str) -> str:
    return f"/apis/resource.k8s.io/v1/namespaces/{quote(namespace, '')}/resourceclaims"


def _resource_claim(namespace: str, name: str) -> str:
    return f"/apis/resource.k8s.io/v1/namespaces/{quote(namespace, '')}/resourceclaims/{quote(name, '')}"


def _volume(name: str) -> str:
    return f"/api/v1/persistentvolumes/{quote(name, '')}"


def _lease(namespace: str, name: str) -> str:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{quote(namespace, '')}/leases"
    return f"{path}/{quote(name, '')}" if name else path


def connect(kubeconfig: Path | None, context: str | None = None, clock: Clock | None = None) -> ApiCluster:
    """The cluster of a kubeconfig, or of the pod that we run in. Nothing is sent yet.

    Args:
        kubeconfig: The file; None looks at ``$KUBECONFIG``, ``~/.kube/config`` and the pod's service account.
        context: A context's name, None for the current one.
        clock: For renewing credentials, forgetting idle connections, and saying when devices are given.

    Raises:
        ConfigurationError: Names the file, the field and the remedy.
    """
    credentials = find_credentials(kubeconfig, context, clock)
    instance = f"berth-{os.environ.get('HOSTNAME') or socket.gethostname()}-{random.getrandbits(32):08x}"
    return ApiCluster(Transport(credentials, user_agent="berth/0.1", clock=clock), instance, clock)
