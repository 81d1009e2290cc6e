"""The shape of a pod: all that placement reads of it but its name, uid and age.

Pods made from one template have one shape, so what is worked out for the first of them serves all: a `ShapeTable`
interns shapes, and everything that is cached per shape is keyed by identity.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakValueDictionary

import msgspec

from engine.model.extended_resources import Asking, asking
from engine.model.migrated import handle_of
from engine.model.objects import NodeSelectorTerm, Pod, PodSpec, PreferredTerm, Toleration
from engine.model.pattern import fits
from engine.model.pod_terms import PodTerms, Spreads, pod_terms, spreads
from engine.model.requests import RequestError, pod_requests, scoring_requests
from engine.model.well_known import ANY_ADDRESS


class HostPort(NamedTuple):
    """A port that a pod takes on its node; ``ip`` 0.0.0.0 takes it on every address."""

    protocol: str
    port: int
    ip: str


class Workload(NamedTuple):
    """What made a pod, by its own name: a pod of a Deployment names the Deployment, not its ReplicaSet."""

    kind: str
    name: str


class Disk(NamedTuple):
    """A disk that the pod names itself, not by a claim; ``identity`` tells one from another.

    Two pods on one node may share it only if both just read it, and ``shared`` says that the kind allows it then.
    """

    identity: tuple[str, ...]
    shared: bool


class Controller(NamedTuple):
    """The owner that looks after a pod, as its reference has it."""

    api_version: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Shape:
    """What pods of one template have in common. Compared by identity.

    Attributes:
        owner: None for a bare pod, whose workload is itself.
        annotations: Only those that the policies read.
        required: The terms of the required node affinity, ORed; None where there is none.
        requests: The effective request by resource, in the units of the columns.
        scoring: Millicores and bytes that count in scores.
        terms: What it asks of the pods near it.
        spreads: How evenly it and its like are to be spread.
        controller: The owner that looks after it, None for a bare pod.
        disks: The disks that it names itself, of which a node mounts only one for writing.
        asking: The containers that ask for extended resources for which a class of devices could stand.
        inline: The CSI driver and handle of each volume that it names itself and that such a driver serves now.
        images: The images of its containers, of the initial ones too, and of its volumes, each by its full name.
        containers: How many containers it has, the initial ones included.
        unsupported: Fields that ask for something that this version cannot honour, so the pod must wait.
    """

    namespace: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    owner: Workload | None
    priority: int
    node_selector: tuple[tuple[str, str], ...]
    required: tuple[NodeSelectorTerm, ...] | None
    preferred: tuple[PreferredTerm, ...]
    tolerations: tuple[Toleration, ...]
    host_ports: tuple[HostPort, ...]
    requests: Mapping[str, int]
    scoring: tuple[int, int]
    terms: PodTerms
    spreads: Spreads
    controller: Controller | None
    disks: tuple[Disk, ...]
    inline: tuple[tuple[str, str], ...]
    asking: tuple[Asking, ...]
    images: tuple[str, ...]
    containers: int
    unsupported: tuple[str, ...]


def controller(pod: Pod) -> Controller | None:
    """The owner that looks after the pod, None for a bare pod."""
    for owner in pod.metadata.owner_references:
        if owner.controller:
            return Controller(owner.api_version, owner.kind, owner.name)
    return None


def image_name(written: str) -> str:
    """An image's full name: without a tag (or digest) it means the latest."""
    return written if written.rfind(":") > written.rfind("/") else f"{written}:latest"


def workload(pod: Pod) -> Workload | None:
    """The workload that made the pod, None for a bare pod.

    A ReplicaSet that a Deployment made carries the template's hash at the end of its name, and so does the pod in its
    label: taking it off gives the Deployment, without watching ReplicaSets.
    """
    owner = controller(pod)
    if owner is None:
        return None
    if owner.kind == "ReplicaSet":
        suffix = "-" + (pod.metadata.labels or {}).get("pod-template-hash", "")
        if len(suffix) > 1 and owner.name.endswith(suffix) and len(owner.name) > len(suffix):
            return Workload("Deployment", owner.name[: -len(suffix)])
    return Workload(owner.kind, owner.name)


def unsupported(spec: PodSpec) -> tuple[str, ...]:
    """The fields of the spec that this version cannot honour; a pod with any must wait, not be placed wrongly.

    What claims of devices ask for is looked at with the claims; here it is only whether they are known to be claims.
    """
    return tuple(
        f"spec.resourceClaims[{position}]"
        for position, one in enumerate(spec.resource_claims or ())
        if one.resource_claim_name is None and one.resource_claim_template_name is None
    )


