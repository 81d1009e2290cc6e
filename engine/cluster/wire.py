"""The API's JSON: what we send, and how answers, lists, events of watches and refusals are decoded."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Generic, TypeVar

import msgspec

from engine.cluster.errors import ApiError, ClusterError, Expired, Unreachable
from engine.cluster.protocol import Change, ClusterEvent, LeaseRecord, Object, ResourceKind, WatchEvent
from engine.cluster.transport import Answer
from engine.model.device_uses import DeviceMapping
from engine.model.devices import FINALIZER, Allocation, DeviceClass, ResourceClaim, ResourceSlice
from engine.model.objects import (
    Condition,
    Namespace,
    Node,
    ObjectMeta,
    Pod,
    PodDisruptionBudget,
    PodKey,
    ReplicaSet,
    ReplicationController,
    Service,
    StatefulSet,
    Struct,
)
from engine.model.storage import (
    BOUND_BY_CONTROLLER,
    SELECTED_NODE,
    CSIDriver,
    CSINode,
    CSIStorageCapacity,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeAttachment,
)

log = logging.getLogger(__name__)

CONTROLLER = "berth"
NOTE_BYTES = 1024  # events.k8s.io refuses a longer note
NAME_LENGTH = 253
JSON = "application/json"
MERGE = "application/strategic-merge-patch+json"

encode = msgspec.json.encode

Item = TypeVar("Item")


class _ListMeta(Struct, frozen=True):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _List(Struct, Generic[Item], frozen=True):
    metadata: _ListMeta
    items: tuple[Item, ...] | None = None


class _RawList(Struct, frozen=True):
    metadata: _ListMeta
    items: tuple[msgspec.Raw, ...] | None = None


class _Event(Struct, Generic[Item], frozen=True):
    type: str
    object: Item


class _RawEvent(Struct, frozen=True):
    type: str
    object: msgspec.Raw


class _Name(Struct, frozen=True):
    name: str = "?"
    namespace: str = ""
    resource_version: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class _Named(Struct, frozen=True):
    metadata: _Name = _Name()


class _StatusDetails(Struct, frozen=True):
    retry_after_seconds: float | None = None


class _Status(Struct, frozen=True):
    kind: str = ""
    code: int = 0
    reason: str = ""
    message: str = ""
    details: _StatusDetails | None = None


class _LeaseSpec(Struct, frozen=True):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: datetime | None = None
    renew_time: datetime | None = None
    lease_transitions: int | None = None


class _Lease(Struct, frozen=True):
    metadata: _Name
    spec: _LeaseSpec = _LeaseSpec()


class _Priority(Struct, frozen=True):
    value: int = 0


_TYPES: dict[ResourceKind, Any] = {
    ResourceKind.PODS: Pod,
    ResourceKind.NODES: Node,
    ResourceKind.NAMESPACES: Namespace,
    ResourceKind.SERVICES: Service,
    ResourceKind.REPLICATION_CONTROLLERS: ReplicationController,
    ResourceKind.REPLICA_SETS: ReplicaSet,
    ResourceKind.STATEFUL_SETS: StatefulSet,
    ResourceKind.BUDGETS: PodDisruptionBudget,
    ResourceKind.CLAIMS: PersistentVolumeClaim,
    ResourceKind.VOLUMES: PersistentVolume,
    ResourceKind.CLASSES: StorageClass,
    ResourceKind.CSI_NODES: CSINode,
    ResourceKind.CSI_DRIVERS: CSIDriver,
    ResourceKind.CSI_CAPACITIES: CSIStorageCapacity,
    ResourceKind.ATTACHMENTS: VolumeAttachment,
    ResourceKind.DEVICE_CLASSES: DeviceClass,
    ResourceKind.DEVICE_SLICES: ResourceSlice,
    ResourceKind.DEVICE_CLAIMS: ResourceClaim,
}
_OBJECTS: dict[ResourceKind, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(type_) for kind, type_ in _TYPES.items()
}
_LISTS: dict[ResourceKind, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(_List[type_])  # type: ignore[valid-type]
    for kind, type_ in _TYPES.items()
}
_EVENTS: dict[ResourceKind, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(_Event[type_])  # type: ignore[valid-type]
    for kind, type_ in _TYPES.items()
}
_RAW_LIST = msgspec.json.Decoder(_RawList)
_RAW_EVENT = msgspec.json.Decoder(_RawEvent)
_NAMED = msgspec.json.Decoder(_Named)
_STATUS = msgspec.json.Decoder(_Status)
_LEASE = msgspec.json.Decoder(_Lease)
_PRIORITY = msgspec.json.Decoder(_Priority)
_MANIFEST = msgspec.json.Decoder(dict[str, object])
_CHANGES = {change.value: change for change in Change}


def decode_pod(body: bytes) -> Pod:
    """One pod.

    Raises:
        Unreachable: It is not a pod that we understand.
    """
    try:
        return _OBJECTS[ResourceKind.PODS].decode(body)  # type: ignore[no-any-return]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreachable(f"pod {_name_of(body)} cannot be decoded: {error}") from error


def decode_manifest(body: bytes) -> dict[str, object]:
    """One pod, with all its fields as they are.

    Raises:
        Unreachable: It is no JSON object.
    """
    try:
        return _MANIFEST.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreachable(f"pod {_name_of(body)} cannot be decoded: {error}") from error


def decode_priority(body: bytes) -> int:
    """The value of one PriorityClass.

    Raises:
        Unreachable: It is not a priority class that we understand.
    """
    try:
        return _PRIORITY.decode(body).value
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreachable(f"priority class {_name_of(body)} cannot be decoded: {error}") from error


def decode_claim(body: bytes) -> PersistentVolumeClaim:
    """One claim.

    Raises:
        Unreachable: It is not a claim that we understand.
    """
    return _decoded(ResourceKind.CLAIMS, "claim", body)  # type: ignore[no-any-return]


def decode_volume(body: bytes) -> PersistentVolume:
    """One volume.

    Raises:
        Unreachable: It is not a volume that we understand.
    """
    return _decoded(ResourceKind.VOLUMES, "volume", body)  # type: ignore[no-any-return]


def decode_resource_claim(body: bytes) -> ResourceClaim:
    """One claim of devices.

    Raises:
        Unreachable: It is not a claim that we understand.
    """
    return _decoded(ResourceKind.DEVICE_CLAIMS, "resource claim", body)  # type: ignore[no-any-return]


def _decoded(kind: ResourceKind, what: str, body: bytes) -> Any:
    try:
        return _OBJECTS[kind].decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreachable(f"{what} {_name_of(body)} cannot be decoded: {error}") from error


def decode_page(kind: ResourceKind, body: bytes) -> tuple[tuple[Object, ...], str, str]:
    """One page of a list: its objects, the list's version, and the token of the next page ("" at the end).

    An object that cannot be decoded is logged with its name and left out.

    Raises:
        Unreachable: The body is not a list.
    """
    try:
        page = _LISTS[kind].decode(body)
        return page.items or (), page.metadata.resource_version, page.metadata.continue_
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        raw = _RAW_LIST.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreachable(f"the list of {kind.value} is not what an API server sends: {error}") from error
    decoded = tuple(item for one in raw.items or () if (item := _decode_or_log(kind, one)) is not None)
    return decoded, raw.metadata.resource_version, raw.metadata.continue_


def decode_events(kind: ResourceKind, lines: Iterator[bytes]) -> Iterator[WatchEvent]:
    """The events of a watch's lines.

    Raises:
        Expired: An ERROR event says that the version is too old.
        ApiError: An ERROR event says something else.
        Unreachable: A line is no event at all.
    """
    decode = _EVENTS[kind].decode
    for line in lines:
        try:
            event = decode(line)
            change = _CHANGES[event.type]
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError):
            if line.strip():
                yield from _decode_slowly(kind, line)
            continue
        found: Object = event.object
        version = found.metadata.resource_version
        yield WatchEvent(change, None if change is Change.BOOKMARK else found, version)


def _decode_slowly(kind: ResourceKind, line: bytes) -> Iterator[WatchEvent]:
    """A line that is not an ordinary event: an error, a broken object, or nothing that we know."""
    try:
        event = _RAW_EVENT.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreachable(f"the watch of {kind.value} sent what is no event: {error}") from error
    if event.type == "ERROR":
        status = _status_of(bytes(event.object))
        if status.code == 410:
            raise Expired(status.message)
        raise ApiError(status.code or 500, status.reason, status.message, _details_seconds(status))
    if event.type not in _CHANGES:
        log.warning("watch of %s: event of the unknown type %r skipped", kind.value, event.type)
        return
    if _decode_or_log(kind, event.object) is None:
        try:
            version = _NAMED.decode(event.object).metadata.resource_version
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        if version:  # so that the watch does not begin with the broken one again
            yield WatchEvent(Change.BOOKMARK, None, version)


def _decode_or_log(kind: ResourceKind, raw: msgspec.Raw) -> Object | None:
    try:
        return _OBJECTS[kind].decode(raw)  # type: ignore[no-any-return]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        log.error("%s %s cannot be decoded and is left out: %s", kind.value, _name_of(bytes(raw)), error)
        return None


def _name_of(body: bytes) -> str:
    try:
        return str(_NAMED.decode(body).metadata)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "without a name"


def error_of(answer: Answer, access_url: str, origin: str) -> ClusterError:
    """The exception for an answer that is not a success, with the remedy where there is one."""
    if 300 <= answer.status < 400:
        return ApiError(
            answer.status,
            "Redirect",
            f"{access_url} sends us on to {answer.location or 'nowhere'}: is that a proxy or a login page? "
            f"'server' in {origin} must be the API server itself",
        )
    status = _status_of(answer.body)
    retry_after = _header_seconds(answer.retry_after)
    if retry_after is None:
        retry_after = _details_seconds(status)
    message = status.message
    if status.kind != "Status":
        message = _plain(answer, access_url)
    match answer.status:
        case 401:
            message = (
                f"{access_url} does not accept our credentials ({message or 'no reason given'}); the token or the "
                f"certificate may have expired: renew it in {origin}"
            )
        case 403 | 422 if "is forbidden" in message and "cannot" in message and "resource" in message:
            # What is asked for single fields comes as a complaint about the fields.
            message = f"{message}; grant it to our service account, as deploy/rbac.yaml does"
            return ApiError(403, "Forbidden", message, retry_after)
        case 410:
            return Expired(message)
    return ApiError(answer.status, status.reason, message or "no message", retry_after)


def check_success(answer: Answer, access_url: str, origin: str) -> Answer:
    """The answer, where it is a success of an API server.

    Raises:
        ClusterError: It is a refusal, or comes from something else on the way.
    """
    if 200 <= answer.status < 300:
        # Anything else is a proxy's page, or a head that broke off, which http.client takes for a whole one.
        if answer.content_type.startswith(JSON):
            return answer
        raise Unreachable(_plain(answer, access_url))
    raise error_of(answer, access_url, origin)


def _plain(answer: Answer, access_url: str) -> str:
    """The sentence for an answer that is not the API's JSON."""
    excerpt = " ".join(answer.body[:200].decode("utf-8", "replace").split())
    if answer.content_type.startswith("text/plain"):
        return excerpt
    return (
        f"{access_url} answered with {answer.content_type or 'no content type'} instead of JSON; is something else "
        f"on the way? It says: {excerpt!r}"
    )


