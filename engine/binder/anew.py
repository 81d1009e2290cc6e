"""What is left of a pod's JSON so that it can be made again under its name, as it was asked for.

What goes is what the server, a scheduler, a kubelet or a network plugin wrote and will write again. What stays is all
that was asked for, and the defaults that were filled in then: they are the same for the new pod, and may be what
somebody wrote by hand, which nobody can tell from outside. So do the tolerations that admission adds: they stand in
nobody's way, and where the cluster's default has changed since, the pod keeps what it had.

Sources: ``pkg/registry/core/pod/strategy.go`` (what is cleared and merged on creation), and the admission plugins
Priority, ServiceAccount and DefaultTolerationSeconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

_METADATA: Final = (
    "name",
    "generateName",
    "namespace",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
)
"""Of the metadata, what a client may say of a new object."""
_OF_ONE_LIFE: Final = frozenset(
    (
        "cni.projectcalico.org/containerID",
        "cni.projectcalico.org/podIP",
        "cni.projectcalico.org/podIPs",
        "k8s.ovn.org/pod-networks",
        "k8s.v1.cni.cncf.io/network-status",
        "k8s.v1.cni.cncf.io/networks-status",
    )
)
"""Annotations in which network plugins keep the addresses of the one pod that they were given to."""
_DECIDED: Final = (
    "nodeName",
    "schedulingGates",
    "ephemeralContainers",
    "serviceAccount",
    "priority",
    "preemptionPolicy",
)
"""Of the spec: where it ran, what was put into it while it ran, an old name, and what its priority class decides."""
_TOKEN: Final = "kube-api-access-"
"""How the names begin of the volumes that admission adds for the service account's token."""

Manifest = Mapping[str, object]


def anew(manifest: Manifest) -> dict[str, object]:
    """The manifest of a pod that is to take the given one's place, under the same name and on no node yet.

    A node that the pod was pinned to by hand cannot be told from one that it was bound to: no pod keeps it.

    Args:
        manifest: A pod as the API server has it; it is not changed.

    Raises:
        ValueError: It is no pod: it has no metadata with a name, or no spec.
    """
    metadata, spec = manifest.get("metadata"), manifest.get("spec")
    if not isinstance(metadata, Mapping) or not metadata.get("name") or not isinstance(spec, Mapping):
        raise ValueError(
            "this is no pod: it lacks metadata.name or spec; give it a pod as the API server has it"
        )
    kept = {name: metadata[name] for name in _METADATA if metadata.get(name)}
    if isinstance(annotations := kept.get("annotations"), Mapping):
        kept["annotations"] = {name: text for name, text in annotations.items() if name not in _OF_ONE_LIFE}
        if not kept["annotations"]:
            del kept["annotations"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": kept, "spec": _spec(spec, _labels(kept))}


def _labels(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    labels = metadata.get("labels")
    return labels if isinstance(labels, Mapping) else {}


def _spec(spec: Mapping[str, Any], labels: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in spec.items() if name not in _DECIDED}
    tokens = {volume["name"] for volume in spec.get("volumes") or () if _is_token(volume)}
    if tokens:
        _without(kept, "volumes", tokens)
        for containers in ("containers", "initContainers"):
            if containers in kept:
                kept[containers] = [_unmounted(container, tokens) for container in kept[containers]]
    if kept.get("affinity"):
        kept["affinity"] = {
            name: _terms(affinity, labels) if name in ("podAffinity", "podAntiAffinity") else affinity
            for name, affinity in kept["affinity"].items()
        }
    if kept.get("topologySpreadConstraints"):
        kept["topologySpreadConstraints"] = [
            _unmerged(one, labels) for one in kept["topologySpreadConstraints"]
        ]
    return kept


# The service account's token: admission gives the new pod a volume of its own.


def _is_token(volume: Mapping[str, Any]) -> bool:
    sources = (volume.get("projected") or {}).get("sources") or ()
    return str(volume.get("name", "")).startswith(_TOKEN) and any(
        "serviceAccountToken" in source for source in sources
    )


def _unmounted(container: Mapping[str, Any], volumes: set[str]) -> dict[str, Any]:
    kept = dict(container)
    _without(kept, "volumeMounts", volumes)
    return kept


def _without(holder: dict[str, Any], field: str, names: set[str]) -> None:
    """Take the entries of these names out of a list; an empty list goes as well."""
    if field in holder:
        holder[field] = [entry for entry in holder[field] or () if entry.get("name") not in names]
        if not holder[field]:
            del holder[field]


# Label keys that were merged into selectors, which the server does anew, and refuses where it is done already.


def _terms(affinity: Mapping[str, Any], labels: Mapping[str, Any]) -> dict[str, Any]:
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"
    kept = dict(affinity)
    if kept.get(required):
        kept[required] = [_unmerged(term, labels) for term in kept[required]]
    if kept.get(preferred):
        kept[preferred] = [
            {**weighted, "podAffinityTerm": _unmerged(weighted["podAffinityTerm"], labels)}
            for weighted in kept[preferred]
        ]
    return kept


def _unmerged(term: Mapping[str, Any], labels: Mapping[str, Any]) -> Mapping[str, Any]:
    """A term or a constraint with its selector as it was written."""
    merged = list(_merged(term, labels))
    selector = term.get("labelSelector")
    if not merged or not isinstance(selector, Mapping):
        return term
    expressions = [one for one in selector.get("matchExpressions") or () if one not in merged]
    kept = {name: value for name, value in selector.items() if name != "matchExpressions"}
    return {**term, "labelSelector": {**kept, **({"matchExpressions": expressions} if expressions else {})}}


def _merged(term: Mapping[str, Any], labels: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")):
        for key in term.get(field) or ():
            if key in labels:
                yield {"key": key, "operator": operator, "values": [labels[key]]}
