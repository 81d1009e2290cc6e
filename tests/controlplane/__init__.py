"""A real Kubernetes control plane on the loopback interface, for integration tests and for trying things out.

etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl and KWOK are built from pinned Go modules
on first use; ``python -m tests.controlplane --help`` shows the commands.
"""

from tests.controlplane.api import Api, ApiError
from tests.controlplane.manifests import make_node, make_pod, make_pods, zone_nodes
from tests.controlplane.plane import ControlPlane, Options

__all__ = [
    "Api",
    "ApiError",
    "ControlPlane",
    "Options",
    "make_node",
    "make_pod",
    "make_pods",
    "zone_nodes",
]