def _status_of(body: bytes) -> _Status:
    try:
        return _STATUS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Status()


def _details_seconds(status: _Status) -> float | None:
    seconds = status.details.retry_after_seconds if status.details else None
    return seconds if seconds else None  # 0 is Go's way of saying nothing


def _header_seconds(value: str | None) -> float | None:
    """Retry-After in seconds; the form with a date is not one that API servers use."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        return None


def binding(pod: PodKey, node: str) -> bytes:
    """A Binding; the uid makes the server refuse a pod that was made anew under the same name."""
    return encode(
        {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"namespace": pod.namespace, "name": pod.name, "uid": pod.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
    )


def eviction(pod: PodKey, grace_seconds: int | None) -> bytes:
    """An Eviction of exactly that pod."""
    options: dict[str, object] = {"preconditions": {"uid": pod.uid}}
    if grace_seconds is not None:
        options["gracePeriodSeconds"] = grace_seconds
    return encode(
        {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"namespace": pod.namespace, "name": pod.name},
            "deleteOptions": options,
        }
    )


def deletion(pod: PodKey, grace_seconds: int | None) -> bytes:
    """What goes with a DELETE of exactly that pod."""
    options: dict[str, object] = {"preconditions": {"uid": pod.uid}}
    if grace_seconds is not None:
        options["gracePeriodSeconds"] = grace_seconds
    return encode({"apiVersion": "v1", "kind": "DeleteOptions", **options})


def creation(manifest: Mapping[str, object]) -> tuple[str, bytes]:
    """The namespace of a pod's manifest, and the manifest as it is sent there."""
    metadata = manifest.get("metadata")
    namespace = metadata.get("namespace") if isinstance(metadata, Mapping) else None
    return str(namespace or "default"), encode({"apiVersion": "v1", "kind": "Pod", **manifest})