class ShapeTable:
    """Interns shapes. Shapes live as long as some pod holds them.

    Args:
        annotations: The keys of the annotations that policies read, or patterns of them with ``*``; others don't
            tell shapes apart.
    """

    __slots__ = ("_annotations", "_encoder", "_patterns", "_shapes")

    def __init__(self, annotations: Collection[str] = ()) -> None:
        self._annotations = frozenset(annotations)
        self._patterns = tuple(key for key in self._annotations if "*" in key)
        self._encoder = msgspec.msgpack.Encoder()
        self._shapes: WeakValueDictionary[bytes, Shape] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._shapes)

    @property
    def annotations(self) -> frozenset[str]:
        """The annotation keys that tell shapes apart."""
        return self._annotations

    def intern(self, pod: Pod) -> Shape:
        """The pod's shape.

        Raises:
            RequestError: A quantity or a number in the pod cannot be read.
        """
        metadata, spec = pod.metadata, pod.spec
        reference = controller(pod) if metadata.owner_references else None
        annotations = {
            key: value
            for key, value in (metadata.annotations or {}).items()
            if key in self._annotations or any(fits(key, pattern) for pattern in self._patterns)
        }
        parts = (metadata.namespace, metadata.labels, annotations, reference, _common(spec))
        try:
            key = self._encoder.encode(parts)
        except OverflowError:
            raise RequestError("spec", ValueError("a whole number in it has more than 64 bits")) from None
        shape = self._shapes.get(key)
        if shape is None:
            # A resize in progress changes what a running pod holds, never the shape of its template.
            template = Pod(metadata, spec)
            shape = self._shapes[key] = _shape(template, annotations, reference)
        return shape


def _shape(pod: Pod, annotations: Mapping[str, str], reference: Controller | None) -> Shape:
    spec = pod.spec
    namespace, labels = pod.metadata.namespace, pod.metadata.labels or {}
    affinity = spec.affinity.node_affinity if spec.affinity else None
    required = affinity.required_during_scheduling_ignored_during_execution if affinity else None
    preferred = affinity.preferred_during_scheduling_ignored_during_execution if affinity else None
    return Shape(
        namespace=namespace,
        labels=labels,
        annotations=annotations,
        owner=workload(pod),
        priority=spec.priority or 0,
        node_selector=tuple(sorted((spec.node_selector or {}).items())),
        required=required.node_selector_terms if required is not None else None,
        preferred=preferred or (),
        tolerations=spec.tolerations or (),
        host_ports=_host_ports(spec),
        requests=pod_requests(pod),
        scoring=scoring_requests(pod),
        terms=pod_terms(spec, namespace),
        spreads=spreads(spec, labels),
        controller=reference,
        disks=_disks(spec),
        inline=_inline(spec),
        asking=asking(spec),
        images=_images(spec),
        containers=len(spec.containers or ()) + len(spec.init_containers or ()),
        unsupported=unsupported(spec),
    )


def _common(spec: PodSpec) -> PodSpec:
    """The spec without what pods of one template need not share: the node, names of volumes, and claims.

    Each pod of a StatefulSet has claims of its own; what they ask for is looked up for each decision.
    """
    volumes = tuple(
        msgspec.structs.replace(volume, name="")
        for volume in spec.volumes or ()
        if volume.image is not None or volume.disk or volume.in_tree is not None
    )
    # Only of what kind they are tells pods apart.
    unknown = spec.resource_claims if unsupported(spec) else None
    if not spec.node_name and not volumes and not spec.volumes and not spec.resource_claims:
        return spec
    return msgspec.structs.replace(spec, node_name="", volumes=volumes or None, resource_claims=unknown)


def _disks(spec: PodSpec) -> tuple[Disk, ...]:
    """A Ceph image has one identity for each of its monitors: one that two pods share makes it the same."""
    found: list[Disk] = []
    for volume in spec.volumes or ():
        if (gce := volume.gce_persistent_disk) is not None:
            found.append(Disk(("gce", gce.pd_name), gce.read_only))
        if (aws := volume.aws_elastic_block_store) is not None:
            found.append(Disk(("aws", aws.volume_id), False))
        if (iscsi := volume.iscsi) is not None:
            found.append(Disk(("iscsi", iscsi.iqn), iscsi.read_only))
        if (rbd := volume.rbd) is not None:
            found += [Disk(("rbd", one, rbd.pool, rbd.image), rbd.read_only) for one in rbd.monitors]
    return tuple(dict.fromkeys(found))


def _inline(spec: PodSpec) -> tuple[tuple[str, str], ...]:
    sources = (volume.in_tree for volume in spec.volumes or ())
    handles = (handle_of(source) for source in sources if source is not None)
    return tuple(sorted({handle for handle in handles if handle is not None}))


def _images(spec: PodSpec) -> tuple[str, ...]:
    """One entry for each use: an image that two containers share is fetched once but counts twice."""
    written = [one.image for one in (*(spec.init_containers or ()), *(spec.containers or ()))]
    written += [volume.image.reference for volume in spec.volumes or () if volume.image is not None]
    return tuple(image_name(image) for image in written if image)


def _host_ports(spec: PodSpec) -> tuple[HostPort, ...]:
    """Ports of containers and sidecars: an ordinary init container has ended before they matter."""
    sidecars = (c for c in spec.init_containers or () if c.restart_policy == "Always")
    return tuple(
        HostPort(port.protocol or "TCP", port.host_port, port.host_ip or ANY_ADDRESS)
        for container in (*(spec.containers or ()), *sidecars)
        for port in container.ports or ()
        if port.host_port > 0
    )
