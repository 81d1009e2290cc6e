"""The protocol's suite on the simulated cluster."""

from __future__ import annotations

import json

import pytest

from engine.cluster.protocol import ResourceKind
from engine.cluster.simulated import Options, SimulatedCluster
from engine.manifests import parse
from engine.model.objects import Node, Pod, PodKey
from tests.engine.cluster.protocol_suite import ClusterProtocol, Manifest, Site, pod_manifest


class SimulatedSite:
    """A `Site` on the simulated cluster: its hands are the cluster's own methods."""

    def __init__(self) -> None:
        self.cluster = SimulatedCluster(Options(history=1000))

    def create_node(self, manifest: Manifest) -> None:
        (node,) = parse(json.dumps(manifest), "node").objects
        assert isinstance(node, Node)
        self.cluster.add_node(node)

    def label_node(self, name: str, labels: dict[str, str]) -> None:
        self.cluster.label_node(name, labels)

    def delete_node(self, name: str) -> None:
        self.cluster.remove_node(name)

    def create_pod(self, manifest: Manifest) -> PodKey:
        (pod,) = parse(json.dumps(manifest), "pod").objects
        assert isinstance(pod, Pod)
        made = self.cluster.add_pod(pod)
        assert made is not None
        return made.key

    def delete_pod(self, key: PodKey) -> None:
        self.cluster.evict(key, grace_seconds=0)

    def finish_pod(self, key: PodKey) -> None:
        self.cluster.finish_pod(key.namespace, key.name)

    def create_storage(self, manifest: Manifest) -> None:
        (item,) = parse(json.dumps(manifest), "storage").objects
        self.cluster.apply(item)

    def delete_storage(self, manifest: Manifest) -> None:
        metadata = manifest["metadata"]
        self.cluster.delete(manifest["kind"], metadata.get("namespace", ""), metadata["name"])


class TestSimulatedCluster(ClusterProtocol):
    @pytest.fixture
    def site(self) -> SimulatedSite:
        return SimulatedSite()

    def expire(self, site: Site) -> str:
        assert isinstance(site, SimulatedSite)
        version = site.cluster.list(ResourceKind.PODS).resource_version
        site.create_pod(pod_manifest("forgotten"))
        site.cluster.compact()
        return version
