"""Volumes and devices on the API server, and a stand-in for the controllers that look after their claims.

No controller-manager runs beside the differential test: the test itself makes what belongs to a pod, and binds claims
to the volumes that kube-scheduler has chosen for them, or to new ones, right when it waits for that.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from tests.controlplane.api import Api, ApiError, Object
from tests.integration.generated_devices import DEVICES, standing_devices
from tests.integration.generated_storage import (
    BOUND,
    CORE,
    HOSTNAME,
    SELECTED,
    STORAGE,
    VOLUMES,
    ZONE,
    Made,
    standing_storage,
)

SECONDS: Final = 20.0
NO_FINALIZERS: Final = {"metadata": {"finalizers": None}}
PROBE_DRIVER: Final = "probe.example.com"


def make(api: Api, items: Iterable[Made]) -> list[Object]:
    """Make objects in their order; a volume names its claim by the uid that the claim got."""
    uids: dict[str, str] = {}
    found = []
    for item in items:
        reference = item.body.get("spec", {}).get("claimRef", {})
        if "uid" in reference:
            reference["uid"] = uids[reference["uid"]]
        made = api.post(item.path, item.body)
        metadata = made["metadata"]
        uids[f"{metadata.get('namespace')}/{metadata['name']}"] = metadata["uid"]
        path = f"{item.path}/{metadata['name']}"
        if item.status is not None:
            made = api.patch(f"{path}/status", {"status": item.status})
        if item.leaving:
            api.delete(path)
        found.append(made)
    return found


def make_standing(api: Api) -> None:
    """Make what all clusters share."""
    make(api, (*standing_storage(), *standing_devices()))


def remove_standing(api: Api) -> None:
    """Take it away again."""
    for item in (*standing_storage(), *standing_devices()):
        api.delete(f"{item.path}/{item.body['metadata']['name']}")


def remove_all(api: Api, namespaces: Iterable[str]) -> None:
    """Take away all volumes, claims and devices, whoever made them and would like to keep them."""
    collections = [VOLUMES, f"{DEVICES}/resourceslices", f"{STORAGE}/namespaces/default/csistoragecapacities"]
    collections += [f"{STORAGE}/{kind}" for kind in ("csinodes", "volumeattachments")]
    for space in namespaces:
        collections.append(f"{CORE}/namespaces/{space}/persistentvolumeclaims")
        collections.append(f"{DEVICES}/namespaces/{space}/resourceclaims")
    remove_from(api, collections)


def remove_from(api: Api, collections: Iterable[str]) -> None:
    """Take away all that is in some collections, whoever would like to keep it."""
    for collection in dict.fromkeys(collections):
        api.delete(collection)
    for kept in (VOLUMES, f"{CORE}/persistentvolumeclaims", f"{DEVICES}/resourceclaims"):
        root, kind = kept.rsplit("/", 1)
        for item in api.items(kept):
            metadata = item["metadata"]
            if metadata.get("finalizers"):
                within = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
                with suppress(ApiError):  # gone meanwhile
                    api.patch(f"{root}{within}/{kind}/{metadata['name']}", NO_FINALIZERS)


def probes(seed: int, node: str, namespace: str) -> tuple[list[Made], Object]:
    """A claim of each kind, made after all others, and what a pod's spec says to use both.

    A pod that got them proves that kube-scheduler knows of everything of these kinds that was made before.
    """
    name = f"probe-{seed}"
    where = {"namespace": namespace, "name": name}
    mode = {"accessModes": ["ReadWriteOnce"]}
    claim = {
        "metadata": {**where, "annotations": {BOUND: "yes"}},
        "spec": {
            **mode,
            "storageClassName": "",
            "volumeName": name,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    volume = {
        "metadata": {"name": name},
        "spec": {
            **mode,
            "capacity": {"storage": "1Gi"},
            "hostPath": {"path": "/tmp"},
            "claimRef": {**where, "uid": f"{namespace}/{name}"},
        },
    }
    pool = {"name": name, "generation": 1, "resourceSliceCount": 1}
    devices = [{"name": "probe"}]
    slice_ = {
        "metadata": {"name": name},
        "spec": {"driver": PROBE_DRIVER, "pool": pool, "nodeName": node, "devices": devices},
    }
    selectors = [{"cel": {"expression": f'device.driver == "{PROBE_DRIVER}"'}}]
    asked = {"deviceClassName": "any", "selectors": selectors}
    wanted = {"metadata": where, "spec": {"devices": {"requests": [{"name": "probe", "exactly": asked}]}}}
    return [
        Made(f"{CORE}/namespaces/{namespace}/persistentvolumeclaims", claim),
        Made(VOLUMES, volume),
        Made(f"{DEVICES}/resourceslices", slice_),
        Made(f"{DEVICES}/namespaces/{namespace}/resourceclaims", wanted),
    ], {
        "volumes": [{"name": "probe", "persistentVolumeClaim": {"claimName": name}}],
        "resourceClaims": [{"name": "probe", "resourceClaimName": name}],
    }


def make_owned(api: Api, pod: Object, volumes: Iterable[Made], devices: dict[str, Made]) -> None:
    """Make the claims that are a pod's own, as their controllers do."""
    metadata = pod["metadata"]
    owner = {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }
    for item in (*volumes, *devices.values()):
        item.body["metadata"]["ownerReferences"] = [owner]
        make(api, [item])
    if devices:
        path = f"{CORE}/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status"
        statuses = [
            {"name": name, "resourceClaimName": item.body["metadata"]["name"]}
            for name, item in devices.items()
        ]
        api.patch(path, {"status": {"resourceClaimStatuses": statuses}})


