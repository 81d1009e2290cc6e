"""The hands that change a real API server from outside, and the roles that its user ``berth`` gets."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import yaml

from engine.cluster.api import ApiCluster, connect
from engine.model.objects import PodKey
from tests.controlplane.plane import ControlPlane
from tests.engine.cluster.protocol_suite import Manifest

RBAC = Path(__file__).parents[3] / "deploy" / "rbac.yaml"
BERTH = {"kind": "User", "name": "berth", "apiGroup": "rbac.authorization.k8s.io"}


class RealSite:
    """A `Site` on a control plane: Berth's cluster as the user ``berth`` unless told, the hands as an administrator."""

    def __init__(self, plane: ControlPlane, kubeconfig: Path | None = None) -> None:
        self.plane = plane
        self.cluster: ApiCluster = connect(kubeconfig or plane.berth_kubeconfig)

    def restart(self) -> None:
        """Stop the API server and start it again."""
        self.plane.stop_api_server()
        start_again(self.plane)

    def create_node(self, manifest: Manifest) -> None:
        self.plane.api.post("/api/v1/nodes", manifest)

    def label_node(self, name: str, labels: dict[str, str]) -> None:
        self.plane.api.patch(f"/api/v1/nodes/{name}", {"metadata": {"labels": labels}})

    def delete_node(self, name: str) -> None:
        self.plane.api.delete(f"/api/v1/nodes/{name}")

    def create_pod(self, manifest: Manifest) -> PodKey:
        namespace = manifest["metadata"]["namespace"]
        made = self.plane.api.post(f"/api/v1/namespaces/{namespace}/pods", manifest)
        return PodKey(namespace, made["metadata"]["name"], made["metadata"]["uid"])

    def delete_pod(self, key: PodKey) -> None:
        self.plane.api.delete(f"{path(key)}?gracePeriodSeconds=0")

    def finish_pod(self, key: PodKey) -> None:
        self.plane.api.patch(f"{path(key)}/status", {"status": {"phase": "Succeeded"}})

    def create_storage(self, manifest: Manifest) -> None:
        self.plane.api.post(collection(manifest), manifest)

    def delete_storage(self, manifest: Manifest) -> None:
        path = f"{collection(manifest)}/{manifest['metadata']['name']}"
        # What protects volumes in use is a controller that may not run.
        self.plane.api.patch(path, {"metadata": {"finalizers": None}})
        self.plane.api.delete(path)


def collection(manifest: Manifest) -> str:
    """The path of the collection that an object of storage is in."""
    plurals = {
        "StorageClass": "storageclasses",
        "CSIStorageCapacity": "csistoragecapacities",
        "DeviceClass": "deviceclasses",
    }
    plural = plurals.get(manifest["kind"], f"{manifest['kind'].lower()}s")
    version = manifest["apiVersion"]
    root = f"/api/{version}" if version == "v1" else f"/apis/{version}"
    namespace = manifest["metadata"].get("namespace")
    return f"{root}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{plural}"


def start_again(plane: ControlPlane) -> None:
    """Start a stopped API server, and let the hands find out that their connection is gone."""
    plane.start_api_server()
    with contextlib.suppress(OSError):
        plane.api.get("/version")


def path(key: PodKey) -> str:
    return f"/api/v1/namespaces/{key.namespace}/pods/{key.name}"


def roles_for_berth() -> list[dict[str, Any]]:
    """The manifests of deploy/rbac.yaml, bound to the user ``berth`` instead of the service account."""
    documents = [document for document in yaml.safe_load_all(RBAC.read_text()) if document]
    for document in documents:
        if document["kind"].endswith("Binding"):
            document["subjects"] = [BERTH]
    return documents