def priority_class(name: str, value: int, description: str) -> bytes:
    """A PriorityClass that preempts nothing and is nobody's default."""
    return encode(
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
            "globalDefault": False,
            "preemptionPolicy": "Never",
            "description": description,
        }
    )


def nomination_patch(pod: PodKey, node: str) -> bytes:
    """A merge patch of the node that is promised to the pod; null takes it away."""
    return encode({"metadata": {"uid": pod.uid}, "status": {"nominatedNodeName": node or None}})


def condition_patch(pod: PodKey, condition: Condition) -> bytes:
    """A strategic merge patch of one condition; conditions are merged by their type."""
    fields: dict[str, object] = {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
    }
    if condition.last_transition_time is not None:
        fields["lastTransitionTime"] = _time(condition.last_transition_time)
    return encode({"metadata": {"uid": pod.uid}, "status": {"conditions": [fields]}})


def claim_reference_patch(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bytes:
    """A merge patch that reserves a volume for a claim.

    A volume that its user reserved for the claim is not marked as bound by us: it stays reserved when it is freed.
    """
    metadata = _precondition(volume.metadata)
    if not volume.is_for(claim):
        metadata["annotations"] = {BOUND_BY_CONTROLLER: "yes"}
    reference = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": claim.metadata.namespace,
        "name": claim.metadata.name,
        "uid": claim.metadata.uid,
        "resourceVersion": claim.metadata.resource_version,
    }
    return encode({"metadata": metadata, "spec": {"claimRef": reference}})


