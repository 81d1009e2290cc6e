"""A cluster as somebody saw it: read from an API server or from the files of a dump, and put into a cache.

Both ways end in the same decoding, so that a dump explains what the cluster itself would.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from engine.cli.kept_fields import BY_NAME, KINDS, KeptKind
from engine.cluster.api import ApiCluster
from engine.cluster.errors import ApiError
from engine.cluster.raw import raw_list
from engine.manifests.decode import without_nulls
from engine.manifests.objects import PriorityClass
from engine.model.devices import DeviceClass, ResourceClaim, ResourceSlice
from engine.model.objects import (
    Namespace,
    Node,
    Pod,
    PodDisruptionBudget,
    ReplicaSet,
    ReplicationController,
    Service,
    StatefulSet,
)
from engine.model.requests import RequestError
from engine.model.storage import (
    CSIDriver,
    CSINode,
    CSIStorageCapacity,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeAttachment,
)
from engine.state.cache import Cache
from engine.state.columns import NodeError
from engine.yaml_lines import YamlError, load_all_with_lines

_TYPES: Final[Mapping[str, type[msgspec.Struct]]] = {
    "Node": Node,
    "Namespace": Namespace,
    "PriorityClass": PriorityClass,
    "Service": Service,
    "ReplicationController": ReplicationController,
    "ReplicaSet": ReplicaSet,
    "StatefulSet": StatefulSet,
    "PodDisruptionBudget": PodDisruptionBudget,
    "StorageClass": StorageClass,
    "CSIDriver": CSIDriver,
    "CSINode": CSINode,
    "CSIStorageCapacity": CSIStorageCapacity,
    "PersistentVolume": PersistentVolume,
    "PersistentVolumeClaim": PersistentVolumeClaim,
    "VolumeAttachment": VolumeAttachment,
    "DeviceClass": DeviceClass,
    "ResourceSlice": ResourceSlice,
    "ResourceClaim": ResourceClaim,
    "Pod": Pod,
}
"""What the engine reads of the kinds; of the others it reads nothing yet."""

_NAMESPACED: Final = frozenset(
    (
        "CSIStorageCapacity",
        "PersistentVolumeClaim",
        "Pod",
        "PodDisruptionBudget",
        "ReplicaSet",
        "ReplicationController",
        "ResourceClaim",
        "Service",
        "StatefulSet",
    )
)
_NOTES: Final = 20
"""Objects that are told of one by one; the others are counted."""

Key = tuple[str, str, str]


class ClusterFileError(ValueError):
    """A file that holds no cluster. Its text has one line a problem, with its place."""


class _Meta(msgspec.Struct, frozen=True):
    name: str = ""
    namespace: str = ""


class _Head(msgspec.Struct, frozen=True, rename="camel"):
    kind: str = ""
    api_version: str = ""
    metadata: _Meta = _Meta()


class _Dumped(msgspec.Struct, frozen=True):
    at: datetime | None = None


class _Document(msgspec.Struct, frozen=True, rename="camel"):
    kind: str = ""
    api_version: str = ""
    items: list[msgspec.Raw] | None = None
    dumped: _Dumped | None = None


@dataclass(slots=True)
class Objects:
    """What was found, by kind, namespace and name; of two of one name the later one.

    Attributes:
        notes: What was left out, and why.
        taken: When a dump was taken, None where nobody says.
    """

    found: dict[Key, msgspec.Struct] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    taken: datetime | None = None

    def of(self, kind: str) -> Iterator[Any]:
        """The objects of a kind."""
        return (item for (name, _, _), item in self.found.items() if name == kind)

    def put(self, kind: str, item: Any) -> None:
        """Keep an object."""
        metadata = item.metadata
        if kind in _NAMESPACED and not metadata.namespace:
            metadata = msgspec.structs.replace(metadata, namespace="default")
            item = msgspec.structs.replace(item, metadata=metadata)
        self.found[kind, metadata.namespace, metadata.name] = item

    def cache(self, annotations: Iterable[str]) -> Cache:
        """A cache that has seen them all; what it cannot take is noted."""
        cache = Cache(annotations)
        left_out: list[str] = []
        for kind in KINDS:
            for item in self.of(kind.kind):
                try:
                    _feed(cache, item)
                except (NodeError, RequestError) as error:
                    metadata = item.metadata
                    where = f"{metadata.namespace}/{metadata.name}: " if metadata.namespace else ""
                    left_out.append(f"left out {kind.kind.lower()} {where}{error}")
        self.note(left_out)
        return cache

    def note(self, left_out: list[str]) -> None:
        """Note what was left out: the first of it one by one."""
        self.notes += left_out[:_NOTES]
        if len(left_out) > _NOTES:
            self.notes.append(f"and {len(left_out) - _NOTES} more objects that cannot be read")


def _feed(cache: Cache, item: msgspec.Struct) -> None:
    match item:
        case Pod() as pod:
            if pod.status.phase not in ("Succeeded", "Failed"):
                cache.put_pod(pod)
        case Node() as node:
            cache.put_node(node)
        case Namespace() as namespace:
            cache.put_namespace(namespace.metadata.name, namespace.metadata.labels or {})
        case Service() | ReplicationController() | ReplicaSet() | StatefulSet() as grouping:
            cache.put_grouping(grouping)
        case PodDisruptionBudget() as budget:
            cache.budgets.put(budget)
        case (
            PersistentVolumeClaim()
            | PersistentVolume()
            | StorageClass()
            | CSINode()
            | CSIDriver()
            | CSIStorageCapacity()
            | VolumeAttachment() as storage
        ):
            cache.volumes.put(storage)
        case DeviceClass() | ResourceSlice() | ResourceClaim() as devices:
            cache.devices.put(devices)
        case _:
            pass  # read, but not counted: classes of priorities


# From files


def read_files(paths: Iterable[Path]) -> Objects:
    """The objects of dumps: Lists as ``kubectl get … -o json`` or ``-o yaml`` writes them, or single objects.

    Raises:
        ClusterFileError: A file cannot be read, or is no such list.
    """
    objects, problems, left_out = Objects(), [], []
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError as error:
            problems.append(f"{path}: {(error.strerror or str(error)).lower()}; check the path")
            continue
        try:
            left_out += _read(content, str(path), objects)
        except ClusterFileError as error:
            problems.append(str(error))
    if problems:
        raise ClusterFileError("\n".join(problems))
    objects.note(left_out)
    return objects


def _read(content: bytes, file: str, objects: Objects) -> list[str]:
    left_out: list[str] = []
    for document in _documents(content, file):
        if document.dumped is not None and document.dumped.at is not None:
            objects.taken = document.dumped.at
        of = document.kind.removesuffix("List")
        for position, raw in enumerate(document.items or ()):
            try:
                _take(raw, _Head(of, document.api_version) if of else _Head(), objects)
            except msgspec.DecodeError as error:
                left_out.append(f"{file}: items[{position}]{_named(raw)}: left out: {_plain(error)}")
    return left_out


def _documents(content: bytes, file: str) -> Iterator[_Document]:
    """The lists of a file; single objects are lists of one."""
    if content.lstrip()[:1] in (b"{", b"["):
        try:
            yield _listed(content, file)
        except msgspec.DecodeError:
            pass  # told with its line below, if it is no YAML either
        else:
            return
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ClusterFileError(f"{file}:{line}: not UTF-8; save the file as UTF-8 text") from None
    anything = False
    try:
        for document in load_all_with_lines(text, file):
            if document.value is not None:
                anything = True
                yield _listed(msgspec.json.encode(without_nulls(document.value)), file)
    except YamlError as error:
        whole = "; is the file whole?" if text.lstrip()[:1] in ("{", "[") else ""
        raise ClusterFileError(f"{error}{whole}") from None
    if not anything:
        raise ClusterFileError(f"{file}: holds no object; write one with `berth dump` or kubectl get -o json")


def _listed(body: bytes, file: str) -> _Document:
    """A list of any kind.

    Raises:
        msgspec.DecodeError: The text is no JSON.
        ClusterFileError: It is JSON, but neither a list nor an object.
    """
    value = msgspec.json.decode(body, type=msgspec.Raw)
    try:
        document = msgspec.json.decode(value, type=_Document)
    except msgspec.ValidationError:
        raise ClusterFileError(
            f"{file}: neither a List nor an object of Kubernetes; write one with `berth dump` or kubectl get -o json"
        ) from None
    if document.items is not None:
        return document
    if not document.kind:
        raise ClusterFileError(
            f"{file}: no kind in it; write a List with `berth dump` or kubectl get -o json"
        )
    return _Document(items=[msgspec.Raw(body)])


def _take(raw: msgspec.Raw, outer: _Head, objects: Objects) -> None:
    head = msgspec.json.decode(raw, type=_Head)
    version = head.api_version or outer.api_version
    kind = BY_NAME.get((version.rpartition("/")[0], head.kind or outer.kind))
    if kind is not None:
        _decode(raw, kind, objects)


def _decode(raw: msgspec.Raw, kind: KeptKind, objects: Objects) -> None:
    """Keep an object, where the engine reads its kind.

    Raises:
        msgspec.DecodeError: It is not what it says that it is.
    """
    type_ = _TYPES.get(kind.kind)
    if type_ is None:
        return
    try:
        item = msgspec.json.decode(raw, type=type_)
    except msgspec.ValidationError:
        # Whoever writes objects by hand may leave a key without a value, which API servers take for an absent one.
        item = msgspec.convert(without_nulls(msgspec.json.decode(raw)), type=type_)
    objects.put(kind.kind, item)


def _named(raw: msgspec.Raw) -> str:
    try:
        head = msgspec.json.decode(raw, type=_Head)
    except msgspec.DecodeError:
        return ""
    namespace = f"{head.metadata.namespace}/" if head.metadata.namespace else ""
    return f" ({head.kind} {namespace}{head.metadata.name})" if head.kind else ""


def _plain(error: Exception) -> str:
    text = str(error)
    return text[:1].lower() + text[1:]


# From an API server


class Listens(Protocol):
    """Is told how far the reading of a cluster is."""

    def reading(self, kind: str, count: int) -> None:
        """So many objects of the kind have come so far."""
        ...


class _Deaf:
    def reading(self, kind: str, count: int) -> None:
        pass


def lists(
    cluster: ApiCluster, notes: list[str], listens: Listens | None = None, kinds: Iterable[KeptKind] = KINDS
) -> Iterator[tuple[KeptKind, msgspec.Raw]]:
    """Every object of the kinds, undecoded.

    Args:
        cluster: Where.
        notes: Gets a sentence for each kind that we may not list.
        listens: Is told of the progress.
        kinds: Which.

    Raises:
        ClusterError: The server does not answer, or refuses a kind without which there is nothing to explain.
    """
    heard = listens or _Deaf()
    for kind in kinds:
        try:
            for count, raw in enumerate(raw_list(cluster, kind.path, kind.selector), 1):
                yield kind, raw
                if count % 100 == 0:
                    heard.reading(kind.plural, count)
        except ApiError as error:
            if kind.needed or error.status not in (403, 404):
                raise
            if error.status == 403:
                notes.append(f"{kind.plural} may not be listed, so it is as if there were none: {error}")


def read_cluster(
    cluster: ApiCluster, listens: Listens | None = None, kinds: Iterable[KeptKind] = KINDS
) -> Objects:
    """What there is now of some kinds, as far as the engine reads it.

    Raises:
        ClusterError: See `lists`.
    """
    objects, left_out = Objects(), []
    wanted = [kind for kind in kinds if kind.kind in _TYPES]
    for kind, raw in lists(cluster, objects.notes, listens, wanted):
        try:
            _decode(raw, kind, objects)
        except msgspec.DecodeError as error:
            left_out.append(f"{kind.kind.lower()}{_named(raw)}: left out: {_plain(error)}")
    objects.note(left_out)
    return objects