def bind_claim(api: Api, namespace: str, name: str) -> str:
    """Bind a claim as soon as kube-scheduler has written which volume it gets, or for which node one is to be made.

    Returns:
        The volume.
    """
    path = f"{CORE}/namespaces/{namespace}/persistentvolumeclaims/{name}"
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        claim = api.get(path)
        metadata, spec = claim["metadata"], claim["spec"]
        if spec.get("volumeName"):
            return str(spec["volumeName"])
        chosen: list[str] = [
            volume["metadata"]["name"]
            for volume in api.items(VOLUMES)
            if volume["spec"].get("claimRef", {}).get("uid") == metadata["uid"]
        ]
        node = metadata.get("annotations", {}).get(SELECTED)
        if not chosen and node is None:
            continue
        if not chosen:
            chosen = [_provision(api, claim, node)]
        api.patch(path, {"metadata": {"annotations": {BOUND: "yes"}}, "spec": {"volumeName": chosen[0]}})
        api.patch(f"{VOLUMES}/{chosen[0]}/status", {"status": {"phase": "Bound"}})
        return chosen[0]
    raise AssertionError(f"kube-scheduler has written nothing for claim {namespace}/{name}")


def _provision(api: Api, claim: Object, node: str) -> str:
    metadata, spec = claim["metadata"], claim["spec"]
    name = f"made-{metadata['name']}"
    driver = api.get(f"{STORAGE}/storageclasses/{spec['storageClassName']}")["provisioner"]
    labels = api.get(f"{CORE}/nodes/{node}")["metadata"].get("labels", {})
    volume: Object = {
        "capacity": spec["resources"]["requests"],
        "accessModes": spec["accessModes"],
        "storageClassName": spec["storageClassName"],
        "volumeMode": spec["volumeMode"],
        "csi": {"driver": driver, "volumeHandle": metadata["uid"]},
        "claimRef": {"namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"]},
    }
    key = next((key for key in (ZONE, HOSTNAME) if key in labels), None)
    if key is not None:
        term = {"key": key, "operator": "In", "values": [labels[key]]}
        volume["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [term]}]}}
    api.post(VOLUMES, {"metadata": {"name": name}, "spec": volume})
    return name