def selected_node_patch(claim: PersistentVolumeClaim, node: str) -> bytes:
    """A merge patch that chooses the node for which a claim's volume is made."""
    return encode({"metadata": {**_precondition(claim.metadata), "annotations": {SELECTED_NODE: node}}})


def protection_patch(claim: ResourceClaim) -> bytes:
    """A strategic merge patch that keeps a claim from being deleted while it has devices."""
    return encode({"metadata": {**_precondition(claim.metadata), "finalizers": [FINALIZER]}})


def reservation_patch(
    claim: ResourceClaim, pod: PodKey, allocation: Allocation | None, now: datetime
) -> bytes:
    """A strategic merge patch of a claim's status: who may use it, and what it gets; consumers are merged by uid.

    When it got that is written, too: kube-scheduler 1.36 would add it for the next pod that shares the claim, which
    the API server refuses for good.
    """
    consumer = {"resource": "pods", "name": pod.name, "uid": pod.uid}
    status: dict[str, object] = {"reservedFor": [consumer]}
    if allocation is not None:
        status["allocation"] = {**msgspec.to_builtins(allocation), "allocationTimestamp": _time(now)}
    return encode({"metadata": _precondition(claim.metadata), "status": status})


def resource_claim(claim: ResourceClaim) -> bytes:
    """A claim of devices that is to be made."""
    metadata = claim.metadata
    return encode(
        {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceClaim",
            "metadata": {
                "namespace": metadata.namespace,
                "name": metadata.name,
                "annotations": metadata.annotations,
                "ownerReferences": metadata.owner_references,
            },
            "spec": claim.spec,
        }
    )


def unprotection_patch(claim: ResourceClaim) -> bytes:
    """A strategic merge patch that lets a claim be deleted though it has devices."""
    finalizers = {"$deleteFromPrimitiveList/finalizers": [FINALIZER]}
    return encode({"metadata": {**_precondition(claim.metadata), **finalizers}})


def claim_deletion(claim: ResourceClaim) -> bytes:
    """What goes with a DELETE of exactly that claim."""
    preconditions = {"uid": claim.metadata.uid}
    return encode({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions})


def extended_claim_patch(pod: PodKey, claim: str, mappings: Sequence[DeviceMapping]) -> bytes:
    """A strategic merge patch of a pod's status: which claim has its extended resources, and which request is whose."""
    told = [
        {"containerName": one.container, "resourceName": one.resource, "requestName": one.request}
        for one in mappings
    ]
    status = {"extendedResourceClaimStatus": {"resourceClaimName": claim, "requestMappings": told}}
    return encode({"metadata": {"uid": pod.uid}, "status": status})


def release_patch(claim: ResourceClaim) -> bytes:
    """A strategic merge patch that takes away what a claim has, and what its drivers say of that."""
    status = {"allocation": None, "reservedFor": None, "devices": None}
    return encode({"metadata": _precondition(claim.metadata), "status": status})


def _precondition(metadata: ObjectMeta) -> dict[str, object]:
    """What makes the server refuse to change another object, or another version of it."""
    return {"uid": metadata.uid, "resourceVersion": metadata.resource_version}


def event(happened: ClusterEvent, instance: str) -> tuple[str, bytes]:
    """An events.k8s.io/v1 Event: its namespace and its body.

    The name is made of what happened, to whom and when, so that sending it a second time after a lost answer cannot
    make a second event.
    """
    about = happened.regarding
    if isinstance(about, PodKey):
        namespace = about.namespace
        regarding = {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": about.namespace,
            "name": about.name,
            "uid": about.uid,
        }
        subject = about.name
    else:
        namespace, subject = "default", about
        # As kubelets do: their events about a node have its name as the uid, and that is what kubectl looks for.
        regarding = {"apiVersion": "v1", "kind": "Node", "name": about, "uid": about}
    time = _micro_time(happened.time)
    identity = "\0".join((*map(str, regarding.values()), happened.reason, happened.message, time, instance))
    digest = blake2b(identity.encode("utf-8", "replace"), digest_size=8).hexdigest()
    return namespace, encode(
        {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "namespace": namespace,
                "name": f"{subject[: NAME_LENGTH - len(digest) - 1].rstrip('.-')}.{digest}",
            },
            "eventTime": time,
            "reportingController": happened.controller or CONTROLLER,
            "reportingInstance": instance,
            "type": happened.type.value,
            "reason": happened.reason,
            "action": happened.action,
            "note": _shortened(happened.message),
            "regarding": regarding,
        }
    )


def _shortened(text: str) -> str:
    data = text.encode("utf-8", "replace")
    if len(data) <= NOTE_BYTES:
        return text
    return data[: NOTE_BYTES - 3].decode("utf-8", "ignore") + "…"


def _time(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _micro_time(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def lease(namespace: str, name: str, record: LeaseRecord) -> bytes:
    """A Lease; without a version it is to be created."""
    metadata = {"namespace": namespace, "name": name}
    if record.version:
        metadata["resourceVersion"] = record.version
    return encode(
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": record.holder,
                "leaseDurationSeconds": record.duration_seconds,
                "acquireTime": _micro_time(record.acquire_time),
                "renewTime": _micro_time(record.renew_time),
                "leaseTransitions": record.transitions,
            },
        }
    )


def decode_lease(body: bytes) -> LeaseRecord:
    """The record of a Lease; what its holder left out reads as released for ever.

    Raises:
        Unreachable: It is not a Lease.
    """
    try:
        found = _LEASE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreachable(f"lease {_name_of(body)} cannot be decoded: {error}") from error
    spec = found.spec
    never = datetime.fromtimestamp(0, UTC)
    return LeaseRecord(
        holder=spec.holder_identity or "",
        duration_seconds=spec.lease_duration_seconds or 0,
        acquire_time=spec.acquire_time or never,
        renew_time=spec.renew_time or never,
        transitions=spec.lease_transitions or 0,
        version=found.metadata.resource_version,
    )
